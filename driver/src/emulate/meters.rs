//! What is counted for `/metrics`, in the text format of Prometheus: podlab's names, and vLLM's where the meaning is the same.
//!
//! Prompts are counted when they are admitted for the first time, as vLLM counts queries of its prefix cache: what is resumed
//! after a preemption finds its own blocks, which is no hit.

use super::executor::Elsewhere;
use crate::http::vllm::{Vllm, model_label, write_one};
use kvcache::{Tokens, Usage, WorkerId};
use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that only grow, and one gauge. Written by the engine, read by anybody; each is right by itself.
#[derive(Debug)]
pub(super) struct Meters {
    prompt: AtomicU64,
    /// Found on the device, in the host's memory, in the pool.
    cached: [AtomicU64; 3],
    output: AtomicU64,
    /// Requests that completed, were refused, were stopped.
    ended: [AtomicU64; 3],
    live: AtomicU64,
    /// Whether there is an L1, and an L2.
    lower: [bool; 2],
    /// Bytes of KV in each tier, where workers keep some.
    kv: [AtomicU64; 3],
    /// Those of `live` that a worker computes for.
    running: AtomicU64,
    /// Blocks of each worker's device that requests hold, and all of them.
    held: Box<[[AtomicU64; 2]]>,
    /// By vLLM's names.
    pub(super) vllm: Vllm,
    /// Objects of an L2 elsewhere, where there is one: fetched, put, refused; and operations that failed.
    elsewhere: OnceLock<[AtomicU64; 4]>,
}

/// How a request ended, as its counter is labelled.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ended {
    Completed,
    Refused,
    Stopped,
}

fn add(counter: &AtomicU64, tokens: Tokens) {
    counter.fetch_add(u64::from(tokens.0), Ordering::Relaxed);
}

impl Meters {
    /// All zero, of so many workers; `lower`: whether there is an L1, and an L2.
    pub(super) fn new(lower: [bool; 2], workers: usize, max_model_len: Tokens) -> Self {
        Self {
            prompt: AtomicU64::default(),
            cached: Default::default(),
            output: AtomicU64::default(),
            ended: Default::default(),
            live: AtomicU64::default(),
            lower,
            kv: Default::default(),
            running: AtomicU64::default(),
            held: (0..workers).map(|_| Default::default()).collect(),
            vllm: Vllm::new(max_model_len.0.into()),
            elsewhere: OnceLock::new(),
        }
    }

