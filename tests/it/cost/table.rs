//! Durations from measured kernels: the table is kept where it was measured, its lines are those of single passes, and what is
//! beyond it is said.

use kvcache::Span;
use proptest::prelude::*;
use sim::cost::table::{Attention, InvalidProfile, Layers, Profile, Running, StepTable};
use sim::cost::{Axis, CostModel, Shape};

const LAYERS: Layers = Layers { count: 4, heads: 8, kv_heads: 2 };
const CHUNKS: [u64; 5] = [0, 16, 64, 256, 1_024];
const CACHED: [u64; 4] = [0, 16, 256, 4_096];
const DECODERS: [u64; 6] = [0, 1, 4, 16, 64, 128];
const CONTEXTS: [u64; 5] = [16, 64, 256, 1_024, 4_096];

/// A token of context on a busy device; a token of one block by itself; blocks at a time; all in microseconds.
const BUSY: f64 = 0.004;
const ALONE: f64 = 0.03;
const AT_A_TIME: f64 = 40.0;

/// A device whose kernels follow simple rules.
fn attention(chunk: u64, cached: u64, decoders: u64, context: u64) -> f64 {
    let [chunk, cached, decoders, context] = [chunk, cached, decoders, context].map(|count| count as f64);
    let prompts = 0.000_5 * chunk * (cached + chunk / 2.0);
    // Beside a chunk nothing is split, and a query head is a block.
    let blocks = LAYERS.heads as f64 * decoders;
    let waves = if chunk > 0.0 { (blocks / AT_A_TIME).max(1.0) * ALONE * context } else { 0.0 };
    8.0 + prompts + if decoders > 0.0 { waves.max(BUSY * decoders * context) } else { 0.0 }
}

/// What a pass of decoders takes beside reading their contexts.
fn attention_of_equals() -> f64 {
    attention(0, 0, 0, 0)
}

fn profile() -> Profile {
    let sizes = [1, 8, 64, 512, 2_048];
    let dense =
        |name: &str, fixed: f64, per_token: f64| sizes.map(|at| (name.to_owned(), at, fixed + per_token * at as f64));
    let mut rows = Vec::new();
    for chunk in CHUNKS {
        for cached in CACHED.into_iter().filter(|cached| chunk > 0 || *cached == 0) {
            for decoders in DECODERS {
                for context in CONTEXTS.into_iter().filter(|context| decoders > 0 || *context == CONTEXTS[0]) {
                    // As profilers do, most decoders beside a chunk are left out.
                    if chunk + decoders == 0 || (chunk > 0 && decoders == 128) {
                        continue;
                    }
                    let context = if decoders == 0 { 0 } else { context };
                    let time = attention(chunk, cached, decoders, context);
                    rows.push(Attention { chunk, cached: cached as f64, decoders, context, time });
                }
            }
        }
    }
    let names = [
        ("layernorm", 2.0, 0.01),
        ("qkv_proj", 10.0, 0.02),
        ("o_proj", 5.0, 0.01),
        ("gate_up_proj", 10.0, 0.01),
        ("down_proj", 5.0, 0.01),
        ("embedding", 3.0, 0.02),
        ("final_layernorm", 2.0, 0.01),
    ];
    let per = |name: &str, fixed: f64| [1, 16, 128].map(|at| (name.to_owned(), at, fixed + at as f64));
    Profile {
        dense: names.into_iter().flat_map(|(name, fixed, per_token)| dense(name, fixed, per_token)).collect(),
        per_sequence: per("lm_head", 90.0).into_iter().chain(per("sampler", 20.0)).collect(),
        attention: rows,
    }
}

pub(super) fn table(running: Running) -> StepTable {
    StepTable::new(&profile(), LAYERS, running).expect("the profile is whole")
}

pub(super) fn graphs() -> Running {
    Running { captured: vec![1, 2, 4, 8, 16, 32, 64, 128], ..Running::default() }
}

fn decode(decoders: u64, context: u64, longest: u64) -> Shape {
    Shape { tokens: decoders, samples: decoders, decoders, context, longest, ..Shape::default() }
}

fn micros(model: &StepTable, shape: &Shape) -> f64 {
    model.segment(shape).at(shape.context).0 as f64 / 1e6
}

