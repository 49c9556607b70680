//! The table of flags: what each is called, what it takes, and where it goes.

use std::ops::RangeInclusive;

use super::EngineArgs;
use crate::suggest;

/// One flag of `vllm serve`.
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) short: Option<&'static str>,
    pub(super) takes: Takes,
}

/// What follows a flag.
pub(super) enum Takes {
    /// Nothing; `--no-...` is the opposite.
    Switch(fn(&mut EngineArgs, bool)),
    /// A value. The error says what is allowed and what was probably meant.
    Value {
        set: fn(&mut EngineArgs, &str) -> Result<(), String>,
        /// Whether more values may follow the first, which is the one that counts.
        many: bool,
    },
}

const fn switch(name: &'static str, set: fn(&mut EngineArgs, bool)) -> Flag {
    Flag { name, short: None, takes: Takes::Switch(set) }
}

const fn value(name: &'static str, set: fn(&mut EngineArgs, &str) -> Result<(), String>) -> Flag {
    Flag { name, short: None, takes: Takes::Value { set, many: false } }
}

impl Flag {
    const fn short(mut self, short: &'static str) -> Self {
        self.short = Some(short);
        self
    }
}

/// Every flag that is simulated. Names and choices are those of vLLM 0.11 to 0.19.
pub(super) const FLAGS: &[Flag] = &[
    value("--model", |args, text| put(&mut args.model, filled(text))),
    Flag {
        name: "--served-model-name",
        short: None,
        takes: Takes::Value { set: |args, text| put(&mut args.served_model_name, filled(text)), many: true },
    },
    value("--tensor-parallel-size", |args, text| put(&mut args.tensor_parallel_size, count(text, 1..=1024)))
        .short("-tp"),
    value("--pipeline-parallel-size", |args, text| put(&mut args.pipeline_parallel_size, count(text, 1..=1024)))
        .short("-pp"),
    value("--max-model-len", |args, text| match text {
        // The engine then finds out what fits, as it does without the flag.
        "auto" | "-1" => {
            args.max_model_len = None;
            Ok(())
        }
        _ => put(&mut args.max_model_len, tokens(text)),
    }),
    value("--max-num-seqs", |args, text| put(&mut args.max_num_seqs, count(text, 1..=1_000_000))),
    value("--max-num-batched-tokens", |args, text| put(&mut args.max_num_batched_tokens, tokens(text))),
    value("--gpu-memory-utilization", |args, text| put(&mut args.gpu_memory_utilization, share(text))),
    value("--block-size", |args, text| put(&mut args.block_size, block(text))),
    value("--dtype", |args, text| put(&mut args.dtype, word(text, DTYPES))),
    value("--quantization", |args, text| put(&mut args.quantization, filled(text))).short("-q"),
    value("--kv-cache-dtype", |args, text| put(&mut args.kv_cache_dtype, word(text, KV_CACHE_DTYPES))),
    switch("--enable-prefix-caching", |args, on| args.enable_prefix_caching = Some(on)),
    switch("--enable-chunked-prefill", |args, on| args.enable_chunked_prefill = Some(on)),
    switch("--enforce-eager", |args, on| args.enforce_eager = Some(on)),
    switch("--async-scheduling", |args, on| args.async_scheduling = Some(on)),
    value("--max-num-partial-prefills", |args, text| {
        put(&mut args.max_num_partial_prefills, count(text, 1..=1_000_000))
    }),
    value("--max-long-partial-prefills", |args, text| {
        put(&mut args.max_long_partial_prefills, count(text, 1..=1_000_000))
    }),
    value("--long-prefill-token-threshold", |args, text| {
        put(&mut args.long_prefill_token_threshold, count(text, 0..=1_000_000_000))
    }),
    switch("--scheduler-reserve-full-isl", |args, on| args.scheduler_reserve_full_isl = Some(on)),
    value("--num-gpu-blocks-override", |args, text| {
        put(&mut args.num_gpu_blocks_override, count(text, 1..=1_000_000_000_000))
    }),
    switch("--enable-prompt-tokens-details", |args, on| args.enable_prompt_tokens_details = Some(on)),
];

const DTYPES: &[&str] = &["auto", "bfloat16", "float", "float16", "float32", "half"];
const KV_CACHE_DTYPES: &[&str] = &["auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc", "fp8_ds_mla"];
const BLOCK_SIZES: &[u32] = &[1, 8, 16, 32, 64, 128, 256];

fn put<T>(field: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    *field = Some(value?);
    Ok(())
}

fn filled(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("allowed: a string that is not empty".to_owned()) } else { Ok(text.to_owned()) }
}

fn word(text: &str, words: &[&str]) -> Result<String, String> {
    if words.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("allowed: {}{}", words.join(", "), suggest::clause(text, words.iter().copied())))
}

fn count<T: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>) -> Result<T, String> {
    let number = text.parse::<u64>().ok().filter(|number| range.contains(number));
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("allowed: a whole number, {} to {}", range.start(), range.end()))
}

fn share(text: &str) -> Result<f64, String> {
    if let Some(share) = text.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 1.0) {
        return Ok(share);
    }
    let percent = text.trim_end_matches('%').parse::<f64>().ok().filter(|percent| *percent > 1.0 && *percent <= 100.0);
    let meant = percent.map_or_else(String::new, |percent| format!("; did you mean \"{}\"?", percent / 100.0));
    Err(format!("allowed: a number above 0 and up to 1{meant}"))
}

fn block(text: &str) -> Result<u32, String> {
    text.parse::<u32>().ok().filter(|tokens| BLOCK_SIZES.contains(tokens)).ok_or_else(|| {
        let sizes: Vec<String> = BLOCK_SIZES.iter().map(u32::to_string).collect();
        format!("allowed: {}", sizes.join(", "))
    })
}

/// Tokens, in vLLM's human form too: `128k` is 128,000 and `128K` is 131,072.
fn tokens(text: &str) -> Result<u64, String> {
    const LARGEST: u64 = 1_000_000_000_000;
    let allowed =
        || "allowed: a whole number of tokens from 1, or one with k, m, g (powers of 1000) or K, M, G (powers of 1024)";
    let (number, factor, decimal) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1_000, true),
        Some(b'm') => (&text[..text.len() - 1], 1_000_000, true),
        Some(b'g') => (&text[..text.len() - 1], 1_000_000_000, true),
        Some(b'K') => (&text[..text.len() - 1], 1 << 10, false),
        Some(b'M') => (&text[..text.len() - 1], 1 << 20, false),
        Some(b'G') => (&text[..text.len() - 1], 1 << 30, false),
        _ => (text, 1, false),
    };
    // As in vLLM, a fraction goes with powers of 1000 only.
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    let fits = !whole.is_empty() && digits(whole) && digits(fraction) && fraction.len() <= 9;
    if !fits || (number.contains('.') && (!decimal || fraction.is_empty())) {
        return Err(allowed().to_owned());
    }
    let parts = || -> Option<u64> {
        let unit = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let digits: u64 = format!("{whole}{fraction}").parse().ok()?;
        Some(digits.checked_mul(factor)? / unit)
    };
    parts().filter(|tokens| (1..=LARGEST).contains(tokens)).ok_or_else(|| allowed().to_owned())
}
