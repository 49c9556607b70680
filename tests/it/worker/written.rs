//! Models of the families that are computed, small, from a seed, as files have them.
//!
//! Their weights are those that bf16, f16 and Q8_0 all hold exactly: whole multiples, up to 127, of a power of two, and in
//! each 32 of them one that is 127. So whatever a file's type is, and whoever reads it, computes with the same numbers.

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use serde_json::{Value as Json, json};
use sim::streams::{Stream, Streams};
use std::collections::HashMap;
use std::path::Path;

/// A family, with the traits that tell its models from those of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Llama 3.1: 8 query heads that share 2, long waves slowed, an output of its own.
    Llama3,
    /// Llama 3.2: the same, but that the embedding is the output.
    Llama3Tied,
    /// Qwen2.5 of the small sizes: biases in attention, the embedding is the output.
    Qwen2Tied,
    /// Qwen2.5 of the larger ones.
    Qwen2,
}

pub(super) const FAMILIES: [Family; 4] = [Family::Llama3, Family::Llama3Tied, Family::Qwen2Tied, Family::Qwen2];

pub(super) const LAYERS: usize = 3;
pub(super) const HIDDEN: usize = 256;
pub(super) const INNER: usize = 352;
pub(super) const VOCAB: usize = 320;
pub(super) const CONTEXT: usize = 1024;
/// Llama 3's rule: by how much long waves are slowed, the bounds between long and short, the context that it was trained
/// with. That is 8,192 in real ones; with 64 the rule shows within a test's prompt.
pub(super) const SCALING: [f64; 4] = [8.0, 1.0, 4.0, 64.0];

impl Family {
    pub(super) fn is_llama(self) -> bool {
        matches!(self, Self::Llama3 | Self::Llama3Tied)
    }

    pub(super) fn tied(self) -> bool {
        matches!(self, Self::Llama3Tied | Self::Qwen2Tied)
    }

    /// Query heads, those of keys and values, values of each.
    pub(super) fn heads(self) -> (usize, usize, usize) {
        if self.is_llama() { (8, 2, 32) } else { (4, 2, 64) }
    }

    pub(super) fn theta(self) -> f64 {
        if self.is_llama() { 500_000.0 } else { 1_000_000.0 }
    }

    pub(super) fn eps(self) -> f64 {
        if self.is_llama() { 1e-5 } else { 1e-6 }
    }

    /// `config.json`.
    pub(super) fn config(self) -> Json {
        let (heads, kv_heads, _) = self.heads();
        let mut config = json!({
            "model_type": if self.is_llama() { "llama" } else { "qwen2" },
            "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": LAYERS, "vocab_size": VOCAB,
            "num_attention_heads": heads, "num_key_value_heads": kv_heads, "max_position_embeddings": CONTEXT,
            "rms_norm_eps": self.eps(), "rope_theta": self.theta(), "tie_word_embeddings": self.tied(),
            "hidden_act": "silu", "torch_dtype": "bfloat16", "bos_token_id": 300, "eos_token_id": [301, 302],
        });
        if self.is_llama() {
            let [factor, low, high, trained] = SCALING;
            config["rope_scaling"] = json!({
                "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
                "original_max_position_embeddings": trained as u64,
            });
            config["head_dim"] = json!(HIDDEN / heads);
        } else {
            config["use_sliding_window"] = json!(false);
            config["sliding_window"] = json!(CONTEXT);
            config["max_window_layers"] = json!(LAYERS);
        }
        config
    }

