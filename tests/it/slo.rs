//! What users are promised, and which runs keep it.

use crate::support::{podlab, project, said};
use driver::endpoint::Endpoint;
use driver::experiment::slo::Slo;
use driver::experiment::{Case, Experiment, Load, Source, Tiers};
use kvcache::{Span, Time};
use router::Strategy;
use sim::ledger::{Record, Status};
use std::collections::BTreeMap;

/// Ten requests, of which the n-th has a TTFT of n times 100 ms, and tokens 10 ms apart; the last has one token only.
fn records() -> Vec<Record> {
    let (endpoint, _) = Endpoint::read(&project("driver/examples/aws-blog-70b.yaml")).expect("the sample is valid");
    let source = Source::read("docqa", Some(10)).expect("there is such a workload");
    let experiment = Experiment { endpoint, file: "e.yaml".to_owned(), workload: "docqa".to_owned(), source };
    let (strategy, cache, load) = (Strategy::RoundRobin, Tiers::L0, Load::Concurrency(1));
    let case = Case { strategy, cache, replicas: 1, load, seed: 0, settings: BTreeMap::new() };
    let assembled = experiment.assemble(&case).expect("it can be simulated");
    let mut records = experiment.run(case, &assembled).expect("it ends").records;
    for (record, number) in records.iter_mut().zip(1..) {
        let first = Time::ZERO + Span::from_millis(100 * number);
        (record.sent, record.first_token) = (Time::ZERO, Some(first));
        record.last_token = Some(first + Span::from_millis(10) * u64::from(record.output.0 - 1));
    }
    records
}

fn slo(text: &str) -> Slo {
    Slo::parse(text).expect(text)
}

#[test]
fn promises_by_hand() {
    let records = records();
    assert_eq!(records[3].ttft(), Some(Span::from_millis(400)));
    assert_eq!(records[3].tpot(), Some(Span::from_millis(10)));
    for (text, share, holds) in [
        // Below, not up to: of ten, nine are below the tenth's.
        ("p90_ttft<1s", 0.9, true),
        ("p90_ttft<900ms", 0.8, false),
        ("p95_ttft<1s", 0.9, false),
        ("p100_ttft<1001ms", 1.0, true),
        ("p50_ttft<501ms", 0.5, true),
        ("p99_tpot<10ms", 0.0, false),
        ("p99_tpot<10.1ms", 1.0, true),
        ("p50_e2el<1s", 0.0, false),
    ] {
        let kept = slo(text).kept(&records, Some(5.0));
        assert_eq!((kept.holds, kept.terms.len(), kept.terms[0].holds), (holds, 1, holds), "{text}");
        assert!(
            (kept.terms[0].share - share).abs() < 1e-12 && (kept.good_share - share).abs() < 1e-12,
            "{text}: {kept:?}"
        );
        assert!((kept.goodput.expect("it took a while") - 2.0 * share).abs() < 1e-12, "{text}");
    }
    // Who is good is below every bound by himself.
    let both = slo("p90_ttft<1s, p50_e2el<2.5s").kept(&records, Some(1.0));
    assert_eq!((both.holds, both.terms[1].holds, both.good_share), (true, true, 0.5), "{both:?}");
}

#[test]
fn who_failed_was_promised_the_same() {
    let mut records = records();
    records[0].status = Status::Refused;
    let kept = slo("p90_ttft<1s").kept(&records, Some(1.0));
    assert_eq!((kept.holds, kept.terms[0].share, kept.goodput), (false, 0.8, Some(8.0)));
    // A reply of one token keeps nobody waiting between tokens.
    let one = &mut records[5];
    one.last_token = one.first_token;
    one.output = kvcache::Tokens(1);
    assert_eq!(one.tpot(), None);
    assert!((slo("p50_tpot<11ms").kept(&records, None).good_share - 0.9).abs() < 1e-12);
    assert_eq!(slo("p50_tpot<11ms").kept(&[], None).goodput, None);
}

#[test]
fn what_is_no_promise_is_told() {
    for (text, words) in [
        ("", "is no promise such as p90_ttft<2s"),
        ("ttft<2s", "is no promise such as p90_ttft<2s"),
        ("p90_ttft>2s", "is no promise"),
        ("p90_ttft<=2s", "a bound is to be stayed below; write <"),
        ("p9_ttft<2s", "there is p50, p90, p95, p99, p100; did you mean \"p90\"?"),
        ("p90_tftt<2s", "there is ttft, tpot, e2el; did you mean \"ttft\"?"),
        ("p90_ttft<2", "needs a unit"),
        ("p90_ttft<2s,p90_ttft<3s", "p90_ttft<3s: the same is bounded twice"),
    ] {
        let problem = Slo::parse(text).expect_err(text);
        assert!(problem.contains(words), "{text} should say {words:?}: {problem}");
    }
}

#[test]
fn goodput_on_the_command_line() {
    let sample = project("driver/examples/aws-blog-70b.yaml");
    let run = |format: &str| -> Option<String> {
        let mut command = podlab()?;
        command.arg("simulate").arg(&sample).args(["--workload", "mixed", "--rate", "20,60", "--cache", "l0"]);
        command.args(["--strategy", "predicted-ttft", "--slo", "p90_ttft<1s,p99_tpot<60ms", "-o", format]);
        let (stdout, stderr, status) = said(&command.output().expect("it runs"));
        let only = stderr.lines().all(|line| line.contains("-rate60-") && line.contains(": overloaded: "));
        assert!(status == 0 && only && stderr.lines().count() == 1, "{stderr}");
        Some(stdout)
    };
    let Some(json) = run("json") else { return };
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    let slos: Vec<_> = json["runs"].as_array().expect("a list").iter().map(|run| &run["slo"]).collect();
    assert_eq!((&slos[0]["holds"], &slos[1]["holds"]), (&true.into(), &false.into()));
    assert_eq!(slos[0]["terms"][1]["term"], "p99_tpot<60ms");
    let goodput = |slo: &serde_json::Value| slo["goodput"].as_f64().expect("a number");
    assert!(goodput(slos[0]) > goodput(slos[1]), "three times the load, and less of it served in time: {slos:?}");
    let Some(csv) = run("csv") else { return };
    assert!(
        csv.lines()
            .next()
            .is_some_and(|line| line.contains(",slo.holds,slo.terms.p90_ttft<1s,slo.terms.p99_tpot<60ms,")),
        "{csv}"
    );
    let Some(table) = run("table") else { return };
    assert!(
        table.contains("  SLO  good   good ") && table.contains("\nSLO: kept where so many of all requests"),
        "{table}"
    );
}
