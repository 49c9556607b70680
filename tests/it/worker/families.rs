//! Llama 3 and Qwen2 from the files that they come in, against candle's own implementations of them, which read the same
//! tensors in floats.

use super::bench::{model, prompt};
use super::oracle::{apart, ours};
use super::written::{CONTEXT, FAMILIES, Family, HIDDEN, INNER, LAYERS, SCALING, VOCAB};
use crate::support::Folder;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Content;
use candle_core::{DType, Device, Tensor};
use candle_nn::{Activation, VarBuilder};
use candle_transformers::models::llama::{Cache, Config, Llama, Llama3RopeConfig, Llama3RopeType};
use candle_transformers::models::{quantized_qwen2, qwen2};
use std::sync::Arc;
use worker::model::{Model, read_folder, read_gguf};

/// How far scores may be from those of floats, root mean square by root mean square: what activations of 8 bits cost. A
/// bias or a rule of positions that is left out costs many times as much (`what_a_family_adds_shows`).
const APART: f32 = 0.05;
/// Longer than the context after which positions are slowed.
const TOKENS: usize = 200;

/// Scores after a token at a place.
type Oracle<'a> = dyn FnMut(&Tensor, usize) -> candle_core::Result<Tensor> + 'a;

/// Scores after each token, in floats.
pub(super) fn expected(family: Family, tensors: &[(String, Tensor)], tokens: &[u32]) -> Vec<Vec<f32>> {
    let builder = VarBuilder::from_tensors(tensors.iter().cloned().collect(), DType::F32, &Device::Cpu);
    let mut next: Box<Oracle<'_>> = if family.is_llama() {
        let config = llama_config(family);
        let llama = Llama::load(builder, &config).expect("a llama");
        let mut cache = Cache::new(true, DType::F32, &config, &Device::Cpu).expect("a cache");
        Box::new(move |input, at| llama.forward(input, at, &mut cache))
    } else {
        let mut qwen = qwen2::ModelForCausalLM::new(&qwen_config(family), builder).expect("a qwen");
        Box::new(move |input, at| qwen.forward(input, at))
    };
    one_by_one(tokens, &mut next)
}

fn one_by_one(tokens: &[u32], next: &mut Oracle<'_>) -> Vec<Vec<f32>> {
    let scores = tokens.iter().enumerate().map(|(at, token)| {
        let input = Tensor::new(&[[*token]], &Device::Cpu).expect("one token");
        next(&input, at).and_then(|scores| scores.flatten_all()?.to_vec1()).expect("a row")
    });
    scores.collect()
}

fn llama_config(family: Family) -> Config {
    let (heads, kv_heads, _) = family.heads();
    let [factor, low, high, trained] = SCALING;
    Config {
        hidden_size: HIDDEN,
        intermediate_size: INNER,
        vocab_size: VOCAB,
        num_hidden_layers: LAYERS,
        num_attention_heads: heads,
        num_key_value_heads: kv_heads,
        use_flash_attn: false,
        rms_norm_eps: family.eps(),
        rope_theta: family.theta() as f32,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling: Some(Llama3RopeConfig {
            factor: factor as f32,
            low_freq_factor: low as f32,
            high_freq_factor: high as f32,
            original_max_position_embeddings: trained as usize,
            rope_type: Llama3RopeType::Llama3,
        }),
        max_position_embeddings: CONTEXT,
        tie_word_embeddings: family.tied(),
    }
}

fn qwen_config(family: Family) -> qwen2::Config {
    let (heads, kv_heads, _) = family.heads();
    qwen2::Config {
        vocab_size: VOCAB,
        hidden_size: HIDDEN,
        intermediate_size: INNER,
        num_hidden_layers: LAYERS,
        num_attention_heads: heads,
        num_key_value_heads: kv_heads,
        max_position_embeddings: CONTEXT,
        sliding_window: CONTEXT,
        max_window_layers: LAYERS,
        tie_word_embeddings: family.tied(),
        rope_theta: family.theta(),
        rms_norm_eps: family.eps(),
        use_sliding_window: false,
        hidden_act: Activation::Silu,
    }
}

/// The most likely token, and by how much more than the next.
fn greedy(scores: &[f32]) -> (usize, f32) {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    (order[0], scores[order[0]] - scores[order[1]])
}

/// Scores are as far apart as may be at most, and greedy tokens equal but where two of the oracle's are as good as tied: its
/// two best closer than two errors of a score. Gives how far apart they were.
pub(super) fn agree(what: &str, ours: &[Vec<f32>], theirs: &[Vec<f32>], bound: f32) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let (mut worst, mut decided) = (0f32, 0);
    for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        let far = apart(ours, theirs);
        assert!(far < bound, "{what}, token {at}: {far} apart");
        worst = worst.max(far);
        let ((our, _), (their, gap)) = (greedy(ours), greedy(theirs));
        let error = ours.iter().zip(theirs).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        if gap > 2.0 * error {
            decided += 1;
            assert_eq!(our, their, "{what}, token {at}");
        }
    }
    assert!(decided * 2 > ours.len(), "{what}: all but {decided} of {} are ties, which tells nothing", ours.len());
    println!("{what}: at most {worst} apart, {decided} of {} greedy tokens decided", ours.len());
    worst
}

