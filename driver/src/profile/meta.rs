//! What was measured, on what.

use crate::bounded;
use serde::Deserialize;
use std::path::Path;

const MOST_BYTES: u64 = 1 << 20;

/// What a profile says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The GPU, as its driver names it.
    pub gpu: String,
    /// The model, by its Hugging Face id.
    pub model: String,
    /// Ranks that shared it.
    pub tp: u32,
    /// Version of vLLM.
    pub vllm_version: String,
    /// When it was measured.
    pub profiled_at: String,
    /// Whether passes were run without CUDA graphs.
    pub eager: bool,
}

#[derive(Deserialize)]
struct Written {
    model: String,
    #[serde(default)]
    gpu: String,
    #[serde(default)]
    vllm_version: String,
    #[serde(default)]
    profiled_at: String,
    #[serde(default)]
    tp_degrees: Vec<u32>,
    #[serde(default)]
    engine_effective: Engine,
}

#[derive(Default, Deserialize)]
struct Engine {
    #[serde(default)]
    enforce_eager: bool,
}

impl Meta {
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let said = |problem: String| format!("{}: {problem}", file.display());
        let text = bounded::read_text(file, MOST_BYTES)?;
        let written: Written =
            serde_saphyr::from_str(&text).map_err(|problem| said(problem.to_string().replace('\n', " ")))?;
        Ok(Self {
            gpu: written.gpu,
            model: written.model,
            tp: written.tp_degrees.into_iter().min().unwrap_or(1),
            vllm_version: written.vllm_version,
            profiled_at: written.profiled_at,
            eager: written.engine_effective.enforce_eager,
        })
    }
}
