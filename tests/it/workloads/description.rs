//! What is said of a workload before it is simulated.

use super::*;
use crate::support::{conversation, podlab, said};
use kvcache::SessionId;
use sim::workload::description::Description;
use sim::workload::{Pacing, Segment, Turn};

fn segments(parts: &[(u64, u32)]) -> Vec<Segment> {
    parts.iter().map(|(id, tokens)| Segment { id: *id, tokens: Tokens(*tokens) }).collect()
}

/// Three requests by hand: a document with two questions about it, and the next turn of the second.
fn three(pacing: Pacing) -> Workload {
    let mut workload = Workload::new(pacing);
    let at = |seconds| Time(Span::from_secs(seconds).0);
    workload.push(at(10), Some(SessionId(1)), &segments(&[(1, 1000), (2, 50)]), Tokens(20));
    let reply = Segment { id: 77, tokens: Tokens(30) };
    workload.push_with_reply(at(20), Some(SessionId(2)), &segments(&[(1, 1000), (3, 40)]), reply);
    workload.push(at(130), None, &segments(&[(1, 1000), (3, 40), (77, 30), (4, 5)]), Tokens(60));
    workload
}

#[test]
fn three_requests_by_hand() {
    let told = Description::of(&three(Pacing::Open));
    assert_eq!((told.requests, told.prompt_tokens), (3, 1050 + 1040 + 1075));
    // The second finds the document, the third all of the second turn and its reply.
    assert_eq!(told.reusable_tokens, 1000 + 1070);
    assert_eq!(told.ceiling(), Some(2070.0 / 3165.0));
    // Two have the second question, three the document; the first question, the reply as a prompt, and the last are one's.
    assert_eq!(told.shared, [50 + 30 + 5, 2 * 40, 3 * 1000, 0, 0, 0]);
    assert_eq!((told.prompts.as_slice(), told.outputs.as_slice()), (&[1040, 1050, 1075][..], &[20, 30, 60][..]));
    assert_eq!((told.span, told.busiest), (Some(Span::from_secs(120)), Some(2)));
    // Gaps of 10 and 110 s: 50 s to both sides of 60, of which the sample's deviation is 50 * sqrt 2.
    assert!((told.burstiness.unwrap() - 50.0 * 2_f64.sqrt() / 60.0).abs() < 1e-12);
    assert_eq!((told.sessions, told.in_sessions), (2, 2));
    let closed = Description::of(&three(Pacing::Closed { concurrency: 2 }));
    assert_eq!((closed.span, closed.burstiness, closed.busiest), (None, None, None));
    // Sessions that wait have the list's times where no reply is late; users who think have none.
    let waiting = Description::of(&three(Pacing::Open).waiting());
    assert_eq!(
        (waiting.span, waiting.turns_wait, told.turns_wait),
        (told.span, false, false),
        "no session comes again"
    );
    let turns = |think, gap| {
        let turn = |after| Turn { after, think: Span::from_secs(think), gap: Span::from_secs(gap) };
        Description::of(&three(Pacing::Open).in_turns(vec![Turn::default(), turn(Some(0)), turn(Some(1))]))
    };
    assert_eq!((turns(0, 60).span, turns(0, 60).turns_wait), (told.span, true));
    assert_eq!((turns(9, 0).span, turns(0, 0).busiest), (None, None));
    assert_eq!(closed.reusable_tokens, told.reusable_tokens);
    let none = Description::of(&Workload::new(Pacing::Open));
    assert_eq!((none.ceiling(), none.span, none.burstiness, none.busiest), (None, None, None, Some(0)));
}

/// Of a piece that was cut short where its prompt ended, as much is found as there was.
#[test]
fn what_was_cut_short_is_found_as_far_as_it_went() {
    let mut workload = Workload::new(Pacing::Closed { concurrency: 1 });
    for tokens in [1, 512, 300] {
        workload.push(Time::ZERO, None, &segments(&[(7, tokens)]), Tokens(1));
    }
    workload.push(Time::ZERO, None, &segments(&[(7, 512), (8, 10)]), Tokens(1));
    assert_eq!(Description::of(&workload).reusable_tokens, 1 + 300 + 512);
}

#[test]
fn generated_workloads_are_what_they_are_said_to_be() {
    for (name, workload) in all(OPEN, 5) {
        let told = Description::of(&workload);
        let burstiness = told.burstiness.expect("there are gaps");
        assert!((burstiness - 1.0).abs() < 0.1, "{name}: a Poisson process, {burstiness}");
        assert_eq!(told.shared.iter().sum::<u64>(), told.prompt_tokens, "{name}: each token is in one group");
    }
}

