//! The flags of `podlab serve`.

use super::{LabArgs, Named, whole};
use crate::cli::strategies::Names;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What executes passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Engine {
    /// The simulator's cost model: a pass lasts its modelled duration
    #[default]
    Sim,
    /// Workers that compute on this machine's CPU with a real model (`--model`)
    Candle,
}

/// Who executes passes, and with which model.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct EngineArgs {
    /// What executes the passes
    #[arg(long, value_enum, default_value_t, value_name = "ENGINE")]
    pub(super) engine: Engine,
    /// The model that `--engine candle` computes: `tiny` (random weights), `smollm2-135m` (downloaded once), a GGUF file, or a folder with
    /// config.json and safetensors [default: smollm2-135m]
    #[arg(long, value_name = "MODEL")]
    pub(super) model: Option<String>,
}

pub(super) const SERVE_EXAMPLES: &str = "\
Examples:
  podlab serve driver/examples/aws-blog-70b.yaml
  curl -N http://127.0.0.1:8000/v1/completions -H 'content-type: application/json' \\
       -d '{\"prompt\": \"Once upon a time\", \"max_tokens\": 16, \"stream\": true}'

  podlab serve driver/examples/aws-blog-70b.yaml --engine candle --replicas 2    # needs `--features candle`

Without `--engine candle` the reply is made of random words: only its timing and its cache hits mean something.";

#[derive(Debug, Args)]
#[command(
    after_help = SERVE_EXAMPLES,
    override_usage = "podlab serve [OPTIONS] <ENDPOINT.yaml>\n       podlab serve --set help"
)]
pub(super) struct ServeArgs {
    /// The InferenceEndpointConfig that `kubectl apply` takes
    #[arg(value_name = "ENDPOINT.yaml", required_unless_present = "settings")]
    pub(super) endpoint: Option<PathBuf>,
    #[command(flatten)]
    pub(super) lab: LabArgs,
    #[command(flatten)]
    pub(super) computing: EngineArgs,
    /// Threads that compute, of each worker, with `--engine candle`
    #[arg(long, default_value_t = 1, value_parser = whole::up_to::<u16>(256), value_name = "N")]
    pub(super) compute_threads: u16,
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8000", value_name = "ADDR:PORT")]
    pub(super) listen: std::net::SocketAddr,
    /// Modelled seconds per second of wall time
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true, value_parser = time_scale, value_name = "X")]
    pub(super) time_scale: f64,
    /// Routing strategy [default: as the endpoint file says]
    #[arg(long, value_parser = Names { several: false }, value_name = "NAME")]
    pub(super) strategy: Option<Named>,
    /// Number of workers [default: as the endpoint file says]
    #[arg(long, value_parser = whole::up_to::<u16>(4096), value_name = "N")]
    pub(super) replicas: Option<u16>,
    /// Seed of all randomness
    #[arg(long, default_value_t = 0, value_parser = whole::from_zero, value_name = "S")]
    pub(super) seed: u64,
}

fn time_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.001..=100_000.0).contains(&number) => Ok(number),
        _ => Err("a number from 0.001 to 100000 is expected".to_owned()),
    }
}
