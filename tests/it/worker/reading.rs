//! Models from files: what is read is what was written, and what cannot be computed is refused.

use super::bench::{model, prompt};
use super::oracle::{APART, apart, candle, ours};
use crate::support::Folder;
use candle_core::quantized::gguf_file::{Value, write};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use std::collections::HashMap;
use std::sync::Arc;
use worker::model::{Unreadable, read_folder, read_gguf};

/// The tensors of `tiny`, Hugging Face's names.
fn tensors() -> Vec<(String, Tensor)> {
    let shaped = |(name, rows, cols, values): (String, usize, usize, Vec<f32>)| {
        let shape = if name.contains("norm") { vec![cols] } else { vec![rows, cols] };
        (name, Tensor::from_vec(values, shape, &Device::Cpu).expect("it has that shape"))
    };
    model().floats().into_iter().map(shaped).collect()
}

/// As llama.cpp's converter names and orders them: pairs of the rotation side by side.
fn as_gguf(name: &str, tensor: &Tensor) -> (String, Tensor) {
    let heads = match name {
        name if name.contains("q_proj") => 4,
        name if name.contains("k_proj") => 2,
        _ => 0,
    };
    let ordered = if heads > 0 {
        let split = tensor.reshape((heads, 2, 32, 256)).and_then(|t| t.transpose(1, 2)).expect("halves");
        split.contiguous().and_then(|t| t.reshape((heads * 64, 256))).expect("rows")
    } else {
        tensor.clone()
    };
    let mut name = name.to_owned();
    for (from, to) in [
        ("model.embed_tokens", "token_embd"),
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
    (name, ordered)
}

fn metadata(family: &str) -> Vec<(String, Value)> {
    let key = |name: &str| format!("{family}.{name}");
    vec![
        ("general.architecture".into(), Value::String(family.into())),
        ("general.name".into(), Value::String("a tiny one".into())),
        (key("embedding_length"), Value::U32(256)),
        (key("feed_forward_length"), Value::U32(512)),
        (key("block_count"), Value::U32(2)),
        (key("attention.head_count"), Value::U32(4)),
        (key("attention.head_count_kv"), Value::U32(2)),
        (key("attention.layer_norm_rms_epsilon"), Value::F32(1e-5)),
        (key("context_length"), Value::U32(8192)),
        (key("rope.freq_base"), Value::F32(10_000.0)),
    ]
}

fn write_gguf(path: &std::path::Path, metadata: &[(String, Value)], kind: GgmlDType) {
    let tensors: Vec<(String, QTensor)> = tensors()
        .iter()
        .map(|(name, tensor)| {
            let (name, tensor) = as_gguf(name, tensor);
            let kind = if name.contains("norm") { GgmlDType::F32 } else { kind };
            (name, QTensor::quantize(&tensor, kind).expect("it can be quantised"))
        })
        .collect();
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut file = std::fs::File::create(path).expect("a file");
    write(&mut file, &metadata, &tensors).expect("it is written");
}

#[test]
fn every_type_of_a_gguf_file_is_read_as_candle_reads_it() {
    let folder = Folder::new("gguf");
    let tokens = prompt(40, 257, 4);
    for (kind, weights) in [
        (GgmlDType::Q4_0, "q4_0"),
        (GgmlDType::Q4_1, "q4_1"),
        (GgmlDType::Q4K, "q4k"),
        (GgmlDType::Q8_0, "q8_0"),
        (GgmlDType::Q5_0, "q5_0>q8_0"),
        (GgmlDType::Q6K, "q6k>q8_0"),
        (GgmlDType::F16, "f16>q8_0"),
        (GgmlDType::F32, "f32>q8_0"),
    ] {
        let path = folder.path(&format!("{kind:?}.gguf"));
        write_gguf(&path, &metadata("llama"), kind);
        let (read, _) = read_gguf(&path).expect("it is read");
        assert_eq!((read.identity.name.as_str(), read.identity.weights.as_str()), ("a tiny one", weights));
        let exact = !weights.contains('>');
        let floats: HashMap<String, Vec<f32>> =
            read.floats().into_iter().map(|(name, _, _, values)| (name, values)).collect();
        for (name, tensor) in tensors() {
            let of_kind = if name.contains("norm") { GgmlDType::F32 } else { kind };
            let dequantised = QTensor::quantize(&tensor, of_kind).and_then(|t| t.dequantize(&Device::Cpu));
            let expected: Vec<f32> = dequantised.and_then(|t| t.flatten_all()?.to_vec1()).expect("floats");
            let most = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
            let allowed = if exact { 1e-6 * most } else { most / 200.0 };
            for (read, expected) in floats[&name].iter().zip(&expected) {
                assert!((read - expected).abs() <= allowed, "{kind:?} {name}: {read} is {expected}");
            }
        }
        let read = Arc::new(read);
        for (ours, theirs) in ours(&read, &tokens).iter().zip(candle(&read, &tokens)) {
            assert!(apart(ours, &theirs) < APART, "{kind:?}: {} apart", apart(ours, &theirs));
        }
    }
}

#[test]
fn safetensors_beside_a_config_are_read() {
    let folder = Folder::new("hub");
    let all: HashMap<String, Tensor> = tensors().into_iter().collect();
    candle_core::safetensors::save(&all, folder.path("model.safetensors")).expect("it is written");
    let config = serde_json::json!({
        "model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 257, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "max_position_embeddings": 8192, "tie_word_embeddings": true, "unknown": [1],
    });
    let write = |config: &serde_json::Value| std::fs::write(folder.path("config.json"), config.to_string());
    write(&config).expect("it is written");
    let read = Arc::new(read_folder(&folder.path("")).expect("it is read"));
    assert_eq!(read.shape, model().shape);
    let tokens = prompt(40, 257, 5);
    for (ours, theirs) in ours(&read, &tokens).iter().zip(candle(&model(), &tokens)) {
        assert!(apart(ours, &theirs) < APART, "{} apart", apart(ours, &theirs));
    }
    for (key, value, word) in [
        ("model_type", serde_json::json!("gemma3"), "gemma3"),
        ("vocab_size", serde_json::json!(300), "vocabulary"),
        ("hidden_act", serde_json::json!("gelu"), "activation"),
        ("rope_scaling", serde_json::json!({"type": "yarn", "factor": 4.0}), "yarn"),
        ("intermediate_size", serde_json::json!(256), "matrix"),
        ("num_attention_heads", serde_json::json!(3), "heads"),
    ] {
        let mut other = config.clone();
        other[key] = value;
        write(&other).expect("it is written");
        let error = read_folder(&folder.path("")).expect_err("it is refused").to_string();
        assert!(error.contains(word), "{key}: {error}");
    }
}

#[test]
fn what_cannot_be_computed_is_refused() {
    let folder = Folder::new("refused");
    let path = folder.path("model.gguf");
    assert!(matches!(read_gguf(&path), Err(Unreadable::File { .. })));
    std::fs::write(&path, b"GGUF but not really").expect("it is written");
    assert!(matches!(read_gguf(&path), Err(Unreadable::Format(_))));
    write_gguf(&path, &metadata("gemma3"), GgmlDType::Q8_0);
    let error = read_gguf(&path).expect_err("it is refused").to_string();
    assert!(error.contains("gemma3"), "{error}");
    let mut lacking = metadata("llama");
    lacking.retain(|(key, _)| !key.ends_with("block_count"));
    write_gguf(&path, &lacking, GgmlDType::Q8_0);
    let error = read_gguf(&path).expect_err("it is refused").to_string();
    assert!(error.contains("llama.block_count"), "{error}");
    let mut wrong = metadata("llama");
    wrong[3].1 = Value::U32(1024);
    write_gguf(&path, &wrong, GgmlDType::Q8_0);
    let error = read_gguf(&path).expect_err("it is refused").to_string();
    assert!(error.contains("matrix"), "{error}");
    // A file that ends too soon.
    write_gguf(&path, &metadata("llama"), GgmlDType::Q8_0);
    let whole = std::fs::read(&path).expect("it is there");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("it is written");
    assert!(matches!(read_gguf(&path), Err(Unreadable::Format(_))));
}
