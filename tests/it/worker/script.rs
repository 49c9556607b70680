//! One script, three shells: a cluster told virtual times, one told the wall clock's behind the server's engine, and workers
//! that compute run the very same passes; what is computed there is what a worker that serves one request alone emits.

use super::bench::{Bench, Sequence, model, prompt};
use driver::emulate::clock::{Clock, TimeScale};
use driver::emulate::engine::Engine;
use driver::emulate::progress::Submission;
use kvcache::{
    Blocks, CacheConfig, Duplicates, Identity, Piece, PieceKey, RequestId, Salt, Span, Time, Tokens, WorkerId,
};
use router::{Api, Router, RouterConfig, Strategy};
use sim::cluster::{Arrival, Cluster, Event};
use sim::cost::{CostModel, Segment, Shape};
use sim::executor::Stretch;
use sim::replica::{EngineConfig, Output, Pass, Work};
use sim::streams::Streams;
use std::collections::BTreeMap;
use tokio::time::{Instant, sleep_until};
use worker::engine::{Ask, Memory, Reply, Sampling, Worker};
use worker::kernel::Level;

const BLOCK: Tokens = Tokens(16);

/// Passes that cost so much per token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linear;

impl CostModel for Linear {
    fn segment(&self, shape: &Shape) -> Segment {
        Segment::line(Span::from_millis(2) + Span::from_micros(20) * shape.tokens, Span::from_nanos(100))
    }
}

pub(super) fn engine(capacity: u32, duplicates: Duplicates) -> EngineConfig {
    EngineConfig {
        max_num_seqs: 8,
        max_num_batched_tokens: Tokens(96),
        max_model_len: Tokens(400),
        chunked_prefill: true,
        long_prefill_token_threshold: None,
        max_num_partial_prefills: 1,
        reserve_full_isl: false,
        async_scheduling: false,
        max_repeats: 1,
        record_work: true,
        tiers: None,
        cache: CacheConfig { capacity: Blocks(capacity), block: BLOCK, prefix_caching: true, duplicates, events: true },
    }
}

pub(super) fn cluster(workers: u16, capacity: u32) -> Cluster {
    let router = Router::new(RouterConfig::new(Strategy::RoundRobin, workers));
    Cluster::new(workers, engine(capacity, Duplicates::Keep), router, Box::new(Linear), None).expect("valid")
}

/// A request: when, which tokens, how many to emit.
#[derive(Clone, Debug)]
struct Asked {
    at: Time,
    tokens: Vec<u32>,
    pieces: Vec<Piece>,
    output: Tokens,
}

/// Blocks are known by their tokens; the reply is like no other.
fn pieces(tokens: &[u32], number: u64, output: Tokens) -> Vec<Piece> {
    let salt = Salt::for_tenant("", None).expect("no client chose one");
    let mut hash = Identity { model: "tiny", dtype: "f16", block: BLOCK, salt: &salt, adapter: "" }.root();
    let (mut pieces, mut end) = (Vec::new(), Tokens::ZERO);
    for block in tokens.chunks(BLOCK.0 as usize) {
        hash = hash.then(block);
        end += Tokens(block.len() as u32);
        pieces.push(Piece { key: hash.piece_key(), end });
    }
    let last: PieceKey = pieces.last().expect("a prompt is not empty").key;
    pieces.push(Piece { key: last.then(end, number), end: end + output });
    pieces
}

/// Bursts of prompts that begin alike.
fn script(seed: u64) -> Vec<Asked> {
    let mut draws = Streams::new(seed).named("script");
    let (mut all, mut at) = (Vec::new(), Time::ZERO);
    for _ in 0..8 {
        at += Span::from_millis(draws.below(60));
        for _ in 0..1 + draws.below(6) {
            let mut tokens = prompt(16 + 48 * draws.below(4) as usize, 257, draws.below(2));
            tokens.extend(prompt(1 + draws.below(70) as usize, 257, draws.below(4)));
            let output = Tokens(1 + draws.below(24) as u32);
            let pieces = pieces(&tokens, all.len() as u64, output);
            all.push(Asked { at, tokens, pieces, output });
        }
    }
    all
}

fn arrive(cluster: &mut Cluster, number: usize, asked: &Asked) {
    cluster.arrive(&Arrival {
        request: RequestId(number as u64),
        session: None,
        pieces: &asked.pieces,
        prompt: Tokens(asked.tokens.len() as u32),
        output: asked.output,
        api: Api::Completions,
    });
}

