//! Folders of a tokenizer's files, and the model that may be there.

use crate::support::{Folder, skipped};
use driver::models::Known;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use worker::language::{Language, Message};
use worker::model::{Unreadable, read_gguf};

pub(super) fn message(role: &str, content: &str) -> Message {
    Message { role: role.into(), content: content.into() }
}

/// SmolLM2's file, where it has been downloaded; where not, that is said.
pub(super) fn smollm_file() -> Option<PathBuf> {
    let known = Known::named("smollm2-135m").expect("it is known by name");
    let path = known.path().ok().filter(|path| path.exists());
    if path.is_none() {
        skipped("no SmolLM2; run podlab model pull smollm2-135m");
    }
    path
}

/// What SmolLM2's file says of its language.
pub(super) fn smollm() -> Option<Language> {
    let (_, content) = read_gguf(&smollm_file()?).expect("it is read");
    Some(Language::from_gguf(&content).expect("it has one"))
}

/// Tokens of the vocabularies here, besides one for each byte: words of several bytes, and by which steps they are merged.
/// The last is a token that no merges lead to.
pub(super) const WORDS: [&str; 10] = ["he", "ll", "hell", "12", "34", "123", "1234", "'l", "'ll", "xyz"];
pub(super) const MERGES: [(&str, &str); 9] =
    [("h", "e"), ("l", "l"), ("he", "ll"), ("1", "2"), ("3", "4"), ("12", "3"), ("12", "34"), ("'", "l"), ("'", "ll")];
/// Special tokens.
pub(super) const SPECIALS: [&str; 6] =
    ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|im_start|>", "<|im_end|>"];

/// The character that stands for a byte in byte-level vocabularies, as GPT-2 has them: what can be seen is itself, and all
/// others follow from 256 on.
fn seen(byte: u8) -> char {
    let visible = |byte: &u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    if visible(&byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|byte| !visible(byte)).count() as u32;
    char::from_u32(256 + before).expect("a character")
}

/// All tokens, in order: bytes, words, specials.
pub(super) fn vocabulary() -> Vec<String> {
    let bytes = (0..=255).map(|byte| seen(byte).to_string());
    bytes.chain(WORDS.map(str::to_owned)).chain(SPECIALS.map(str::to_owned)).collect()
}

/// A folder as Hugging Face has them, without a model.
pub(super) struct Files {
    folder: Folder,
    config: Value,
}

impl Files {
    /// With a byte-level tokenizer that splits as GPT-2's does.
    pub(super) fn new(test: &str) -> Self {
        let byte_level =
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        Self::split_by(test, byte_level, false)
    }

    /// With one that splits as `pre` says.
    pub(super) fn split_by(test: &str, pre: Value, whole_words: bool) -> Self {
        let vocab: BTreeMap<String, usize> =
            vocabulary().into_iter().enumerate().map(|(id, name)| (name, id)).collect();
        let added: Vec<Value> = SPECIALS
            .iter()
            .map(|name| {
                json!({"id": vocab[*name], "content": name, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true})
            })
            .collect();
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
            "pre_tokenizer": pre, "post_processor": null,
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": whole_words,
                "vocab": vocab, "merges": MERGES.map(|(a, b)| json!([a, b])),
            },
        });
        let files = Self { folder: Folder::new(test), config: json!({}) };
        files.write("tokenizer.json", &tokenizer.to_string());
        files
    }

    pub(super) fn template(mut self, template: Value) -> Self {
        self.config["chat_template"] = template;
        self.configured()
    }

    /// The tokens that begin and end a text; one as a name, the other as files may have it, too.
    pub(super) fn tokens(mut self, bos: &str, eos: &str) -> Self {
        self.config["bos_token"] = json!(bos);
        self.config["eos_token"] = json!({"content": eos, "special": true});
        self.configured()
    }

    fn configured(self) -> Self {
        self.write("tokenizer_config.json", &self.config.to_string());
        self
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path(name), text).expect("it is written");
    }

    pub(super) fn try_read(&self) -> Result<Language, Unreadable> {
        Language::from_folder(&self.folder.path(""))
    }

    pub(super) fn read(&self) -> Language {
        self.try_read().expect("it is read")
    }
}
