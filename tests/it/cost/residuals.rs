//! Durations against measurements and others' models, every point printed (`cargo test residuals -- --nocapture`).
//!
//! The factors of the roofline are fixed; these bands say how far off they may be, and would show a slip in a formula.

use std::collections::BTreeMap;

use kvcache::{Span, Tokens};
use sim::cost::catalogue::{Gpu, Instance, L40S};
use sim::cost::deployment::{Deployment, EngineSpec};
use sim::cost::geometry::Quantization;
use sim::cost::roofline::Roofline;
use sim::cost::{CostModel, Shape};

use super::{calibration, instance, model};

/// Points of one comparison: what was priced, what was expected, in ms.
#[derive(Default)]
struct Table(Vec<(String, f64, f64)>);

impl Table {
    fn add(&mut self, point: String, priced: f64, expected: f64) {
        self.0.push((point, priced, expected));
    }

    /// Prints every point and checks the median and the largest of the errors' sizes.
    fn check(&self, title: &str, median: f64, largest: f64) {
        println!("{title}");
        let mut errors = Vec::new();
        for (point, priced, expected) in &self.0 {
            let error = priced / expected - 1.0;
            println!("  {point:38} {priced:10.2} ms priced {expected:10.2} ms {:+7.1} %", 100.0 * error);
            errors.push((error.abs(), point));
        }
        errors.sort_by(|a, b| a.0.total_cmp(&b.0));
        let middle = errors[errors.len() / 2].0;
        let (worst, point) = errors[errors.len() - 1];
        println!("  median {:.1} %, largest {:.1} % ({point})", 100.0 * middle, 100.0 * worst);
        assert!(middle <= median, "{title}: median error {middle:.3}, at most {median}");
        assert!(worst <= largest, "{title}: error {worst:.3} of {point}, at most {largest}");
    }
}

fn deployment(on: &Instance, of: &str, tp: u32, quantization: Quantization) -> Deployment {
    let spec = EngineSpec {
        tp,
        quantization: Some(quantization),
        max_model_len: Some(Tokens(1_024)),
        ..EngineSpec::default()
    };
    Deployment::plan(on, &model(of), &spec).expect("fits")
}

fn roofline(on: &Instance, of: &str, tp: u32, quantization: Quantization) -> Roofline {
    deployment(on, of, tp, quantization).roofline(Span::ZERO, false)
}

fn duration(cost: &Roofline, shape: &Shape) -> f64 {
    cost.segment(shape).at(shape.context).as_millis_f64()
}

fn decode(cost: &Roofline, sequences: u64, context: u64) -> f64 {
    let shape = Shape {
        tokens: sequences,
        samples: sequences,
        decoders: sequences,
        context: sequences * context,
        ..Shape::default()
    };
    duration(cost, &shape)
}

fn chunk(cost: &Roofline, tokens: u64, cached: u64, samples: u64) -> f64 {
    let pairs = tokens * cached + tokens * (tokens + 1) / 2;
    duration(cost, &Shape { tokens, samples, pairs, prefill_context: cached + tokens, ..Shape::default() })
}

/// A prompt in chunks, the last of which samples.
fn prefill(cost: &Roofline, tokens: u64, budget: u64) -> f64 {
    let starts = (0..tokens).step_by(budget as usize);
    starts.map(|at| chunk(cost, budget.min(tokens - at), at, u64::from(at + budget >= tokens))).sum()
}

#[test]
fn others_estimates_and_aws_measurement() {
    // AIConfigurator 0.12, bf16, vLLM (facts, simulators.md section 6 item 3): prefill of 2K, 8K, 32K, 64K; decode at
    // 8K of 1, 8, 32, 128 sequences; decode at 64K of 1, 8, 32.
    let rows = [
        ("p5.48xlarge", "Llama-3.1-8B", 1, [43.5, 199.7, 1_082., 3_056., 6.4, 9.2, 17.7, 50.6, 9.5, 28.2, 95.2]),
        ("p5.48xlarge", "Llama-3.1-70B", 8, [85.9, 344.3, 1_536., 3_556., 10.4, 10.6, 14.4, 26.4, 11.7, 17.4, 38.2]),
        ("p5.48xlarge", "Llama-3.1-70B", 4, [130., 577., 2_531., 6_194., 15.2, 17.8, 23.6, 46.3, 17.1, 29.7, 72.]),
        ("p4de.24xlarge", "Llama-3.1-8B", 1, [125., 557., 3_430., 10_064., 12.5, 17.3, 37.8, 102., 17.7, 53.9, 188.]),
        ("g6e.4xlarge", "Llama-3.1-8B", 1, [145., 700., 3_969., 11_018., 22.8, 35.9, 77.8, 218., 35.4, 117., 450.]),
    ];
    let mut table = Table::default();
    for (on, of, tp, expected) in rows {
        let cost = roofline(&instance(on), of, tp, Quantization::None);
        let prompts = [2, 8, 32, 64].map(|k| (format!("prefill {k}K"), prefill(&cost, k << 10, 8_192)));
        let short = [1, 8, 32, 128].map(|b| (format!("decode {b} at 8K"), decode(&cost, b, 8 << 10)));
        let long = [1, 8, 32].map(|b| (format!("decode {b} at 64K"), decode(&cost, b, 64 << 10)));
        for ((point, priced), expected) in prompts.into_iter().chain(short).chain(long).zip(expected) {
            table.add(format!("{of} {} TP{tp} {point}", instance(on).gpu.name), priced, expected);
        }
    }
    // AWS ML blog, 12 Aug 2026: a cold prompt of 2,500 tokens on one A10G, with API and host.
    let a10g = roofline(&instance("g5.4xlarge"), "Qwen2-7B-Instruct", 1, Quantization::None);
    table.add("Qwen2-7B A10G prefill 2,500".to_string(), prefill(&a10g, 2_500, 2_048), 774.0);
    table.check("AIConfigurator's estimates, and AWS's A10G", 0.10, 0.30);
}

