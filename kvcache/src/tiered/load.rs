//! From the tiers to the device.

use super::{Contact, Done, Failed, Offer, Op, OpId, Task, TieredCache, Tiers, Woken};
use crate::chain::{BlockKey, Chain};
use crate::host::{HostPin, HostWrite};
use crate::time::Time;
use crate::units::{Blocks, RequestId, Tokens};
use crate::worker::HoldId;
use alloc::vec::Vec;

/// A load, planned or under way.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) op: OpId,
    pub(super) request: RequestId,
    pub(super) hold: HoldId,
    pub(super) from: Blocks,
    pub(super) host: Blocks,
    pub(super) to: Blocks,
    /// What its objects are, for whoever needs the same.
    pub(super) keys: Vec<BlockKey>,
    host_tokens: Tokens,
    pool_tokens: Tokens,
    pub(super) device: Tokens, // prompt tokens that were there before
    cached: Tokens,            // and that will be, if all comes
    chunk_end: Tokens,
    pin: Option<HostPin>,
    promoted: Option<HostWrite>,
    /// When it was started; `None`: planned.
    pub(super) started: Option<Time>,
    pub(super) deadline: Option<Time>,
    /// Its deadline passed: nobody waits for it any more.
    pub(super) given_up: bool,
    /// Its request let go; up to which token that had blocks.
    pub(super) left: Option<Tokens>,
}

/// How a load ended for its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadEnd {
    /// Whose.
    pub request: RequestId,
    /// Which operation.
    pub op: OpId,
    /// Prompt tokens that are on the device now: a prefix.
    pub got: Tokens,
    /// Whether that is all that was promised.
    pub whole: bool,
    /// Of those, loaded from L1.
    pub from_host: Tokens,
    /// Of those, loaded from L2.
    pub from_pool: Tokens,
}

impl Tiers {
    /// A request was admitted with `offer`: plans its load, if it has one.
    pub(super) fn admitted(
        &mut self,
        request: RequestId,
        chain: Chain<'_>,
        hold: HoldId,
        offer: &Offer,
        now: Time,
    ) -> Option<OpId> {
        if self.stored.len() <= hold.index() {
            self.stored.resize(hold.index() + 1, Blocks::ZERO);
        }
        self.stored[hold.index()] = offer.known;
        self.counts.declined += u64::from(offer.declined.0);
        if offer.asked {
            self.pace.asked(offer.to > offer.host);
        } else {
            self.pace.asked_nobody();
        }
        if !offer.loads() {
            return None;
        }
        let objects = self.objects(chain, offer.prompt);
        let ends_at = |object: Blocks| objects.tokens_before(object);
        let op = self.number();
        self.tell_host(now);
        let pin = self.host.as_mut().filter(|_| offer.host > offer.from);
        let pin = pin.map(|host| host.pin(objects, offer.from, offer.host));
        let promoted = self.host.as_mut().filter(|_| offer.to > offer.host);
        let promoted = promoted.map(|host| host.reserve(objects, offer.host, offer.to));
        self.loads.push(Load {
            op,
            request,
            hold,
            from: offer.from,
            host: offer.host,
            to: offer.to,
            keys: (offer.from.0..offer.to.0).map(|object| objects.key(Blocks(object))).collect(),
            host_tokens: ends_at(offer.host) - ends_at(offer.from),
            pool_tokens: ends_at(offer.to) - ends_at(offer.host),
            device: offer.device,
            cached: offer.cached(),
            chunk_end: objects.tokens(),
            pin,
            promoted,
            started: None,
            deadline: None,
            given_up: false,
            left: None,
        });
        Some(op)
    }

    /// A hold is let go of. Says whether a load under way keeps its blocks.
    pub(super) fn keeps(&mut self, hold: HoldId, reserved: Tokens) -> bool {
        let Some(place) = self.loads.iter().position(|load| load.hold == hold && load.left.is_none()) else {
            return false;
        };
        if self.loads[place].started.is_some() {
            self.loads[place].left = Some(reserved);
            return true;
        }
        let load = self.loads.swap_remove(place);
        let from = load.host;
        self.give_back(load, from);
        false
    }

    /// What a load held of L1 goes back; of what it was to bring there, objects before `upto` have come.
    fn give_back(&mut self, load: Load, upto: Blocks) {
        let Some(host) = &mut self.host else { return };
        if let Some(write) = load.promoted {
            host.publish(write, upto.max(load.host));
        }
        if let Some(pin) = load.pin {
            host.unpin(pin);
        }
    }
}

