//! L1 as one would write it down: one entry per object, found by its name.

use super::super::model::Name;
use kvcache::{Eviction, HostConfig, HostUsage};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A prompt's object: its name and its weight in tokens. Its place is that in the list.
pub(in super::super) type Object = (Name, u64);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Pending(u64), // and who writes it
    Ready,
}

struct Entry {
    state: State,
    tokens: u64,
    order: (u64, Reverse<usize>), // goes first where this is least
}

/// What somebody holds, until it is given back.
pub(in super::super) struct Holding {
    objects: Vec<Object>,
    from: usize,
    pub(in super::super) end: usize,
    pub(in super::super) new: u64,
    writer: u64,
    life: u64,
}

pub(in super::super) struct Model {
    config: HostConfig,
    entries: BTreeMap<Name, Entry>,
    pins: BTreeMap<Name, u32>,
    turn: u64,
    writer: u64,
    life: u64,
    pub(in super::super) evicted: u64,
    pub(in super::super) skipped: u64,
}

impl Model {
    pub(in super::super) fn new(config: HostConfig) -> Self {
        let (entries, pins) = (BTreeMap::new(), BTreeMap::new());
        Self { config, entries, pins, turn: 0, writer: 0, life: 0, evicted: 0, skipped: 0 }
    }

    fn is_ready(&self, name: Name) -> bool {
        self.entries.get(&name).is_some_and(|entry| entry.state == State::Ready)
    }

    fn is_pinned(&self, name: Name) -> bool {
        self.pins.get(&name).is_some_and(|pins| *pins > 0)
    }

    pub(in super::super) fn find(&self, objects: &[Object], from: usize, to: usize) -> usize {
        (from..to.min(objects.len()))
            .find(|at| !self.is_ready(objects[*at].0))
            .unwrap_or(to.min(objects.len()).max(from))
    }

    pub(in super::super) fn pin(&mut self, objects: &[Object], from: usize, to: usize) -> Holding {
        for (name, _) in &objects[from..to] {
            *self.pins.entry(*name).or_default() += 1;
        }
        Holding { objects: objects.to_vec(), from, end: to, new: 0, writer: 0, life: self.life }
    }

    fn sum(&self, of: impl Fn(Name, &Entry) -> bool) -> u64 {
        self.entries.iter().filter(|(name, entry)| of(**name, entry)).map(|(_, entry)| entry.tokens).sum()
    }

    /// Evicts one object; gives its tokens, or nothing if no object may go.
    fn evict(&mut self) -> u64 {
        let may_go = |(name, entry): &(&Name, &Entry)| entry.state == State::Ready && !self.is_pinned(**name);
        let first = self.entries.iter().filter(may_go).min_by_key(|(_, entry)| entry.order).map(|(name, _)| *name);
        let tokens = first.and_then(|name| self.entries.remove(&name)).map_or(0, |entry| entry.tokens);
        self.evicted += tokens;
        tokens
    }

    /// Evicts one by one until `enough` tokens went, or nothing may go.
    fn evict_until(&mut self, enough: u64) -> u64 {
        let (mut gone, mut last) = (0, u64::MAX);
        while gone < enough && last > 0 {
            last = self.evict();
            gone += last;
        }
        gone
    }

    pub(in super::super) fn reserve(&mut self, objects: &[Object], from: usize, to: usize) -> Holding {
        self.writer += 1;
        let mut holding = self.pin(objects, from, to);
        (holding.writer, holding.end) = (self.writer, from);
        let capacity = self.config.capacity / self.config.token_bytes;
        let mut used = self.sum(|_, _| true);
        for &(name, tokens) in &objects[from..to] {
            if !self.entries.contains_key(&name) {
                used -= self.evict_until((used + tokens).saturating_sub(capacity));
                if used + tokens > capacity {
                    break;
                }
                let order = (0, Reverse(0));
                self.entries.insert(name, Entry { state: State::Pending(self.writer), tokens, order });
                holding.new += tokens;
                used += tokens;
            }
            holding.end += 1;
        }
        self.turn += 1;
        for (at, &(name, tokens)) in objects.iter().enumerate().take(to).skip(holding.end) {
            *self.pins.entry(name).or_default() -= 1;
            self.renew(name, at);
            if !self.entries.contains_key(&name) {
                self.skipped += tokens;
            }
        }
        if used * 1000 > capacity * u64::from(self.config.watermark) {
            self.evict_until((used * u64::from(self.config.evict)).div_ceil(1000));
        }
        holding
    }

    /// A use of what is there and free, in this turn.
    fn renew(&mut self, name: Name, at: usize) {
        let pinned = self.is_pinned(name);
        let uses_matter = self.config.eviction == Eviction::Lru;
        if let Some(entry) = self.entries.get_mut(&name)
            && entry.state == State::Ready
            && !pinned
            && uses_matter
        {
            entry.order = (self.turn, Reverse(at));
        }
    }

    pub(in super::super) fn give_back(&mut self, holding: &Holding, upto: usize) {
        if holding.life != self.life || holding.end == holding.from {
            return;
        }
        self.turn += 1;
        for (at, &(name, _)) in holding.objects.iter().enumerate().take(holding.end).skip(holding.from) {
            if self.entries.get(&name).is_some_and(|entry| entry.state == State::Pending(holding.writer)) {
                if at < upto {
                    let entry = self.entries.get_mut(&name).expect("it was there");
                    (entry.state, entry.order) = (State::Ready, (self.turn, Reverse(at)));
                } else {
                    self.entries.remove(&name);
                }
            }
            *self.pins.entry(name).or_default() -= 1;
        }
        for (at, &(name, _)) in holding.objects.iter().enumerate().take(holding.end) {
            self.renew(name, at);
        }
    }

    pub(in super::super) fn clear(&mut self) {
        self.entries.clear();
        self.pins.clear();
        self.life += 1;
    }

    pub(in super::super) fn usage(&self) -> HostUsage {
        HostUsage {
            capacity: self.config.capacity / self.config.token_bytes,
            ready: self.sum(|_, entry| entry.state == State::Ready),
            pending: self.sum(|_, entry| entry.state != State::Ready),
            pinned: self.sum(|name, entry| entry.state == State::Ready && self.is_pinned(name)),
        }
    }
}