/// Rows of a CSV file, by the names in its first line.
fn rows(text: &str) -> Vec<BTreeMap<&str, &str>> {
    let mut lines = text.lines().map(|line| line.split(','));
    let names: Vec<&str> = lines.next().expect("a line of names").collect();
    lines.map(|line| names.iter().copied().zip(line).collect()).collect()
}

#[test]
fn kernels_measured_on_an_rtx_4090() {
    let folder = "rtx4090-llama-3.1-8b";
    let files = ["dense", "per_sequence", "attention"].map(|file| calibration(&format!("{folder}/{file}.csv")));
    let [Some(dense), Some(sequences), Some(attention)] = files else { return };
    let [dense, sequences, attention] = [rows(&dense), rows(&sequences), rows(&attention)];
    let find = |rows: &[BTreeMap<&str, &str>], key: &[(&str, String)]| -> f64 {
        let row = rows.iter().find(|row| key.iter().all(|(name, value)| row[name] == value.as_str()));
        row.unwrap_or_else(|| panic!("{key:?}"))["time_us"].parse().expect("a time")
    };
    // A pass: 32 layers of kernels, two norms each, then embedding, last norm, head and sampler.
    let measured = |tokens: u64, samples: u64, kv: [u64; 4]| {
        let kernel = |name: &str| find(&dense, &[("layer", name.to_string()), ("tokens", tokens.to_string())]);
        let end = |name: &str| find(&sequences, &[("layer", name.to_string()), ("sequences", samples.to_string())]);
        let keys = ["prefill_chunk", "kv_prefill", "n_decode", "kv_decode"];
        let key: Vec<_> = keys.iter().zip(kv).map(|(name, value)| (*name, value.to_string())).collect();
        let names =
            ["qkv_proj", "rotary_emb", "o_proj", "gate_up_proj", "act_fn", "down_proj", "layernorm", "layernorm"];
        let layer = names.map(kernel).iter().sum::<f64>() + find(&attention, &key);
        (32.0 * layer + kernel("embedding") + kernel("final_layernorm") + end("lm_head") + end("sampler")) / 1e3
    };
    // NVIDIA's sheet: 1,008 GB/s, 165.2 TFLOPS dense with FP32 accumulation. The memory is not its own, lest any fail
    // to fit.
    let gpu = Gpu { name: "RTX 4090", bandwidth_gb_per_s: 1_008.0, bf16_tflops: 165.2, ..L40S };
    let cost = roofline(&Instance { gpu, ..instance("g6e.4xlarge") }, "Llama-3.1-8B", 1, Quantization::None);
    let mut table = Table::default();
    for (sequences, context) in [(1, 256), (1, 2_048), (8, 2_048), (32, 2_048), (128, 256), (128, 2_048), (256, 2_048)]
    {
        let expected = measured(sequences, sequences, [0, 0, sequences, context]);
        table.add(format!("decode {sequences} at {context}"), decode(&cost, sequences, context), expected);
    }
    for (tokens, cached) in [(128, 0), (512, 0), (2_048, 0), (2_048, 2_048), (2_048, 16_384)] {
        let expected = measured(tokens, 1, [tokens, cached, 0, 0]);
        table.add(format!("prefill {tokens} after {cached}"), chunk(&cost, tokens, cached, 1), expected);
    }
    table.check("Sums of kernels measured on an RTX 4090", 0.20, 0.40);
}

#[test]
fn time_per_output_token_measured_under_load() {
    let Some(text) = calibration("silicon_llama.csv") else { return };
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    for row in rows(&text) {
        let number = |name: &str| row[name].parse::<f64>().expect("a number");
        let on = match row["system"] {
            "h100_sxm" => "p5.48xlarge",
            "h200_sxm" => "p5e.48xlarge",
            _ => continue,
        };
        // 70B rows say their precision, and those of 8B on H100 were bf16; the 8B FP8 rows do not say their KV's.
        let (of, quantization) = match (row["model_path"], row["gemm_quant_mode"]) {
            ("meta-llama/Llama-3.1-70B", "fp8") => ("Llama-3.1-70B", Quantization::Fp8),
            ("meta-llama/Llama-3.1-8B-Instruct", "" | "bfloat16" | "float16") => ("Llama-3.1-8B", Quantization::None),
            _ => continue,
        };
        let [batch, tp, input, output] = ["batch_size", "tp_size", "isl", "osl"].map(number);
        let deployment = deployment(&instance(on), of, tp as u32, quantization);
        if batch * (input + output) > f64::from(deployment.blocks.tokens(deployment.block_size).0) {
            continue; // So many never ran at once.
        }
        let cost = deployment.roofline(Span::ZERO, false);
        // In a closed loop each request decodes `output` times, and waits for one prefill of each of the others.
        let step = decode(&cost, batch as u64, (input + output / 2.0) as u64);
        let priced = step + (batch - 1.0) / output * prefill(&cost, input as u64, 8_192);
        let point = format!("TP{tp} batch {batch} {input}/{output}");
        let table = tables.entry(format!("{} {of} {}", row["backend"], row["system"])).or_default();
        table.add(point, priced, number("silicon_tpot_ms"));
    }
    assert!(tables.contains_key("vllm Llama-3.1-70B h100_sxm"), "{:?}", tables.keys());
    for (title, table) in &tables {
        // One closed-loop formula for all backends and loads: the median says more than the extremes.
        table.check(&format!("Measured time per output token, {title}"), 0.20, 0.45);
    }
}
