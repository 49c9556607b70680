//! A resolved lab as a value: what a lab file would have to say to give it again.

use super::Lab;
use kvcache::{Duplicates, Span, Tokens};
use serde_json::{Value, json};
use sim::workload::document_qa::DocumentQa;

impl Lab {
    /// Every setting under its name, as a lab file takes it; `null` where the endpoint file or the hardware decides.
    #[must_use]
    pub fn describe(&self) -> Value {
        // No `..`: a setting that is not described does not compile.
        let Self {
            api_latency,
            model,
            host_overhead,
            max_num_seqs,
            max_num_batched_tokens,
            max_model_len,
            num_gpu_blocks,
            block_size,
            gpu_memory_utilization,
            chunked_prefill,
            long_prefill_token_threshold,
            max_num_partial_prefills,
            reserve_full_isl,
            async_scheduling,
            duplicates,
            chars_per_token,
            kv_aware_threshold,
            qps_window,
            docqa,
            usd_per_hour,
        } = self;
        // How many requests there are is not of the lab.
        let DocumentQa { requests: _, documents, document, question, answer, instruction, users } = docqa;
        let tokens = |tokens: &Option<Tokens>| tokens.map(|tokens| tokens.0);
        json!({
            "api.latency": span(*api_latency),
            "model.name": model,
            "engine.host_overhead": span(*host_overhead),
            "engine.max_num_seqs": max_num_seqs,
            "engine.max_num_batched_tokens": tokens(max_num_batched_tokens),
            "engine.max_model_len": tokens(max_model_len),
            "engine.num_gpu_blocks": num_gpu_blocks,
            "engine.block_size": tokens(block_size),
            "engine.gpu_memory_utilization": gpu_memory_utilization,
            "engine.chunked_prefill": chunked_prefill,
            "engine.long_prefill_token_threshold": tokens(long_prefill_token_threshold),
            "engine.max_num_partial_prefills": max_num_partial_prefills,
            "engine.reserve_full_isl": reserve_full_isl,
            "engine.async_scheduling": async_scheduling,
            "engine.duplicates": duplicates_name(*duplicates),
            "router.chars_per_token": chars_per_token,
            "router.kv_aware_threshold": kv_aware_threshold.0,
            "router.qps_window": span(*qps_window),
            "docqa.documents": documents,
            "docqa.document_tokens": document.0,
            "docqa.question_tokens": question.0,
            "docqa.answer_tokens": answer.0,
            "docqa.instruction_tokens": instruction.0,
            "docqa.users": users,
            "price.usd_per_hour": usd_per_hour,
        })
    }
}

/// As `engine.duplicates` names it.
pub(crate) const fn duplicates_name(duplicates: Duplicates) -> &'static str {
    match duplicates {
        Duplicates::Keep => "keep",
        Duplicates::Merge => "merge",
    }
}

fn span(span: Span) -> String {
    format!("{}ms", span.as_millis_f64())
}
