//! A layer profile: kernels of one layer, measured one by one (LLMServingSim's format).
//!
//! `dense.csv` (layer, tokens, time_us), `attention.csv` (prefill_chunk, kv_prefill, n_decode, kv_decode, time_us) and
//! `per_sequence.csv` (layer, sequences, time_us); `meta.yaml` names model and GPU. A pass is the sum of its kernels: layers
//! times (dense kernels, the norm twice, and attention), then embedding, last norm, output head and sampler. Each row of
//! `attention.csv` is one pass; dense and per-sequence kernels are interpolated between their tokens. Passes of prompts alone and
//! of decoders alone are fitted to; those of both, which are most, are left out and judged: the roofline has attention of both
//! one after the other, which is not what every kernel does.

use super::factors::Setup;
use super::fit::{Bench, Kind, Measured, median};
use crate::bounded;
use crate::failure::Failure;
use crate::hardware::grid::Seen;
use kvcache::{Span, Tokens};
use serde::Deserialize;
use sim::cost::catalogue::{self, Gpu, INSTANCES, Instance};
use sim::cost::deployment::{Deployment, EngineSpec};
use sim::cost::geometry;
use sim::cost::{CostModel, Shape};
use std::collections::BTreeMap;
use std::path::Path;

/// Kernels of a layer, the norm twice.
const IN_LAYER: [&str; 8] =
    ["qkv_proj", "rotary_emb", "o_proj", "gate_up_proj", "act_fn", "down_proj", "layernorm", "layernorm"];

/// More than any profile.
const MOST_BYTES: u64 = 256 << 20;

/// A layer profile.
#[derive(Debug)]
pub struct Layers {
    deployment: Deployment,
    passes: Vec<Shape>,
    measured: Vec<Measured>,
    /// Passes of both kinds of sequences, with their ms.
    mixed: Vec<(Shape, f64)>,
}

#[derive(Debug, Deserialize)]
struct Meta {
    gpu: String,
    model: String,
    #[serde(default)]
    tp_degrees: Vec<u32>,
}

impl Layers {
    /// Reads a folder.
    ///
    /// # Errors
    /// [`Failure::Invalid`], with the file and what is wrong with it.
    pub fn read(folder: &Path) -> Result<Self, Failure> {
        let deployment = deployment(&folder.join("meta.yaml"))?;
        let [dense, ends] = [("dense.csv", "tokens"), ("per_sequence.csv", "sequences")]
            .map(|(name, by)| Ok::<_, Failure>(curves(&read(&folder.join(name), &["layer", by, "time_us"])?)));
        let (dense, ends) = (dense?, ends?);
        let columns = ["prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"];
        let file = folder.join("attention.csv");
        let attention = read(&file, &columns)?;
        let at = |why: String| Failure::Invalid(format!("{}: {why}", file.display()));
        let (mut passes, mut measured, mut mixed) = (Vec::new(), Vec::new(), Vec::new());
        let mut groups: BTreeMap<(u64, u64), usize> = BTreeMap::new();
        for fields in &attention {
            let number = |column: usize| {
                fields[column].parse::<f64>().map_err(|_| at(format!("\"{}\" is no number", fields[column])))
            };
            let [chunk, cached, decoders, context] =
                [number(0)?, number(1)?, number(2)?, number(3)?].map(|count| count as u64);
            let shape = Shape {
                tokens: chunk + decoders,
                samples: decoders + u64::from(chunk > 0),
                decoders,
                context: decoders * context,
                pairs: chunk * cached + chunk * (chunk + 1) / 2,
                prefill_context: if chunk > 0 { cached + chunk } else { 0 },
                squares: chunk * chunk,
                longest: context,
            };
            let layer = sum(&dense, &IN_LAYER, shape.tokens).map_err(at)? + number(4)?;
            let ends = sum(&dense, &["embedding", "final_layernorm"], shape.tokens).map_err(at)?
                + sum(&ends, &["lm_head", "sampler"], shape.samples).map_err(at)?;
            let ms = (deployment.model.layers as f64 * layer + ends) / 1e3;
            if chunk > 0 && decoders > 0 {
                mixed.push((shape, ms));
                continue;
            }
            let next = groups.len();
            let group = *groups.entry((chunk + decoders, cached + context)).or_insert(next);
            passes.push(shape);
            measured.push(Measured { group, kind: Kind::Pass, ms });
        }
        if passes.is_empty() {
            return Err(at("there is no pass of prompts or of decoders alone to fit to".to_owned()));
        }
        Ok(Self { deployment, passes, measured, mixed })
    }

    /// What was measured.
    #[must_use]
    pub const fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// The median size of the errors on passes with prompts and decoders, and how many there are; `None`: there are none.
    #[must_use]
    pub fn mixed(&self, setup: &Setup) -> Option<(usize, f64)> {
        let deployment = Deployment { efficiency: setup.efficiency, ..self.deployment.clone() };
        let model = deployment.roofline(Span::ZERO, false);
        let error = |(pass, ms): &(Shape, f64)| (model.segment(pass).at(pass.context).as_millis_f64() / ms - 1.0).abs();
        Some((self.mixed.len(), median(self.mixed.iter().map(error).collect())?))
    }

