//! `podlab simulate`.

use super::computed::{self, Computed};
use super::seeds::Seeds;
use super::serve_args::{Engine, EngineArgs};
use super::settings::{asks_for_help, assemble, axes, endpoint_file, lab_text, list_settings};
use super::threads::{cores, in_order};
use super::{Format, LabArgs, SimulateArgs, print, warn};
use crate::computed::{Computes, Fit, Ways};
use crate::endpoint::{Code, Endpoint, EndpointError};
use crate::experiment::slo::Slo;
use crate::experiment::{Assembled, Case, Experiment, Load, Matrix, Outcome, Source, Tiers, check_numbers, tiers_of};
use crate::failure::Failure;
use crate::growth::NOTABLE;
use crate::hardware::Watch;
use crate::lab::find::Quantity;
use crate::lab::{Origin, unread, unread_arrivals};
use crate::process::Usage;
use crate::report::{Input, Inputs};
use crate::{report, suggest};
use router::Strategy;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Requests in flight of a generated workload where nothing else is asked for: those of the original benchmark.
const CONCURRENCY: u32 = 20;

/// Queries per second of multi-round-qa where nothing else is asked for: those of its README's example.
const QPS: f64 = 0.5;

pub(super) fn run(args: &SimulateArgs) -> Result<(), Failure> {
    let began = Instant::now();
    if asks_for_help(&args.lab) {
        return print(&list_settings());
    }
    let file = endpoint_file(args.endpoint.as_deref())?;
    // `new/.` is `new`.
    let out = args.out.as_ref().map(|folder| folder.components().collect::<PathBuf>());
    let Asked { experiment, matrix, inputs } =
        ask(args, file, || out.as_deref().map_or(Ok(()), report::folder::check))?;
    for odd in odd(args, &experiment, &matrix) {
        warn(&format!("warning: {odd}"));
    }
    if args.dry_run {
        if args.slo.is_some() {
            return Err(Failure::Usage(
                "--dry-run simulates nothing, so no --slo is kept or broken; leave it away".to_owned(),
            ));
        }
        if args.out.is_some() {
            return Err(Failure::Usage(
                "--dry-run simulates nothing, so --out has nothing to keep; leave it away".to_owned(),
            ));
        }
        return super::workload::dry_run(&experiment, &matrix, args.requests, args.format);
    }
    if let Some(goal) = &args.find {
        refuse_computing(&args.computing, "--find makes many runs, and no two computed ones are the same")?;
        return super::find::run(args, goal, &experiment, matrix, began);
    }
    let computed = computed::load(&args.computing, 0)?;
    let options = RunOptions {
        records: args.out.is_some(),
        explain: &args.explain_request,
        // Whoever is timed is alone.
        threads: if computed.is_some() { 1 } else { threads(args) },
        slo: args.slo.as_ref(),
        quiet: false,
        computes: computed.as_ref().map(Computed::computes),
    };
    let outcomes = run_all(&experiment, &matrix, options)?;
    let process = Usage::since(began);
    if let Some(folder) = &out {
        report::folder::write(folder, &outcomes, &inputs, process)?;
        warn(&format!("wrote {}", folder.display()));
    }
    let explains = !args.explain_request.is_empty();
    print(&match args.format {
        Format::Table if explains => report::explain::text(&outcomes),
        Format::Json if explains => report::explain::json(&outcomes),
        Format::Table => report::table(&outcomes) + &report::breakdown::shown(&outcomes, args.breakdown),
        Format::Json => report::json(&outcomes, process),
        Format::Csv => report::csv(&outcomes),
    })
}

/// Whether runs end at a time and not with their requests.
fn lasts(matrix: &Matrix) -> bool {
    matrix.axes.iter().any(|axis| axis.key == "run.duration" && axis.values.iter().any(|value| value != "none"))
}

/// What a command line asks for, read and checked.
pub(super) struct Asked {
    pub(super) experiment: Experiment,
    pub(super) matrix: Matrix,
    pub(super) inputs: Inputs,
}

