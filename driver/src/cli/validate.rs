//! `podlab validate`: is it true?

use super::{print, threads, warn, whole};
use crate::failure::Failure;
use crate::gateway::{Replayed, replay};
use crate::process::Usage;
use crate::report::Partial;
use crate::validate::theory::fault::Fault;
use crate::validate::theory::{self, Options};
use crate::validate::{Report, engine, silicon};
use clap::{Args, Subcommand, ValueEnum};
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::time::Instant;

const THEORY_HELP: &str = "\
Queues (M/M/1, M/D/1, M/G/1, Erlang C, E_k/M/1, two choices, JSQ), users who wait, Little's law, shared links, and
caches (Che, time to live, stack distances, what must be missed): the simulator is set up as each of them.
Exit code 99: a check falls short.";

const ENGINE_HELP: &str = "\
--data: folders that hold a profile (dense.csv, attention.csv, per_sequence.csv, meta.yaml) and a run of vLLM on the same GPU
(requests.jsonl, timeseries.csv, meta.json), as LLMServingSim's profiler and bench write them. Nothing is fitted.
--table: closed loops measured on GPUs (the columns of AIConfigurator's silicon_sample.csv), simulated with published factors,
and with factors fitted to configuration groups other than the one that is judged.
Without either: what PODLAB_DATA holds, else ../shared/data.
Exit code 99: a check falls short.";

/// What the simulator is held against.
#[derive(Debug, Subcommand)]
pub(super) enum ValidateCommand {
    /// Queues, links and caches whose figures can be worked out
    #[command(after_help = THEORY_HELP)]
    Theory(TheoryArgs),
    /// Measurements of real engines: runs predicted from kernels measured on their GPU, and tables of closed loops
    #[command(after_help = ENGINE_HELP)]
    Engine(EngineArgs),
    /// A gateway's log (`serve --worker .. --decision-log FILE`): a fresh router that is told the same decides the same
    #[command(after_help = "Exit code 99: an answer differs.")]
    Decisions(DecisionsArgs),
}

#[derive(Debug, Args)]
pub(super) struct DecisionsArgs {
    /// The log
    #[arg(value_name = "FILE")]
    log: PathBuf,
    /// How to print what came of it
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    format: CheckFormat,
}

/// What every kind of validation takes.
#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// Every check on shorter runs, so with wider tolerances
    #[arg(long)]
    quick: bool,
    /// Write run.json, checks.json, observations.jsonl and report.html into a new folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How to print the checks
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    format: CheckFormat,
}

/// How checks are printed.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum CheckFormat {
    /// For people
    #[default]
    Table,
    /// One object: {"checks": [..]}; of a log of decisions, what came of it in numbers
    Json,
}

#[derive(Debug, Args)]
pub(super) struct TheoryArgs {
    #[command(flatten)]
    common: ValidateArgs,
    /// Only the checks of these names, or whose names begin with one and a dot
    #[arg(long, value_delimiter = ',', value_name = "NAME,..")]
    only: Vec<String>,
    /// Seed of all randomness
    #[arg(long, default_value_t = 0, value_parser = whole::from_zero, value_name = "S")]
    seed: u64,
    /// Runs at the same time; what is printed does not depend on it [default: as many as there are cores]
    #[arg(long, value_parser = whole::up_to::<u16>(1024), value_name = "N")]
    threads: Option<u16>,
    /// Shows that checks can fail: something is wrong with the simulator on purpose
    #[arg(long, hide = true, value_name = "NAME")]
    fault: Option<Fault>,
    /// Says which such faults each check catches
    #[arg(long, hide = true, conflicts_with_all = ["fault", "out", "format"])]
    faults: bool,
}

#[derive(Debug, Args)]
pub(super) struct EngineArgs {
    #[command(flatten)]
    common: ValidateArgs,
    /// Folder of a profile and a run, or of several such folders
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A table of measured closed loops: model, GPUs, lengths, requests in flight, TTFT and TPOT
    #[arg(long, value_name = "FILE.csv")]
    table: Option<PathBuf>,
}