/// All but attention, of so many tokens and samples.
fn linear(tokens: f64, samples: f64) -> f64 {
    let layer = 2.0 * (2.0 + 0.01 * tokens) + 30.0 + 0.05 * tokens;
    let once = 3.0 + 0.02 * tokens + 2.0 + 0.01 * tokens;
    let sampling = if samples > 0.0 { 110.0 + 2.0 * samples } else { 0.0 };
    4.0 * layer + once + sampling
}

#[test]
fn passes_that_were_measured_last_as_long_as_they_did() {
    let eager = table(Running::default());
    for decoders in DECODERS.into_iter().skip(1) {
        for context in CONTEXTS {
            let expected = linear(decoders as f64, decoders as f64) + 4.0 * attention(0, 0, decoders, context);
            // Contexts alike: nobody waits for the longest, but for a last wave of blocks that do not fill the device.
            let took = micros(&eager, &decode(decoders, decoders * context, context));
            assert!(
                (took / expected - 1.0).abs() < 1e-6 || took > expected,
                "{decoders} of {context}: {took} {expected}"
            );
            assert!(
                decoders < 16 || (took / expected - 1.0).abs() < 0.08,
                "{decoders} of {context}: {took} {expected}"
            );
        }
    }
    for chunk in CHUNKS.into_iter().skip(1) {
        for cached in CACHED {
            for (decoders, context) in [(0, 0), (1, 64), (16, 1_024), (64, 256)] {
                let prompt = Shape::chunk(cached, chunk);
                let shape = Shape {
                    tokens: chunk + decoders,
                    samples: decoders,
                    decoders,
                    context: decoders * context,
                    longest: context,
                    ..prompt
                };
                let expected = linear((chunk + decoders) as f64, decoders as f64)
                    + 4.0 * attention(chunk, cached, decoders, context);
                let took = micros(&eager, &shape);
                assert!((took / expected - 1.0).abs() < 1e-6, "{chunk} behind {cached}, {decoders}: {took} {expected}");
            }
        }
    }
}

#[test]
fn several_chunks_count_as_one_of_as_many_pairs() {
    let eager = table(Running::default());
    let (one, two) = (Shape::chunk(0, 256), Shape::chunk(0, 512));
    let both = Shape {
        tokens: one.tokens + two.tokens,
        pairs: one.pairs + two.pairs,
        squares: one.squares + two.squares,
        prefill_context: one.prefill_context + two.prefill_context,
        ..Shape::default()
    };
    let took = micros(&eager, &both) - linear(768.0, 0.0);
    let chunk = (256.0_f64 * 256.0 + 512.0 * 512.0).sqrt();
    let cached = both.pairs as f64 / chunk - (chunk + 1.0) / 2.0;
    let expected = 4.0 * eager.attention(chunk, cached, 0.0, 0.0);
    assert!((took - expected).abs() < 1e-3, "{took} {expected}");
    // Of two passes with as many tokens, the one whose chunks are longer does more.
    let halves =
        Shape { tokens: 768, pairs: 2 * Shape::chunk(0, 384).pairs, squares: 2 * 384 * 384, ..Shape::default() };
    assert!(micros(&eager, &halves) < micros(&eager, &both));
    assert!(micros(&eager, &both) < micros(&eager, &Shape::chunk(0, 768)));
}

#[test]
fn a_captured_graph_computes_as_many_tokens_as_it_was_captured_for() {
    let (eager, graph) = (table(Running::default()), table(graphs()));
    let shape = decode(33, 33 * 256, 256);
    let padded = micros(&graph, &shape) - micros(&eager, &shape);
    assert!((padded - (linear(64.0, 0.0) - linear(33.0, 0.0))).abs() < 1e-3, "{padded}");
    // Samples are not padded, and neither is a pass above all sizes.
    let large = Shape { samples: 1, ..Shape::chunk(0, 300) };
    assert_eq!(graph.segment(&large), eager.segment(&large));
}

#[test]
fn the_device_is_read_off_the_table() {
    let blocks = table(Running::default()).blocks_at_a_time();
    assert!((AT_A_TIME as u64..=AT_A_TIME as u64 + 1).contains(&blocks), "{blocks}");
}

