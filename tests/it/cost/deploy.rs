//! Deployments: what fits, how many blocks are left, what is refused and in which words.

use kvcache::{Blocks, Tokens};
use sim::cost::catalogue::{A10G, A100_80, H100, H200, Instance, L40S};
use sim::cost::deployment::{
    DeployError, Deployment, EngineSpec, default_max_num_batched_tokens, default_max_num_seqs,
};
use sim::cost::geometry::{Dtype, KvDtype, Model, Quantization};

use super::{calibration, instance, model};

fn spec(tp: u32, max_model_len: u32) -> EngineSpec {
    EngineSpec { tp, max_model_len: Some(Tokens(max_model_len)), ..EngineSpec::default() }
}

fn plan(on: &str, of: &str, spec: &EngineSpec) -> Result<Deployment, DeployError> {
    Deployment::plan(&instance(on), &model(of), spec)
}

fn refused(on: &str, of: &str, spec: &EngineSpec) -> String {
    plan(on, of, spec).expect_err("refused").to_string()
}

#[test]
fn blocks_are_what_memory_leaves() {
    let deployment = plan("ml.p5.48xlarge", "Llama-3.1-70B-Instruct", &spec(8, 131_072)).expect("fits");
    // By hand, in bytes per GPU: 0.9 of 79.11 GiB; an eighth of all weights, norms whole; the sampler's table for 1,024
    // sequences, graphs, collectives; blocks of 16 tokens with one head of keys and values.
    let limit = (f64::from(7_911) / 100.0 * 0.9 * f64::from(1 << 30)) as u64;
    let norms = 161 * 8_192 * 2;
    let weights = (70_553_706_496 * 2 - norms) / 8 + norms;
    let reserve = 1_024 * 128_256 * 22 + (512 << 20) + (256 << 20);
    let total = (limit - weights - reserve) / (2 * 80 * 128 * 2 * 16);
    assert_eq!(u64::from(deployment.blocks.0), total - 1, "all but the null block");
    assert_eq!(deployment.memory.weights, weights);
    assert_eq!(deployment.kv_bytes_per_token, 327_680);
    assert_eq!((deployment.gpus_per_worker, deployment.workers_per_instance), (8, 1));
    assert_eq!(deployment.max_model_len, Tokens(131_072));
    assert!((deployment.usd_per_hour - 63.296).abs() < 1e-9);
}

#[test]
fn a_real_engine_found_as_many_blocks() {
    let Some(meta) = calibration("rtx4090-llama-3.1-8b/meta.json") else { return };
    let meta: serde_json::Value = serde_json::from_str(&meta).expect("JSON");
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    let setting = |name: &str| number(&meta["engine_kwargs"][name]) as u32;
    let mut rtx4090 = L40S;
    rtx4090.name = "RTX 4090";
    rtx4090.device_bytes = number(&meta["hardware"]["device_total_memory_bytes"]);
    let machine = Instance { gpu: rtx4090, ..instance("g6e.4xlarge") };
    let spec = EngineSpec {
        gpu_memory_utilization: meta["kv_cache"]["gpu_memory_utilization"].as_f64(),
        max_num_seqs: Some(setting("max_num_seqs")),
        max_num_batched_tokens: Some(Tokens(setting("max_num_batched_tokens"))),
        ..spec(1, setting("max_model_len"))
    };
    let deployment = Deployment::plan(&machine, &model("Llama-3.1-8B"), &spec).expect("it did fit");
    let (got, real) = (deployment.memory.blocks().0, number(&meta["kv_cache"]["num_gpu_blocks"]) as u32);
    println!("RTX 4090, Llama-3.1-8B: {got} blocks by the formula, {real} in vLLM 0.19");
    assert!(got.abs_diff(real) * 100 <= real, "{got} blocks, {real} in reality");
}

#[test]
fn vllm_defaults_depend_on_the_gpu() {
    for (gpu, seqs, tokens) in
        [(A10G, 256, 2_048), (L40S, 256, 2_048), (A100_80, 256, 2_048), (H100, 1_024, 8_192), (H200, 1_024, 8_192)]
    {
        assert_eq!(default_max_num_seqs(&gpu), seqs, "{}", gpu.name);
        assert_eq!(default_max_num_batched_tokens(&gpu), Tokens(tokens), "{}", gpu.name);
    }
    let small = EngineSpec { max_num_batched_tokens: Some(Tokens(512)), ..EngineSpec::default() };
    let deployment = plan("p5.48xlarge", "Qwen2.5-7B", &small).expect("fits");
    assert_eq!(deployment.max_num_seqs, 512, "no more sequences than tokens");
    assert_eq!(deployment.max_model_len, Tokens(131_072), "as max_position_embeddings");
    assert_eq!(deployment.block_size, Tokens(16));
}

#[test]
fn workers_fill_instances() {
    let two = EngineSpec { pod_gpus: Some(2), ..spec(2, 8_192) };
    let deployment = plan("g5.12xlarge", "Qwen2.5-7B", &two).expect("fits");
    assert_eq!((deployment.gpus_per_worker, deployment.workers_per_instance), (2, 2));
    assert_eq!([1, 2, 3, 4, 5].map(|replicas| deployment.instances_for(replicas)), [1, 1, 2, 2, 3]);
    let three = EngineSpec { pod_gpus: Some(3), ..spec(1, 8_192) };
    let deployment = plan("g5.12xlarge", "Qwen2.5-7B", &three).expect("fits, wasting GPUs");
    assert_eq!((deployment.gpus_per_worker, deployment.workers_per_instance), (3, 1));
}

