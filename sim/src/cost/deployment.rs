//! A model on GPUs: does it fit, and how many KV blocks are left.
//!
//! [`Deployment::plan`] does what vLLM does at start: it takes `gpu_memory_utilization` of a GPU's memory, subtracts
//! weights and working memory, and cuts what is left into blocks. It refuses what vLLM refuses.

use kvcache::{Blocks, Span, Tokens};

use super::catalogue::Instance;
use super::geometry::{Dtype, KvDtype, Model, Quantization};
use super::roofline::Roofline;
use super::roofline::efficiency::Efficiency;

mod error; // why a deployment is refused
mod memory; // where the bytes of a GPU go
mod spec; // settings of the engine, and vLLM's defaults

pub use error::{DeployError, Remedy, Why};
pub use memory::Memory;
pub use spec::{EngineSpec, default_max_num_batched_tokens, default_max_num_seqs};

/// A model served by workers on one kind of instance, every setting resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// The model.
    pub model: Model,
    /// The kind of instance.
    pub instance: Instance,
    /// Tensor-parallel ranks of a worker, one GPU each.
    pub tp: u32,
    /// Format of activations, and of weights that are not quantized.
    pub dtype: Dtype,
    /// Format of the weights of linear layers.
    pub quantization: Quantization,
    /// Format of cached keys and values.
    pub kv_dtype: KvDtype,
    /// Where the memory of one GPU goes.
    pub memory: Memory,
    /// Blocks of KV that requests can use on one worker.
    pub blocks: Blocks,
    /// Tokens in a block.
    pub block_size: Tokens,
    /// Bytes of KV of one token, all ranks together, copies of heads not counted: what a cache tier would store.
    pub kv_bytes_per_token: u64,
    /// Longest prompt and reply of one request.
    pub max_model_len: Tokens,
    /// Most sequences in a pass.
    pub max_num_seqs: u32,
    /// Most tokens in a pass.
    pub max_num_batched_tokens: Tokens,
    /// GPUs that a worker's pod holds, used or not.
    pub gpus_per_worker: u32,
    /// Workers that fit on one instance.
    pub workers_per_instance: u32,
    /// US dollars for an hour of one instance.
    pub usd_per_hour: f64,
    /// How near to the GPU's peaks its kernels come; as published, unless somebody measured.
    pub efficiency: Efficiency,
}

impl Deployment {
    /// Plans `model` on `instance` with these settings.
    ///
    /// # Errors
    /// Where vLLM or the scheduler of Kubernetes would refuse: a setting out of range, more ranks than GPUs, ranks that
    /// do not divide the heads, weights that do not fit, no room for one sequence of `max_model_len`.
    pub fn plan(instance: &Instance, model: &Model, spec: &EngineSpec) -> Result<Self, DeployError> {
        let refuse = |why| DeployError { model: model.name.clone(), instance: instance.name, why };
        let settings = spec::resolve(spec, model, &instance.gpu).map_err(refuse)?;
        let pod_gpus = spec.pod_gpus.unwrap_or(spec.tp);
        check_gpus(instance, spec.tp, pod_gpus).map_err(refuse)?;
        memory::check_divides(model, spec.tp).map_err(refuse)?;
        let memory = Memory::budget(&instance.gpu, model, spec.tp, &settings);
        let blocks = usable_blocks(&memory, instance, model, spec, &settings).map_err(refuse)?;
        Ok(Self {
            model: model.clone(),
            instance: *instance,
            tp: spec.tp,
            dtype: settings.dtype,
            quantization: settings.quantization,
            kv_dtype: settings.kv_dtype,
            memory,
            blocks,
            block_size: settings.block_size,
            kv_bytes_per_token: model.kv_bytes_per_token(settings.dtype, settings.kv_dtype),
            max_model_len: settings.max_model_len,
            max_num_seqs: settings.max_num_seqs,
            max_num_batched_tokens: settings.max_num_batched_tokens,
            gpus_per_worker: pod_gpus,
            workers_per_instance: instance.gpus / pod_gpus,
            usd_per_hour: instance.price.usd_per_hour,
            efficiency: Efficiency::published(),
        })
    }

    /// Instances that `replicas` workers take: a pod never spans two.
    #[must_use]
    pub const fn instances_for(&self, replicas: u32) -> u32 {
        replicas.div_ceil(self.workers_per_instance)
    }

    /// Durations of this worker's passes, with this much host work per pass: added to the GPU's time, or, under vLLM's
    /// `--async-scheduling`, done while the GPU runs.
    #[must_use]
    pub fn roofline(&self, host: Span, async_scheduling: bool) -> Roofline {
        Roofline::new(self, host, async_scheduling)
    }
}

fn check_gpus(instance: &Instance, tp: u32, pod_gpus: u32) -> Result<(), Why> {
    if tp > pod_gpus {
        return Err(Why::TpExceedsPod { tp, pod_gpus });
    }
    if pod_gpus > instance.gpus {
        return Err(Why::PodExceedsInstance { pod_gpus, gpus: instance.gpus });
    }
    Ok(())
}

/// Blocks for requests: all but one, which vLLM keeps as the null block that padding points to.
///
/// vLLM does not count the null block when it compares with `max_model_len`, and so may accept a length that can never
/// be scheduled; here a sequence of that length must fit into what requests can use.
fn usable_blocks(
    memory: &Memory,
    instance: &Instance,
    model: &Model,
    spec: &EngineSpec,
    settings: &spec::Settings,
) -> Result<Blocks, Why> {
    if memory.shortfall() > 0 {
        return Err(Why::DoesNotFit {
            tp: spec.tp,
            needed_bytes: memory.needed(),
            available_bytes: memory.limit,
            remedy: memory::remedy(instance, model, spec),
        });
    }
    let total = spec.num_gpu_blocks_override.unwrap_or(memory.blocks());
    let usable = total.saturating_sub(Blocks(1));
    if settings.max_model_len.blocks(settings.block_size) > usable {
        return Err(Why::NoRoomForSequence {
            max_model_len: settings.max_model_len,
            needed: settings.max_model_len.blocks(settings.block_size),
            usable,
            largest: usable.tokens(settings.block_size),
        });
    }
    Ok(usable)
}
