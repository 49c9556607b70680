//! A worker's cache over all tiers: the device (L0), its own host memory (L1), and the pool that all share (L2).
//!
//! The machine says what to move and is told what came of it; whoever owns the wires moves it. [`Op`]s come out of
//! [`TieredCache::poll_op`] and their outcome goes back into [`TieredCache::op_done`]: whole, short, failed, late,
//! twice, or after the request has gone.
//!
//! Laws ([`TieredCache::check`], and the tests against a reference):
//! * L0's own laws hold at any time (see [`WorkerCache`]); lower tiers never change what L0 may evict.
//! * Blocks that a load writes to are nobody else's until that load has ended, whatever became of its request.
//! * A load pins what it reads from L1 and gives every pin back exactly once.
//! * One prefix is loaded once: whoever needs an object that is on its way waits for it.
//! * What a load brought is a prefix: an outcome is the end of it, never a set.
//! * An operation ends once; a second outcome, or one that nobody waits for, changes nothing: nor does one that comes
//!   after the worker has restarted ([`TieredCache::restart`]).
//! * Where nothing is loaded or stored, this is exactly [`WorkerCache`].

use crate::breaker::Breaker;
use crate::chain::Chain;
use crate::event::{CacheEvent, CacheSnapshot};
use crate::host::HostCache;
use crate::shelf::Shelved;
use crate::time::Time;
use crate::units::{Blocks, RequestId, Tokens};
use crate::worker::{HoldId, NoRoom, Usage, WorkerCache};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

mod config; // how the lower tiers are used
mod op; // work for whoever owns the wires, and what came of it
mod choice; // load, or compute again?
mod look; // what the tiers hold of a prompt
mod load; // from the tiers to the device
mod store; // from the device to the tiers
mod restart; // all of it gone

pub use choice::{Choice, Costs, TierCost};
pub use config::{Deadline, LoadMode, StoreMode, TierConfig};
pub use load::LoadEnd;
pub use look::{Inquiry, Looked, Offer, Wanted};
pub use op::{Contact, Done, Failed, Op, OpId, Task, Woken};

use choice::Pace;
use load::Load;
use store::Store;

/// The cache of one worker, all tiers.
#[derive(Debug)]
pub struct TieredCache {
    device: WorkerCache,
    tiers: Option<Box<Tiers>>,
}

/// What lies below the device.
#[derive(Debug)]
struct Tiers {
    config: TierConfig,
    block: Tokens,
    host: Option<HostCache>,
    breaker: Breaker,
    pace: Pace,
    probes: Vec<Probe>,
    loads: Vec<Load>,
    stores: Vec<Store>,
    /// Objects of each hold that are stored, or need not be, by number of the hold.
    stored: Vec<Blocks>,
    ops: VecDeque<Op>,
    next: u64,
    counts: TierCounts,
}

/// A look-up in the pool under way.
#[derive(Clone, Copy, Debug)]
struct Probe {
    op: OpId,
    request: RequestId,
    /// From which object on it asks, and when it was asked.
    from: Blocks,
    at: Time,
    /// By when it is to be answered, with what is known by then.
    deadline: Time,
}

/// What the lower tiers have done since the worker started. Tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierCounts {
    /// Loaded from L1.
    pub from_host: u64,
    /// Loaded from L2.
    pub from_pool: u64,
    /// Promised by a look-up and not loaded.
    pub fell_short: u64,
    /// Computed again by choice, though a tier had them.
    pub declined: u64,
    /// Loads that came short, or failed.
    pub short_loads: u64,
    /// Times that somebody waited for another's load of the same prefix.
    pub shared_loads: u64,
}

/// What a request was given at its admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// What it holds.
    pub hold: HoldId,
    /// The load that it waits for, to be started by [`TieredCache::start_load`].
    pub load: Option<OpId>,
}

impl TieredCache {
    /// `device` over lower tiers, or over none.
    #[must_use]
    pub fn new(device: WorkerCache, tiers: Option<TierConfig>) -> Self {
        let block = device.config().block;
        // Without prefix caching nothing has an identity to be found by.
        let tiers = tiers.filter(|_| device.config().prefix_caching);
        Self { device, tiers: tiers.map(|config| Box::new(Tiers::new(config, block))) }
    }

    /// The same cache, whose L1 tells what comes and goes ([`TieredCache::take_shelved`]).
    #[must_use]
    pub fn telling(mut self) -> Self {
        if let Some(tiers) = &mut self.tiers {
            tiers.host = tiers.host.take().map(HostCache::telling);
        }
        self
    }

    /// Which objects came to L1 and went since this was asked last, in order.
    pub fn take_shelved(&mut self) -> Vec<Shelved> {
        let host = self.tiers.as_mut().and_then(|tiers| tiers.host.as_mut());
        host.map(HostCache::take_told).unwrap_or_default()
    }

    /// What lies in L1 under an object's name is not what it should be: it goes.
    pub fn lose_in_host(&mut self, objects: Chain<'_>, object: Blocks) {
        if let Some(host) = self.tiers.as_mut().and_then(|tiers| tiers.host.as_mut()) {
            host.lose_object(objects, object);
        }
    }

