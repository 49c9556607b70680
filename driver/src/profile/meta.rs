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
}

#[derive(Deserialize)]
struct Written {
    model: String,
    gpu: Option<String>,
    vllm_version: Option<String>,
    profiled_at: Option<String>,
    tp_degrees: Option<Vec<u32>>,
}

impl Meta {
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let said = |problem: String| format!("{}: {problem}", file.display());
        let text = bounded::read_text(file, MOST_BYTES)?;
        let written: Written =
            serde_saphyr::from_str(&text).map_err(|problem| said(problem.to_string().replace('\n', " ")))?;
        Ok(Self {
            gpu: written.gpu.unwrap_or_default(),
            model: written.model,
            tp: written.tp_degrees.into_iter().flatten().min().unwrap_or(1),
            vllm_version: written.vllm_version.unwrap_or_default(),
            profiled_at: written.profiled_at.unwrap_or_default(),
        })
    }
}
