//! A run folder: what each of its requests took, against the same requests sent at the same moments.
//!
//! Any folder will do whose `run.json` holds the endpoint file (`inputs.endpoint.text`), the settings (`settings`) and the
//! number of workers (`replicas`), and whose `requests.jsonl` says of each request when it was sent (`sent_ms`), to which worker
//! it went, how many tokens prompt and reply have, and its `ttft_ms` and `tpot_ms`: simulated, emulated, or measured. Records
//! do not say what prompts hold, so a run that found much in caches is refused.

use super::closed::one_worker;
use super::factors::Setup;
use super::fit::{Bench, Kind, Measured};
use crate::bounded;
use crate::endpoint::Endpoint;
use crate::experiment::{Assembled, Case, Experiment, Load, Source, Tiers};
use crate::failure::Failure;
use crate::hardware::grid::Seen;
use crate::threads::{cores, in_order};
use kvcache::{Span, Time, Tokens};
use router::{Api, Strategy};
use serde::Deserialize;
use sim::cost::deployment::Deployment;
use sim::simulate::{Path as Way, simulate};
use sim::workload::{Pacing, Segment, Workload};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;

/// Requests are drawn and left out as so many stretches of neighbours, which have much in common.
const GROUPS: usize = 20;

/// The share of prompt tokens that may have been found in caches.
const MOST_CACHED: f64 = 0.05;

/// More than any run that fits into memory.
const MOST_BYTES: u64 = 4 << 30;

/// A line of `requests.jsonl`, as far as it matters.
#[derive(Debug, Deserialize)]
struct Line {
    status: String,
    worker: Option<u16>,
    sent_ms: f64,
    ttft_ms: Option<f64>,
    tpot_ms: Option<f64>,
    prompt_tokens: u32,
    output_tokens: u32,
    cached_tokens: Option<u32>,
}

/// `run.json`, as far as it matters.
#[derive(Debug, Deserialize)]
struct Run {
    inputs: Inputs,
    #[serde(default)]
    settings: BTreeMap<String, String>,
    replicas: u16,
}

#[derive(Debug, Deserialize)]
struct Inputs {
    endpoint: Input,
}

#[derive(Debug, Deserialize)]
struct Input {
    text: String,
}

/// What one worker was sent, and which figures came of it.
#[derive(Debug)]
struct Worker {
    workload: Workload,
    /// For each request, the places of its TTFT and TPOT among the figures.
    places: Vec<[Option<usize>; 2]>,
}

/// A run.
#[derive(Debug)]
pub struct Folder {
    deployment: Deployment,
    workers: Vec<Worker>,
    measured: Vec<Measured>,
}

impl Folder {
    /// Reads a run folder.
    ///
    /// # Errors
    /// [`Failure::Invalid`], with the file and what is wrong with it.
    pub fn read(folder: &Path) -> Result<Self, Failure> {
        let file = folder.join("run.json");
        let at = |why: String| Failure::Invalid(format!("{}: {why}", file.display()));
        let text = bounded::read(&file, 64 << 20).map_err(|error| at(error.to_string()))?;
        let run: Run = serde_json::from_slice(&text).map_err(|error| {
            at(format!("{error}; inputs.endpoint.text, settings and replicas are what a calibration needs of it"))
        })?;
        let deployment = assembled(&run, &file)?.deployment;
        let lines = lines(&folder.join("requests.jsonl"))?;
        Self::of(deployment, &lines, run.replicas)
            .map_err(|why| Failure::Invalid(format!("{}: {why}", folder.join("requests.jsonl").display())))
    }

    fn of(deployment: Deployment, lines: &[Line], replicas: u16) -> Result<Self, String> {
        let served: Vec<&Line> = lines.iter().filter(|line| line.status == "completed").collect();
        check_cached(&served)?;
        let mut workers: Vec<(u16, Worker)> = Vec::new();
        let mut measured = Vec::new();
        for (number, line) in served.iter().enumerate() {
            let Some(worker) = line.worker.or((replicas == 1).then_some(0)) else {
                return Err("it does not say to which of several workers requests went".to_owned());
            };
            let place = workers.iter().position(|(known, _)| *known == worker).unwrap_or_else(|| {
                workers.push((worker, Worker { workload: Workload::new(Pacing::Open), places: Vec::new() }));
                workers.len() - 1
            });
            let group = number * GROUPS / served.len();
            let figures = [(Kind::Ttft, line.ttft_ms), (Kind::Tpot, line.tpot_ms)].map(|(kind, ms)| {
                let ms = ms.filter(|ms| ms.is_finite() && *ms > 0.0)?;
                measured.push(Measured { group, kind, ms });
                Some(measured.len() - 1)
            });
            let of_it = &mut workers[place].1;
            let prompt = [Segment { id: number as u64, tokens: Tokens(line.prompt_tokens) }];
            let sent = Time(Span::from_secs_f64(line.sent_ms.max(0.0) / 1e3).0);
            of_it.workload.push(sent, None, &prompt, Tokens(line.output_tokens));
            of_it.places.push(figures);
        }
        if measured.len() < GROUPS {
            return Err(format!("{} figures are too few to fit anything to; {GROUPS} are needed", measured.len()));
        }
        Ok(Self { deployment, workers: workers.into_iter().map(|(_, worker)| worker).collect(), measured })
    }

