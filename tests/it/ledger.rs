//! Every figure, worked out by hand.

use crate::quantiles::{check_distribution, near};
use kvcache::{Blocks, CacheConfig, Duplicates, RequestId, SessionId, Span, Time, Tokens, WorkerId};
use router::{Api, Router, RouterConfig, Strategy};
use serde_json::Value;
use sim::cluster::{Cluster, Event, Refusal};
use sim::cost::{CostModel, Segment, Shape};
use sim::executor::Stretch;
use sim::ledger::{Distribution, Ledger, Price, Status, Summary};
use sim::replica::{EngineConfig, Output};
use sim::simulate::{Path, simulate};
use sim::workload::{Pacing, Segment as Piece, Workload};
use std::collections::BTreeMap;

mod through; // the same through the driver

// A run through real engines.

/// A pass takes 10 ms, and 0.1 ms more for each of its tokens.
struct PerToken;

impl CostModel for PerToken {
    fn segment(&self, shape: &Shape) -> Segment {
        let base = Span::from_millis(10) + Span::from_micros(100) * shape.tokens;
        Segment::line(base, Span::ZERO)
    }
}

fn engines(workers: u16) -> Cluster {
    let engine = EngineConfig {
        max_num_seqs: 8,
        max_num_batched_tokens: Tokens(256),
        max_model_len: Tokens(256),
        chunked_prefill: true,
        long_prefill_token_threshold: None,
        max_num_partial_prefills: 1,
        reserve_full_isl: true,
        async_scheduling: false,
        max_repeats: 1 << 14,
        record_work: false,
        tiers: None,
        cache: CacheConfig {
            capacity: Blocks(64),
            block: Tokens(16),
            prefix_caching: true,
            duplicates: Duplicates::Keep,
            events: false,
        },
    };
    let router = Router::new(RouterConfig::new(Strategy::RoundRobin, workers));
    Cluster::new(workers, engine, router, Box::new(PerToken), None).expect("the engine is valid")
}

/// When a request is sent, ms; the segments of its prompt, `(id, tokens)`; and the tokens of its reply.
type Sent<'a> = (u64, &'a [(u64, u32)], u32);

