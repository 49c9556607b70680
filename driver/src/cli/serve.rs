//! `podlab serve`: an endpoint over HTTP, emulated, computed, or routed to.

use super::computed;
use super::serve_args::ServeArgs;
use super::settings::{asks_for_help, assemble, axes, endpoint_file, lab_text, list_settings};
use super::simulate::{default_strategy, default_tiers, read_endpoint, replicas};
use super::{Named, print, warn};
use crate::aws::sigv4::Credentials;
use crate::computed::Ways;
use crate::emulate;
use crate::endpoint::Endpoint;
use crate::experiment::{Assembled, Experiment, Load, Matrix, Source};
use crate::failure::Failure;
use crate::gateway;
use crate::growth::NOTABLE;
use crate::http::{ApiKey, acceptor};
use kvcache::Span;
use sim::simulate::HORIZON;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

#[path = "serve_gateway.rs"]
mod before; // workers that are already there

pub(super) fn run(args: &ServeArgs) -> Result<(), Failure> {
    if asks_for_help(&args.lab) {
        return print(&list_settings());
    }
    let mut computed = match computed::load(&args.computing, args.seed)? {
        Some(computed) => Some(computed.on(&args.device)?),
        None if args.device == "cpu" => None,
        None => return Err(Failure::Usage("--device is where `--engine candle` computes; add that".to_owned())),
    };
    if computed.is_some() && (args.time_scale - 1.0).abs() > f64::EPSILON {
        return Err(Failure::Usage("--time-scale: with `--engine candle` time is what computing takes".to_owned()));
    }
    let file = endpoint_file(args.endpoint.as_deref())?;
    let there = u16::try_from(before::workers(args)?.len())
        .map_err(|_| Failure::Usage("--worker: at most 65535 are routed to".to_owned()))?;
    let fixed = args.replicas.or(Some(there).filter(|count| *count > 0));
    let (endpoint, _) = read_endpoint(file, fixed.is_some())?;
    let axes = axes(&args.lab, &endpoint, file, lab_text(&args.lab)?.as_deref())?;
    if let Some(axis) = axes.iter().find(|axis| axis.values.len() > 1) {
        return Err(Failure::Usage(format!(
            "{}: serve takes one value, not {}",
            axis.origin.names(&axis.key),
            axis.values.len()
        )));
    }
    let matrix = Matrix {
        strategies: args.strategy.map_or_else(|| vec![default_strategy(&endpoint)], Named::strategies),
        caches: vec![default_tiers(&endpoint)],
        replicas: vec![match fixed {
            Some(replicas) => replicas,
            None => replicas(&endpoint)?,
        }],
        loads: vec![Load::Concurrency(1)],
        seeds: vec![args.seed],
        axes,
    };
    let file = file.display().to_string();
    let source = Source::DocumentQa { requests: 0 };
    let experiment = Experiment { endpoint, file, workload: String::new(), source };
    let cases = matrix.cases();
    let mut assembled = assemble(&experiment, &cases[0], &matrix.axes)?;
    for warning in &assembled.warnings {
        warn(&format!("warning: {warning}"));
    }
    // Every token of every pass is somebody's.
    (assembled.engine.record_work, assembled.engine.max_repeats) = (true, 1);
    if let Some(computed) = &mut computed {
        let is_set = |key: &str| matrix.axes.iter().any(|axis| axis.key == key);
        let told = computed.fit().cut(&experiment.endpoint, &mut assembled, Ways::Real).map_err(Failure::Invalid)?;
        told.iter().for_each(|told| warn(told));
        imitate_network(&mut assembled, &is_set);
        computed.find_l2(&experiment.endpoint, &mut assembled, &is_set)?;
    } else if std::env::var_os("REDIS_URL").is_some() && lab_l2_is_redis(&assembled) {
        warn("warning: REDIS_URL is set and not used: emulated workers have no bytes to store; --engine candle has");
    }
    listen(args, &experiment.endpoint, &assembled, computed)
}

/// Whether L2 is a Redis.
fn lab_l2_is_redis(assembled: &Assembled) -> bool {
    let access = assembled.transport.as_ref().and_then(|ways| ways.pool);
    access.is_some_and(|access| access.pool.backend == kvcache::Backend::Redis)
}