    /// Notes its passes.
    pub fn note(&self, seen: &Seen) {
        self.passes.iter().for_each(|pass| seen.note(pass));
    }
}

impl Bench for Layers {
    fn measured(&self) -> &[Measured] {
        &self.measured
    }

    fn simulate(&self, setup: &Setup, _: &dyn Fn(usize) -> bool) -> Vec<f64> {
        let deployment = Deployment { efficiency: setup.efficiency, ..self.deployment.clone() };
        let model = deployment.roofline(Span::ZERO, false);
        self.passes.iter().map(|pass| model.segment(pass).at(pass.context).as_millis_f64()).collect()
    }
}

/// The model on one GPU, with room for one short sequence: only its passes matter.
fn deployment(file: &Path) -> Result<Deployment, Failure> {
    let at = |why: String| Failure::Invalid(format!("{}: {why}", file.display()));
    let bytes = bounded::read(file, MOST_BYTES).map_err(|error| at(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| at("it is no text in UTF-8".to_owned()))?;
    let meta: Meta = serde_saphyr::from_str(&text)
        .map_err(|error| at(error.to_string().lines().next().unwrap_or_default().to_owned()))?;
    let words = |name: &str| name.to_ascii_uppercase().chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let mut gpus = catalogue::gpus().collect::<Vec<Gpu>>();
    // The longest name that fits: an A100-80 is no A100.
    gpus.sort_by_key(|gpu| std::cmp::Reverse(gpu.name.len()));
    let gpu = gpus.iter().find(|gpu| words(&meta.gpu).contains(&words(gpu.name))).ok_or_else(|| {
        let known: Vec<&str> = gpus.iter().map(|gpu| gpu.name).collect();
        at(format!("gpu: \"{}\" is not in the catalogue: {}", meta.gpu, known.join(", ")))
    })?;
    let model = geometry::find(&meta.model).ok_or_else(|| {
        let known: Vec<&str> = geometry::names().collect();
        at(format!("model: \"{}\" is not known; there is {}", meta.model, known.join(", ")))
    })?;
    if meta.tp_degrees.iter().any(|tp| *tp != 1) {
        return Err(at("tp_degrees: only profiles of one GPU are read".to_owned()));
    }
    let instance = Instance { gpu: *gpu, gpus: 1, ..INSTANCES[0] };
    let spec = EngineSpec { max_model_len: Some(Tokens(1_024)), ..EngineSpec::default() };
    Deployment::plan(&instance, &model, &spec).map_err(|error| at(format!("failed to {error}")))
}

/// The fields of these columns, of every line.
fn read(file: &Path, columns: &[&str]) -> Result<Vec<Vec<String>>, Failure> {
    let at = |line: usize, why: String| Failure::Invalid(format!("{}:{line}: {why}", file.display()));
    let bytes = bounded::read(file, MOST_BYTES).map_err(|error| at(1, error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| at(1, "it is no text in UTF-8".to_owned()))?;
    let mut lines = text.lines().map(|line| line.split(',').map(str::trim).collect::<Vec<&str>>());
    let names = lines.next().unwrap_or_default();
    let place = |column: &&str| names.iter().position(|name| name == column);
    let places: Option<Vec<usize>> = columns.iter().map(place).collect();
    let places = places.ok_or_else(|| at(1, format!("the columns {} are expected", columns.join(", "))))?;
    lines
        .enumerate()
        .map(|(number, line)| {
            let field = |place: &usize| line.get(*place).map(|field| (*field).to_owned());
            let fields: Option<Vec<String>> = places.iter().map(field).collect();
            fields.ok_or_else(|| at(number + 2, "a field is missing".to_owned()))
        })
        .collect()
}

type Curves = BTreeMap<String, Vec<(u64, f64)>>;

/// Times by count, of each kernel.
fn curves(rows: &[Vec<String>]) -> Curves {
    let mut curves = Curves::new();
    for row in rows {
        if let (Ok(count), Ok(time)) = (row[1].parse(), row[2].parse()) {
            curves.entry(row[0].clone()).or_default().push((count, time));
        }
    }
    curves.values_mut().for_each(|curve| curve.sort_by_key(|(count, _)| *count));
    curves
}

/// The time of kernels at a count, by linear interpolation between what was measured, and the nearest beyond it.
fn sum(curves: &Curves, kernels: &[&str], count: u64) -> Result<f64, String> {
    let of_kernel = |kernel: &&str| {
        let curve = curves.get(*kernel).ok_or_else(|| format!("the kernel {kernel} was not measured"))?;
        let above = curve.partition_point(|(known, _)| *known < count).min(curve.len() - 1);
        let ((low, from), (high, to)) = (curve[above.saturating_sub(1)], curve[above]);
        let share = if high > low { (count.clamp(low, high) - low) as f64 / (high - low) as f64 } else { 1.0 };
        Ok(from + (to - from) * share)
    };
    kernels.iter().map(of_kernel).sum()
}
