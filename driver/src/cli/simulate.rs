//! `podlab simulate`.

use super::{Format, LabArgs, SimulateArgs, print, warn};
use crate::endpoint::Endpoint;
use crate::experiment::{Experiment, Load, Matrix, Outcome, Source, Tiers};
use crate::failure::Failure;
use crate::lab::settings::SETTINGS;
use crate::lab::{Axis, Lab};
use crate::process::Usage;
use crate::{report, suggest};
use router::Strategy;
use std::path::Path;
use std::time::Instant;

/// Requests in flight of a generated workload where nothing else is asked for: those of the original benchmark.
const CONCURRENCY: u32 = 20;

pub(super) fn run(args: &SimulateArgs) -> Result<(), Failure> {
    let began = Instant::now();
    if asks_for_help(&args.lab) {
        return print(&list_settings());
    }
    if let Some(folder) = &args.out {
        report::folder::check(folder)?;
    }
    let endpoint = read_endpoint(&args.endpoint)?;
    let axes = axes(&args.lab, &endpoint)?;
    let source = Source::read(&args.workload, args.requests)?;
    let matrix = Matrix {
        strategies: or_default(&args.strategy, || default_strategy(&endpoint)),
        caches: caches(&args.cache, &endpoint)?,
        replicas: if args.replicas.is_empty() { vec![replicas(&endpoint)?] } else { args.replicas.clone() },
        loads: loads(args, &source)?,
        seeds: args.seed.clone(),
        axes,
    };
    let experiment =
        Experiment { endpoint, file: args.endpoint.display().to_string(), workload: args.workload.clone(), source };
    let outcomes = run_all(&experiment, &matrix)?;
    let process = Usage::since(began);
    if let Some(folder) = &args.out {
        report::folder::write(folder, &outcomes, process)?;
        warn(&format!("wrote {}", folder.display()));
    }
    print(&match args.format {
        Format::Table => report::table(&outcomes),
        Format::Json => report::json(&outcomes, process),
        Format::Csv => report::csv(&outcomes),
    })
}

/// Runs every case. All are assembled first: a case that cannot run is told before any work is done.
pub(super) fn run_all(experiment: &Experiment, matrix: &Matrix) -> Result<Vec<Outcome>, Failure> {
    let cases = matrix.cases();
    let assembled: Vec<_> = cases.iter().map(|case| experiment.assemble(case)).collect::<Result<_, _>>()?;
    let mut said = Vec::new();
    for warning in assembled.iter().flat_map(|assembled| &assembled.warnings) {
        if !said.contains(&warning) {
            warn(&format!("warning: {warning}"));
            said.push(warning);
        }
    }
    Ok(cases.into_iter().zip(&assembled).map(|(case, assembled)| experiment.run(case, assembled)).collect())
}

/// Reads the endpoint file and says what is odd about it.
pub(super) fn read_endpoint(file: &Path) -> Result<Endpoint, Failure> {
    let (endpoint, warnings) = Endpoint::read(file).map_err(|error| Failure::Invalid(error.to_string()))?;
    for warning in warnings {
        warn(&format!("warning: {warning}"));
    }
    Ok(endpoint)
}

pub(super) fn default_strategy(endpoint: &Endpoint) -> Strategy {
    match endpoint.routing {
        Some(routing) => routing.as_str().parse().unwrap_or(Strategy::RoundRobin),
        None => {
            warn("warning: the endpoint file does not turn on intelligent routing: simulated as roundrobin");
            Strategy::RoundRobin
        }
    }
}

pub(super) fn replicas(endpoint: &Endpoint) -> Result<u16, Failure> {
    u16::try_from(endpoint.replicas).ok().filter(|replicas| (1..=4096).contains(replicas)).ok_or_else(|| {
        Failure::Invalid(format!(
            "spec.replicas: {} lies outside the 1 to 4096 that podlab simulates",
            endpoint.replicas
        ))
    })
}

fn or_default<T: Clone>(given: &[T], default: impl FnOnce() -> T) -> Vec<T> {
    if given.is_empty() { vec![default()] } else { given.to_vec() }
}