/// Reads what a command line names. `check_out` refuses a folder before any file is read.
pub(super) fn ask(
    args: &SimulateArgs,
    file: &Path,
    check_out: impl FnOnce() -> Result<(), Failure>,
) -> Result<Asked, Failure> {
    let strategies: Vec<Strategy> = args.strategy.iter().flat_map(|named| named.strategies()).collect();
    check_lists(args, &strategies)?;
    check_out()?;
    let looked_for = args.find.as_ref().map(|goal| goal.quantity);
    let (endpoint, text) = read_endpoint(file, !args.replicas.is_empty() || looked_for == Some(Quantity::Replicas))?;
    let lab = lab_text(&args.lab)?;
    let given = LabArgs {
        lab: args.lab.lab.clone(),
        hardware: args.lab.hardware.clone(),
        settings: args.extent.settings(&args.lab),
    };
    let axes = axes(&given, &endpoint, file, lab.as_deref())?;
    let mut inputs = Inputs {
        endpoint: Some(Input::whole(file, &text)),
        lab: args.lab.lab.as_deref().zip(lab.as_deref()).map(|(path, text)| Input::whole(path, text)),
        trace: None,
    };
    let source = Source::read_and_show(&args.workload, args.requests, args.repeat, |path, bytes| {
        // A hash takes as long as a tenth of a run.
        inputs.trace = args.out.is_some().then(|| Input::hashed(path, bytes));
    })?;
    // Any value stands for the one that is looked for.
    let rate = if looked_for == Some(Quantity::Rate) { vec![1.0] } else { args.rate.clone() };
    let concurrency = if looked_for == Some(Quantity::Concurrency) { vec![1] } else { args.concurrency.clone() };
    let users = if looked_for == Some(Quantity::Users) { vec![1] } else { args.users.clone() };
    let speedup = if looked_for == Some(Quantity::Speedup) { Some(1.0) } else { args.speedup };
    let matrix = Matrix {
        strategies: or_default(&strategies, || default_strategy(&endpoint)),
        caches: caches(&args.cache, &endpoint)?,
        replicas: match (args.replicas.as_slice(), looked_for) {
            (_, Some(Quantity::Replicas)) => vec![1],
            ([], _) => vec![replicas(&endpoint)?],
            (given, _) => given.to_vec(),
        },
        loads: loads((&rate, &concurrency, &users, speedup), &args.workload, &source)?,
        seeds: match (args.seed.as_slice(), looked_for) {
            ([], Some(_)) => vec![1, 2, 3, 4, 5],
            ([], None) => vec![0],
            (given, _) => given.iter().flat_map(Seeds::all).collect(),
        },
        axes,
    };
    let experiment = Experiment { endpoint, file: file.display().to_string(), workload: args.workload.clone(), source };
    if !lasts(&matrix) {
        check_numbers(&args.explain_request, experiment.source.requests())?;
    } else if args.requests.is_some() && !experiment.source.is_trace() {
        return Err(Failure::Usage(
            "--requests says how many are sent, and run.duration (--duration) for how long; keep one of them"
                .to_owned(),
        ));
    }
    Ok(Asked { experiment, matrix, inputs })
}

/// How many runs are made at the same time.
pub(super) fn threads(args: &SimulateArgs) -> usize {
    args.threads.map_or_else(cores, usize::from)
}

/// What was asked for and makes no difference.
pub(super) fn odd(args: &SimulateArgs, experiment: &Experiment, matrix: &Matrix) -> Vec<String> {
    let mut odd = Vec::new();
    let there = experiment.source.requests();
    if let Some(asked) = args.requests.filter(|asked| u64::from(*asked) > there) {
        odd.push(format!("--requests {asked}: the trace has {there} requests, and these are sent"));
    }
    let flags = matrix.axes.iter().filter(|axis| axis.origin == Origin::Flag);
    odd.extend(flags.clone().filter_map(|axis| unread(&axis.key, &args.workload, matrix)));
    let found = args.find.iter().filter_map(|goal| unread(goal.quantity.key(), &args.workload, matrix));
    odd.extend(found.map(|odd| odd.replacen("--set", "--find", 1)));
    let sent = (!lasts(matrix)).then_some(there);
    odd.extend(args.slo.iter().zip(sent).flat_map(|(slo, sent)| slo.too_few(sent)));
    odd.extend(flags.filter_map(|axis| unread_arrivals(&axis.key, &args.workload, matrix)));
    let ramp = matrix.axes.iter().any(|axis| axis.key == "run.ramp" && axis.origin == Origin::Flag);
    if ramp && matrix.loads.iter().all(|load| load.concurrency().is_none() && load.users().is_none()) {
        odd.push(
            "run.ramp: nothing in this run reads it; it is of users who start under --concurrency or --users"
                .to_owned(),
        );
    }
    odd
}

