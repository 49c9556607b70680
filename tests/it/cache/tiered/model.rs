//! All tiers as one would write them down: who waits for what, object by object, with lists where the cache has trees.

use super::super::host::model::{Holding, Model as Host, Object};
use super::super::model::{Held, Model as Device, Name};
use super::choice::{Judge, Reach};
use kvcache::{
    Blocks, Breaker, BreakerState, CacheConfig, Choice, Inquiry, Op, OpId, RequestId, Span, Task, TierConfig,
    TierCounts, Time, Tokens,
};
use std::collections::BTreeMap;

mod outcomes; // what came of an operation

pub(super) use outcomes::contact;

/// A request's prompt, in blocks and in objects.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) request: RequestId,
    pub(super) names: &'a [Name],
    pub(super) objects: &'a [Object],
    pub(super) prompt: u32,
    pub(super) total: u32,
    /// Requests that wait besides.
    pub(super) others: u32,
}

/// What a look-up should answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Expected {
    pub(super) found: u32, // blocks on the device
    pub(super) device: u32,
    pub(super) cached: u32,
    pub(super) from: usize,
    pub(super) host: usize,
    pub(super) to: usize,
    known: usize,
    pub(super) declined: u32,
    asked: bool, // the pool has answered for it
}

/// What a request holds.
pub(super) struct Seat {
    pub(super) held: Held,
    stored: usize, // objects that need not be stored any more
    pub(super) load: Option<u64>,
}

struct Load {
    request: RequestId,
    objects: Vec<Object>,
    from: usize,
    host: usize,
    to: usize,
    promised: Expected,
    pin: Option<Holding>,
    write: Option<Holding>,
    started: Option<Time>,
    deadline: Option<Time>,
    given_up: bool,
    left: Option<Held>,
}

struct Question {
    request: RequestId,
    from: usize,
    at: Time,
    deadline: Time,
}

struct Store {
    write: Option<Holding>,
    at: Time,
    copied: bool,
    pool: bool,
}

pub(super) struct Model {
    block: u32,
    pub(super) device: Device,
    tiers: Option<TierConfig>,
    pub(super) host: Option<Host>,
    breaker: Option<Breaker>,
    judge: Judge,
    probes: BTreeMap<u64, Question>,
    loads: BTreeMap<u64, Load>,
    stores: BTreeMap<u64, Store>,
    number: u64,
    pub(super) ops: Vec<Op>,
    pub(super) counts: TierCounts,
}

/// Tokens of the first `count` objects.
pub(super) fn tokens_of(objects: &[Object], count: usize) -> u32 {
    objects.iter().take(count).map(|(_, tokens)| *tokens as u32).sum()
}

const fn blocks(count: usize) -> Blocks {
    Blocks(count as u32)
}

impl Model {
    pub(super) fn new(cache: CacheConfig, tiers: Option<TierConfig>) -> Self {
        let tiers = tiers.filter(|_| cache.prefix_caching);
        Self {
            block: cache.block.0,
            device: Device::new(cache),
            tiers,
            host: tiers.and_then(|tiers| tiers.host).map(Host::new),
            breaker: tiers.map(|tiers| Breaker::new(tiers.breaker)),
            judge: Judge::new(tiers),
            probes: BTreeMap::new(),
            loads: BTreeMap::new(),
            stores: BTreeMap::new(),
            number: 0,
            ops: Vec::new(),
            counts: TierCounts::default(),
        }
    }

    fn number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn in_host(&self, objects: &[Object], from: usize, to: usize) -> usize {
        self.host.as_ref().map_or(from, |host| host.find(objects, from, to))
    }

