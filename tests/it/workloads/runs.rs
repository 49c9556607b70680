//! Through the simulator, and what a lab may not ask for.

use crate::support::project;
use driver::endpoint::Endpoint;
use driver::experiment::{Case, Experiment, Load, Outcome, Source, Tiers};
use driver::failure::Failure;
use driver::lab::Lab;
use kvcache::Tokens;
use router::Strategy;
use std::collections::BTreeMap;

const NAMES: [&str; 6] = ["chat", "shared-system", "mixed", "unrelated", "code-review", "multi-round-qa"];

fn experiment(workload: &str, requests: u32) -> Experiment {
    let (endpoint, _) = Endpoint::read(&project("driver/examples/aws-blog-70b.yaml")).expect("the sample is valid");
    let source = Source::read(workload, Some(requests)).expect("it is known");
    Experiment { endpoint, file: "aws-blog-70b.yaml".to_owned(), workload: workload.to_owned(), source }
}

fn case(load: Load, strategy: Strategy, replicas: u16, settings: &[(&str, &str)]) -> Case {
    let settings: BTreeMap<_, _> =
        settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Case { strategy, cache: Tiers::L0, replicas, load, seed: 4, settings }
}

fn run(experiment: &Experiment, case: Case) -> Outcome {
    let assembled = experiment.assemble(&case).expect("it can be simulated");
    experiment.run(case, &assembled).expect("it ends in time")
}

#[test]
fn each_runs_to_its_end_under_every_strategy() {
    for name in NAMES {
        let experiment = experiment(name, 150);
        for strategy in Strategy::ALL {
            for load in [Load::Rate(6.0), Load::Concurrency(8), Load::Users(8)] {
                let summary = run(&experiment, case(load, strategy, 3, &[])).summary;
                assert_eq!((summary.completed, summary.failed), (150, 0), "{name} {strategy} {load:?}");
            }
        }
    }
}

#[test]
fn a_conversation_alone_on_a_worker_finds_all_that_was_said() {
    let settings = [("chat.users", "3"), ("chat.turns", "4"), ("chat.system_tokens", "100")];
    let experiment = experiment("chat", 24);
    let case = case(Load::Concurrency(1), Strategy::RoundRobin, 1, &settings);
    let assembled = experiment.assemble(&case).expect("it can be simulated");
    let workload = experiment.source.workload(&assembled.lab, case.load, case.seed);
    let outcome = run(&experiment, case);
    let mut said: BTreeMap<_, (u32, u32)> = BTreeMap::new(); // tokens, turns
    for (number, (request, record)) in workload.requests().iter().zip(&outcome.records).enumerate() {
        let (tokens, turns) = said.get(&request.session).copied().unwrap_or_default();
        let (known, turns) = match (number, turns) {
            (0, _) => (0, 0),
            (_, 0 | 4) => (100, 0),
            // The last token of a reply was never fed to the model.
            _ => (tokens - 1, turns),
        };
        let found: u32 = record.cached.map_or(0, |cached| cached.0);
        assert_eq!(found, known / 16 * 16, "request {number}");
        said.insert(request.session, (request.prompt.0 + request.output.0, turns + 1));
    }
}

#[test]
fn compat_prefixaware_sends_one_system_prompt_to_one_worker() {
    let experiment = experiment("shared-system", 200);
    let busiest = |strategy| {
        let outcome = run(&experiment, case(Load::Rate(10.0), strategy, 4, &[]));
        outcome.requests_by_worker().into_iter().max()
    };
    assert_eq!(busiest(Strategy::PrefixAware), Some(200));
    assert_eq!(busiest(Strategy::RoundRobin), Some(50));
}

#[test]
fn the_longest_prompt_is_the_longest_that_is_sent() {
    for (name, settings) in [
        ("chat", &[("chat.turns", "3"), ("chat.users", "20")] as &[(&str, &str)]),
        ("shared-system", &[("shared_system.system_tokens", "0")]),
        ("mixed", &[("mixed.document_tokens", "900")]),
    ] {
        let mut lab = Lab::default();
        for (key, value) in settings {
            lab.set(key, value).expect(value);
        }
        let source = Source::read(name, Some(90)).expect("it is known");
        for load in [Load::Rate(5.0), Load::Concurrency(5)] {
            let sent = source.workload(&lab, load, 3);
            let longest = sent.requests().iter().map(|request| request.prompt).max();
            assert_eq!(Some(source.longest_prompt(&lab, load, 3)), longest, "{name}");
            assert!(longest > Some(Tokens(256)), "{name}");
        }
    }
}

