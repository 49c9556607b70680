//! Models: how many bytes and operations a token takes.
//!
//! A [`Model`] is a dense decoder of Llama's shape: attention with grouped keys and values, a gated MLP of three
//! matrices, two norms a layer. Llama, Qwen2, Qwen2.5, Mistral and SmolLM are of this shape. Counts are exact for them;
//! a test holds them against the published parameter counts.

use alloc::string::String;

use kvcache::Tokens;

mod config; // a Hugging Face config.json
mod dtype; // bytes per number
mod published; // models built in

pub use config::ConfigError;
pub use dtype::{Dtype, KvDtype, Quantization, UnknownName};
pub use published::{find, names};

/// Which projections of attention carry a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionBias {
    /// None does (Llama).
    None,
    /// Queries, keys and values (Qwen2).
    Qkv,
    /// The output projection too (a Llama config with `attention_bias: true`).
    QkvAndOutput,
}

/// The shape of a model, as its `config.json` gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// The name by which it was asked for, or its published one.
    pub name: String,
    /// Width of the residual stream.
    pub hidden_size: u64,
    /// Width of the MLP.
    pub intermediate_size: u64,
    /// Layers.
    pub layers: u64,
    /// Heads of queries.
    pub heads: u64,
    /// Heads of keys and values.
    pub kv_heads: u64,
    /// Width of a head.
    pub head_dim: u64,
    /// Tokens in the vocabulary.
    pub vocab_size: u64,
    /// Whether the output head reuses the embedding's weights.
    pub tied_embeddings: bool,
    /// Biases of attention.
    pub attention_bias: AttentionBias,
    /// Numbers in the checkpoint.
    pub dtype: Dtype,
    /// How the checkpoint's linear layers are quantized.
    pub quantization: Quantization,
    /// The longest context the model was made for (`max_position_embeddings`).
    pub max_positions: Tokens,
}

impl Model {
    /// Parses a Hugging Face `config.json`.
    ///
    /// # Errors
    /// Where the text is not such a file, or describes a model of another shape (mixture of experts, a size of zero).
    pub fn from_config(name: &str, json: &str) -> Result<Self, ConfigError> {
        config::parse(name, json)
    }

    /// Number of parameters.
    #[must_use]
    pub const fn parameters(&self) -> u64 {
        self.shard(1).parameters()
    }

    /// Bytes of all weights at this precision.
    #[must_use]
    pub const fn weight_bytes(&self, dtype: Dtype, quantization: Quantization) -> u64 {
        self.shard(1).weight_bytes(dtype, quantization)
    }

    /// Bytes of keys and values of one token: `2 * layers * kv_heads * head_dim * bytes`.
    #[must_use]
    pub const fn kv_bytes_per_token(&self, dtype: Dtype, kv_dtype: KvDtype) -> u64 {
        self.shard(1).kv_bytes_per_token(dtype, kv_dtype)
    }

    /// Operations of the linear layers per token, the output head apart: two per weight.
    #[must_use]
    pub const fn linear_flops_per_token(&self) -> u64 {
        2 * self.shard(1).linear_params
    }

    /// Operations of the output head per token that is sampled.
    #[must_use]
    pub const fn head_flops_per_sample(&self) -> u64 {
        2 * self.hidden_size * self.vocab_size
    }

    /// Operations of attention per query-key pair: a multiply and an add for the score, and again for the value.
    #[must_use]
    pub const fn attention_flops_per_pair(&self) -> u64 {
        4 * self.layers * self.heads * self.head_dim
    }

    /// What one of `tp` tensor-parallel ranks holds. `tp` must divide the heads, and divide or be divided by the
    /// heads of keys and values: [`Deployment::plan`](super::deployment::Deployment::plan) checks that.
    #[must_use]
    pub const fn shard(&self, tp: u64) -> Shard {
        let heads = self.heads / tp;
        // With more ranks than such heads, ranks keep copies, as vLLM does.
        let kv_heads = if self.kv_heads > tp { self.kv_heads / tp } else { 1 };
        let qkv = (heads + 2 * kv_heads) * self.head_dim;
        let attention = self.hidden_size * (qkv + heads * self.head_dim);
        let mlp = 3 * self.hidden_size * (self.intermediate_size / tp);
        let bias = match self.attention_bias {
            AttentionBias::None => 0,
            AttentionBias::Qkv => qkv,
            AttentionBias::QkvAndOutput => qkv + self.hidden_size,
        };
        let tables = if self.tied_embeddings { 1 } else { 2 };
        Shard {
            layers: self.layers,
            heads,
            kv_heads,
            head_dim: self.head_dim,
            linear_params: self.layers * (attention + mlp),
            vector_params: self.layers * (2 * self.hidden_size + bias) + self.hidden_size,
            table_params: tables * self.hidden_size * self.vocab_size.div_ceil(tp),
        }
    }
}

/// The part of a model that one tensor-parallel rank holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Layers: every rank has all of them.
    pub layers: u64,
    /// Heads of queries.
    pub heads: u64,
    /// Heads of keys and values, copies included.
    pub kv_heads: u64,
    /// Width of a head.
    pub head_dim: u64,
    /// Weights of the linear layers.
    pub linear_params: u64,
    /// Norms (on every rank) and biases.
    pub vector_params: u64,
    /// Embedding and output head, split over the vocabulary.
    pub table_params: u64,
}

impl Shard {
    /// Number of parameters.
    #[must_use]
    pub const fn parameters(&self) -> u64 {
        self.linear_params + self.vector_params + self.table_params
    }

    /// Bytes of its weights. Embedding, head and norms are not quantized, as in published AWQ, GPTQ and FP8
    /// checkpoints.
    #[must_use]
    pub const fn weight_bytes(&self, dtype: Dtype, quantization: Quantization) -> u64 {
        quantization.linear_bytes(self.linear_params, dtype) + (self.vector_params + self.table_params) * dtype.bytes()
    }

    /// Bytes of keys and values of one token on this rank.
    #[must_use]
    pub const fn kv_bytes_per_token(&self, dtype: Dtype, kv_dtype: KvDtype) -> u64 {
        2 * self.layers * self.kv_heads * self.head_dim * kv_dtype.bytes(dtype)
    }
}