    /// What ran.
    #[must_use]
    pub const fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// Plays it, and notes its passes.
    pub fn note(&self, setup: &Setup, seen: &Seen) {
        for worker in &self.workers {
            self.play(worker, setup, Some(seen));
        }
    }

    fn play(&self, worker: &Worker, setup: &Setup, seen: Option<&Seen>) -> Vec<(usize, f64)> {
        let deployment = Deployment { efficiency: setup.efficiency, ..self.deployment.clone() };
        let model = Box::new(deployment.roofline(Span::ZERO, false));
        let mut cluster = one_worker(&deployment, if let Some(seen) = seen { seen.around(model) } else { model });
        let way = Way { latency: setup.api_latency, api: Api::Completions, names_session: false };
        let ledger = simulate(&worker.workload, &mut cluster, way, |_| {})
            .expect("what has happened within the horizon happens within it again");
        let figures = ledger.records().iter().zip(&worker.places).flat_map(|(record, places)| {
            let figures = [record.ttft(), record.tpot()];
            places
                .iter()
                .zip(figures)
                .filter_map(|(place, span)| Some(((*place)?, span?.as_millis_f64())))
                .collect::<Vec<_>>()
        });
        figures.collect()
    }
}

impl Bench for Folder {
    fn measured(&self) -> &[Measured] {
        &self.measured
    }

    fn simulate(&self, setup: &Setup, _: &dyn Fn(usize) -> bool) -> Vec<f64> {
        // Who is left out of the fit was there all the same.
        let play = |worker: &Worker| Ok::<_, Infallible>(self.play(worker, setup, None));
        let Ok(played) = in_order(&self.workers, cores(), play, |_| ());
        let mut simulated = vec![f64::NAN; self.measured.len()];
        played.into_iter().flatten().for_each(|(place, ms)| simulated[place] = ms);
        simulated
    }
}

fn check_cached(served: &[&Line]) -> Result<(), String> {
    let cached: u64 = served.iter().filter_map(|line| line.cached_tokens).map(u64::from).sum();
    let prompts: u64 = served.iter().map(|line| u64::from(line.prompt_tokens)).sum();
    let share = cached as f64 / prompts.max(1) as f64;
    if share <= MOST_CACHED {
        return Ok(());
    }
    Err(format!(
        "{:.0} % of its prompts were found in caches, and what they share is not recorded; calibrate on a run without a prefix cache (--cache none), or of unrelated prompts",
        100.0 * share
    ))
}

/// The run's deployment, without the profile that may have priced it.
fn assembled(run: &Run, file: &Path) -> Result<Assembled, Failure> {
    let name = format!("{}: inputs.endpoint.text", file.display());
    let (endpoint, _) =
        Endpoint::parse(&run.inputs.endpoint.text, &name).map_err(|error| Failure::Invalid(error.to_string()))?;
    let mut settings = run.settings.clone();
    settings.remove("hardware.profile");
    let case = Case {
        strategy: Strategy::RoundRobin,
        cache: Tiers::None,
        replicas: run.replicas,
        load: Load::Concurrency(1),
        seed: 0,
        settings,
    };
    let source = Source::DocumentQa { requests: 0 };
    Experiment { endpoint, file: name, workload: String::new(), source }.assemble(&case)
}

fn lines(file: &Path) -> Result<Vec<Line>, Failure> {
    let said = |why: String| Failure::Invalid(format!("{}: {why}", file.display()));
    let bytes = bounded::read(file, MOST_BYTES).map_err(|error| said(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| said("it is no text in UTF-8".to_owned()))?;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line: Line = serde_json::from_str(line)
            .map_err(|error| Failure::Invalid(format!("{}:{}: {error}", file.display(), number + 1)))?;
        lines.push(line);
    }
    lines.sort_by(|a: &Line, b: &Line| a.sent_ms.total_cmp(&b.sent_ms));
    Ok(lines)
}