    /// What device and L1 have of it, and whether L1, if there is one, has the head, too.
    fn reach(&self, ask: Ask<'_>) -> (Expected, Reach, bool) {
        let found = self.device.find(ask.names, (ask.total - 1) / self.block);
        let device = found * self.block;
        let mut expected = Expected { found, device, cached: device, ..Expected::default() };
        let Some(tiers) = self.tiers else { return (expected, Reach::default(), false) };
        // An object counts where the request has all of it; a partial one, where there is nothing behind it.
        let is_whole = |count: &usize| {
            let end = tokens_of(ask.objects, *count);
            end <= ask.total && (end.is_multiple_of(tiers.chunk.0) || end == ask.total)
        };
        let end = (0..=ask.objects.len()).rev().find(is_whole).unwrap_or(0);
        let from = ((device / tiers.chunk.0) as usize).min(end);
        let head = self.in_host(ask.objects, 0, end);
        let host = self.in_host(ask.objects, from, end);
        let has_head = self.host.is_none() || head >= from;
        expected.known = if has_head { host } else { head };
        (expected, Reach { device, from, host, end }, has_head)
    }

    /// Whether there is anything to look for below the device.
    fn may_load(&self, ask: Ask<'_>, reach: Reach, inquiry: Inquiry) -> bool {
        let closed = inquiry == Inquiry::Closed || self.tiers.is_none_or(|tiers| tiers.choice == Choice::Never);
        !closed && tokens_of(ask.objects, reach.end).min(ask.total - 1) > reach.device
    }

    /// Whether somebody else's load brings what this request lacks first.
    pub(super) fn waits_for_another(&self, ask: Ask<'_>, inquiry: Inquiry) -> bool {
        let (_, reach, _) = self.reach(ask);
        self.may_load(ask, reach, inquiry) && self.is_under_way(ask, reach)
    }

    fn is_under_way(&self, ask: Ask<'_>, reach: Reach) -> bool {
        let needed = ask.objects[reach.from].0;
        self.under_way().any(|name| name == needed)
    }

    /// `None`: it must wait.
    pub(super) fn look_up(&mut self, ask: Ask<'_>, inquiry: &mut Inquiry, now: Time) -> Option<Expected> {
        let (mut expected, reach, has_head) = self.reach(ask);
        if !self.may_load(ask, reach, *inquiry) {
            return Some(expected);
        }
        if self.is_under_way(ask, reach) {
            self.counts.shared_loads += 1;
            return None;
        }
        let end = self.ask_pool(ask, reach, inquiry, now)?;
        expected.asked = matches!(inquiry, Inquiry::Known { .. });
        self.choose(&mut expected, ask, Reach { end, ..reach });
        if has_head {
            expected.known = expected.known.max(expected.to);
        }
        Some(expected)
    }

    /// Somebody who could do without the answer has the pool asked ahead of his turn: nothing else comes of it.
    pub(super) fn ask_ahead(&mut self, ask: Ask<'_>, inquiry: &mut Inquiry, now: Time) {
        if self.tiers.is_some_and(|tiers| matches!(tiers.choice, Choice::ByCost(_))) {
            let (_, reach, _) = self.reach(ask);
            if self.may_load(ask, reach, *inquiry) && !self.is_under_way(ask, reach) {
                self.ask_pool(ask, reach, inquiry, now);
            }
        }
    }

    /// Names of the objects that somebody waits for.
    pub(super) fn under_way(&self) -> impl Iterator<Item = Name> {
        let awaited = self.loads.values().filter(|load| !load.given_up);
        awaited.flat_map(|load| load.objects[load.from..load.to].iter().map(|(name, _)| *name))
    }

    /// How far L2 reaches; `None`: it is being asked.
    fn ask_pool(&mut self, ask: Ask<'_>, reach: Reach, inquiry: &mut Inquiry, now: Time) -> Option<usize> {
        let Reach { host, end, .. } = reach;
        if host == end || self.tiers.is_none_or(|tiers| !tiers.pool) {
            return Some(host);
        }
        match *inquiry {
            Inquiry::Known { from, upto } if from.0 as usize <= host && self.is_in_touch() => {
                Some((upto.0 as usize).clamp(host, end))
            }
            Inquiry::Known { .. } | Inquiry::Closed => Some(host),
            Inquiry::Asked { .. } => None,
            Inquiry::New => {
                let patience = self.judge.patience(ask, reach);
                let may_call = patience.is_some() && self.may_call(now);
                let Some(patience) = patience.filter(|_| may_call) else { return Some(host) };
                let id = self.number();
                let task = Task::Probe { from: blocks(host), to: blocks(end) };
                self.ops.push(Op { id: OpId(id), request: ask.request, task });
                let (request, deadline) = (ask.request, now + patience);
                self.probes.insert(id, Question { request, from: host, at: now, deadline });
                *inquiry = Inquiry::Asked { op: OpId(id), from: blocks(host) };
                None
            }
        }
    }

