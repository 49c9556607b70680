//! Tokenizers from GGUF files, where candle's own reading of them differs from what models were trained with.

use crate::model::Unreadable;
use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use std::collections::{BTreeSet, HashMap};
use tokenizers::Tokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;

/// Tokens that end a reply in the families that are computed, besides the one that a file names: what ends a turn, what
/// asks for a tool, what ends a text.
const ENDS: [&str; 5] = ["<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>"];

/// The tokenizer of a file.
///
/// # Errors
/// Where it has none, or one that is not known.
pub(crate) fn tokenizer(content: &Content) -> Result<Tokenizer, Unreadable> {
    let pre = content.metadata.get("tokenizer.ggml.pre").and_then(|pre| pre.to_string().ok());
    match pre.map(String::as_str) {
        Some("smollm") => {
            let mut tokenizer = Tokenizer::from_gguf(content)?;
            as_smollm(&mut tokenizer);
            Ok(tokenizer)
        }
        // What llama.cpp's converter calls the tokenizer of Llama 3; candle knows it by another name.
        Some("llama-bpe" | "llama-v3" | "llama3") => Ok(Tokenizer::from_gguf(&as_llama3(content))?),
        _ => Ok(Tokenizer::from_gguf(content)?),
    }
}

/// Tokens that end a reply, by their names: those of a tokenizer that are special.
pub(crate) fn ends(tokenizer: &Tokenizer) -> BTreeSet<u32> {
    let added = tokenizer.get_added_tokens_decoder();
    let special = |id: &u32| added.get(id).is_some_and(|token| token.special);
    ENDS.iter().filter_map(|name| tokenizer.token_to_id(name)).filter(special).collect()
}

/// SmolLM2 splits digits one by one and puts no space before a text; candle reads its tokenizer as GPT-2's.
fn as_smollm(tokenizer: &mut Tokenizer) {
    let before = Sequence::new(vec![Digits::new(true).into(), ByteLevel::new(false, true, true).into()]);
    tokenizer.with_pre_tokenizer(Some(before));
    tokenizer.with_decoder(Some(ByteLevel::new(true, true, true)));
    tokenizer.with_post_processor(None::<ByteLevel>);
}

/// Llama 3 takes a word that is a token whole, whatever its merges are, and begins a text with a token of its own, which
/// files need not say (llama.cpp knows it by the name, too).
fn as_llama3(content: &Content) -> Content {
    let mut metadata: HashMap<String, Value> = content
        .metadata
        .iter()
        .filter(|(key, _)| key.starts_with("tokenizer."))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    metadata.insert("tokenizer.ggml.pre".into(), Value::String("llama3".into()));
    metadata.entry("tokenizer.ggml.ignore_merges".into()).or_insert(Value::Bool(true));
    metadata.entry("tokenizer.ggml.add_bos_token".into()).or_insert(Value::Bool(true));
    Content { magic: content.magic, metadata, tensor_infos: HashMap::new(), tensor_data_offset: 0 }
}
