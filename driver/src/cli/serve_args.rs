//! The flags of `podlab serve`.

use super::{LabArgs, Named, whole};
use crate::cli::strategies::Names;
use crate::emulate::feed::Ports;
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

  podlab serve driver/examples/aws-blog-70b.yaml --worker http://10.0.0.11:8000 --worker http://10.0.0.12:8000
  podlab serve driver/examples/aws-blog-70b.yaml --strategy kvaware --worker http://10.0.0.11:8000 --kv-events 5557,5558

  podlab serve driver/examples/aws-blog-70b.yaml --engine candle --replicas 2    # needs `--features candle`
  podlab serve driver/examples/aws-blog-70b.yaml --replicas 1 --publish-kv-events 5557,5558    # one vLLM, as routers see it

Without `--engine candle` the reply is made of random words: only its timing and its cache hits mean something.";

/// Workers that are already there.
#[derive(Debug, Args)]
pub(super) struct GatewayArgs {
    /// Route to a server that is already there, vLLM or another with OpenAI's API, instead of emulating: http(s)://HOST[:PORT]; once for
    /// each
    #[arg(long = "worker", value_name = "URL", conflicts_with_all = ["engine", "model", "compute_threads", "time_scale", "replicas"])]
    pub(super) workers: Vec<String>,
    /// Where workers publish their KV events (vLLM: --kv-events-config): the port, or ports of events and replay, on all their hosts, or
    /// tcp://HOST:PORT[,tcp://HOST:REPLAY-PORT] once for each worker
    #[arg(long, requires = "workers", value_name = "PORT[,REPLAY]")]
    pub(super) kv_events: Vec<String>,
    /// A file with the API key that workers are shown [default: what the client shows is passed on, unless --api-key-file is given]
    #[arg(long, requires = "workers", value_name = "FILE")]
    pub(super) worker_key_file: Option<PathBuf>,
    /// A PEM file of certificates to trust beside the system's, for workers behind https
    #[arg(long, requires = "workers", value_name = "FILE")]
    pub(super) cacert: Option<PathBuf>,
    /// How long a worker may say nothing, seconds: before its answer begins (one that is not streamed begins at its end), and in it
    #[arg(long, requires = "workers", default_value_t = 300, value_parser = whole::up_to::<u32>(86_400), value_name = "SECONDS")]
    pub(super) worker_timeout: u32,
    /// Write all that decides where requests go, and what was decided, into a new file: hashes of prompts, no text. `podlab validate
    /// decisions FILE` plays it once more
    #[arg(long, requires = "workers", value_name = "FILE")]
    pub(super) decision_log: Option<PathBuf>,
    /// Requests in flight beyond which further ones get 429
    #[arg(long, requires = "workers", default_value_t = 4096, value_parser = whole::up_to::<u32>(1_000_000), value_name = "N")]
    pub(super) max_in_flight: u32,
}

/// Who may ask, and how.
#[derive(Debug, Args)]
pub(super) struct AccessArgs {
    /// A file with the API key that clients must show, as `Authorization: Bearer KEY` [default: none is asked for]
    #[arg(long, value_name = "FILE")]
    pub(super) api_key_file: Option<PathBuf>,
    /// A PEM file with the server's certificates, its own first: serve over TLS
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    pub(super) tls_cert: Option<PathBuf>,
    /// A PEM file with the certificate's key
    #[arg(long, requires = "tls_cert", value_name = "FILE")]
    pub(super) tls_key: Option<PathBuf>,
}

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
    /// Where `--engine candle` computes: `cpu`; `cuda` or `cuda:N`, a GPU (needs `--features cuda`); `tensors`, the GPU's code on the CPU,
    /// which is slow
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    pub(super) device: String,
    #[command(flatten)]
    pub(super) gateway: GatewayArgs,
    /// Publish what workers hold as vLLM does (--kv-events-config): KV events over ZeroMQ on this port of the address that is listened
    /// on, and, with a second port, batches that were missed once more. Each further worker takes the next port, as vLLM's data-parallel
    /// ranks do; port 0 takes free ones
    #[arg(long, conflicts_with = "workers", value_parser = ports, value_name = "PORT[,REPLAY]")]
    pub(super) publish_kv_events: Option<Ports>,
    #[command(flatten)]
    pub(super) access: AccessArgs,
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

fn ports(text: &str) -> Result<Ports, String> {
    let (events, replay) = text.split_once(',').map_or((text, None), |(events, replay)| (events, Some(replay)));
    let port =
        |text: &str| text.parse::<u16>().map_err(|_| "one port, or two (events, replay), are expected".to_owned());
    Ok(Ports { events: port(events)?, replay: replay.map(port).transpose()? })
}

fn time_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.001..=100_000.0).contains(&number) => Ok(number),
        _ => Err("a number from 0.001 to 100000 is expected".to_owned()),
    }
}
