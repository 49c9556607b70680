//! What is counted for `/metrics`, in the text format of Prometheus. All names are podlab's own: workers tell vLLM's, and whoever
//! scrapes both should count nothing twice.

use super::dispatch::Standing;
use super::feed::FeedCounts;
use kvcache::WorkerId;
use router::{Outcome, Strategy};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper edges of the histogram of first tokens, seconds: vLLM's.
const EDGES: [f64; 21] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0,
];

const OUTCOMES: [(&str, Outcome); 5] = [
    ("answered", Outcome::Answered),
    ("client_error", Outcome::ClientError),
    ("busy", Outcome::Busy),
    ("cancelled", Outcome::Cancelled),
    ("failed", Outcome::Failed),
];

/// Counters that only grow, and one gauge; each is right by itself.
#[derive(Debug)]
pub(super) struct Meters {
    /// Attempts, by worker.
    sent: Box<[AtomicU64]>,
    /// Attempts that ended, by worker and outcome.
    ended: Box<[[AtomicU64; 5]]>,
    /// First tokens, by the first edge that is not below them; the last is above all.
    first: [AtomicU64; EDGES.len() + 1],
    first_micros: AtomicU64,
    /// What became of what workers told of their caches.
    fed: Mutex<Box<[FeedCounts]>>,
    /// Prompts whose tokens could be had, and could not.
    tokenized: [AtomicU64; 2],
    /// Requests that were refused since too many are in flight.
    shed: AtomicU64,
    live: AtomicU64,
}

impl Meters {
    pub(super) fn new(workers: u16) -> Self {
        let each = 0..workers;
        Self {
            sent: each.clone().map(|_| AtomicU64::default()).collect(),
            ended: each.map(|_| Default::default()).collect(),
            first: Default::default(),
            first_micros: AtomicU64::default(),
            fed: Mutex::new(vec![FeedCounts::default(); usize::from(workers)].into()),
            tokenized: Default::default(),
            shed: AtomicU64::default(),
            live: AtomicU64::default(),
        }
    }

    pub(super) fn sent(&self, worker: WorkerId) {
        self.sent[worker.index()].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, worker: WorkerId, outcome: Outcome) {
        let place = OUTCOMES.iter().position(|(_, one)| *one == outcome).unwrap_or_default();
        self.ended[worker.index()][place].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn first_token(&self, after: Duration) {
        let seconds = after.as_secs_f64();
        let place = EDGES.iter().position(|edge| seconds <= *edge).unwrap_or(EDGES.len());
        self.first[place].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.first_micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn fed(&self, worker: WorkerId, counts: FeedCounts) {
        self.fed.lock().unwrap_or_else(PoisonError::into_inner)[worker.index()] = counts;
    }

    pub(super) fn tokenized(&self, done: bool) {
        self.tokenized[usize::from(!done)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn shed(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
    }

    /// One more request in flight, of at most so many; `None`: there are as many.
    pub(super) fn enter(&self, most: usize) -> bool {
        let most = most as u64;
        self.live.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |live| (live < most).then_some(live + 1)).is_ok()
    }

    pub(super) fn leave(&self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    /// What a scrape gets.
    pub(super) fn text(&self, strategy: Strategy, standing: &Standing) -> String {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, String)]| {
            // A string takes whatever is written to it.
            let _ = writeln!(text, "# HELP podlab:{name} {help}\n# TYPE podlab:{name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(text, "podlab:{labels} {value}");
            }
        };
        let by_worker = |name: &str, values: &mut dyn Iterator<Item = u64>| -> Vec<(String, String)> {
            values
                .enumerate()
                .map(|(worker, value)| {
                    (format!("{name}{{worker=\"{worker}\",strategy=\"{strategy}\"}}"), value.to_string())
                })
                .collect()
        };
        let name = "gateway_attempts_total";
        family(
            name,
            "counter",
            "Times that a request was sent to a worker.",
            &by_worker(name, &mut self.sent.iter().map(read)),
        );
        let name = "gateway_attempts_ended_total";
        let ended: Vec<(String, String)> = self
            .ended
            .iter()
            .enumerate()
            .flat_map(|(worker, counts)| {
                OUTCOMES.iter().zip(counts).map(move |((outcome, _), count)| {
                    (format!("{name}{{worker=\"{worker}\",outcome=\"{outcome}\"}}"), read(count).to_string())
                })
            })
            .collect();
        family(name, "counter", "Those that ended, and how.", &ended);
        let name = "gateway_worker_available";
        let available = &mut standing.available.iter().map(|is| u64::from(*is));
        family(
            name,
            "gauge",
            "Whether a worker is sent requests, or left alone for a while.",
            &by_worker(name, available),
        );
        let one = |name: &str, value: u64| [(name.to_owned(), value.to_string())];
        for (name, kind, help, value) in [
            ("gateway_ejections_total", "counter", "Times that a worker was left alone.", standing.ejections),
            ("gateway_retries_total", "counter", "Attempts after the first.", standing.retries),
            (
                "gateway_retries_refused_total",
                "counter",
                "Those that the budget did not allow.",
                standing.refused_retries,
            ),
            ("gateway_shed_total", "counter", "Requests refused since too many are in flight.", read(&self.shed)),
            ("gateway_requests_in_flight", "gauge", "Requests that have not ended.", read(&self.live)),
        ] {
            family(name, kind, help, &one(name, value));
        }
        let name = "gateway_kv_events_total";
        let fed = self.fed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fed: Vec<(String, String)> = fed
            .iter()
            .enumerate()
            .flat_map(|(worker, counts)| {
                let of = |what: &str, count: u64| {
                    (format!("{name}{{worker=\"{worker}\",what=\"{what}\"}}"), count.to_string())
                };
                [
                    of("batches", counts.batches),
                    of("overlapping_batches", counts.overlaps),
                    of("malformed_batches", counts.malformed),
                    of("gaps", counts.gaps),
                    of("restarts", counts.restarts),
                    of("orphaned_blocks", counts.orphans),
                    of("other_blocks", counts.others),
                    of("blocks_of_another_size", counts.misfits),
                ]
            })
            .collect();
        family(name, "counter", "What workers told of their caches, and what became of it.", &fed);
        let name = "gateway_prompts_tokenized_total";
        let tokenized = ["yes", "no"].iter().zip(&self.tokenized);
        let tokenized: Vec<(String, String)> =
            tokenized.map(|(done, count)| (format!("{name}{{done=\"{done}\"}}"), read(count).to_string())).collect();
        family(name, "counter", "Prompts whose tokens were wanted, and whether they could be had.", &tokenized);
        let name = "gateway_time_to_first_token_seconds";
        let mut below = 0;
        let mut buckets: Vec<(String, String)> = EDGES
            .iter()
            .zip(&self.first)
            .map(|(edge, count)| {
                below += read(count);
                (format!("{name}_bucket{{le=\"{edge}\"}}"), below.to_string())
            })
            .collect();
        below += read(&self.first[EDGES.len()]);
        buckets.push((format!("{name}_bucket{{le=\"+Inf\"}}"), below.to_string()));
        buckets.push((format!("{name}_sum"), format!("{}", read(&self.first_micros) as f64 / 1e6)));
        buckets.push((format!("{name}_count"), below.to_string()));
        family(name, "histogram", "From sending to a worker to the first piece of its answer.", &buckets);
        text
    }
}
