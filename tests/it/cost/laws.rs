//! Durations of passes: laws that hold for every shape, and two figures by hand.

use kvcache::{Span, Tokens};
use proptest::prelude::*;
use sim::cost::deployment::{Deployment, EngineSpec};
use sim::cost::geometry::Quantization;
use sim::cost::roofline::Roofline;
use sim::cost::{CostModel, Shape};

use super::{instance, model};

fn deployment(on: &str, of: &str, tp: u32) -> Deployment {
    let spec = EngineSpec { tp, max_model_len: Some(Tokens(8_192)), ..EngineSpec::default() };
    Deployment::plan(&instance(on), &model(of), &spec).expect("fits")
}

fn cost(on: &str, of: &str, tp: u32) -> Roofline {
    deployment(on, of, tp).roofline(Span::ZERO, false)
}

fn duration(cost: &Roofline, shape: &Shape) -> Span {
    cost.segment(shape).at(shape.context)
}

fn decode(sequences: u64, context: u64) -> Shape {
    Shape { tokens: sequences, samples: sequences, decoders: sequences, context, ..Shape::default() }
}

/// Shapes of every size: large ones take hundreds of milliseconds, small ones less than a host needs.
fn shapes() -> impl Strategy<Value = Shape> {
    let most = Shape {
        tokens: 20_000,
        samples: 2_000,
        decoders: 2_000,
        context: 10_000_000,
        pairs: 2_000_000_000,
        prefill_context: 2_000_000,
        squares: 200_000_000,
        longest: 1_000_000,
    };
    (any::<[u32; 8]>(), 0..20u32).prop_map(move |(draws, smaller)| {
        let [tokens, samples, decoders, context, pairs, prefill_context, squares, longest] =
            draws.map(|draw| u64::from(draw >> smaller));
        Shape {
            tokens: (most.tokens * tokens) >> 32,
            samples: (most.samples * samples) >> 32,
            decoders: (most.decoders * decoders) >> 32,
            context: (most.context * context) >> 32,
            pairs: (most.pairs * pairs) >> 32,
            prefill_context: (most.prefill_context * prefill_context) >> 32,
            squares: (most.squares * squares) >> 32,
            longest: (most.longest * longest) >> 32,
        }
    })
}

/// Every kind of link, precision and host: what a roofline can be made of.
fn costs() -> impl Strategy<Value = Roofline> {
    let made = proptest::sample::select(vec![
        ("g5.4xlarge", "Qwen2-7B", 1),
        ("g5.24xlarge", "Qwen2-7B", 4),
        ("p5.48xlarge", "Llama-3.1-70B", 8),
        ("p4d.24xlarge", "Llama-3.1-8B", 2),
        ("g6e.4xlarge", "SmolLM2-135M", 1),
    ]);
    (made, 0..40_000_000_000u64, any::<bool>())
        .prop_map(|((on, of, tp), host, overlapped)| deployment(on, of, tp).roofline(Span(host), overlapped))
}

proptest! {
    #[test]
    fn more_work_never_takes_less_time(cost in costs(), shape in shapes(), more in shapes(), field in 0..6usize) {
        let mut grown = shape;
        match field {
            0 => grown.tokens += more.tokens,
            1 => grown.samples += more.samples,
            2 => grown.decoders += more.decoders,
            3 => grown.context += more.context,
            4 => grown.pairs += more.pairs,
            _ => grown.prefill_context += more.prefill_context,
        }
        prop_assert!(duration(&cost, &grown) >= duration(&cost, &shape));
    }

    #[test]
    fn a_line_gives_what_asking_again_would(cost in costs(), shape in shapes(), growth in 0..10_000_000u64) {
        let line = cost.segment(&shape);
        prop_assert!(line.valid_to >= shape.context, "it holds for the context that was asked about");
        for context in [shape.context, (shape.context + growth).min(line.valid_to), line.valid_to.min(1 << 40)] {
            let there = Shape { context, ..shape };
            prop_assert_eq!(line.at(context), cost.segment(&there).at(context));
        }
    }
}

#[test]
fn overlapped_host_work_counts_only_where_it_is_longer() {
    let deployment = deployment("p5.48xlarge", "Llama-3.1-8B", 1);
    let host = Span::from_millis(10);
    let overlapped = deployment.roofline(host, true);
    let (gpu, between) = (deployment.roofline(Span::ZERO, false), deployment.roofline(host, false));
    let (short, long) = (decode(4, 4_000), decode(4, 4_000_000));
    assert!(duration(&gpu, &short) < host && duration(&gpu, &long) > host);
    assert_eq!(duration(&overlapped, &short), host);
    assert_eq!(duration(&overlapped, &long), duration(&gpu, &long));
    assert_eq!(duration(&between, &short), duration(&gpu, &short) + host);
    let crossing = overlapped.segment(&short).valid_to;
    let at = |context| duration(&gpu, &Shape { context, ..short });
    assert!(at(crossing) <= host && at(crossing + 1) > host, "the line ends where the GPU becomes the slower");
}