/// L2 is as far away as somebody set it to be; what it takes besides is what it takes.
fn imitate_network(assembled: &mut Assembled, is_set: &dyn Fn(&str) -> bool) {
    let lab = &assembled.lab.l2;
    let Some(access) = assembled.transport.as_mut().and_then(|ways| ways.pool.as_mut()) else { return };
    if is_set("l2.latency") {
        access.round_trip = lab.latency;
    }
    if let Some(bandwidth) = lab.bandwidth {
        access.bytes_per_s = bandwidth;
    }
}

fn listen(
    args: &ServeArgs,
    endpoint: &Endpoint,
    assembled: &Assembled,
    mut computed: Option<computed::Computed>,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(args.listen).await.map_err(|error| {
            Failure::Failed(format!(
                "--listen {}: {error}; name another address, or port 0 for a free port",
                args.listen
            ))
        })?;
        let address = listener.local_addr().map_err(|error| Failure::Failed(error.to_string()))?;
        let callers = callers(address.ip().is_loopback());
        match &callers {
            emulate::Callers::Anybody => {
                warn("SageMaker's paths take any signature: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set");
            }
            emulate::Callers::Nobody => warn(
                "warning: SageMaker's paths take nobody: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or listen on loopback",
            ),
            emulate::Callers::Signed(_) => {}
        }
        if !args.gateway.workers.is_empty() {
            let settings = before::prepare(args, endpoint, assembled, address.ip().is_loopback())?;
            let scheme = if settings.tls.is_some() { "https" } else { "http" };
            let (count, strategy) = (settings.workers.len(), assembled.router.strategy);
            let noun = if count == 1 { "worker" } else { "workers" };
            warn(&format!("routing to {count} {noun} on {scheme}://{address}/v1 by {strategy}; Ctrl-C stops"));
            return gateway::serve(settings, listener, stopped(std::future::pending())).await;
        }
        let feed = publish(args, address.ip(), assembled).await?;
        let (teller, mut grown) = tokio::sync::mpsc::unbounded_channel();
        let growth = Some(emulate::Watch { beyond: NOTABLE, teller });
        let (api_key, tls) = access(args, address.ip().is_loopback())?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let settings = emulate::Settings {
            growth,
            feed,
            callers,
            api_key,
            tls,
            ..settings((args.seed, args.time_scale), endpoint, assembled)?
        };
        let settings = match &computed {
            Some(computed) => computed.settings(settings),
            None => settings,
        };
        let what = match &computed {
            Some(computed) => computed.told(assembled.router.workers, args.compute_threads),
            None => emulated(args, assembled),
        };
        warn(&format!("serving {what} on {scheme}://{address}/v1, behind {}", assembled.router.strategy));
        if !assembled.fleet.is_static() {
            warn("warning: the workers stay as they are: fleet.events and autoscaling are followed by `simulate` only");
        }
        warn(&format!("model names: {}; Ctrl-C stops", settings.models.join(", ")));
        let life = Duration::from_secs_f64(Span(HORIZON.0).as_secs_f64() / args.time_scale);
        if life < Duration::from_secs(7 * 86_400) {
            warn(&format!("it stops after {:.0} s, when 100 modelled days are over", life.as_secs_f64()));
        }
        tokio::spawn(async move {
            while let Some(growth) = grown.recv().await {
                warn(&format!("warning: {growth}"));
            }
        });
        let stop = stopped(async {
            tokio::time::sleep(life).await;
            warn("the modelled 100 days are over: serve again, or use a lower --time-scale");
        });
        let served = match &mut computed {
            Some(computed) => {
                let (cluster, workers) = computed.workers(assembled, args.compute_threads);
                emulate::serve_computed(cluster, workers, settings, listener, stop).await
            }
            None => emulate::serve(assembled.cluster(), settings, listener, stop).await,
        };
        served.map(|_| ()).map_err(|error| Failure::Failed(error.to_string()))
    })
}

/// Where the world is told what workers hold, if it is to be.
async fn publish(args: &ServeArgs, ip: IpAddr, assembled: &Assembled) -> Result<Option<emulate::feed::Feed>, Failure> {
    let Some(ports) = args.publish_kv_events else { return Ok(None) };
    let (workers, block) = (assembled.fleet.replicas, assembled.engine.cache.block);
    let feed = emulate::feed::open(ip, ports, workers, block).await?;
    for (rank, (events, replay)) in feed.places().iter().enumerate() {
        let again = replay.map(|at| format!(", replay on tcp://{at}")).unwrap_or_default();
        warn(&format!("worker {rank}: KV events on tcp://{events}{again}; blocks of {block}"));
    }
    if !assembled.engine.cache.prefix_caching {
        warn("warning: prefix caching is off: there are no KV events");
    }
    if !ip.is_loopback() {
        warn(
            "warning: KV events carry the tokens of prompts, and whoever reaches this address may read them, without a key",
        );
    }
    Ok(Some(feed))
}

