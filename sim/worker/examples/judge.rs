//! Lines in, lines out, for comparison with other implementations: `judge MODEL.gguf`.
//!
//! `{"text": ".."}` gives `{"ids": [..]}`; `{"prompt": [ids], "reply": [ids]}` gives, for each token of the reply, the most
//! likely one in its place, given all before it, and how far (in nats) the second is behind: `{"best": [..], "gap": [..]}`.

use std::io::{BufRead, Write};
use worker::kernel::Level;
use worker::language::Language;
use worker::model::{Compute, Model, Part, Want, read_gguf};
use worker::pages::{PageId, PageShape, Pages};

fn main() {
    let path = std::env::args().nth(1).expect("a model");
    let (model, content) = read_gguf(path.as_ref()).expect("a model");
    let language = Language::from_gguf(&content).expect("a tokenizer");
    let mut compute = Compute::new(Level::detect(), 1).expect("threads");
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line: serde_json::Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let told = match line["text"].as_str() {
            Some(text) => serde_json::json!({"ids": language.encode(text, true)}),
            None => {
                let ids = |name: &str| -> Vec<u32> {
                    let ids = line[name].as_array().expect("ids").iter();
                    ids.map(|id| id.as_u64().expect("an id") as u32).collect()
                };
                judge(&model, &mut compute, &ids("prompt"), &ids("reply"))
            }
        };
        writeln!(out, "{told}").expect("somebody reads");
    }
}

fn judge(model: &Model, compute: &mut Compute, prompt: &[u32], reply: &[u32]) -> serde_json::Value {
    let tokens: Vec<u32> = prompt.iter().chain(reply).copied().collect();
    let shape = &model.shape;
    let shape = PageShape { layers: shape.layers, heads: shape.kv_heads, dim: shape.dim, tokens: 16 };
    let count = tokens.len().div_ceil(16);
    let table: Vec<PageId> = (0..count as u32).map(PageId).collect();
    let mut pages = Pages::new(shape, count);
    let (mut best, mut gaps) = (Vec::new(), Vec::new());
    let part = Part { tokens: &tokens[..tokens.len() - 1], start: 0, pages: &table, want: Want::All };
    model.forward(compute, &mut pages, &[part], |_, at, scores| {
        if at + 1 < prompt.len() {
            return;
        }
        let (mut first, mut second) = ((0, f32::NEG_INFINITY), f32::NEG_INFINITY);
        for (token, score) in scores.iter().enumerate() {
            if *score > first.1 {
                second = first.1;
                first = (token, *score);
            } else if *score > second {
                second = *score;
            }
        }
        best.push(first.0);
        gaps.push(first.1 - second);
    });
    serde_json::json!({"best": best, "gap": gaps})
}
