//! Explanations for programs.

use super::super::line::Line;
use super::super::{Case, pretty};
use super::words::because;
use crate::experiment::{Explanation, Outcome, Routed};
use kvcache::{Span, Tokens};
use router::{CostUnit, RouterConfig, Score, TierTokens};
use serde::Serialize;

pub(super) fn of(outcomes: &[Outcome]) -> String {
    let one = |outcome| move |explanation| Told::of(outcome, explanation);
    let explanations =
        outcomes.iter().flat_map(|outcome| outcome.explanations.iter().map(one(outcome))).collect::<Vec<_>>();
    pretty(&All { explanations })
}

#[derive(Serialize)]
struct All<'a> {
    explanations: Vec<Told<'a>>,
}

/// Unknown is null.
#[derive(Serialize)]
struct Told<'a> {
    run: Case<'a>,
    /// As in `requests.jsonl`.
    request: Line,
    session: Option<u64>,
    arrived_ms: f64,
    decision: Option<Choice>,
    workers: Vec<Weighed>,
    /// What workers really had on their devices.
    overlap: Option<Overlap>,
}

#[derive(Serialize)]
struct Choice {
    worker: u16,
    reason: &'static str,
    fallback: Option<&'static str>,
    because: String,
    matched_tokens: Option<u32>,
    best_matched_tokens: Option<u32>,
    regret_tokens: Option<u32>,
    age_ms: Option<f64>,
    /// Of the workers' costs: requests, tokens or ms.
    cost_unit: Option<&'static str>,
}

#[derive(Serialize)]
struct Weighed {
    worker: usize,
    chosen: bool,
    available: bool,
    matched_tokens: Option<u32>,
    matched_l0_tokens: Option<u32>,
    matched_l1_tokens: Option<u32>,
    matched_l2_tokens: Option<u32>,
    requests_in_flight: Option<u32>,
    /// Tokens that those have still to compute, and all of their contexts.
    queued_tokens: Option<u64>,
    context_tokens: Option<u64>,
    cost: Option<serde_json::Number>,
    expected_ttft_ms: Option<f64>,
    displaced_tokens: Option<u32>,
    age_ms: Option<f64>,
}

#[derive(Serialize)]
struct Overlap {
    chosen_tokens: u32,
    best_tokens: u32,
    regret_tokens: u32,
}

impl<'a> Told<'a> {
    fn of(outcome: &'a Outcome, explanation: &'a Explanation) -> Self {
        let Explanation { request, session, names_session, ref record, ref routed, ref router } = *explanation;
        let overlap = routed.as_ref().and_then(|routed| routed.overlap).map(|overlap| Overlap {
            chosen_tokens: overlap.chosen.0,
            best_tokens: overlap.best.0,
            regret_tokens: overlap.regret().0,
        });
        let weighed = |routed: &Routed| {
            let scores = routed.decision.scores.iter().enumerate();
            scores.map(|(worker, score)| Weighed::of(worker, score, routed, router)).collect()
        };
        Self {
            run: Case::of(outcome),
            request: Line::of(request, record, outcome),
            session: session.filter(|_| names_session).map(|session| session.0),
            arrived_ms: Span(record.arrived.0).as_millis_f64(),
            decision: routed.as_ref().map(|routed| Choice::of(routed, router)),
            workers: routed.as_ref().map(weighed).unwrap_or_default(),
            overlap,
        }
    }
}

impl Choice {
    fn of(routed: &Routed, router: &RouterConfig) -> Self {
        let decision = &routed.decision;
        Self {
            worker: decision.worker.0,
            reason: decision.reason.as_str(),
            fallback: decision.reason.fallback(),
            because: because(decision.reason, router),
            matched_tokens: decision.matched.map(count),
            best_matched_tokens: decision.best.map(count),
            regret_tokens: decision.regret().map(count),
            age_ms: decision.age.map(Span::as_millis_f64),
            cost_unit: router.strategy.cost().map(|unit| match unit {
                CostUnit::Requests => "requests",
                CostUnit::Tokens => "tokens",
                CostUnit::Time => "ms",
            }),
        }
    }
}

impl Weighed {
    fn of(worker: usize, score: &Score, routed: &Routed, router: &RouterConfig) -> Self {
        let [l0, l1, l2] = router.tiers_known();
        let tier = |known: bool, of: fn(TierTokens) -> Tokens| score.matched.filter(|_| known).map(of).map(count);
        Self {
            worker,
            chosen: routed.decision.worker.index() == worker,
            available: score.available,
            matched_tokens: score.matched.map(TierTokens::total).map(count),
            matched_l0_tokens: tier(l0, |matched| matched.l0),
            matched_l1_tokens: tier(l1, |matched| matched.l1),
            matched_l2_tokens: tier(l2, |matched| matched.l2),
            requests_in_flight: score.requests,
            queued_tokens: score.requests.map(|_| score.queued),
            context_tokens: score.requests.map(|_| score.context),
            cost: score.cost.and_then(|cost| match router.strategy.cost() {
                Some(CostUnit::Time) => serde_json::Number::from_f64(Span(cost).as_millis_f64()),
                _ => Some(cost.into()),
            }),
            expected_ttft_ms: score.expected.map(Span::as_millis_f64),
            displaced_tokens: score.displaced.map(count),
            age_ms: score.age.map(Span::as_millis_f64),
        }
    }
}

const fn count(tokens: Tokens) -> u32 {
    tokens.0
}
