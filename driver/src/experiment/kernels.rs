//! Passes priced by kernels that were measured, instead of by the roofline.

use crate::endpoint::EngineArgs;
use crate::profile::Folder;
use kvcache::Span;
use serde_json::{Value, json};
use sim::cost::CostModel;
use sim::cost::deployment::Deployment;
use sim::cost::geometry::{Dtype, Quantization};
use sim::cost::table::{Running, StepTable};
use std::path::Path;

/// The table that prices a case's passes, and where it comes from.
#[derive(Clone, Debug)]
pub struct Kernels {
    table: StepTable,
    /// For the record.
    source: Value,
}

impl Kernels {
    /// Reads a folder of kernels for a deployment; gives also what is odd about it.
    ///
    /// # Errors
    /// What is wrong with the folder, or that it is of another model or precision.
    pub(super) fn read(path: &Path, deployment: &Deployment, args: &EngineArgs) -> Result<(Self, Vec<String>), String> {
        let said = |problem: String| format!("hardware.profile: {problem}");
        let folder = Folder::read(path).map_err(said)?;
        check(&folder, deployment).map_err(|problem| said(format!("{}: {problem}", path.display())))?;
        let running = running(deployment, args);
        let table = folder.cost(running).map_err(said)?;
        let mut warnings = Vec::new();
        let (measured_on, gpu) = (folder.meta.gpu.as_str(), deployment.instance.gpu.name);
        if !plain(measured_on).contains(&plain(gpu)) {
            warnings.push(format!(
                "hardware.profile: kernels of {measured_on} price the passes of a worker on {gpu}: KV blocks, host links and prices are the latter's; set engine.num_gpu_blocks and l1.bandwidth where they differ"
            ));
        }
        let meta = &folder.meta;
        let source = json!({
            "format": "kernels of one layer",
            "path": path.display().to_string(),
            "sha256": folder.sha256,
            "gpu": meta.gpu,
            "model": meta.model,
            "vllm_version": meta.vllm_version,
            "profiled_at": meta.profiled_at,
        });
        Ok((Self { table, source }, warnings))
    }

    /// The cost of passes for which the host works so long.
    #[must_use]
    pub fn cost(&self, host: Span, async_scheduling: bool) -> Box<dyn CostModel> {
        Box::new(self.table.clone().with_host(host, async_scheduling))
    }

    /// For the record.
    #[must_use]
    pub const fn source(&self) -> &Value {
        &self.source
    }
}

fn check(folder: &Folder, deployment: &Deployment) -> Result<(), String> {
    // Names differ where weights do; kernels do not.
    let shape = |model: &sim::cost::geometry::Model| {
        (model.hidden_size, model.intermediate_size, model.layers, model.heads, model.kv_heads, model.vocab_size)
    };
    if shape(&folder.model) != shape(&deployment.model) {
        return Err(format!("kernels of {} cannot price {}", folder.model.name, deployment.model.name));
    }
    if deployment.tp != 1 {
        return Err(format!("kernels of one GPU cannot price a worker of {}", deployment.tp));
    }
    let is_16_bit = matches!(deployment.dtype, Dtype::Bf16 | Dtype::Fp16);
    if deployment.quantization != Quantization::None || !is_16_bit {
        return Err("kernels of 16-bit weights cannot price quantized or 32-bit ones".to_owned());
    }
    Ok(())
}

/// As vLLM's V1 engine runs passes since 0.11: piecewise graphs, and full ones of passes that only decode, for 1, 2 and 4
/// tokens, then multiples of 8 up to 256 and of 16 up to 512, as far as twice the sequences of a pass (`VllmConfig`).
fn running(deployment: &Deployment, args: &EngineArgs) -> Running {
    let most = u64::from(deployment.max_num_seqs).saturating_mul(2).min(512);
    let sizes = [1, 2, 4].into_iter().chain((8..256).step_by(8)).chain((256..=512).step_by(16));
    let eager = args.enforce_eager == Some(true);
    Running {
        captured: if eager { Vec::new() } else { sizes.filter(|size| *size <= most).collect() },
        full_decode_graphs: !eager,
        ..Running::default()
    }
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).flat_map(char::to_lowercase).collect()
}
