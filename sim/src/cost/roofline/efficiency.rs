//! How near to the peaks kernels come, and what a pass takes besides: one set of factors for every GPU and model, or one that
//! was fitted to measurements of one GPU.
//!
//! Those of [`Efficiency::published`] are round numbers from the literature; [`roofline`](super) says what error they leave.
//! None is fitted to a row, but latency of all-reduces, bytes of the sampler and the constant per layer were chosen with the
//! residuals in view.

use kvcache::Span;

/// The factors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Efficiency {
    /// Share of peak TFLOPS that large GEMMs reach, at the rate of their format.
    pub gemm: f64,
    /// Share of peak TFLOPS that prefill attention reaches, counting only the causal half.
    pub prefill_attention: f64,
    /// Share of peak bandwidth at which GEMMs with few tokens read weights.
    pub weight_read: f64,
    /// Share of peak bandwidth at which attention reads keys and values.
    pub kv_read: f64,
    /// Share of peak bandwidth of norms, activations, the sampler and other elementwise kernels.
    pub activations: f64,
    /// Bytes per logit that greedy or plain sampling moves.
    pub sampler_bytes_per_logit: u64,
    /// Share of NVLink bandwidth that an all-reduce over NVSwitch reaches.
    pub nvswitch: f64,
    /// Time of a small all-reduce over NVSwitch, per rank: a barrier and one read of every peer.
    pub nvswitch_latency_per_rank: Span,
    /// Share of PCI Express bandwidth that an all-reduce through host memory reaches.
    pub through_host: f64,
    /// Time of a small all-reduce through host memory, per rank.
    pub through_host_latency_per_rank: Span,
    /// Per layer of every pass: gaps between its kernels, and whatever the host adds to them.
    pub per_layer: Span,
    /// Per pass: launching the graph, the embedding and the last norm.
    pub per_pass: Span,
    /// Per sequence that samples: what the host does for each of them while the GPUs wait.
    pub per_sequence: Span,
    /// Per layer of a pass that computes a part of a prompt, beyond `per_layer`: such passes do not run as one captured
    /// graph, and their kernels are launched one by one.
    pub prompt_per_layer: Span,
}

impl Efficiency {
    /// What the literature has of kernels, each for itself, and of no host.
    ///
    /// | factor | source |
    /// |---|---|
    /// | `gemm` | cuBLAS does 700 to 750 of an H100's 989 TFLOPS in BF16 (0.71 to 0.76), and 250 to 270 of an A100's 312 (0.80 to 0.87). Whole training steps reach less (Megatron-LM reports 0.41 to 0.48 on H100), since they hold what is priced apart here |
    /// | `prefill_attention` | FlashAttention-2 (Dao 2023) reports 0.50 to 0.73 on A100, FlashAttention-3 (Shah et al. 2024) up to 0.75 on H100 |
    /// | `weight_read` | copy kernels reach 0.90 to 0.93 on these GPUs; whole decode steps of served 7B models are reported at 0.55 to 0.60 (MosaicML, "LLM Inference Performance Engineering", 2023), which includes what is priced apart here |
    /// | `kv_read` | long rows, near the copy rate. The largest decode points of AIConfigurator's table alone give 0.88 to 0.93 |
    /// | `sampler_bytes_per_logit` | 2 read as the head wrote them, 4 written and 4 read as single precision. The RTX 4090's sampler profile gives 7 to 10 |
    /// | `nvswitch` | nccl-tests give a bus bandwidth of 360 to 480 of 450 GB/s on eight H100 and 230 to 240 of 300 on eight A100 |
    /// | `nvswitch_latency_per_rank` | 20 us on eight ranks; vLLM's custom all-reduce and NCCL are usually measured at 8 to 25 us there |
    /// | `through_host`, its latency | every byte crosses the link twice, and the GPUs share the host's memory and root ports. No measurement on g5 or g6e was found: these two are the least certain of all factors, a guess within a factor of two; 40 us on four ranks |
    /// | `per_layer` | ten or so kernels of a captured graph, of about a microsecond each. BLIS's 32.1 us a layer (`defaults.yaml`) is fitted together with smaller factors for memory traffic |
    /// | `per_pass` | BLIS has 126 us |
    #[must_use]
    pub const fn published() -> Self {
        Self {
            gemm: 0.75,
            prefill_attention: 0.60,
            weight_read: 0.85,
            kv_read: 0.90,
            activations: 0.85,
            sampler_bytes_per_logit: 10,
            nvswitch: 0.80,
            nvswitch_latency_per_rank: Span::from_nanos(2_500),
            through_host: 0.30,
            through_host_latency_per_rank: Span::from_micros(10),
            per_layer: Span::from_micros(12),
            per_pass: Span::from_micros(100),
            per_sequence: Span::ZERO,
            prompt_per_layer: Span::ZERO,
        }
    }

    /// What is published of vLLM serving 8-bit and 4-bit weights, host included: [`Efficiency::published`], but for the factors
    /// that BLIS (`defaults.yaml` of inference-sim, Apache-2.0) gives for served steps, and GEMMs of 8 bits.
    ///
    /// | factor | source |
    /// |---|---|
    /// | `weight_read` | BLIS: steps take 1.3625 times the weights over peak bandwidth |
    /// | `kv_read` | BLIS: 1.947 times the KV over peak bandwidth |
    /// | `per_layer`, `per_pass`, `per_sequence` | BLIS: 32.1 us a layer, 126 us a pass, 4.4 us a sequence |
    /// | `gemm` | DeepGEMM's README of February 2025: 590 to 1,358 TFLOPS in FP8 with 4,096 rows, six shapes, 1,054 on average, of an H800's 1,979 |
    ///
    /// BLIS's other two are left out: its 0.152 times the operations of prefill rests on another basis, and its 0.752 for tensor
    /// parallelism on another formula.
    #[must_use]
    pub const fn served() -> Self {
        Self {
            gemm: 1_054.0 / 1_979.0,
            weight_read: 1.0 / 1.3625,
            kv_read: 1.0 / 1.947,
            per_layer: Span::from_nanos(32_100),
            per_pass: Span::from_micros(126),
            per_sequence: Span::from_nanos(4_400),
            ..Self::published()
        }
    }
}

impl Default for Efficiency {
    fn default() -> Self {
        Self::published()
    }
}