    fn is_in_touch(&self) -> bool {
        self.breaker.as_ref().is_some_and(|breaker| matches!(breaker.state(), BreakerState::Closed { .. }))
    }

    fn may_call(&mut self, now: Time) -> bool {
        self.breaker.as_mut().is_some_and(|breaker| breaker.may_call(now))
    }

    fn choose(&mut self, expected: &mut Expected, ask: Ask<'_>, reach: Reach) {
        match self.judge.decide(ask, reach) {
            Some(to) => {
                (expected.from, expected.host, expected.to) = (reach.from, reach.host.min(to), to);
                expected.cached = reach.cached(ask, to);
            }
            None if reach.end > reach.from => self.judge.forget(),
            None => {}
        }
        expected.declined = reach.cached(ask, reach.end) - expected.cached;
    }

    /// The request takes what it was told, and blocks for its first `upto` tokens. Gives its load's number.
    pub(super) fn begin(&mut self, ask: Ask<'_>, expected: Expected, upto: u32) -> Seat {
        let held = self.device.begin(ask.names, expected.found, upto.div_ceil(self.block));
        self.counts.declined += u64::from(expected.declined);
        match expected.asked {
            true => self.judge.asked(expected.to > expected.host),
            false => self.judge.asked_nobody(),
        }
        let mut seat = Seat { held, stored: expected.known, load: None };
        let Expected { from, host, to, .. } = expected;
        if to > from {
            let id = self.number();
            let pin = (host > from).then(|| self.host.as_mut().map(|tier| tier.pin(ask.objects, from, host)));
            let write = (to > host).then(|| self.host.as_mut().map(|tier| tier.reserve(ask.objects, host, to)));
            let load = Load {
                request: ask.request,
                objects: ask.objects.to_vec(),
                from,
                host,
                to,
                promised: expected,
                pin: pin.flatten(),
                write: write.flatten(),
                started: None,
                deadline: None,
                given_up: false,
                left: None,
            };
            self.loads.insert(id, load);
            seat.load = Some(id);
        }
        seat
    }

    /// A request that asks nobody takes all blocks and lets go of them.
    pub(super) fn flood(&mut self) {
        let mut held = Held::default();
        self.device.take(&mut held, self.device.available());
        self.device.release(&held);
        self.judge.asked_nobody();
    }

    pub(super) fn start(&mut self, id: u64, now: Time) {
        let deadline = self.tiers.expect("a load belongs to a tier").deadline;
        let load = self.loads.get_mut(&id).expect("it was planned");
        let (Load { from, host, to, request, .. }, (host_tokens, pool_tokens)) = (&*load, load.moved());
        let (from, host, to) = (blocks(*from), blocks(*host), blocks(*to));
        let (id, request) = (OpId(id), *request);
        let more = u64::from(host_tokens + pool_tokens) * deadline.per_1k.0 / 1024;
        (load.started, load.deadline) = (Some(now), Some(now + deadline.base + Span(more)));
        let task = Task::Load { from, host, to, host_tokens: Tokens(host_tokens), pool_tokens: Tokens(pool_tokens) };
        self.ops.push(Op { id, request, task });
    }

    /// The request's first `computed` tokens are there; gives the number of copies on the device.
    pub(super) fn commit(&mut self, seat: &mut Seat, ask: Ask<'_>, computed: u32, now: Time) -> u64 {
        let copies = self.device.commit(&mut seat.held, ask.names, computed / self.block);
        self.store(seat, ask, computed, now);
        copies
    }