/// While the longest reads alone, the pass lasts as long as a block takes for it; it is never faster than memory.
#[test]
fn the_longest_context_is_waited_for() {
    let graph = table(graphs());
    let attention = |shape: &Shape| (micros(&graph, shape) - linear(shape.tokens as f64, shape.tokens as f64)) / 4.0;
    // 64 sequences of 20 tokens and one of 4,000, in 130 blocks unsplit: 65 of 128 graph places.
    let shape = decode(64, 63 * 20 + 4_000, 4_000);
    let took = attention(&shape);
    let (alone, busy) = (ALONE * 4_000.0, BUSY * (63.0 * 20.0 + 4_000.0));
    assert!(took > 0.95 * alone && took < 1.4 * alone, "{took}, not about {alone}");
    assert!(took > busy);
    // As many tokens, all alike, are done when the memory has given them.
    let alike = decode(64, 63 * 20 + 4_000, 83);
    let measured = attention_of_equals() + busy;
    assert!((attention(&alike) / measured - 1.0).abs() < 0.05, "{} {measured}", attention(&alike));
    // Between these, more skew takes longer.
    let mut before = 0.0;
    for longest in [83, 100, 150, 200, 400, 800, 1_600, 4_000] {
        let now = attention(&decode(64, 5_260, longest));
        assert!(now >= before, "{longest}: {now} {before}");
        before = now;
    }
}

#[test]
fn what_is_beyond_the_grid_is_said() {
    let graph = table(graphs());
    let beyond = |shape: Shape| graph.segment(&shape).beyond;
    assert_eq!(beyond(decode(128, 128 * 4_096, 4_096)), None);
    assert_eq!(
        beyond(Shape { decoders: 16, context: 16 * 64, tokens: 16 + 1_024, ..Shape::chunk(4_096, 1_024) }),
        None
    );
    assert_eq!(beyond(Shape::chunk(0, 2_049)), Some(Axis::Tokens));
    assert_eq!(beyond(Shape { samples: 129, ..Shape::chunk(0, 500) }), Some(Axis::Samples));
    assert_eq!(beyond(Shape::chunk(0, 1_025)), Some(Axis::Chunk));
    assert_eq!(beyond(Shape::chunk(4_097, 16)), Some(Axis::Cached));
    assert_eq!(beyond(decode(16, 16 * 4_096 + 1, 4_097)), Some(Axis::Context));
    assert_eq!(beyond(Shape { samples: 0, ..decode(129, 129 * 64, 64) }), Some(Axis::Decoders));
    // Decoders that were measured alone, but not beside a chunk.
    assert_eq!(
        beyond(Shape { decoders: 100, context: 100 * 64, tokens: 116, ..Shape::chunk(0, 16) }),
        Some(Axis::Decoders)
    );
    // Whatever the mean: one of many attends to more than was measured.
    assert_eq!(beyond(decode(64, 64 * 200, 4_097)), Some(Axis::Context));
    // Extrapolated, not cut: along the last two.
    let twice = Shape { tokens: 4_096, ..Shape::chunk(0, 1_024) };
    let attention = 4.0 * graph.attention(1_024.0, 0.0, 0.0, 0.0);
    let took = micros(&graph, &twice) - attention;
    assert!((took / linear(4_096.0, 0.0) - 1.0).abs() < 1e-9, "{took}");
}

#[test]
fn profiles_that_are_none_are_refused() {
    type Spoil = fn(&mut Profile);
    let cases: [(Spoil, &str); 9] = [
        (|profile| profile.attention.clear(), "no row measures attention"),
        (|profile| profile.attention.retain(|row| row.chunk > 0), "attention of decoders alone"),
        (|profile| profile.attention.retain(|row| row.chunk == 0), "attention of a prompt's chunk"),
        (|profile| profile.dense.retain(|(name, ..)| name != "embedding"), "no row measures embedding"),
        (|profile| profile.dense.retain(|(name, ..)| name != "o_proj"), "no row measures o_proj"),
        (|profile| profile.per_sequence.retain(|(name, ..)| name != "sampler"), "lm_head or sampler"),
        (|profile| profile.dense[1].2 = -1.0, "layernorm at 8: a time of -1 us"),
        (|profile| profile.attention[3].time = f64::NAN, "a time of NaN us"),
        (|profile| profile.attention.push(profile.attention[0]), "was measured twice"),
    ];
    for (spoil, said) in cases {
        let mut profile = profile();
        spoil(&mut profile);
        let problem: InvalidProfile = StepTable::new(&profile, LAYERS, Running::default()).expect_err(said);
        assert!(problem.to_string().contains(said), "{problem}");
    }
    let mut profile = profile();
    profile.dense[0].0 = "input_layernorm".to_owned();
    let problem = StepTable::new(&profile, LAYERS, Running::default()).expect_err("it is not known");
    assert!(problem.to_string().contains("\"input_layernorm\" is no part of a model"), "{problem}");
}