    /// L0 alone.
    #[must_use]
    pub const fn device(&self) -> &WorkerCache {
        &self.device
    }

    /// L1 alone, where there is one.
    #[must_use]
    pub fn host(&self) -> Option<&HostCache> {
        self.tiers.as_ref()?.host.as_ref()
    }

    /// How the lower tiers are used, where there are any.
    #[must_use]
    pub fn tiers(&self) -> Option<&TierConfig> {
        self.tiers.as_deref().map(|tiers| &tiers.config)
    }

    /// The objects of a prompt of `prompt` tokens: what bounds of operations count.
    #[must_use]
    pub fn objects<'a>(&self, chain: Chain<'a>, prompt: Tokens) -> Chain<'a> {
        self.tiers.as_ref().map_or(chain, |tiers| tiers.objects(chain, prompt))
    }

    /// What the lower tiers have done.
    #[must_use]
    pub fn counts(&self) -> TierCounts {
        self.tiers.as_ref().map_or_else(TierCounts::default, |tiers| tiers.counts)
    }

    /// How often the worker began to leave L2 alone.
    #[must_use]
    pub fn breaker_opened(&self) -> u64 {
        self.tiers.as_ref().map_or(0, |tiers| tiers.breaker.opened())
    }

    /// Device blocks that can be had.
    #[inline]
    #[must_use]
    pub fn available(&self) -> Blocks {
        self.device.available()
    }

    /// Whether a request with this offer could hold its first `upto` tokens now.
    #[must_use]
    pub fn has_room(&self, offer: &Offer, upto: Tokens) -> bool {
        self.device.has_room(&offer.found, upto)
    }

    /// Begins to hold what was offered, and blocks for tokens up to `upto` besides; `upto` is not before the offer's end.
    ///
    /// # Errors
    /// [`NoRoom`], and nothing changed.
    pub fn begin(
        &mut self,
        request: RequestId,
        chain: Chain<'_>,
        offer: &Offer,
        upto: Tokens,
        now: Time,
    ) -> Result<Admission, NoRoom> {
        let hold = self.device.begin(offer.found, upto)?;
        let load = self.tiers.as_mut().and_then(|tiers| tiers.admitted(request, chain, hold, offer, now));
        Ok(Admission { hold, load })
    }

    /// Takes `needed` more device blocks for requests that hold something already.
    ///
    /// # Errors
    /// [`NoRoom`], and nothing changed.
    pub fn reserve(&mut self, needed: Blocks) -> Result<(), NoRoom> {
        self.device.reserve(needed)
    }

    /// A pass ended: the request's first `computed` tokens are there. Full blocks become resident, and full chunks of
    /// the prompt go on their way to the lower tiers.
    ///
    /// # Panics
    /// Where some of them are still to come from a load.
    pub fn commit(
        &mut self,
        request: RequestId,
        hold: HoldId,
        chain: Chain<'_>,
        prompt: Tokens,
        computed: Tokens,
        now: Time,
    ) {
        self.device.commit(hold, chain, computed);
        self.store(request, hold, chain, prompt, computed, now);
    }

    /// What is still on its way is no content: whoever finds it would read what was there before.
    fn assert_is_there(&self, hold: HoldId, computed: Tokens) {
        let Some(tiers) = &self.tiers else { return };
        let awaits = |load: &Load| load.hold == hold && load.left.is_none() && !load.given_up && load.device < computed;
        assert!(!tiers.loads.iter().any(awaits), "only what has come is committed");
    }

    /// A pass has computed the request's first `computed` tokens, and has not ended: full chunks of the prompt go on
    /// their way to the lower tiers already. For an engine that waits for its stores before it tells what it computed.
    ///
    /// # Panics
    /// As [`TieredCache::commit`].
    pub fn store(
        &mut self,
        request: RequestId,
        hold: HoldId,
        chain: Chain<'_>,
        prompt: Tokens,
        computed: Tokens,
        now: Time,
    ) {
        self.assert_is_there(hold, computed);
        if let Some(tiers) = &mut self.tiers {
            tiers.store(request, chain, hold, prompt, computed, now);
        }
    }

    /// What a load brought becomes resident: `got` as [`LoadEnd`] says.
    pub fn commit_loaded(&mut self, hold: HoldId, chain: Chain<'_>, got: Tokens) {
        self.device.commit(hold, chain, got);
    }

    /// The request lets go of everything, as [`WorkerCache::release`]; where a load still writes to its blocks, they
    /// stay pinned until that has ended.
    pub fn release(&mut self, hold: HoldId, reserved: Tokens) {
        if self.tiers.as_mut().is_some_and(|tiers| tiers.keeps(hold, reserved)) {
            return;
        }
        self.device.release(hold, reserved);
    }

    /// Device blocks private to the request.
    #[must_use]
    pub fn private_of(&self, hold: HoldId, reserved: Tokens) -> Blocks {
        self.device.private_of(hold, reserved)
    }

    /// Device blocks that loads keep whose requests have gone.
    #[must_use]
    pub fn kept_for_loads(&self) -> Blocks {
        let Some(tiers) = &self.tiers else { return Blocks::ZERO };
        let kept = tiers.loads.iter().filter_map(|load| Some((load.hold, load.left?)));
        kept.map(|(hold, reserved)| self.device.private_of(hold, reserved)).sum()
    }

    /// The next operation that nobody was told of yet.
    #[inline]
    pub fn poll_op(&mut self) -> Option<Op> {
        self.tiers.as_mut()?.ops.pop_front()
    }

    /// An operation ended. What nobody waits for changes nothing.
    pub fn op_done(&mut self, op: OpId, outcome: Result<Done, Failed>, now: Time) -> Option<Woken> {
        let tiers = self.tiers.as_mut()?;
        if let Some(place) = tiers.probes.iter().position(|probe| probe.op == op) {
            return Some(tiers.probed(place, outcome, now));
        }
        if let Some(place) = tiers.loads.iter().position(|load| load.op == op && load.started.is_some()) {
            return self.loaded(place, outcome, now);
        }
        let place = tiers.stores.iter().position(|store| store.op == op)?;
        tiers.store_done(place, outcome, now)
    }

    /// Stores whose copy off the device is under way: under [`StoreMode::Blocking`] the engine waits for them.
    #[must_use]
    pub fn copying(&self) -> usize {
        self.tiers.as_ref().map_or(0, |tiers| tiers.stores.iter().filter(|store| !store.copied).count())
    }

    /// The next moment at which [`TieredCache::timeout`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let tiers = self.tiers.as_ref()?;
        let awaited = tiers.loads.iter().filter(|load| !load.given_up && load.left.is_none());
        awaited.filter_map(|load| load.deadline).min()
    }

    /// The next change of L0 that nobody was told of yet.
    pub fn poll_event(&mut self) -> Option<CacheEvent> {
        self.device.poll_event()
    }

    /// [`WorkerCache::tell_by_strand`] of the device.
    pub const fn tell_by_strand(&mut self, by_strand: bool) {
        self.device.tell_by_strand(by_strand);
    }

    /// Hands the next changes of L0 that nobody was told of yet, at most `most` of them, to `hear`, in order, where there are
    /// any.
    pub fn take_events(&mut self, most: usize, hear: impl FnOnce(&[CacheEvent])) {
        self.device.take_events(most, hear);
    }

    /// All that L0 holds, as [`WorkerCache::snapshot`].
    #[must_use]
    pub fn snapshot(&self) -> CacheSnapshot {
        self.device.snapshot()
    }

    /// Where the device blocks are.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.device.usage()
    }

    /// Asserts every law of all tiers. O(live state).
    ///
    /// # Panics
    /// Where one is broken: a bug.
    pub fn check(&self) {
        self.device.check();
        let Some(tiers) = &self.tiers else { return };
        if let Some(host) = &tiers.host {
            host.check();
            let idle = tiers.loads.is_empty() && tiers.stores.is_empty();
            let usage = host.usage();
            assert!(!idle || (usage.pinned, usage.pending) == (0, 0), "nothing moves, nothing is pinned or pending");
        }
        let goes_on = tiers.stores.iter().all(|store| store.pool || !store.copied);
        assert!(goes_on, "a store that was copied goes on to L2, or has ended");
        for (place, load) in tiers.loads.iter().enumerate() {
            assert!(load.from < load.to && load.from <= load.host && load.host <= load.to, "a load moves a prefix");
            assert!(load.left.is_none() || load.started.is_some(), "only a load under way keeps blocks");
            let others = &tiers.loads[place + 1..];
            assert!(others.iter().all(|other| other.hold != load.hold && other.op != load.op), "one load per request");
        }
    }
}