impl TieredCache {
    /// Starts a load that [`TieredCache::begin`] planned: its operation comes out of [`TieredCache::poll_op`].
    ///
    /// # Panics
    /// Where there is no such load, or it was started before.
    pub fn start_load(&mut self, op: OpId, now: Time) {
        let tiers = self.tiers.as_mut().expect("a load belongs to a tier");
        let deadline = tiers.config.deadline;
        let load =
            tiers.loads.iter_mut().find(|load| load.op == op).expect("a load is started while its request is here");
        assert!(load.started.is_none(), "a load is started once");
        load.started = Some(now);
        load.deadline = Some(deadline.of(load.host_tokens + load.pool_tokens, now));
        let Load { from, host, to, host_tokens, pool_tokens, request, .. } = *load;
        tiers.ops.push_back(Op { id: op, request, task: Task::Load { from, host, to, host_tokens, pool_tokens } });
    }

    /// By when a load or a probe under way is to be answered, with what there is by then.
    #[must_use]
    pub fn deadline_of(&self, op: OpId) -> Option<Time> {
        let tiers = self.tiers.as_ref()?;
        if let Some(probe) = tiers.probes.iter().find(|probe| probe.op == op) {
            return Some(probe.deadline);
        }
        tiers.loads.iter().find(|load| load.op == op)?.deadline
    }

    /// Whether the load, planned or under way, needs L2.
    #[must_use]
    pub fn needs_pool(&self, op: OpId) -> bool {
        let load = |tiers: &Tiers| tiers.loads.iter().any(|load| load.op == op && load.to > load.host);
        self.tiers.as_deref().is_some_and(load)
    }

    pub(super) fn loaded(&mut self, place: usize, outcome: Result<Done, Failed>, now: Time) -> Option<Woken> {
        let tiers = self.tiers.as_mut()?;
        let load = tiers.loads.swap_remove(place);
        let (upto, in_host) = match outcome {
            Ok(Done::Loaded { device, host, .. }) => {
                let upto = device.max(load.from).min(load.to);
                (upto, host.max(upto).min(load.to))
            }
            _ => (load.from, load.from),
        };
        let started = load.started.unwrap_or(now);
        if load.to > load.host {
            tiers.heard(Contact::of(&outcome), started, now);
        }
        if outcome.is_ok() {
            tiers.pace.saw(
                (load.host_tokens, load.pool_tokens),
                upto == load.to,
                now.since(started),
                &tiers.config.choice,
            );
        }
        let (hold, left, given_up, promised) = (load.hold, load.left, load.given_up, load.cached);
        let end = load.end(tiers.config.chunk, upto);
        tiers.tell_host(now);
        tiers.give_back(load, in_host);
        if !given_up {
            tiers.count(&end, promised);
        }
        if let Some(reserved) = left {
            self.device.release(hold, reserved);
            return Some(Woken::Room(end));
        }
        (!given_up).then_some(Woken::Loaded(end))
    }

    /// Gives up the loads whose deadline has passed, one a call. Their requests go on without; what is under way keeps
    /// its blocks until it has ended.
    pub fn timeout(&mut self, now: Time) -> Option<LoadEnd> {
        let tiers = self.tiers.as_mut()?;
        let late =
            |load: &&mut Load| !load.given_up && load.left.is_none() && load.deadline.is_some_and(|at| at <= now);
        let load = tiers.loads.iter_mut().find(late)?;
        load.given_up = true;
        let (end, promised) = (load.end(tiers.config.chunk, load.from), load.cached);
        tiers.count(&end, promised);
        Some(end)
    }
}

impl Tiers {
    fn count(&mut self, end: &LoadEnd, promised: Tokens) {
        self.counts.from_host += u64::from(end.from_host.0);
        self.counts.from_pool += u64::from(end.from_pool.0);
        self.counts.fell_short += u64::from((promised - end.got).0);
        self.counts.short_loads += u64::from(!end.whole);
    }
}

impl Load {
    /// What it means for the request that objects before `upto` came.
    fn end(&self, chunk: Tokens, upto: Blocks) -> LoadEnd {
        let ends_at = |object: Blocks| object.tokens(chunk).min(self.chunk_end).min(self.cached).max(self.device);
        let got = ends_at(upto);
        let split = ends_at(self.host.min(upto));
        LoadEnd {
            request: self.request,
            op: self.op,
            got,
            whole: upto == self.to,
            from_host: split - self.device,
            from_pool: got - split,
        }
    }
}