    /// All tensors, by Hugging Face's names, in floats.
    pub(super) fn tensors(self, seed: u64) -> Vec<(String, Tensor)> {
        let mut draws = Streams::new(seed).named("weights");
        let (heads, kv_heads, dim) = self.heads();
        let mut all = vec![
            ("model.embed_tokens.weight".to_owned(), matrix(&mut draws, VOCAB, HIDDEN)),
            ("model.norm.weight".to_owned(), vector(&mut draws, HIDDEN, 1.0, 64.0)),
        ];
        if !self.tied() {
            all.push(("lm_head.weight".to_owned(), matrix(&mut draws, VOCAB, HIDDEN)));
        }
        for layer in 0..LAYERS {
            let name = |what: &str| format!("model.layers.{layer}.{what}");
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                all.push((name(&format!("{norm}.weight")), vector(&mut draws, HIDDEN, 1.0, 64.0)));
            }
            for (what, rows, depth) in [
                ("self_attn.q_proj", heads * dim, HIDDEN),
                ("self_attn.k_proj", kv_heads * dim, HIDDEN),
                ("self_attn.v_proj", kv_heads * dim, HIDDEN),
                ("self_attn.o_proj", HIDDEN, heads * dim),
                ("mlp.gate_proj", INNER, HIDDEN),
                ("mlp.up_proj", INNER, HIDDEN),
                ("mlp.down_proj", HIDDEN, INNER),
            ] {
                all.push((name(&format!("{what}.weight")), matrix(&mut draws, rows, depth)));
                if !self.is_llama() && ["q_proj", "k_proj", "v_proj"].iter().any(|end| what.ends_with(end)) {
                    all.push((name(&format!("{what}.bias")), vector(&mut draws, rows, 0.0, 16.0)));
                }
            }
        }
        all
    }

    /// Writes `config.json` and, in two files as larger models come in, the tensors in bf16.
    pub(super) fn write_folder(self, folder: &Path, config: &Json, tensors: &[(String, Tensor)]) {
        std::fs::write(folder.join("config.json"), config.to_string()).expect("it is written");
        for (at, part) in tensors.chunks(tensors.len().div_ceil(2)).enumerate() {
            let as_bf16 = |(name, tensor): &(String, Tensor)| {
                (name.clone(), tensor.to_dtype(DType::BF16).expect("it can be rounded"))
            };
            let all: HashMap<String, Tensor> = part.iter().map(as_bf16).collect();
            let path = folder.join(format!("model-{:05}-of-00002.safetensors", at + 1));
            candle_core::safetensors::save(&all, path).expect("it is written");
        }
    }

    /// What a GGUF file says besides tensors.
    pub(super) fn metadata(self) -> Vec<(String, Value)> {
        let family = if self.is_llama() { "llama" } else { "qwen2" };
        let (heads, kv_heads, dim) = self.heads();
        let key = |name: &str| format!("{family}.{name}");
        vec![
            ("general.architecture".into(), Value::String(family.into())),
            ("general.name".into(), Value::String("a small one".into())),
            (key("embedding_length"), Value::U32(HIDDEN as u32)),
            (key("feed_forward_length"), Value::U32(INNER as u32)),
            (key("block_count"), Value::U32(LAYERS as u32)),
            (key("attention.head_count"), Value::U32(heads as u32)),
            (key("attention.head_count_kv"), Value::U32(kv_heads as u32)),
            (key("attention.layer_norm_rms_epsilon"), Value::F32(self.eps() as f32)),
            (key("context_length"), Value::U32(CONTEXT as u32)),
            (key("rope.dimension_count"), Value::U32(dim as u32)),
            (key("rope.freq_base"), Value::F32(self.theta() as f32)),
        ]
    }

    /// Writes a GGUF file: matrices of a kind, norms and biases in floats, and what llama.cpp's converter makes of Llama 3's
    /// rule, a factor for each pair.
    pub(super) fn write_gguf(self, path: &Path, tensors: &[(String, Tensor)], kind: GgmlDType) {
        let mut written: Vec<(String, QTensor)> = tensors
            .iter()
            .map(|(name, tensor)| {
                let kind = if tensor.rank() == 1 { GgmlDType::F32 } else { kind };
                let tensor = self.ordered(name, tensor);
                (as_llama_cpp(name), QTensor::quantize(&tensor, kind).expect("it can be quantised"))
            })
            .collect();
        if self.is_llama() {
            let factors = Tensor::new(self.factors().as_slice(), &Device::Cpu).expect("floats");
            let factors = QTensor::quantize(&factors, GgmlDType::F32).expect("floats");
            written.push(("rope_freqs.weight".into(), factors));
        }
        let metadata = self.metadata();
        let metadata: Vec<_> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let tensors: Vec<_> = written.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut file = std::fs::File::create(path).expect("a file");
        gguf_file::write(&mut file, &metadata, &tensors).expect("it is written");
    }

    /// Llama's pairs of the rotation lie side by side in a GGUF file; those of the others as they are.
    fn ordered(self, name: &str, tensor: &Tensor) -> Tensor {
        let (heads, kv_heads, dim) = self.heads();
        let heads = match name {
            name if name.ends_with("q_proj.weight") => heads,
            name if name.ends_with("k_proj.weight") => kv_heads,
            _ => 0,
        };
        if !self.is_llama() || heads == 0 {
            return tensor.clone();
        }
        let split = tensor.reshape((heads, 2, dim / 2, HIDDEN)).and_then(|t| t.transpose(1, 2)).expect("halves");
        split.contiguous().and_then(|t| t.reshape((heads * dim, HIDDEN))).expect("rows")
    }

    /// By what each pair's frequency is divided.
    fn factors(self) -> Vec<f32> {
        let (_, _, dim) = self.heads();
        let [factor, low, high, trained] = SCALING;
        let of = |pair: usize| {
            let frequency = self.theta().powf(-2.0 * pair as f64 / dim as f64);
            let wave = 2.0 * std::f64::consts::PI / frequency;
            if wave < trained / high {
                1.0
            } else if wave > trained / low {
                factor
            } else {
                let smooth = (trained / wave - low) / (high - low);
                1.0 / ((1.0 - smooth) / factor + smooth)
            }
        };
        (0..dim / 2).map(|pair| of(pair) as f32).collect()
    }
}

fn matrix(draws: &mut Stream, rows: usize, depth: usize) -> Tensor {
    let one = |at: usize, draws: &mut Stream| {
        let steps = draws.below(255) as i64 - 127;
        (if at.is_multiple_of(32) { 127 } else { steps }) as f32 / 1024.0
    };
    let values: Vec<f32> = (0..rows * depth).map(|at| one(at, draws)).collect();
    Tensor::from_vec(values, (rows, depth), &Device::Cpu).expect("it has that shape")
}

/// Values about `middle`, up to 31 steps of 1 / `steps` to either side.
fn vector(draws: &mut Stream, length: usize, middle: f32, steps: f32) -> Tensor {
    let values: Vec<f32> = (0..length).map(|_| middle + (draws.below(63) as f32 - 31.0) / steps).collect();
    Tensor::from_vec(values, length, &Device::Cpu).expect("it has that shape")
}

/// llama.cpp's name of a tensor.
fn as_llama_cpp(name: &str) -> String {
    let mut name = name.to_owned();
    for (from, to) in [
        ("model.embed_tokens", "token_embd"),
        ("lm_head", "output"),
        ("model.norm", "output_norm"),
        ("model.layers", "blk"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ] {
        name = name.replace(from, to);
    }
    name
}
