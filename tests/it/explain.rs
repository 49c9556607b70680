//! Why a request went where it did: what is told is what the router weighed, in the same run.

use crate::support::{Folder, project};
use driver::endpoint::Endpoint;
use driver::experiment::{Case, Experiment, Load, Outcome, Routed, Source, Tiers};
use driver::report::explain::{json, text};
use kvcache::{Span, Tokens, WorkerId};
use router::{CostUnit, Missed, Reason, Score, Strategy, TierTokens};
use serde_json::{Value, json};
use sim::cluster::{Event, Refusal};
use sim::ledger::Status;
use sim::replica::Refused;
use sim::simulate::simulate;
use std::collections::BTreeMap;

mod command; // --explain-request, from outside
mod notes; // what tables, records and summaries say of routing
mod growth; // an index that nothing is taken from

const SAMPLE: &str = "driver/examples/aws-blog-70b.yaml";

fn experiment(source: Source, workload: &str) -> Experiment {
    let (endpoint, _) = Endpoint::read(&project(SAMPLE)).expect("the sample is valid");
    Experiment { endpoint, file: SAMPLE.to_owned(), workload: workload.to_owned(), source }
}

fn docqa(requests: u32) -> Experiment {
    experiment(Source::DocumentQa { requests }, "docqa")
}

fn case(strategy: Strategy, replicas: u16, cache: Tiers, load: Load) -> Case {
    Case { strategy, cache, replicas, load, seed: 0, settings: BTreeMap::new() }
}

fn run(experiment: &Experiment, case: Case, requests: &[u64]) -> Outcome {
    let assembled = experiment.assemble(&case).expect("it can be simulated");
    experiment.run_and_explain(case, &assembled, requests).expect("it ends in time")
}

