//! A pool as a reader of its rules would write it down: one entry per object, lists of who holds what, no trees.

use crate::cache::model::Name;
use kvcache::{Backend, Eviction, PoolConfig, PoolCounts, Span, Time};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// An object of a prompt: what it is, and where.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) name: Name,
    pub(super) index: u32,
    /// What it weighs: a chunk, or less where it is the tail.
    pub(super) tokens: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Pending { put: u64 },
    Ready,
}

struct Object {
    shard: u16,
    tokens: u64,
    state: State,
    doomed: bool,               // lost, but somebody holds it
    order: (u64, Reverse<u32>), // of its last use or publication: the deepest of a prompt goes first
    at: Time,
}

/// What a lease or a put holds.
struct Hold {
    number: u64,
    objects: Vec<Place>,
    ends: Time,
}

/// What a put began.
pub(super) struct Begun {
    pub(super) put: Option<u64>,
    pub(super) end: u32,
    /// Tokens to be written to each shard.
    pub(super) new: BTreeMap<u16, u64>,
}

#[derive(PartialEq, Eq, Debug)]
pub(super) enum Leased {
    Got { lease: u64, end: u32, from_shards: BTreeMap<u16, u64> },
    Pending,
    Absent,
}

pub(super) struct Model {
    config: PoolConfig,
    objects: BTreeMap<Name, Object>,
    leases: Vec<Hold>, // in the order in which they were given
    puts: Vec<Hold>,
    down: BTreeSet<u16>,
    uses: u64,
    numbers: u64,
    pub(super) counts: PoolCounts,
    /// Where the order of eviction is not modelled: tokens of each shard of which it is not known yet what went.
    pub(super) owed: BTreeMap<u16, u64>,
}

impl Model {
    pub(super) fn new(config: PoolConfig) -> Self {
        Self {
            config,
            objects: BTreeMap::new(),
            leases: Vec::new(),
            puts: Vec::new(),
            down: BTreeSet::new(),
            uses: 0,
            numbers: 0,
            counts: PoolCounts::default(),
            owed: BTreeMap::new(),
        }
    }

    fn is_ordered(&self) -> bool {
        matches!(self.config.eviction, Eviction::Lru | Eviction::Fifo)
    }

    fn is_held(&self, name: Name) -> bool {
        self.leases.iter().chain(&self.puts).any(|hold| hold.objects.iter().any(|object| object.name == name))
    }

    fn all_held(&self) -> BTreeSet<Name> {
        let holds = self.leases.iter().chain(&self.puts);
        holds.flat_map(|hold| &hold.objects).map(|object| object.name).collect()
    }

    fn is_there(&self, name: Name) -> bool {
        self.objects.get(&name).is_some_and(|object| object.state == State::Ready && !object.doomed)
    }

    /// Ready objects that nobody holds.
    fn idle(&self) -> impl Iterator<Item = (Name, &Object)> {
        let held = self.all_held();
        let ready = self.objects.iter().filter(|(_, object)| object.state == State::Ready);
        ready.map(|(name, object)| (*name, object)).filter(move |(name, _)| !held.contains(name))
    }

    pub(super) fn idle_names(&self) -> Vec<Name> {
        self.idle().map(|(name, _)| name).collect()
    }

    pub(super) fn used(&self, shard: u16) -> u64 {
        let objects = self.objects.values().filter(|object| object.shard == shard);
        objects.map(|object| object.tokens).sum::<u64>() - self.owed.get(&shard).copied().unwrap_or(0)
    }

    /// Tokens of ready objects that somebody holds, by shard.
    pub(super) fn pinned(&self) -> BTreeMap<u16, u64> {
        let (held, mut pinned) = (self.all_held(), BTreeMap::new());
        for (name, object) in &self.objects {
            if object.state == State::Ready && held.contains(name) {
                *pinned.entry(object.shard).or_default() += object.tokens;
            }
        }
        pinned
    }

    pub(super) fn is_up(&self, shard: u16) -> bool {
        !self.down.contains(&shard)
    }

    pub(super) fn probe(&self, objects: &[Place]) -> u32 {
        objects.iter().take_while(|object| self.is_there(object.name)).count() as u32
    }

