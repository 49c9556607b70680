//! `podlab serve --worker URL`: the file's router before workers that are already there.

use super::{access, callers, settings};
use crate::cli::serve_args::ServeArgs;
use crate::cli::warn;
use crate::endpoint::Endpoint;
use crate::experiment::Assembled;
use crate::failure::Failure;
use crate::gateway;
use router::{RouterConfig, Strategy};

/// The workers that the command line names.
pub(super) fn workers(args: &ServeArgs) -> Result<Vec<crate::bench::target::Origin>, Failure> {
    let read = |url: &String| gateway::worker(url).map_err(|error| Failure::Usage(format!("--worker {error}")));
    let workers: Vec<_> = args.gateway.workers.iter().map(read).collect::<Result<_, _>>()?;
    for (place, worker) in workers.iter().enumerate() {
        if workers[..place].contains(worker) {
            return Err(Failure::Usage(format!("--worker {worker}: it is named twice")));
        }
    }
    Ok(workers)
}

/// What the gateway is like.
pub(super) fn prepare(
    args: &ServeArgs,
    endpoint: &Endpoint,
    assembled: &Assembled,
    is_loopback: bool,
) -> Result<gateway::Settings, Failure> {
    let emulated = settings((args.seed, 1.0), endpoint, assembled)?;
    let mut router = assembled.router;
    let listens = matches!(router.strategy, Strategy::KvAware | Strategy::KvAwarePlus | Strategy::PredictedTtft);
    if listens {
        // Nobody tells what workers hold, so what they were sent is taken to be there for a while.
        router.guessed = Some(RouterConfig::guess(router.block));
        let instead = match router.strategy {
            Strategy::KvAware => "requests go by session or rate, as HyperPod's do where its controller knows nothing",
            _ => "what they were sent is taken to be there for 120 s",
        };
        warn(&format!("warning: workers do not tell {} what they hold: {instead}", router.strategy));
    }
    let (api_key, tls) = access(args, is_loopback)?;
    Ok(gateway::Settings {
        model: emulated.models.first().cloned().unwrap_or_default(),
        chars_per_token: emulated.chars_per_token,
        session_key: emulated.session_key,
        endpoints: emulated.endpoints,
        callers: callers(is_loopback),
        api_key,
        tls,
        worker_key: super::key(args.gateway.worker_key_file.as_deref(), "--worker-key-file")?,
        worker_certificates: args.gateway.cacert.clone(),
        most_in_flight: args.gateway.max_in_flight as usize,
        ..gateway::Settings::new(workers(args)?, router)
    })
}
