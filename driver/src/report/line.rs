//! A request's story as a line of JSON.

use crate::experiment::{Outcome, Tiers};
use crate::told::Request;
use kvcache::{Span, Time, Tokens};
use router::Reason;
use serde::Serialize;
use sim::ledger::{ByPart, Class, Record, Status};

/// A line of `requests.jsonl`. Moments are milliseconds from the start of the run; unknown is null.
#[derive(Serialize)]
pub(super) struct Line {
    request: u64,
    status: &'static str,
    worker: Option<u16>,
    reason: Option<&'static str>,
    fallback: Option<&'static str>,
    /// Whether the figures of the run are of it, too.
    measured: bool,
    sent_ms: f64,
    admitted_ms: Option<f64>,
    first_token_ms: Option<f64>,
    last_token_ms: Option<f64>,
    ttft_ms: Option<f64>,
    /// What TTFT was spent on: the six add up to it.
    ttft_api_ms: Option<f64>,
    ttft_line_ms: Option<f64>,
    ttft_kv_wait_ms: Option<f64>,
    ttft_budget_wait_ms: Option<f64>,
    ttft_tiers_ms: Option<f64>,
    ttft_compute_ms: Option<f64>,
    tpot_ms: Option<f64>,
    e2el_ms: Option<f64>,
    prompt_tokens: u32,
    output_tokens: u32,
    /// hit, partial or miss, by how much of the prompt was found.
    class: Option<&'static str>,
    /// In any tier; the next three say in which.
    cached_tokens: Option<u32>,
    cached_l0_tokens: Option<u32>,
    cached_l1_tokens: Option<u32>,
    cached_l2_tokens: Option<u32>,
    /// As the router believed: what the worker had, and the most that any had.
    matched_tokens: Option<u32>,
    best_matched_tokens: Option<u32>,
    /// What another worker's device really had more.
    regret_tokens: Option<u32>,
    preemptions: u32,
    /// How often the worker died that it was at.
    lost: u32,
    refusal: Option<&'static str>,
}

impl Line {
    /// As it is read again.
    pub(super) fn told(&self) -> Request {
        Request {
            number: self.request,
            status: self.status.to_owned(),
            worker: self.worker.map(|worker| worker.to_string()),
            measured: self.measured,
            sent_ms: Some(self.sent_ms),
            admitted_ms: self.admitted_ms,
            first_token_ms: self.first_token_ms,
            last_token_ms: self.last_token_ms,
            ttft_ms: self.ttft_ms,
            tpot_ms: self.tpot_ms,
            e2el_ms: self.e2el_ms,
            ttft_api_ms: self.ttft_api_ms,
            ttft_line_ms: self.ttft_line_ms,
            ttft_kv_wait_ms: self.ttft_kv_wait_ms,
            ttft_budget_wait_ms: self.ttft_budget_wait_ms,
            ttft_tiers_ms: self.ttft_tiers_ms,
            ttft_compute_ms: self.ttft_compute_ms,
            ttft_client_ms: None,
            prompt_tokens: Some(self.prompt_tokens.into()),
            output_tokens: Some(self.output_tokens.into()),
            cached_tokens: self.cached_tokens.map(u64::from),
            cached_l0_tokens: self.cached_l0_tokens.map(u64::from),
            cached_l1_tokens: self.cached_l1_tokens.map(u64::from),
            cached_l2_tokens: self.cached_l2_tokens.map(u64::from),
            class: self.class.map(str::to_owned),
        }
    }

    pub(super) fn of(request: u64, record: &Record, outcome: &Outcome) -> Self {
        let tiers = outcome.case.cache;
        let part = |of: fn(ByPart<Span>) -> Span| record.parts().map(|parts| of(parts).as_millis_f64());
        let there = |is: bool, tokens: Option<Tokens>| tokens.filter(|_| is).map(|tokens| tokens.0);
        let tokens = |tokens: Option<Tokens>| tokens.map(|tokens| tokens.0);
        let moment = |time: Time| Span(time.0).as_millis_f64();
        Self {
            request,
            status: match record.status {
                Status::Completed => "completed",
                Status::Refused => "refused",
                Status::Cancelled => "cancelled",
                Status::Errored => "errored",
                Status::Unfinished => "unfinished",
            },
            worker: record.worker.map(|worker| worker.0),
            reason: record.reason.as_ref().map(Reason::as_str),
            fallback: record.reason.as_ref().and_then(Reason::fallback),
            measured: request >= outcome.summary.left_out,
            sent_ms: moment(record.sent),
            admitted_ms: record.admitted.map(moment),
            first_token_ms: record.first_token.map(moment),
            last_token_ms: record.last_token.map(moment),
            ttft_ms: record.ttft().map(Span::as_millis_f64),
            ttft_api_ms: part(|parts| parts.api),
            ttft_line_ms: part(|parts| parts.line),
            ttft_kv_wait_ms: part(|parts| parts.kv_wait),
            ttft_budget_wait_ms: part(|parts| parts.budget_wait),
            ttft_tiers_ms: part(|parts| parts.tiers),
            ttft_compute_ms: part(|parts| parts.compute),
            tpot_ms: record.tpot().map(Span::as_millis_f64),
            e2el_ms: record.e2el().map(Span::as_millis_f64),
            prompt_tokens: record.prompt.0,
            output_tokens: record.output.0,
            class: record.class().map(Class::as_str),
            cached_tokens: tokens(record.found()),
            cached_l0_tokens: there(tiers != Tiers::None, record.cached),
            cached_l1_tokens: there(tiers.l1(), record.from_l1),
            cached_l2_tokens: there(tiers.l2(), record.from_l2),
            matched_tokens: tokens(record.matched),
            best_matched_tokens: tokens(record.best),
            regret_tokens: tokens(record.regret),
            preemptions: record.preemptions,
            lost: record.lost,
            refusal: record.refusal.map(|refusal| refusal.class()),
        }
    }
}
