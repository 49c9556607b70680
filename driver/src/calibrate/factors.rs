//! What is fitted: the factors of the roofline that measurements of a served engine can tell apart.

use kvcache::Span;
use sim::cost::roofline::efficiency::Efficiency;

/// The part of the hardware that is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setup {
    /// How near kernels come to the peaks, and what a pass takes besides.
    pub efficiency: Efficiency,
    /// Pure latency between client and engine, both ways together.
    pub api_latency: Span,
}

impl Setup {
    /// What is published of served engines ([`Efficiency::served`]), with BLIS's 15.56 ms per request on the way.
    #[must_use]
    pub const fn served() -> Self {
        Self { efficiency: Efficiency::served(), api_latency: Span::from_micros(15_560) }
    }
}

/// One factor. Each is above zero, and is fitted as its logarithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Factor {
    /// Share of peak TFLOPS that GEMMs reach.
    Gemm,
    /// Share of peak bandwidth at which weights are read.
    WeightRead,
    /// Share of peak bandwidth at which KV is read.
    KvRead,
    /// Share of peak TFLOPS that prefill attention reaches.
    PrefillAttention,
    /// Microseconds per rank of a small all-reduce over NVSwitch.
    AllReduce,
    /// Microseconds per layer of every pass.
    PerLayer,
    /// Microseconds per sequence that samples.
    PerSequence,
    /// Microseconds per layer of passes that compute a part of a prompt.
    PromptPerLayer,
    /// Milliseconds of pure latency.
    ApiLatency,
}

impl Factor {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Gemm,
        Self::WeightRead,
        Self::KvRead,
        Self::PrefillAttention,
        Self::AllReduce,
        Self::PerLayer,
        Self::PerSequence,
        Self::PromptPerLayer,
        Self::ApiLatency,
    ];

    /// Its name in a profile.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gemm => "gemm",
            Self::WeightRead => "weight_read",
            Self::KvRead => "kv_read",
            Self::PrefillAttention => "prefill_attention",
            Self::AllReduce => "all_reduce_us_per_rank",
            Self::PerLayer => "per_layer_us",
            Self::PerSequence => "per_sequence_us",
            Self::PromptPerLayer => "prompt_per_layer_us",
            Self::ApiLatency => "api_latency_ms",
        }
    }

    /// The factor of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|factor| factor.name() == name)
    }

    /// Its value in a setup, in its unit.
    #[must_use]
    pub fn of(self, setup: &Setup) -> f64 {
        let efficiency = &setup.efficiency;
        match self {
            Self::Gemm => efficiency.gemm,
            Self::WeightRead => efficiency.weight_read,
            Self::KvRead => efficiency.kv_read,
            Self::PrefillAttention => efficiency.prefill_attention,
            Self::AllReduce => micros(efficiency.nvswitch_latency_per_rank),
            Self::PerLayer => micros(efficiency.per_layer),
            Self::PerSequence => micros(efficiency.per_sequence),
            Self::PromptPerLayer => micros(efficiency.prompt_per_layer),
            Self::ApiLatency => setup.api_latency.as_millis_f64(),
        }
    }

    /// Gives it a value, in its unit.
    pub fn put(self, setup: &mut Setup, value: f64) {
        let efficiency = &mut setup.efficiency;
        let span = |micros: f64| Span((micros * 1e6).round() as u64);
        match self {
            Self::Gemm => efficiency.gemm = value,
            Self::WeightRead => efficiency.weight_read = value,
            Self::KvRead => efficiency.kv_read = value,
            Self::PrefillAttention => efficiency.prefill_attention = value,
            Self::AllReduce => efficiency.nvswitch_latency_per_rank = span(value),
            Self::PerLayer => efficiency.per_layer = span(value),
            Self::PerSequence => efficiency.per_sequence = span(value),
            Self::PromptPerLayer => efficiency.prompt_per_layer = span(value),
            Self::ApiLatency => setup.api_latency = span(value * 1e3),
        }
    }

    /// Where a fit begins: what is published, and where that is nothing, the launch of ten kernels.
    #[must_use]
    pub fn start(self) -> f64 {
        match self {
            Self::PromptPerLayer => 50.0,
            factor => factor.of(&Setup::served()),
        }
    }

    /// What a value may be: a share up to the peak and what clocks above the sheet give, a time up to a second.
    #[must_use]
    pub const fn range(self) -> (f64, f64) {
        match self {
            Self::Gemm | Self::WeightRead | Self::KvRead | Self::PrefillAttention => (1e-3, 1e3),
            Self::AllReduce | Self::PerLayer | Self::PerSequence | Self::PromptPerLayer => (0.0, 1e6),
            Self::ApiLatency => (0.0, 1e6),
        }
    }
}

fn micros(span: Span) -> f64 {
    span.as_millis_f64() * 1e3
}
