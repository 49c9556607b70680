//! What the comparison is about: random workloads on small, badly configured clusters. A workload in which nothing is
//! preempted, evicted or shared finds nothing.

use kvcache::{Blocks, CacheConfig, Duplicates, Span, Time, Tokens, WorkerId};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sim::cost::{CostModel, Segment as Line, Shape};
use sim::replica::EngineConfig;
use sim::workload::{Pacing, Segment, Workload};

/// Reproducible chance.
pub(super) struct Chance(ChaCha8Rng);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number in `from..=to`.
    pub(super) fn within(&mut self, from: u32, to: u32) -> u32 {
        from + ((u64::from(self.0.next_u32()) * (u64::from(to - from) + 1)) >> 32) as u32
    }

    pub(super) fn percent(&mut self, percent: u32) -> bool {
        self.within(1, 100) <= percent
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.within(0, from.len() as u32 - 1) as usize]
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Routing {
    RoundRobin,
    KvAware { threshold: Tokens, window: Span, chunk: Tokens },
}

/// How long passes take. Not realistic: each field of a shape must show.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cost {
    /// A line in every field, by odd factors.
    Linear,
    /// Another line every so many tokens of decode context.
    Knots(u64),
    /// The same for all passes, so that ends, arrivals and workers coincide.
    Clockwork,
    /// Next to nothing: passes of a picosecond.
    Instant,
}

impl CostModel for Cost {
    fn segment(&self, shape: &Shape) -> Line {
        let base = 4_000_000_007
            + 11_000_003 * shape.tokens
            + 3_000_017 * shape.samples
            + 5_000_011 * shape.decoders
            + 1_009 * shape.pairs
            + 130_003 * shape.prefill_context;
        match *self {
            Self::Linear => Line::line(Span(base), Span(2_000_029)),
            Self::Knots(every) => {
                let line = shape.context / every;
                let slope = Span([2_000_029, 31, 0, 700_001][line as usize % 4]);
                Line { base: Span(base + line * 1_000_003), slope, valid_to: line * every + every - 1, beyond: None }
            }
            Self::Clockwork => Line::line(Span::from_millis(5), Span::ZERO),
            Self::Instant => Line::line(Span::ZERO, Span::ZERO),
        }
    }
}

impl Cost {
    pub(super) fn model(self) -> Box<dyn CostModel> {
        Box::new(self)
    }
}

/// A workload and the cluster that serves it.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) workload: Workload,
    pub(super) engine: EngineConfig,
    pub(super) workers: u16,
    pub(super) routing: Routing,
    pub(super) cost: Cost,
    pub(super) latency: Span,
    /// Who restarts when, in order.
    pub(super) restarts: Vec<(Time, WorkerId)>,
}

impl Scenario {
    pub(super) fn random(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let block = chance.pick(&[16, 16, 16, 16, 16, 16, 7, 1]);
        let workload = Author::new(&mut chance, block).write(&mut chance);
        let whole = |request: &sim::workload::Request| request.prompt + request.output;
        let longest = workload.requests().iter().map(whole).max().unwrap_or_default();
        // Sometimes the longest are refused.
        let most = if chance.percent(8) { longest.0 * 3 / 4 } else { longest.0 + chance.pick(&[0, 0, 1, 400]) };
        let max_model_len = Tokens(most.max(1));
        let engine = engine(&mut chance, max_model_len, block);
        Self {
            workload,
            engine,
            workers: chance.pick(&[1, 1, 2, 3]),
            routing: if chance.percent(40) {
                let threshold = Tokens(chance.pick(&[0, 100, 2000]));
                let window = Span::from_millis(chance.pick(&[50, 1000, 60_000]));
                let chunk = Tokens(chance.pick(&[1, 2, 2, 16]) * block);
                Routing::KvAware { threshold, window, chunk }
            } else {
                Routing::RoundRobin
            },
            cost: match chance.within(0, 19) {
                0..=8 => Cost::Linear,
                9..=14 => Cost::Knots(chance.pick(&[1, 64, 777, 5000])),
                15..=18 => Cost::Clockwork,
                _ => Cost::Instant,
            },
            latency: Span(chance.pick(&[0, 0, 1, 20]) * 1_000_000_000),
            restarts: Vec::new(),
        }
    }
}

impl Scenario {
    /// The same, but now and then a worker restarts; often when a pass ends, and sometimes two at a time.
    pub(super) fn with_restarts(mut self, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let last = self.workload.requests().last().map_or(Time::ZERO, |request| request.at);
        let most = (last.0 / 1_000_000_000) as u32 + 2000;
        for _ in 0..chance.pick(&[1, 3, 10, 40]) {
            let at = Span::from_millis(u64::from(chance.within(0, most))) + self.latency;
            let odd = Span(chance.pick(&[0, 0, 0, 1, 333_333_333]));
            let worker = WorkerId(chance.within(0, u32::from(self.workers) - 1) as u16);
            self.restarts.push((Time::ZERO + at + odd, worker));
        }
        self.restarts.sort_unstable();
        self.restarts.dedup();
        self
    }
}

