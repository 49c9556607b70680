//! What a page needs of a run's requests, taken in one at a time, so that a run of millions fits.

use crate::compare::metric::Sample;
use crate::told::{Request, quantile};
use std::collections::BTreeMap;

/// So many of the slowest are told one by one.
const SLOWEST: usize = 10;
/// Points of a distribution.
const POINTS: usize = 160;

/// All that is kept.
#[derive(Clone, Debug, Default)]
pub struct Digest {
    /// TTFT, TPOT, E2EL of those measured, ms.
    latencies: [Vec<f64>; 3],
    /// Every request whose times are told.
    pub(super) moments: Vec<Moment>,
    /// By worker.
    pub(super) workers: BTreeMap<Worker, Tally>,
    /// Those with the longest TTFT, the longest first.
    pub(super) slowest: Vec<Request>,
    /// How those ended that did not complete.
    pub(super) failed: BTreeMap<String, u64>,
    /// How many there are.
    pub(super) requests: u64,
}

/// A worker's name: numbers stand in their order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Worker(u64, pub(super) String);

/// When a request was where, and what it was made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) sent: f64,
    pub(super) first: Option<f64>,
    pub(super) last: Option<f64>,
    pub(super) output: u32,
    pub(super) prompt: u32,
    /// Prompt tokens found in each tier; of a run that does not tell tiers apart, in any.
    pub(super) cached: Option<[u32; 3]>,
}

/// What a worker had to do.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) prompt: u64,
    pub(super) output: u64,
    /// `None`: of some request nobody knows.
    pub(super) cached: Option<u64>,
    pub(super) ttfts: Vec<f64>,
}

impl Digest {
    /// Of all these.
    #[must_use]
    pub fn of<'a>(requests: impl IntoIterator<Item = &'a Request>) -> Self {
        let mut digest = Self::default();
        for request in requests {
            digest.add(request);
        }
        digest.finish();
        digest
    }

    /// Takes a request in.
    pub fn add(&mut self, request: &Request) {
        self.requests += 1;
        self.moments.extend(moment(request));
        if !request.measured {
            return;
        }
        for (sample, latencies) in Sample::ALL.iter().zip(&mut self.latencies) {
            latencies.extend(sample.of(request));
        }
        if !request.completed() {
            *self.failed.entry(request.status.clone()).or_default() += 1;
        }
        if let Some(worker) = &request.worker {
            let tally = self.workers.entry(Worker(worker.parse().unwrap_or(u64::MAX), worker.clone())).or_default();
            tally.add(request);
        }
        let ttft = |request: &Request| Sample::Ttft.of(request).unwrap_or(-1.0);
        let slow = self.slowest.len() < SLOWEST || ttft(request) > self.slowest.last().map_or(0.0, ttft);
        if slow && ttft(request) >= 0.0 {
            let place = self.slowest.partition_point(|other| ttft(other) >= ttft(request));
            self.slowest.insert(place, request.clone());
            self.slowest.truncate(SLOWEST);
        }
    }

    /// Everybody is in.
    pub fn finish(&mut self) {
        for latencies in self.latencies.iter_mut().chain(self.workers.values_mut().map(|tally| &mut tally.ttfts)) {
            latencies.sort_unstable_by(f64::total_cmp);
        }
    }

    /// A latency of all requests, the least first.
    fn sorted(&self, sample: Sample) -> &[f64] {
        &self.latencies[sample as usize]
    }

    /// A distribution as points: latency in ms, and which part of the requests had no more. Empty where nobody has one.
    #[must_use]
    pub fn distribution(&self, sample: Sample) -> Vec<(f64, f64)> {
        let sorted = self.sorted(sample);
        // Evenly over the requests, and again over the last hundredth, where the lines are long.
        let body = (0..POINTS).map(|point| 0.99 * point as f64 / POINTS as f64);
        let tail = (0..=POINTS / 8).map(|point| 0.99 + 0.01 * point as f64 / (POINTS / 8) as f64);
        let mut points: Vec<(f64, f64)> =
            body.chain(tail).filter_map(|part| Some((four_digits(quantile(sorted, part)?), part))).collect();
        points.dedup();
        points
    }
}

/// A curve does not show more.
fn four_digits(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

impl Tally {
    fn add(&mut self, request: &Request) {
        self.cached = match (self.requests, self.cached, request.cached_tokens) {
            (0, _, cached) => cached,
            (_, Some(sum), Some(cached)) => Some(sum + cached),
            _ => None,
        };
        self.requests += 1;
        self.prompt += request.prompt_tokens.unwrap_or_default();
        self.output += if request.completed() { request.output_tokens.unwrap_or_default() } else { 0 };
        self.ttfts.extend(Sample::Ttft.of(request));
    }
}

fn moment(request: &Request) -> Option<Moment> {
    let tokens = |tokens: Option<u64>| u32::try_from(tokens.unwrap_or_default()).unwrap_or(u32::MAX);
    let tiers = [request.cached_l0_tokens, request.cached_l1_tokens, request.cached_l2_tokens];
    let cached = if tiers.iter().any(Option::is_some) {
        Some(tiers.map(tokens))
    } else {
        request.cached_tokens.map(|cached| [tokens(Some(cached)), 0, 0])
    };
    Some(Moment {
        sent: request.sent_ms?,
        first: request.first_token_ms,
        last: request.last_token_ms,
        output: tokens(request.output_tokens),
        prompt: tokens(request.prompt_tokens),
        cached,
    })
}
