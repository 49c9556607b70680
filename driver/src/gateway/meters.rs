//! What is counted for `/metrics`, in the text format of Prometheus: podlab's names, and vLLM's where the meaning is the same, as far
//! as it can be seen from here. Those carry `engine="gateway"`: whoever scrapes workers too can tell them apart, and counts nothing
//! twice.

use super::dispatch::Standing;
use super::feed::FeedCounts;
use super::tally::Usage;
use crate::http::histogram::{FIRST_TOKEN, Histogram};
use crate::http::vllm::{Vllm, model_label, write_one};
use kvcache::WorkerId;
use router::{Outcome, Strategy};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

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
    /// First pieces of answers, since they were asked for.
    first: Histogram,
    /// What became of what workers told of their caches.
    fed: Mutex<Box<[FeedCounts]>>,
    /// Answers that made blocks at a worker, as far as is known, since it told of its cache last.
    unheard: Box<[AtomicU64]>,
    /// How often each worker told of its cache.
    heard: Box<[AtomicU64]>,
    /// Prompts whose tokens could be had, and could not.
    tokenized: [AtomicU64; 2],
    /// Requests that were refused since too many are in flight.
    shed: AtomicU64,
    live: AtomicU64,
    /// By vLLM's names.
    pub(super) vllm: Vllm,
    /// Tokens of prompts, of replies, of prompts whose answers tell what was cached, and those.
    tokens: [AtomicU64; 4],
    /// What these carry.
    labels: String,
}

/// Edges of histograms of lengths end there: what workers take nobody has told.
const LONGEST: u64 = 1_000_000;

impl Meters {
    pub(super) fn new(workers: u16, model: &str) -> Self {
        let each = 0..workers;
        Self {
            sent: each.clone().map(|_| AtomicU64::default()).collect(),
            ended: each.clone().map(|_| Default::default()).collect(),
            heard: each.clone().map(|_| AtomicU64::default()).collect(),
            unheard: each.map(|_| AtomicU64::default()).collect(),
            first: Histogram::of_times(&FIRST_TOKEN),
            fed: Mutex::new(vec![FeedCounts::default(); usize::from(workers)].into()),
            tokenized: Default::default(),
            shed: AtomicU64::default(),
            live: AtomicU64::default(),
            vllm: Vllm::new(LONGEST),
            tokens: Default::default(),
            labels: format!("{},engine=\"gateway\"", model_label(model)),
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
        self.first.count_time(after);
    }

    /// An answer told how long it and its prompt were.
    pub(super) fn used(&self, usage: &Usage) {
        let (prompt, reply) = (usage.prompt_tokens, usage.completion_tokens);
        self.vllm.lengths(prompt, reply);
        let cached = usage.prompt_tokens_details.as_ref().and_then(|details| details.cached_tokens);
        // What nobody tells is not nothing.
        let (queries, hits) = cached.map_or((0, 0), |cached| (prompt, cached));
        for (counter, count) in self.tokens.iter().zip([prompt, reply, queries, hits]) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(super) fn fed(&self, worker: WorkerId, counts: FeedCounts) {
        self.fed.lock().unwrap_or_else(PoisonError::into_inner)[worker.index()] = counts;
        self.heard[worker.index()].fetch_add(1, Ordering::Relaxed);
        self.unheard[worker.index()].store(0, Ordering::Relaxed);
    }

    /// How often a worker told anything of its cache.
    pub(super) fn heard(&self, worker: WorkerId) -> u64 {
        self.heard[worker.index()].load(Ordering::Relaxed)
    }

    /// An answer came of which a worker should have told that it has new blocks, and that had heard so much when the answer was
    /// asked for. What it told since may be of those blocks: they come before the answer ends.
    pub(super) fn made_blocks(&self, worker: WorkerId, heard: u64) {
        if self.heard(worker) == heard {
            self.unheard[worker.index()].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Such answers since it told anything.
    pub(super) fn unheard(&self, worker: WorkerId) -> u64 {
        self.unheard[worker.index()].load(Ordering::Relaxed)
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
                    of("vanished", counts.vanished),
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
        let name = "podlab:gateway_time_to_first_token_seconds";
        self.first.write(&mut text, name, "From sending to a worker to the first piece of its answer.", "");
        self.write_vllm(&mut text);
        text
    }

    fn write_vllm(&self, text: &mut String) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let labels = self.labels.as_str();
        // Ended ones first: read the other way round there might be more of them than were sent.
        let ended: u64 = self.ended.iter().flatten().map(read).sum();
        let running = self.sent.iter().map(read).sum::<u64>().saturating_sub(ended);
        let waiting = read(&self.live).saturating_sub(running);
        let [prompt, reply, queries, hits] = self.tokens.each_ref().map(read);
        for (name, kind, help, value) in [
            ("vllm:num_requests_running", "gauge", "Requests that a worker has.", running),
            ("vllm:num_requests_waiting", "gauge", "Requests that the gateway has and no worker.", waiting),
            ("vllm:prompt_tokens_total", "counter", "Tokens of prompts, as answers tell them.", prompt),
            ("vllm:generation_tokens_total", "counter", "Tokens of replies, as answers tell them.", reply),
            ("vllm:prefix_cache_queries_total", "counter", "Tokens of prompts whose answers tell hits.", queries),
            ("vllm:prefix_cache_hits_total", "counter", "Those of them that were cached.", hits),
        ] {
            write_one(text, name, kind, help, labels, value as f64);
        }
        self.vllm.write(text, labels);
    }
}