#[test]
fn decode_reads_keys_and_values_at_nine_tenths_of_the_bandwidth() {
    // 131,072 bytes a token over 0.9 * 3,350 GB/s is 43.473 ns; a rank of eight with 40,960 bytes takes 13.585 ns.
    assert_eq!(cost("p5.48xlarge", "Llama-3.1-8B", 1).segment(&decode(1, 1)).slope, Span(43_473));
    assert_eq!(cost("p5.48xlarge", "Llama-3.1-70B", 8).segment(&decode(1, 1)).slope, Span(13_585));
}

#[test]
fn weights_are_read_once_for_prefill_and_decode() {
    let cost = cost("p5.48xlarge", "Llama-3.1-8B", 1);
    let chunk = Shape { tokens: 64, samples: 0, pairs: 64 * 65 / 2, prefill_context: 64, ..Shape::default() };
    let both = Shape { tokens: 65, samples: 1, decoders: 1, context: 1, ..chunk };
    let apart = duration(&cost, &chunk) + duration(&cost, &decode(1, 1));
    // The linear layers' 6.98 G weights at 2 bytes over 0.85 * 3,350 GB/s: 4.90 ms, and the constants of a second pass.
    let saved = apart - duration(&cost, &both);
    assert!((saved.as_millis_f64() - 4.90 - 0.484).abs() < 0.01, "{saved} saved");
}

#[test]
fn the_head_is_priced_for_samples_only() {
    let cost = cost("p5.48xlarge", "Llama-3.1-8B", 1);
    let chunk = Shape { tokens: 512, ..Shape::default() };
    let head = duration(&cost, &Shape { samples: 1, ..chunk }) - duration(&cost, &chunk);
    // 525.3 M weights at 2 bytes over 0.85 * 3,350 GB/s; the sampler adds half a microsecond.
    assert!((head.as_millis_f64() - 0.3690).abs() < 0.001, "{head}");
}

#[test]
fn a_cached_prefix_still_costs_attention() {
    let cost = cost("p5.48xlarge", "Llama-3.1-70B", 8);
    let chunk = |cached: u64| Shape {
        tokens: 8_192,
        pairs: 8_192 * cached + 8_192 * 8_193 / 2,
        prefill_context: cached + 8_192,
        ..Shape::default()
    };
    let (cold, hit) = (duration(&cost, &chunk(0)), duration(&cost, &chunk(57_344)));
    assert!(hit.as_secs_f64() > 1.5 * cold.as_secs_f64(), "{cold} with no prefix, {hit} with 56K cached");
}

#[test]
fn splitting_pays_over_nvlink_and_costs_over_the_host() {
    let prompt = Shape { tokens: 2_048, pairs: 2_048 * 2_049 / 2, prefill_context: 2_048, ..Shape::default() };
    let speedup =
        |on, of| duration(&cost(on, of, 1), &prompt).as_secs_f64() / duration(&cost(on, of, 4), &prompt).as_secs_f64();
    let (nvlink, host) = (speedup("p4d.24xlarge", "Qwen2-7B"), speedup("g5.24xlarge", "Qwen2-7B"));
    assert!(nvlink > 2.5, "{nvlink} over NVLink");
    assert!(host < 2.0, "{host} through the host");
}

#[test]
fn eight_bits_halve_what_they_shrink() {
    let quantized = |on, quantization| {
        let spec = EngineSpec {
            quantization: Some(quantization),
            max_model_len: Some(Tokens(8_192)),
            ..EngineSpec::default()
        };
        let plan = Deployment::plan(&instance(on), &model("Llama-3.1-8B"), &spec).expect("fits");
        plan.roofline(Span::ZERO, false)
    };
    let prompt = Shape { tokens: 8_192, ..Shape::default() };
    let ratio = |on, quantization, shape: &Shape| {
        duration(&quantized(on, quantization), shape).as_secs_f64()
            / duration(&quantized(on, Quantization::None), shape).as_secs_f64()
    };
    assert!(ratio("p5.48xlarge", Quantization::Fp8, &prompt) < 0.6, "FP8 tensor cores");
    assert!(ratio("p4d.24xlarge", Quantization::Fp8, &prompt) > 0.99, "A100 widens FP8 weights");
    assert!(ratio("p4d.24xlarge", Quantization::Fp8, &decode(1, 1)) < 0.65, "but reads half the bytes");
    assert!(ratio("p5.48xlarge", Quantization::Awq, &prompt) > 0.99, "4 bits are widened");
    assert!(ratio("p5.48xlarge", Quantization::Awq, &decode(1, 1)) < 0.45, "4 bits are read as such");
}