/// How runs are made: what is kept of each beside its figures (a matrix of long runs cannot keep all for nothing), and the rest.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunOptions<'a> {
    /// Every request's story.
    pub(super) records: bool,
    /// Why these requests went where they did.
    pub(super) explain: &'a [u64],
    /// On how many threads.
    pub(super) threads: usize,
    /// What was promised.
    pub(super) slo: Option<&'a Slo>,
    /// Nothing is warned of: a demo tells in its own words.
    pub(super) quiet: bool,
    /// Who computes passes for real; `None`: they are simulated.
    pub(super) computes: Option<&'a dyn Computes>,
}

impl RunOptions<'_> {
    /// Those of the demo, on all cores.
    pub(super) fn of_demo(records: bool) -> Self {
        Self { records, explain: &[], threads: cores(), slo: None, quiet: true, computes: None }
    }
}

/// Runs every case, on several threads, and gives what came of them in order. All are assembled first: a case that cannot run is told before any work is done.
pub(super) fn run_all(
    experiment: &Experiment,
    matrix: &Matrix,
    options: RunOptions<'_>,
) -> Result<Vec<Outcome>, Failure> {
    let mut runs = assemble_all(experiment, matrix, options.quiet)?;
    if let Some(computes) = options.computes {
        cut(experiment, &mut runs, computes.fit())?;
    }
    let run = |(case, assembled): &(Case, Assembled)| run_one(experiment, case, assembled, options);
    let tell = |(_, odd): &(Outcome, Vec<String>)| odd.iter().for_each(|odd| warn(&format!("warning: {odd}")));
    let outcomes = in_order(&runs, options.threads, run, tell)?;
    Ok(outcomes.into_iter().map(|(outcome, _)| outcome).collect())
}

/// All cases, resolved and checked; what is odd about any is said once, unless all is to be quiet.
pub(super) fn assemble_all(
    experiment: &Experiment,
    matrix: &Matrix,
    quiet: bool,
) -> Result<Vec<(Case, Assembled)>, Failure> {
    let cases = matrix.cases();
    let assembled: Vec<_> =
        cases.iter().map(|case| assemble(experiment, case, &matrix.axes)).collect::<Result<_, _>>()?;
    let mut said = Vec::new();
    for warning in assembled.iter().filter(|_| !quiet).flat_map(|assembled| &assembled.warnings) {
        if !said.contains(&warning) {
            warn(&format!("warning: {warning}"));
            said.push(warning);
        }
    }
    Ok(cases.into_iter().zip(assembled).collect())
}

/// Engines are cut down to what is computed. What there is to tell of that is said once.
fn cut(experiment: &Experiment, runs: &mut [(Case, Assembled)], fit: &Fit) -> Result<(), Failure> {
    let mut said = Vec::new();
    for (_, assembled) in runs {
        if !assembled.fleet.is_static() {
            return Err(Failure::Usage(
                "--engine candle: its workers stay as they are; leave fleet.events and autoscaling away".to_owned(),
            ));
        }
        for told in fit.cut(&experiment.endpoint, assembled, Ways::Modelled).map_err(Failure::Invalid)? {
            if !said.contains(&told) {
                warn(&told);
                said.push(told);
            }
        }
    }
    Ok(())
}

/// Refuses `--engine candle` where it makes no sense.
pub(super) fn refuse_computing(computing: &EngineArgs, why: &str) -> Result<(), Failure> {
    if computing.engine == Engine::Candle {
        return Err(Failure::Usage(format!(
            "--engine candle: {why}; compute one run, `podlab calibrate` its folder, and use --hardware here"
        )));
    }
    Ok(())
}