#[test]
fn less_memory_or_wider_numbers_never_give_more_blocks() {
    let base = spec(1, 2_048);
    let blocks = |spec: &EngineSpec| plan("g6e.4xlarge", "Llama-3.1-8B", spec).expect("fits").blocks;
    let with = |change: fn(&mut EngineSpec)| {
        let mut changed = base.clone();
        change(&mut changed);
        blocks(&changed)
    };
    let plain = blocks(&base);
    assert!(with(|spec| spec.gpu_memory_utilization = Some(0.8)) < plain);
    assert!(with(|spec| spec.quantization = Some(Quantization::Fp8)) > plain);
    assert!(with(|spec| spec.max_num_seqs = Some(1_024)) < plain);
    assert!(with(|spec| spec.dtype = Some(Dtype::Fp32)) < plain);
    let halved = with(|spec| spec.kv_dtype = KvDtype::Fp8);
    assert!(halved.0 >= 2 * plain.0, "half the bytes, twice the blocks: {halved} of {plain}");
    assert_eq!(with(|spec| spec.num_gpu_blocks_override = Some(Blocks(1_000))), Blocks(999));
}

#[test]
fn more_ranks_than_kv_heads_keep_copies() {
    let config = r#"{"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "vocab_size": 32000,
        "num_attention_heads": 16, "num_key_value_heads": 2, "max_position_embeddings": 4096, "torch_dtype": "float16"}"#;
    let model = Model::from_config("two heads", config).expect("a config");
    assert_eq!([1, 2, 4, 8].map(|tp| model.shard(tp).kv_heads), [2, 1, 1, 1]);
    let [four, eight] =
        [4, 8].map(|tp| Deployment::plan(&instance("p5.48xlarge"), &model, &spec(tp, 4_096)).expect("fits"));
    assert_eq!(four.memory.block, eight.memory.block);
    assert_eq!(four.kv_bytes_per_token, eight.kv_bytes_per_token);
}

#[test]
fn refusals_say_what_would_do() {
    for (got, want) in [
        (
            refused("g5.4xlarge", "Llama-3.1-70B", &spec(1, 8_192)),
            "deploy meta-llama/Llama-3.1-70B on g5.4xlarge: with tensor-parallel-size 1, weights and working memory take \
             132.6 GiB per GPU of 19.8 GiB usable; g6e.12xlarge with tensor-parallel-size 4 would fit",
        ),
        (
            refused("p5.48xlarge", "Llama-3.1-70B", &spec(1, 8_192)),
            "deploy meta-llama/Llama-3.1-70B on p5.48xlarge: with tensor-parallel-size 1, weights and working memory take \
             134.6 GiB per GPU of 71.2 GiB usable; tensor-parallel-size 2 would fit",
        ),
        (
            refused("g5.4xlarge", "Llama-3.1-8B", &EngineSpec::default()),
            "deploy meta-llama/Llama-3.1-8B on g5.4xlarge: a sequence of max-model-len 131072 takes 8192 blocks of KV \
             and 1900 blocks fit; the largest max-model-len here is 30400",
        ),
        (
            refused("g5.12xlarge", "Llama-3.1-8B", &spec(8, 8_192)),
            "deploy meta-llama/Llama-3.1-8B on g5.12xlarge: a pod of 8 GPUs exceeds the 4 of the instance",
        ),
        (
            refused("g5.12xlarge", "Qwen2-7B", &spec(3, 8_192)),
            "deploy Qwen/Qwen2-7B on g5.12xlarge: tensor-parallel-size 3 does not divide 28 attention heads",
        ),
        (
            refused("g5.12xlarge", "Qwen2-7B", &EngineSpec { pod_gpus: Some(1), ..spec(2, 8_192) }),
            "deploy Qwen/Qwen2-7B on g5.12xlarge: tensor-parallel-size 2 exceeds the 1 GPUs of the pod",
        ),
        (
            refused("g5.12xlarge", "Qwen2-7B", &EngineSpec { gpu_memory_utilization: Some(1.5), ..spec(1, 8_192) }),
            "deploy Qwen/Qwen2-7B on g5.12xlarge: gpu-memory-utilization 1.5 must be above 0 and at most 1",
        ),
    ] {
        assert_eq!(got, want);
    }
}

#[test]
fn what_is_advised_would_fit() {
    let largest = plan("g5.4xlarge", "Llama-3.1-8B", &spec(1, 30_400)).expect("the largest length it named");
    assert_eq!(largest.blocks.tokens(largest.block_size), Tokens(30_400));
    assert!(plan("g5.4xlarge", "Llama-3.1-8B", &spec(1, 30_401)).is_err());
    assert!(plan("g6e.12xlarge", "Llama-3.1-70B", &spec(4, 8_192)).is_ok());
    assert!(plan("p5.48xlarge", "Llama-3.1-70B", &spec(2, 8_192)).is_ok());
    // Two ranks would hold the weights, but not one sequence of the model's full length beside them.
    let long = refused("p5.48xlarge", "Llama-3.1-70B", &spec(1, 131_072));
    assert!(long.ends_with("tensor-parallel-size 4 would fit"), "{long}");
    assert!(plan("p5.48xlarge", "Llama-3.1-70B", &spec(2, 131_072)).is_err());
    assert!(plan("p5.48xlarge", "Llama-3.1-70B", &spec(4, 131_072)).is_ok());
}
