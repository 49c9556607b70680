//! A run folder: what each of its requests took, against the same requests sent at the same moments.
//!
//! Any folder will do whose `run.json` holds the endpoint file (`inputs.endpoint.text`), the settings (`settings`) and the
//! number of workers (`replicas`), and whose `requests.jsonl` says of each request when it was sent (`sent_ms`), to which worker
//! it went, how many tokens prompt and reply have, and its `ttft_ms` and `tpot_ms`: simulated, emulated, or measured. Records
//! do not say what prompts hold, so a run that found much in caches is refused.
//!
//! A single request's TTFT depends on where in a pass it came, which is lost as soon as passes are a little longer or shorter: its
//! gradient would be noise, and noise looks like knowledge. So what is compared are means over requests that were neighbours in
//! time and have prompts of like lengths; and what is simulated is the mean over `PLAYS` plays, in each of which every request
//! is sent a little earlier or later, by up to the median TPOT: so long is a pass.

use super::closed::one_worker;
use super::factors::Setup;
use super::fit::{Bench, Kind, Measured, median};
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
use sim::streams::Streams;
use sim::workload::{Pacing, Segment, Workload};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;

/// Requests are drawn and left out as up to so many stretches of neighbours, which have much in common.
const GROUPS: usize = 20;

/// Each of them is parted by how long its prompts are.
const LENGTHS: usize = 5;

/// Plays that are averaged.
const PLAYS: u64 = 32;

/// Fewer requests than this for each part tell nothing of it.
const LEAST: usize = 2;

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

/// What one worker was sent in one play, and which figures come of it.
#[derive(Debug)]
struct Play {
    workload: Workload,
    /// For each request, the places of its TTFT and TPOT among the figures.
    places: Vec<[Option<usize>; 2]>,
}

/// A request that was served.
struct Sent<'a> {
    line: &'a Line,
    worker: u16,
    places: [Option<usize>; 2],
}

/// A run.
#[derive(Debug)]
pub struct Folder {
    deployment: Deployment,
    plays: Vec<Play>,
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
        let needed = 5 * LENGTHS * LEAST;
        if served.len() < needed {
            return Err(format!(
                "{} completed requests are too few to fit anything to; {needed} are needed",
                served.len()
            ));
        }
        let (places, measured) = parts(&served);
        let sent = served.iter().zip(places).map(|(line, places)| {
            let worker = line.worker.or((replicas == 1).then_some(0));
            let worker = worker.ok_or("it does not say to which of several workers requests went")?;
            Ok(Sent { line, worker, places })
        });
        let sent: Vec<Sent<'_>> = sent.collect::<Result<_, &str>>().map_err(str::to_owned)?;
        let jitter = median(served.iter().filter_map(|line| line.tpot_ms).collect()).unwrap_or_default();
        let mut workers: Vec<u16> = sent.iter().map(|sent| sent.worker).collect();
        workers.sort_unstable();
        workers.dedup();
        let plays = (0..PLAYS).flat_map(|number| workers.iter().map(move |worker| (number, *worker)));
        Ok(Self {
            plays: plays.map(|(number, worker)| Play::of(&sent, worker, number, jitter)).collect(),
            deployment,
            measured,
        })
    }

    /// What ran.
    #[must_use]
    pub const fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// Plays it, and notes its passes.
    pub fn note(&self, setup: &Setup, seen: &Seen) {
        for play in &self.plays {
            self.play(play, setup, Some(seen));
        }
    }

    fn play(&self, play: &Play, setup: &Setup, seen: Option<&Seen>) -> Vec<(usize, f64)> {
        let deployment = Deployment { efficiency: setup.efficiency, ..self.deployment.clone() };
        let model = Box::new(deployment.roofline(Span::ZERO, false));
        let mut cluster = one_worker(&deployment, if let Some(seen) = seen { seen.around(model) } else { model });
        let way = Way { latency: setup.api_latency, api: Api::Completions, names_session: false };
        let ledger = simulate(&play.workload, &mut cluster, way, |_| {})
            .expect("what has happened within the horizon happens within it again");
        let figures = ledger.records().iter().zip(&play.places).flat_map(|(record, places)| {
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
        let play = |play: &Play| Ok::<_, Infallible>(self.play(play, setup, None));
        let Ok(played) = in_order(&self.plays, cores(), play, |_| ());
        means(played.into_iter().flatten(), self.measured.len())
    }
}

impl Play {
    /// What `worker` was sent, each request up to `jitter` milliseconds earlier or later.
    fn of(sent: &[Sent<'_>], worker: u16, number: u64, jitter: f64) -> Self {
        let mut draws = Streams::new(number).named("moments of a play");
        let mut requests: Vec<(Time, usize)> = Vec::new();
        for (place, sent) in sent.iter().enumerate() {
            let ms = sent.line.sent_ms + jitter * 2.0 * draws.unit();
            if sent.worker == worker {
                requests.push((Time(Span::from_secs_f64(ms.max(0.0) / 1e3).0), place));
            }
        }
        requests.sort_unstable();
        let (mut workload, mut places) = (Workload::new(Pacing::Open), Vec::with_capacity(requests.len()));
        for (at, place) in requests {
            let Sent { line, places: of_it, .. } = &sent[place];
            let prompt = [Segment { id: place as u64, tokens: Tokens(line.prompt_tokens) }];
            workload.push(at, None, &prompt, Tokens(line.output_tokens));
            places.push(*of_it);
        }
        Self { workload, places }
    }
}

/// The means of figures by the place they belong to.
fn means(figures: impl Iterator<Item = (usize, f64)>, places: usize) -> Vec<f64> {
    let mut sums = vec![(0.0, 0.0); places];
    figures.for_each(|(place, ms)| sums[place] = (sums[place].0 + ms, sums[place].1 + 1.0));
    sums.into_iter().map(|(sum, count)| sum / count).collect()
}

/// The figures that are compared, and for each request the places of its TTFT and TPOT among them.
fn parts(served: &[&Line]) -> (Vec<[Option<usize>; 2]>, Vec<Measured>) {
    let groups = (served.len() / (LENGTHS * LEAST)).min(GROUPS);
    let mut places = vec![[None; 2]; served.len()];
    let (mut figures, mut kinds) = (Vec::new(), Vec::new());
    for group in 0..groups {
        let [from, to] = [group, group + 1].map(|edge| edge * served.len() / groups);
        let mut members: Vec<usize> = (from..to).collect();
        members.sort_by_key(|member| served[*member].prompt_tokens);
        for part in 0..LENGTHS {
            let [low, high] = [part, part + 1].map(|edge| edge * members.len() / LENGTHS);
            for (which, kind) in [Kind::Ttft, Kind::Tpot].into_iter().enumerate() {
                let of_kind = members[low..high].iter().filter_map(|member| {
                    let line = served[*member];
                    let ms = [line.ttft_ms, line.tpot_ms][which].filter(|ms| ms.is_finite() && *ms > 0.0)?;
                    Some((*member, ms))
                });
                let of_kind: Vec<(usize, f64)> = of_kind.collect();
                if !of_kind.is_empty() {
                    of_kind.iter().for_each(|(member, _)| places[*member][which] = Some(kinds.len()));
                    figures.extend(of_kind.iter().map(|(_, ms)| (kinds.len(), *ms)));
                    kinds.push((group, kind));
                }
            }
        }
    }
    let ms = means(figures.into_iter(), kinds.len());
    (places, kinds.into_iter().zip(ms).map(|((group, kind), ms)| Measured { group, kind, ms }).collect())
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