/// Runs one case: what came of it, and what is odd about that.
pub(super) fn run_one(
    experiment: &Experiment,
    case: &Case,
    assembled: &Assembled,
    options: RunOptions<'_>,
) -> Result<(Outcome, Vec<String>), Failure> {
    let mut outcome = match options.computes {
        Some(computes) => experiment.run_computed(case.clone(), assembled, options.explain, computes)?,
        None => experiment.run_and_explain(case.clone(), assembled, options.explain)?,
    };
    let mut odd = if options.quiet { Vec::new() } else { odd_of(&outcome) };
    let beyond = assembled.watch.as_ref().and_then(Watch::warning);
    odd.extend(beyond.map(|beyond| format!("{}: {beyond}", outcome.case.label())));
    outcome.warnings = assembled.warnings.iter().chain(&odd).cloned().collect();
    outcome.kept = options.slo.map(|slo| slo.kept(outcome.measured(), outcome.summary.makespan_s));
    if !options.records {
        outcome.records = Vec::new();
    }
    Ok((outcome, odd))
}

/// Why a run has no latencies to speak of; `None`: it has some.
fn nothing(measured: u64, completed: u64, all: usize) -> Option<String> {
    match (measured, completed) {
        _ if all == 0 => Some("no request was sent, so there is nothing to measure".to_owned()),
        (0, _) => Some(format!("run.warmup leaves nothing to measure: all {all} requests were sent before the cut")),
        (_, 0) => Some(format!("none of {measured} requests completed, so no latency is known")),
        _ => None,
    }
}

/// What the figures alone do not say: who was refused, whether latencies mean anything, and what outgrows its place.
fn odd_of(outcome: &Outcome) -> Vec<String> {
    let (label, all) = (outcome.case.label(), outcome.records.len());
    let refused = outcome
        .refusals()
        .into_iter()
        .map(|(count, example)| format!("{label}: {count} of {all} requests refused ({}): {example}", example.class()));
    let overloaded = outcome.overload.as_ref().map(|sign| format!("{label}: overloaded: {sign}"));
    let growth = outcome.growth.filter(|growth| growth.passes(NOTABLE)).map(|growth| format!("{label}: {growth}"));
    let nothing =
        nothing(outcome.summary.requests, outcome.summary.completed, all).map(|why| format!("{label}: {why}"));
    let missed = outcome.missed.iter().map(|missed| format!("{label}: {missed}"));
    refused.chain(missed).chain(nothing).chain(overloaded).chain(growth).collect()
}

/// Reads the endpoint file and says what is odd about it. Gives its text too. Where `replicas` are named elsewhere, the file's
/// do not matter.
pub(super) fn read_endpoint(file: &Path, replicas: bool) -> Result<(Endpoint, String), Failure> {
    let read = || {
        let text = Endpoint::text(file)?;
        let (endpoint, warnings) = Endpoint::parse(&text, &file.display().to_string())?;
        Ok((endpoint, text, warnings))
    };
    let (endpoint, text, warnings) = read().map_err(|error: EndpointError| Failure::Invalid(error.to_string()))?;
    for warning in warnings.iter().filter(|warning| !(replicas && warning.code == Code::RoutingOneReplica)) {
        let (file, line) = (file.display(), warning.line);
        warn(&format!("warning: {file}:{line}: {}: {} [{}]", warning.path, warning.message, warning.code.as_str()));
    }
    Ok((endpoint, text))
}

/// A value given twice would be a run made twice.
fn check_lists(args: &SimulateArgs, strategies: &[Strategy]) -> Result<(), Failure> {
    if let Some(goal) = &args.find {
        super::find::check(goal, args)?;
    }
    if args.format == Format::Csv && !args.explain_request.is_empty() {
        return Err(Failure::Usage(
            "--explain-request: an explanation is no line of -o csv; use table or json".to_owned(),
        ));
    }
    if let Some(strategy) = twice(strategies) {
        let several = args.strategy.iter().find(|named| named.strategies().len() > 1);
        return Err(Failure::Usage(match several {
            Some(several) => format!(
                "--strategy: {} is several strategies, {strategy} among them, and something else names it too; keep one of them",
                several.as_str()
            ),
            None => format!("--strategy: {strategy} is given twice; each value is one run, keep one of them"),
        }));
    }
    distinct("--cache", &args.cache)?;
    distinct("--replicas", &args.replicas)?;
    distinct("--rate", &args.rate)?;
    distinct("--concurrency", &args.concurrency)?;
    distinct("--users", &args.users)?;
    distinct("--seed", &args.seed.iter().flat_map(Seeds::all).collect::<Vec<_>>())?;
    match twice(&args.explain_request) {
        Some(request) => Err(Failure::Usage(format!("--explain-request: {request} is given twice; keep one of them"))),
        None => Ok(()),
    }
}

