//! From an endpoint file and a lab to the settings of a cluster.

use super::fleet::{check_pool, crew};
use super::kernels::Kernels;
use super::tiers::lower;
use super::{Assembled, Case, Tiers, api_of, check_engine, chunk_of};
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::hardware::{Hardware, Watch};
use crate::lab::Lab;
use crate::suggest;
use kvcache::{Blocks, CacheConfig, Span, TierConfig, Tokens};
use router::{Api, LowerTiers, RouterConfig, Strategy};
use sim::cost::CostModel;
use sim::cost::catalogue::{self, Instance, PeerLink};
use sim::cost::deployment::{Deployment, EngineSpec, Why};
use sim::cost::geometry::{self, Model};
use sim::ledger::Price;
use sim::replica::EngineConfig;
use sim::simulate;
use sim::transport::TransportConfig;
use std::path::Path;

pub(super) fn assemble(endpoint: &Endpoint, file: &str, lab: Lab, case: &Case) -> Result<Assembled, Failure> {
    let lines = &endpoint.lines;
    let at = |line: u32| move |problem: String| Failure::Invalid(format!("{file}:{line}: {problem}"));
    let instance = instance(endpoint).map_err(at(lines.instance_type))?;
    let model = model(endpoint, &lab).map_err(at(lines.model_name))?;
    let spec = spec(endpoint, &lab).map_err(at(lines.args))?;
    let mut deployment = Deployment::plan(instance, &model, &spec).map_err(|error| {
        let pod = matches!(error.why, Why::TpExceedsPod { .. } | Why::PodExceedsInstance { .. });
        at(if pod { lines.resources } else { lines.args })(format!("failed to {error}"))
    })?;
    let Measured { factors: hardware, kernels, of_profile, warnings: unfitted } =
        measured(endpoint, &lab, &mut deployment).map_err(Failure::Invalid)?;
    // What nobody says and nothing measured tells.
    let host = lab.host_overhead.or(of_profile.host).unwrap_or(HOST_OVERHEAD);
    let latency = lab.api_latency.or(of_profile.latency).unwrap_or(API_LATENCY);
    let gpu: Box<dyn CostModel> = match &kernels {
        Some(kernels) => kernels.cost(Span::ZERO, false),
        None => Box::new(deployment.roofline(Span::ZERO, false)),
    };
    let lower = lower(endpoint, &lab, &deployment, &*gpu, case).map_err(at(lines.cache))?;
    let tiers = lower.as_ref().map(|lower| lower.tiers);
    let engine = EngineConfig { tiers, ..engine(endpoint, &lab, &deployment, case).map_err(at(lines.args))? };
    check_engine(engine).map_err(at(lines.args))?;
    let (price, warning) = price(&lab, &deployment);
    let mut warnings: Vec<String> = warning.into_iter().chain(unfitted).collect();
    let crew = crew(endpoint, &lab, case).map_err(|(line, problem)| match line {
        Some(line) => at(line)(problem),
        None => Failure::Usage(problem),
    })?;
    warnings.extend(crew.warnings);
    let path = simulate::Path { latency, api: api_of(endpoint), names_session: endpoint.session_key.is_some() };
    let transport = lower.as_ref().map(|lower| lower.transport);
    warnings.extend(check_pool(&crew.fleet, transport.as_ref()).map_err(Failure::Usage)?);
    warnings.extend(lower.into_iter().flat_map(|lower| lower.warnings));
    warnings.extend(routing_warning(endpoint, case, path));
    if deployment.tp > 1 && deployment.instance.gpu.peer_link == PeerLink::Host {
        warnings.push(format!(
            "tensor parallelism over PCIe ({}): what its all-reduces cost rests on no measurement",
            deployment.instance.sagemaker_name()
        ));
    }
    if engine.max_num_partial_prefills > 1 {
        warnings.push(
            "max_num_partial_prefills above 1: vLLM's V1 engine refuses to start with it; simulated as what its settings would derive, chunks of at most 4 % of max_model_len"
                .to_owned(),
        );
    }
    Ok(Assembled {
        router: RouterConfig {
            seed: case.seed,
            block: engine.cache.block,
            chunk: chunk_of(lab.router.chars_per_token),
            lower: tiers.and_then(|tiers| lower_tiers(&tiers, transport.as_ref())),
            strands: true,
            ..lab.router.config(case.strategy, crew.fleet.capacity(), engine.cache.block)
        },
        path,
        lab,
        deployment,
        engine,
        transport,
        price,
        fleet: crew.fleet,
        limits: crew.limits,
        watch: hardware.as_ref().and_then(|profile| profile.grid.clone()).map(Watch::new),
        host,
        hardware,
        kernels,
        warnings,
    })
}

/// What a host adds to a pass where nothing tells.
pub(crate) const HOST_OVERHEAD: Span = Span::from_millis(1);
/// The way to the engine, likewise.
const API_LATENCY: Span = Span::from_millis(5);

