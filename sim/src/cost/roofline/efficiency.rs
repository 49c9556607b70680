//! How near to the peaks kernels come: one set of factors for every GPU and model.
//!
//! They are round numbers from the literature; [`roofline`](super) says what error they leave. None is fitted to a row,
//! but latency of all-reduces, bytes of the sampler and the constant per layer were chosen with the residuals in view.

use kvcache::Span;

/// Share of peak TFLOPS that large GEMMs reach.
///
/// cuBLAS does 700 to 750 of an H100's 989 TFLOPS in BF16 (0.71 to 0.76), and 250 to 270 of an A100's 312 (0.80 to
/// 0.87). Whole training steps reach less (Megatron-LM reports 0.41 to 0.48 on H100), since they hold what is priced
/// apart here.
pub const GEMM: f64 = 0.75;

/// Share of peak TFLOPS that prefill attention reaches, counting only the causal half.
///
/// FlashAttention-2 (Dao 2023) reports 0.50 to 0.73 on A100, FlashAttention-3 (Shah et al. 2024) up to 0.75 on H100.
pub const PREFILL_ATTENTION: f64 = 0.60;

/// Share of peak bandwidth at which GEMMs with few tokens read weights.
///
/// Copy kernels reach 0.90 to 0.93 on these GPUs; whole decode steps of served 7B models are reported at 0.55 to 0.60
/// (MosaicML, "LLM Inference Performance Engineering", 2023), which includes what is priced apart here.
pub const WEIGHT_READ: f64 = 0.85;

/// Share of peak bandwidth at which decode attention reads keys and values: long rows, near the copy rate. The largest
/// decode points of AIConfigurator's table alone give 0.88 to 0.93.
pub const KV_READ: f64 = 0.90;

/// Share of peak bandwidth of norms, activations and other elementwise kernels.
pub const ACTIVATIONS: f64 = 0.85;

/// Bytes per logit that greedy or plain sampling moves: 2 read as the head wrote them, 4 written and 4 read as single
/// precision. The RTX 4090's sampler profile gives 7 to 10.
pub const SAMPLER_BYTES_PER_LOGIT: u64 = 10;

/// Share of NVLink bandwidth that an all-reduce over NVSwitch reaches: nccl-tests give a bus bandwidth of 360 to 480 of
/// 450 GB/s on eight H100 and 230 to 240 of 300 on eight A100.
pub const NVSWITCH: f64 = 0.80;

/// Time of a small all-reduce over NVSwitch, per rank: a barrier and one read of every peer. 20 us on eight ranks.
///
/// vLLM's custom all-reduce and NCCL are usually measured at 8 to 25 us there.
pub const NVSWITCH_LATENCY_PER_RANK: Span = Span::from_nanos(2_500);

/// Share of PCI Express bandwidth that an all-reduce through host memory reaches.
///
/// Every byte crosses the link twice, and the GPUs share the host's memory and root ports. No measurement on g5 or g6e
/// was found: this and the next are the least certain of all factors, a guess within a factor of two.
pub const THROUGH_HOST: f64 = 0.30;

/// Time of a small all-reduce through host memory, per rank: 40 us on four.
pub const THROUGH_HOST_LATENCY_PER_RANK: Span = Span::from_micros(10);

/// Per layer: gaps between the ten or so kernels of a captured graph, of about a microsecond each.
///
/// BLIS's 32.1 us a layer (`defaults.yaml`) is fitted together with smaller factors for memory traffic.
pub const PER_LAYER: Span = Span::from_micros(12);

/// Per pass: launching the graph, the embedding and the last norm. BLIS has 126 us.
pub const PER_PASS: Span = Span::from_micros(100);
