//! How far something can go and keep a promise: searches against the brute force, and against runs made one by one.

use crate::router::Chance;
use crate::support::{podlab, project, said};
use driver::experiment::find::{Answer, Extreme, Goal, Search};
use serde_json::Value;
use std::collections::BTreeMap;

const SAMPLE: &str = "driver/examples/aws-blog-70b.yaml";

/// Searches where `holds` says what holds: the answer, the exceptions, and all values tried.
fn search(goal: &Goal, holds: impl Fn(f64) -> bool) -> (Answer, Vec<f64>, BTreeMap<u64, bool>) {
    let (mut search, mut tried) = (Search::new(goal), BTreeMap::new());
    loop {
        let next = search.next();
        if next.is_empty() {
            return (search.answer(), search.exceptions(), tried);
        }
        for value in next {
            assert!((goal.low..=goal.high).contains(&value), "{value} lies outside {goal:?}");
            assert_eq!(tried.insert(value.to_bits(), holds(value)), None, "{value} is tried twice");
            search.tell(value, holds(value));
        }
        assert!(tried.len() <= 110, "a search ends: {goal:?}");
    }
}

fn goal(text: &str) -> Goal {
    Goal::parse(text).expect(text)
}

#[test]
fn whole_numbers_are_found_exactly() {
    for (low, high) in [(1, 1), (1, 2), (1, 64), (3, 50), (7, 300)].into_iter().skip(1) {
        let (smallest, largest) = (format!("replicas={low}..{high}"), format!("largest:replicas={low}..{high}"));
        for flip in low..=high + 1 {
            let (answer, exceptions, tried) = search(&goal(&smallest), |value| value >= f64::from(flip));
            let expected = if flip > high {
                Answer::Never
            } else {
                let beyond = (flip > low).then(|| f64::from(flip - 1));
                Answer::Value { value: f64::from(flip), beyond }
            };
            assert_eq!((answer, exceptions.len()), (expected, 0), "{smallest}, flip at {flip}: {tried:?}");
            // What holds below the flip, and fails from there on.
            let (answer, exceptions, _) = search(&goal(&largest), |value| value < f64::from(flip));
            let expected = if flip == low {
                Answer::Never
            } else {
                let beyond = (flip <= high).then(|| f64::from(flip));
                Answer::Value { value: f64::from(flip - 1), beyond }
            };
            assert_eq!((answer, exceptions.len()), (expected, 0), "{largest}, flip at {flip}");
            assert!(tried.len() <= 2 * 9 + 6, "{} tries", tried.len());
        }
    }
}

#[test]
fn other_numbers_are_found_to_two_per_cent() {
    let mut chance = Chance::new(5);
    for key in [
        "rate=0.1..10000",
        "speedup=0.01..1000",
        "largest:l2.latency=1us..1h",
        "largest:l1.bytes=16MiB..16TiB",
        "largest:l2.nic=1MB/s..1TB/s",
    ] {
        let goal = goal(key);
        for _ in 0..200 {
            let part = chance.below(1_000_000) as f64 / 1e6;
            let flip = goal.low * (goal.high / goal.low).powf(0.01 + 0.98 * part);
            let (answer, exceptions, tried) = search(&goal, |value| value < flip);
            let Answer::Value { value, beyond: Some(beyond) } = answer else { panic!("{key}, {flip}: {answer:?}") };
            assert!(value < flip && flip <= beyond && beyond / value <= 1.0201, "{key}, {flip}: {answer:?}");
            assert!(exceptions.is_empty() && tried.len() <= 55, "{key}: {} tries", tried.len());
        }
    }
}