/// The passes of a cluster whose passes last what they are modelled to.
fn simulated(script: &[Asked], mut cluster: Cluster) -> (Passes, usize) {
    for (number, asked) in script.iter().enumerate() {
        cluster.advance(asked.at);
        arrive(&mut cluster, number, asked);
    }
    while let Some(due) = cluster.next_due() {
        cluster.advance(due);
    }
    let (mut passes, mut preempted) = (Vec::new(), 0);
    while let Some(event) = cluster.poll() {
        match event {
            Event::Ran { worker, stretch, work: Some(work) } => passes.push((worker, stretch.started, *work)),
            Event::Output { output: Output::Preempted { .. }, .. } => preempted += 1,
            _ => {}
        }
    }
    (passes, preempted)
}

/// Passes of workers, and when they began.
type Passes = Vec<(WorkerId, Time, Work)>;

/// Those of a cluster that the server's engine drives by the wall clock.
async fn emulated(script: &[Asked], cluster: Cluster) -> Passes {
    let clock = Clock::starting_at(Time::ZERO, TimeScale::try_from(1.0).expect("valid"));
    let (start, (entrance, engine)) = (Instant::now(), Engine::new(cluster, clock, Span::ZERO, true));
    let play = async {
        let mut tickets = Vec::new();
        for asked in script {
            sleep_until(start + std::time::Duration::from_nanos(asked.at.0 / 1000)).await;
            // The engine appends the reply, as the script does.
            let pieces = asked.pieces[..asked.pieces.len() - 1].to_vec();
            let (output, session, api) = (asked.output, None, Api::Completions);
            let submission = Submission { pieces, output, session, api, asked: None, tokens: None };
            tickets.push(entrance.submit(vec![submission]).expect("it runs"));
        }
        for ticket in &mut tickets {
            ticket.until(|one| one.end.is_some()).await.expect("it runs");
        }
        entrance.stop();
    };
    tokio::join!(engine.run(), play).0.recording.expect("it was recorded").trail.passes
}

/// A cluster whose passes are computed; each lasts what it is modelled to, so that nothing else may differ.
struct Computed<'a> {
    script: &'a [Asked],
    cluster: Cluster,
    workers: Vec<Worker>,
    passes: Vec<(WorkerId, Time, Work)>,
    emitted: BTreeMap<RequestId, Vec<u32>>,
    /// Cancels a request once it has emitted so many tokens.
    cancels: BTreeMap<RequestId, usize>,
}

impl<'a> Computed<'a> {
    fn new(script: &'a [Asked], workers: u16, capacity: u32) -> Self {
        let memory = Memory { block: BLOCK, pages: capacity };
        let worker = |_| Worker::new(model(), memory, Level::detect(), 1).expect("no thread is needed");
        Self {
            script,
            cluster: cluster(workers, capacity).with_external_passes(),
            workers: (0..workers).map(worker).collect(),
            passes: Vec::new(),
            emitted: BTreeMap::new(),
            cancels: BTreeMap::new(),
        }
    }

    fn run(mut self) -> Self {
        for (number, asked) in self.script.iter().enumerate() {
            self.until(Some(asked.at));
            arrive(&mut self.cluster, number, asked);
            self.hear();
        }
        self.until(None);
        for (worker, replica) in self.workers.iter().zip(self.cluster.replicas()) {
            assert_eq!((worker.tables().live(), replica.live()), (0, 0), "nobody is left");
            worker.tables().check(replica.cache().device().usage());
        }
        self
    }

    /// Time moves on to `to`, or until nothing happens any more.
    fn until(&mut self, to: Option<Time>) {
        while let Some(due) = self.cluster.next_due().filter(|due| to.is_none_or(|to| *due < to)) {
            self.cluster.advance(due);
            self.hear();
        }
        if let Some(to) = to {
            self.cluster.advance(to);
            self.hear();
        }
    }

