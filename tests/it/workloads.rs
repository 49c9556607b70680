//! Generated workloads: what is shared is what is said, lengths and times are what they are called, and a draw in one
//! stream shifts no other.

use kvcache::{ChainBuilder, Piece, SessionId, Span, Time, Tokens};
use sim::streams::Streams;
use sim::workload::chat::Chat;
use sim::workload::code_review::CodeReview;
use sim::workload::document_qa::DocumentQa;
use sim::workload::mixed::Mixed;
use sim::workload::shared_system::SharedSystem;
use sim::workload::unrelated::Unrelated;
use sim::workload::{Arrivals, Pacing, Request, Workload};
use std::collections::BTreeMap;

mod description; // what is said of one before it is simulated
mod lengths; // the distributions
mod sharing; // who shares what with whom
mod times; // when requests are sent, and by whom
mod streams; // a stream per purpose
mod shapes; // a rate that changes
mod turns; // who waits for whose reply
mod reviews; // what reviews of code share
mod rounds; // production-stack's benchmark
mod repeats; // a trace played again
mod overload; // more of them than workers serve
mod runs; // through the simulator, and what a lab may not ask for

const OPEN: Arrivals = Arrivals::Poisson { rate: 5.0 };
const CLOSED: Arrivals = Arrivals::Closed { concurrency: 4 };
const USERS: Arrivals = Arrivals::Users { users: 7, think: Span::from_secs(3) };

const CHAT: Chat = Chat {
    requests: 600,
    users: 20,
    turns: 5,
    system: Tokens(100),
    message: Tokens(50),
    answer: Tokens(80),
    think: Span::from_secs(2),
};

const SHARED: SharedSystem =
    SharedSystem { requests: 600, system: Tokens(1000), question: Tokens(200), answer: Tokens(90), users: 20 };

const MIXED: Mixed = Mixed {
    requests: 2000,
    long_share: 200,
    medium_share: 300,
    short: Tokens(400),
    medium: Tokens(3000),
    spread: 0.8,
    document: Tokens(20_000),
    questions: 4,
    answer: Tokens(150),
    users: 20,
};

const UNRELATED: Unrelated =
    Unrelated { requests: 600, prompt: Tokens(300), spread: 0.7, answer: Tokens(70), users: 20 };

const REVIEW: CodeReview = CodeReview {
    requests: 600,
    repositories: 3,
    system: Tokens(50),
    guide: Tokens(200),
    map: Tokens(400),
    merges: 2,
    files: Tokens(900),
    reviews: 3,
    diff: Tokens(80),
    turns: 2,
    answer: Tokens(60),
};

/// Those under test that are drawn, each with its name.
fn all(arrivals: Arrivals, seed: u64) -> [(&'static str, Workload); 5] {
    let streams = Streams::new(seed);
    [
        ("chat", CHAT.generate(arrivals, streams)),
        ("shared-system", SHARED.generate(arrivals, streams)),
        ("mixed", MIXED.generate(arrivals, streams)),
        ("unrelated", UNRELATED.generate(arrivals, streams)),
        ("code-review", REVIEW.generate(arrivals, streams)),
    ]
}

/// The pieces of a request's prompt and, last, its reply: equal keys mean equal pasts.
fn pieces(workload: &Workload, request: &Request) -> Vec<Piece> {
    let mut chain = ChainBuilder::new();
    workload.chain(request, &mut chain);
    chain.pieces().to_vec()
}

/// What is new in each prompt: the length of its last segment.
fn new_tokens(workload: &Workload) -> Vec<u32> {
    let last = |request| workload.segments(request).last().expect("a prompt says something").tokens.0;
    workload.requests().iter().map(last).collect()
}

/// Mean and standard error of `values`.
fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, (variance / count).sqrt())
}

/// Asserts that the mean of `values` is `expected` within three standard errors, which are below a tenth of it.
fn has_mean(values: impl IntoIterator<Item = f64>, expected: f64, what: &str) {
    let values: Vec<f64> = values.into_iter().collect();
    let (mean, error) = mean(&values);
    println!("{what}: {mean:.4} +- {error:.4}, expected {expected:.4}");
    assert!((mean - expected).abs() <= 3.0 * error, "{what}: {mean} +- {error}, not {expected}");
    assert!(3.0 * error < 0.1 * expected, "{what}: the sample is large enough to tell 10 %");
}

/// Asserts that `values` have the mean and the standard deviation of the geometric distribution.
fn is_geometric(values: impl IntoIterator<Item = u32>, expected: f64, what: &str) {
    let values: Vec<f64> = values.into_iter().map(f64::from).collect();
    let (deviation, root) = (mean(&values).1 * (values.len() as f64).sqrt(), (expected * (expected - 1.0)).sqrt());
    assert!((deviation / root - 1.0).abs() < 0.05, "{what}: deviation {deviation}, not {root}");
    has_mean(values, expected, what);
}