    pub(super) fn is_live(&self, lease: u64, now: Time) -> bool {
        let hold = self.leases.iter().find(|hold| hold.number == lease && now < hold.ends);
        hold.is_some_and(|hold| hold.objects.iter().all(|object| self.is_there(object.name)))
    }

    /// Frees at least so many tokens of a shard where that can be; gives how many.
    fn evict(&mut self, shard: u16, tokens: u64) -> u64 {
        let of_shard = self.idle().filter(|(_, object)| object.shard == shard);
        let mut idle: Vec<_> = of_shard.map(|(name, object)| (object.order, name, object.tokens)).collect();
        idle.sort_unstable();
        // Where the order is not known, all weigh the same, and some of these may have gone before.
        let mut known = self.owed.get(&shard).copied().unwrap_or(0);
        let mut gone = 0;
        for (_, oldest, weight) in idle {
            if gone >= tokens {
                break;
            }
            if known > 0 {
                known -= weight;
                continue;
            }
            if self.is_ordered() {
                self.objects.remove(&oldest);
            } else {
                *self.owed.entry(shard).or_default() += weight;
            }
            gone += weight;
        }
        self.counts.evicted += gone;
        gone
    }

    /// An object is known to be gone, where it was not known which would go.
    pub(super) fn went(&mut self, name: Name) {
        let object = self.objects.remove(&name).expect("it was there");
        *self.owed.get_mut(&object.shard).expect("something was to go") -= object.tokens;
    }

    /// A holder gives back what it held: a use of what is there.
    fn give_back(&mut self, hold: Hold, upto: u32, now: Time) {
        self.uses += 1;
        let others = self.all_held();
        for Place { name, index, .. } in hold.objects {
            let held = others.contains(&name);
            let Some(object) = self.objects.get_mut(&name) else { continue };
            let order = (self.uses, Reverse(index));
            if object.state == (State::Pending { put: hold.number }) {
                if object.doomed || index >= upto {
                    self.objects.remove(&name);
                    continue;
                }
                object.state = State::Ready;
                (object.order, object.at) = (order, now);
            }
            if held || object.state != State::Ready {
                continue;
            }
            if object.doomed {
                self.objects.remove(&name);
            } else if self.config.eviction != Eviction::Fifo {
                (object.order, object.at) = (order, now);
            }
        }
    }

    pub(super) fn lease(&mut self, objects: &[Place], now: Time, waits: bool) -> Leased {
        self.timeout(now);
        let got = &objects[..self.probe(objects) as usize];
        let pending =
            |name: &Name| self.objects.get(name).is_some_and(|object| object.state != State::Ready && !object.doomed);
        if waits && objects.first().is_some_and(|object| pending(&object.name)) {
            return Leased::Pending;
        }
        self.counts.misses += weight(&objects[got.len()..]);
        let Some(last) = got.last() else { return Leased::Absent };
        self.counts.hits += weight(got);
        let mut from_shards = BTreeMap::new();
        got.iter().for_each(|o| *from_shards.entry(self.objects[&o.name].shard).or_default() += o.tokens);
        self.numbers += 1;
        self.leases.push(Hold { number: self.numbers, objects: got.to_vec(), ends: now + self.config.lease_ttl });
        Leased::Got { lease: self.numbers, end: last.index + 1, from_shards }
    }

    /// Whether it was under way.
    pub(super) fn release(&mut self, lease: u64, now: Time) -> bool {
        self.timeout(now);
        let Some(place) = self.leases.iter().position(|hold| hold.number == lease) else { return false };
        let hold = self.leases.remove(place);
        self.give_back(hold, 0, now);
        self.age(now);
        true
    }