/// The refusal of a lab with these settings by the workload called `name`.
fn refusal(name: &str, settings: &[(&str, &str)]) -> Option<String> {
    let mut lab = Lab::default();
    for (key, value) in settings {
        lab.set(key, value).expect(value);
    }
    match Source::read(name, None).expect("it is known").check(&lab) {
        Ok(()) => None,
        Err(Failure::Usage(text)) => Some(text),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn what_no_request_can_be_is_refused() {
    const HUGE: &str = "4294967295";
    for (name, key) in [
        ("chat", "chat.message_tokens"),
        ("chat", "chat.answer_tokens"),
        ("chat", "chat.system_tokens"),
        ("shared-system", "shared_system.system_tokens"),
        ("shared-system", "shared_system.question_tokens"),
        ("shared-system", "shared_system.answer_tokens"),
        ("mixed", "mixed.document_tokens"),
        ("mixed", "mixed.answer_tokens"),
        ("unrelated", "unrelated.answer_tokens"),
        ("code-review", "code_review.map_tokens"),
        ("code-review", "code_review.files_tokens"),
        ("code-review", "code_review.answer_tokens"),
        ("multi-round-qa", "multi_round_qa.user_history_prompt"),
        ("multi-round-qa", "multi_round_qa.answer_len"),
    ] {
        let refusal = refusal(name, &[(key, HUGE)]).expect(key);
        assert!(refusal.starts_with(&format!("{name}: ")), "{refusal}");
        assert!(refusal.contains("more than the 4294967295 of a request; lower "), "{refusal}");
        for other in NAMES.into_iter().filter(|other| *other != name) {
            assert_eq!(self::refusal(other, &[(key, HUGE)]), None, "{key} is none of {other}'s");
        }
    }
    // Medians are cut off.
    assert_eq!(refusal("mixed", &[("mixed.short_tokens", HUGE), ("mixed.medium_tokens", HUGE)]), None);
    let turns = [("chat.turns", "1000"), ("chat.message_tokens", "120k")];
    let refusal = refusal("chat", &turns).expect("a thousand turns of up to 4.4 million tokens");
    assert!(refusal.contains("lower chat.turns"), "{refusal}");
}

#[test]
fn what_is_nearly_too_long_does_not_overflow() {
    // As long as it may be, drawn by chance nowhere near its bound.
    for (name, settings) in [
        ("chat", &[("chat.message_tokens", "8000000"), ("chat.answer_tokens", "8000000")] as &[(&str, &str)]),
        (
            "shared-system",
            &[("shared_system.question_tokens", "58000000"), ("shared_system.answer_tokens", "58000000")],
        ),
        ("mixed", &[("mixed.document_tokens", "4000000000"), ("mixed.answer_tokens", "8000000")]),
    ] {
        assert_eq!(refusal(name, settings), None, "{name}");
        let mut lab = Lab::default();
        settings.iter().for_each(|(key, value)| lab.set(key, value).expect(value));
        let workload = Source::read(name, Some(700)).expect("it is known").workload(&lab, Load::Concurrency(3), 0);
        let longest =
            workload.requests().iter().map(|request| u64::from(request.prompt.0) + u64::from(request.output.0));
        assert!(longest.max() > Some(100_000_000), "{name}");
    }
}

#[test]
fn shares_are_parts_of_one_whole() {
    assert_eq!(refusal("mixed", &[("mixed.long_share", "0.7"), ("mixed.medium_share", "0.3")]), None);
    let over = [("mixed.long_share", "0.701"), ("mixed.medium_share", "0.3")];
    let refusal = refusal("mixed", &over).expect("they are too large");
    assert!(refusal.contains("are 1.001 together"), "{refusal}");
    assert_eq!(self::refusal("chat", &over), None);
}

#[test]
fn turns_that_must_overlap_are_warned_of() {
    let warnings = |name: &str, load, settings: &[(&str, &str)]| {
        let case = case(load, Strategy::RoundRobin, 1, settings);
        experiment(name, 10).assemble(&case).expect("it can be simulated").warnings.join("; ")
    };
    assert_eq!(warnings("chat", Load::Concurrency(99), &[]), "");
    assert!(warnings("chat", Load::Concurrency(100), &[]).contains("raise chat.users above --concurrency"));
    assert_eq!(warnings("chat", Load::Concurrency(100), &[("chat.turns", "1")]), "");
    assert_eq!(warnings("chat", Load::Rate(100.0), &[]), "");
    assert_eq!(warnings("mixed", Load::Concurrency(100), &[]), "");
}
