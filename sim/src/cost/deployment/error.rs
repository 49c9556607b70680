//! Why a deployment is refused, phrased to follow "failed to".

use alloc::string::String;
use core::fmt;

use kvcache::{Blocks, Tokens};

/// A model cannot be served on an instance with these settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployError {
    /// The model.
    pub model: String,
    /// The instance.
    pub instance: &'static str,
    /// The reason.
    pub why: Why,
}

/// Reasons to refuse a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A setting is out of range.
    Invalid {
        /// vLLM's name of it, or the resource's.
        setting: &'static str,
        /// What it was set to.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
    /// The pod asks for fewer GPUs than the model is split over.
    TpExceedsPod {
        /// Ranks.
        tp: u32,
        /// GPUs of the pod.
        pod_gpus: u32,
    },
    /// The pod asks for more GPUs than the instance has.
    PodExceedsInstance {
        /// GPUs of the pod.
        pod_gpus: u32,
        /// GPUs of the instance.
        gpus: u32,
    },
    /// A part of the model cannot be split evenly.
    TpDoesNotDivide {
        /// Ranks.
        tp: u32,
        /// What cannot be split.
        what: &'static str,
        /// How many of it there are.
        count: u64,
    },
    /// Weights and working memory leave no room for KV.
    DoesNotFit {
        /// Ranks.
        tp: u32,
        /// Bytes per GPU of weights and working memory.
        needed_bytes: u64,
        /// Bytes per GPU that the engine may use.
        available_bytes: u64,
        /// What would do.
        remedy: Remedy,
    },
    /// The KV cache cannot hold one sequence of `max_model_len`.
    NoRoomForSequence {
        /// The length asked for.
        max_model_len: Tokens,
        /// Blocks that it takes.
        needed: Blocks,
        /// Blocks that requests can use.
        usable: Blocks,
        /// The largest length that fits.
        largest: Tokens,
    },
}

/// What would make a model fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// This tensor-parallel size on the same instance.
    Tp(u32),
    /// Another instance: the cheapest that fits.
    Instance {
        /// Its name.
        name: &'static str,
        /// The tensor-parallel size on it.
        tp: u32,
    },
    /// Nothing in the catalogue would.
    None,
}

/// Bytes as people read them.
struct Gib(u64);

impl fmt::Display for Gib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} GiB", self.0 as f64 / (1u64 << 30) as f64)
    }
}

impl fmt::Display for DeployError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "deploy {} on {}: {}", self.model, self.instance, self.why)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { setting, value, rule } => write!(f, "{setting} {value} {rule}"),
            Self::TpExceedsPod { tp, pod_gpus } => {
                write!(f, "tensor-parallel-size {tp} exceeds the {pod_gpus} GPUs of the pod")
            }
            Self::PodExceedsInstance { pod_gpus, gpus } => {
                write!(f, "a pod of {pod_gpus} GPUs exceeds the {gpus} of the instance")
            }
            Self::TpDoesNotDivide { tp, what, count } => {
                write!(f, "tensor-parallel-size {tp} does not divide {count} {what}")
            }
            Self::DoesNotFit { tp, needed_bytes, available_bytes, remedy } => write!(
                f,
                "with tensor-parallel-size {tp}, weights and working memory take {} per GPU of {} usable; {remedy}",
                Gib(*needed_bytes),
                Gib(*available_bytes)
            ),
            Self::NoRoomForSequence { max_model_len, needed, usable, largest } => write!(
                f,
                "a sequence of max-model-len {} takes {needed} of KV and {usable} fit; the largest max-model-len here \
                 is {}",
                max_model_len.0, largest.0
            ),
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tp(tp) => write!(f, "tensor-parallel-size {tp} would fit"),
            Self::Instance { name, tp } => write!(f, "{name} with tensor-parallel-size {tp} would fit"),
            Self::None => f.write_str("no instance podlab knows would fit"),
        }
    }
}

impl core::error::Error for DeployError {}
