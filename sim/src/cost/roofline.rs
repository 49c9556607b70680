//! Durations from peak figures and published efficiencies.
//!
//! A pass is priced per tensor-parallel rank, as a sum of kernels that do not overlap:
//!
//! ```text
//! GPU time = max(linear FLOPs of all tokens / compute, weights / memory)   prefill and decode share one weight read
//!          + max(head FLOPs of samples / compute, head weights / memory) + sampler
//!          + decode context * KV bytes / memory
//!          + max(prefill pairs * FLOPs / attention compute, prefill context * KV bytes / memory)
//!          + activations of all tokens / memory
//!          + 2 all-reduces a layer * (bytes / link + latency)              where the model is split
//!          + per layer, per pass, per sample and per layer of passes with prompts: constants
//! duration = GPU time + host time,  or with asynchronous scheduling max(GPU time, host time)
//! ```
//!
//! Decode attention is bound by memory on every GPU of the catalogue: eight query heads per KV head do 8 operations per
//! KV byte at 16 bits and 16 at 8 bits, and these GPUs do more than 100. So the duration is a straight line in the
//! decode context.
//!
//! # How near it comes
//! The factors are those of the deployment's [`Efficiency`]. With [`Efficiency::published`], which is the same for every GPU and
//! model, and no host time:
//!
//! | against | points | median error | largest |
//! |---|---|---|---|
//! | AIConfigurator 0.12 (a model too; vLLM, bf16): Llama-3.1 on H100, A100-80, L40S | 55 | 6 % | -26 % (A100 decode) |
//! | AWS: 7B fp16 on one A10G, 2,500 tokens in 774 ms with API and host | 1 | -12 % | |
//! | sums of kernels measured on an RTX 4090, 8B: decode | 7 | 8 % | -11 % |
//! | the same: prefill (the card clocks above its sheet: its GEMMs reach 166 of 165 TFLOPS) | 5 | +33 % | +37 % |
//! | measured TPOT under load, 70B FP8, vLLM, H100 and H200 | 53 | -18 % | -33 % |
//! | measured TPOT under load, 70B FP8 H200 and 8B H100, TensorRT-LLM | 136 | 6 to 9 % | 41 % |
//!
//! The under-load points are priced as one decode step and the other requests' prefills per output token; what is
//! missing there is the host's share. Over PCI Express nothing was found to compare with. The test module
//! `cost::residuals` prints every point.

use kvcache::Span;

use super::catalogue::{Fp4, Fp8, Gpu, PeerLink};
use super::deployment::Deployment;
use super::geometry::Quantization;
use super::host::Host;
use super::{CostModel, Segment, Shape};
use efficiency::Efficiency;

pub mod efficiency; // how near to the peaks kernels come

/// The cost of passes of one worker, in coefficients of picoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roofline {
    /// Per token: multiplying with the linear layers.
    gemm_per_token: f64,
    /// Per pass: reading the weights of the linear layers.
    gemm_weights: f64,
    /// Per token: activations through memory, and their sums over the link.
    per_token: f64,
    /// Per sample: multiplying with the output head.
    head_per_sample: f64,
    /// Per pass that samples: reading the output head.
    head_weights: f64,
    /// Per sample: the sampler, and what the host does for it.
    sampler_per_sample: f64,
    /// Per query-key pair of prefill.
    per_pair: f64,
    /// Per token of context that prefill reads.
    per_prefill_context: f64,
    /// Per token of decode context.
    per_context: Span,
    /// Per pass: launches, and latency of the link.
    per_pass: f64,
    /// Per pass that computes a part of a prompt.
    per_prompt_pass: f64,
    /// Work of the host.
    host: Host,
}

impl Roofline {
    /// Prices passes of a deployment, with `host` time per pass: added, or overlapped where `async_scheduling`.
    #[must_use]
    pub fn new(deployment: &Deployment, host: Span, async_scheduling: bool) -> Self {
        let model = &deployment.model;
        let gpu = &deployment.instance.gpu;
        let efficiency = &deployment.efficiency;
        let tp = u64::from(deployment.tp);
        let shard = model.shard(tp);
        let bytes = deployment.dtype.bytes();
        let compute = gpu.bf16_tflops * 1e12;
        let memory = gpu.bandwidth_gb_per_s * 1e9;
        let linear_bytes = deployment.quantization.linear_bytes(shard.linear_params, deployment.dtype);
        let head_params = model.hidden_size * model.vocab_size.div_ceil(tp);
        let kv_bytes = shard.kv_bytes_per_token(deployment.dtype, deployment.kv_dtype);
        let pair_flops = 4 * shard.layers * shard.heads * shard.head_dim;
        let link = Link::of(gpu, deployment.tp, efficiency);
        let all_reduces = 2 * model.layers;
        let activations = model.layers * bytes * layer_traffic(deployment);
        let summed_bytes = all_reduces * model.hidden_size * bytes;
        let per_context = picoseconds(kv_bytes, memory * efficiency.kv_read);
        Self {
            gemm_per_token: picoseconds(
                2 * shard.linear_params,
                compute * gemm_rate(gpu, deployment.quantization) * efficiency.gemm,
            ),
            gemm_weights: picoseconds(linear_bytes, memory * efficiency.weight_read),
            per_token: picoseconds(activations, memory * efficiency.activations)
                + summed_bytes as f64 * link.ps_per_byte,
            head_per_sample: picoseconds(2 * head_params, compute * efficiency.gemm),
            head_weights: picoseconds(head_params * bytes, memory * efficiency.weight_read),
            sampler_per_sample: picoseconds(
                model.vocab_size * efficiency.sampler_bytes_per_logit,
                memory * efficiency.activations,
            ) + efficiency.per_sequence.0 as f64,
            per_pair: picoseconds(pair_flops, compute * efficiency.prefill_attention),
            per_prefill_context: picoseconds(kv_bytes, memory * efficiency.kv_read),
            per_context: Span(round(per_context)),
            per_pass: (efficiency.per_pass.0 + efficiency.per_layer.0 * model.layers) as f64
                + all_reduces as f64 * link.latency_ps,
            per_prompt_pass: (efficiency.prompt_per_layer.0 * model.layers) as f64,
            host: Host { time: host, overlapped: async_scheduling },
        }
    }

