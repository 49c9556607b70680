//! The engine's flags and the worker's environment variables.

use driver::endpoint::{Code, EngineArgs, LmCache};

use super::{accepted, codes, with, with_args};

fn engine(items: &[&str]) -> EngineArgs {
    accepted(with_args(items)).0.engine
}

/// The refusal of a list of flags, without the place of the list.
fn refusal(items: &[&str]) -> String {
    let Err(error) = with_args(items) else { panic!("accepted: {items:?}") };
    let lines: Vec<String> = error.problems().iter().map(|p| format!("{}: {}", p.path, p.message)).collect();
    lines.join("\n")
}

#[test]
fn every_flag_reaches_its_field() {
    let line = "--model m --served-model-name s --tensor-parallel-size 4 --pipeline-parallel-size 2 \
                --max-model-len 20000 --max-num-seqs 128 --max-num-batched-tokens 8192 --gpu-memory-utilization 0.85 \
                --block-size 32 --dtype bfloat16 --quantization fp8 --kv-cache-dtype fp8_e5m2 \
                --enable-prefix-caching --no-enable-chunked-prefill --async-scheduling --max-num-partial-prefills 3 \
                --max-long-partial-prefills 1 --long-prefill-token-threshold 4000 --no-scheduler-reserve-full-isl \
                --enforce-eager --num-gpu-blocks-override 5000 --enable-prompt-tokens-details";
    let expected = EngineArgs {
        model: Some("m".to_owned()),
        served_model_name: Some("s".to_owned()),
        tensor_parallel_size: Some(4),
        pipeline_parallel_size: Some(2),
        max_model_len: Some(20_000),
        max_num_seqs: Some(128),
        max_num_batched_tokens: Some(8_192),
        gpu_memory_utilization: Some(0.85),
        block_size: Some(32),
        dtype: Some("bfloat16".to_owned()),
        quantization: Some("fp8".to_owned()),
        kv_cache_dtype: Some("fp8_e5m2".to_owned()),
        enable_prefix_caching: Some(true),
        enable_chunked_prefill: Some(false),
        enforce_eager: Some(true),
        async_scheduling: Some(true),
        max_num_partial_prefills: Some(3),
        max_long_partial_prefills: Some(1),
        long_prefill_token_threshold: Some(4_000),
        scheduler_reserve_full_isl: Some(false),
        num_gpu_blocks_override: Some(5_000),
        enable_prompt_tokens_details: Some(true),
    };
    let items: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(engine(&items), expected);
    let joined = line.replace(" --", "\n--").replace(' ', "=");
    assert_eq!(engine(&joined.lines().map(str::trim).collect::<Vec<_>>()), expected, "with = between flag and value");
    let underscored = |item: &&str| match item.strip_prefix("--") {
        Some(name) => format!("--{}", name.replace('-', "_")),
        None => (*item).to_owned(),
    };
    let underscores: Vec<String> = items.iter().map(underscored).collect();
    assert_eq!(engine(&underscores.iter().map(String::as_str).collect::<Vec<_>>()), expected, "with underscores");
    assert_eq!(engine(&["-tp", "8", "-pp=2", "-q", "awq"]).tensor_parallel_size, Some(8));
}

#[test]
fn human_lengths() {
    let cases = [
        ("128k", 128_000),
        ("1K", 1_024),
        ("1.5k", 1_500),
        ("2m", 2_000_000),
        ("2M", 2 << 20),
        ("1g", 1_000_000_000),
        ("1G", 1 << 30),
        ("7", 7),
    ];
    for (text, tokens) in cases {
        assert_eq!(engine(&["--max-model-len", text]).max_model_len, Some(tokens), "for {text}");
        assert_eq!(engine(&["--max-num-batched-tokens", text]).max_num_batched_tokens, Some(tokens), "for {text}");
    }
    assert_eq!(engine(&["--max-model-len", "auto"]).max_model_len, None);
    for wrong in ["0", "1.5K", "1.5", "k", "", "20,000", "1kk", "-5", "99999999999999999999", "999999999g", "1.k"] {
        assert!(with_args(&["--max-model-len", wrong]).is_err(), "{wrong:?} must be refused");
    }
}

