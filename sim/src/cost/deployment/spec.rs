//! Settings of the engine, and what vLLM takes for those that are not set.

use alloc::string::ToString;

use kvcache::{Blocks, Tokens};

use super::Why;
use crate::cost::catalogue::Gpu;
use crate::cost::geometry::{Dtype, KvDtype, Model, Quantization};

/// Settings of the engine, named as vLLM's options; `None` takes vLLM's default.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineSpec {
    /// `--tensor-parallel-size`: GPUs that share a model. 1 by default.
    pub tp: u32,
    /// `--dtype`; the checkpoint's by default, and FP16 where that is FP32.
    pub dtype: Option<Dtype>,
    /// `--quantization`; the checkpoint's by default.
    pub quantization: Option<Quantization>,
    /// `--kv-cache-dtype`; `auto` by default.
    pub kv_dtype: KvDtype,
    /// `--gpu-memory-utilization`: the share of a GPU's memory that the engine may use. 0.9 by default.
    pub gpu_memory_utilization: Option<f64>,
    /// `--max-model-len`; the model's own limit by default.
    pub max_model_len: Option<Tokens>,
    /// `--max-num-seqs`; [`default_max_num_seqs`] by default.
    pub max_num_seqs: Option<u32>,
    /// `--max-num-batched-tokens`; [`default_max_num_batched_tokens`] by default.
    pub max_num_batched_tokens: Option<Tokens>,
    /// `--block-size`: tokens in a block. 16 by default.
    pub block_size: Option<Tokens>,
    /// `--num-gpu-blocks-override`: blocks in all, the null block included, instead of what memory would give.
    pub num_gpu_blocks_override: Option<Blocks>,
    /// GPUs that the pod asks for (`resources.limits["nvidia.com/gpu"]`); `tp` by default.
    pub pod_gpus: Option<u32>,
}

impl Default for EngineSpec {
    fn default() -> Self {
        Self {
            tp: 1,
            dtype: None,
            quantization: None,
            kv_dtype: KvDtype::Auto,
            gpu_memory_utilization: None,
            max_model_len: None,
            max_num_seqs: None,
            max_num_batched_tokens: None,
            block_size: None,
            num_gpu_blocks_override: None,
            pod_gpus: None,
        }
    }
}

/// Whether vLLM's `EngineArgs.get_batch_defaults` gives a GPU its larger values: 70 GiB or more, and not an A100, where
/// its authors measured a loss.
fn has_large_defaults(gpu: &Gpu) -> bool {
    gpu.device_bytes >= 70 << 30 && !gpu.name.starts_with("A100")
}

/// Most sequences in a pass of vLLM's OpenAI server, where `--max-num-seqs` is not set
/// (`EngineArgs.get_batch_defaults`, vLLM 0.11 to 0.19): 1,024 on GPUs of 70 GiB and more, A100s apart, else 256.
#[must_use]
pub fn default_max_num_seqs(gpu: &Gpu) -> u32 {
    if has_large_defaults(gpu) { 1_024 } else { 256 }
}

/// Most tokens in a pass of vLLM's OpenAI server, where `--max-num-batched-tokens` is not set (as
/// [`default_max_num_seqs`]): 8,192 or 2,048.
#[must_use]
pub fn default_max_num_batched_tokens(gpu: &Gpu) -> Tokens {
    if has_large_defaults(gpu) { Tokens(8_192) } else { Tokens(2_048) }
}

/// [`EngineSpec`] with every default filled in.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) dtype: Dtype,
    pub(super) quantization: Quantization,
    pub(super) kv_dtype: KvDtype,
    pub(super) utilization: f64,
    pub(super) max_model_len: Tokens,
    pub(super) max_num_seqs: u32,
    pub(super) max_num_batched_tokens: Tokens,
    pub(super) block_size: Tokens,
}

pub(super) fn resolve(spec: &EngineSpec, model: &Model, gpu: &Gpu) -> Result<Settings, Why> {
    // vLLM halves checkpoints of single precision unless told not to.
    let own = if model.dtype == Dtype::Fp32 { Dtype::Fp16 } else { model.dtype };
    let batched = spec.max_num_batched_tokens.unwrap_or(default_max_num_batched_tokens(gpu));
    let settings = Settings {
        dtype: spec.dtype.unwrap_or(own),
        quantization: spec.quantization.unwrap_or(model.quantization),
        kv_dtype: spec.kv_dtype,
        utilization: spec.gpu_memory_utilization.unwrap_or(0.9),
        max_model_len: spec.max_model_len.unwrap_or(model.max_positions),
        max_num_seqs: spec.max_num_seqs.unwrap_or(default_max_num_seqs(gpu).min(batched.0)),
        max_num_batched_tokens: batched,
        block_size: spec.block_size.unwrap_or(Tokens(16)),
    };
    check(spec, model, &settings)?;
    Ok(settings)
}

fn check(spec: &EngineSpec, model: &Model, settings: &Settings) -> Result<(), Why> {
    let invalid = |setting, value: &dyn ToString, rule| Err(Why::Invalid { setting, value: value.to_string(), rule });
    if spec.tp == 0 {
        return invalid("tensor-parallel-size", &spec.tp, "must be at least 1");
    }
    if spec.pod_gpus == Some(0) {
        return invalid("nvidia.com/gpu", &0, "must be at least 1");
    }
    if !(settings.utilization > 0.0 && settings.utilization <= 1.0) {
        return invalid("gpu-memory-utilization", &settings.utilization, "must be above 0 and at most 1");
    }
    // vLLM's CUDA backends know these; the bound also keeps sizes of blocks within 64 bits.
    if !settings.block_size.0.is_power_of_two() || !(8..=1 << 12).contains(&settings.block_size.0) {
        return invalid("block-size", &settings.block_size.0, "must be a power of two from 8 to 4096");
    }
    if settings.max_num_seqs == 0 {
        return invalid("max-num-seqs", &0, "must be at least 1");
    }
    if settings.max_num_batched_tokens.0 < settings.max_num_seqs {
        return invalid("max-num-batched-tokens", &settings.max_num_batched_tokens.0, "must be at least max-num-seqs");
    }
    if settings.max_model_len == Tokens::ZERO {
        return invalid("max-model-len", &0, "must be at least 1");
    }
    if settings.max_model_len > model.max_positions {
        return invalid("max-model-len", &settings.max_model_len.0, "is beyond the model's max_position_embeddings");
    }
    Ok(())
}
