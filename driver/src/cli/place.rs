//! Where a measurement goes: a remote endpoint, or an emulated one that is started for it.

use super::bench_args::{ApiName, BenchArgs, ClusterArgs, InvokeArgs, TargetArgs};
use super::serve;
use super::settings::{assemble, axes, lab_text};
use super::simulate::{caches, default_strategy, read_endpoint, replicas};
use super::{LabArgs, Named, warn};
use crate::bench::client::{Client, Options};
use crate::bench::credentials;
use crate::bench::exchange::Observed;
use crate::bench::place::Place;
use crate::bench::summary::Price;
use crate::bench::target::{Target, Wire};
use crate::emulate::Emulator;
use crate::experiment::{Experiment, Load, Matrix, Source, api_of};
use crate::failure::Failure;
use crate::report::Input;
use router::Api;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// The place that `bench` names.
pub(super) fn find(args: &BenchArgs) -> Result<Place, Failure> {
    let lab = LabArgs {
        lab: args.lab.lab.clone(),
        hardware: args.lab.hardware.clone(),
        settings: args.extent.settings(&args.lab),
    };
    let started = Started { seed: args.seed, dry_run: args.dry_run };
    of(&args.target, &args.cluster, &lab, started)
}

/// The place that `invoke` names.
pub(super) fn of_one(args: &InvokeArgs) -> Result<Place, Failure> {
    of(&args.target, &args.cluster, &args.lab, Started { seed: 0, dry_run: false })
}

/// How an emulated cluster is started.
#[derive(Clone, Copy, Debug)]
struct Started {
    seed: u64,
    /// Not at all.
    dry_run: bool,
}

fn of(args: &TargetArgs, cluster: &ClusterArgs, lab: &LabArgs, started: Started) -> Result<Place, Failure> {
    let target = named(args)?;
    if let Some(file) = target.strip_prefix("emulate:") {
        return emulated(args, cluster, lab, Path::new(file), started);
    }
    let only = [
        ("--strategy", cluster.strategy.is_some()),
        ("--cache", cluster.cache.is_some()),
        ("--replicas", cluster.replicas.is_some()),
    ];
    match only.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Failure::Usage(format!("{flag} is for --target emulate:FILE; {target} is as it is"))),
        None => remote(args, lab),
    }
}

fn named(args: &TargetArgs) -> Result<&str, Failure> {
    args.target.as_deref().ok_or_else(|| Failure::Usage("--target is missing".to_owned()))
}

fn api(args: &TargetArgs) -> Option<Api> {
    args.api.map(|name| match name {
        ApiName::Chat => Api::Chat,
        ApiName::Completions => Api::Completions,
    })
}

fn price(args: &TargetArgs) -> Option<Price> {
    args.usd_per_hour.map(|usd_per_hour| Price { usd_per_hour, source: "--usd-per-hour".to_owned() })
}

/// A place that is there already.
fn remote(args: &TargetArgs, lab: &LabArgs) -> Result<Place, Failure> {
    let variable = |name: &str| {
        let told = std::env::var(name).ok().filter(|value| !value.is_empty());
        told.or_else(|| if name == "AWS_DEFAULT_REGION" { credentials::region() } else { None })
    };
    let target = Target::parse(named(args)?, variable).map_err(|why| Failure::Usage(format!("--target {why}")))?;
    let settings = lab.settings.iter().filter_map(|text| text.split_once('='));
    Ok(Place {
        target_name: target.name.clone(),
        api: api(args).or(target.api).unwrap_or(Api::Chat),
        target,
        model: None,
        session_key: args.session_key.clone(),
        price: price(args),
        lab: super::workload::lab(lab, "bench")?,
        settings: settings.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        strategy: None,
        cache: None,
        replicas: None,
        resolved: json!({ "inputs": {} }),
        sizes: None,
        emulator: None,
    })
}

/// What an emulated endpoint's tokens are: so many characters each, and a chat's template is `<|user|>\n..\n<|assistant|>\n`.
fn sizes(chars_per_token: f64, api: Api) -> (f64, u32) {
    let template = if api == Api::Chat { 24.0 } else { 0.0 };
    (chars_per_token / 4.0, (template / chars_per_token).round() as u32)
}

