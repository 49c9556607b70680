//! The flags of `podlab bench` and `podlab invoke`.

use super::extent::ExtentArgs;
use super::strategies::{Named, Names};
use super::{Format, LabArgs, positive, whole};
use clap::{Args, ValueEnum};
use sim::workload::MOST_ROUNDS;
use std::path::PathBuf;

const BENCH_EXAMPLES: &str = "\
Examples:
  podlab bench --target http://127.0.0.1:8000
  podlab bench --target http://127.0.0.1:8000 --concurrency 50 --requests 1000 --prompt-tokens 2048 --max-tokens 64
  podlab bench --target http://127.0.0.1:8000 --workload cold-warm --usd-per-hour 55.04
  podlab bench --target 'sagemaker://my-endpoint?region=us-east-2' --rate 5 --requests 500 --out runs/prod
  podlab bench --target emulate:driver/examples/aws-blog-70b.yaml --requests 100 -o json

Words of three letters stand for tokens; two short calls find out how many of them this server's tokenizer takes.
Nothing is sent twice. The key is read from OPENAI_API_KEY; SageMaker's from where the AWS CLI finds it.";

/// Which of OpenAI's APIs is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ApiName {
    /// Messages
    Chat,
    /// A text that is gone on with
    Completions,
}

/// What is asked, and how.
#[derive(Debug, Args)]
pub(super) struct TargetArgs {
    /// http(s)://HOST:PORT[/v1] (several with commas), sagemaker://ENDPOINT?region=NAME, or emulate:ENDPOINT.yaml
    #[arg(long, value_name = "TARGET", required_unless_present = "settings")]
    pub(super) target: Option<String>,
    /// The model's name [default: the first that the server lists]
    #[arg(long, value_name = "NAME")]
    pub(super) model: Option<String>,
    /// The API [default: as the target's path says, else chat]
    #[arg(long, value_enum, value_name = "API")]
    pub(super) api: Option<ApiName>,
    /// Tokens of each reply [default: as the workload says]
    #[arg(long, value_parser = whole::up_to::<u32>(10_000_000), value_name = "M")]
    pub(super) max_tokens: Option<u32>,
    /// Ask for the whole reply at once: there is no TTFT then (SageMaker: InvokeEndpoint)
    #[arg(long)]
    pub(super) no_stream: bool,
    /// Ask vLLM or SGLang to go on until --max-tokens
    #[arg(long)]
    pub(super) ignore_eos: bool,
    /// How long a request may take, seconds
    #[arg(long, default_value_t = 600.0, allow_negative_numbers = true, value_parser = positive, value_name = "SECONDS")]
    pub(super) timeout: f64,
    /// HTTP/2 without TLS; with TLS the server decides
    #[arg(long)]
    pub(super) http2: bool,
    /// A PEM file of certificates to trust beside the system's
    #[arg(long, value_name = "FILE")]
    pub(super) cacert: Option<PathBuf>,
    /// A file with the API key [default: the variable OPENAI_API_KEY]
    #[arg(long, value_name = "FILE")]
    pub(super) api_key_file: Option<PathBuf>,
    /// The header and the field of the body that name a request's session: the worker's SESSION_KEY
    #[arg(long, value_name = "NAME")]
    pub(super) session_key: Option<String>,
    /// SageMaker: name the prompt's prefix in X-Amzn-SageMaker-Prefix-Aware-Id
    #[arg(long)]
    pub(super) prefix_aware_id: bool,
    /// SageMaker: name the session in X-Amzn-SageMaker-Session-Id
    #[arg(long)]
    pub(super) sagemaker_session_id: bool,
    /// SageMaker: the inference component to invoke
    #[arg(long, value_name = "NAME")]
    pub(super) inference_component: Option<String>,
    /// What the endpoint costs per hour, all instances together, US dollars [default: unknown; emulate: as the lab says]
    #[arg(long, allow_negative_numbers = true, value_parser = positive, value_name = "USD")]
    pub(super) usd_per_hour: Option<f64>,
}