    /// What lower tiers are to have of them, and nobody sent yet, goes down.
    pub(super) fn store(&mut self, seat: &mut Seat, ask: Ask<'_>, computed: u32, now: Time) {
        let Some(tiers) = self.tiers else { return };
        let saved = if tiers.save_decode_cache { computed } else { computed.min(ask.prompt) };
        let to = (0..=ask.objects.len()).rev().find(|count| tokens_of(ask.objects, *count) <= saved).unwrap_or(0);
        let from = seat.stored;
        if to <= from {
            return;
        }
        seat.stored = to;
        let write = self.host.as_mut().map(|host| host.reserve(ask.objects, from, to));
        let (host, new) = write.as_ref().map_or((from, 0), |write| (write.end, write.new));
        let pool = tiers.pool && self.may_call(now);
        if new == 0 && !pool {
            self.give_back(write, usize::MAX);
            return;
        }
        let id = self.number();
        self.stores.insert(id, Store { write, at: now, copied: false, pool });
        let (from, to, host) = (blocks(from), blocks(to), blocks(host));
        let task = Task::Store { from, to, host, host_tokens: Tokens(new as u32), pool };
        self.ops.push(Op { id: OpId(id), request: ask.request, task });
    }

    pub(super) fn commit_loaded(&mut self, seat: &mut Seat, ask: Ask<'_>, got: u32) {
        self.device.commit(&mut seat.held, ask.names, got / self.block);
    }

    /// The request lets go; what is being loaded stays.
    pub(super) fn release(&mut self, seat: Seat) {
        if let Some(id) = seat.load
            && let Some(load) = self.loads.get_mut(&id)
        {
            if load.started.is_some() {
                load.left = Some(seat.held);
                return;
            }
            let load = self.loads.remove(&id).expect("it was there");
            self.give_back(load.write, 0);
            self.give_back(load.pin, 0);
        }
        self.device.release(&seat.held);
    }

    fn give_back(&mut self, holding: Option<Holding>, upto: usize) {
        if let (Some(host), Some(holding)) = (&mut self.host, holding) {
            host.give_back(&holding, upto);
        }
    }

    /// Nothing is left but what was counted, and the numbers that operations go on from.
    pub(super) fn restart(&mut self) {
        self.device.restart();
        if let Some(host) = &mut self.host {
            host.clear();
        }
        self.breaker = self.tiers.map(|tiers| Breaker::new(tiers.breaker));
        self.judge = Judge::new(self.tiers);
        self.probes.clear();
        self.loads.clear();
        self.stores.clear();
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let awaited = self.loads.values().filter(|load| !load.given_up && load.left.is_none());
        awaited.filter_map(|load| load.deadline).min()
    }

    /// By when a load or a question must be answered, and whether it is a load that needs L2.
    pub(super) fn load(&self, op: OpId) -> (Option<Time>, bool) {
        if let Some(question) = self.probes.get(&op.0) {
            return (Some(question.deadline), false);
        }
        self.loads.get(&op.0).map_or((None, false), |load| (load.deadline, load.to > load.host))
    }

    /// Since when an operation is under way.
    pub(super) fn began(&self, op: OpId) -> Option<Time> {
        let question = self.probes.get(&op.0).map(|question| question.at);
        let load = || self.loads.get(&op.0).and_then(|load| load.started);
        question.or_else(load).or_else(|| self.stores.get(&op.0).map(|store| store.at))
    }

    /// Whether the breaker lets everything through.
    pub(super) fn is_closed(&self) -> bool {
        let state = self.breaker.as_ref().map(Breaker::state);
        state.is_none_or(|state| matches!(state, BreakerState::Closed { .. }))
    }

    pub(super) fn copying(&self) -> usize {
        self.stores.values().filter(|store| !store.copied).count()
    }

    /// Blocks that are private to requests which have gone.
    pub(super) fn kept(&self) -> u32 {
        self.loads.values().filter_map(|load| load.left.as_ref()).map(|held| held.private).sum()
    }

    /// Whether nothing moves.
    pub(super) fn is_idle(&self) -> bool {
        self.loads.is_empty() && self.stores.is_empty()
    }
}

impl Load {
    /// Tokens to move from L1 and from L2.
    fn moved(&self) -> (u32, u32) {
        let tokens = |from: usize, to: usize| tokens_of(&self.objects[from..to], to - from);
        (tokens(self.from, self.host), tokens(self.host, self.to))
    }
}
