//! What a pass costs: the catalogue, models, deployments, and durations.

mod deploy; // what fits, how many blocks, what is refused
mod laws; // durations of passes, whatever the shape
mod loading; // loading against computing
mod lines; // the longer of two lines
mod table; // durations from measured kernels
mod stretches; // ... of many passes at once
mod residuals; // durations against measurements and others' models

use sim::cost::catalogue::{self, INSTANCES, Instance};
use sim::cost::geometry::{self, AttentionBias, Dtype, KvDtype, Model, Quantization};

fn model(name: &str) -> Model {
    geometry::find(name).unwrap_or_else(|| panic!("{name} is built in"))
}

fn instance(name: &str) -> Instance {
    *catalogue::find(name).unwrap_or_else(|| panic!("{name} is in the catalogue"))
}

/// A file of the calibration data; `None`, said aloud, where it is not there.
fn calibration(file: &str) -> Option<String> {
    crate::support::data(&format!("calibration/{file}")).and_then(|path| std::fs::read_to_string(path).ok())
}

#[test]
fn the_catalogue_agrees_with_the_facts() {
    // hyperpod.md section 6: vCPU, RAM, GPUs, MiB each, Gbps, NVMe, and SageMaker's price where one was found.
    let rows = [
        ("g5.4xlarge", 16, 64, 1, 22_888, 10.0, 600, None),
        ("g5.12xlarge", 48, 192, 4, 22_888, 40.0, 3_800, Some(7.09)),
        ("g5.24xlarge", 96, 384, 4, 22_888, 50.0, 3_800, Some(10.18)),
        ("g5.48xlarge", 192, 768, 8, 22_888, 100.0, 7_600, Some(20.36)),
        ("g6e.4xlarge", 16, 128, 1, 45_776, 20.0, 600, None),
        ("g6e.12xlarge", 48, 384, 4, 45_776, 100.0, 3_800, Some(13.12)),
        ("g6e.24xlarge", 96, 768, 4, 45_776, 200.0, 3_800, None),
        ("g6e.48xlarge", 192, 1_536, 8, 45_776, 400.0, 7_600, None),
        ("p4d.24xlarge", 96, 1_152, 8, 40_960, 400.0, 8_000, Some(25.251)),
        ("p4de.24xlarge", 96, 1_152, 8, 81_920, 400.0, 8_000, None),
        ("p5.48xlarge", 192, 2_048, 8, 81_920, 3_200.0, 30_400, Some(63.296)),
        ("p5e.48xlarge", 192, 2_048, 8, 144_384, 3_200.0, 30_400, Some(80.0)),
        ("p5en.48xlarge", 192, 2_048, 8, 144_384, 3_200.0, 30_400, None),
    ];
    for (name, vcpus, memory_gib, gpus, mib, gbps, nvme, price) in rows {
        let found = instance(name);
        let got = (found.vcpus, found.memory_gib, found.gpus, found.gpu.memory_mib, found.nvme_gb);
        assert_eq!(got, (vcpus, memory_gib, gpus, mib, nvme), "{name}");
        assert!((found.network_gbps - gbps).abs() < 1e-9, "{name}");
        if let Some(usd) = price {
            assert!((found.price.usd_per_hour - usd).abs() < 0.001, "{name} costs {}", found.price.usd_per_hour);
        }
    }
}

#[test]
fn every_instance_is_found_by_both_names() {
    for row in &INSTANCES {
        assert_eq!(catalogue::find(row.name), Some(row));
        assert_eq!(catalogue::find(&row.sagemaker_name().to_uppercase()), Some(row));
        // What CUDA reports is a little less than what EC2 does: see `Gpu::device_bytes`.
        let share = row.gpu.device_bytes as f64 / row.gpu.memory_bytes() as f64;
        assert!((0.96..1.0).contains(&share), "{}: {share}", row.name);
        assert!(row.price.usd_per_hour / f64::from(row.gpus) > 1.0, "{}", row.name);
        assert!(row.price.date.len() == 10 && row.price.date > "2026-01-01", "{}", row.name);
    }
    assert_eq!(catalogue::find("g5.24xlarg"), None);
    assert_eq!(catalogue::find("m"), None);
    assert!(catalogue::names().any(|name| name == "g5.24xlarge"));
    assert!(instance("p5en.48xlarge").price.derived && !instance("p5.48xlarge").price.derived);
}

#[test]
fn parameters_are_the_published_counts() {
    // From the model cards' safetensors metadata.
    for (name, parameters) in [
        ("meta-llama/Llama-3.1-8B-Instruct", 8_030_261_248),
        ("meta-llama/Llama-3.1-70B-Instruct", 70_553_706_496),
        ("Qwen/Qwen2.5-7B-Instruct", 7_615_616_512),
        ("Qwen/Qwen2-7B", 7_615_616_512),
        ("HuggingFaceTB/SmolLM2-135M", 134_515_008),
    ] {
        assert_eq!(model(name).parameters(), parameters, "{name}");
    }
}

