//! All tiers as one would write them down: who waits for what, object by object, with lists where the cache has trees.

use super::super::host::model::{Holding, Model as Host, Object};
use super::super::model::{Held, Model as Device, Name};
use kvcache::{
    Blocks, Breaker, CacheConfig, Choice, Done, Failed, Inquiry, LoadEnd, Op, OpId, RequestId, Span, Task, TierConfig,
    TierCost, TierCounts, Time, Tokens, Woken,
};
use std::collections::BTreeMap;

/// A request's prompt, in blocks and in objects.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) request: RequestId,
    pub(super) names: &'a [Name],
    pub(super) objects: &'a [Object],
    pub(super) prompt: u32,
    pub(super) total: u32,
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
    copied: bool,
    pool: bool,
}

pub(super) struct Model {
    block: u32,
    pub(super) device: Device,
    tiers: Option<TierConfig>,
    pub(super) host: Option<Host>,
    pub(super) breaker: Option<Breaker>,
    pace: (u64, u64), // permille of the expected duration: L1, L2
    /// Permille of the questions that were of use.
    useful: u64,
    /// How long it took to learn that the pool has nothing.
    wasted: Option<u64>,
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
            pace: (1000, 1000),
            useful: 125,
            wasted: None,
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

    /// `None`: it must wait.
    pub(super) fn look_up(&mut self, ask: Ask<'_>, inquiry: &mut Inquiry, now: Time) -> Option<Expected> {
        let found = self.device.find(ask.names, (ask.total - 1) / self.block);
        let device = found * self.block;
        let mut expected = Expected { found, device, cached: device, ..Expected::default() };
        let Some(tiers) = self.tiers else { return Some(expected) };
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
        let lacking = tokens_of(ask.objects, end).min(ask.total - 1) > device;
        if !lacking || *inquiry == Inquiry::Closed || tiers.choice == Choice::Never {
            return Some(expected);
        }
        let needed = ask.objects[from].0;
        if self.under_way().any(|name| name == needed) {
            self.counts.shared_loads += 1;
            return None;
        }
        let patience = self.patience(&expected, ask, (from, host, end));
        let pool = self.ask_pool(ask.request, (host, end), patience, inquiry, now)?;
        expected.asked = matches!(inquiry, Inquiry::Known { .. });
        self.choose(&mut expected, ask, (from, host, pool));
        if has_head {
            expected.known = expected.known.max(expected.to);
        }
        Some(expected)
    }

    /// Names of the objects that somebody waits for.
    pub(super) fn under_way(&self) -> impl Iterator<Item = Name> {
        let awaited = self.loads.values().filter(|load| !load.given_up);
        awaited.flat_map(|load| load.objects[load.from..load.to].iter().map(|(name, _)| *name))
    }

    /// How long to wait for an answer: a quarter of what there is to be gained, where that, as often as answers are of use,
    /// is more than it takes to learn that there is nothing.
    fn patience(&self, expected: &Expected, ask: Ask<'_>, (from, host, end): (usize, usize, usize)) -> Option<Span> {
        let tiers = self.tiers?;
        let Choice::ByCost(costs) = tiers.choice else { return Some(Span::from_secs(3)) };
        let worth = |to: usize| {
            let cached = tokens_of(ask.objects, to).min(ask.total - 1).max(expected.device);
            let (upper, lower) = (&ask.objects[from..host.min(to)], &ask.objects[host.min(to)..to]);
            let moved = (tokens_of(upper, upper.len()), tokens_of(lower, lower.len()));
            let enough = cached > expected.device && cached - expected.device >= tiers.min_retrieve.0 && to > from;
            if enough { self.gain((expected.device, cached), moved).max(0) } else { 0 }
        };
        let gain = (worth(end) - worth(host)).max(0);
        let wasted = self.wasted.unwrap_or(costs.pool.fixed.0);
        let worth_it = gain * i128::from(self.useful) / 1000 > i128::from(wasted);
        worth_it.then(|| Span(u64::try_from(gain / 4).expect("it fits")))
    }