/// The cluster that is started.
#[derive(Debug, Args)]
pub(super) struct ClusterArgs {
    /// emulate: routing strategy [default: as the endpoint file says]
    #[arg(long, value_parser = Names { several: false }, value_name = "NAME")]
    pub(super) strategy: Option<Named>,
    /// emulate: cache tiers [default: as the endpoint file says]
    #[arg(long, value_name = "TIERS")]
    pub(super) cache: Option<String>,
    /// emulate: number of workers [default: as the endpoint file says]
    #[arg(long, value_parser = whole::up_to::<u16>(4096), value_name = "N")]
    pub(super) replicas: Option<u16>,
}

#[derive(Debug, Args)]
#[command(after_help = BENCH_EXAMPLES)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    pub(super) lab: LabArgs,
    /// docqa, chat, shared-system, mixed, unrelated, code-review, multi-round-qa, trace:FILE, or cold-warm: the same prefix and
    /// different ones, each for the first time and again
    #[arg(long, default_value = "docqa", value_name = "NAME|trace:FILE")]
    pub(super) workload: String,
    /// Requests per second, as a Poisson process, whatever the replies
    #[arg(long, allow_negative_numbers = true, value_parser = positive, value_name = "R", conflicts_with_all = ["concurrency", "users", "speedup"])]
    pub(super) rate: Option<f64>,
    /// Requests always in flight [default: 20, for generated workloads]
    #[arg(long, value_parser = whole::up_to::<u32>(100_000), value_name = "C", conflicts_with_all = ["users", "speedup"])]
    pub(super) concurrency: Option<u32>,
    /// Users: each sends its next request when its reply is complete and it has thought (arrivals.think)
    #[arg(long, value_parser = whole::up_to::<u32>(100_000), value_name = "N", conflicts_with = "speedup")]
    pub(super) users: Option<u32>,
    /// Replay a trace so many times as fast
    #[arg(long, allow_negative_numbers = true, value_parser = positive, value_name = "X")]
    pub(super) speedup: Option<f64>,
    /// Play a trace so many times; what its prompts hold is new each time
    #[arg(long, default_value_t = 1, value_parser = whole::up_to::<u32>(MOST_ROUNDS), value_name = "N", hide_default_value = true)]
    pub(super) repeat: u32,
    /// How many requests [default: 700, or the whole trace; cold-warm: 80]
    #[arg(long, value_parser = whole::up_to::<u32>(20_000_000), value_name = "N")]
    pub(super) requests: Option<u32>,
    /// Tokens of each prompt, for docqa, shared-system, unrelated and cold-warm
    #[arg(long, value_parser = whole::up_to::<u32>(10_000_000), value_name = "P")]
    pub(super) prompt_tokens: Option<u32>,
    #[command(flatten)]
    pub(super) extent: ExtentArgs,
    /// Seed of the workload
    #[arg(long, default_value_t = 0, value_parser = whole::from_zero, value_name = "S")]
    pub(super) seed: u64,
    /// What makes this run's texts unlike those of others, so that cold is cold [default: random]
    #[arg(long, value_parser = whole::from_zero, value_name = "N")]
    pub(super) salt: Option<u64>,
    /// Make no calls to size prompts: a word is taken for a token
    #[arg(long)]
    pub(super) no_calibration: bool,
    /// Stop when more than this share of requests fails
    #[arg(long, default_value_t = 0.5, allow_negative_numbers = true, value_parser = share, value_name = "SHARE")]
    pub(super) max_error_rate: f64,
    /// Fail with exit code 99 where the client was the bottleneck
    #[arg(long)]
    pub(super) strict: bool,
    /// Print what would be sent, and send nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Say nothing while it runs
    #[arg(long)]
    pub(super) quiet: bool,
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Write run.json, requests.jsonl, summary.json and report.html into a new folder
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// How to print the results
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) format: Format,
}

const INVOKE_EXAMPLES: &str = "\
Examples:
  podlab invoke --target http://127.0.0.1:8000 'Why is the sky blue?'
  podlab invoke --target 'sagemaker://my-endpoint?region=us-east-2' --max-tokens 64 'Hello'
  cat document.txt | podlab invoke --target http://127.0.0.1:8000 -";

#[derive(Debug, Args)]
#[command(after_help = INVOKE_EXAMPLES)]
pub(super) struct InvokeArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    pub(super) lab: LabArgs,
    /// The prompt; - reads it from stdin
    #[arg(value_name = "PROMPT")]
    pub(super) prompt: String,
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// How to print the result; json prints figures and text as one object
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) format: Format,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err("a number from 0 to 1 is expected".to_owned()),
    }
}