fn engine(chance: &mut Chance, max_model_len: Tokens, block: u32) -> EngineConfig {
    let chunked_prefill = chance.percent(85);
    let budget = chance.pick(&[16, 64, 256, 256, 300, 1000, 8192]);
    let budget = if chunked_prefill { budget } else { budget.max(max_model_len.0) };
    let cap = chance.pick(&[1, 16, 40, 100, 100, 256]);
    let spare = match chance.within(0, 9) {
        0 | 1 => 0,
        2 => 1,
        3 | 4 => 5,
        5 | 6 => max_model_len.blocks(Tokens(block)).0,
        7 => 400,
        _ => chance.within(0, 100),
    };
    EngineConfig {
        max_num_seqs: chance.pick(&[1, 2, 5, 16, 64, 256]).min(budget),
        max_num_batched_tokens: Tokens(budget),
        max_model_len,
        chunked_prefill,
        long_prefill_token_threshold: chance.percent(40).then_some(Tokens(cap)),
        max_num_partial_prefills: chance.pick(&[1, 1, 1, 3]),
        reserve_full_isl: chance.percent(30),
        async_scheduling: chance.percent(50),
        max_repeats: chance.pick(&[16384, 16384, 16384, 1, 2, 7]),
        record_work: chance.percent(80),
        tiers: None,
        cache: CacheConfig {
            capacity: max_model_len.blocks(Tokens(block)) + Blocks(spare),
            block: Tokens(block),
            prefix_caching: chance.percent(90),
            duplicates: if chance.percent(50) { Duplicates::Keep } else { Duplicates::Merge },
            events: false,
        },
    }
}

/// How the segments of a workload are cut.
#[derive(Clone, Copy)]
enum Cut {
    Even(u32),
    Multiples(u32),
    Irregular(u32),
}

/// Writes requests that share prefixes at random depths, and come in bursts.
struct Author {
    cut: Cut,
    most_segments: u32,
    documents: Vec<Vec<Segment>>,
    ids: u64,
    now: u64, // ms
    hurry: u32,
}

impl Author {
    fn new(chance: &mut Chance, block: u32) -> Self {
        // With blocks of a token, a tenth of the tokens is as many blocks as elsewhere.
        let scale = if block == 1 { 10 } else { 1 };
        let cut = match chance.within(0, 2) {
            0 => Cut::Even(512 / scale),
            1 => Cut::Multiples(16),
            _ => Cut::Irregular(300 / scale),
        };
        let most_segments = match cut {
            Cut::Even(_) => chance.pick(&[1, 1, 3]),
            Cut::Multiples(_) | Cut::Irregular(_) => chance.pick(&[1, 3, 8]),
        };
        Self { cut, most_segments, documents: Vec::new(), ids: 0, now: 0, hurry: chance.pick(&[1, 3, 10]) }
    }

    fn write(mut self, chance: &mut Chance) -> Workload {
        let pacing = if chance.percent(20) {
            Pacing::Closed { concurrency: chance.pick(&[1, 3, 10, 40]) }
        } else {
            Pacing::Open
        };
        let mut workload = Workload::new(pacing);
        let requests = if chance.percent(3) { 300 } else { chance.pick(&[30, 30, 30, 30, 60, 100]) };
        let scarce = chance.percent(50); // few long replies
        for _ in 0..requests {
            let prompt = self.prompt(chance);
            let output = match chance.within(0, if scarce { 9 } else { 5 }) {
                0 | 1 => 16 * chance.within(1, 5),
                2 => chance.within(1, if scarce { 300 } else { 100 }),
                3 | 4 => chance.within(1, 20),
                5 => 1,
                _ => chance.within(2, 50),
            };
            if chance.percent(50) {
                let pause = chance.pick(&[0, 1, 5, 13, 50, 200]);
                self.now += u64::from(pause * 3 / self.hurry);
            }
            let at = Time(Span::from_millis(self.now).0 + if chance.percent(10) { 1 } else { 0 });
            let at = workload.requests().last().map_or(at, |last| last.at.max(at));
            workload.push(at, None, &prompt, Tokens(output));
        }
        workload
    }

    fn prompt(&mut self, chance: &mut Chance) -> Vec<Segment> {
        let mut prompt = Vec::new();
        if !self.documents.is_empty() && chance.percent(70) {
            prompt = self.documents[chance.within(0, self.documents.len() as u32 - 1) as usize].clone();
            prompt.truncate(chance.within(1, prompt.len() as u32) as usize);
        }
        let most = 3 * self.most_segments;
        let extra = chance.within(u32::from(prompt.is_empty()), self.most_segments);
        for _ in 0..extra.min(most.saturating_sub(prompt.len() as u32)) {
            self.ids += 1;
            prompt.push(Segment { id: self.ids, tokens: self.length(chance) });
        }
        self.documents.push(prompt.clone());
        // The last one is often shorter than others have it.
        if chance.percent(60)
            && let Some(last) = prompt.last_mut()
        {
            let tokens = chance.within(1, last.tokens.0);
            last.tokens =
                Tokens(if chance.percent(50) { tokens.next_multiple_of(16).min(last.tokens.0) } else { tokens });
        }
        prompt
    }

    fn length(&self, chance: &mut Chance) -> Tokens {
        Tokens(match self.cut {
            Cut::Even(tokens) => tokens,
            Cut::Multiples(of) => of * chance.within(1, 16),
            Cut::Irregular(most) => chance.within(1, most),
        })
    }
}