    /// `shards` says where each object would go.
    pub(super) fn begin_put(&mut self, objects: &[Place], shards: &[Option<u16>], from: u32, now: Time) -> Begun {
        self.timeout(now);
        let mut new = BTreeMap::new();
        if objects.is_empty() || shards[0].is_none() {
            self.counts.skipped += weight(objects);
            return Begun { put: None, end: from, new };
        }
        self.numbers += 1;
        let put = self.numbers;
        // While room is made, all that was asked for is held.
        self.puts.push(Hold { number: put, objects: objects.to_vec(), ends: now + self.config.put_ttl });
        let mut end = objects.len();
        for (n, (Place { name, index, tokens }, shard)) in objects.iter().zip(shards).enumerate() {
            if self.objects.contains_key(name) {
                self.counts.present += tokens;
                continue;
            }
            let shard = shard.expect("all or none are up");
            let free = self.config.shard_tokens() - self.used(shard);
            if free < *tokens && free + self.evict(shard, tokens - free) < *tokens {
                end = n;
                break;
            }
            let state = State::Pending { put };
            let order = (0, Reverse(*index));
            self.objects.insert(*name, Object { shard, tokens: *tokens, state, doomed: false, order, at: now });
            self.counts.puts += tokens;
            *new.entry(shard).or_default() += tokens;
        }
        let mut hold = self.puts.pop().expect("it was pushed");
        let beyond = Hold { objects: hold.objects.split_off(end), ..hold };
        let absent: Vec<Place> =
            beyond.objects.iter().copied().filter(|object| !self.objects.contains_key(&object.name)).collect();
        self.counts.skipped += weight(&absent);
        let (number, ends) = (put, beyond.ends);
        let hold = Hold { number, ends, objects: hold.objects };
        // The range is still held when what is beyond is given back.
        self.puts.push(hold);
        self.give_back(beyond, 0, now);
        if new.is_empty() {
            let hold = self.puts.pop().expect("it was pushed");
            self.give_back(hold, 0, now);
        }
        if let Backend::TieredStorage { watermark, evict } = self.config.backend {
            let permille = |share: u16| self.config.shard_tokens() * u64::from(share) / 1000;
            let (watermark, evict) = (permille(watermark), permille(evict));
            for shard in 0..self.config.shards {
                if self.is_up(shard) && self.used(shard) > watermark {
                    self.evict(shard, evict);
                }
            }
        }
        self.age(now);
        Begun { put: (!new.is_empty()).then_some(put), end: from + end as u32, new }
    }

    /// Whether it was under way.
    pub(super) fn end_put(&mut self, put: u64, upto: u32, now: Time) -> bool {
        self.timeout(now);
        let Some(place) = self.puts.iter().position(|hold| hold.number == put) else { return false };
        let hold = self.puts.remove(place);
        self.give_back(hold, upto, now);
        self.age(now);
        true
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let holds = self.leases.iter().chain(&self.puts).map(|hold| hold.ends).min();
        let aged = |ttl: Span| self.idle().map(|(_, object)| object.at + ttl).min();
        [holds, self.config.ttl.and_then(aged)].into_iter().flatten().min()
    }

    pub(super) fn timeout(&mut self, now: Time) {
        while let Some(due) = self.deadline().filter(|due| *due <= now) {
            if let Some(place) = self.leases.iter().position(|hold| hold.ends <= due) {
                let hold = self.leases.remove(place);
                self.counts.expired_leases += 1;
                self.give_back(hold, 0, due);
            } else if let Some(place) = self.puts.iter().position(|hold| hold.ends <= due) {
                let hold = self.puts.remove(place);
                self.counts.discarded += 1;
                self.give_back(hold, 0, due);
            }
            self.age(due);
        }
    }

    fn age(&mut self, now: Time) {
        let Some(ttl) = self.config.ttl else { return };
        for name in self.idle_names() {
            if self.objects[&name].at + ttl <= now {
                let aged = self.objects.remove(&name).expect("it was there");
                self.counts.aged += aged.tokens;
            }
        }
    }

    pub(super) fn lose_shard(&mut self, shard: u16, now: Time) {
        self.timeout(now);
        self.down.insert(shard);
        let lost: Vec<Name> = self.objects.iter().filter(|(_, o)| o.shard == shard).map(|(name, _)| *name).collect();
        lost.into_iter().for_each(|name| self.lose(name));
    }

    pub(super) fn restore_shard(&mut self, shard: u16) {
        self.down.remove(&shard);
    }

    pub(super) fn lose_object(&mut self, name: Name, now: Time) {
        self.timeout(now);
        self.lose(name);
    }

    fn lose(&mut self, name: Name) {
        let held = self.is_held(name);
        match self.objects.get_mut(&name) {
            Some(object) if held => object.doomed = true,
            Some(_) => drop(self.objects.remove(&name)),
            None => {}
        }
    }
}

fn weight(objects: &[Place]) -> u64 {
    objects.iter().map(|object| object.tokens).sum()
}
