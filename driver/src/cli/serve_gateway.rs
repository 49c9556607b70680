//! `podlab serve --worker URL`: the file's router before workers that are already there.

use super::{access, callers, settings};
use crate::cli::serve_args::ServeArgs;
use crate::cli::warn;
use crate::endpoint::Endpoint;
use crate::experiment::Assembled;
use crate::failure::Failure;
use crate::gateway;
use crate::gateway::feed::Place;
use router::{RouterConfig, Strategy};
use std::time::Duration;

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

/// Where workers tell what they hold: ports of their hosts, or an address for each.
fn feeds(args: &ServeArgs) -> Result<Vec<Place>, Failure> {
    let wrong = |given: &str, why: &str| Failure::Usage(format!("--kv-events {given}: {why}"));
    let workers = workers(args)?;
    let given = &args.gateway.kv_events;
    if let [one] = given.as_slice()
        && !one.contains("://")
    {
        let ports: Result<Vec<u16>, _> = one.split(',').map(str::parse).collect();
        let ports =
            ports.map_err(|_| wrong(one, "one port, or two (events, replay), of all workers' hosts are expected"))?;
        let at = |host: &str, port: &u16| format!("tcp://{host}:{port}");
        return match ports.as_slice() {
            [events] => Ok(workers.iter().map(|one| Place { events: at(&one.host, events), replay: None }).collect()),
            [events, replay] => Ok(workers
                .iter()
                .map(|one| Place { events: at(&one.host, events), replay: Some(at(&one.host, replay)) })
                .collect()),
            _ => Err(wrong(one, "at most two ports are expected: events, replay")),
        };
    }
    if !given.is_empty() && given.len() != workers.len() {
        return Err(wrong(&given.join(" "), "as many addresses as workers are expected, in their order"));
    }
    let read = |one: &String| {
        let (events, replay) =
            one.split_once(',').map_or((one.as_str(), None), |(events, replay)| (events, Some(replay)));
        let is_place = |text: &str| {
            let rest = text.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':'));
            rest.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
        };
        if !is_place(events) || !replay.is_none_or(is_place) {
            return Err(wrong(one, "tcp://HOST:PORT is expected, or two such with a comma: events, replay"));
        }
        Ok(Place { events: events.to_owned(), replay: replay.map(str::to_owned) })
    };
    given.iter().map(read).collect()
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
    let feeds = feeds(args)?;
    if listens && feeds.is_empty() {
        // Nobody tells what workers hold, so what they were sent is taken to be there for a while.
        router.guessed = Some(RouterConfig::guess(router.block));
        let instead = match router.strategy {
            Strategy::KvAware => "requests go by session or rate, as HyperPod's do where its controller knows nothing",
            _ => "what they were sent is taken to be there for 120 s",
        };
        warn(&format!("warning: workers do not tell {} what they hold: {instead}", router.strategy));
    }
    if !listens && !feeds.is_empty() {
        warn(&format!("warning: {} does not go by what workers hold; --kv-events changes nothing", router.strategy));
    }
    if !feeds.is_empty() {
        router.guessed = None;
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
        forecast: Some(assembled.forecast()),
        decision_log: args.gateway.decision_log.clone(),
        feeds: if listens { feeds } else { Vec::new() },
        worker_key: super::key(args.gateway.worker_key_file.as_deref(), "--worker-key-file")?,
        worker_certificates: args.gateway.cacert.clone(),
        silence: Duration::from_secs(args.gateway.worker_timeout.into()),
        most_in_flight: args.gateway.max_in_flight as usize,
        ..gateway::Settings::new(workers(args)?, router)
    })
}