/// Sends requests to two workers, 5 ms away, that take turns.
fn run(requests: &[Sent<'_>]) -> Ledger {
    run_on(&mut engines(2), requests)
}

fn run_on(cluster: &mut Cluster, requests: &[Sent<'_>]) -> Ledger {
    let mut workload = Workload::new(Pacing::Open);
    for (number, (sent, prompt, output)) in requests.iter().enumerate() {
        let pieces: Vec<Piece> = prompt.iter().map(|(id, tokens)| Piece { id: *id, tokens: Tokens(*tokens) }).collect();
        let at = Time::ZERO + Span::from_millis(*sent);
        workload.push(at, Some(SessionId(number as u64)), &pieces, Tokens(*output));
    }
    let path = Path { latency: Span::from_millis(5), api: Api::Completions, names_session: true };
    let ledger = simulate(&workload, cluster, path, |_| {}).expect("it ends in time");
    ledger.check();
    ledger
}

#[test]
fn regret_is_what_another_worker_had() {
    // The first leaves 6 blocks of its 100 tokens, 96 tokens, on worker 0. The second, on worker 1, misses 64 of them; the
    // third, the same prompt as the first on worker 0, misses nothing; the fourth, on worker 1, all but its last block.
    let requests: [Sent<'_>; 4] = [
        (0, &[(1, 64), (2, 36)], 1),
        (100, &[(1, 64), (3, 36)], 1),
        (200, &[(1, 64), (2, 36)], 1),
        (300, &[(1, 64), (2, 32)], 1),
    ];
    let ledger = run_on(&mut engines(2).with_audit(), &requests);
    let regrets: Vec<_> = ledger.records().iter().map(|record| record.regret).collect();
    // Worker 1 has the first 64 tokens from the second request on: 80 - 64 = 16 for the fourth.
    assert_eq!(regrets, [0, 64, 0, 16].map(|tokens| Some(Tokens(tokens))));
    near("overlap_regret", ledger.summary(None).overlap_regret.expect("looked"), 80.0 / 396.0);
    assert_eq!(run(&requests).summary(None).overlap_regret, None, "nobody looked");
}

/// Two instances at $36 per hour each: 2 cents a second.
const PRICE: Price = Price { usd_per_hour: 36.0, workers_per_instance: 1 };

#[test]
fn four_requests_on_two_workers() {
    // Times in ms after the first is sent; a pass of n tokens takes 10 + n / 10.
    //
    // request  sent  arrives  prompt                  reply  worker
    //    0        0        5  64 + 36                     3       0
    //    1        0        5  50                          1       1
    //    2       21       26  64 (of 0) + 36 others       5       0
    //    3       30       35  300, above max_model_len    1       1, which refuses it
    //
    // worker   pass            tokens            lasts  then
    //    0       5.0 ..  25.0  100                20.0  0: first token
    //    0      25.0 ..  35.1  1                  10.1  0: second
    //    0      35.1 ..  48.8  1 + 100 - 64       13.7  0: third and last; 2: first
    //    0      48.8 ..  89.2  1, four times      10.1  2: 58.9, 69.0, 79.1, 89.2
    //    1       5.0 ..  20.0  50                 15.0  1: first and last
    let ledger = run(&[
        (1000, &[(1, 64), (2, 36)], 3),
        (1000, &[(3, 50)], 1),
        (1021, &[(1, 64), (4, 36)], 5),
        (1030, &[(5, 300)], 1),
    ]);
    let summary = ledger.summary(Some(PRICE));
    let seconds = 0.0892; // 0.0 .. 89.2
    let dollars = 0.001784; // 2 x 36 / 3600 x 0.0892
    // What prompts add: all of 20.0 and 15.0, and 13.7 less the 10.1 of a pass with the one decoder alone.
    let (prefill, busy) = (38.6, 99.2); // busy: 20.0 + 10.1 + 13.7 + 4 x 10.1 = 84.2 of worker 0, and 15.0
    let decode = 60.6; // 10.1 + 10.1 + 4 x 10.1
    check_json(
        &summary,
        &[
            ("warmup_requests", 0.0),
            ("requests", 4.0),
            ("completed", 3.0),
            ("failed", 1.0),
            ("refused", 1.0),
            ("errored", 0.0),
            ("unfinished", 0.0),
            // 25.0, 20.0 and 48.8 - 21 = 27.8. Ranks of three are 2 q = 1, 1.8, 1.9, 1.98.
            ("mean_ttft_ms", 72.8 / 3.0),
            ("p50_ttft_ms", 25.0),
            ("p90_ttft_ms", 27.24),  // 25 + 0.8 x 2.8
            ("p95_ttft_ms", 27.52),  // 25 + 0.9 x 2.8
            ("p99_ttft_ms", 27.744), // 25 + 0.98 x 2.8
            // (48.8 - 25.0) / 2 = 11.9 and (89.2 - 48.8) / 4 = 10.1; of 1 there is none. Ranks of two are q.
            ("mean_tpot_ms", 11.0),
            ("p50_tpot_ms", 11.0),
            ("p90_tpot_ms", 11.72),  // 10.1 + 0.9 x 1.8
            ("p95_tpot_ms", 11.81),  // 10.1 + 0.95 x 1.8
            ("p99_tpot_ms", 11.882), // 10.1 + 0.99 x 1.8
            // 10.1 and 13.7 of request 0, four times 10.1 of request 2. Ranks of six are 5 q = 2.5, 4.5, 4.75, 4.95.
            ("mean_itl_ms", 10.7), // 64.2 / 6
            ("p50_itl_ms", 10.1),
            ("p90_itl_ms", 11.9),  // 10.1 + 0.5 x 3.6
            ("p95_itl_ms", 12.8),  // 10.1 + 0.75 x 3.6
            ("p99_itl_ms", 13.52), // 10.1 + 0.95 x 3.6
            // 48.8, 20.0 and 89.2 - 21 = 68.2.
            ("mean_e2el_ms", 137.0 / 3.0),
            ("p50_e2el_ms", 48.8),
            ("p90_e2el_ms", 64.32),  // 48.8 + 0.8 x 19.4
            ("p95_e2el_ms", 66.26),  // 48.8 + 0.9 x 19.4
            ("p99_e2el_ms", 67.812), // 48.8 + 0.98 x 19.4
            ("request_throughput", 3.0 / seconds),
            ("output_throughput", 9.0 / seconds),        // 3 + 1 + 5
            ("total_token_throughput", 259.0 / seconds), // 100 + 50 + 100 + 9
            ("cost_per_1k_tokens.total", 1000.0 * dollars / 259.0),
            ("cost_per_1k_tokens.output_only", 1000.0 * dollars / 9.0),
            ("cost_per_1k_tokens.input", 1000.0 * dollars * prefill / busy / 250.0),
            ("cost_per_1k_tokens.output", 1000.0 * dollars * decode / busy / 9.0),
            ("hit_rate.l0", 0.256), // 64 / 250
            ("hit_rate.total", 0.256),
            ("imbalance", 84.2 / 49.6), // the mean of 84.2 and 15.0
            ("makespan_s", seconds),
            ("prompt_tokens", 250.0),
            ("output_tokens", 9.0),
            ("cached_tokens", 64.0),
            // The third request finds its first 64 tokens, four blocks; 100 + 50 + 36 are computed.
            ("tokens.l0", 64.0),
            ("tokens.l1", 0.0),
            ("tokens.l2", 0.0),
            ("tokens.computed", 186.0),
            ("passes", 8.0), // 7 and 1
            ("preemptions", 0.0),
            ("routing.turn", 4.0),
        ],
        &["hit_rate.l1", "hit_rate.l2", "overlap_regret", "bytes_moved", "stall_s", "tier_events", "fleet"],
    );
    // Little's law by hand: 43.8 + 15.0 + 63.2 request-ms from arrival at the router to the last token.
    assert_eq!(ledger.residence(), u128::from(Span::from_millis(122).0));
    check_where_time_goes(&summary);
    check_cost_adds_up(&summary, dollars);
    let free = ledger.summary(None);
    assert_eq!(free.cost, sim::ledger::CostPer1k::default(), "without a price, no cost is known");
    assert_eq!(Summary { cost: free.cost, ..summary }, free, "nothing else depends on the price");
}

/// Of the four requests on two workers.
fn check_where_time_goes(summary: &Summary) {
    // Request 2 comes while a pass runs, and waits for its end: 26.0 .. 35.1. All else is the way and prefill.
    let parts = summary.breakdown.parts;
    let means = parts.map(|part| part.mean_ms.expect("three were served"));
    for ((name, mean), expected) in means.named().into_iter().zip([5.0, 0.0, 0.0, 9.1 / 3.0, 0.0, 48.7 / 3.0]) {
        near(name, mean, expected);
    }
    let classes = summary.breakdown.classes;
    // It finds 64 of its 100 tokens, the others none.
    assert_eq!((classes.hit.requests, classes.partial.requests, classes.miss.requests), (0, 1, 2));
    let slowest = summary.breakdown.slowest;
    assert_eq!((slowest.requests, slowest.classes.partial.requests), (1, 1));
    near("its wait", slowest.classes.partial.shares.expect("it is there").budget_wait, 9.1 / 27.8);
    // Blocks of 16 tokens on worker 0: 7 from 5.0 on, 10 from 35.1 on, when four are shared, 7 from 48.8 to 89.2; on worker 1
    // 4 from 5.0 to 20.0. Of 64 each. Asked for, of 2,048 tokens: 103 and 51 from 5.0 on, 103 and 105 from 26.0 on.
    let kv = summary.kv_in_flight;
    assert_eq!(kv.pool_tokens, Some(2048));
    for (name, value, expected) in [
        ("held", kv.held_mean, (7.0 * 30.1 + 10.0 * 13.7 + 7.0 * 40.4 + 4.0 * 15.0) / (84.2 * 128.0)),
        ("most held", kv.held_peak, 11.0 / 128.0),
        ("most held of one", kv.held_peak_worker, 10.0 / 64.0),
        ("asked", kv.asked_mean, (103.0 * 43.8 + 51.0 * 15.0 + 105.0 * 63.2) / (84.2 * 2048.0)),
        ("most asked", kv.asked_peak, 208.0 / 2048.0),
    ] {
        near(name, value.expect("it ran"), expected);
    }
}

#[test]
fn replies_of_one_token_have_no_time_per_output_token() {
    // Both sent at 0; 20 and 15 ms of prefill after the 5 ms on the way.
    let summary = run(&[(0, &[(1, 100)], 1), (0, &[(2, 50)], 1)]).summary(Some(PRICE));
    check_distribution(&summary.ttft, [22.5, 22.5, 24.5, 24.75, 24.95]); // 20 + q x 5
    assert_eq!(summary.ttft, summary.e2el, "the first token is the last");
    assert_eq!((summary.tpot, summary.itl), (Distribution::default(), Distribution::default()));
    // All engine time is the prompts'; that replies cost nothing is a fact, not unknown.
    near("input", summary.cost.input.expect("there is a price"), 1000.0 * 0.02 * 0.025 / 150.0);
    assert_eq!(summary.cost.output, Some(0.0));
    check_cost_adds_up(&summary, 0.02 * 0.025);
}

#[test]
fn nothing_completed_is_unknown_everywhere() {
    let figures = [
        ("warmup_requests", 0.0),
        ("requests", 1.0),
        ("completed", 0.0),
        ("failed", 1.0),
        ("refused", 1.0),
        ("errored", 0.0),
        ("unfinished", 0.0),
        ("prompt_tokens", 0.0),
        ("output_tokens", 0.0),
        ("cached_tokens", 0.0),
        ("tokens.l0", 0.0),
        ("tokens.l1", 0.0),
        ("tokens.l2", 0.0),
        ("tokens.computed", 0.0),
        ("passes", 0.0),
        ("preemptions", 0.0),
        ("routing.turn", 1.0),
    ];
    let mut unknown = vec![
        "request_throughput",
        "output_throughput",
        "total_token_throughput",
        "cost_per_1k_tokens.total",
        "cost_per_1k_tokens.output_only",
        "cost_per_1k_tokens.input",
        "cost_per_1k_tokens.output",
        "hit_rate.l0",
        "hit_rate.l1",
        "hit_rate.l2",
        "hit_rate.total",
        "imbalance",
        "overlap_regret",
        "makespan_s",
        "bytes_moved",
        "stall_s",
        "tier_events",
        "fleet",
    ];
    let names: Vec<String> = ["ttft", "tpot", "itl", "e2el"]
        .iter()
        .flat_map(|of| ["mean", "p50", "p90", "p95", "p99"].map(|which| format!("{which}_{of}_ms")))
        .collect();
    unknown.extend(names.iter().map(String::as_str));
    let summary = run(&[(0, &[(1, 300)], 1)]).summary(Some(PRICE));
    check_json(&summary, &figures, &unknown);
    // JSON writes "not a number" as null, too; the figures themselves tell it from `None`.
    assert_eq!(
        summary,
        Summary { requests: 1, failed: 1, refused: 1, routing: [("turn", 1)].into(), ..Summary::default() }
    );
    assert_eq!(Ledger::new(2, 0).summary(Some(PRICE)), Summary::default());
}

// Books kept by hand: what no run by itself ends in.

fn ms(millis: u64) -> Time {
    Time::ZERO + Span::from_millis(millis)
}

fn output(worker: u16, output: Output) -> Event {
    Event::Output { worker: WorkerId(worker), output }
}

#[test]
fn who_did_not_finish_is_counted_and_measured_nowhere() {
    // request  prompt  cached  reply  first  last  ends
    //    0        100      32      5     40   130  completed, after a gap of 30 ms for a preemption
    //    1         50                             refused
    //    2        200      80      9     50       unfinished
    //    3         60      16      9              its client went away
    let mut ledger = Ledger::new(3, 4);
    for (request, prompt, reply) in [(0, 100, 5), (1, 50, 3), (2, 200, 9), (3, 60, 9)] {
        ledger.arrived(RequestId(request), ms(10), ms(15), Tokens(prompt), Tokens(reply));
    }
    let (at, again, refusal) = (ms(15), ms(100), Refusal::NoWorker);
    let request = RequestId;
    // Worker 0: 30 ms, of which 10 are the prompts'. Worker 1: 10 + 11 + 12 ms, two decoders emit each time.
    let mixed = Stretch {
        waited: Span::ZERO,
        idle: Span::ZERO,
        started: at,
        first: Span::from_millis(30),
        growth: Span::ZERO,
        passes: 1,
        steady: 0,
        prefill: Span::from_millis(10),
        beyond: None,
    };
    let decoding = Stretch {
        waited: Span::ZERO,
        idle: Span::ZERO,
        first: Span::from_millis(10),
        growth: Span::from_millis(1),
        passes: 3,
        steady: 2,
        prefill: Span::ZERO,
        ..mixed
    };
    for (now, event) in [
        (15, Event::Refused { request: request(1), refusal, at }),
        (15, output(0, Output::Admitted { request: request(0), cached: Tokens(32), at })),
        (15, output(1, Output::Admitted { request: request(2), cached: Tokens(80), at })),
        (15, output(1, Output::Admitted { request: request(3), cached: Tokens(16), at })),
        (40, output(0, Output::FirstToken { request: request(0), computed: Tokens(68), at: ms(40) })),
        (45, Event::Ran { worker: WorkerId(0), stretch: mixed, work: None }),
        (50, output(1, Output::FirstToken { request: request(2), computed: Tokens(120), at: ms(50) })),
        (60, Event::Ran { worker: WorkerId(1), stretch: decoding, work: None }),
        (70, output(1, Output::Cancelled { request: request(3) })),
        (75, output(0, Output::Preempted { request: request(0) })),
        // It finds more the second time, which is not a second prompt.
        (100, output(0, Output::Admitted { request: request(0), cached: Tokens(96), at: again })),
        (
            101,
            output(0, Output::Loaded { request: request(0), host: Tokens(8), pool: Tokens(4), whole: true, at: again }),
        ),
        (105, output(0, Output::Resumed { request: request(0), before: ms(75), at: ms(105) })),
        (130, output(0, Output::Finished { request: request(0), at: ms(130) })),
    ] {
        ledger.enter(&event, ms(now));
    }
    ledger.close(ms(140));
    let statuses: Vec<Status> = ledger.records().iter().map(|record| record.status).collect();
    assert_eq!(statuses, [Status::Completed, Status::Refused, Status::Unfinished, Status::Cancelled]);
    // Three workers, two to an instance.
    let summary = ledger.summary(Some(Price { workers_per_instance: 2, ..PRICE }));
    let counts = (summary.requests, summary.completed, summary.failed, summary.refused, summary.unfinished);
    assert_eq!(counts, (4, 1, 3, 1, 2));
    assert_eq!((summary.passes, summary.preemptions), (4, 1));
    // Only request 0 is measured, whole: 40 - 10, (130 - 40) / 4, 130 - 10.
    check_distribution(&summary.ttft, [30.0; 5]);
    check_distribution(&summary.tpot, [22.5; 5]);
    check_distribution(&summary.e2el, [120.0; 5]);
    // Tokens came out for all: 10, 10, 11, 11, 12, 12, 30. Ranks of seven are 6 q = 3, 5.4, 5.7, 5.94.
    check_distribution(&summary.itl, [96.0 / 7.0, 11.0, 19.2, 24.6, 28.92]); // 12 + 0.4, 0.7, 0.94 x 18
    // Of all who were admitted: 32 + 80 + 16 of 100 + 200 + 60.
    assert_eq!((summary.prompt_tokens, summary.output_tokens, summary.cached_tokens), (100, 5, 128));
    near("hit rate", summary.hit_rate.total.expect("prompts were looked up"), 128.0 / 360.0);
    // From 10 to 130; busy 30, 33 and 0, of which prompts are 10.
    near("makespan", summary.makespan_s.expect("one completed"), 0.120);
    near("output", summary.throughput.output.expect("one completed"), 5.0 / 0.120);
    near("imbalance", summary.imbalance.expect("engines ran"), 33.0 / 21.0);
    let dollars = 0.02 * 0.120;
    near("input", summary.cost.input.expect("there is a price"), 1000.0 * dollars * 10.0 / 63.0 / 100.0);
    near("output", summary.cost.output.expect("there is a price"), 1000.0 * dollars * 53.0 / 63.0 / 5.0);
    check_cost_adds_up(&summary, dollars);
    // In the system from 15 on: request 0 to 130, request 2 to the end, request 3 to 70.
    assert_eq!(ledger.residence(), u128::from(Span::from_millis(115 + 125 + 55).0));
}

// Comparisons.

/// The dollars of prompts and those of replies are all dollars.
fn check_cost_adds_up(summary: &Summary, dollars: f64) {
    let (cost, prompts, outputs) = (&summary.cost, summary.prompt_tokens as f64, summary.output_tokens as f64);
    let of = |per_1k: Option<f64>| per_1k.expect("there is a price") / 1000.0;
    near("input and output", of(cost.input) * prompts + of(cost.output) * outputs, dollars);
    near("total", of(cost.total) * (prompts + outputs), dollars);
    near("output only", of(cost.output_only) * outputs, dollars);
}

/// The JSON of `summary` holds these figures, nulls under the names of `unknown`, and nothing else.
fn check_json(summary: &Summary, figures: &[(&str, f64)], unknown: &[&str]) {
    let json = serde_json::to_value(summary).expect("figures are representable");
    let mut left: BTreeMap<String, Value> = BTreeMap::new();
    // Where TTFT goes is asked for part by part.
    let apart = ["ttft_parts", "ttft_by_class", "slowest_tenth", "kv_in_flight"];
    let figures_here = json.as_object().expect("it is an object").iter();
    for (key, value) in figures_here.filter(|(key, _)| !apart.contains(&key.as_str())) {
        match value.as_object() {
            Some(nested) => left.extend(nested.iter().map(|(name, value)| (format!("{key}.{name}"), value.clone()))),
            None => left.extend([(key.clone(), value.clone())]),
        }
    }
    for (name, expected) in figures {
        let value = left.remove(*name).unwrap_or_else(|| panic!("there is no {name}"));
        near(name, value.as_f64().unwrap_or_else(|| panic!("{name} is {value}")), *expected);
    }
    for name in unknown {
        assert_eq!(left.remove(*name), Some(Value::Null), "{name} is unknown");
    }
    assert!(left.is_empty(), "nobody expected {left:?}");
}
