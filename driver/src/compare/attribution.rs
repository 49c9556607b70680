//! Which part of a latency a gap lies in.
//!
//! Parts come from requests that tell theirs, or, where none does, from the server's own means over the run (`server_times`:
//! vLLM's histograms); then what neither waiting nor prefill takes of a TTFT was on the way.
//!
//! Parts are summed up in whole picoseconds, of which the parts of a simulated TTFT are exact sums; what is left is called
//! unexplained: where one run does not tell its parts, all of its TTFT.

use crate::told::{Part, Request, Told};
use serde::{Deserialize, Serialize};

/// Picoseconds in a millisecond.
const PICOS: f64 = 1e9;

/// A gap between the means of two runs, and its parts. Milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// Of which figure.
    pub key: String,
    /// The mean of the first.
    pub a: f64,
    /// The mean of the second.
    pub b: f64,
    /// Second less first: the sum of the differences of all parts.
    pub gap: f64,
    /// Its parts.
    pub parts: Vec<PartGap>,
    /// How many requests of the first and of the second it is of.
    pub requests: [usize; 2],
}

/// A part of a gap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartGap {
    /// Which; `None`: what no part explains.
    pub part: Option<Part>,
    /// Its mean in the first; `None`: not told.
    pub a: Option<f64>,
    /// Its mean in the second.
    pub b: Option<f64>,
    /// Second less first; `None`: not told by both, so it is in what is unexplained.
    pub gap: Option<f64>,
}

/// One side of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The requests that its figures are of.
    pub requests: &'a [&'a Request],
    /// What servers measured themselves, means; `None`: nothing.
    pub server: Option<ServerMeans>,
}

/// Where requests spent their time, by their server: means, ms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServerMeans {
    queue: f64,
    prefill: f64,
    ttft: f64,
}

impl ServerMeans {
    /// Of these runs together; `None`: one of them does not tell.
    pub fn of<'a>(runs: impl Iterator<Item = &'a Told>) -> Option<Self> {
        let (mut sums, mut requests) = ([0.0; 3], 0.0);
        for run in runs {
            let count = run.figure("server_times.requests")?;
            let names = ["server_times.queue_ms", "server_times.prefill_ms", "mean_ttft_ms"];
            for (sum, name) in sums.iter_mut().zip(names) {
                *sum += run.figure(name)? * count;
            }
            requests += count;
        }
        let [queue, prefill, ttft] = sums.map(|sum| sum / requests);
        (requests > 0.0).then_some(Self { queue, prefill, ttft })
    }

    fn part(&self, part: Part) -> Option<f64> {
        match part {
            Part::Queue => Some(self.queue),
            Part::Prefill => Some(self.prefill),
            Part::Network => Some(self.ttft - self.queue - self.prefill),
            // vLLM counts loads from other tiers as waiting; decoding is what is left in any case; how late the client read is on
            // the way.
            Part::CacheLoad | Part::Decode | Part::Client => None,
        }
    }
}

/// The gaps of mean TTFT and mean end-to-end latency. None where a run has no completed request.
#[must_use]
pub fn gaps(a: Side<'_>, b: Side<'_>) -> Vec<Gap> {
    let ttft: fn(&Request) -> Option<f64> = |request| request.ttft_ms;
    let e2el: fn(&Request) -> Option<f64> = |request| request.e2el_ms;
    let before: Vec<Part> = Part::ALL.into_iter().filter(|part| *part != Part::Decode).collect();
    [("mean_ttft_ms", ttft, before), ("mean_e2el_ms", e2el, Part::ALL.to_vec())]
        .into_iter()
        .filter_map(|(key, of, parts)| gap(key, of, &parts, [a, b]))
        .collect()
}

fn gap(key: &str, of: fn(&Request) -> Option<f64>, parts: &[Part], sides: [Side<'_>; 2]) -> Option<Gap> {
    let done =
        sides.map(|side| side.requests.iter().copied().filter(|request| request.completed()).collect::<Vec<_>>());
    let mean = |side: &[&Request], of: &dyn Fn(&Request) -> Option<f64>| mean(side, of);
    let whole = [mean(&done[0], &of)?, mean(&done[1], &of)?];
    let told: Vec<PartGap> = parts
        .iter()
        .map(|part| {
            let of = |request: &Request| request.part(*part);
            let of_side = |side: usize| {
                let told = mean(&done[side], &of);
                told.or_else(|| sides[side].server.and_then(|server| server.part(*part)))
            };
            let (a, b) = (of_side(0), of_side(1));
            PartGap { part: Some(*part), a, b, gap: a.zip(b).map(|(a, b)| b - a) }
        })
        .collect();
    // What one run does not tell as a part, the other may have in any.
    let known = |side: fn(&PartGap) -> Option<f64>| -> f64 {
        told.iter().filter(|part| part.gap.is_some()).filter_map(side).sum()
    };
    let (a, b) = (whole[0] - known(|part| part.a), whole[1] - known(|part| part.b));
    let mut parts = told;
    // Less than a picosecond is rounding.
    let rest = |value: f64| if value.abs() < 1.0 / PICOS { 0.0 } else { value };
    let (a, b) = (rest(a), rest(b));
    if a != 0.0 || b != 0.0 {
        parts.push(PartGap { part: None, a: Some(a), b: Some(b), gap: Some(b - a) });
    }
    let requests = [done[0].len(), done[1].len()];
    Some(Gap { key: key.to_owned(), a: whole[0], b: whole[1], gap: whole[1] - whole[0], parts, requests })
}

/// `None` where any of them does not tell it, or there is none.
fn mean(requests: &[&Request], of: &dyn Fn(&Request) -> Option<f64>) -> Option<f64> {
    let mut sum = 0_i128;
    for request in requests {
        sum += (of(request)? * PICOS).round() as i128;
    }
    (!requests.is_empty()).then(|| sum as f64 / requests.len() as f64 / PICOS)
}