#[test]
fn a_token_takes_the_published_bytes_and_operations() {
    for (name, bytes) in
        [("Llama-3.1-8B", 131_072), ("Llama-3.1-70B", 327_680), ("Qwen2-7B", 57_344), ("SmolLM2-135M", 23_040)]
    {
        assert_eq!(model(name).kv_bytes_per_token(Dtype::Bf16, KvDtype::Auto), bytes, "{name}");
        assert_eq!(model(name).kv_bytes_per_token(Dtype::Bf16, KvDtype::Fp8), bytes / 2, "{name}");
    }
    let llama = model("Llama-3.1-8B");
    // Two per weight that is neither a norm (65 rows of 4,096) nor one of the two vocabulary tables.
    assert_eq!(llama.linear_flops_per_token(), 2 * (8_030_261_248 - 2 * 128_256 * 4_096 - 65 * 4_096));
    assert_eq!(llama.head_flops_per_sample(), 2 * 128_256 * 4_096);
    assert_eq!(llama.attention_flops_per_pair(), 524_288);
    assert_eq!(llama.weight_bytes(Dtype::Bf16, Quantization::None), 16_060_522_496);
    // Published checkpoints: Llama-3.1-8B FP8 9.08 GB, AWQ INT4 5.73 GB; Qwen2.5-7B AWQ 5.57 GB.
    for (name, quantization, gigabytes) in [
        ("Llama-3.1-8B", Quantization::Fp8, 9.08),
        ("Llama-3.1-8B", Quantization::Awq, 5.73),
        ("Qwen2.5-7B", Quantization::Gptq, 5.57),
    ] {
        let got = model(name).weight_bytes(Dtype::Fp16, quantization) as f64 / 1e9;
        assert!((got / gigabytes - 1.0).abs() < 0.005, "{name} {quantization:?}: {got} GB");
    }
}

#[test]
fn models_are_found_by_every_spelling() {
    for (asked, found) in [
        ("meta-llama/Llama-3.1-70B-Instruct", "meta-llama/Llama-3.1-70B-Instruct"),
        ("LLAMA-3.1-8b", "meta-llama/Llama-3.1-8B"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("llama-3-1-8b-instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("meta-textgeneration-llama-3-1-8b-instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("deepseek-llm-r1-distill-qwen-7b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"),
        ("qwen2-5-7b-instruct", "Qwen/Qwen2.5-7B-Instruct"),
        ("smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-135M-Instruct"),
    ] {
        assert_eq!(model(asked).name, found);
    }
    for unknown in ["", "llama", "Llama-3.1-8B-FP8", "Llama-3.1-80B", "/"] {
        assert_eq!(geometry::find(unknown), None, "{unknown}");
    }
    assert!(geometry::names().all(|name| geometry::find(name).is_some_and(|found| found.name == name)));
}

#[test]
fn a_config_file_gives_the_built_in_model() {
    let qwen = r#"{"model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
        "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "torch_dtype": "bfloat16",
        "max_position_embeddings": 32768, "tie_word_embeddings": false, "rope_theta": 1000000.0}"#;
    assert_eq!(Model::from_config("Qwen/Qwen2.5-7B-Instruct", qwen), Ok(model("Qwen2.5-7B-Instruct")));
    let edited = |from: &str, to: &str| Model::from_config("edited", &qwen.replace(from, to));
    let awq = r#""quantization_config": {"quant_method": "awq", "bits": 4}, "hidden_size""#;
    assert_eq!(edited(r#""hidden_size""#, awq).map(|model| model.quantization), Ok(Quantization::Awq));
    let multi_head = edited(r#""num_key_value_heads": 4, "#, "").expect("heads of keys default to heads");
    assert_eq!(multi_head.kv_heads, 28);
    let wide = edited(r#""vocab_size""#, r#""head_dim": 256, "vocab_size""#).expect("heads may be wider");
    assert_eq!((wide.head_dim, wide.attention_bias), (256, AttentionBias::Qkv));
    for (from, to, why) in [
        (r#""hidden_size": 3584, "#, "", "missing field `hidden_size`"),
        (r#": 18944"#, ": 0", "a size is zero"),
        (r#""vocab_size""#, r#""num_experts": 8, "vocab_size""#, "a mixture of experts is not modelled"),
        (r#""num_key_value_heads": 4"#, r#""num_key_value_heads": 5"#, "must divide num_attention_heads"),
        ("bfloat16", "float8_e4m3fn", "dtype `float8_e4m3fn` is not modelled"),
    ] {
        let text = edited(from, to).expect_err(why).to_string();
        assert!(text.starts_with("read the model's config.json: ") && text.contains(why), "{text}");
    }
}