/// A cluster in wall time, in this process.
fn emulated(
    args: &TargetArgs,
    cluster: &ClusterArgs,
    lab: &LabArgs,
    file: &Path,
    started: Started,
) -> Result<Place, Failure> {
    let (endpoint, text) = read_endpoint(file, cluster.replicas.is_some())?;
    let lab_text = lab_text(lab)?;
    let axes = axes(lab, &endpoint, file, lab_text.as_deref())?;
    if let Some(axis) = axes.iter().find(|axis| axis.values.len() > 1) {
        return Err(Failure::Usage(format!(
            "{}: one value is taken here, not {}",
            axis.origin.names(&axis.key),
            axis.values.len()
        )));
    }
    let matrix = Matrix {
        strategies: cluster.strategy.map_or_else(|| vec![default_strategy(&endpoint)], Named::strategies),
        caches: caches(cluster.cache.as_slice(), &endpoint)?,
        replicas: vec![match cluster.replicas {
            Some(replicas) => replicas,
            None => replicas(&endpoint)?,
        }],
        loads: vec![Load::Concurrency(1)],
        seeds: vec![started.seed],
        axes,
    };
    let source = Source::DocumentQa { requests: 0 };
    let name = file.display().to_string();
    let experiment = Experiment { endpoint, file: name, workload: String::new(), source };
    let case = matrix.cases().swap_remove(0);
    let mut assembled = assemble(&experiment, &case, &matrix.axes)?;
    for warning in &assembled.warnings {
        warn(&format!("warning: {warning}"));
    }
    // As it would be simulated: how passes are told is no setting of the experiment.
    let mut resolved = assembled.describe();
    resolved["inputs"] = json!({
        "endpoint": Input::whole(file, &text),
        "lab": lab.lab.as_deref().zip(lab_text.as_deref()).map(|(path, text)| Input::whole(path, text)),
    });
    // Every token of every pass is somebody's.
    (assembled.engine.record_work, assembled.engine.max_repeats) = (true, 1);
    let settings = serve::settings((started.seed, 1.0), &experiment.endpoint, &assembled)?;
    let model = settings.models.first().cloned();
    let instances = assembled.deployment.instances_for(u32::from(case.replicas));
    let whole = Price {
        usd_per_hour: assembled.price.usd_per_hour * f64::from(instances),
        source: format!("{instances} x {} by the lab", assembled.deployment.instance.sagemaker_name()),
    };
    let api = api(args).unwrap_or_else(|| api_of(&experiment.endpoint));
    let sizes = sizes(assembled.lab.router.chars_per_token, api);
    let lab = assembled.lab.clone();
    let failed = |error: crate::emulate::ServeError| Failure::Failed(error.to_string());
    let emulator = if started.dry_run {
        None
    } else {
        Some(Emulator::spawn(move || assembled.cluster(), settings).map_err(failed)?)
    };
    let address = emulator.as_ref().map_or_else(|| "127.0.0.1:9".to_owned(), |emulator| emulator.address().to_string());
    let target = Target::parse(&format!("http://{address}"), |_| None).map_err(Failure::Failed)?;
    Ok(Place {
        target_name: named(args)?.to_owned(),
        target,
        api,
        model,
        session_key: args.session_key.clone().or_else(|| experiment.endpoint.session_key.clone()),
        price: price(args).or(Some(whole)),
        lab,
        settings: case.settings.clone(),
        strategy: Some(case.strategy.as_str().to_owned()),
        cache: Some(case.cache.as_str().to_owned()),
        replicas: Some(case.replicas),
        resolved,
        sizes: Some(sizes),
        emulator,
    })
}

/// The name of the model: as given, as the place knows it, as the server lists it.
pub(super) async fn model(
    given: Option<&str>,
    place: &Place,
    client: &Client,
    notes: &mut Vec<String>,
) -> Result<Option<String>, Failure> {
    if let Some(name) = given.map(str::to_owned).or_else(|| place.model.clone()) {
        return Ok(Some(name));
    }
    if let Wire::SageMaker { .. } = place.target.wire {
        return Ok(None);
    }
    match client.model().await {
        Ok(name) => Ok(Some(name)),
        Err(problem) if problem.class.starts_with("connect") || problem.class == "tls" => {
            Err(Failure::Remote(format!("--target {}: {}", place.target_name, problem.said)))
        }
        Err(problem) => {
            notes.push(format!(
                "the server lists no model ({}): requests say \"default\"; name one with --model",
                problem.said
            ));
            Ok(Some("default".to_owned()))
        }
    }
}

/// Why there is nothing to measure.
pub(super) fn unreachable(target: &str, observed: &Observed) -> Failure {
    let why = observed.result.as_ref().err().map(ToString::to_string).unwrap_or_default();
    Failure::Remote(format!("--target {target}: the first request failed: {why}"))
}

/// How requests are sent there.
pub(super) fn options(place: &Place, args: &TargetArgs) -> Result<Options, Failure> {
    let from_file = |path: &Path| {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| Failure::Invalid(format!("--api-key-file {}: {error}", path.display())))?;
        Ok::<_, Failure>(text.trim().to_owned())
    };
    let key = match &args.api_key_file {
        Some(path) => Some(from_file(path)?),
        None => std::env::var("OPENAI_API_KEY").ok().filter(|key| !key.is_empty()),
    };
    Ok(Options {
        api: place.api,
        streamed: !args.no_stream,
        timeout: Duration::from_secs_f64(args.timeout.min(1e6)),
        http2: args.http2,
        cacert: args.cacert.clone(),
        // Whoever emulates asks for no key, and shall not see one.
        key: key.filter(|_| place.emulator.is_none()),
        session_key: place.session_key.clone(),
        sagemaker_session: args.sagemaker_session_id,
        inference_component: args.inference_component.clone(),
    })
}
