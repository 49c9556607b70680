//! Where the bytes of one GPU go.

use kvcache::Blocks;

use super::spec::{self, Settings};
use super::{EngineSpec, Remedy, Why};
use crate::cost::catalogue::{Gpu, INSTANCES, Instance};
use crate::cost::geometry::Model;

/// CUDA graphs (one per batch size, sharing a pool) and the libraries' workspaces, in bytes.
///
/// vLLM logs 0.3 to 0.7 GiB for graphs of 7B to 70B models. With it the formula gives 2,577 blocks for the RTX 4090 run
/// in `data/calibration`, where vLLM 0.19 found 2,588.
const GRAPHS_BYTES: u64 = 512 << 20;

/// Buffers of NCCL and of vLLM's own all-reduce, in bytes, where a model is split.
const COLLECTIVES_BYTES: u64 = 256 << 20;

/// Bytes per logit at the peak of sampling: 2 as the head wrote it, 4 as single precision, then for top-k and top-p a
/// sorted copy (4), its 64-bit indices (8) and their probabilities (4).
const SAMPLER_BYTES_PER_LOGIT: u64 = 22;

/// The memory of one GPU, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What the engine may use: `gpu_memory_utilization` of what CUDA reports.
    pub limit: u64,
    /// Weights of one rank.
    pub weights: u64,
    /// Activations at the largest pass, the sampler's tables, CUDA graphs and collectives: what vLLM measures with a
    /// dummy pass at start.
    pub reserve: u64,
    /// One block of KV on one rank.
    pub block: u64,
}

impl Memory {
    /// Budgets one rank of `tp`, which must divide the model.
    ///
    /// The dummy pass runs `max_num_batched_tokens` through the layers, then samples `max_num_seqs` sequences. The two
    /// do not overlap, so the reserve holds the larger. In a layer at its widest live the residual, its normed copy and
    /// the attention's input and output (4 hidden) beside gate, up and their product (3 intermediate, split). The
    /// logits are gathered, so every rank samples the whole vocabulary.
    pub(super) fn budget(gpu: &Gpu, model: &Model, tp: u32, settings: &Settings) -> Self {
        let shard = model.shard(tp.into());
        let tokens = u64::from(settings.max_num_batched_tokens.0);
        let width = 4 * model.hidden_size + 3 * model.intermediate_size / u64::from(tp);
        let layers = tokens * width * settings.dtype.bytes();
        let sampler = u64::from(settings.max_num_seqs) * model.vocab_size * SAMPLER_BYTES_PER_LOGIT;
        let collectives = if tp > 1 { COLLECTIVES_BYTES } else { 0 };
        let token = shard.kv_bytes_per_token(settings.dtype, settings.kv_dtype);
        Self {
            limit: (gpu.device_bytes as f64 * settings.utilization) as u64,
            weights: shard.weight_bytes(settings.dtype, settings.quantization),
            reserve: layers.max(sampler) + GRAPHS_BYTES + collectives,
            block: token * u64::from(settings.block_size.0),
        }
    }

    /// Bytes taken before there is any KV.
    #[must_use]
    pub const fn needed(&self) -> u64 {
        self.weights + self.reserve
    }

    /// Bytes missing for a first block; zero where there are none.
    #[must_use]
    pub const fn shortfall(&self) -> u64 {
        (self.needed() + self.block).saturating_sub(self.limit)
    }

    /// Blocks of KV, the null block included.
    #[must_use]
    pub fn blocks(&self) -> Blocks {
        let blocks = self.limit.saturating_sub(self.needed()) / self.block;
        Blocks(u32::try_from(blocks).unwrap_or(u32::MAX))
    }
}

/// Whether vLLM can split the model `tp` ways: heads and MLP evenly, and KV heads evenly or in whole copies.
pub(super) fn check_divides(model: &Model, tp: u32) -> Result<(), Why> {
    let ranks = u64::from(tp);
    let uneven = |what, count| Err(Why::TpDoesNotDivide { tp, what, count });
    if !model.heads.is_multiple_of(ranks) {
        return uneven("attention heads", model.heads);
    }
    if !model.kv_heads.is_multiple_of(ranks) && !ranks.is_multiple_of(model.kv_heads) {
        return uneven("key-value heads", model.kv_heads);
    }
    if !model.intermediate_size.is_multiple_of(ranks) {
        return uneven("columns of the MLP", model.intermediate_size);
    }
    Ok(())
}

/// What would hold the model and one sequence of its `max_model_len`: more ranks on this instance, or else the cheapest
/// instance of the catalogue with the fewest ranks.
pub(super) fn remedy(instance: &Instance, model: &Model, spec: &EngineSpec) -> Remedy {
    if let Some(tp) = smallest_tp(instance, model, spec, spec.tp + 1) {
        return Remedy::Tp(tp);
    }
    let fitting = INSTANCES.iter().filter_map(|other| Some((other, smallest_tp(other, model, spec, 1)?)));
    let cheapest = fitting.min_by(|(a, _), (b, _)| a.price.usd_per_hour.total_cmp(&b.price.usd_per_hour));
    cheapest.map_or(Remedy::None, |(other, tp)| Remedy::Instance { name: other.name, tp })
}

/// The fewest ranks, at least `from`, with which the model fits on the instance.
fn smallest_tp(instance: &Instance, model: &Model, spec: &EngineSpec, from: u32) -> Option<u32> {
    let settings = spec::resolve(spec, model, &instance.gpu).ok()?;
    let needed = settings.max_model_len.blocks(settings.block_size) + Blocks(1);
    (from..=instance.gpus).find(|&tp| {
        check_divides(model, tp).is_ok() && {
            let memory = Memory::budget(&instance.gpu, model, tp, &settings);
            memory.shortfall() == 0 && memory.blocks() >= needed
        }
    })
}
