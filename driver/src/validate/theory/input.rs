//! What is sent: the simulator's own generators where they draw what theory wants, and lists of requests where not.

use super::law::Bench;
use kvcache::{SessionId, Span, Time, Tokens};
use sim::streams::Stream;
use sim::workload::lengths::LogNormal;
use sim::workload::unrelated::{LONGEST, Unrelated};
use sim::workload::{Arrivals, Pacing, Segment, Workload};

/// Mean tokens of replies whose lengths stand for exponential service: their variance is by a ten-thousandth smaller.
pub(super) const REPLY: Tokens = Tokens(10_000);

const NONE: Unrelated = Unrelated { requests: 0, prompt: Tokens(1), spread: 0.0, answer: Tokens(1), users: 1 };

/// Prompts of one token and replies of geometric length.
pub(super) fn replies(bench: &Bench, arrivals: Arrivals, requests: u32) -> Workload {
    Unrelated { requests, answer: REPLY, ..NONE }.generate(arrivals, bench.streams())
}

/// Prompts of equal length and replies of one token.
pub(super) fn equal_prompts(bench: &Bench, arrivals: Arrivals, requests: u32, prompt: Tokens) -> Workload {
    Unrelated { requests, prompt, ..NONE }.generate(arrivals, bench.streams())
}

/// Prompts of log-normal length and replies of one token.
pub(super) fn log_normal_prompts(bench: &Bench, rate: f64, requests: u32, lengths: LogNormal) -> Workload {
    let prompts = Unrelated { requests, prompt: lengths.median, spread: lengths.spread, ..NONE };
    prompts.generate(Arrivals::Poisson { rate }, bench.streams())
}

/// Log-normal lengths as [`log_normal_prompts`] draws them.
pub(super) const fn log_normal(median: Tokens, spread: f64) -> LogNormal {
    LogNormal { median, spread, longest: LONGEST }
}

/// Times of a Poisson process.
pub(super) struct Poisson {
    gaps: Stream,
    mean: f64,
    at: Time,
}

impl Poisson {
    /// From `at` on, `rate` a second.
    pub(super) fn new(bench: &Bench, rate: f64, at: Time) -> Self {
        Self { gaps: bench.streams().named("arrivals"), mean: 1.0 / rate, at }
    }

    pub(super) fn draw(&mut self) -> Time {
        self.at += Span::from_secs_f64(self.gaps.exponential(self.mean));
        self.at
    }
}

/// Prompts of `long` tokens with this chance, else of `short`; no two alike, replies of one token.
pub(super) fn two_lengths(bench: &Bench, rate: f64, requests: u32, lengths: [(Tokens, f64); 2]) -> Workload {
    let [(short, _), (long, chance)] = lengths;
    let (mut times, mut draws) = (Poisson::new(bench, rate, Time::ZERO), bench.streams().named("prompt lengths"));
    let mut workload = Workload::new(Pacing::Open);
    for id in 0..u64::from(requests) {
        let tokens = if draws.unit() < chance { long } else { short };
        workload.push(times.draw(), None, &[Segment { id, tokens }], Tokens(1));
    }
    workload
}

/// Draws objects independently of each other, in these shares.
pub(super) struct Independent {
    up_to: Vec<f64>,
    draws: Stream,
}

impl Independent {
    pub(super) fn new(bench: &Bench, shares: &[f64]) -> Self {
        let sum = |sum: &mut f64, share: &f64| {
            *sum += share;
            Some(*sum)
        };
        Self { up_to: shares.iter().scan(0.0, sum).collect(), draws: bench.streams().named("sharing") }
    }

    pub(super) fn draw(&mut self) -> u64 {
        let point = self.draws.unit();
        self.up_to.partition_point(|up_to| *up_to <= point).min(self.up_to.len() - 1) as u64
    }
}

/// A prompt about an object that fills one block of `block` tokens, and a token to compute. Everybody who asks for the same
/// object asks the same.
pub(super) fn ask(workload: &mut Workload, at: Time, object: u64, block: Tokens) {
    let prompt = [Segment { id: object, tokens: block + Tokens(1) }];
    workload.push(at, Some(SessionId(object)), &prompt, Tokens(1));
}

/// One request at a time, each for an object drawn by `draw`.
pub(super) fn one_by_one(requests: u32, block: Tokens, mut draw: impl FnMut() -> u64) -> Workload {
    let mut workload = Workload::new(Pacing::Closed { concurrency: 1 });
    (0..requests).for_each(|_| ask(&mut workload, Time::ZERO, draw(), block));
    workload
}
