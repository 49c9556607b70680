//! Where TTFT goes, and which part of a run is measured.

use crate::support::project;
use driver::endpoint::Endpoint;
use driver::experiment::{Case, Experiment, Load, Outcome, Source, Tiers};
use kvcache::{RequestId, Span, Time, Tokens, WorkerId};
use router::Strategy;
use sim::cluster::Event;
use sim::ledger::{Class, Ledger, Record};
use sim::replica::{Output, Spent};
use std::collections::BTreeMap;

fn experiment(requests: u32) -> Experiment {
    let (endpoint, _) = Endpoint::read(&project("driver/examples/aws-blog-70b.yaml")).expect("the sample is valid");
    let source = Source::read("docqa", Some(requests)).expect("there is such a workload");
    Experiment { endpoint, file: "e.yaml".to_owned(), workload: "docqa".to_owned(), source }
}

fn run(requests: u32, load: Load, settings: &[(&str, &str)]) -> Outcome {
    run_with(Tiers::L0, Strategy::PrefixAware, requests, load, settings)
}

fn run_with(cache: Tiers, strategy: Strategy, requests: u32, load: Load, settings: &[(&str, &str)]) -> Outcome {
    let settings: BTreeMap<_, _> =
        settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let case = Case { strategy, cache, replicas: 3, load, seed: 4, settings };
    let experiment = experiment(requests);
    let assembled = experiment.assemble(&case).expect("it can be simulated");
    experiment.run(case, &assembled).expect("it ends in time")
}

