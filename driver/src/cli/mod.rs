//! The command line.

use crate::experiment::find::Goal;
use crate::experiment::slo::Slo;
use crate::failure::Failure;
use crate::sweep::Shard;
use crate::threads;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use compare::CompareArgs;
use extent::ExtentArgs;
use publish::publish;
use report::ReportArgs;
use seeds::Seeds;
use serve_args::EngineArgs;
use sim::workload::MOST_ROUNDS;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use strategies::{Named, Names};
use validate::{CheckFormat, ValidateCommand};

mod demo; // the main job on an embedded default
mod serve; // an endpoint over HTTP
mod serve_args; // ... its flags
#[cfg_attr(not(feature = "candle"), path = "computed_refused.rs")]
mod computed; // workers that compute, where the build has them
mod model; // what `--engine candle` computes
mod tierd; // L2 as a daemon
mod tierd_args; // ... its flags
mod bench; // any endpoint, measured
mod bench_args; // ... its flags
mod place; // ... and where it is
mod invoke; // one prompt
mod simulate; // virtual time
mod seeds; // seeds, and ranges of them
mod extent; // how a run begins, how long it is, what of it is measured
mod find; // ... until a promise is broken
mod sweep; // ... for a grid that outlives its process
mod settings; // where settings come from, and which are to blame
mod workload; // what would be sent
mod validate; // is it true?
mod calibrate; // from measurements to a hardware profile
mod compare; // runs side by side
mod report; // a folder as a page
mod lab; // the settings as a file
mod publish; // files that appear whole or not at all
mod trace; // logs as traces
mod strategies; // the names of strategies
mod whole; // whole numbers

const EXIT_CODES: &str = "\
Exit codes: 0 ok, 1 failed, 2 usage, 3 invalid config or input file, 4 remote unreachable or refused (`bench`, `invoke`), 99 nothing
keeps the promise (--find), a check falls short (`validate`), a figure regresses (`compare`) or the client is limited (`bench
--strict`), 130 interrupted (`sweep`, `bench`), or stopped twice (`serve`, `tierd`)";

/// A laboratory for tiered KV caching and request routing in LLM serving, shaped after Amazon SageMaker HyperPod
#[derive(Debug, Parser)]
#[command(
    name = "podlab",
    version,
    about = "A laboratory for tiered KV caching and request routing in LLM serving, shaped after Amazon SageMaker HyperPod",
    after_help = EXIT_CODES,
    max_term_width = 110
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what prefix caching and each routing strategy buy, on a built-in endpoint: no AWS, no GPU, no download
    Demo(DemoArgs),
    /// Simulate an endpoint file's cluster in virtual time, for each combination of the values given
    Simulate(Box<SimulateArgs>),
    /// Simulate a grid into a folder, go on where it was broken off, and merge what several machines did of it
    Sweep(Box<SweepArgs>),
    /// Compare runs: what differs in their settings, then every figure with how sure that is
    Compare(CompareArgs),
    /// Write the report.html of a folder again, from the files in it
    Report(ReportArgs),
    /// Hold the simulator against what is known otherwise
    #[command(subcommand)]
    Validate(ValidateCommand),
    /// Fit a hardware profile to measurements: a table of closed loops, a run folder, a layer profile
    Calibrate(CalibrateArgs),
    /// The settings that decide the physics: their schema, and a file to begin with
    #[command(subcommand)]
    Lab(LabCommand),
    /// Make a trace of your own logs
    #[command(subcommand)]
    Trace(TraceCommand),
    /// Describe a workload before anything is simulated
    #[command(subcommand)]
    Workload(WorkloadCommand),
    /// Serve an endpoint file over HTTP on this machine, OpenAI-compatible: each pass lasts its modelled time, or is computed
    Serve(Box<serve_args::ServeArgs>),
    /// Models for `serve --engine candle`
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// L2 `tieredstorage` as a daemon, by the wire of HyperPod's node daemon: LMCache stores and reads through it unchanged
    Tierd(Box<tierd_args::TierdArgs>),
    /// Measure any OpenAI-compatible or SageMaker endpoint: latencies, throughput, cache hits, cost, and the client itself
    Bench(Box<bench_args::BenchArgs>),
    /// Send one prompt, stream the reply to the terminal, and say how long it took
    Invoke(Box<bench_args::InvokeArgs>),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// One object, for programs
    Json,
    /// One line per run, its columns named in the first
    Csv,
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// How to print the runs behind the text
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