/// An infinite cache of the trace finds what has long been known of it.
#[test]
fn the_ceiling_of_the_conversation_trace() {
    let Some(file) = conversation() else { return };
    let source = driver::experiment::Source::read(&format!("trace:{}", file.display()), None).expect("it is valid");
    let load = driver::experiment::Load::Trace { speedup: 1.0 };
    let told = Description::of(&source.workload(&driver::lab::Lab::default(), load, 0));
    assert!((told.ceiling().unwrap() - 0.37363).abs() < 1e-5, "{:?}", told.ceiling());
    assert_eq!((told.requests, told.prompt_tokens), (12_031, 144_793_823));
}

#[test]
fn a_description_on_the_command_line() {
    let run = |arguments: &[&str]| -> Option<(String, String, i32)> {
        Some(said(&podlab()?.args(["workload", "describe"]).args(arguments).output().expect("it runs")))
    };
    let Some((text, stderr, status)) = run(&["docqa", "--requests", "70", "--rate", "2"]) else { return };
    assert_eq!((status, stderr.as_str()), (0, ""));
    // Thirty-five documents of 8,192 tokens, each asked about twice: of 70 * 8,256 tokens 35 * 8,192 come again.
    assert!(
        text.starts_with("docqa: 70 requests, 577,920 prompt tokens\n\nreuse ceiling   49.6 % of prompt"),
        "{text}"
    );
    assert!(text.contains("\n               1    0.8 %  ▍\n               2   99.2 %  ████████"), "{text}");
    assert!(text.contains("prompt lengths, tokens: mean 8256, P50 8256, P90 8256, P99 8256\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    // Its rounds have times of their own: every fifth of a second one, 1.25 times the 4 that are asked for.
    let (text, ..) = run(&["multi-round-qa", "--rate", "4"]).expect("it ran before");
    let arrivals = text.lines().find(|line| line.starts_with("arrivals")).expect("there is such a line");
    assert!(arrivals.starts_with("arrivals        over 140 s, 4.99 per second, "), "{arrivals}");
    assert!(arrivals.ends_with(", where no reply is late: a turn also waits for the one before"), "{arrivals}");
    for closed in [&["multi-round-qa", "--concurrency", "4"], &["chat", "--users", "4"]] {
        let (text, ..) = run(closed).expect("it ran before");
        assert!(text.contains("arrivals        when replies are complete (a closed loop)\n"), "{text}");
    }
    let Some((json, ..)) = run(&["docqa", "--requests", "70", "-o", "json"]) else { return };
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!((&json["shared_tokens"]["2"], &json["span_s"]), (&(70 * 8192).into(), &().into()));
    for (arguments, code, words) in [
        (&["docqs"] as &[&str], 2, "did you mean \"docqa\"?"),
        (&["docqa", "-o", "csv"], 2, "use table or json"),
        (&["docqa", "--set", "docqa.users=1,2"], 2, "describe takes one value, not 2"),
        (&["docqa", "--speedup", "2"], 2, "--workload docqa is none"),
        (&["trace:/nowhere.jsonl"], 3, "/nowhere.jsonl: cannot be read"),
    ] {
        let Some((stdout, stderr, status)) = run(arguments) else { return };
        assert_eq!((status, stdout.as_str()), (code, ""), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
}

/// A run's beginning, but where shares decide what is asked when.
#[test]
fn fewer_requests_are_the_beginning_of_more_or_it_is_said() {
    let show = |name: &str, requests: &str| -> Option<(Vec<String>, String)> {
        let arguments = ["workload", "show", name, "--rate", "5", "--requests", requests, "-o", "json"];
        let (stdout, stderr, status) = said(&podlab()?.args(arguments).output().expect("it runs"));
        assert_eq!(status, 0, "{stderr}");
        Some((stdout.lines().map(str::to_owned).collect(), stderr))
    };
    for name in ["docqa", "chat", "shared-system", "mixed", "unrelated", "code-review", "multi-round-qa"] {
        let Some((few, said)) = show(name, "20") else { return };
        let (many, _) = show(name, "700").expect("it ran before");
        let told = said.contains("this is all of a run of 20, not the beginning of a longer one");
        assert_eq!((few == many[..20], said.is_empty()), (!told, !told), "{name}: {said}");
        assert_eq!(told, name == "docqa");
    }
}
