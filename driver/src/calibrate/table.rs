//! A table of measured closed loops: a row says model, GPUs, precision, lengths and concurrency, and mean TTFT and TPOT.
//!
//! The columns are those of AIConfigurator's `silicon_sample.csv`: `backend, backend_version, model_path, system, precision,
//! isl, osl, gemm_quant_mode, batch_size, tp_size, pp_size, silicon_ttft_ms, silicon_tpot_ms`; others are ignored.

use super::closed::{ClosedLoop, Played};
use super::factors::Setup;
use super::fit::{Bench, Kind, Measured};
use crate::bounded;
use crate::failure::Failure;
use crate::threads::{cores, in_order};
use kvcache::Tokens;
use sim::cost::catalogue::{INSTANCES, Instance};
use sim::cost::deployment::{Deployment, EngineSpec};
use sim::cost::geometry::{self, KvDtype, Quantization};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;

/// A measured loop.
#[derive(Clone, Debug)]
pub struct Row {
    /// The engine: `vllm`, `trtllm`, `sglang`.
    pub backend: String,
    /// The profile that it belongs to: engine and version, GPU, precision.
    pub profile: String,
    /// The configuration group: the profile, the model, ranks and lengths. What varies within it is the concurrency.
    pub group: String,
    /// What was done.
    pub closed: ClosedLoop,
    /// Mean TTFT, ms.
    pub ttft: f64,
    /// Mean TPOT, ms.
    pub tpot: f64,
}

/// Reads a table.
///
/// # Errors
/// [`Failure::Invalid`], with the line and what is wrong with it.
pub fn read(path: &Path) -> Result<Vec<Row>, Failure> {
    let said = |why: String| Failure::Invalid(format!("{}: {why}", path.display()));
    let bytes = bounded::read(path, MOST_BYTES).map_err(|error| said(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| said("it is no text in UTF-8".to_owned()))?;
    let at = |line: usize, why: String| Failure::Invalid(format!("{}:{line}: {why}", path.display()));
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (_, names) =
        lines.next().ok_or_else(|| at(1, "the table is empty; a line of column names is expected".to_owned()))?;
    let names: Vec<&str> = names.split(',').map(str::trim).collect();
    let missing: Vec<&str> = NEEDED.into_iter().filter(|name| !names.contains(name)).collect();
    if !missing.is_empty() {
        return Err(at(
            1,
            format!("the columns {} are missing; is this a table of measured loops?", missing.join(", ")),
        ));
    }
    let rows: Result<Vec<Row>, Failure> = lines
        .map(|(number, line)| {
            let fields: BTreeMap<&str, &str> = names.iter().copied().zip(line.split(',').map(str::trim)).collect();
            row(&fields).map_err(|why| at(number + 1, why))
        })
        .collect();
    rows.and_then(|rows| if rows.is_empty() { Err(at(1, "the table has no rows".to_owned())) } else { Ok(rows) })
}

/// More than any table of measurements that a person looks at.
const MOST_BYTES: u64 = 64 << 20;

const NEEDED: [&str; 10] = [
    "backend",
    "model_path",
    "system",
    "precision",
    "isl",
    "osl",
    "batch_size",
    "tp_size",
    "silicon_ttft_ms",
    "silicon_tpot_ms",
];

fn row(fields: &BTreeMap<&str, &str>) -> Result<Row, String> {
    let text = |name: &str| fields.get(name).copied().unwrap_or_default();
    let number = |name: &str| match text(name).parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err(format!("{name}: \"{}\" is no number above 0", text(name))),
    };
    let count = |name: &str| match number(name)? {
        number if number.fract() == 0.0 && number <= 1e7 => Ok(number as u32),
        number => Err(format!("{name}: {number} is no count up to 10,000,000")),
    };
    let [prompt, output, concurrency, tp] = [count("isl")?, count("osl")?, count("batch_size")?, count("tp_size")?];
    if !text("pp_size").is_empty() && count("pp_size")? != 1 {
        return Err("pp_size: pipeline parallelism is not simulated".to_owned());
    }
    let (model, instance) = (model(text("model_path"))?, instance(text("system"))?);
    let quantization = quantization(text("gemm_quant_mode"), text("precision"))?;
    let spec = EngineSpec {
        tp,
        quantization: Some(quantization),
        // InferenceX's servers keep KV in 8 bits, as others with 8-bit weights usually do.
        kv_dtype: if quantization == Quantization::None { KvDtype::Auto } else { KvDtype::Fp8 },
        max_model_len: Some(Tokens(prompt + output + SPARE)),
        max_num_seqs: Some(concurrency),
        max_num_batched_tokens: Some(Tokens(BUDGET.max(concurrency))),
        ..EngineSpec::default()
    };
    let deployment = Deployment::plan(instance, &model, &spec).map_err(|error| format!("failed to {error}"))?;
    let profile = [text("backend"), text("backend_version"), instance.gpu.name, text("precision")];
    let profile = profile.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    Ok(Row {
        backend: text("backend").to_owned(),
        group: format!("{profile} {} tp{tp} {prompt}/{output}", model.name),
        profile,
        closed: ClosedLoop {
            deployment,
            prompt,
            output,
            concurrency,
            protocol: ClosedLoop::protocol_of(prompt, output, concurrency),
        },
        ttft: number("silicon_ttft_ms")?,
        tpot: number("silicon_tpot_ms")?,
    })
}