#[test]
fn bad_values_are_found_where_they_stand() {
    let at = "spec.worker.args";
    let cases: &[(&[&str], &str)] = &[
        (
            &["--model", "m", "--dtype", "float61"],
            "[3]: \"float61\" is not a value of --dtype; allowed: auto, bfloat16, float, float16, float32, half; did \
             you mean \"float16\"?",
        ),
        (
            &["--tensor-parallel-size=0"],
            "[0]: \"0\" is not a value of --tensor-parallel-size; allowed: a whole number, 1 to 1024",
        ),
        (&["--block-size", "17"], "[1]: \"17\" is not a value of --block-size; allowed: 1, 8, 16, 32, 64, 128, 256"),
        (
            &["--gpu-memory-utilization", "90"],
            "[1]: \"90\" is not a value of --gpu-memory-utilization; allowed: a number above 0 and up to 1; did you \
             mean \"0.9\"?",
        ),
        (
            &["--gpu-memory-utilization", "NaN"],
            "[1]: \"NaN\" is not a value of --gpu-memory-utilization; allowed: a number above 0 and up to 1",
        ),
        (
            &["--kv-cache-dtype", "fp16"],
            "[1]: \"fp16\" is not a value of --kv-cache-dtype; allowed: auto, bfloat16, fp8, fp8_e4m3, fp8_e5m2, \
             fp8_inc, fp8_ds_mla",
        ),
        (
            &["--max-num-seqs", "--model", "m"],
            "[0]: --max-num-seqs has no value; allowed: --max-num-seqs VALUE in two items, or --max-num-seqs=VALUE",
        ),
        (&["--model="], "[0]: \"\" is not a value of --model; allowed: a string that is not empty"),
        (
            &["--enable-prefix-caching", "true"],
            "[1]: --enable-prefix-caching takes no value, and \"true\" was given; allowed: --enable-prefix-caching, \
             --no-enable-prefix-caching",
        ),
        (
            &["--no-async-scheduling=1"],
            "[0]: --no-async-scheduling takes no value, and \"1\" was given; allowed: --async-scheduling, \
             --no-async-scheduling",
        ),
        (
            &["--max-model-len 20000"],
            "[0]: \"--max-model-len 20000\" is a flag and its value in one item, which vLLM does not take apart; \
             allowed: two items, or one item with \"=\"; did you mean \"--max-model-len=20000\"?",
        ),
    ];
    for (items, expected) in cases {
        assert_eq!(refusal(items), format!("{at}{expected}"));
    }
}

#[test]
fn twice_and_unknown() {
    let (endpoint, warnings) =
        accepted(with_args(&["--block-size", "8", "--kv-transfer-config", "{}", "--block-size=16"]));
    assert_eq!(endpoint.engine.block_size, Some(16), "the last one counts");
    let messages: Vec<&str> = warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "--block-size is given more than once; the last counts: remove the others",
            "not simulated: --kv-transfer-config"
        ]
    );
    let (_, warnings) = accepted(with_args(&["--max-model-length=5", "--enable_prefix_cache"]));
    let messages: Vec<&str> = warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "not simulated: --max-model-length; did you mean \"--max-model-len\"?",
            "not simulated: --enable-prefix-cache; did you mean \"--enable-prefix-caching\"?",
        ]
    );
    assert_eq!(codes(with_args(&["--enable-prefix-caching", "--no-enable-prefix-caching"])), [Code::GivenTwice]);
    assert_eq!(engine(&["--enable-prefix-caching", "--no-enable-prefix-caching"]).enable_prefix_caching, Some(false));
}

#[test]
fn models_without_a_flag() {
    assert_eq!(engine(&["org/m", "--block-size", "16"]).model.as_deref(), Some("org/m"));
    assert_eq!(engine(&["--served-model-name", "a", "b", "--model", "m"]).served_model_name.as_deref(), Some("a"));
    assert_eq!(codes(with_args(&["m", "--model", "n"])), [Code::GivenTwice]);
    assert_eq!(engine(&["m", "--model", "n"]).model.as_deref(), Some("m"));
}

