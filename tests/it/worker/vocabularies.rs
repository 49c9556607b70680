//! Text to tokens by the files that models come with: `tokenizer.json`, and what a GGUF file says of the same.

use super::files::{Files, MERGES, SPECIALS, smollm, vocabulary};
use crate::support::Folder;
use candle_core::quantized::gguf_file::{Content, Value, write};
use serde_json::json;
use worker::language::Language;

const TEXTS: [&str; 12] = [
    "hello 1234 hell",
    "12345678",
    "HE'LL he'll 'Ll",
    "xyz xyzzy",
    "tabs\tand\r\n\r\n  lines\n\n   end  ",
    "漢字と仮名 한국어 🙂👩‍👩‍👧",
    "Ünïcödé naïve ſ",
    "e\u{301}cole",
    "fn main() { println!(\"{}\", 1 + 2); }",
    "<|im_start|>user<|eot_id|>",
    "   ",
    "",
];

/// What `tokenizer.json` of Llama 3 and of Qwen2 say of how a text is split before merges.
fn split(digits: &str) -> serde_json::Value {
    let words = format!(
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{{L}}\\p{{N}}]?\\p{{L}}+|{digits}| ?[^\\s\\p{{L}}\\p{{N}}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
    );
    json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": words}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
    ]})
}

/// The same vocabulary in a GGUF file, as llama.cpp's converter writes it.
fn gguf(pre: &str, more: &[(&str, Value)]) -> Language {
    let folder = Folder::new("vocabulary");
    let path = folder.path("model.gguf");
    let texts = |texts: Vec<String>| Value::Array(texts.into_iter().map(Value::String).collect());
    let tokens = vocabulary();
    let kinds = tokens.iter().map(|name| Value::I32(if SPECIALS.contains(&name.as_str()) { 3 } else { 1 })).collect();
    let mut metadata = vec![
        ("tokenizer.ggml.model", Value::String("gpt2".into())),
        ("tokenizer.ggml.pre", Value::String(pre.into())),
        ("tokenizer.ggml.tokens", texts(tokens)),
        ("tokenizer.ggml.token_type", Value::Array(kinds)),
        ("tokenizer.ggml.merges", texts(MERGES.map(|(a, b)| format!("{a} {b}")).to_vec())),
    ];
    metadata.extend(more.iter().cloned());
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let mut file = std::fs::File::create(&path).expect("a file");
    write(&mut file, &metadata, &[]).expect("it is written");
    let content = Content::read(&mut std::fs::File::open(&path).expect("it is there")).expect("it is one");
    Language::from_gguf(&content).expect("it has a language")
}

fn id(name: &str) -> u32 {
    vocabulary().iter().position(|token| token == name).expect("a token") as u32
}

#[test]
fn llama_3s_tokenizer_is_the_same_from_both_files() {
    let [bos, eot] = ["<|begin_of_text|>", "<|eot_id|>"].map(id);
    let hub = Files::split_by("llama-3", split("\\p{N}{1,3}"), true).read();
    let named = [("tokenizer.ggml.bos_token_id", Value::U32(bos)), ("tokenizer.ggml.eos_token_id", Value::U32(eot))];
    for pre in ["llama-bpe", "llama3"] {
        let gguf = gguf(pre, &named);
        for text in TEXTS {
            assert_eq!(gguf.encode(text, false), hub.encode(text, false), "{pre}: {text:?}");
            // A text begins with a token of its own, unless a template has put it there.
            let begun = [vec![bos], hub.encode(text, false)].concat();
            assert_eq!(gguf.encode(text, true), begun, "{pre}: {text:?}");
            let plain = !text.contains("<|");
            assert!(!plain || gguf.decode(&gguf.encode(text, true)) == text, "{pre}: {text:?}");
        }
        assert!(gguf.ends(eot) && !gguf.ends(bos) && !gguf.ends(id("he")));
        assert!(gguf.ends(id("<|im_end|>")), "what ends turns ends a reply, whatever the file names");
    }
    // Three digits at a time, and a word that is a token is one.
    assert_eq!(hub.encode("1234", false), [id("123"), id("4")]);
    assert_eq!(hub.encode("xyz", false), [id("xyz")]);
}

#[test]
fn qwen2s_tokenizer_is_the_same_from_both_files() {
    let hub = Files::split_by("qwen2", split("\\p{N}"), false).read();
    let gguf = gguf("qwen2", &[("tokenizer.ggml.eos_token_id", Value::U32(id("<|im_end|>")))]);
    // Qwen2 composes characters first, which this file here does not say.
    for text in TEXTS.into_iter().filter(|text| !text.contains('\u{301}')) {
        for begin in [false, true] {
            assert_eq!(gguf.encode(text, begin), hub.encode(text, false), "{text:?}");
        }
    }
    assert_eq!(gguf.encode("e\u{301}", false), hub.encode("\u{e9}", false));
    assert_eq!(hub.encode("1234", false), ["1", "2", "3", "4"].map(id));
    assert_eq!(hub.encode("xyz", false), ["x", "y", "z"].map(id), "no merges lead to it");
}

/// Tokens that end a reply are named in several files.
#[test]
fn ends_are_those_of_all_files() {
    let files = Files::new("ends").tokens("<|begin_of_text|>", "<|im_end|>");
    assert!(files.read().ends(id("<|im_end|>")) && !files.read().ends(id("he")));
    files.write("config.json", &json!({"eos_token_id": id("he")}).to_string());
    files.write("generation_config.json", &json!({"eos_token_id": [id("<|eot_id|>"), id("ll")]}).to_string());
    let language = files.read();
    for name in ["<|im_end|>", "he", "<|eot_id|>", "ll"] {
        assert!(language.ends(id(name)), "{name}");
    }
    assert!(!language.ends(id("hell")));
}

#[test]
fn smollm2_splits_digits_and_gives_texts_back() {
    let Some(language) = smollm() else { return };
    assert_eq!(language.encode("Hello", true), [19556]);
    for text in TEXTS.into_iter().filter(|text| !text.contains("<|")) {
        assert_eq!(language.decode(&language.encode(text, true)), text);
    }
    assert_eq!(language.encode("1234", false).len(), 4);
}