/// Tokens of a pass, as InferenceX sets them, and as vLLM does by itself on these GPUs.
const BUDGET: u32 = 8_192;

/// By how much InferenceX's `--max-model-len` exceeds prompt and reply.
const SPARE: u32 = 200;

fn model(path: &str) -> Result<geometry::Model, String> {
    // What a checkpoint's name says of its precision is in another column.
    let name = ["-FP8", "-NVFP4", "-FP4"].iter().find_map(|end| path.strip_suffix(end)).unwrap_or(path);
    geometry::find(name).ok_or_else(|| {
        let known: Vec<&str> = geometry::names().collect();
        format!("model_path: \"{path}\" is not known; there is {}", known.join(", "))
    })
}

/// The first instance of the catalogue that has this GPU: `h100_sxm` is an H100.
fn instance(system: &str) -> Result<&'static Instance, String> {
    let wanted = system.split('_').next().unwrap_or_default();
    let of = |instance: &&Instance| instance.gpu.name.eq_ignore_ascii_case(wanted);
    INSTANCES.iter().filter(of).max_by_key(|instance| instance.gpus).ok_or_else(|| {
        let mut known: Vec<&str> = INSTANCES.iter().map(|instance| instance.gpu.name).collect();
        known.dedup();
        format!("system: the GPU \"{wanted}\" is not in the catalogue; there is {}", known.join(", "))
    })
}

fn quantization(mode: &str, precision: &str) -> Result<Quantization, String> {
    match (mode, precision) {
        ("fp8" | "fp8_block" | "fp8_static", _) | ("", "fp8") => Ok(Quantization::Fp8),
        ("nvfp4", _) | ("", "fp4") => Ok(Quantization::Nvfp4),
        ("" | "bfloat16" | "float16" | "bf16" | "fp16", _) => Ok(Quantization::None),
        _ => Err(format!("gemm_quant_mode: \"{mode}\" is not priced; there is fp8, nvfp4, bfloat16")),
    }
}

/// Rows as something to fit to: two figures each, TTFT and TPOT.
pub struct Rows<'a> {
    rows: Vec<&'a Row>,
    measured: Vec<Measured>,
    groups: Vec<&'a str>,
}

impl<'a> Rows<'a> {
    /// These rows.
    #[must_use]
    pub fn new(rows: Vec<&'a Row>) -> Self {
        let mut groups: Vec<&str> = rows.iter().map(|row| row.group.as_str()).collect();
        groups.sort_unstable();
        groups.dedup();
        let measured = rows.iter().flat_map(|row| {
            let group = groups.binary_search(&row.group.as_str()).expect("the list was made of them");
            [(Kind::Ttft, row.ttft), (Kind::Tpot, row.tpot)].map(|(kind, ms)| Measured { group, kind, ms })
        });
        Self { measured: measured.collect(), groups, rows }
    }

    /// Names of the groups.
    #[must_use]
    pub fn groups(&self) -> &[&'a str] {
        &self.groups
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[&'a Row] {
        &self.rows
    }
}

impl Bench for Rows<'_> {
    fn measured(&self) -> &[Measured] {
        &self.measured
    }

    fn simulate(&self, setup: &Setup, wanted: &dyn Fn(usize) -> bool) -> Vec<f64> {
        let jobs: Vec<Option<&Row>> =
            self.rows.iter().enumerate().map(|(row, it)| wanted(self.measured[2 * row].group).then_some(*it)).collect();
        let play =
            |job: &Option<&Row>| -> Result<Option<Played>, Infallible> { Ok(job.map(|row| row.closed.play(setup))) };
        let Ok(played) = in_order(&jobs, cores(), play, |_| ());
        played
            .into_iter()
            .flat_map(|played| played.map_or([f64::NAN; 2], |played| [played.ttft, played.tpot]))
            .collect()
    }
}
