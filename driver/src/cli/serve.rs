//! `podlab serve`: an emulated endpoint over HTTP.

use super::simulate::{asks_for_help, axes, default_strategy, list_settings, read_endpoint, replicas};
use super::{Engine, ServeArgs, print, warn};
use crate::emulate;
use crate::endpoint::Endpoint;
use crate::experiment::{Assembled, Experiment, Load, Matrix, Source, Tiers};
use crate::failure::Failure;

pub(super) fn run(args: &ServeArgs) -> Result<(), Failure> {
    if asks_for_help(&args.lab) {
        return print(&list_settings());
    }
    let Engine::Sim = args.engine;
    let endpoint = read_endpoint(&args.endpoint)?;
    let axes = axes(&args.lab, &endpoint)?;
    if let Some(axis) = axes.iter().find(|axis| axis.values.len() > 1) {
        return Err(Failure::Usage(format!("{}: serve takes one value, not {}", axis.key, axis.values.len())));
    }
    let strategy = args.strategy.unwrap_or_else(|| default_strategy(&endpoint));
    let off = endpoint.engine.enable_prefix_caching == Some(false);
    let matrix = Matrix {
        strategies: vec![strategy],
        caches: vec![if off { Tiers::None } else { Tiers::L0 }],
        replicas: vec![match args.replicas {
            Some(replicas) => replicas,
            None => replicas(&endpoint)?,
        }],
        loads: vec![Load::Concurrency(1)],
        seeds: vec![args.seed],
        axes,
    };
    let file = args.endpoint.display().to_string();
    let source = Source::DocumentQa { requests: 0 };
    let experiment = Experiment { endpoint, file, workload: String::new(), source };
    let cases = matrix.cases();
    let mut assembled = experiment.assemble(&cases[0])?;
    for warning in &assembled.warnings {
        warn(&format!("warning: {warning}"));
    }
    // Every token of every pass is somebody's.
    (assembled.engine.record_work, assembled.engine.max_repeats) = (true, 1);
    listen(args, &experiment.endpoint, &assembled)
}

fn listen(args: &ServeArgs, endpoint: &Endpoint, assembled: &Assembled) -> Result<(), Failure> {
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
        let settings = settings(args, endpoint, assembled)?;
        warn(&format!(
            "serving {} as {} x {} ({}) on http://{address}/v1: emulated, every pass lasts its modelled time / {}",
            settings.models.first().map_or("", String::as_str),
            assembled.router.workers,
            assembled.deployment.instance.sagemaker_name(),
            assembled.router.strategy,
            args.time_scale,
        ));
        let stop = async {
            // Without signals there is still the second way to stop a process.
            if emulate::stop_signal().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let stopped = emulate::serve(assembled.cluster(), settings, listener, stop).await;
        stopped.map(|_| ()).map_err(|error| Failure::Failed(error.to_string()))
    })
}

/// A worker answers to the name it serves under, and to what the endpoint file calls the model.
fn settings(args: &ServeArgs, endpoint: &Endpoint, assembled: &Assembled) -> Result<emulate::Settings, Failure> {
    let served = endpoint.engine.served_model_name.clone().or_else(|| endpoint.engine.model.clone());
    let mut models: Vec<String> = Vec::new();
    for name in [served, endpoint.model_name.clone(), endpoint.model_id.clone()].into_iter().flatten() {
        if !models.contains(&name) {
            models.push(name);
        }
    }
    let name = models.first().cloned().unwrap_or_else(|| assembled.deployment.model.name.clone());
    let usage = |error: &dyn std::fmt::Display| Failure::Usage(format!("failed to {error}"));
    Ok(emulate::Settings {
        time_scale: args.time_scale.try_into().map_err(|error: emulate::clock::InvalidTimeScale| usage(&error))?,
        latency: assembled.lab.api_latency,
        chars_per_token: assembled
            .lab
            .chars_per_token
            .try_into()
            .map_err(|error: emulate::tokens::InvalidCharsPerToken| usage(&error))?,
        session_key: endpoint.session_key.clone(),
        seed: args.seed,
        models: if models.is_empty() { vec![name.clone()] } else { models },
        ..emulate::Settings::new(&name, assembled.router.strategy)
    })
}