/// Whatever the promise does, an answer says no more than what was tried.
#[test]
fn an_answer_is_what_was_seen() {
    let mut chance = Chance::new(6);
    let (mut ragged, mut told) = (0, 0);
    for round in 0..2000 {
        let text =
            ["smallest:concurrency=1..500", "largest:concurrency=1..500", "rate=0.5..500", "smallest:rate=0.5..500"]
                [round % 4];
        let goal = goal(text);
        let (flip, noise, salt) = (1 + chance.below(400), chance.below(40), chance.below(1 << 30));
        let holds = |value: f64| {
            let early = (value < flip as f64) == (goal.extreme == Extreme::Largest);
            let draw = Chance::new(value.to_bits() ^ salt).below(100);
            early != (draw < noise)
        };
        let (answer, exceptions, tried) = search(&goal, holds);
        let tried: Vec<(f64, bool)> = tried.iter().map(|(bits, holds)| (f64::from_bits(*bits), *holds)).collect();
        let below = |value: f64| tried.iter().filter(move |(other, _)| *other < value);
        let early = goal.extreme == Extreme::Largest;
        match answer {
            Answer::Never if early => {
                assert!(tried.iter().any(|(value, holds)| value.to_bits() == goal.low.to_bits() && !holds))
            }
            Answer::Never => assert!(tried.iter().all(|(_, holds)| !holds), "{text}: {tried:?}"),
            Answer::Value { value, beyond } => {
                assert!(tried.contains(&(value, true)), "{text}: {value} holds");
                assert!(below(value).all(|(_, holds)| *holds == early), "{text}: {value} of {tried:?}");
                if let Some(beyond) = beyond {
                    assert!(tried.contains(&(beyond, false)), "{text}: {beyond} fails");
                    let between = |other: f64| (value.min(beyond) < other) && (other < value.max(beyond));
                    assert!(!tried.iter().any(|(other, _)| between(*other)), "{text}: they are neighbours");
                }
                let flipped = if early { beyond.unwrap_or(f64::INFINITY) } else { value };
                let expected: Vec<f64> = tried
                    .iter()
                    .filter(|(other, holds)| *other > flipped && *holds == early)
                    .map(|(other, _)| *other)
                    .collect();
                assert_eq!(exceptions, expected, "{text}");
                told += usize::from(!expected.is_empty());
                ragged += 1;
            }
        }
    }
    assert!(told > 300 && ragged > 1000, "{told} of {ragged}");
}

#[test]
fn values_are_written_as_they_are_read() {
    for (text, low, high) in [
        ("replicas=1..64", "1", "64"),
        ("rate=0.5..61.5", "0.5", "61.5"),
        ("l1.bytes=512MiB..1.5TiB", "512MiB", "1.5TiB"),
        ("l1.bytes=5GiB..100GB", "5GiB", "93.1GiB"),
        ("l2.latency=50us..1.5s", "50us", "1.5s"),
        ("l2.nic=25Gbit/s..400Gbit/s", "3.12GB/s", "50GB/s"),
        ("router.credit_l1=0.05..1", "0.05", "1"),
        ("chat.think=1ms..1h", "1ms", "3600s"),
    ] {
        let goal = goal(text);
        let scale = goal.quantity.scale();
        assert_eq!((scale.text(goal.low).as_str(), scale.text(goal.high).as_str()), (low, high), "{text}");
        for value in [goal.low, goal.high].map(|value| scale.round(value)) {
            assert_eq!(scale.round(value).to_bits(), value.to_bits(), "{text}: {value} stays what it is");
        }
    }
    assert_eq!(goal("rate").extreme, Extreme::Largest);
    assert_eq!((goal("replicas").extreme, goal("l1.bytes").extreme), (Extreme::Smallest, Extreme::Smallest));
    assert_eq!(goal("largest:l2.latency").extreme, Extreme::Largest);
    // The setting itself says that more is not taken.
    assert!(goal("chat.turns").high <= 1000.0 && goal("l2.miss_wait").high <= 5.0);
}

#[test]
fn what_cannot_be_looked_for_is_told() {
    for (text, words) in [
        ("replica", "did you mean \"replicas\"?"),
        ("l1.byte", "did you mean \"l1.bytes\"?"),
        ("model.name", "model.name is no number"),
        ("l1.eviction", "it takes lru | s3fifo"),
        ("router.load_bound", "name bounds, such as --find router.load_bound="),
        ("least:rate", "neither smallest: nor largest:"),
        ("replicas=4", "not of the form KEY=LOW..HIGH, such as replicas=1..256"),
        ("replicas=4..4", "the first bound must be below"),
        ("replicas=0..4", "lies outside 1 to 4096"),
        ("replicas=1..5000", "lies outside 1 to 4096"),
        ("rate=0..4", "begin above 0"),
        ("l1.bytes=1..2", "needs a unit"),
        ("chat.turns=1..2000", "more than 1000"),
        ("", "\"\" is no number of a run"),
    ] {
        let problem = Goal::parse(text).expect_err(text);
        assert!(problem.contains(words), "{text} should say {words:?}: {problem}");
    }
}

