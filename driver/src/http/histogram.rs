//! Histograms as Prometheus has them, with vLLM's edges, so that its dashboards read them.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper edges of times to a first token, seconds.
pub(crate) const FIRST_TOKEN: [f64; 22] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
];
/// Of times between tokens, seconds.
pub(crate) const BETWEEN_TOKENS: [f64; 19] =
    [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0];
/// Of times that whole requests take, seconds.
pub(crate) const WHOLE_REQUEST: [f64; 21] = [
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
];

/// Counts by the first edge that is not below. Whoever counts and whoever reads never wait for each other.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// Upper edges, in units of `1 / unit`.
    edges: Box<[u64]>,
    counts: Box<[AtomicU64]>, // the last is above all edges
    sum: AtomicU64,
    unit: f64,
}

impl Histogram {
    /// Of times, in microseconds inside.
    pub(crate) fn of_times(edges: &[f64]) -> Self {
        Self::new(edges.iter().map(|seconds| (seconds * 1e6).round() as u64).collect(), 1e6)
    }

    /// Of numbers of tokens up to `most`: 1, 2, 5, 10, and so on.
    pub(crate) fn of_tokens(most: u64) -> Self {
        let decades = std::iter::successors(Some(1_u64), |decade| decade.checked_mul(10));
        let edges = decades.flat_map(|decade| [1, 2, 5].map(|factor| decade.saturating_mul(factor)));
        Self::new(edges.take_while(|edge| *edge <= most).collect(), 1.0)
    }

    fn new(edges: Box<[u64]>, unit: f64) -> Self {
        let counts = (0..=edges.len()).map(|_| AtomicU64::default()).collect();
        Self { edges, counts, sum: AtomicU64::default(), unit }
    }

    /// O(log edges).
    pub(crate) fn count(&self, value: u64) {
        self.count_times(value, 1);
    }

    pub(crate) fn count_time(&self, time: Duration) {
        self.count(micros(time));
    }

    /// The same value so many times.
    pub(crate) fn count_times(&self, value: u64, times: u64) {
        let place = self.edges.partition_point(|edge| *edge < value);
        self.counts[place].fetch_add(times, Ordering::Relaxed);
        self.sum.fetch_add(value.saturating_mul(times), Ordering::Relaxed);
    }

    /// A family of samples. `labels` is without braces, perhaps empty.
    pub(crate) fn write(&self, text: &mut String, name: &str, help: &str, labels: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        // A string takes whatever is written to it.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
        let mut below = 0;
        for (place, count) in self.counts.iter().enumerate() {
            below += count.load(Ordering::Relaxed);
            let edge = self.edges.get(place).map_or("+Inf".to_owned(), |edge| (*edge as f64 / self.unit).to_string());
            let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{edge}\"}} {below}");
        }
        let sum = self.sum.load(Ordering::Relaxed) as f64 / self.unit;
        let _ = writeln!(text, "{name}_sum{braced} {sum}\n{name}_count{braced} {below}");
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