fn distinct<T: PartialEq + Display>(flag: &str, values: &[T]) -> Result<(), Failure> {
    match twice(values) {
        Some(value) => {
            Err(Failure::Usage(format!("{flag}: {value} is given twice; each value is one run, keep one of them")))
        }
        None => Ok(()),
    }
}

/// The first value that stands before itself.
fn twice<T: PartialEq>(values: &[T]) -> Option<&T> {
    values.iter().enumerate().find(|(index, value)| values[..*index].contains(value)).map(|(_, value)| value)
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

pub(super) fn caches(given: &[String], endpoint: &Endpoint) -> Result<Vec<Tiers>, Failure> {
    if given.is_empty() {
        return Ok(vec![default_tiers(endpoint)]);
    }
    given.iter().map(|name| tiers(name)).collect()
}

/// The tiers that the endpoint file turns on.
pub(super) fn default_tiers(endpoint: &Endpoint) -> Tiers {
    let tiers = tiers_of(endpoint);
    if tiers == Tiers::None && (endpoint.l1 || endpoint.l2.is_some()) {
        warn(
            "warning: worker.args turn prefix caching off, and kvCacheSpec turns L1 or L2 on: simulated without any cache",
        );
    }
    tiers
}

fn tiers(name: &str) -> Result<Tiers, Failure> {
    let names = Tiers::ALL.map(Tiers::as_str);
    if name.is_empty() {
        return Err(Failure::Usage(format!("--cache: a value is missing; there is {}", names.join(", "))));
    }
    Tiers::ALL.into_iter().find(|tiers| tiers.as_str() == name).ok_or_else(|| {
        let near = suggest::clause(name, names);
        Failure::Usage(format!("--cache {name}: there is {}{near}", names.join(", ")))
    })
}

/// How requests are sent, one way for each value.
pub(super) fn loads(
    (rate, concurrency, users, speedup): (&[f64], &[u32], &[u32], Option<f64>),
    workload: &str,
    source: &Source,
) -> Result<Vec<Load>, Failure> {
    if !concurrency.is_empty() {
        return Ok(concurrency.iter().map(|concurrency| Load::Concurrency(*concurrency)).collect());
    }
    if source.is_trace() {
        if !rate.is_empty() {
            return Err(Failure::Usage(
                "--rate contradicts --workload trace:FILE, which brings its own times; use --speedup to compress them, or --concurrency to ignore them".to_owned(),
            ));
        }
        if !users.is_empty() {
            return Err(Failure::Usage(
                "--users contradicts --workload trace:FILE, which brings its own sessions; use --set arrivals.turns=closed, so that each waits for its replies".to_owned(),
            ));
        }
        return Ok(vec![Load::Trace { speedup: speedup.unwrap_or(1.0) }]);
    }
    if speedup.is_some() {
        let what = if matches!(source, Source::Sizes { .. }) { "tells no times" } else { "is none" };
        return Err(Failure::Usage(format!(
            "--speedup plays a trace faster, and --workload {workload} {what}; use --rate or --concurrency"
        )));
    }
    let multi_round = matches!(source, Source::MultiRoundQa { .. });
    if !users.is_empty() {
        if multi_round {
            return Err(Failure::Usage(
                "--users contradicts --workload multi-round-qa, whose users come and go; use --set multi_round_qa.num_users=N and --rate".to_owned(),
            ));
        }
        return Ok(users.iter().map(|users| Load::Users(*users)).collect());
    }
    Ok(match (rate.is_empty(), multi_round) {
        (false, _) => rate.iter().map(|rate| Load::Rate(*rate)).collect(),
        (true, true) => vec![Load::Rate(QPS)],
        (true, false) => vec![Load::Concurrency(CONCURRENCY)],
    })
}