/// What `podlab simulate SAMPLE` with these arguments prints and says, and its exit code.
fn simulate(arguments: &str) -> Option<(String, String, i32)> {
    let mut command = podlab()?;
    command.arg("simulate").arg(project(SAMPLE)).args(arguments.split_whitespace());
    Some(said(&command.output().expect("it runs")))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("it is JSON")
}

const MIXED: &str =
    "--workload mixed --requests 200 --cache l0 --strategy roundrobin,kvaware+ --slo p90_ttft<1s -o json";

#[test]
fn each_combination_gets_the_answer_that_single_runs_give() {
    let Some((stdout, stderr, status)) = simulate(&format!("{MIXED} --rate 20,30 --find replicas=1..32 --seed 1,2,3"))
    else {
        return;
    };
    assert_eq!((status, stderr.as_str()), (0, ""));
    let found = json(&stdout);
    let found = found["find"].as_array().expect("it is a list");
    assert_eq!(found.len(), 4);
    for one in found {
        assert_eq!(
            (&one["key"], &one["extreme"], &one["replicas"]),
            (&"replicas".into(), &"smallest".into(), &Value::Null)
        );
        let (rate, strategy) = (one["rate"].as_f64().expect("a number"), one["strategy"].as_str().expect("a name"));
        let (answer, next) =
            (one["answer"].as_u64().expect("found"), one["next_tried"].as_u64().expect("not the bound"));
        assert_eq!(next + 1, answer, "{one}");
        let arguments = MIXED.replace("roundrobin,kvaware+", strategy);
        let runs = simulate(&format!("{arguments} --rate {rate} --replicas {answer},{next} --seed 1,2,3"))
            .expect("it ran before");
        let runs = json(&runs.0);
        let holds = |replicas: u64| -> usize {
            let runs = runs["runs"].as_array().expect("a list").iter().filter(|run| run["replicas"] == replicas);
            runs.filter(|run| run["slo"]["holds"] == true).count()
        };
        assert_eq!(holds(answer), 3, "{one}");
        assert!(holds(next) < 3, "{one}");
        let curve = one["curve"].as_array().expect("a list");
        let point = curve.iter().find(|point| point["value"] == next).expect("it was tried");
        assert_eq!((point["seeds_kept"].as_u64(), &point["holds"]), (Some(holds(next) as u64), &false.into()));
        assert!(point["goodput"]["half_width"].as_f64() > Some(0.0) && point["terms"][0]["term"] == "p90_ttft<1s");
    }
}

#[test]
fn what_is_found_does_not_depend_on_threads() {
    let find = |threads: u32, format: &str| {
        let (stdout, stderr, status) = simulate(&format!(
            "--workload chat --requests 150 --cache l0 --strategy roundrobin,session --slo p90_ttft<150ms --find rate --threads {threads} -o {format}"
        ))?;
        assert_eq!((status, stderr.as_str()), (0, ""), "{stderr}");
        Some(stdout)
    };
    for format in ["table", "csv"] {
        let one = find(1, format);
        assert_eq!(one, find(2, format));
        assert_eq!(one, find(7, format));
    }
    let Some(table) = find(2, "table") else { return };
    for words in [
        "The largest rate from 0.1 to 10000 at which every run keeps p90_ttft<150ms",
        "is kept in all 5 seeds at every value tried up to ",
        "All values tried",
    ] {
        assert!(table.contains(words), "{words}: {table}");
    }
}

#[test]
fn nothing_found_is_a_failure_that_says_so() {
    let never = |arguments: &str, words: &[&str]| {
        let Some((stdout, stderr, status)) = simulate(&format!("--requests 30 {arguments}")) else { return };
        assert_eq!(status, 99, "{stderr}");
        for word in words {
            assert!(stderr.contains(word), "{arguments} should say {word:?}: {stderr}");
        }
        assert!(stdout.contains("none"), "the evidence is there: {stdout}");
    };
    never(
        "--slo p90_ttft<1ms --find replicas=1..4",
        &["no value tried from 1 to 4 keeps p90_ttft<1ms", "replicas=LOW..HIGH"],
    );
    never("--slo p90_ttft<1ms --find rate=2..9", &["not even 2 requests/s keeps p90_ttft<1ms", "begin lower"]);
    let Some((stdout, _, status)) = simulate("--requests 30 --slo p50_ttft<1h --find replicas=2..9") else { return };
    assert_eq!(status, 0);
    assert!(stdout.contains("2 workers with prefixaware (the smallest allowed)"), "{stdout}");
}

