//! Passes that somebody else executes: a shell with a model. It is handed each pass, and says how long it lasted; it is
//! handed each move of KV between the tiers, and says what came.
//!
//! Nothing else differs: who takes part, what is cached and where requests go is decided as in a simulation.

use super::{Cluster, Due, Event};
use crate::executor::Stretch;
use crate::replica::{EngineConfig, Pass, Replica};
use crate::transport::{Answer, Move, Transport, Way};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use kvcache::{CacheConfig, OpId, Piece, RequestId, Span, Time, WorkerId};

/// How long a pass may last of which nobody has said how long it lasted: ten days.
const LONGEST: Span = Span::from_secs(864_000);

impl Stretch {
    /// A pass that lasts as long as somebody will say.
    pub(super) fn unknown(pass: &Pass, now: Time) -> Self {
        Self {
            started: now,
            first: LONGEST,
            growth: Span::ZERO,
            passes: 1,
            steady: pass.steady,
            prefill: Span::ZERO,
            waited: Span::ZERO,
            idle: Span::ZERO,
            beyond: None,
        }
    }

    /// It lasted this long. Its time is split between prompts and decoders by their tokens.
    fn lasted(&mut self, pass: &Pass, span: Span) {
        self.first = span;
        let prompts = u128::from(pass.shape.tokens - pass.shape.decoders);
        let share = u128::from(span.0) * prompts / u128::from(pass.shape.tokens.max(1));
        self.prefill = Span(share as u64);
    }
}

impl Cluster {
    /// The same cluster, none of whose requests has arrived yet, with passes that somebody else executes: each is told as
    /// [`Event::Started`], and ends when [`Cluster::lasted`] has said so. Passes are planned one at a time, since what ends a
    /// reply is known when its pass has ended.
    ///
    /// # Panics
    /// Where a request has arrived.
    #[must_use]
    pub fn with_external_passes(mut self) -> Self {
        assert!(self.arrivals == 0, "passes are somebody else's from the first one on");
        (self.external, self.tells_caches) = (true, true);
        self.record_work = true;
        for station in &mut self.stations {
            let engine = station.replica.config();
            let engine = EngineConfig {
                async_scheduling: false,
                max_repeats: 1,
                record_work: true,
                cache: CacheConfig { events: true, ..engine.cache },
                ..*engine
            };
            let replica = Replica::new(engine).expect("what was valid is valid with one pass at a time");
            station.replica = replica.telling();
        }
        self.transport = self.transport.map(Transport::carried_outside);
        self
    }

    /// Of a move that was told as [`Event::Move`], the first `came` objects have come, which is all of them unless bytes are
    /// missing or are not what they should be: then the others of a load are in no tier any more.
    pub fn moved(&mut self, worker: WorkerId, op: OpId, came: u32) {
        let now = self.now;
        let Some(transport) = &mut self.transport else { return };
        let Some(spoiled) = transport.carried(worker, op, came, now) else { return };
        let replica = &mut self.stations[worker.index()].replica;
        for object in spoiled.places() {
            if let Some(pool) = transport.pool_mut() {
                pool.lose_object(spoiled.objects(), object, now);
            }
            replica.lose_in_host(spoiled.objects(), object);
        }
    }

    /// The same cluster, whose L2 is somewhere else: whoever carries its bytes is handed look-ups and puts too, and says what
    /// came of them ([`Cluster::answered`]). To be said before requests arrive, of a cluster with external passes.
    ///
    /// # Panics
    /// Where a request has arrived.
    #[must_use]
    pub fn with_pool_elsewhere(mut self) -> Self {
        assert!(self.arrivals == 0, "L2 is somewhere else from the first request on");
        self.transport = self.transport.map(Transport::with_pool_elsewhere);
        self
    }

    /// An L2 elsewhere was asked for a move that was told as [`Event::Move`], and this came of it. Of a load that is half: it
    /// has ended once [`Cluster::moved`] says what is on the device.
    pub fn answered(&mut self, worker: WorkerId, op: OpId, answer: Answer) {
        let now = self.now;
        if let Some(transport) = &mut self.transport {
            transport.answered(worker, op, answer, now);
        }
    }

    /// Nobody carries this load any more, since its request let go of its blocks while L2 was asked.
    pub fn withdrawn(&mut self, worker: WorkerId, op: OpId) {
        let now = self.now;
        if let Some(transport) = &mut self.transport {
            transport.withdrawn(worker, op, now);
        }
    }

    /// What prompt and reply of a request of `worker` are called from now on: see [`Replica::name`].
    pub fn name(&mut self, worker: WorkerId, request: RequestId, pieces: &[Piece]) -> bool {
        self.stations[worker.index()].replica.name(request, pieces)
    }

    /// A pass has begun that this cluster does not execute.
    pub(super) fn hand_out(&mut self, worker: WorkerId, pass: Pass) {
        let work = self.stations[worker.index()].replica.work().map(|(work, _)| work.clone()).unwrap_or_default();
        self.stations[worker.index()].handed = Some(pass);
        let (pass, work) = (Box::new(pass), Box::new(work));
        self.events.push_back(Event::Started { worker, pass, work, at: self.now });
    }

    /// Of the pass of `worker` that is under way, what was for `request` is not computed, since that was cancelled meanwhile. To
    /// be said before [`Cluster::lasted`].
    pub fn left_out(&mut self, worker: WorkerId, request: RequestId) {
        self.stations[worker.index()].replica.left_out(request);
    }

    /// The pass of `worker` that was told as started lasted `span`, or up to now where that is later. Nothing happens where
    /// its process has died meanwhile.
    pub fn lasted(&mut self, worker: WorkerId, span: Span) {
        let now = self.now;
        let station = &mut self.stations[worker.index()];
        let (Some(stretch), Some(pass)) = (&mut station.stretch, station.handed.take()) else { return };
        let least = now.since(stretch.started).max(Span(1));
        stretch.lasted(&pass, span.max(least).min(LONGEST));
        station.plan += 1;
        self.agenda.add(Due { at: stretch.ends(), worker, plan: station.plan });
    }
}

/// Tells what came and went in the lower tiers, and the stores that are to be carried out; gives the loads, which are told
/// when all that leads to them was.
pub(super) fn tell_moves(
    worker: WorkerId,
    replica: &mut Replica,
    transport: Option<&mut Transport>,
    events: &mut VecDeque<Event>,
) -> Vec<Move> {
    let Some(transport) = transport else { return Vec::new() };
    let of_pool = transport.pool_mut().map(kvcache::Pool::take_told).unwrap_or_default();
    for (worker, told) in [(Some(worker), replica.take_shelved()), (None, of_pool)] {
        if !told.is_empty() {
            events.push_back(Event::Shelved { worker, told });
        }
    }
    let (stores, loads): (Vec<_>, Vec<_>) =
        transport.take_handed().into_iter().partition(|handed| handed.way == Way::Store);
    events.extend(stores.into_iter().map(Event::Move));
    loads
}