/// Resolves at a signal, or when it is over by itself. A second signal ends the process.
async fn stopped(over: impl Future<Output = ()>) {
    let signal = async {
        // Without signals there is still the second way to stop a process.
        if emulate::stop_signal().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = signal => {}
        () = over => {}
    }
    warn("stopping: no new requests; those in flight may take 30 s more; Ctrl-C again stops at once");
    tokio::spawn(async {
        if emulate::stop_signal().await.is_ok() {
            warn("stopped with requests in flight");
            std::process::exit(130);
        }
    });
}

/// What clients must show, and how they are spoken to. Who can be reached from elsewhere without a key is told.
fn access(args: &ServeArgs, is_loopback: bool) -> Result<(Option<ApiKey>, Option<emulate::Tls>), Failure> {
    let api_key = key(args.access.api_key_file.as_deref(), "--api-key-file")?;
    let tls = match (&args.access.tls_cert, &args.access.tls_key) {
        (Some(certificates), Some(key)) => Some(emulate::Tls(acceptor(certificates, key)?)),
        _ => None,
    };
    if !is_loopback && api_key.is_none() {
        warn("warning: whoever reaches this address may ask: --api-key-file FILE asks for a key");
    } else if !is_loopback && tls.is_none() {
        warn("warning: keys and prompts travel in the clear: --tls-cert and --tls-key encrypt them");
    }
    Ok((api_key, tls))
}

/// The key in a file that a flag names.
fn key(file: Option<&Path>, flag: &str) -> Result<Option<ApiKey>, Failure> {
    let read = |file: &Path| {
        ApiKey::read(file).map_err(|error| Failure::Invalid(format!("{flag} {}: {error}", file.display())))
    };
    file.map(read).transpose()
}

/// Who may ask for the SageMaker endpoint: whoever signs with the keys of the environment; without keys anybody on this machine.
fn callers(is_loopback: bool) -> emulate::Callers {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        (Some(access_key), Some(secret_key)) => emulate::Callers::Signed(Credentials {
            access_key,
            secret_key,
            session_token: variable("AWS_SESSION_TOKEN"),
        }),
        _ if is_loopback => emulate::Callers::Anybody,
        _ => emulate::Callers::Nobody,
    }
}

/// What is served, where passes last their modelled time.
fn emulated(args: &ServeArgs, assembled: &Assembled) -> String {
    format!(
        "{}: {} workers on {} x {}, emulated (modelled seconds per second: {})",
        assembled.deployment.model.name,
        assembled.fleet.replicas,
        assembled.deployment.instances_for(u32::from(assembled.fleet.replicas)),
        assembled.deployment.instance.sagemaker_name(),
        args.time_scale,
    )
}

/// A worker answers to the name it serves under, and to what the endpoint file calls the model.
pub(super) fn settings(
    (seed, time_scale): (u64, f64),
    endpoint: &Endpoint,
    assembled: &Assembled,
) -> Result<emulate::Settings, Failure> {
    let served = endpoint.engine.served_model_name.clone().or_else(|| endpoint.engine.model.clone());
    let mut models: Vec<String> = Vec::new();
    for name in [served, endpoint.model_name.clone(), endpoint.model_id.clone()].into_iter().flatten() {
        if !models.contains(&name) {
            models.push(name);
        }
    }
    let name = models.first().cloned().unwrap_or_else(|| assembled.deployment.model.name.clone());
    let usage = |error: &dyn std::fmt::Display| Failure::Usage(format!("failed to {error}"));
    let mut endpoints: Vec<String> = endpoint.endpoint_name.iter().cloned().collect();
    if !endpoints.contains(&endpoint.name) {
        endpoints.push(endpoint.name.clone());
    }
    Ok(emulate::Settings {
        endpoints,
        time_scale: time_scale.try_into().map_err(|error: emulate::clock::InvalidTimeScale| usage(&error))?,
        latency: assembled.path.latency,
        chars_per_token: assembled
            .lab
            .router
            .chars_per_token
            .try_into()
            .map_err(|error: emulate::tokens::InvalidCharsPerToken| usage(&error))?,
        session_key: endpoint.session_key.clone(),
        seed,
        models: if models.is_empty() { vec![name.clone()] } else { models },
        ..emulate::Settings::new(&name, assembled.router.strategy)
    })
}
