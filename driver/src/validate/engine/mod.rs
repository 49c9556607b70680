//! The simulator against a real engine: a run of vLLM is predicted from kernels that were measured on its GPU and the settings
//! that its log states. No parameter is fitted, on this run or any other: the host's time is taken as hidden where the engine
//! schedules asynchronously, and as nothing where it does not.
//!
//! * Arrivals are the recorded ones. The engine sees them, as the recorded one does, when it plans a pass; `queued_ts` is that
//!   moment, so the simulated TTFT counts from it too.
//! * Means and percentiles (linear interpolation) are over all requests. TPOT is over requests of two tokens and more.
//! * Curves (`area_*`): what lies between the two over what lies under the measured one, at the moments of the recorded series.

mod recorded; // a real run
mod replay; // the same requests, simulated
mod overlay; // two curves

use super::{Check, Report};
use crate::failure::Failure;
use crate::profile::Folder;
use kvcache::Span;
use overlay::areas;
use recorded::{Recorded, Sample};
use replay::{Replay, Times, replay};
use sim::cost::table::Running;
use std::path::{Path, PathBuf};

/// A run on a GPU and the kernels measured on it, one folder.
struct Pair {
    name: String,
    folder: Folder,
    recorded: Recorded,
}

/// Checks every pair of profile and run in `data`: that folder itself, or those in it or in `calibration` below it.
///
/// # Errors
/// [`Failure::Usage`] where there is none, [`Failure::Invalid`] where a file is wrong.
pub fn run(data: &Path) -> Result<Report, Failure> {
    let folders = folders(data)?;
    let mut report =
        Report { checks: Vec::new(), notes: String::new(), settings: serde_json::json!({}), observations: Vec::new() };
    let mut settings = Vec::new();
    for path in &folders {
        let pair = Pair::read(path).map_err(Failure::Invalid)?;
        let prefix = if folders.len() == 1 { "engine".to_owned() } else { format!("engine.{}", pair.name) };
        let replay = pair.replay().map_err(Failure::Invalid)?;
        report.checks.extend(checks(&prefix, &pair.recorded, &replay));
        report.notes.push_str(&pair.note(&replay));
        report.observations.extend(pair.observations(&replay));
        settings.push(pair.settings(&replay));
    }
    report.settings = serde_json::json!({ "data": data, "pairs": settings, "fitted": [] });
    Ok(report)
}

/// Folders with a profile and a run.
fn folders(data: &Path) -> Result<Vec<PathBuf>, Failure> {
    let is_pair = |path: &Path| Folder::is_at(path) && Recorded::is_at(path);
    if is_pair(data) {
        return Ok(vec![data.to_owned()]);
    }
    for parent in [data.to_owned(), data.join("calibration")] {
        let Ok(entries) = std::fs::read_dir(&parent) else { continue };
        let mut found: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| is_pair(path)).collect();
        found.sort();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(Failure::Usage(format!(
        "--data {}: no folder there holds both a profile (dense.csv, attention.csv, per_sequence.csv, meta.yaml) and a run (requests.jsonl, timeseries.csv, meta.json)",
        data.display()
    )))
}

impl Pair {
    fn read(path: &Path) -> Result<Self, String> {
        let folder = Folder::read(path)?;
        let recorded = Recorded::read(path)?;
        if recorded.model != folder.meta.model {
            return Err(format!(
                "{}: the run is of {}, the profile of {}",
                path.display(),
                recorded.model,
                folder.meta.model
            ));
        }
        let name =
            path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        Ok(Self { name, folder, recorded })
    }

    fn running(&self) -> Running {
        Running {
            captured: self.recorded.captured.clone(),
            full_decode_graphs: self.recorded.full_decode_graphs,
            host: Span::ZERO,
            async_scheduling: self.recorded.engine.async_scheduling,
        }
    }

    fn replay(&self) -> Result<Replay, String> {
        replay(&self.recorded, Box::new(self.folder.cost(self.running())?))
    }

    fn note(&self, replay: &Replay) -> String {
        let Recorded { requests, device, vllm_version, engine, .. } = &self.recorded;
        let beyond = match replay.beyond {
            0 => String::new(),
            passes => format!(
                " {passes} of {} passes had more of something than was measured: their durations are extrapolated.",
                replay.passes
            ),
        };
        format!(
            "
{}: {} requests on {device}, vLLM {vllm_version}, {} KV blocks as logged; nothing was fitted. {} passes, {} preemptions.{beyond}",
            self.name,
            requests.len(),
            engine.cache.capacity.0,
            replay.passes,
            replay.preemptions,
        )
    }

    fn settings(&self, replay: &Replay) -> serde_json::Value {
        let Recorded { device, vllm_version, engine, captured, .. } = &self.recorded;
        serde_json::json!({
            "name": self.name,
            "device": device,
            "vllm_version": vllm_version,
            "profile": { "gpu": self.folder.meta.gpu, "model": self.folder.meta.model, "profiled_at": self.folder.meta.profiled_at },
            "kv_blocks": engine.cache.capacity.0,
            "block_size": engine.cache.block.0,
            "max_num_seqs": engine.max_num_seqs,
            "max_num_batched_tokens": engine.max_num_batched_tokens.0,
            "async_scheduling": engine.async_scheduling,
            "full_decode_graphs": self.recorded.full_decode_graphs,
            "captured_up_to": captured.last(),
            "host_overhead_ms": 0.0,
            "passes": replay.passes,
            "passes_beyond_the_profile": replay.beyond,
            "preemptions": replay.preemptions,
        })
    }