#[derive(Debug, Args)]
struct LabArgs {
    /// Settings that decide the physics and are not in the endpoint file (YAML)
    #[arg(long, value_name = "FILE")]
    lab: Option<PathBuf>,
    /// Factors that `podlab calibrate` wrote, or a folder of measured kernels, one run for each (--set hardware.profile) [default:
    /// published figures]
    #[arg(long, value_name = "FILE[,FILE]")]
    hardware: Option<String>,
    /// One such setting; `--set help` lists all. In `simulate` a comma makes one run per value
    #[arg(long = "set", value_name = "KEY=VALUE[,VALUE]")]
    settings: Vec<String>,
}

const SIMULATE_EXAMPLES: &str = "\
Examples:
  podlab simulate driver/examples/aws-blog-70b.yaml
  podlab simulate endpoint.yaml --strategy roundrobin,prefixaware,kvaware --replicas 1,7 --rate 2,4
  podlab simulate endpoint.yaml --workload trace:conversation_trace.jsonl --speedup 2 --out runs/x2
  podlab simulate endpoint.yaml --cache l0,l0+l1,l0+l1+l2 --set l1.bytes=5GiB,50GiB
  podlab simulate endpoint.yaml --set docqa.document_tokens=8192,65536 -o json
  podlab simulate endpoint.yaml --workload chat --rate 5 --requests 2000 --set chat.turns=5,10
  podlab simulate endpoint.yaml --strategy all --explain-request 17
  podlab simulate endpoint.yaml --workload mixed --strategy all --slo 'p90_ttft<1s' --find rate

A comma-separated list stands for one run per value; several lists make a matrix.
One seed gives the same bytes on every machine. Times are simulated, never measured, but with `--engine candle`: then each
pass is computed on this machine, alone, and lasts as long as its thread was on a CPU.";

