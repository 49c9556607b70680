//! What may be known of each worker, as columns.

use super::super::table::number;
use kvcache::{Span, Tokens};
use router::{CostUnit, RouterConfig, Score};

/// A column.
pub(super) struct Figure {
    /// Its name in a sentence.
    pub(super) name: &'static str,
    /// Its name above the column, in two lines.
    pub(super) head: &'static str,
    /// What it is, in a line.
    pub(super) means: &'static str,
    /// Its value for a worker. `None`: unknown.
    pub(super) cell: fn(&Score) -> Option<String>,
}

/// All that could be known of workers by a router that is set up like this.
pub(super) fn figures(router: &RouterConfig) -> Vec<&'static Figure> {
    let [l0, l1, l2] = router.tiers_known();
    let matched = [(l0, &L0), (l1, &L1), (l2, &L2), (!l0, &SENT)];
    let matched = matched.into_iter().filter(|(is, _)| *is).map(|(_, figure)| figure);
    let cost = match router.strategy.cost() {
        Some(CostUnit::Requests) | None => &COST_IN_REQUESTS,
        Some(CostUnit::Tokens) => &COST_IN_TOKENS,
        Some(CostUnit::Time) => &COST_IN_TIME,
    };
    matched.chain([&IN_FLIGHT, &QUEUED, &CONTEXT, cost, &EXPECTED, &DISPLACED, &AGE]).collect()
}

const MATCHED: &str =
    "matched: what a worker has of the prompt as far as the router knows, L1 behind L0, L2 behind both";

static L0: Figure = Figure {
    name: "matched in L0",
    head: "matched\nL0",
    means: MATCHED,
    cell: |score| score.matched.map(|matched| tokens(matched.l0)),
};

static L1: Figure = Figure {
    name: "matched in L1",
    head: "matched\nL1",
    means: MATCHED,
    cell: |score| score.matched.map(|matched| tokens(matched.l1)),
};

static L2: Figure = Figure {
    name: "matched in L2",
    head: "matched\nL2",
    means: MATCHED,
    cell: |score| score.matched.map(|matched| tokens(matched.l2)),
};

static SENT: Figure = Figure {
    name: "what workers hold",
    head: "sent\nbefore",
    means: "sent before: the longest prefix of the prompt that a worker was sent, whether or not it has it still",
    cell: |score| score.matched.map(|sent| tokens(sent.total())),
};

static IN_FLIGHT: Figure = Figure {
    name: "requests in flight",
    head: "in\nflight",
    means: "in flight: requests sent to a worker that have not ended, as far as the router has heard",
    cell: |score| score.requests.map(|requests| number(Some(f64::from(requests)))),
};

static QUEUED: Figure = Figure {
    name: "queued tokens",
    head: "queued\ntokens",
    means: "queued: tokens that those have still to compute; context: all tokens that they hold or will hold",
    cell: |score| score.requests.map(|_| number(Some(score.queued as f64))),
};

static CONTEXT: Figure = Figure {
    name: "context of requests in flight",
    head: "context\ntokens",
    means: QUEUED.means,
    cell: |score| score.requests.map(|_| number(Some(score.context as f64))),
};

const COST: &str = "cost: what the strategy makes smallest, where its rule leaves a choice";

static COST_IN_REQUESTS: Figure = Figure {
    name: "cost",
    head: "cost\nrequests",
    means: COST,
    cell: |score| score.cost.map(|cost| number(Some(cost as f64))),
};

static COST_IN_TOKENS: Figure = Figure { head: "cost\ntokens", ..COST_IN_REQUESTS };

static COST_IN_TIME: Figure =
    Figure { head: "cost\nms", cell: |score| score.cost.map(|cost| millis(Span(cost))), ..COST_IN_REQUESTS };

static EXPECTED: Figure = Figure {
    name: "expected TTFT",
    head: "expected\nTTFT ms",
    means: "expected TTFT: at the worker, without api.latency",
    cell: |score| score.expected.map(millis),
};

static DISPLACED: Figure = Figure {
    name: "displaced tokens",
    head: "\ndisplaced",
    means: "displaced: tokens of other prompts that would make room on the device",
    cell: |score| score.displaced.map(tokens),
};

static AGE: Figure = Figure {
    name: "age of signals",
    head: "age\nms",
    means: "age: of the latest news of the worker",
    cell: |score| score.age.map(millis),
};

pub(super) fn tokens(tokens: Tokens) -> String {
    number(Some(f64::from(tokens.0)))
}

/// Milliseconds, to the tenth below a hundred.
pub(super) fn millis(span: Span) -> String {
    let millis = span.as_millis_f64();
    if millis < 100.0 { format!("{millis:.1}") } else { number(Some(millis.round())) }
}