    fn ask_pool(
        &mut self,
        request: RequestId,
        (host, end): (usize, usize),
        patience: Option<Span>,
        inquiry: &mut Inquiry,
        now: Time,
    ) -> Option<usize> {
        if host == end || self.tiers.is_none_or(|tiers| !tiers.pool) {
            return Some(host);
        }
        match *inquiry {
            Inquiry::Known { from, upto } if from.0 as usize <= host => Some((upto.0 as usize).clamp(host, end)),
            Inquiry::Known { .. } | Inquiry::Closed => Some(host),
            Inquiry::Asked { .. } => None,
            Inquiry::New => {
                let may_call = patience.is_some() && self.breaker.as_mut().is_some_and(|breaker| breaker.may_call(now));
                let Some(patience) = patience.filter(|_| may_call) else { return Some(host) };
                let id = self.number();
                let task = Task::Probe { from: blocks(host), to: blocks(end) };
                self.ops.push(Op { id: OpId(id), request, task });
                self.probes.insert(id, Question { request, from: host, at: now, deadline: now + patience });
                *inquiry = Inquiry::Asked { op: OpId(id), from: blocks(host) };
                None
            }
        }
    }

    /// All of what L1 has, or that and all of what L2 has, or nothing: whichever gains most.
    fn choose(&mut self, expected: &mut Expected, ask: Ask<'_>, (from, host, pool): (usize, usize, usize)) {
        let Some(tiers) = self.tiers else { return };
        let cached = |to| tokens_of(ask.objects, to).min(ask.total - 1).max(expected.device);
        let most = cached(pool);
        let gain = |to: usize| {
            let (upper, lower) = (&ask.objects[from..host.min(to)], &ask.objects[host.min(to)..to]);
            let moved = (tokens_of(upper, upper.len()), tokens_of(lower, lower.len()));
            self.gain((expected.device, cached(to)), moved)
        };
        let enough =
            |to: &usize| cached(*to) > expected.device && cached(*to) - expected.device >= tiers.min_retrieve.0;
        let mut best: Option<(i128, usize)> = None;
        for to in [host, pool] {
            if to > from && enough(&to) && gain(to) > 0 && best.is_none_or(|(most, _)| gain(to) >= most) {
                best = Some((gain(to), to));
            }
        }
        if tiers.min_retrieve == Tokens::ZERO {
            // The ends of tiers are the best ends there are, but for the one token that is computed in any case.
            let token = i128::from(self.dearest_token(ask.total));
            let most = best.map_or(0, |(gain, _)| gain);
            assert!((from + 1..=pool).all(|to| gain(to) <= most + token), "another end gains more");
        }
        match best {
            Some((_, to)) => {
                (expected.from, expected.host, expected.to, expected.cached) = (from, host.min(to), to, cached(to));
            }
            None if pool > from => self.forget(),
            None => {}
        }
        expected.declined = most - expected.cached;
    }

    /// Picoseconds gained, expected from what loads have taken.
    fn gain(&self, (had, cached): (u32, u32), (from_host, from_pool): (u32, u32)) -> i128 {
        let costs = match self.tiers.map_or(Choice::Never, |tiers| tiers.choice) {
            Choice::Never => return 0,
            Choice::Always => return i128::from(cached),
            Choice::ByCost(costs) => costs,
        };
        let (new, pairs) =
            (i128::from(cached - had), (u64::from(had)..u64::from(cached)).map(|at| 2 * at + 1).sum::<u64>());
        let computing =
            new * i128::from(costs.new_token.0) + i128::from(pairs / 2) * i128::from(costs.pairs_1024.0) / 1024;
        let loading = |cost: TierCost, tokens: u32, pace: u64| match tokens {
            0 => 0,
            _ => {
                let moving = i128::from(cost.per_token.0) * i128::from(tokens);
                (i128::from(cost.fixed.0) + moving) * i128::from(pace) / 1000
            }
        };
        computing - loading(costs.host, from_host, self.pace.0) - loading(costs.pool, from_pool, self.pace.1)
    }

