//! What a page draws of both runs.

use super::metric::Sample;
use crate::page::Digest;
use crate::told::Request;
use serde::{Deserialize, Serialize};

/// The distributions of a run's latencies: milliseconds, and which part of the requests had no more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    ttft: Vec<(f64, f64)>,
    tpot: Vec<(f64, f64)>,
    e2el: Vec<(f64, f64)>,
}

impl Curves {
    /// Of these requests.
    #[must_use]
    pub fn of(requests: &[&Request]) -> Self {
        let digest = Digest::of(requests.iter().copied());
        let [ttft, tpot, e2el] = Sample::ALL.map(|sample| digest.distribution(sample));
        Self { ttft, tpot, e2el }
    }

    /// Of one latency.
    pub(crate) const fn latency(&self, sample: Sample) -> &Vec<(f64, f64)> {
        match sample {
            Sample::Ttft => &self.ttft,
            Sample::Tpot => &self.tpot,
            Sample::E2el => &self.e2el,
        }
    }
}
