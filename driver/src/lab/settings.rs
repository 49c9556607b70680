//! Every setting there is: its name, what it takes, what it means, and where its value goes.

use super::{Lab, units};
use crate::suggest;
use kvcache::{Duplicates, Tokens};

/// One setting of the lab.
pub struct Setting {
    /// Its name, section first.
    pub key: &'static str,
    /// What a value looks like.
    pub takes: &'static str,
    /// What it is without being set.
    pub default: &'static str,
    /// What it means.
    pub means: &'static str,
    /// Reads a value into the lab.
    pub(super) set: fn(&mut Lab, &str) -> Result<(), String>,
}

macro_rules! setting {
    ($key:literal, $takes:literal, $default:literal, $means:literal, |$lab:ident, $text:ident| $set:expr) => {
        Setting {
            key: $key,
            takes: $takes,
            default: $default,
            means: $means,
            set: |$lab, $text| {
                $set;
                Ok(())
            },
        }
    };
}

fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        format!("{text:?} is not one of {}{}", names.join(", "), suggest::clause(text, names.iter().copied()))
    })
}

/// All settings, by section.
pub const SETTINGS: &[Setting] = &[
    setting!(
        "api.latency",
        "time",
        "5ms",
        "pure latency between client and router, both ways together",
        |lab, text| { lab.api_latency = units::span(text)? }
    ),
    setting!("model.name", "name", "from the endpoint file", "the model whose geometry is simulated", |lab, text| {
        lab.model = Some(text.to_owned())
    }),
    setting!(
        "engine.host_overhead",
        "time",
        "1ms",
        "time per pass in which the host keeps the GPUs waiting",
        |lab, text| { lab.host_overhead = units::span(text)? }
    ),
    setting!("engine.max_num_seqs", "count", "from worker.args", "most sequences running at once", |lab, text| {
        lab.max_num_seqs = Some(units::count(text, 1)?)
    }),
    setting!(
        "engine.max_num_batched_tokens",
        "tokens",
        "from worker.args",
        "most new tokens in a pass",
        |lab, text| { lab.max_num_batched_tokens = Some(Tokens(units::count(text, 1)?)) }
    ),
    setting!("engine.max_model_len", "tokens", "from worker.args", "most tokens of prompt and reply", |lab, text| {
        lab.max_model_len = Some(Tokens(units::count(text, 1)?))
    }),
    setting!(
        "engine.num_gpu_blocks",
        "blocks",
        "from the GPU's memory",
        "KV blocks per worker, as the real engine logs them",
        |lab, text| { lab.num_gpu_blocks = Some(units::count(text, 1)?) }
    ),
    setting!("engine.block_size", "tokens", "16", "tokens in a KV block", |lab, text| {
        lab.block_size = Some(Tokens(units::count(text, 1)?))
    }),
    setting!(
        "engine.gpu_memory_utilization",
        "fraction",
        "0.9",
        "share of a GPU's memory that the engine takes",
        |lab, text| { lab.gpu_memory_utilization = Some(units::number(text, (0.0, 1.0))?) }
    ),
    setting!("engine.chunked_prefill", "switch", "true", "whether a prompt may be computed in parts", |lab, text| {
        lab.chunked_prefill = Some(units::switch(text)?)
    }),
    setting!("engine.long_prefill_token_threshold", "tokens", "0 (off)", "most tokens of one chunk", |lab, text| {
        lab.long_prefill_token_threshold = Some(Tokens(units::count(text, 0)?))
    }),
    setting!(
        "engine.max_num_partial_prefills",
        "count",
        "1",
        "above 1: caps chunks at 4 % of max_model_len",
        |lab, text| { lab.max_num_partial_prefills = Some(units::count(text, 1)?) }
    ),
    setting!(
        "engine.reserve_full_isl",
        "switch",
        "from worker.args, else by the image's vLLM (0.19: true)",
        "admit a prompt only where all of it fits",
        |lab, text| { lab.reserve_full_isl = Some(units::switch(text)?) }
    ),
    setting!(
        "engine.async_scheduling",
        "switch",
        "from worker.args, else by the image's vLLM (0.14: true)",
        "plan a pass while the one before it runs",
        |lab, text| { lab.async_scheduling = Some(units::switch(text)?) }
    ),
    setting!(
        "engine.duplicates",
        "keep | merge",
        "keep",
        "what becomes of a block computed twice at once",
        |lab, text| { lab.duplicates = choice(text, &[("keep", Duplicates::Keep), ("merge", Duplicates::Merge)])? }
    ),
    setting!(
        "router.chars_per_token",
        "number",
        "4",
        "how long a token is for prefixaware's 128-character chunks",
        |lab, text| { lab.chars_per_token = units::number(text, (0.1, 128.0))? }
    ),
    setting!(
        "router.kv_aware_threshold",
        "tokens",
        "2000",
        "kvaware follows its index where at most this much is missing",
        |lab, text| { lab.kv_aware_threshold = Tokens(units::count(text, 0)?) }
    ),
    setting!("router.qps_window", "time", "60s", "how long a request counts for its worker's rate", |lab, text| {
        lab.qps_window = units::span(text)?
    }),
    setting!("docqa.documents", "count", "35", "documents of the workload docqa", |lab, text| {
        lab.docqa.documents = units::count(text, 1)?
    }),
    setting!("docqa.document_tokens", "tokens", "8192", "length of each document", |lab, text| {
        lab.docqa.document = Tokens(units::count(text, 1)?)
    }),
    setting!("docqa.question_tokens", "tokens", "64", "length of each question", |lab, text| {
        lab.docqa.question = Tokens(units::count(text, 1)?)
    }),
    setting!("docqa.answer_tokens", "tokens", "200", "length of each answer", |lab, text| {
        lab.docqa.answer = Tokens(units::count(text, 1)?)
    }),
    setting!("docqa.instruction_tokens", "tokens", "0", "an instruction that all prompts begin with", |lab, text| {
        lab.docqa.instruction = Tokens(units::count(text, 0)?)
    }),
    setting!("docqa.users", "count", "100", "users who ask, each a session", |lab, text| {
        lab.docqa.users = units::count(text, 1)?
    }),
    setting!(
        "price.usd_per_hour",
        "number",
        "dated list price of the instance type",
        "of one instance",
        |lab, text| { lab.usd_per_hour = Some(units::number(text, (0.0, 1e6))?) }
    ),
];
