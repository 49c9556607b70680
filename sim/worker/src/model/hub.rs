//! Models as Hugging Face has them: `config.json` beside safetensors in f32, f16 or bf16, held as the nearest Q8_0.

use super::stored::nearest;
use super::weights::Identifier;
use super::{Layer, Linear, Model, Rope, Shape, Unreadable};
use crate::kernel::Packed;
use candle_core::safetensors::BufferedSafetensors;
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What `config.json` says, as far as it matters.
#[derive(Debug, Deserialize)]
struct Config {
    model_type: String,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<Scaling>,
    /// Both of the above, in files that transformers 5 writes.
    rope_parameters: Option<Scaling>,
    max_position_embeddings: usize,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    use_sliding_window: bool,
    hidden_act: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Scaling {
    /// Files have the one name, the other, or both.
    rope_type: Option<String>,
    r#type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

/// Reads a model from a folder with `config.json` and `*.safetensors`.
///
/// # Errors
/// Where a file cannot be read, lacks something, or is of another kind of model.
pub fn read_folder(folder: &Path) -> Result<Model, Unreadable> {
    let path = folder.join("config.json");
    let text = std::fs::read(&path).map_err(|error| Unreadable::File { path: path.clone(), error })?;
    let config: Config = serde_json::from_slice(&text)
        .map_err(|error| Unreadable::Unsupported(format!("{}: {error}", path.display())))?;
    let shape = shape(&config)?;
    let mut reader = Reader { files: files(folder)?, seen: Identifier::default() };
    let embedding = reader.matrix("model.embed_tokens.weight")?;
    let output = if config.tie_word_embeddings || !reader.has("lm_head.weight") {
        None
    } else {
        Some(reader.matrix("lm_head.weight")?)
    };
    if embedding.cols() != shape.vocab || embedding.depth() != shape.hidden {
        return Err(Unreadable::Unsupported("an embedding of another size than the vocabulary".into()));
    }
    let norm = reader.floats("model.norm.weight")?;
    let layers = (0..shape.layers).map(|at| reader.layer(at, &shape)).collect::<Result<_, _>>()?;
    reader.seen.held("float>q8_0");
    let name = folder.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned());
    let identity = reader.seen.finish(name, &shape);
    Ok(Model { shape, identity, embedding, layers, norm, output })
}

fn shape(config: &Config) -> Result<Shape, Unreadable> {
    let unsupported = |what: String| Err(Unreadable::Unsupported(what));
    if !["llama", "qwen2"].contains(&config.model_type.as_str()) {
        return unsupported(format!("a model of type {}: llama and qwen2 are computed", config.model_type));
    }
    if config.use_sliding_window {
        return unsupported("attention to a sliding window".into());
    }
    if config.hidden_act.as_deref().is_some_and(|act| act != "silu") {
        return unsupported("an activation other than silu".into());
    }
    let heads = config.num_attention_heads.max(1);
    let dim = config.head_dim.unwrap_or(config.hidden_size / heads);
    let scaling = config.rope_scaling.as_ref().or(config.rope_parameters.as_ref());
    let theta = config.rope_theta.or(scaling.and_then(|scaling| scaling.rope_theta));
    let mut rope = Rope::plain(theta.unwrap_or(10_000.0), dim);
    if let Some(scaling) = scaling {
        let need =
            |what: Option<f64>, name: &str| what.ok_or_else(|| Unreadable::Lacks(format!("rope_scaling.{name}")));
        let kind = scaling.rope_type.as_ref().or(scaling.r#type.as_ref());
        rope = match kind.map_or("default", String::as_str) {
            "default" => rope,
            "linear" => rope.divided(&vec![need(scaling.factor, "factor")? as f32; dim / 2]),
            "llama3" => rope.llama3(
                need(scaling.factor, "factor")?,
                need(scaling.low_freq_factor, "low_freq_factor")?,
                need(scaling.high_freq_factor, "high_freq_factor")?,
                need(scaling.original_max_position_embeddings, "original_max_position_embeddings")?,
            ),
            other => return unsupported(format!("positions scaled by {other}")),
        };
    }
    let shape = Shape {
        layers: config.num_hidden_layers,
        hidden: config.hidden_size,
        inner: config.intermediate_size,
        heads,
        kv_heads: config.num_key_value_heads.unwrap_or(heads),
        dim,
        vocab: config.vocab_size,
        eps: config.rms_norm_eps as f32,
        context: config.max_position_embeddings,
        rope,
    };
    shape.checked()
}

/// All safetensors of a folder, in the order of their names.
fn files(folder: &Path) -> Result<Vec<BufferedSafetensors>, Unreadable> {
    let unreadable = |error| Unreadable::File { path: folder.to_owned(), error };
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|end| end == "safetensors") {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).map_err(|error| Unreadable::File { path, error })?;
        Ok(BufferedSafetensors::new(bytes)?)
    };
    paths.into_iter().map(read).collect()
}

struct Reader {
    files: Vec<BufferedSafetensors>,
    seen: Identifier,
}

impl Reader {
    fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| file.get(name).is_ok())
    }

    fn tensor(&mut self, name: &str) -> Result<Tensor, Unreadable> {
        let file = self.files.iter().find(|file| file.get(name).is_ok());
        let file = file.ok_or_else(|| Unreadable::Lacks(format!("tensor {name}")))?;
        let view = file.get(name)?;
        self.seen.saw(name, &format!("{:?}{:?}", view.dtype(), view.shape()), view.data());
        Ok(file.load(name, &Device::Cpu)?.to_dtype(DType::F32)?)
    }

    fn floats(&mut self, name: &str) -> Result<Vec<f32>, Unreadable> {
        Ok(self.tensor(name)?.flatten_all()?.to_vec1()?)
    }

    fn matrix(&mut self, name: &str) -> Result<Packed, Unreadable> {
        let tensor = self.tensor(name)?;
        let (cols, depth) = tensor.dims2()?;
        let floats = tensor.flatten_all()?.to_vec1::<f32>()?;
        Ok(nearest(cols, depth, |col| &floats[col * depth..][..depth]))
    }

    fn matrices(&mut self, at: usize, names: &[&str]) -> Result<Linear, Unreadable> {
        let (mut parts, mut bias) = (Vec::new(), Vec::new());
        for name in names {
            let name = format!("model.layers.{at}.{name}");
            parts.push(self.matrix(&format!("{name}.weight"))?);
            if self.has(&format!("{name}.bias")) {
                bias.extend(self.floats(&format!("{name}.bias"))?);
            }
        }
        Ok(Linear::new(parts, (!bias.is_empty()).then_some(bias)))
    }

    fn layer(&mut self, at: usize, shape: &Shape) -> Result<Layer, Unreadable> {
        let layer = Layer {
            attention_norm: self.floats(&format!("model.layers.{at}.input_layernorm.weight"))?,
            qkv: self.matrices(at, &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"])?,
            out: self.matrices(at, &["self_attn.o_proj"])?,
            inner_norm: self.floats(&format!("model.layers.{at}.post_attention_layernorm.weight"))?,
            gate_up: self.matrices(at, &["mlp.gate_proj", "mlp.up_proj"])?,
            down: self.matrices(at, &["mlp.down_proj"])?,
        };
        layer.checked(shape)
    }
}