    /// A worker let a request in, or let it go.
    pub(super) fn running(&self, more: bool) {
        if more {
            self.running.fetch_add(1, Ordering::Relaxed);
        } else {
            self.running.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// What a worker's device holds for requests. What nobody holds can be taken at once: it counts as free, as vLLM has it.
    pub(super) fn held(&self, worker: WorkerId, usage: Usage) {
        let held = usage.private + usage.held;
        let [of_requests, all] = &self.held[worker.index()];
        of_requests.store(held.0.into(), Ordering::Relaxed);
        all.store((held + usage.free + usage.idle).0.into(), Ordering::Relaxed);
    }

    /// The share of devices that requests hold, from 0 to 1.
    fn usage(&self) -> f64 {
        let sum = |place: usize| self.held.iter().map(|one| one[place].load(Ordering::Relaxed)).sum::<u64>();
        let (held, all) = (sum(0), sum(1));
        if all == 0 { 0.0 } else { held as f64 / all as f64 }
    }

    /// A prompt was admitted for the first time, so much of it on the device.
    pub(super) fn admitted(&self, prompt: Tokens, device: Tokens) {
        add(&self.prompt, prompt);
        add(&self.cached[0], device);
    }

    /// More of it came from the other tiers.
    pub(super) fn loaded(&self, host: Tokens, pool: Tokens) {
        add(&self.cached[1], host);
        add(&self.cached[2], pool);
    }

    pub(super) fn emitted(&self, tokens: Tokens) {
        add(&self.output, tokens);
    }

    pub(super) fn ended(&self, how: Ended) {
        self.ended[how as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn live(&self, requests: u64) {
        self.live.store(requests, Ordering::Relaxed);
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// So many bytes of KV are in each tier.
    pub(super) fn kv(&self, bytes: [u64; 3]) {
        for (gauge, bytes) in self.kv.iter().zip(bytes) {
            gauge.store(bytes, Ordering::Relaxed);
        }
    }

    /// What an L2 elsewhere has done.
    pub(super) fn elsewhere(&self, Elsewhere { fetched, put, refused, failed }: Elsewhere) {
        for (counter, count) in self.elsewhere.get_or_init(Default::default).iter().zip([fetched, put, refused, failed])
        {
            counter.store(count, Ordering::Relaxed);
        }
    }

    /// What a scrape gets.
    pub(super) fn text(&self, model: &str) -> String {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let model = model_label(model);
        let [device, host, pool] = self.cached.each_ref().map(read);
        let [completed, refused, stopped] = self.ended.each_ref().map(read);
        // Hits are written after prompts: read the other way round they might exceed them.
        let (prompt, output, live) = (read(&self.prompt), read(&self.output), read(&self.live));
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(&str, u64)]| {
            // A string takes whatever is written to it.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in samples {
                let comma = if labels.is_empty() { "" } else { "," };
                let _ = writeln!(text, "{name}{{{model}{comma}{labels}}} {value}");
            }
        };
        let tokens = "Tokens of prompts, counted when these are first admitted.";
        family("podlab:prompt_tokens_total", "counter", tokens, &[("", prompt)]);
        // Tiers that are not there found nothing, and were not asked.
        let [l1, l2] = self.lower;
        let tiers = [("tier=\"l0\"", device, true), ("tier=\"l1\"", host, l1), ("tier=\"l2\"", pool, l2)];
        let tiers: Vec<(&str, u64)> =
            tiers.into_iter().filter(|(.., there)| *there).map(|(label, count, _)| (label, count)).collect();
        family("podlab:cached_tokens_total", "counter", "Those of them that a tier held.", &tiers);
        family("podlab:output_tokens_total", "counter", "Tokens emitted.", &[("", output)]);
        let ended = [("end=\"completed\"", completed), ("end=\"refused\"", refused), ("end=\"stopped\"", stopped)];
        family("podlab:requests_total", "counter", "Requests that ended, and how.", &ended);
        family("podlab:requests_in_flight", "gauge", "Requests that have not ended.", &[("", live)]);
        let kv = self.kv.each_ref().map(read);
        if kv != [0; 3] {
            let here = l2 && self.elsewhere.get().is_none();
            let tiers = [("tier=\"l0\"", kv[0], true), ("tier=\"l1\"", kv[1], l1), ("tier=\"l2\"", kv[2], here)];
            let tiers: Vec<(&str, u64)> =
                tiers.into_iter().filter(|(.., there)| *there).map(|(label, bytes, _)| (label, bytes)).collect();
            family("podlab:kv_bytes", "gauge", "Bytes of keys and values that a tier of all workers holds.", &tiers);
        }
        if let Some(counts) = self.elsewhere.get() {
            let [fetched, put, refused, failed] = counts.each_ref().map(read);
            let objects = [("what=\"fetched\"", fetched), ("what=\"put\"", put), ("what=\"refused\"", refused)];
            let told = "Objects that came from the L2 elsewhere, were put there, or were not what they should be and were removed.";
            family("podlab:l2_objects_total", "counter", told, &objects);
            let told = "Operations on the L2 elsewhere on which nothing was heard, or that were refused.";
            family("podlab:l2_failures_total", "counter", told, &[("", failed)]);
        }
        if let Some(bytes) = resident() {
            family("process_resident_memory_bytes", "gauge", "Memory of this process.", &[("", bytes)]);
        }
        family("vllm:prefix_cache_queries_total", "counter", "Tokens looked for on the device.", &[("", prompt)]);
        family("vllm:prefix_cache_hits_total", "counter", "Tokens found on the device.", &[("", device)]);
        if l1 || l2 {
            let outside = prompt.saturating_sub(device);
            let asked = "Tokens looked for in the other tiers.";
            family("vllm:external_prefix_cache_queries_total", "counter", asked, &[("", outside)]);
            let found = "Tokens found in the other tiers.";
            family("vllm:external_prefix_cache_hits_total", "counter", found, &[("", host + pool)]);
        }
        family("vllm:prompt_tokens_total", "counter", tokens, &[("", prompt)]);
        family("vllm:generation_tokens_total", "counter", "Tokens emitted.", &[("", output)]);
        let running = read(&self.running).min(live);
        family("vllm:num_requests_running", "gauge", "Requests that workers compute for.", &[("", running)]);
        let waiting = live - running;
        family("vllm:num_requests_waiting", "gauge", "Requests that wait to be computed.", &[("", waiting)]);
        let share = "Share of devices' KV blocks that requests hold, 1 for all.";
        // Its name was another before vLLM 0.11, and dashboards have either.
        for name in ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"] {
            write_one(&mut text, name, "gauge", share, &model, self.usage());
        }
        self.vllm.write(&mut text, &model);
        text
    }
}

/// Bytes of memory that this process has, as Linux tells; `None`: it does not.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
