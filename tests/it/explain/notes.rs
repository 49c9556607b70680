//! What tables, records and summaries say of routing.

use super::{SAMPLE, case, docqa, run};
use crate::support::{Folder, project};
use driver::endpoint::Endpoint;
use driver::experiment::{Case, Experiment, Load, Outcome, Source, Tiers};
use driver::process::Usage;
use driver::report::{Inputs, csv, folder, json, table};
use router::{Reason, Strategy};
use serde_json::Value;
use std::time::Instant;

fn load() -> Load {
    Load::Concurrency(8)
}

/// The sample, changed.
fn sample(from: &str, to: &str, requests: u32) -> Experiment {
    let text = std::fs::read_to_string(project(SAMPLE)).expect("it is there");
    assert!(text.contains(from), "{from}");
    let (endpoint, _) = Endpoint::parse(&text.replace(from, to), "changed.yaml").expect("it is valid");
    let source = Source::DocumentQa { requests };
    Experiment { endpoint, file: "changed.yaml".to_owned(), workload: "docqa".to_owned(), source }
}

fn of(experiment: &Experiment, strategy: Strategy) -> Outcome {
    run(experiment, case(strategy, 3, Tiers::L0, load()), &[])
}

#[test]
fn a_strategy_that_falls_back_for_most_is_told_of() {
    let chat = of(&sample("v1/completions", "v1/chat/completions", 40), Strategy::KvAware);
    assert_eq!(chat.summary.fallbacks.iter().collect::<Vec<_>>(), [(&"chat", &40)]);
    assert_eq!(chat.summary.routing.iter().collect::<Vec<_>>(), [(&"ring-of-session", &40)]);
    let text = table(std::slice::from_ref(&chat));
    let note = "row 1: kvaware fell back for 40 of 40 requests (40: it does not see the prompts of chats)\n";
    assert!(text.ends_with(note), "{text}");
    let unnamed = sample("SESSION_KEY", "SOME_OTHER_KEY", 40);
    let (session, plus) = (of(&unnamed, Strategy::Session), of(&unnamed, Strategy::SessionPlus));
    let text = table(&[session, plus, chat]);
    for line in [
        "row 1: session fell back for 40 of 40 requests (40: no session)\n",
        "row 2: session+ fell back for 40 of 40 requests (40: no session)\n",
        "row 3: kvaware fell back for 40 of 40 requests (40: it",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let named = docqa(40);
    for strategy in Strategy::ALL.into_iter().filter(|strategy| *strategy != Strategy::KvAware) {
        let text = table(&[of(&named, strategy)]);
        assert!(!text.contains("fell back"), "{strategy}: {text}");
    }
}

#[test]
fn half_is_not_most() {
    let outcome = of(&docqa(40), Strategy::KvAware);
    let with = |short: u64, nobody: u64, followed: u64| {
        let mut outcome = outcome.clone();
        outcome.summary.fallbacks = [("no-holder", nobody), ("too-short", short)].into();
        outcome.summary.routing = [("first-holder", followed), ("lowest-qps", short + nobody)].into();
        table(&[outcome])
    };
    assert!(!with(5000, 6015, 11_015).contains("fell back"));
    let text = with(5000, 6016, 11_015);
    let note = "row 1: kvaware fell back for 11,016 of 22,031 requests (6016: no worker holds the first chunk; 5000: match \
                too short, router.kv_aware_threshold)\n";
    assert!(text.ends_with(note), "{text}");
}

#[test]
fn requests_and_summary_count_the_same_reasons() {
    let folder = Folder::new("reasons");
    let experiment = docqa(60);
    let strategies = [Strategy::KvAware, Strategy::PrefixAwarePlus, Strategy::Random];
    let outcomes = strategies.map(|strategy| of(&experiment, strategy));
    folder::write(&folder.path("runs"), &outcomes, &Inputs::default(), Usage::since(Instant::now()))
        .expect("it can be written");
    for (outcome, name) in outcomes.iter().zip(folder.names_below("runs")) {
        let read =
            |file: &str| std::fs::read_to_string(folder.path("runs").join(&name).join(file)).expect("it was written");
        let summary: Value = serde_json::from_str(&read("summary.json")).expect("it is JSON");
        let mut counted = std::collections::BTreeMap::<String, u64>::new();
        let (mut regret, mut prompts, mut fallbacks) = (0, 0, 0);
        for (line, record) in read("requests.jsonl").lines().zip(&outcome.records) {
            let line: Value = serde_json::from_str(line).expect("it is JSON");
            let reason = line["reason"].as_str().expect("it was routed");
            *counted.entry(reason.to_owned()).or_default() += 1;
            assert_eq!(Some(reason), record.reason.as_ref().map(Reason::as_str));
            assert_eq!(line["matched_tokens"].as_u64(), record.matched.map(|tokens| u64::from(tokens.0)));
            assert_eq!(line["best_matched_tokens"].as_u64(), record.best.map(|tokens| u64::from(tokens.0)));
            assert!(line["best_matched_tokens"].as_u64() >= line["matched_tokens"].as_u64(), "{line}");
            assert_eq!(line["matched_tokens"].is_null(), outcome.case.strategy == Strategy::Random);
            regret += line["regret_tokens"].as_u64().expect("three workers are few enough to look");
            prompts += line["prompt_tokens"].as_u64().expect("it has one");
            fallbacks += u64::from(line["fallback"].is_string());
        }
        let routing = summary["routing"].as_object().expect("it is an object");
        let told = routing.iter().map(|(name, count)| (name.clone(), count.as_u64().expect("a count")));
        assert!(told.eq(counted), "{summary}: in the order of their names");
        let share = summary["overlap_regret"].as_f64().expect("it is known");
        assert!((share - regret as f64 / prompts as f64).abs() < 1e-12, "{share}");
        let causes = summary["fallbacks"].as_object().expect("it is an object");
        assert_eq!(causes.values().map(|count| count.as_u64().expect("a count")).sum::<u64>(), fallbacks);
        assert_eq!(
            fallbacks > 0,
            outcome.case.strategy == Strategy::KvAware,
            "the first of each document has no holder"
        );
    }
    // A column for each reason that any run has; what another run has not is empty.
    let csv = csv(&outcomes);
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let column =
        |name: &str| lines[0].iter().position(|known| *known == name).unwrap_or_else(|| panic!("{name}: {csv}"));
    assert_eq!([1, 2, 3].map(|row| lines[row][column("routing.drawn")]), ["", "", "60"]);
    assert!(!lines[0].contains(&"routing"), "{csv}");
    let json: Value = serde_json::from_str(&json(&outcomes, Usage::since(Instant::now()))).expect("it is JSON");
    assert_eq!(json["runs"][2]["routing"]["drawn"], 60);
}

/// The names above a table's figures, in two lines, and its rows.
fn table_of(outcomes: &[Outcome]) -> (Vec<String>, Vec<Vec<String>>, String) {
    let text = table(outcomes);
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('│').split("  ").map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect()
    };
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('│')).collect();
    (cells(lines[0]), lines[2..].iter().map(|line| cells(line)).collect(), text)
}