/// The same prompt of 1,024 tokens, 64 blocks, twice: the second when the first has long ended.
fn twice(strategy: Strategy) -> Outcome {
    let folder = Folder::new(&format!("explain-{strategy}"));
    let line = |ms: u32| {
        format!(r#"{{"timestamp": {ms}, "input_length": 1024, "output_length": 4, "hash_ids": [1, 2]}}"#) + "\n"
    };
    let trace = folder.file("trace.jsonl", &(line(0) + &line(60_000)));
    let source = Source::read(&format!("trace:{}", trace.display()), None).expect("it is a trace");
    run(&experiment(source, "twice"), case(strategy, 2, Tiers::L0, Load::Trace { speedup: 1.0 }), &[1])
}

/// Milliseconds as texts tell them.
fn millis(span: Span) -> String {
    let millis = span.as_millis_f64();
    if millis < 100.0 { format!("{millis:.1}") } else { format!("{:.0}", millis.round()) }
}

const END: &str =
    "All simulated. Tokens are the prompt's unless something else is said; moments count from the start of the run.\n";

#[test]
fn an_explanation_worked_out_by_hand() {
    // The first leaves its 64 blocks on worker 0, as the lowest of two equals. Of the second prompt 63 count, since the last
    // token is computed in any case: 1,008 tokens there, none on worker 1; so 16 and 1,024 tokens to compute, and nothing
    // is queued. Worker 1 has told nothing yet. How long things take is the record's to say, not this test's.
    let outcome = twice(Strategy::KvAwarePlus);
    let explanation = &outcome.explanations[0];
    let (record, routed) = (&explanation.record, explanation.routed.as_ref().expect("it was routed"));
    let ttft = millis(record.ttft().expect("it completed"));
    let last = Span(record.last_token.expect("it completed").0).as_millis_f64();
    let age = routed.decision.age.expect("worker 0 told what it stored");
    // What the first left was told when its prompt was computed, within the first second of the run.
    assert!(age > Span::from_secs(59) && age < Span::from_secs(60), "{age:?}");
    let age = millis(age);
    let age = format!("{},{}", &age[..2], &age[2..]);
    let expected = format!(
        "\
request 1 · workload twice · replicas 2 · load trace x1 · cache l0 · strategy kvaware+ · seed 0
  arrived    at 60005.000 ms, 1024 prompt tokens, no session
  decision   worker 0, lowest-cost: the lowest cost
  outcome    TTFT {ttft} ms; 1008 of 1024 prompt tokens cached, 1008 in L0; 4 output tokens by {last:.3} ms
  without    expected TTFT, displaced tokens: not asked for, or nothing heard yet
┌─────────────────────────────────────────────────────────────────────────────────────────┐
│                    matched      in  queued  context    cost     age                     │
│ worker  available       L0  flight  tokens   tokens  tokens      ms                     │
╞═════════════════════════════════════════════════════════════════════════════════════════╡
│      0        yes     1008       0       0        0      16  {age}  chosen, best match │
│      1        yes        0       0       0        0    1024       -                     │
└─────────────────────────────────────────────────────────────────────────────────────────┘
  regret     0 tokens (chosen 1008, best 1008), all tiers, as the router saw it; really, on the workers' devices: 0
             tokens (chosen 1008, best 1008)

matched: what a worker has of the prompt as far as the router knows, L1 behind L0, L2 behind both
in flight: requests sent to a worker that have not ended, as far as the router has heard
queued: tokens that those have still to compute; context: all tokens that they hold or will hold
cost: what the strategy makes smallest, where its rule leaves a choice
age: of the latest news of the worker
{END}"
    );
    assert_eq!(text(&[outcome]), expected);
}

#[test]
fn a_strategy_that_weighs_nothing_says_so_in_a_line() {
    // The second turn is worker 1's, which has nothing of what worker 0 has.
    let outcome = twice(Strategy::RoundRobin);
    let record = outcome.explanations[0].record;
    let ttft = millis(record.ttft().expect("it completed"));
    let last = Span(record.last_token.expect("it completed").0).as_millis_f64();
    let expected = format!(
        "\
request 1 · workload twice · replicas 2 · load trace x1 · cache l0 · strategy roundrobin · seed 0
  arrived    at 60005.000 ms, 1024 prompt tokens, no session
  decision   worker 1, turn: it was its turn
  outcome    TTFT {ttft} ms; 0 of 1024 prompt tokens cached; 4 output tokens by {last:.3} ms
  weighed    nothing: roundrobin takes its workers in turn, whatever they hold or do
  regret     unknown to the router; really, on the workers' devices: 1008 tokens (chosen 0, best 1008)

{END}"
    );
    assert_eq!(text(&[outcome]), expected);
    for (strategy, why) in [
        (Strategy::Random, "nothing: random draws a worker"),
        (Strategy::Session, "nothing: session looks at no cache and no load"),
    ] {
        let text = text(&[twice(strategy)]);
        assert!(text.contains(why) && !text.contains("available"), "{text}");
    }
}

#[test]
fn every_strategy_explains_what_it_decided() {
    let experiment = docqa(80);
    for strategy in Strategy::ALL {
        for (cache, load) in [(Tiers::L0, Load::Concurrency(12)), (Tiers::L0L1L2, Load::Rate(3.0))] {
            let case = case(strategy, 3, cache, load);
            let assembled = experiment.assemble(&case).expect("it can be simulated");
            let workload = experiment.source.workload(&assembled.lab, case.load, case.seed);
            let mut decided = BTreeMap::new();
            let look = |event: &Event| {
                if let Event::Routed { request, decision, overlap, at } = event {
                    decided.insert(request.0, Routed { decision: decision.clone(), overlap: *overlap, at: *at });
                }
            };
            simulate(&workload, &mut assembled.cluster(), assembled.path, look).expect("it ends in time");
            let asked = [79, 0, 41];
            let outcome = experiment.run_and_explain(case, &assembled, &asked).expect("it ends in time");
            assert_eq!(outcome.explanations.iter().map(|one| one.request).collect::<Vec<_>>(), asked);
            for one in &outcome.explanations {
                assert_eq!(one.routed.as_ref(), decided.get(&one.request), "{strategy}: {}", one.request);
                assert_eq!(one.record, outcome.records[one.request as usize]);
                assert_eq!(one.session, workload.requests()[one.request as usize].session);
            }
            check_text(&outcome);
            check_json(&outcome);
        }
    }
}

/// A heading, four lines and a row for each worker, where the strategy weighed any.
fn check_text(outcome: &Outcome) {
    let strategy = outcome.case.strategy;
    let text = text(std::slice::from_ref(outcome));
    let parts: Vec<&str> = text.split("\n\n").collect();
    assert_eq!(parts.len(), outcome.explanations.len() + 1, "{text}");
    for (part, one) in parts.iter().zip(&outcome.explanations) {
        let routed = one.routed.as_ref().expect("it was routed");
        assert!(part.starts_with(&format!("request {} · workload docqa", one.request)), "{part}");
        assert!(part.contains(&format!("strategy {strategy}")), "{part}");
        let decision = format!("worker {}, {}: ", routed.decision.worker.0, routed.decision.reason.as_str());
        assert!(
            part.contains(&decision) && part.contains(&format!("session {}", one.session.expect("one").0)),
            "{part}"
        );
        let rows: Vec<&str> = part.lines().filter(|line| line.contains(" yes ")).collect();
        assert_eq!(rows.len(), routed.decision.scores.len(), "{part}");
        assert_eq!(rows.is_empty(), part.contains("weighed    nothing: "), "{part}");
        for (worker, row) in rows.iter().enumerate() {
            assert_eq!(row.contains("chosen"), worker == routed.decision.worker.index(), "{part}");
        }
        assert!(part.lines().all(|line| line.chars().count() <= 120), "{part}");
    }
}

/// Every number of the JSON against the decision it is from.
fn check_json(outcome: &Outcome) {
    let told: Value = serde_json::from_str(&json(std::slice::from_ref(outcome))).expect("it is JSON");
    let told = told["explanations"].as_array().expect("it is a list");
    assert_eq!(told.len(), outcome.explanations.len());
    let router = outcome.explanations[0].router;
    let [l0, l1, l2] = router.tiers_known();
    let tokens = |tokens: Option<Tokens>| json!(tokens.map(|tokens| tokens.0));
    let ms = |span: Option<Span>| json!(span.map(Span::as_millis_f64));
    for (told, one) in told.iter().zip(&outcome.explanations) {
        let Routed { decision, overlap, at } = one.routed.as_ref().expect("it was routed");
        assert_eq!(told["run"]["strategy"], outcome.case.strategy.as_str());
        assert_eq!(
            (&told["request"]["request"], &told["session"]),
            (&json!(one.request), &json!(one.session.map(|s| s.0)))
        );
        assert_eq!((&told["arrived_ms"], &told["request"]["ttft_ms"]), (&ms(Some(Span(at.0))), &ms(one.record.ttft())));
        let choice = &told["decision"];
        assert_eq!(
            (&choice["worker"], &choice["reason"]),
            (&json!(decision.worker.0), &json!(decision.reason.as_str()))
        );
        assert_eq!(choice["matched_tokens"], tokens(decision.matched));
        assert_eq!(choice["best_matched_tokens"], tokens(decision.best));
        assert_eq!(choice["regret_tokens"], tokens(decision.regret()));
        assert_eq!(choice["age_ms"], ms(decision.age));
        let overlap = overlap.expect("three workers are few enough to look");
        assert_eq!(
            told["overlap"],
            json!({"chosen_tokens": overlap.chosen.0, "best_tokens": overlap.best.0, "regret_tokens": overlap.regret().0})
        );
        let workers = told["workers"].as_array().expect("it is a list");
        assert_eq!(workers.len(), decision.scores.len());
        for (number, (worker, score)) in workers.iter().zip(&decision.scores).enumerate() {
            let Score { available, matched, requests, queued, context, cost, expected, displaced, age } = *score;
            assert_eq!((&worker["worker"], &worker["available"]), (&json!(number), &json!(available)));
            assert_eq!(worker["chosen"], json!(decision.worker == WorkerId(number as u16)));
            assert_eq!(worker["matched_tokens"], tokens(matched.map(TierTokens::total)));
            for (tier, known, of) in [
                ("l0", l0, matched.map(|matched| matched.l0)),
                ("l1", l1, matched.map(|matched| matched.l1)),
                ("l2", l2, matched.map(|matched| matched.l2)),
            ] {
                assert_eq!(worker[format!("matched_{tier}_tokens")], tokens(of.filter(|_| known)), "{tier}: {worker}");
            }
            assert_eq!((&worker["requests_in_flight"], &worker["age_ms"]), (&json!(requests), &ms(age)));
            let of_requests = |tokens: u64| json!(requests.map(|_| tokens));
            assert_eq!(worker["queued_tokens"], of_requests(queued));
            assert_eq!(worker["context_tokens"], of_requests(context));
            let (unit, cost) = match router.strategy.cost() {
                None => (json!(null), json!(null)),
                Some(CostUnit::Requests) => (json!("requests"), json!(cost)),
                Some(CostUnit::Tokens) => (json!("tokens"), json!(cost)),
                Some(CostUnit::Time) => (json!("ms"), ms(cost.map(Span))),
            };
            assert_eq!((&choice["cost_unit"], &worker["cost"]), (&unit, &cost));
            assert_eq!((&worker["expected_ttft_ms"], &worker["displaced_tokens"]), (&ms(expected), &tokens(displaced)));
        }
    }
}

#[test]
fn tiers_are_told_of_where_the_router_knows_them() {
    let experiment = docqa(60);
    let known = |strategy, cache| {
        let outcome = run(&experiment, case(strategy, 2, cache, Load::Concurrency(4)), &[59]);
        outcome.explanations[0].router.tiers_known()
    };
    assert_eq!(known(Strategy::PredictedTtft, Tiers::L0L1L2), [true; 3]);
    assert_eq!(known(Strategy::KvAwarePlus, Tiers::L0L1), [true, true, false]);
    assert_eq!(known(Strategy::KvAwarePlus, Tiers::L0L2), [true, false, true]);
    assert_eq!(known(Strategy::KvAware, Tiers::L0L1L2), [true, false, false], "it hears of devices only");
    assert_eq!(known(Strategy::PrefixAwarePlus, Tiers::L0L1L2), [false; 3], "what was sent is in no tier for sure");
    // What all can load from L2 is on one worker's device: everybody has all of the document, in one tier or another.
    let outcome = run(&experiment, case(Strategy::KvAwarePlus, 2, Tiers::L0L1L2, Load::Concurrency(4)), &[59]);
    let scores = &outcome.explanations[0].routed.as_ref().expect("it was routed").decision.scores;
    assert!(scores.iter().any(|score| score.matched.is_some_and(|matched| matched.l2 > Tokens::ZERO)), "{scores:?}");
}

/// The one explanation of a run, changed.
fn changed(change: impl FnOnce(&mut driver::experiment::Explanation)) -> String {
    let mut outcome = twice(Strategy::KvAwarePlus);
    change(&mut outcome.explanations[0]);
    text(&[outcome])
}

#[test]
fn what_no_run_of_the_simulator_ends_in_is_told_too() {
    let nobody = changed(|one| one.routed = None);
    assert!(nobody.contains("  decision   none: there was no worker to choose\n"), "{nobody}");
    let away = changed(|one| {
        let decision = &mut one.routed.as_mut().expect("it was routed").decision;
        (decision.worker, decision.matched, decision.best) = (WorkerId(1), Some(Tokens(0)), Some(Tokens(0)));
        decision.scores[0] = Score { available: false, cost: None, ..decision.scores[0] };
    });
    let row = away.lines().find(|line| line.starts_with("│      0")).expect("worker 0 has a row");
    assert!(row.contains(" no ") && row.contains(" - ") && !row.contains("chosen") && !row.contains("best"), "{away}");
    let alone = changed(|one| one.routed.as_mut().expect("it was routed").overlap = None);
    let alone = alone.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(alone.contains("really, on the workers' devices: unknown (router.audit is off)"), "{alone}");
    let late = changed(|one| one.record.preemptions = 2);
    assert!(late.contains("; preempted 2 times; 4 output tokens"), "{late}");
    let refused = changed(|one| {
        one.record.status = Status::Refused;
        one.record.refusal = Some(Refusal::Worker(Refused::Empty));
        (one.record.first_token, one.record.last_token) = (None, None);
    });
    assert!(refused.contains(&format!("  outcome    refused: {}\n", Refused::Empty)), "{refused}");
    let unnamed = changed(|one| (one.session, one.names_session) = (Some(kvcache::SessionId(3)), false));
    assert!(unnamed.contains("session 3, which no field names to the router\n"), "{unnamed}");
}

#[test]
fn every_reason_has_words() {
    let missed = |missed| Some(missed);
    let reasons = [
        (Reason::Turn, "it was its turn"),
        (Reason::DeepestPrefix { tied: 1 }, "no other was sent as long a prefix"),
        (Reason::DeepestPrefix { tied: 3 }, "drawn from the 3 that were sent the longest prefix"),
        (Reason::NoPrefix, "nobody was sent the prompt's first 128 characters"),
        (Reason::FirstHolder, "of those that hold the prompt's first 256 tokens it was the first to"),
        (Reason::RingOfSession { missed: None }, "ring-of-session: the session's place"),
        (
            Reason::RingOfSession { missed: missed(Missed::Chat) },
            "kvaware does not see the prompt of a chat; the session's",
        ),
        (
            Reason::LowestQps { recent: Some(7), missed: None },
            "no session is named; the fewest requests in the last 60 s: 7",
        ),
        (Reason::LowestQps { recent: None, missed: None }, "no session is named; it was never sent a request"),
        (
            Reason::LowestQps { recent: None, missed: missed(Missed::NoHolder) },
            "nobody holds the prompt's first 256 tokens, and no session is named; it was never",
        ),
        (
            Reason::LowestQps { recent: None, missed: missed(Missed::TooShort { matched: Tokens(512) }) },
            "the first holder is named for 512 tokens, and more than 2000 are missing, and no session",
        ),
        (
            Reason::LowestQps { recent: None, missed: missed(Missed::BelowMinimum { matched: Tokens(5) }) },
            "nobody was sent 0 tokens of it, 5 at most; it was never",
        ),
        (Reason::Drawn, "drawn from all"),
        (Reason::LeastLoaded, "the fewest requests in flight, of those the fewest tokens to compute"),
        (Reason::LessLoadedOfTwo { other: WorkerId(5) }, "no more requests in flight than the other, worker 5"),
        (Reason::RingWithRoom { passed: 0 }, "is its own, and it has room"),
        (Reason::RingWithRoom { passed: 2 }, "2 before it had none"),
        (Reason::LongestPrefix, "the longest prefix among those with at most 64 requests more"),
        (Reason::HotPrefix { holders: 1, wanted: 4 }, "4 should share what is asked for so often, and 1 do"),
        (Reason::LowestCost { tied: 1 }, "lowest-cost: the lowest cost\n"),
        (Reason::LowestCost { tied: 6 }, "of the 6 with the lowest cost"),
    ];
    let outcome = twice(Strategy::KvAwarePlus);
    for (reason, words) in reasons {
        let mut outcome = outcome.clone();
        outcome.explanations[0].routed.as_mut().expect("it was routed").decision.reason = reason;
        let text = text(&[outcome]);
        // Where a line ends is no matter here.
        let line = text.replace("\n             ", " ");
        assert!(line.contains(words), "{reason:?} should say {words:?}:\n{text}");
    }
}