    fn hear(&mut self) {
        while let Some(event) = self.cluster.poll() {
            match event {
                Event::Routed { request, decision, .. } => {
                    let asked = &self.script[request.0 as usize];
                    let (tokens, pieces) = (asked.tokens.clone(), asked.pieces.clone());
                    let ask = Ask { tokens, pieces, reply: Reply::Drawn(Sampling::GREEDY) };
                    self.workers[decision.worker.index()].submit(request, ask);
                }
                Event::Cache { worker, told } => self.workers[worker.index()].hear_cache(&told),
                Event::Output { worker, output } => self.workers[worker.index()].hear(&output),
                Event::Started { worker, pass, work, .. } => self.compute(worker, &pass, &work),
                Event::Ran { worker, stretch, work: Some(work) } => self.passes.push((worker, stretch.started, *work)),
                Event::Refused { refusal, .. } => panic!("{refusal}"),
                _ => {}
            }
        }
    }

    fn compute(&mut self, worker: WorkerId, pass: &Pass, work: &Work) {
        let usage = self.cluster.replicas().nth(worker.index()).map(|replica| replica.cache().device().usage());
        let computing = &mut self.workers[worker.index()];
        for (request, token) in computing.run(work) {
            let emitted = self.emitted.entry(request).or_default();
            emitted.push(token);
            if self.cancels.get(&request) == Some(&emitted.len()) {
                self.cluster.cancel(worker, request);
            }
        }
        computing.tables().check(usage.expect("it is there"));
        self.cluster.lasted(worker, Stretch::begin(&Linear, pass, self.cluster.now()).first);
    }
}

/// What a worker emits that serves this request alone, cold, its prompt at once.
fn alone(asked: &Asked) -> Vec<u32> {
    let pages = (asked.tokens.len() + asked.output.0 as usize).div_ceil(16);
    let mut bench = Bench::new(&model(), 16, pages, 1);
    let mut sequence = Sequence::new(asked.tokens.clone(), 0..pages as u32);
    let prompt = asked.tokens.len();
    while sequence.tokens.len() < prompt + asked.output.0 as usize {
        let left = sequence.tokens.len() - sequence.computed;
        let scores = bench.pass(&mut [(&mut sequence, left)]);
        let best = scores[0].iter().map(|bits| f32::from_bits(*bits)).enumerate();
        let best = best.max_by(|(i, a), (j, b)| a.total_cmp(b).then(j.cmp(i))).expect("a vocabulary");
        sequence.tokens.push(best.0 as u32);
    }
    sequence.tokens.split_off(prompt)
}

/// Time is tokio's paused clock, which jumps to the next timer.
#[tokio::test(start_paused = true)]
async fn one_script_three_shells() {
    let (mut preemptions, mut hits) = (0, 0);
    for seed in 0..3 {
        let script = script(seed);
        let (passes, preempted) = simulated(&script, cluster(2, 26));
        let computed = Computed::new(&script, 2, 26).run();
        for (shell, others) in [("computed", &computed.passes), ("emulated", &emulated(&script, cluster(2, 26)).await)]
        {
            assert_eq!(others.len(), passes.len(), "seed {seed}, {shell}: number of passes");
            for (index, (other, simulated)) in others.iter().zip(&passes).enumerate() {
                assert_eq!(other, simulated, "seed {seed}, {shell}: pass {index}");
            }
        }
        preemptions += preempted;
        hits += passes.iter().flat_map(|(.., work)| &work.chunks).filter(|(_, from, _)| *from > Tokens::ZERO).count();
        for (number, asked) in script.iter().enumerate() {
            let emitted = &computed.emitted[&RequestId(number as u64)];
            assert_eq!(*emitted, alone(asked), "seed {seed}: request {number}");
        }
    }
    assert!(preemptions > 0, "the script is meant to make caches overflow");
    assert!(hits > 20, "and to find prefixes there: {hits}");
}

#[test]
fn who_is_cancelled_leaves_no_page_behind_and_changes_nobodys_tokens() {
    let script = script(7);
    let mut computed = Computed::new(&script, 2, 26);
    computed.cancels = (0..script.len() as u64).step_by(3).map(|number| (RequestId(number), 2)).collect();
    let computed = computed.run();
    for (number, asked) in script.iter().enumerate() {
        let emitted = &computed.emitted[&RequestId(number as u64)];
        let expected = alone(asked);
        let cut = computed.cancels.contains_key(&RequestId(number as u64)) && expected.len() > 2;
        assert_eq!(emitted.len(), if cut { 2 } else { expected.len() }, "request {number}");
        assert_eq!(emitted[..], expected[..emitted.len()], "request {number}");
    }
}