fn caches(given: &[String], endpoint: &Endpoint) -> Result<Vec<Tiers>, Failure> {
    if given.is_empty() {
        if endpoint.l1 || endpoint.l2.is_some() {
            warn(
                "warning: the endpoint file turns on L1 or L2, which are not simulated yet: what follows is --cache l0",
            );
        }
        let off = endpoint.engine.enable_prefix_caching == Some(false);
        return Ok(vec![if off { Tiers::None } else { Tiers::L0 }]);
    }
    given.iter().map(|name| tiers(name)).collect()
}

fn tiers(name: &str) -> Result<Tiers, Failure> {
    match name {
        "none" => Ok(Tiers::None),
        "l0" => Ok(Tiers::L0),
        "l0+l1" | "l0+l1+l2" => {
            Err(Failure::Usage(format!("--cache {name}: L1 and L2 are not simulated yet; none and l0 are")))
        }
        _ => {
            let near = suggest::clause(name, ["none", "l0", "l0+l1", "l0+l1+l2"]);
            Err(Failure::Usage(format!("--cache {name}: there is none, l0, l0+l1 and l0+l1+l2{near}")))
        }
    }
}

fn loads(args: &SimulateArgs, source: &Source) -> Result<Vec<Load>, Failure> {
    if !args.concurrency.is_empty() {
        return Ok(args.concurrency.iter().map(|concurrency| Load::Concurrency(*concurrency)).collect());
    }
    if source.is_trace() {
        if !args.rate.is_empty() {
            return Err(Failure::Usage(
                "--rate contradicts --workload trace:FILE, which brings its own times; use --speedup to compress them, or --concurrency to ignore them".to_owned(),
            ));
        }
        return Ok(vec![Load::Trace { speedup: args.speedup.unwrap_or(1.0) }]);
    }
    if args.speedup.is_some() {
        return Err(Failure::Usage(format!(
            "--speedup plays a trace faster, and --workload {} is none; use --rate or --concurrency",
            args.workload
        )));
    }
    if args.rate.is_empty() {
        return Ok(vec![Load::Concurrency(CONCURRENCY)]);
    }
    Ok(args.rate.iter().map(|rate| Load::Rate(*rate)).collect())
}

/// The settings given, weakest first: annotations, lab file, `--set`. A stronger one replaces a weaker one's values.
pub(super) fn axes(args: &LabArgs, endpoint: &Endpoint) -> Result<Vec<Axis>, Failure> {
    let mut axes: Vec<Axis> = Vec::new();
    let mut put = |axis: Axis| match axes.iter_mut().find(|known| known.key == axis.key) {
        Some(known) => *known = axis,
        None => axes.push(axis),
    };
    for annotation in &endpoint.annotations {
        let text = format!("{}={}", annotation.key, annotation.value);
        let axis = Axis::parse(&text).map_err(|problem| {
            Failure::Invalid(format!("metadata.annotations[\"podlab.dev/{}\"]: {problem}", annotation.key))
        })?;
        put(axis);
    }
    if let Some(file) = &args.lab {
        Lab::default().read(file).map_err(Failure::Invalid)?.into_iter().for_each(&mut put);
    }
    for text in &args.settings {
        put(Axis::parse(text).map_err(|problem| Failure::Usage(format!("--set {text}: {problem}")))?);
    }
    Ok(axes)
}

pub(super) fn asks_for_help(args: &LabArgs) -> bool {
    args.settings.iter().any(|text| text == "help")
}

pub(super) fn list_settings() -> String {
    let width = SETTINGS.iter().map(|setting| setting.key.len()).max().unwrap_or_default();
    let mut text =
        String::from("Settings for --set KEY=VALUE, for a lab file, and for podlab.dev/KEY annotations:\n\n");
    for setting in SETTINGS {
        text.push_str(&format!(
            "  {:width$}  {}\n  {:width$}  takes: {}; default: {}\n",
            setting.key, setting.means, "", setting.takes, setting.default
        ));
    }
    text
}