#[test]
fn contradictions_are_usage_errors() {
    for (arguments, words) in [
        ("--find rate", "--slo"),
        ("--slo p90_ttft<1s --find rate --rate 3", "--find rate: --rate says it already"),
        ("--slo p90_ttft<1s --find users --users 3", "--find users: --users says it already"),
        ("--slo p90_ttft<1s --find concurrency --rate 3", "--rate says it already"),
        ("--slo p90_ttft<1s --find replicas --replicas 3", "--replicas says it already"),
        ("--slo p90_ttft<1s --find l1.bytes --set l1.bytes=1GiB", "--set l1.bytes says it already"),
        ("--slo p90_ttft<1s --find speedup", "--workload docqa is none"),
        ("--slo p90_ttft<1s --find rate --out new", "cannot be used with"),
        ("--slo p90_ttft<1s --find engine.num_gpu_blocks=10..100000", "10 cannot be tried: "),
    ] {
        let Some((stdout, stderr, status)) = simulate(arguments) else { return };
        assert_eq!((status, stdout.as_str()), (2, ""), "{arguments}: {stderr}");
        assert!(stderr.contains(words), "{arguments} should say {words:?}: {stderr}");
    }
}

#[test]
fn users_can_be_looked_for_and_too_few_requests_are_told() {
    let find = |more: &str| {
        simulate(&format!(
            "--workload unrelated --requests 60 --cache l0 --replicas 1 --set arrivals.think=100ms --seed 1 -o json {more}"
        ))
    };
    let Some((stdout, stderr, status)) = find("--slo p99_ttft<600ms --find users=1..64") else { return };
    assert_eq!(status, 0, "{stderr}");
    let few = "warning: p99_ttft<600ms: with 60 requests each must be below the bound, since one is more than 1 % of them; use 100 or more\n";
    assert_eq!(stderr, few);
    let one = &json(&stdout)["find"][0];
    let (answer, next) = (one["answer"].as_u64().expect("found"), one["next_tried"].as_u64().expect("not the bound"));
    assert_eq!((&one["key"], &one["extreme"], next), (&"users".into(), &"largest".into(), answer + 1));
    let (stdout, ..) = find(&format!("--slo p99_ttft<600ms --users {answer},{next}")).expect("it ran before");
    let holds = |row: usize| json(&stdout)["runs"][row]["slo"]["holds"] == true;
    assert!(holds(0) && !holds(1), "{one}");
    // Another combination's users are told.
    let other = "--requests 60 --cache l0 --users 2 --slo p90_ttft<9s --find replicas=1..2 --seed 1 -o json";
    let (stdout, stderr, _) = simulate(other).expect("it ran before");
    assert_eq!((&json(&stdout)["find"][0]["users"], stderr.as_str()), (&2.into(), ""));
}

/// What is cut off at the beginning is in no figure, and so in no promise.
#[test]
fn the_warm_up_breaks_no_promise() {
    // Twenty cold prompts of 30,000 tokens at once; whoever comes after the first twenty finds them.
    let cold = "--workload docqa --requests 200 --concurrency 20 --cache l0 --seed 1 --slo p100_ttft<1s -o json \
                --set docqa.documents=20 --set docqa.document_tokens=30000";
    let holds = |more: &str| {
        let (stdout, _, status) = simulate(&format!("{cold} {more}"))?;
        Some((json(&stdout), status))
    };
    let Some((with, status)) = holds("--warmup 50% --find replicas=1..2") else { return };
    let (alone, _) = holds("--warmup 50% --replicas 1,2").expect("it ran before");
    assert_eq!((status, &alone["runs"][0]["slo"]["holds"]), (0, &true.into()));
    assert_eq!(with["find"][0]["answer"], 1, "as single runs say");
    assert_eq!(holds("--find replicas=1..2").expect("it ran before").1, 99, "with all of them none does");
}