fn near(what: &str, value: Option<f64>, expected: f64) {
    let value = value.unwrap_or_else(|| panic!("{what} is known"));
    assert!((value - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{what}: {value}, not {expected}");
}

#[test]
fn a_hit_is_four_fifths_and_a_miss_less_than_one() {
    for (found, prompt, class) in [
        (0, 5, Class::Miss),
        (999, 5000, Class::Miss),
        (1000, 5000, Class::Partial),
        (3999, 5000, Class::Partial),
        (4000, 5000, Class::Hit),
        // A question of 64 tokens behind a document of 8,192.
        (8192, 8256, Class::Hit),
        // A system prompt of 512 tokens before a document that is new.
        (512, 8256, Class::Miss),
    ] {
        assert_eq!(Class::of(found, prompt), class, "{found} of {prompt}");
    }
}

/// Twenty requests of one token, a millisecond apart, on an engine that exists on paper: the n-th waits n ms for room, is
/// computed for 10 ms, and takes 1 ms on its way. Of 100 tokens the first ten found 90, the rest nothing.
fn on_paper() -> Ledger {
    let mut ledger = Ledger::new(1, 20);
    let ms = |ms: u64| Time::ZERO + Span::from_millis(ms);
    let worker = WorkerId(0);
    for number in 0..20 {
        ledger.arrived(RequestId(number), ms(100 * number), ms(100 * number + 1), Tokens(100), Tokens(1));
        let request = RequestId(number);
        let first = ms(100 * number + 1 + number + 10);
        let cached = Tokens(if number < 10 { 90 } else { 0 });
        let spent = Spent { kv_wait: Span::from_millis(number), compute: Span::from_millis(10), ..Spent::default() };
        for output in [
            Output::Admitted { request, cached, at: ms(100 * number + 1 + number) },
            Output::Split { request, spent, since: ms(100 * number + 1) },
            Output::FirstToken { request, computed: Tokens(100) - cached, at: first },
            Output::Finished { request, at: first },
        ] {
            ledger.enter(&Event::Output { worker, output }, first);
        }
    }
    ledger.close(ms(3000));
    ledger.check();
    ledger
}

#[test]
fn parts_classes_and_the_slowest_tenth_by_hand() {
    let summary = on_paper().summary(None);
    let parts = summary.breakdown.parts;
    // 0 to 19 ms of waiting, 10 of computing, 1 on the way: 20.5 ms on average.
    near("mean TTFT", summary.ttft.mean, 20.5);
    near("API", parts.api.mean_ms, 1.0);
    near("KV", parts.kv_wait.mean_ms, 9.5);
    near("turn", parts.budget_wait.mean_ms, 0.0);
    near("compute", parts.compute.mean_ms, 10.0);
    near("share of KV", parts.kv_wait.share, 9.5 / 20.5);
    near("P50 of KV", parts.kv_wait.p50_ms, 9.5);
    near("P90 of KV", parts.kv_wait.p90_ms, 17.1);
    let classes = summary.breakdown.classes;
    assert_eq!((classes.hit.requests, classes.partial.requests, classes.miss.requests), (10, 0, 10));
    near("P50 of hits", classes.hit.p50_ttft_ms, 15.5);
    near("P90 of misses", classes.miss.p90_ttft_ms, 29.1);
    assert_eq!((classes.partial.p50_ttft_ms, classes.partial.shares), (None, None), "unknown, not 0");
    // The slowest two: 29 and 30 ms, of which 18 and 19 for room.
    let slowest = summary.breakdown.slowest;
    assert_eq!((slowest.requests, slowest.classes.miss.requests, slowest.classes.hit.requests), (2, 2, 0));
    near("the slowest begin", slowest.from_ms, 29.0);
    near("their share of KV", slowest.classes.miss.shares.map(|shares| shares.kv_wait), 37.0 / 59.0);
}

#[test]
#[should_panic(expected = "the parts of a TTFT are all of it")]
fn parts_that_do_not_add_up_are_a_bug() {
    let mut ledger = Ledger::new(1, 1);
    let request = RequestId(0);
    ledger.arrived(request, Time::ZERO, Time(5), Tokens(10), Tokens(1));
    let spent = Spent { compute: Span(9), ..Spent::default() };
    let outputs = [
        Output::Admitted { request, cached: Tokens(0), at: Time(5) },
        Output::Split { request, spent, since: Time(5) },
        Output::FirstToken { request, computed: Tokens(10), at: Time(15) },
        Output::Finished { request, at: Time(15) },
    ];
    for output in outputs {
        ledger.enter(&Event::Output { worker: WorkerId(0), output }, Time(15));
    }
    ledger.close(Time(15));
    ledger.check();
}

/// Whoever finds no room waits for room; who waits behind others who are computed does not.
#[test]
fn what_a_queue_waits_for_is_told() {
    let sum = |outcome: &Outcome, of: fn(&Spent) -> Span| -> u64 {
        outcome.records.iter().filter_map(|record| record.spent.map(|spent| of(&spent).0)).sum()
    };
    let roomy = run_with(Tiers::None, Strategy::RoundRobin, 60, Load::Concurrency(30), &[]);
    assert_eq!(sum(&roomy, |spent| spent.kv_wait), 0, "there is room for all");
    assert!(sum(&roomy, |spent| spent.budget_wait) > 0, "ten prompts do not fit into one pass");
    let narrow = [("engine.num_gpu_blocks", "1100"), ("engine.max_model_len", "16384")];
    let narrow = run_with(Tiers::None, Strategy::RoundRobin, 60, Load::Concurrency(30), &narrow);
    assert!(sum(&narrow, |spent| spent.kv_wait) > sum(&narrow, |spent| spent.budget_wait), "two fit at a time");
    assert_eq!(sum(&narrow, |spent| spent.tiers), 0, "there are no lower tiers");
    let parts = narrow.summary.breakdown.parts;
    let share = parts.named().iter().filter_map(|(_, part)| part.share).sum::<f64>();
    assert!((share - 1.0).abs() < 1e-12, "{share}");
    let means = parts.named().iter().filter_map(|(_, part)| part.mean_ms).sum::<f64>();
    near("the means add up", narrow.summary.ttft.mean, means);
}

#[test]
fn what_is_asked_for_is_what_is_in_flight() {
    // Thirty are always in flight until the last are sent: 8,192 + 64 + 200 tokens each.
    let outcome = run(300, Load::Concurrency(30), &[]);
    let kv = outcome.summary.kv_in_flight;
    let pool = kv.pool_tokens.expect("there is one") as f64;
    near("the peak", kv.asked_peak, 30.0 * 8456.0 / pool);
    let time = |record: &Record| record.last_token.expect("it ended").since(record.arrived).as_secs_f64();
    let asked: f64 = outcome.records.iter().map(|record| time(record) * 8456.0).sum();
    let opened = outcome.records[0].arrived;
    let ended = outcome.records.iter().filter_map(|record| record.last_token).max().expect("all ended");
    let mean = asked / ended.since(opened).as_secs_f64() / pool;
    let told = kv.asked_mean.expect("it ran");
    assert!((told - mean).abs() < 1e-9 * mean, "Little's law: {told}, not {mean}");
    let (held, peak) = (kv.held_mean.expect("it ran"), kv.held_peak.expect("it ran"));
    assert!(0.0 < held && held <= peak && peak <= kv.asked_peak.expect("it ran") * 1.01, "{kv:?}");
    assert!(peak <= kv.held_peak_worker.expect("it ran"), "a worker is fuller than the mean of all");
}

#[test]
fn a_warm_up_is_run_and_not_measured() {
    let (load, all) = (Load::Concurrency(30), run(300, Load::Concurrency(30), &[]));
    assert_eq!((all.summary.left_out, all.summary.requests), (0, 300));
    let cut = run(300, load, &[("run.warmup", "100")]);
    assert_eq!(all.records, cut.records, "what is measured changes nothing");
    assert_eq!((cut.summary.left_out, cut.summary.requests, cut.summary.completed), (100, 200, 200));
    let measured = &all.records[100..];
    let mean = measured.iter().filter_map(Record::ttft).map(Span::as_millis_f64).sum::<f64>() / 200.0;
    near("mean TTFT", cut.summary.ttft.mean, mean);
    let last = measured.iter().filter_map(|record| record.last_token).max().expect("all ended");
    let window = last.since(measured[0].sent).as_secs_f64();
    near("makespan", cut.summary.makespan_s, window);
    near("throughput", cut.summary.throughput.output, 200.0 * 200.0 / window);
    assert_eq!(cut.measured(), measured);
    let classes = cut.summary.breakdown.classes;
    assert_eq!(classes.hit.requests + classes.partial.requests + classes.miss.requests, 200);
    assert!(cut.summary.passes < all.summary.passes, "passes before the cut are not counted");
    // A third is a hundred; and all that is sent within no time is nothing.
    assert_eq!(run(300, load, &[("run.warmup", "33.3%")]).summary, cut.summary);
    assert_eq!(run(300, load, &[("run.warmup", "0s")]).summary, all.summary);
    let time = measured[0].sent.since(all.records[0].sent).as_millis_f64();
    assert_eq!(run(300, load, &[("run.warmup", &format!("{time}ms"))]).summary, cut.summary);
    let nothing = run(300, load, &[("run.warmup", "300")]).summary;
    assert_eq!((nothing.left_out, nothing.requests, nothing.ttft.mean), (300, 0, None), "unknown, not 0");
}

#[test]
fn nothing_is_sent_once_a_run_has_lasted_its_time() {
    let end = Time::ZERO + Span::from_secs(90);
    for load in [Load::Concurrency(30), Load::Rate(20.0)] {
        let outcome = run(10, load, &[("run.duration", "90s"), ("run.warmup", "50%")]);
        let sent = || outcome.records.iter().map(|record| record.sent);
        assert!(sent().all(|sent| sent < end), "{load:?}");
        assert!(sent().any(|sent| sent + Span::from_secs(5) > end), "{load:?}: it goes on until then");
        assert_eq!(outcome.summary.requests + outcome.summary.left_out, outcome.records.len() as u64);
        let cut = outcome.summary.left_out as usize;
        let half = outcome.records[0].sent + Span::from_secs(45);
        assert!(outcome.records[cut - 1].sent < half && outcome.records[cut].sent >= half, "{load:?}");
        assert!(outcome.records.iter().all(|record| record.last_token.is_some()), "what was sent is served");
    }
}

#[test]
fn users_start_one_after_the_other() {
    let outcome = run(3000, Load::Concurrency(30), &[("run.ramp", "60s")]);
    let sent: Vec<Time> = outcome.records.iter().map(|record| record.sent).collect();
    assert!(sent.is_sorted());
    for user in 0..30_u64 {
        let start = Time::ZERO + Span::from_secs(2 * user);
        assert!(sent.contains(&start), "user {user} starts at {start:?}");
        // A user sends when the reply to the one before has ended: no more are in flight than have started.
        let in_flight = |at: Time| {
            let there = |record: &&Record| record.sent <= at && record.last_token.is_some_and(|last| last > at);
            outcome.records.iter().filter(there).count() as u64
        };
        assert!(in_flight(start) <= user + 1, "user {user}");
    }
}
