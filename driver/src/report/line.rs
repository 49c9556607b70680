//! A request's story as a line of JSON.

use crate::experiment::Tiers;
use kvcache::{Span, Time, Tokens};
use router::Reason;
use serde::Serialize;
use sim::ledger::{Record, Status};

/// A line of `requests.jsonl`. Moments are milliseconds from the start of the run; unknown is null.
#[derive(Serialize)]
pub(super) struct Line {
    request: u64,
    status: &'static str,
    worker: Option<u16>,
    reason: Option<&'static str>,
    fallback: Option<&'static str>,
    sent_ms: f64,
    admitted_ms: Option<f64>,
    first_token_ms: Option<f64>,
    last_token_ms: Option<f64>,
    ttft_ms: Option<f64>,
    tpot_ms: Option<f64>,
    e2el_ms: Option<f64>,
    prompt_tokens: u32,
    output_tokens: u32,
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
    pub(super) fn of(request: u64, record: &Record, tiers: Tiers) -> Self {
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
            sent_ms: moment(record.sent),
            admitted_ms: record.admitted.map(moment),
            first_token_ms: record.first_token.map(moment),
            last_token_ms: record.last_token.map(moment),
            ttft_ms: record.ttft().map(Span::as_millis_f64),
            tpot_ms: record.tpot().map(Span::as_millis_f64),
            e2el_ms: record.e2el().map(Span::as_millis_f64),
            prompt_tokens: record.prompt.0,
            output_tokens: record.output.0,
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