#[test]
fn regret_is_a_column_where_it_is_known() {
    let experiment = docqa(40);
    let on = |strategy, replicas, audit: Option<&str>| {
        let mut case = case(strategy, replicas, Tiers::L0, load());
        case.settings.extend(audit.map(|value| ("router.audit".to_owned(), value.to_owned())));
        run(&experiment, case, &[])
    };
    let (few, many) = (on(Strategy::RoundRobin, 16, None), on(Strategy::RoundRobin, 17, None));
    let (head, rows, text) = table_of(&[few.clone(), many.clone()]);
    assert_eq!(head, ["TTFT", "TPOT", "out", "hit", "regret", "$/1K"], "{text}");
    let shown = |outcome: &Outcome| outcome.summary.overlap_regret.map(|share| format!("{:.1}", share * 100.0));
    let place = rows[0].len() - 3;
    assert_eq!((Some(&rows[0][place]), rows[1][place].as_str()), (shown(&few).as_ref(), "-"), "{text}");
    assert_ne!(rows[0][place], "0.0", "round robin goes past what others hold");
    assert!(text.contains("\nregret: prompt tokens that another worker's GPU had more"), "{text}");
    let (head, _, text) = table_of(&[many]);
    assert_eq!(head, ["TTFT", "TPOT", "out", "hit", "$/1K"], "{text}");
    assert!(text.contains("\nregret: not worked out for more than 16 workers; router.audit=true does"), "{text}");
    assert!(table_of(&[on(Strategy::RoundRobin, 17, Some("true"))]).0.contains(&"regret".to_owned()));
    assert!(!table_of(&[on(Strategy::RoundRobin, 2, Some("false"))]).2.contains("regret"), "who turns it off knows");
}

#[test]
fn a_table_of_every_strategy_fits_into_120_columns() {
    let experiment = docqa(40);
    for cache in [Tiers::L0, Tiers::L0L1L2] {
        let outcomes =
            Strategy::ALL.map(|strategy| run(&experiment, Case { seed: 3, ..case(strategy, 7, cache, load()) }, &[]));
        let text = table(&outcomes);
        let widest = text.lines().skip_while(|line| !line.starts_with('┌')).map(|line| line.chars().count()).max();
        assert!(widest <= Some(120), "{widest:?} columns:\n{text}");
        assert_eq!(text.contains("L0, L1, L2:"), cache == Tiers::L0L1L2);
    }
}