/// Both kinds of measurements that were asked for.
fn engine_report(args: &EngineArgs) -> Result<Report, Failure> {
    let (mut data, mut table) = (args.data.clone(), args.table.clone());
    if data.is_none() && table.is_none() {
        let usual = std::env::var_os("PODLAB_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
        table = Some(usual.join("calibration/silicon_llama.csv")).filter(|table| table.is_file());
        data = Some(usual);
    }
    let runs = data.map(|data| engine::run(&data)).transpose()?;
    let tables = table.map(|table| silicon::run(&table, args.common.quick)).transpose()?;
    Ok(match (runs, tables) {
        (Some(runs), Some(tables)) => runs.and(tables),
        (Some(report), None) | (None, Some(report)) => report,
        (None, None) => unreachable!("one of them is there"),
    })
}

pub(super) fn run(command: &ValidateCommand) -> Result<(), Failure> {
    let began = Instant::now();
    match command {
        ValidateCommand::Theory(args) => {
            check_folder(&args.common)?;
            let options =
                Options { quick: args.common.quick, seed: args.seed, only: args.only.clone(), fault: args.fault };
            let threads = args.threads.map_or_else(threads::cores, usize::from);
            if args.faults {
                return tell_faults(&theory::faults_caught(&options, threads)?);
            }
            tell(&theory::run(&options, threads)?, &args.common, began)
        }
        ValidateCommand::Engine(args) => {
            check_folder(&args.common)?;
            tell(&engine_report(args)?, &args.common, began)
        }
        ValidateCommand::Decisions(args) => decisions(args),
    }
}

/// Plays a gateway's log once more.
fn decisions(args: &DecisionsArgs) -> Result<(), Failure> {
    let name = args.log.display();
    let file = File::open(&args.log).map_err(|error| Failure::Invalid(format!("{name}: {error}")))?;
    let played = replay(BufReader::new(file)).map_err(|error| Failure::Invalid(format!("{name}: {error}")))?;
    if played.is_cut {
        warn(&format!("warning: {name}: the last line is cut: whoever wrote it was killed"));
    }
    let Replayed { calls, requests, decisions, retries, failures, batches, differences, ref shown, .. } = played;
    for (line, logged, now) in shown {
        warn(&format!("{name}, line {line}: the log has {logged}, and it is {now}"));
    }
    print(&match args.format {
        CheckFormat::Json => format!(
            "{}\n",
            serde_json::json!({
                "calls": calls,
                "requests": requests,
                "decisions": decisions,
                "retries": retries,
                "failures": failures,
                "cache_batches": batches,
                "differences": differences,
            })
        ),
        CheckFormat::Table => format!(
            "{requests} requests ({retries} retries, {failures} attempts that did not end well), {batches} batches of cache events: \
             {differences} of {decisions} decisions differ\n"
        ),
    })?;
    if differences > 0 {
        return Err(Failure::NotMet(format!("{name}: {differences} of {decisions} decisions differ")));
    }
    Ok(())
}

/// Refuses a folder that cannot be written, before any work is done for it.
fn check_folder(args: &ValidateArgs) -> Result<(), Failure> {
    let Some(folder) = &args.out else { return Ok(()) };
    let begun = Partial::create(folder).map(drop);
    begun.map_err(|why| Failure::Usage(format!("--out {}: {why}", folder.display())))
}

fn tell(report: &Report, args: &ValidateArgs, began: Instant) -> Result<(), Failure> {
    print(&match args.format {
        CheckFormat::Table => report.table(),
        CheckFormat::Json => report.json(),
    })?;
    if let Some(folder) = &args.out {
        report.write(folder, Usage::since(began))?;
        warn(&format!("wrote {}", folder.display()));
    }
    report.verdict()
}

/// Which faults each check catches; that it catches one is what is asked of it.
fn tell_faults(caught: &[(&str, Vec<Fault>)]) -> Result<(), Failure> {
    let widest = caught.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, faults) in caught {
        let faults: Vec<&str> = faults.iter().copied().map(Fault::as_str).collect();
        print(&format!("{name:widest$}  {}\n", faults.join(", ")))?;
    }
    let blind: Vec<&str> = caught.iter().filter(|(_, faults)| faults.is_empty()).map(|(name, _)| *name).collect();
    if blind.is_empty() { Ok(()) } else { Err(Failure::NotMet(format!("nothing fails {}", blind.join(", ")))) }
}