#[derive(Debug, Args)]
#[command(
    after_help = SIMULATE_EXAMPLES,
    override_usage = "podlab simulate [OPTIONS] <ENDPOINT.yaml>\n       podlab simulate --set help"
)]
struct SimulateArgs {
    /// The InferenceEndpointConfig that `kubectl apply` takes
    #[arg(value_name = "ENDPOINT.yaml", required_unless_present = "settings")]
    endpoint: Option<PathBuf>,
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    computing: EngineArgs,
    /// docqa, chat, shared-system, mixed, unrelated, code-review, multi-round-qa, or trace:FILE, recognised by content
    #[arg(long, default_value = "docqa", value_name = "NAME|trace:FILE")]
    workload: String,
    /// Routing strategies, one run each [default: as the endpoint file says]
    #[arg(long, value_delimiter = ',', value_parser = Names { several: true }, value_name = "A,B")]
    strategy: Vec<Named>,
    /// Cache tiers: none, l0, l0+l1, l0+l1+l2, l0+l2 [default: as the endpoint file says]
    #[arg(long, value_delimiter = ',', value_name = "TIERS")]
    cache: Vec<String>,
    /// Numbers of workers [default: as the endpoint file says]
    #[arg(long, value_delimiter = ',', value_parser = whole::up_to::<u16>(4096), value_name = "N,M")]
    replicas: Vec<u16>,
    /// Requests per second, as a Poisson process
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_parser = positive, value_name = "R,..", conflicts_with_all = ["concurrency", "users", "speedup"])]
    rate: Vec<f64>,
    /// Requests always in flight; the next is sent when one ends [default: 20, for generated workloads]
    #[arg(long, value_delimiter = ',', value_parser = whole::up_to::<u32>(1_000_000), value_name = "C,..", conflicts_with_all = ["users", "speedup"])]
    concurrency: Vec<u32>,
    /// Users: each sends its next request when its reply is complete and it has thought (arrivals.think)
    #[arg(long, value_delimiter = ',', value_parser = whole::up_to::<u32>(1_000_000), value_name = "N,..", conflicts_with = "speedup")]
    users: Vec<u32>,
    /// Replay a trace so many times as fast
    #[arg(long, allow_negative_numbers = true, value_parser = positive, value_name = "X")]
    speedup: Option<f64>,
    /// Play a trace so many times, one after the other; what its prompts hold is new each time
    #[arg(long, default_value_t = 1, value_parser = whole::up_to::<u32>(MOST_ROUNDS), value_name = "N", hide_default_value = true)]
    repeat: u32,
    /// How many requests [default: 700, or the whole trace]
    #[arg(long, value_parser = whole::up_to::<u32>(20_000_000), value_name = "N")]
    requests: Option<u32>,
    #[command(flatten)]
    extent: ExtentArgs,
    /// Seeds of all randomness, one run each; 1..10 stands for ten [default: 0; with --find 1,2,3,4,5]
    #[arg(long, value_delimiter = ',', value_parser = Seeds::parse, value_name = "S,..|1..10")]
    seed: Vec<Seeds>,
    /// What users are promised: says which runs keep it, and how many requests per second get it (goodput)
    #[arg(long, value_parser = Slo::parse, value_name = "p90_ttft<2s,..")]
    slo: Option<Slo>,
    /// The smallest value that keeps --slo, or of rate, concurrency, users and speedup the largest: replicas, rate, l1.bytes,
    /// any number that --set takes. Every combination of the other values gets its own answer
    #[arg(long, value_parser = Goal::parse, requires = "slo", conflicts_with_all = ["out", "explain_request"], value_name = "[smallest:|largest:]KEY[=LOW..HIGH]")]
    find: Option<Goal>,
    /// Runs at the same time; what is printed does not depend on it [default: as many as there are cores]
    #[arg(long, value_parser = whole::up_to::<u16>(1024), value_name = "N")]
    threads: Option<u16>,
    /// Write run.json, requests.jsonl, summary.json and report.html of each run into a new folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Show where TTFT goes: its parts, hits and misses apart, KV in flight (of a single run it is always shown)
    #[arg(long)]
    breakdown: bool,
    /// Print what would be sent, a line for each request, and simulate nothing; with -o json a JSON object for each
    #[arg(long, conflicts_with = "explain_request")]
    dry_run: bool,
    /// Say why these requests went where they did, and print nothing else; requests are numbered from 0, as in
    /// requests.jsonl. With -o json one object, {"explanations": [..]}, each with its run
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_parser = whole::from_zero, value_name = "ID[,ID]")]
    explain_request: Vec<u64>,
    /// How to print the results
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

const SWEEP_EXAMPLES: &str = "\
Examples:
  podlab sweep endpoint.yaml --strategy all --rate 10,20,40 --seed 1,2,3,4,5 --out grid
  podlab sweep endpoint.yaml --lab grid.yaml --out grid-2 --shard 2/4      # on the second of four
  podlab sweep merge grid-1 grid-2 grid-3 grid-4 --out grid
  podlab sweep report grid -o csv

The same command goes on where it was broken off; what is there is not run again. Values may be
added to a grid, none taken away. All shards need the same files under the same names.";

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = SWEEP_EXAMPLES,
    override_usage = "podlab sweep [OPTIONS] <ENDPOINT.yaml> --out <DIR>\n       podlab sweep merge <DIR>... --out <DIR>\n       podlab sweep report <DIR>"
)]
struct SweepArgs {
    #[command(subcommand)]
    command: Option<SweepCommand>,
    #[command(flatten)]
    grid: SimulateArgs,
    /// Run each N-th run only, beginning with the I-th: one machine's part of a grid
    #[arg(long, value_parser = Shard::parse, value_name = "I/N")]
    shard: Option<Shard>,
}