    /// What computing the last of `total` tokens takes at most.
    fn dearest_token(&self, total: u32) -> u64 {
        let Some(Choice::ByCost(costs)) = self.tiers.map(|tiers| tiers.choice) else { return 0 };
        costs.new_token.0 + u64::from(total) * costs.pairs_1024.0 / 1024 + 2
    }

    /// What is not tried is not learnt about.
    fn forget(&mut self) {
        self.pace.0 -= self.pace.0.saturating_sub(1000) / 64;
        self.pace.1 -= self.pace.1.saturating_sub(1000) / 64;
    }

    /// The request takes what it was told, and blocks for its first `upto` tokens. Gives its load's number.
    pub(super) fn begin(&mut self, ask: Ask<'_>, expected: Expected, upto: u32) -> Seat {
        let held = self.device.begin(ask.names, expected.found, upto.div_ceil(self.block));
        self.counts.declined += u64::from(expected.declined);
        if expected.asked {
            let now = if expected.to > expected.host { 1000 } else { 0 };
            self.useful = ((3 * self.useful + now) / 4).max(8);
        } else if let Some(wasted) = &mut self.wasted {
            *wasted -= *wasted / 128;
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

    pub(super) fn start(&mut self, id: u64, now: Time) {
        let deadline = self.tiers.expect("a load belongs to a tier").deadline;
        let load = self.loads.get_mut(&id).expect("it was planned");
        let Load { from, host, to, request, .. } = *load;
        let tokens = |from: usize, to: usize| tokens_of(&load.objects[from..to], to - from);
        let (host_tokens, pool_tokens) = (tokens(from, host), tokens(host, to));
        let more = u64::from(host_tokens + pool_tokens) * deadline.per_1k.0 / 1024;
        (load.started, load.deadline) = (Some(now), Some(now + deadline.base + Span(more)));
        let (from, host, to) = (blocks(from), blocks(host), blocks(to));
        let task = Task::Load { from, host, to, host_tokens: Tokens(host_tokens), pool_tokens: Tokens(pool_tokens) };
        self.ops.push(Op { id: OpId(id), request, task });
    }

    /// The request's first `computed` tokens are there; gives the number of copies on the device.
    pub(super) fn commit(&mut self, seat: &mut Seat, ask: Ask<'_>, computed: u32, now: Time) -> u64 {
        let copies = self.device.commit(&mut seat.held, ask.names, computed / self.block);
        let Some(tiers) = self.tiers else { return copies };
        let saved = if tiers.save_decode_cache { computed } else { computed.min(ask.prompt) };
        let to = (0..=ask.objects.len()).rev().find(|count| tokens_of(ask.objects, *count) <= saved).unwrap_or(0);
        let from = seat.stored;
        if to <= from {
            return copies;
        }
        seat.stored = to;
        let write = self.host.as_mut().map(|host| host.reserve(ask.objects, from, to));
        let new = write.as_ref().map_or(0, |write| write.new);
        let pool = tiers.pool && self.breaker.as_mut().is_some_and(|breaker| breaker.may_call(now));
        if new == 0 && !pool {
            self.give_back(write, usize::MAX);
            return copies;
        }
        let id = self.number();
        self.stores.insert(id, Store { write, copied: false, pool });
        let (from, to) = (blocks(from), blocks(to));
        let task = Task::Store { from, to, host_tokens: Tokens(new as u32), pool };
        self.ops.push(Op { id: OpId(id), request: ask.request, task });
        copies
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

    pub(super) fn op_done(&mut self, op: OpId, outcome: Result<Done, Failed>, now: Time) -> Option<Woken> {
        if let Some(Question { request, from, at, .. }) = self.probes.remove(&op.0) {
            self.heard(outcome, now);
            let upto = if let Ok(Done::Probed(upto)) = outcome { Some(upto) } else { None };
            if let (Some(Choice::ByCost(costs)), true) =
                (self.tiers.map(|tiers| tiers.choice), upto.is_none_or(|upto| upto.0 as usize <= from))
            {
                let before = self.wasted.unwrap_or(costs.pool.fixed.0);
                self.wasted = Some((3 * before + now.since(at).0) / 4);
            }
            return Some(Woken::Answered { request, op, upto });
        }
        if self.loads.get(&op.0).is_some_and(|load| load.started.is_some()) {
            return self.load_done(op, outcome, now);
        }
        let store = self.stores.get_mut(&op.0)?;
        let first = !store.copied;
        let (write, pool) = (store.write.take(), store.pool);
        store.copied = true;
        self.give_back(write, if outcome.is_ok() { usize::MAX } else { 0 });
        if !(pool && outcome == Ok(Done::Copied)) {
            self.stores.remove(&op.0);
            if pool {
                self.heard(outcome, now);
            }
        }
        first.then_some(Woken::Copied)
    }

    fn load_done(&mut self, op: OpId, outcome: Result<Done, Failed>, now: Time) -> Option<Woken> {
        let load = self.loads.remove(&op.0)?;
        let came = if let Ok(Done::Loaded(upto)) = outcome { upto.0 as usize } else { 0 }.clamp(load.from, load.to);
        if load.to > load.host {
            self.heard(outcome, now);
        }
        if let (Ok(_), Some(started)) = (outcome, load.started) {
            self.learn(&load, came == load.to, now.since(started));
        }
        let end = load.end(op, came);
        self.give_back(load.write, came);
        self.give_back(load.pin, 0);
        if let Some(held) = load.left {
            self.device.release(&held);
            return Some(Woken::Room);
        }
        if load.given_up {
            return None;
        }
        self.count(&end, load.promised.cached);
        Some(Woken::Loaded(end))
    }

    fn count(&mut self, end: &LoadEnd, promised: u32) {
        self.counts.from_host += u64::from(end.from_host.0);
        self.counts.from_pool += u64::from(end.from_pool.0);
        self.counts.fell_short += u64::from(promised - end.got.0);
        self.counts.short_loads += u64::from(!end.whole);
    }

    /// What a load took, against what was expected of it with nobody else on the way.
    fn learn(&mut self, load: &Load, whole: bool, took: Span) {
        let Some(Choice::ByCost(costs)) = self.tiers.map(|tiers| tiers.choice) else { return };
        let of = |cost: TierCost, tokens: u64| if tokens > 0 { cost.fixed.0 + cost.per_token.0 * tokens } else { 0 };
        let tokens = |from: usize, to: usize| u64::from(tokens_of(&load.objects[from..to], to - from));
        let alone = of(costs.host, tokens(load.from, load.host)) + of(costs.pool, tokens(load.host, load.to));
        let Some(ratio) = (took.0 * 1000).checked_div(alone) else { return };
        let ratio = ratio.min(100_000);
        let pace = if load.to > load.host { &mut self.pace.1 } else { &mut self.pace.0 };
        if whole || ratio > *pace {
            *pace = (3 * *pace + ratio) / 4;
        }
    }

    fn heard(&mut self, outcome: Result<Done, Failed>, now: Time) {
        let breaker = self.breaker.as_mut().expect("only a pool is heard of");
        if outcome == Err(Failed::Unreachable) { breaker.failed(now) } else { breaker.succeeded(now) }
    }

    /// The loads that are given up now.
    pub(super) fn timeout(&mut self, now: Time) -> Vec<LoadEnd> {
        let mut ends = Vec::new();
        for (id, load) in &mut self.loads {
            if !load.given_up && load.left.is_none() && load.deadline.is_some_and(|at| at <= now) {
                load.given_up = true;
                ends.push((load.end(OpId(*id), load.from), load.promised.cached));
            }
        }
        ends.iter().for_each(|(end, promised)| self.count(end, *promised));
        ends.into_iter().map(|(end, _)| end).collect()
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
    fn end(&self, op: OpId, came: usize) -> LoadEnd {
        let Expected { device, cached, .. } = self.promised;
        let got_by = |count: usize| tokens_of(&self.objects, count).clamp(device, cached);
        let (from_host, got) = (got_by(came.min(self.host)), got_by(came));
        LoadEnd {
            request: self.request,
            op,
            got: Tokens(got),
            whole: came == self.to,
            from_host: Tokens(from_host - device),
            from_pool: Tokens(got - from_host),
        }
    }
}