/// Between its neighbours where a row is missing, along the last two where a part of the grid is.
#[test]
fn what_is_missing_is_made_up_for_by_its_neighbours() {
    let without = |is_missing: fn(&Attention) -> bool| {
        let mut profile = profile();
        let before = profile.attention.len();
        profile.attention.retain(|row| !is_missing(row));
        assert!(profile.attention.len() < before);
        StepTable::new(&profile, LAYERS, Running::default()).expect("it is enough")
    };
    let whole = table(Running::default());
    let inner = without(|row| (row.chunk, row.decoders, row.context) == (64, 16, 256));
    let [made_up, measured] = [&inner, &whole].map(|table| table.attention(64.0, 256.0, 16.0, 256.0));
    assert!((made_up / measured - 1.0).abs() < 0.02, "{made_up} {measured}");
    let corner = without(|row| row.chunk == 0 && row.decoders == 128 && row.context > 256);
    let [made_up, measured] = [&corner, &whole].map(|table| table.attention(0.0, 0.0, 128.0, 4_096.0));
    assert!((made_up / measured - 1.0).abs() < 0.02, "{made_up} {measured}");
    assert_eq!(whole.segment(&decode(128, 128 * 4_000, 4_000)).beyond, None);
    assert_eq!(corner.segment(&decode(128, 128 * 4_000, 4_000)).beyond, Some(Axis::Context));
    // A chunk shorter than any reads as much as the shortest.
    let shortest = whole.attention(16.0, 4_096.0, 0.0, 0.0);
    assert!((whole.attention(1.0, 4_096.0, 0.0, 0.0) - shortest).abs() < 1e-9);
}

fn runnings() -> impl Strategy<Value = Running> {
    (any::<bool>(), any::<bool>(), prop_oneof![Just(0), 0..3_000_u64]).prop_map(|(captured, overlapped, host)| {
        let captured = if captured { graphs().captured } else { Vec::new() };
        Running { captured, host: Span::from_micros(host), async_scheduling: overlapped }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A stretch of passes is priced as its passes one by one: contexts of any skew, cut anywhere.
    #[test]
    fn a_line_is_its_passes_one_by_one(
        running in runnings(),
        decoders in 1..150_u64,
        shortest in 1..3_000_u64,
        more in prop_oneof![Just(0), 0..200_u64, 0..60_000_u64],
        some in 0.0..1.0_f64,
    ) {
        let model = table(running);
        let longest = shortest + more;
        // Between all but one at the shortest, and all but one at the longest.
        let context = shortest * (decoders - 1) + longest + (some * (more * decoders.saturating_sub(2)) as f64) as u64;
        let at = |passes: u64| decode(decoders, context + passes * decoders, longest + passes);
        let mut begun = 0;
        let mut line = model.segment(&at(0));
        for passes in 0..400 {
            let shape = at(passes);
            let own = model.segment(&shape);
            prop_assert!(own.valid_to >= shape.context);
            if shape.context > line.valid_to {
                (line, begun) = (own, passes);
            }
            prop_assert_eq!(line.at(shape.context), own.at(shape.context), "begun at {}, pass {}", begun, passes);
        }
    }

    /// More of anything never takes less time.
    #[test]
    fn more_takes_no_less(
        running in runnings(),
        decoders in 1..100_u64,
        each in 16..3_000_u64,
        skew in 0..2_000_u64,
    ) {
        let model = table(running);
        let shape = decode(decoders, decoders * each, each + skew);
        let took = micros(&model, &shape);
        let skewed = Shape { longest: shape.longest + 100, ..shape };
        prop_assert!(micros(&model, &skewed) >= took - 1e-6);
        let beside = Shape { tokens: shape.tokens + 16, pairs: 136, squares: 256, prefill_context: 16, ..shape };
        let longer = Shape { longest: shape.longest + 4_000, ..beside };
        prop_assert!(micros(&model, &longer) >= micros(&model, &beside) - 1e-6);
        let grown = Shape { context: shape.context + decoders, longest: shape.longest + 1, ..shape };
        prop_assert!(micros(&model, &grown) >= took - 1e-6);
    }
}
