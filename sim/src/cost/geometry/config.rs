//! A Hugging Face `config.json`, and what is refused in one.

use alloc::string::{String, ToString};
use core::fmt;

use kvcache::Tokens;
use serde::Deserialize;
use serde_json::Value;

use super::{AttentionBias, Dtype, Model, Quantization};

/// The fields that decide a model's shape; others are ignored, since every release of `transformers` adds some.
#[derive(Deserialize)]
struct RawConfig {
    #[serde(default)]
    model_type: String,
    hidden_size: u32,
    intermediate_size: u32,
    num_hidden_layers: u32,
    num_attention_heads: u32,
    num_key_value_heads: Option<u32>,
    head_dim: Option<u32>,
    vocab_size: u32,
    max_position_embeddings: u32,
    #[serde(default)]
    tie_word_embeddings: bool,
    attention_bias: Option<bool>,
    torch_dtype: Option<String>,
    // Since transformers 4.56 the field has the shorter name.
    dtype: Option<String>,
    quantization_config: Option<Value>,
    num_experts: Option<Value>,
    num_local_experts: Option<Value>,
    n_routed_experts: Option<Value>,
    kv_lora_rank: Option<Value>,
}

/// Why a `config.json` describes no [`Model`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// It is not JSON, or a field is absent or of another type; the text names it.
    Malformed(String),
    /// A field that may not be zero is, or heads and widths do not divide.
    Impossible(&'static str),
    /// A kind of model that podlab cannot price.
    Unsupported(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("read the model's config.json: ")?;
        match self {
            Self::Malformed(why) => f.write_str(why),
            Self::Impossible(why) => f.write_str(why),
            Self::Unsupported(what) => write!(f, "{what} is not modelled"),
        }
    }
}

impl core::error::Error for ConfigError {}

pub(super) fn parse(name: &str, json: &str) -> Result<Model, ConfigError> {
    let raw: RawConfig = serde_json::from_str(json).map_err(|error| ConfigError::Malformed(error.to_string()))?;
    refuse_other_shapes(&raw)?;
    let kv_heads = raw.num_key_value_heads.unwrap_or(raw.num_attention_heads);
    let sizes = [raw.hidden_size, raw.intermediate_size, raw.num_hidden_layers, raw.vocab_size, kv_heads];
    if sizes.contains(&0) || raw.max_position_embeddings == 0 {
        return Err(ConfigError::Impossible("a size is zero"));
    }
    // Larger figures than any model's, so that products of them stay within 64 bits.
    if sizes.iter().any(|&size| size > 1 << 20) || raw.num_hidden_layers.max(raw.num_attention_heads >> 2) > 1 << 10 {
        return Err(ConfigError::Impossible("a size is beyond any model's"));
    }
    if raw.num_attention_heads == 0 || !raw.num_attention_heads.is_multiple_of(kv_heads) {
        return Err(ConfigError::Impossible("num_key_value_heads must divide num_attention_heads"));
    }
    let head_dim = match raw.head_dim {
        Some(width) if width > 0 && width <= 1 << 12 => width,
        Some(_) => return Err(ConfigError::Impossible("head_dim is out of range")),
        None if !raw.hidden_size.is_multiple_of(raw.num_attention_heads) => {
            return Err(ConfigError::Impossible("num_attention_heads must divide hidden_size"));
        }
        None => raw.hidden_size / raw.num_attention_heads,
    };
    Ok(Model {
        name: name.to_string(),
        hidden_size: raw.hidden_size.into(),
        intermediate_size: raw.intermediate_size.into(),
        layers: raw.num_hidden_layers.into(),
        heads: raw.num_attention_heads.into(),
        kv_heads: kv_heads.into(),
        head_dim: head_dim.into(),
        vocab_size: raw.vocab_size.into(),
        tied_embeddings: raw.tie_word_embeddings,
        attention_bias: attention_bias(&raw),
        dtype: dtype(&raw)?,
        quantization: raw.quantization_config.as_ref().map_or(Ok(Quantization::None), quantization)?,
        max_positions: Tokens(raw.max_position_embeddings),
    })
}

fn refuse_other_shapes(raw: &RawConfig) -> Result<(), ConfigError> {
    let experts = [&raw.num_experts, &raw.num_local_experts, &raw.n_routed_experts];
    if experts.iter().any(|field| field.is_some()) {
        return Err(ConfigError::Unsupported("a mixture of experts".to_string()));
    }
    if raw.kv_lora_rank.is_some() {
        return Err(ConfigError::Unsupported("latent attention".to_string()));
    }
    Ok(())
}

/// Qwen2's code has the bias built in and its config does not mention it.
fn attention_bias(raw: &RawConfig) -> AttentionBias {
    match raw.attention_bias {
        None if raw.model_type == "qwen2" => AttentionBias::Qkv,
        Some(true) => AttentionBias::QkvAndOutput,
        _ => AttentionBias::None,
    }
}

fn dtype(raw: &RawConfig) -> Result<Dtype, ConfigError> {
    let Some(name) = raw.torch_dtype.as_deref().or(raw.dtype.as_deref()) else {
        // What torch gives where a checkpoint does not say.
        return Ok(Dtype::Fp32);
    };
    name.parse().map_err(|_| ConfigError::Unsupported(alloc::format!("dtype `{name}`")))
}

/// `quant_method` and its bits; `compressed-tensors` states the format of each group of layers, and the first decides.
fn quantization(config: &Value) -> Result<Quantization, ConfigError> {
    let method = config["quant_method"].as_str().unwrap_or("?");
    let group = config["config_groups"].as_object().and_then(|groups| groups.values().next());
    let weights = group.map_or(config, |group| &group["weights"]);
    let bits = weights["num_bits"].as_u64().or_else(|| weights["bits"].as_u64());
    match (method, bits, weights["type"].as_str()) {
        ("fp8" | "fbgemm_fp8", _, _) | ("compressed-tensors", Some(8), Some("float")) => Ok(Quantization::Fp8),
        ("compressed-tensors", Some(4), Some("float")) => Ok(Quantization::Nvfp4),
        ("gptq", Some(8), _) | ("compressed-tensors", Some(8), Some("int")) => Ok(Quantization::Int8),
        ("awq", Some(4) | None, _) => Ok(Quantization::Awq),
        ("gptq", Some(4), _) | ("compressed-tensors", Some(4), Some("int")) => Ok(Quantization::Gptq),
        _ => Err(ConfigError::Unsupported(alloc::format!("quantization `{method}`"))),
    }
}
