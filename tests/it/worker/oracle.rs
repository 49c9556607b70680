//! The same weights in candle's own models, in floats: scores agree as far as 8 bits of activations let them.

use super::bench::{Bench, Sequence, model, prompt};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Config, Llama};
use std::collections::HashMap;
use std::sync::Arc;
use worker::model::Model;

/// How far scores with activations of 8 bits may be from those of floats, as [`apart`] measures it, in a model of random
/// weights, whose scores are close to each other.
pub(super) const APART: f32 = 0.09;

/// Scores after each token.
pub(super) fn candle(model: &Model, tokens: &[u32]) -> Vec<Vec<f32>> {
    let shape = &model.shape;
    let config = Config {
        hidden_size: shape.hidden,
        intermediate_size: shape.inner,
        vocab_size: shape.vocab,
        num_hidden_layers: shape.layers,
        num_attention_heads: shape.heads,
        num_key_value_heads: shape.kv_heads,
        use_flash_attn: false,
        rms_norm_eps: f64::from(shape.eps),
        rope_theta: 10_000.0,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling: None,
        max_position_embeddings: 8192,
        tie_word_embeddings: model.output.is_none(),
    };
    let tensors: HashMap<String, Tensor> = model
        .floats()
        .into_iter()
        .map(|(name, rows, cols, values)| {
            let shape = if name.contains("norm") { vec![cols] } else { vec![rows, cols] };
            (name, Tensor::from_vec(values, shape, &Device::Cpu).expect("it has that shape"))
        })
        .collect();
    let builder = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let llama = Llama::load(builder, &config).expect("a llama");
    let mut cache = Cache::new(true, DType::F32, &config, &Device::Cpu).expect("a cache");
    let mut scores = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let input = Tensor::new(&[[*token]], &Device::Cpu).expect("one token");
        let output = llama.forward(&input, at, &mut cache).expect("scores");
        scores.push(output.flatten_all().and_then(|row| row.to_vec1()).expect("a row"));
    }
    scores
}

/// The root mean square of the difference, by that of the other.
pub(super) fn apart(ours: &[f32], theirs: &[f32]) -> f32 {
    let squares = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>();
    let mean = theirs.iter().sum::<f32>() / theirs.len() as f32;
    (squares(&mut ours.iter().zip(theirs).map(|(a, b)| a - b)) / squares(&mut theirs.iter().map(|x| x - mean))).sqrt()
}

pub(super) fn ours(model: &Arc<Model>, tokens: &[u32]) -> Vec<Vec<f32>> {
    let pages = tokens.len().div_ceil(16);
    let mut bench = Bench::new(model, 16, pages, 1);
    let bits = bench.all(&Sequence::new(tokens.to_vec(), 0..pages as u32));
    bits.into_iter().map(|scores| scores.into_iter().map(f32::from_bits).collect()).collect()
}

#[test]
fn tiny_scores_as_in_candles_llama() {
    let (model, tokens) = (model(), prompt(150, 257, 9));
    let (ours, theirs) = (ours(&model, &tokens), candle(&model, &tokens));
    for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        let apart = apart(ours, theirs);
        assert!(apart < APART, "token {at}: {apart} apart");
    }
}
