//! Real computation in virtual time: each pass of each worker runs alone, on the calling thread, and the CPU time that the
//! thread spent on it is how long it lasted. So eight workers are eight machines, however many cores there are here. KV moves
//! between the tiers as bytes, and takes what the lab's links take.
//!
//! What prompts and replies say is the workload's: a token is drawn from the name of its piece and its place, so that
//! prompts that share pieces share tokens, and a reply that a later prompt holds is the one that was computed.

use super::{Compute, Computes, Fit, Pass, Timed};
use crate::emulate::candle::Loaded;
use crate::experiment::Assembled;
use crate::failure::Failure;
use kvcache::{Piece, PieceKey, RequestId, Span, Tokens, WorkerId};
use nix::time::{ClockId, clock_gettime};
use sim::cluster::{Cluster, Event};
use sim::replica::Work;
use sim::simulate::Shell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use worker::depot::Depot;
use worker::engine::{Ask, Memory, Reply, Worker};
use worker::kernel::Level;

/// New tokens of the pass that a worker runs before anything is timed: its memory is taken then.
const FIRST: u32 = 64;

/// A model from which runs in virtual time get their workers.
#[derive(Debug)]
pub struct Hybrid {
    /// The model.
    pub loaded: Loaded,
    /// What it asks of an engine.
    pub fit: Fit,
}

/// The workers of one run.
#[derive(Debug)]
pub struct Machines {
    workers: Vec<Worker>,
    vocab: u64,
    asked: BTreeMap<RequestId, (Vec<Piece>, Tokens)>,
    depot: Depot,
    timed: Timed,
}

impl Computes for Hybrid {
    fn fit(&self) -> &Fit {
        &self.fit
    }

    fn workers(&self, assembled: &Assembled) -> Result<Box<dyn Compute>, Failure> {
        let cache = assembled.engine.cache;
        let memory = Memory { block: cache.block, pages: cache.capacity.0 };
        let model = &self.loaded.model;
        let worker = |_| Worker::new(Arc::clone(model), memory, Level::detect(), 1);
        let workers = (0..assembled.router.workers).map(worker).collect::<std::io::Result<Vec<_>>>();
        let mut workers = workers.map_err(|error| Failure::Failed(format!("cannot start a worker: {error}")))?;
        workers.iter_mut().for_each(warm_up);
        let identity = &model.identity;
        let weights = format!("{}, weights {}", identity.name, identity.weights);
        Ok(Box::new(Machines {
            workers,
            vocab: model.shape.vocab as u64,
            asked: BTreeMap::new(),
            depot: Depot::new(assembled.router.workers),
            timed: Timed { fit: self.fit.clone(), weights, passes: Vec::new() },
        }))
    }
}

/// A pass that nobody is told of: what it leaves behind is memory that has been touched.
fn warm_up(worker: &mut Worker) {
    let request = RequestId(u64::MAX);
    let tokens: Vec<u32> = (0..FIRST).map(|token| token % 7).collect();
    let pieces = vec![Piece { key: PieceKey::ROOT, end: Tokens(FIRST + 1) }];
    worker.submit(request, Ask { tokens, pieces, reply: Reply::Given(vec![0]) });
    worker.run(&Work { chunks: vec![(request, Tokens::ZERO, Tokens(FIRST))], decoding: Vec::new() });
    worker.forget(request);
}

impl Machines {
    fn submit(&mut self, worker: WorkerId, request: RequestId) {
        // One that is sent again is asked for again.
        let Some((pieces, prompt)) = self.asked.remove(&request) else { return };
        let mut tokens = words(&pieces, self.vocab);
        let reply = tokens.split_off(prompt.0 as usize);
        self.workers[worker.index()].submit(request, Ask { tokens, pieces, reply: Reply::Given(reply) });
    }
}

/// The tokens of a prompt and its reply.
fn words(pieces: &[Piece], vocab: u64) -> Vec<u32> {
    let (mut tokens, mut from) = (Vec::new(), 0);
    for piece in pieces {
        tokens.extend((from..piece.end.0).map(|at| (piece.key.then(Tokens(at), 0).0 % vocab) as u32));
        from = piece.end.0;
    }
    tokens
}

impl Shell for Machines {
    fn arrives(&mut self, request: RequestId, pieces: &[Piece], prompt: Tokens) {
        self.asked.insert(request, (pieces.to_vec(), prompt));
    }

    fn hear(&mut self, event: &Event, cluster: &mut Cluster) {
        match event {
            Event::Routed { request, decision, .. } => self.submit(decision.worker, *request),
            Event::Refused { request, .. } => {
                self.asked.remove(request);
                self.workers.iter_mut().for_each(|worker| worker.forget(*request));
            }
            Event::Cache { worker, told } => self.workers[worker.index()].hear_cache(told),
            Event::Output { worker, output } => self.workers[worker.index()].hear(output),
            Event::Started { worker, pass, work, at } => {
                let of = &mut self.workers[worker.index()];
                let lasted = on_cpu(|| of.run(work));
                self.timed.passes.push(Pass::new(*worker, *at, &pass.shape, lasted));
                cluster.lasted(*worker, lasted);
            }
            Event::Move(asked) => {
                let parcels = self.depot.begin(asked);
                let (came, parcels) = self.workers[asked.worker.index()].carry(asked, parcels);
                self.depot.left(asked.worker, asked.op, parcels);
                cluster.moved(asked.worker, asked.op, came);
            }
            Event::Moved { worker, op } => self.depot.end(*worker, *op),
            Event::Shelved { worker, told } => self.depot.hear(*worker, told),
            Event::LetGo { worker, request } => self.workers[worker.index()].let_go(*request),
            Event::Ran { .. }
            | Event::Stalled { .. }
            | Event::Restarted { .. }
            | Event::Worker { .. }
            | Event::Lost { .. } => {}
        }
    }
}

impl Compute for Machines {
    fn timed(self: Box<Self>) -> Timed {
        self.timed
    }
}

/// How long this thread is on a CPU while it does `what`. At least a picosecond: time must move on.
fn on_cpu<T>(what: impl FnOnce() -> T) -> Span {
    let before = thread_time();
    let _ = what();
    let nanos = thread_time().saturating_sub(before).as_nanos();
    Span(u64::try_from(nanos * 1000).unwrap_or(u64::MAX).max(1))
}

fn thread_time() -> Duration {
    // The kernel has this clock; a time of zero would show at once.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