#[test]
fn whole_commands() {
    let cases = [
        "command: [vllm, serve, m, --max-num-seqs, \"9\"]",
        "command: [/usr/bin/vllm, serve]\n    args: [m, --max-num-seqs=9]",
        "command: [python3, -m, vllm.entrypoints.openai.api_server]\n    args: [--model, m, --max-num-seqs=9]",
        "command: [/bin/sh, -c, \"cd /tmp && exec vllm serve 'm' --max-num-seqs 9 > log 2>&1; sleep 1\"]",
        "command: [bash, -lc]\n    args: [\"vllm serve m \\\\\\n  --max-num-seqs=9 | tee log\"]",
        "command: [bash, -c]\n    args:\n    - |\n      export A=1\n      vllm serve m --max-num-seqs $SEQS",
        "args: [$(NAME), --max-num-seqs, $(SEQS)]",
    ];
    for case in cases {
        let text = super::BASE.replace("args: [--model, /opt/ml/model]", case).replace(
            "{name: SESSION_KEY, value: user_id}",
            "{name: SEQS, value: \"9\"}\n      - {name: NAME, value: m}",
        );
        let (endpoint, warnings) = accepted(driver::endpoint::Endpoint::parse(&text, "e.yaml"));
        assert_eq!(endpoint.engine.model.as_deref(), Some("m"), "in {case}");
        assert_eq!(endpoint.engine.max_num_seqs, Some(9), "in {case}");
        assert_eq!(warnings, [], "in {case}");
    }
    let args = "args: [--model, /opt/ml/model]";
    let (endpoint, warnings) = accepted(with(args, "command: [\"vllm serve m --max-num-seqs 9\"]"));
    assert_eq!((endpoint.engine.max_num_seqs, warnings[0].code), (Some(9), Code::CommandInOneItem));
    let (endpoint, warnings) = accepted(with(args, "command: [/entry.sh]\n    args: [--max-num-seqs, \"9\"]"));
    assert_eq!((endpoint.engine.max_num_seqs, warnings[0].code), (Some(9), Code::NotSimulated));
    assert_eq!(
        refusal_of_script(),
        "e.yaml:31:23: spec.worker.command[2]: \"x\" is not a value of --max-num-seqs; allowed: a whole number, 1 to \
         1000000"
    );
}

fn refusal_of_script() -> String {
    let reading = with("args: [--model, /opt/ml/model]", "command: [sh, -c, vllm serve m --max-num-seqs x]");
    reading.err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn variables() {
    let session = "{name: SESSION_KEY, value: user_id}";
    let (endpoint, warnings) = accepted(with(
        session,
        "{name: LMCACHE_CHUNK_SIZE, value: \"512\"}\n      - {name: SESSION_KEY, value: id}\n      - {name: OTHER, \
         value: x}",
    ));
    assert_eq!(endpoint.lmcache, LmCache { chunk_size: Some(512), ..LmCache::default() });
    assert_eq!(endpoint.session_key.as_deref(), Some("id"));
    assert_eq!(endpoint.python_hash_seed.as_deref(), Some("0"));
    assert_eq!(warnings, []);
    let (endpoint, warnings) = accepted(with(
        session,
        "{name: PYTHONHASHSEED, value: \"5\"}\n      - {name: VLLM_USE_V1, value: \"1\"}\n      - {name: \
         LMCACHE_CHUNK_SIZE, valueFrom: {fieldRef: {fieldPath: a}}}",
    ));
    assert_eq!(endpoint.python_hash_seed.as_deref(), Some("5"), "the last one counts");
    assert_eq!(endpoint.lmcache, LmCache::default());
    assert_eq!(
        warnings.iter().map(|warning| warning.code).collect::<Vec<_>>(),
        [Code::GivenTwice, Code::NotSimulated, Code::NotSimulated]
    );
    let (endpoint, _) = accepted(with(session, "{name: PYTHONHASHSEED, valueFrom: {fieldRef: {}}}"));
    assert_eq!(endpoint.python_hash_seed, None, "the last one counts, and its value is not in the file");
}