#[derive(Debug, Subcommand)]
enum SweepCommand {
    /// Put folders of one grid together: the same bytes as if one sweep had made it
    Merge {
        /// The folders
        #[arg(value_name = "DIR", required = true)]
        parts: Vec<PathBuf>,
        /// The folder to make
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// How to print the results
        #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
        format: Format,
    },
    /// Print the results of a finished sweep
    Report {
        /// Its folder
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// How to print them
        #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
        format: Format,
    },
}

const CALIBRATE_EXAMPLES: &str = "\
Examples:
  podlab calibrate silicon.csv --profile 'vllm H100 fp8' --out h100-fp8.yaml
  podlab calibrate runs/production --out here.yaml         # run.json and requests.jsonl
  podlab calibrate rtx4090-llama-3.1-8b --out 4090.yaml    # dense.csv, attention.csv, per_sequence.csv, meta.yaml
  podlab simulate endpoint.yaml --hardware h100-fp8.yaml

The figures are compared with what the same requests do in the simulator; factors that they do not tell keep their
published values, and are marked.";

#[derive(Debug, Args)]
#[command(after_help = CALIBRATE_EXAMPLES)]
struct CalibrateArgs {
    /// A table of measured closed loops (CSV), a run folder, or the folder of a layer profile
    #[arg(value_name = "FROM")]
    from: PathBuf,
    /// Which rows of a table: engine, version, GPU and precision, as in `vllm H100 fp8`
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The profile to write; a file that is there is not replaced
    #[arg(long, value_name = "FILE.yaml")]
    out: Option<PathBuf>,
    /// Seed of folds and intervals
    #[arg(long, default_value_t = 0, value_parser = whole::from_zero, value_name = "S")]
    seed: u64,
    /// How to print it
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    format: CheckFormat,
}