/// What was measured of the hardware, where that is to be used instead of published figures.
#[derive(Default)]
struct Measured {
    factors: Option<Hardware>,
    kernels: Option<Kernels>,
    of_profile: OfProfile,
    warnings: Vec<String>,
}

/// What a profile says beside what passes take.
#[derive(Clone, Copy, Default)]
struct OfProfile {
    /// What the host adds to a pass.
    host: Option<Span>,
    /// The way to the engine.
    latency: Option<Span>,
}

/// A file of factors, or a folder of kernels. What the case sets by itself is stronger.
fn measured(endpoint: &Endpoint, lab: &Lab, deployment: &mut Deployment) -> Result<Measured, String> {
    let Some(path) = &lab.hardware else { return Ok(Measured::default()) };
    let path = Path::new(path);
    if path.is_dir() {
        let (kernels, warnings) = Kernels::read(path, deployment, &endpoint.engine)?;
        return Ok(Measured { kernels: Some(kernels), warnings, ..Measured::default() });
    }
    let profile = Hardware::read(path).map_err(|why| format!("hardware.profile: {why}"))?;
    let warnings = profile.check(deployment)?;
    deployment.efficiency = profile.setup().efficiency;
    let of_profile = OfProfile { host: Some(Span::ZERO), latency: profile.api_latency() };
    Ok(Measured { factors: Some(profile), of_profile, warnings, ..Measured::default() })
}

/// What a router can know of the tiers below: that they are there, and how much they hold.
pub(crate) fn lower_tiers(tiers: &TierConfig, transport: Option<&TransportConfig>) -> Option<LowerTiers> {
    let l1 = tiers.host.map(|host| host.capacity / host.token_bytes);
    let pool = transport.and_then(|ways| ways.pool).map(|access| access.pool);
    let l2 = pool.map(|pool| pool.shard_tokens() * u64::from(pool.shards));
    (l1.is_some() || l2.is_some()).then_some(LowerTiers { chunk: tiers.chunk, l1, l2 })
}

/// What the values of the command line do to the endpoint file's routing; its own reader has warned of its own values.
fn routing_warning(endpoint: &Endpoint, case: &Case, path: simulate::Path) -> Option<String> {
    if endpoint.routing.map(|routing| routing.as_str()) == Some(case.strategy.as_str()) {
        return None;
    }
    match case.strategy {
        Strategy::KvAware if path.api == Api::Chat => Some(format!(
            "--strategy kvaware with spec.invocationEndpoint {}: HyperPod's kvaware reads /completions only; of a chat it sees nothing and falls back to the session, else to the lowest QPS",
            endpoint.invocation_path
        )),
        strategy if strategy.follows_sessions() && !path.names_session => Some(format!(
            "--strategy {strategy} without SESSION_KEY in worker.environmentVariables: no request names its session, so each goes to the {}",
            if strategy == Strategy::Session { "lowest QPS" } else { "least loaded worker" }
        )),
        _ => None,
    }
}

fn instance(endpoint: &Endpoint) -> Result<&'static Instance, String> {
    let Some(name) = &endpoint.instance_type else {
        return Err("spec.instanceType: needed to know the GPUs; add it, such as ml.p5.48xlarge".to_owned());
    };
    catalogue::find(name).ok_or_else(|| {
        let names: Vec<String> = catalogue::names().map(|name| format!("ml.{name}")).collect();
        let near = suggest::clause(name, names.iter().map(String::as_str));
        format!("spec.instanceType: \"{name}\" is not in the catalogue: {}{near}", names.join(", "))
    })
}

/// The model by the first name that is known: the lab's, the Hugging Face id, what is served, the file's own name.
fn model(endpoint: &Endpoint, lab: &Lab) -> Result<Model, String> {
    let known = || geometry::names().collect::<Vec<_>>().join(", ");
    if let Some(name) = &lab.model {
        return geometry::find(name)
            .ok_or_else(|| format!("model.name: \"{name}\" is not known; there is {}", known()));
    }
    let names = [
        endpoint.model_id.as_deref(),
        endpoint.engine.model.as_deref(),
        endpoint.engine.served_model_name.as_deref(),
        endpoint.model_name.as_deref(),
        endpoint.model_location.as_deref(),
    ];
    names.into_iter().flatten().find_map(geometry::find).ok_or_else(|| {
        format!(
            "spec.modelName: \"{}\" does not tell which model this is; add --set model.name=NAME, one of {}",
            endpoint.model_name.as_deref().unwrap_or_default(),
            known()
        )
    })
}