impl Tiers {
    fn new(config: TierConfig, block: Tokens) -> Self {
        Self {
            host: config.host.map(HostCache::new),
            breaker: Breaker::new(config.breaker),
            pace: Pace::default(),
            config,
            block,
            probes: Vec::new(),
            loads: Vec::new(),
            stores: Vec::new(),
            stored: Vec::new(),
            ops: VecDeque::new(),
            next: 0,
            counts: TierCounts::default(),
        }
    }

    /// Some evictions ask how long ago a use was.
    fn tell_host(&mut self, now: Time) {
        if let Some(host) = &mut self.host {
            host.tell(now);
        }
    }

    fn number(&mut self) -> OpId {
        self.next += 1;
        OpId(self.next)
    }

    /// The objects of a prompt: its chain in chunks, the last, partial one among them where such are saved. Only a
    /// prompt's own tail is an object: nobody asks for the tail of a growing reply.
    fn objects<'a>(&self, chain: Chain<'a>, prompt: Tokens) -> Chain<'a> {
        let chunk = self.config.chunk;
        if self.config.save_unfull_chunk && !self.config.save_decode_cache {
            let pieces = chain.pieces();
            let end = pieces.partition_point(|piece| piece.end <= prompt);
            // Only where a piece ends can a prompt be told from what follows.
            if end > 0 && pieces[end - 1].end == prompt {
                return Chain::new(&pieces[..end], chunk).with_tail(true);
            }
        }
        chain.in_units_of(chunk)
    }
}