const IMPORT_HELP: &str = "\
The trace holds sizes, times, and a salted hash for each block of a prompt: no text. Each line of JSON logs is an object with
a time (timestamp, created, ...), a request ({\"messages\": ..} or {\"prompt\": ..}) and, beside it, its response, whose usage
counts tokens. Example: {\"timestamp\": \"2026-11-27T10:00:00Z\", \"request\": {..}, \"response\": {..}}";

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Print the JSON schema (draft 2020-12) of a lab file, for editors
    Schema,
    /// Write a lab file of all settings with their defaults, units and meanings, commented out
    Init {
        /// The file to write; one that is there is not replaced [default: stdout]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum TraceCommand {
    /// Read OpenAI-style request/response logs, SageMaker data capture or a vLLM log, and describe what is in them
    #[command(after_help = IMPORT_HELP)]
    Import(Box<ImportArgs>),
}

#[derive(Debug, Args)]
struct ImportArgs {
    /// The logs; several make one trace
    #[arg(value_name = "LOG", required = true)]
    logs: Vec<PathBuf>,
    /// The trace to write; a file that is there is not replaced
    #[arg(long, value_name = "TRACE.jsonl")]
    out: PathBuf,
    /// openai, sagemaker or vllm [default: by content]
    #[arg(long, value_name = "NAME")]
    format: Option<String>,
    /// What hashes are salted with: the same salt gives the same names to the same text [default: random, kept nowhere]
    #[arg(long, value_name = "SECRET")]
    salt: Option<String>,
    /// Tokens in a block: what is shared is found in whole blocks
    #[arg(long, default_value_t = 64, value_parser = whole::up_to::<u32>(65_536), value_name = "N")]
    block: u32,
    /// The field of a request that names its session [default: session_id, conversation_id, session, thread_id, user_id, user]
    #[arg(long, value_name = "FIELD")]
    session: Option<String>,
    /// What times are in that count from no known moment [default: seconds, where they have fractions]
    #[arg(long, value_parser = ["s", "ms", "us", "ns"], value_name = "UNIT")]
    time_unit: Option<String>,
}

#[derive(Debug, Subcommand)]
enum WorkloadCommand {
    /// How much could be found again, by how many it is shared, how it comes, how long it is
    Describe(Box<DescribeArgs>),
    /// What would be sent, a line for each request; with -o json a JSON object for each
    Show(Box<DescribeArgs>),
}

#[derive(Debug, Args)]
struct DescribeArgs {
    /// docqa, chat, shared-system, mixed, unrelated, code-review, multi-round-qa, or trace:FILE, recognised by content
    #[arg(value_name = "NAME|trace:FILE", default_value = "docqa")]
    workload: String,
    #[command(flatten)]
    lab: LabArgs,
    /// Requests per second, as a Poisson process
    #[arg(long, allow_negative_numbers = true, value_parser = positive, value_name = "R", conflicts_with_all = ["concurrency", "users", "speedup"])]
    rate: Option<f64>,
    /// Requests always in flight; the next is sent when one ends [default: 20, for generated workloads]
    #[arg(long, value_parser = whole::up_to::<u32>(1_000_000), value_name = "C", conflicts_with_all = ["users", "speedup"])]
    concurrency: Option<u32>,
    /// Users: each sends its next request when its reply is complete and it has thought (arrivals.think)
    #[arg(long, value_parser = whole::up_to::<u32>(1_000_000), value_name = "N", conflicts_with = "speedup")]
    users: Option<u32>,
    /// Replay a trace so many times as fast
    #[arg(long, allow_negative_numbers = true, value_parser = positive, value_name = "X")]
    speedup: Option<f64>,
    /// Play a trace so many times, one after the other; what its prompts hold is new each time
    #[arg(long, default_value_t = 1, value_parser = whole::up_to::<u32>(MOST_ROUNDS), value_name = "N", hide_default_value = true)]
    repeat: u32,
    /// How many requests [default: 700, or the whole trace]
    #[arg(long, value_parser = whole::up_to::<u32>(20_000_000), value_name = "N")]
    requests: Option<u32>,
    /// Seed of all randomness
    #[arg(long, default_value_t = 0, value_parser = whole::from_zero, value_name = "S")]
    seed: u64,
    /// How to print it; not csv
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 1e9 => Ok(number),
        _ => Err("a number above 0 and up to 1e9 is expected".to_owned()),
    }
}

/// The command line; a sweep takes what `simulate` takes, but for what makes no grid.
fn command() -> clap::Command {
    let hidden = |arg: clap::Arg| arg.hide(true);
    Cli::command().mut_subcommand("sweep", |sweep| {
        let out = "The folder of the sweep: a new one, or the one to go on with";
        let plan = "Print which runs the grid has and which of them are there, and run nothing";
        let sweep = sweep.mut_arg("find", hidden).mut_arg("explain_request", hidden);
        sweep
            .mut_arg("out", |arg| arg.help(out))
            .mut_arg("dry_run", |arg| arg.help(plan))
            .mut_arg("seed", |arg| arg.help("Seeds of all randomness, one run each [default: 0]"))
    })
}

/// Runs the command line and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    main_with(std::env::args_os())
}

/// The same, of these words; the first is the program's name. It ends the process where they are no command line.
#[must_use]
pub fn main_with(words: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let cli = Cli::from_arg_matches(&command().get_matches_from(words)).unwrap_or_else(|error| error.exit());
    let result = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Validate(command) => validate::run(&command),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Lab(command) => lab::run(&command),
        Command::Trace(command) => trace::run(&command),
        Command::Workload(command) => workload::run(&command),
        Command::Serve(args) => serve::run(&args),
        Command::Model(command) => model::run(&command),
        Command::Tierd(args) => tierd::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Invoke(args) => invoke::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.to_string().lines() {
                warn(&format!("error: {line}"));
            }
            failure.exit_code()
        }
    }
}

/// A line for people, beside the data.
fn warn(line: &str) {
    // Nobody may be listening on stderr; that is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Data goes to stdout; a reader that went away (`| head`) ends the command quietly.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}