    fn observations(&self, replay: &Replay) -> Vec<serde_json::Value> {
        let zero = self.recorded.requests[0].queued;
        let by_request = self.recorded.requests.iter().zip(&replay.requests).map(|(real, simulated)| {
            let times = |times: Times| {
                serde_json::json!({ "queued_s": times.queued, "scheduled_s": times.scheduled, "first_token_s": times.first_token, "last_token_s": times.last_token })
            };
            let real_times = Times { queued: real.queued - zero, scheduled: real.scheduled - zero, first_token: real.first_token - zero, last_token: real.last_token - zero };
            serde_json::json!({
                "of": self.name, "request": real.request_id, "prompt_tokens": real.input_toks, "output_tokens": real.output_toks,
                "measured": times(real_times), "simulated": times(*simulated),
            })
        });
        let lead = self.recorded.series_lead;
        let over_time = self.recorded.series.iter().map(|sample| {
            let place = replay.series.partition_point(|pass| pass.at < sample.at - lead);
            let now = place.checked_sub(1).map(|place| replay.series[place]);
            let told = |sample: &Sample| serde_json::json!({ "running": sample.running, "waiting": sample.waiting, "kv_use_percent": sample.kv_use });
            serde_json::json!({ "of": self.name, "t_s": sample.at, "measured": told(sample), "simulated": now.as_ref().map(told) })
        });
        by_request.chain(over_time).collect()
    }
}

/// A quantity of a request, from its times and the tokens of its reply.
type Quantity = fn(&Times, u32) -> Option<f64>;

const TTFT: Quantity = |times, _| Some(times.first_token - times.queued);
const E2E: Quantity = |times, _| Some(times.last_token - times.queued);
const TPOT: Quantity =
    |times, tokens| (tokens > 1).then(|| (times.last_token - times.first_token) / f64::from(tokens - 1));
const PREFILL: Quantity = |times, _| Some(times.first_token - times.scheduled);

/// Checks of requests: name, of what, which percentile (`None`: the mean), how far off it may be.
const OF_REQUESTS: [(&str, Quantity, Option<f64>, f64); 7] = [
    ("mean_ttft", TTFT, None, 0.03),
    ("mean_tpot", TPOT, None, 0.02),
    ("mean_e2e", E2E, None, 0.02),
    ("p99_ttft", TTFT, Some(0.99), 0.08),
    ("p99_tpot", TPOT, Some(0.99), 0.08),
    ("p99_e2e", E2E, Some(0.99), 0.08),
    ("scheduled_to_first", PREFILL, None, 0.10),
];

type Curve = fn(&Sample) -> f64;

/// Checks of curves.
const OF_CURVES: [(&str, Curve); 3] = [
    ("area_running", |sample| sample.running),
    ("area_waiting", |sample| sample.waiting),
    ("area_kv_use", |sample| sample.kv_use),
];
const BETWEEN_CURVES: f64 = 0.05;

fn checks(prefix: &str, recorded: &Recorded, replay: &Replay) -> Vec<Check> {
    let measured: Vec<Times> = recorded
        .requests
        .iter()
        .map(|request| Times {
            queued: request.queued,
            scheduled: request.scheduled,
            first_token: request.first_token,
            last_token: request.last_token,
        })
        .collect();
    let tokens: Vec<u32> = recorded.requests.iter().map(|request| request.output_toks).collect();
    let figure = |times: &[Times], of: Quantity, percentile: Option<f64>| {
        let mut all: Vec<f64> = times.iter().zip(&tokens).filter_map(|(times, tokens)| of(times, *tokens)).collect();
        statistic(&mut all, percentile)
    };
    let of_requests = OF_REQUESTS.iter().filter_map(|(name, of, percentile, tolerance)| {
        let expected = figure(&measured, *of, *percentile)?;
        let simulated = figure(&replay.requests, *of, *percentile)?;
        let error = (simulated - expected) / expected;
        Some(Check {
            name: format!("{prefix}.{name}"),
            expected,
            simulated,
            error,
            tolerance: *tolerance,
            // What is no number is no agreement.
            ok: error.abs() <= *tolerance,
        })
    });
    let of_curves = OF_CURVES.iter().map(|(name, of)| {
        let areas = areas(&recorded.series, &replay.series, recorded.series_lead, *of);
        let error = areas.between / areas.measured;
        Check {
            name: format!("{prefix}.{name}"),
            expected: areas.measured,
            simulated: areas.simulated,
            error,
            tolerance: BETWEEN_CURVES,
            ok: error <= BETWEEN_CURVES,
        }
    });
    of_requests.chain(of_curves).collect()
}

/// The mean, or a percentile by linear interpolation. `None` of nothing.
fn statistic(all: &mut [f64], percentile: Option<f64>) -> Option<f64> {
    let last = all.len().checked_sub(1)?;
    let Some(percentile) = percentile else { return Some(all.iter().sum::<f64>() / all.len() as f64) };
    all.sort_by(f64::total_cmp);
    let rank = percentile * last as f64;
    let below = rank.floor() as usize;
    Some(all[below] + (all[(below + 1).min(last)] - all[below]) * (rank - below as f64))
}
