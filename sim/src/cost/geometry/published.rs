//! Models built in, from their published `config.json` on Hugging Face, so that nothing has to be fetched.

use alloc::string::{String, ToString};

use kvcache::Tokens;

use super::{AttentionBias, Dtype, Model, Quantization};

struct Row {
    /// The id on Hugging Face.
    id: &'static str,
    /// hidden, intermediate, layers, heads, KV heads, vocabulary; every one has heads of hidden / heads.
    shape: [u64; 6],
    tied: bool,
    bias: AttentionBias,
    max_positions: u32,
}

const LLAMA_8B: [u64; 6] = [4_096, 14_336, 32, 32, 8, 128_256];
const LLAMA_70B: [u64; 6] = [8_192, 28_672, 80, 64, 8, 128_256];
const QWEN_7B: [u64; 6] = [3_584, 18_944, 28, 28, 4, 152_064];
const SMOL_135M: [u64; 6] = [576, 1_536, 30, 9, 3, 49_152];

static MODELS: [Row; 12] = [
    llama("meta-llama/Llama-3.1-8B", LLAMA_8B),
    llama("meta-llama/Llama-3.1-8B-Instruct", LLAMA_8B),
    llama("meta-llama/Llama-3.1-70B", LLAMA_70B),
    llama("meta-llama/Llama-3.1-70B-Instruct", LLAMA_70B),
    llama("meta-llama/Llama-3.3-70B-Instruct", LLAMA_70B),
    qwen("Qwen/Qwen2-7B", 131_072),
    qwen("Qwen/Qwen2-7B-Instruct", 32_768),
    qwen("Qwen/Qwen2.5-7B", 131_072),
    qwen("Qwen/Qwen2.5-7B-Instruct", 32_768),
    qwen("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", 131_072),
    smol("HuggingFaceTB/SmolLM2-135M"),
    smol("HuggingFaceTB/SmolLM2-135M-Instruct"),
];

const fn llama(id: &'static str, shape: [u64; 6]) -> Row {
    Row { id, shape, tied: false, bias: AttentionBias::None, max_positions: 131_072 }
}

const fn qwen(id: &'static str, max_positions: u32) -> Row {
    Row { id, shape: QWEN_7B, tied: false, bias: AttentionBias::Qkv, max_positions }
}

const fn smol(id: &'static str) -> Row {
    Row { id, shape: SMOL_135M, tied: true, bias: AttentionBias::None, max_positions: 8_192 }
}

/// The built-in model of this name, under its published id.
///
/// Knows Hugging Face ids with or without the organisation, their older spellings (`Meta-Llama-3.1-8B-Instruct`), and
/// the names of Kubernetes objects and of JumpStart, where dots are dashes (`deepseek-llm-r1-distill-qwen-7b`,
/// `meta-textgeneration-llama-3-1-8b-instruct`). A name that says a quantization (`...-FP8`) is another checkpoint, and
/// not found. `None` for a name that is not in [`names`]; a caller can offer the nearest of those.
#[must_use]
pub fn find(name: &str) -> Option<Model> {
    let wanted = normal_form(name);
    MODELS.iter().find(|row| normal_form(row.id) == wanted).map(build)
}

/// The ids that [`find`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    MODELS.iter().map(|row| row.id)
}

/// Letters and digits of the last part of an id, without the words that say who published it or what it is for.
fn normal_form(name: &str) -> String {
    const NOISE: [&str; 5] = ["meta", "textgeneration", "huggingface", "llm", "hf"];
    let last = name.trim().rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    last.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !NOISE.contains(word)).collect()
}

fn build(row: &Row) -> Model {
    let [hidden_size, intermediate_size, layers, heads, kv_heads, vocab_size] = row.shape;
    Model {
        name: row.id.to_string(),
        hidden_size,
        intermediate_size,
        layers,
        heads,
        kv_heads,
        head_dim: hidden_size / heads,
        vocab_size,
        tied_embeddings: row.tied,
        attention_bias: row.bias,
        dtype: Dtype::Bf16,
        quantization: Quantization::None,
        max_positions: Tokens(row.max_positions),
    }
}