pub(super) fn from_folder(family: Family, config: &serde_json::Value, tensors: &[(String, Tensor)]) -> Arc<Model> {
    let folder = Folder::new("families");
    family.write_folder(&folder.path(""), config, tensors);
    Arc::new(read_folder(&folder.path("")).expect("it is read"))
}

#[test]
fn safetensors_of_each_family_score_as_candles_models_do() {
    for (seed, family) in FAMILIES.into_iter().enumerate() {
        let (tensors, tokens) = (family.tensors(seed as u64), prompt(TOKENS, VOCAB, 7));
        let model = from_folder(family, &family.config(), &tensors);
        assert_eq!(model.output.is_none(), family.tied());
        agree(&format!("{family:?}"), &ours(&model, &tokens), &expected(family, &tensors, &tokens), APART);
    }
}

/// One that reads the same numbers from another file computes the same bits; Llama 3's factors are floats in a GGUF file.
#[test]
fn gguf_files_of_each_family_score_as_their_safetensors_do() {
    let folder = Folder::new("family-gguf");
    for (seed, family) in FAMILIES.into_iter().enumerate() {
        let (tensors, tokens) = (family.tensors(seed as u64), prompt(TOKENS, VOCAB, 8));
        let hub = ours(&from_folder(family, &family.config(), &tensors), &tokens);
        for kind in [GgmlDType::Q8_0, GgmlDType::F16, GgmlDType::BF16] {
            let path = folder.path(&format!("{family:?}-{kind:?}.gguf"));
            family.write_gguf(&path, &tensors, kind);
            let gguf = ours(&Arc::new(read_gguf(&path).expect("it is read").0), &tokens);
            if family.is_llama() {
                agree(&format!("{family:?} {kind:?}"), &gguf, &hub, 0.02);
            } else {
                assert!(gguf == hub, "{family:?} {kind:?}: other bits than from safetensors");
            }
        }
        let theirs = expected(family, &tensors, &tokens);
        let path = folder.path(&format!("{family:?}-Q8_0.gguf"));
        let gguf = ours(&Arc::new(read_gguf(&path).expect("it is read").0), &tokens);
        agree(&format!("{family:?} from GGUF"), &gguf, &theirs, APART);
        if !family.is_llama() {
            // candle reads such files, too; its Llama does not know factors of positions.
            let mut file = std::fs::File::open(&path).expect("it is there");
            let content = Content::read(&mut file).expect("it is one");
            let read = quantized_qwen2::ModelWeights::from_gguf(content, &mut file, &Device::Cpu);
            let mut qwen = read.expect("candle reads it");
            let theirs = one_by_one(&tokens, &mut |input, at| qwen.forward(input, at));
            agree(&format!("{family:?} as candle reads the file"), &gguf, &theirs, APART);
        }
    }
}

/// What the comparisons above would show, were it left out.
#[test]
fn what_a_family_adds_shows() {
    let tokens = prompt(TOKENS, VOCAB, 9);
    let worst =
        |ours: &[Vec<f32>], theirs: &[Vec<f32>]| ours.iter().zip(theirs).map(|(a, b)| apart(a, b)).fold(0f32, f32::max);
    for family in FAMILIES {
        let tensors = family.tensors(1);
        let theirs = expected(family, &tensors, &tokens);
        let mut without: Vec<(&str, Arc<Model>)> = Vec::new();
        if family.is_llama() {
            let mut config = family.config();
            config["rope_scaling"] = serde_json::Value::Null;
            without.push(("its rule of positions", from_folder(family, &config, &tensors)));
        } else {
            for part in ["q_proj", "k_proj", "v_proj"] {
                let flat = |(name, tensor): &(String, Tensor)| {
                    let left_out = name.ends_with(&format!("{part}.bias"));
                    let tensor = if left_out { tensor.zeros_like().expect("zeros") } else { tensor.clone() };
                    (name.clone(), tensor)
                };
                let tensors: Vec<_> = tensors.iter().map(flat).collect();
                without.push((part, from_folder(family, &family.config(), &tensors)));
            }
        }
        if !family.tied() {
            let mut config = family.config();
            config["tie_word_embeddings"] = true.into();
            without.push(("its output", from_folder(family, &config, &tensors)));
        }
        for (what, model) in without {
            let apart = worst(&ours(&model, &tokens), &theirs);
            println!("{family:?} without {what}: {apart} apart");
            assert!(apart > 2.0 * APART, "{family:?} without {what}: only {apart} apart");
        }
    }
}

/// Files say the same in several ways.
#[test]
fn a_configuration_may_say_it_in_other_words() {
    let family = Family::Llama3;
    let (config, tensors) = (family.config(), family.tensors(2));
    let expected = from_folder(family, &config, &tensors);
    let mut other = config.clone();
    // As transformers 5 writes it.
    other["rope_parameters"] = config["rope_scaling"].clone();
    other["rope_parameters"]["rope_theta"] = config["rope_theta"].clone();
    (other["rope_scaling"], other["rope_theta"]) = Default::default();
    assert_eq!(from_folder(family, &other, &tensors).shape, expected.shape);
    // Both names of the rule.
    let mut other = config.clone();
    other["rope_scaling"]["type"] = "llama3".into();
    assert_eq!(from_folder(family, &other, &tensors).shape, expected.shape);
    assert_ne!(expected.shape.rope, model().shape.rope);
}