    /// GPU time of a pass without its decode attention, in picoseconds.
    #[inline]
    fn gpu(&self, shape: &Shape) -> u64 {
        let tokens = float(shape.tokens);
        let samples = float(shape.samples);
        let gemm = larger(tokens * self.gemm_per_token, self.gemm_weights);
        let head = if shape.samples == 0 { 0.0 } else { larger(samples * self.head_per_sample, self.head_weights) };
        let attention =
            larger(float(shape.pairs) * self.per_pair, float(shape.prefill_context) * self.per_prefill_context);
        let prompt = if shape.tokens > shape.decoders { self.per_prompt_pass } else { 0.0 };
        round(
            self.per_pass
                + prompt
                + gemm
                + tokens * self.per_token
                + head
                + samples * self.sampler_per_sample
                + attention,
        )
    }
}

impl CostModel for Roofline {
    #[inline]
    fn segment(&self, shape: &Shape) -> Segment {
        self.host.with(Segment::line(Span(self.gpu(shape)), self.per_context), shape.context)
    }
}

/// The way between the ranks of a worker.
struct Link {
    /// Picoseconds that an all-reduce takes per byte of its operand.
    ps_per_byte: f64,
    /// Picoseconds that an all-reduce takes however small it is.
    latency_ps: f64,
}

impl Link {
    /// A ring moves `2 * (tp - 1) / tp` of the operand over every link (Patarasuk and Yuan 2009).
    fn of(gpu: &Gpu, tp: u32, efficiency: &Efficiency) -> Self {
        if tp == 1 {
            return Self { ps_per_byte: 0.0, latency_ps: 0.0 };
        }
        let (bytes_per_s, latency) = match gpu.peer_link {
            PeerLink::NvSwitch { gb_per_s } => {
                (gb_per_s * 1e9 * efficiency.nvswitch, efficiency.nvswitch_latency_per_rank)
            }
            PeerLink::Host => {
                (gpu.host_link.gb_per_s() * 1e9 * efficiency.through_host, efficiency.through_host_latency_per_rank)
            }
        };
        let ranks = f64::from(tp);
        Self { ps_per_byte: 2.0 * (ranks - 1.0) / ranks / bytes_per_s * 1e12, latency_ps: ranks * latency.0 as f64 }
    }
}

/// Numbers that one token moves through memory between the GEMMs of one layer: both norms read and write the residual
/// and their output (8 hidden, on every rank), the gated activation reads two rows and writes one (3 intermediate), and
/// rotary embedding with the KV write reads and writes queries, keys and values.
fn layer_traffic(deployment: &Deployment) -> u64 {
    let model = &deployment.model;
    let shard = model.shard(deployment.tp.into());
    8 * model.hidden_size
        + 3 * model.intermediate_size / u64::from(deployment.tp)
        + 2 * (shard.heads + 2 * shard.kv_heads) * shard.head_dim
}

/// How many times faster than BF16 the linear layers multiply: 8-bit formats at twice and NVFP4 at four times
/// the rate where tensor cores take them (NVIDIA's sheets); other 4-bit weights are widened first.
fn gemm_rate(gpu: &Gpu, quantization: Quantization) -> f64 {
    match (quantization, gpu.fp8) {
        (Quantization::Nvfp4, _) if gpu.fp4 == Fp4::Native => 4.0,
        (Quantization::Nvfp4, _) => 1.0,
        (Quantization::Int8, _) | (Quantization::Fp8, Fp8::Native) => 2.0,
        (Quantization::Fp8, Fp8::WeightOnly) | (Quantization::None | Quantization::Awq | Quantization::Gptq, _) => 1.0,
    }
}

fn picoseconds(work: u64, per_second: f64) -> f64 {
    work as f64 / per_second * 1e12
}

/// Counts stay far below 2^63; processors convert signed integers in one instruction and unsigned ones in several.
#[inline]
fn float(count: u64) -> f64 {
    count as i64 as f64
}

/// To the nearest picosecond; casts from float to integer saturate. Signed for the reason given at [`float`].
#[inline]
fn round(picoseconds: f64) -> u64 {
    (picoseconds + 0.5) as i64 as u64
}

#[inline]
fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}