fn spec(endpoint: &Endpoint, lab: &Lab) -> Result<EngineSpec, String> {
    let args = &endpoint.engine;
    if args.pipeline_parallel_size.is_some_and(|stages| stages > 1) {
        return Err(
            "worker.args: --pipeline-parallel-size above 1 is not simulated; use --tensor-parallel-size".to_owned()
        );
    }
    let blocks = args.num_gpu_blocks_override.map(|blocks| whole("num-gpu-blocks-override", blocks)).transpose()?;
    Ok(EngineSpec {
        tp: args.tensor_parallel_size.unwrap_or(1),
        dtype: args.dtype.as_deref().filter(|name| *name != "auto").map(str::parse).transpose().map_err(in_args)?,
        quantization: args.quantization.as_deref().map(str::parse).transpose().map_err(in_args)?,
        kv_dtype: args.kv_cache_dtype.as_deref().map(str::parse).transpose().map_err(in_args)?.unwrap_or_default(),
        gpu_memory_utilization: lab.gpu_memory_utilization.or(args.gpu_memory_utilization),
        max_model_len: lab.max_model_len.or(tokens("max-model-len", args.max_model_len)?),
        max_num_seqs: lab.max_num_seqs.or(args.max_num_seqs),
        max_num_batched_tokens: lab
            .max_num_batched_tokens
            .or(tokens("max-num-batched-tokens", args.max_num_batched_tokens)?),
        block_size: lab.block_size.or(args.block_size.map(Tokens)),
        num_gpu_blocks_override: lab.num_gpu_blocks.or(blocks).map(Blocks),
        pod_gpus: endpoint.pod_gpus,
    })
}

/// vLLM counts in Python's integers; beyond 32 bits nothing fits a GPU.
fn whole(flag: &str, count: u64) -> Result<u32, String> {
    u32::try_from(count).map_err(|_| format!("worker.args: --{flag} {count} is more than {}", u32::MAX))
}

fn tokens(flag: &str, count: Option<u64>) -> Result<Option<Tokens>, String> {
    count.map(|count| whole(flag, count).map(Tokens)).transpose()
}

fn in_args(error: impl std::fmt::Display) -> String {
    format!("worker.args: {error}")
}

/// vLLM's default of `scheduler_reserve_full_isl` is true in 0.19 (its resolved configuration as logged by
/// LLMServingSim's runs); 0.11 does not have it.
const RESERVES_FULL_ISL: (u32, u32) = (0, 19);
/// vLLM schedules asynchronously by default since 0.14 (release notes of 0.14.0).
const SCHEDULES_ASYNC: (u32, u32) = (0, 14);
/// What is assumed of an image that does not say: the version of the image in AWS's blog.
const ASSUMED: (u32, u32) = (0, 11);

/// The version of vLLM that an image's tag names, such as `vllm:0.11.1-gpu-py312`. LMCache's images carry LMCache's
/// version; HyperPod's own carry another number and hold vLLM 0.19.
fn vllm_version(image: Option<&str>) -> (u32, u32) {
    let Some((name, tag)) = image.and_then(|image| image.rsplit_once(':')) else { return ASSUMED };
    if tag.starts_with("server-hyperpod") {
        return (0, 19);
    }
    let mut numbers = tag.trim_start_matches('v').split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    match (name.contains("vllm") && !name.contains("lmcache"), numbers.next(), numbers.next()) {
        (true, Some(major), Some(minor)) => (major, minor),
        _ => ASSUMED,
    }
}

fn engine(endpoint: &Endpoint, lab: &Lab, deployment: &Deployment, case: &Case) -> Result<EngineConfig, String> {
    let args = &endpoint.engine;
    let version = vllm_version(endpoint.image.as_deref());
    let threshold =
        lab.long_prefill_token_threshold.or(tokens("long-prefill-token-threshold", args.long_prefill_token_threshold)?);
    Ok(EngineConfig {
        max_num_seqs: deployment.max_num_seqs,
        max_num_batched_tokens: deployment.max_num_batched_tokens,
        max_model_len: deployment.max_model_len,
        chunked_prefill: lab.chunked_prefill.or(args.enable_chunked_prefill).unwrap_or(true),
        long_prefill_token_threshold: threshold.filter(|tokens| *tokens > Tokens::ZERO),
        max_num_partial_prefills: lab.max_num_partial_prefills.or(args.max_num_partial_prefills).unwrap_or(1),
        reserve_full_isl: lab
            .reserve_full_isl
            .or(args.scheduler_reserve_full_isl)
            .unwrap_or(version >= RESERVES_FULL_ISL),
        async_scheduling: lab.async_scheduling.or(args.async_scheduling).unwrap_or(version >= SCHEDULES_ASYNC),
        max_repeats: 1 << 14,
        record_work: false,
        cache: CacheConfig {
            capacity: deployment.blocks,
            block: deployment.block_size,
            prefix_caching: case.cache != Tiers::None,
            duplicates: lab.duplicates,
            events: false,
        },
        tiers: None,
    })
}

fn price(lab: &Lab, deployment: &Deployment) -> (Price, Option<String>) {
    let list = &deployment.instance.price;
    let workers_per_instance = deployment.workers_per_instance;
    let usd_per_hour = lab.usd_per_hour.unwrap_or(list.usd_per_hour);
    let warning = (lab.usd_per_hour.is_none() && list.derived).then(|| {
        format!(
            "no SageMaker price of {} is published: costs use ${:.2}/h, derived from the EC2 price ({}); set price.usd_per_hour",
            deployment.instance.sagemaker_name(),
            usd_per_hour,
            list.date
        )
    });
    (Price { usd_per_hour, workers_per_instance }, warning)
}
