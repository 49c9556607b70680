//! Tables and lists: what each format says is read, and what cannot be true is refused with its line.

use super::{lengths, times};
use crate::support::{Folder, data, podlab, project, said};
use kvcache::{SessionId, Tokens};
use sim::workload::description::Description;
use sim::workload::trace::{Replay, read};
use std::collections::BTreeSet;

const AZURE: &str = include_str!("corpus/azure.csv");
const BURST: &str = include_str!("corpus/burstgpt.csv");
const VIDUR: &str = include_str!("corpus/vidur.csv");
const LIST: &str = include_str!("corpus/list.jsonl");
const ARRAY: &str = include_str!("corpus/array.json");
const RESULT: &str = include_str!("corpus/vllm-result.json");

fn sizes(text: &str) -> Replay {
    let replay = read(text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
    assert!(!replay.shares);
    assert_eq!(Description::of(&replay.workload).reusable_tokens, 0, "prompts are unrelated");
    replay
}

#[test]
fn azures_table() {
    let replay = sizes(AZURE);
    assert!(replay.timed);
    assert_eq!(lengths(&replay.workload), [(4808, 10), (3180, 8), (110, 27), (4100, 3)]);
    // From the first; over a leap day, with and without a zone.
    assert_eq!(times(&replay.workload), [0.0, 0.052, 86_400.052, 86_400.102_000_1]);
    assert_eq!(sizes(&AZURE.replace('\n', "\r\n")), replay);
}

#[test]
fn burstgpts_table_leaves_out_what_failed() {
    let replay = sizes(BURST);
    assert_eq!(lengths(&replay.workload), [(472, 18), (1087, 230), (417, 276)]);
    assert_eq!(times(&replay.workload), [0.0, 40.0, 113.5]);
    let sessions: BTreeSet<_> = replay.workload.requests().iter().map(|request| request.session).collect();
    assert_eq!(sessions.len(), 2, "two of one session");
}

#[test]
fn vidurs_table_and_lists_without_times() {
    for text in [VIDUR, RESULT] {
        let replay = sizes(text);
        assert!(!replay.timed);
        assert!(times(&replay.workload).iter().all(|at| *at == 0.0));
    }
    assert_eq!(lengths(&sizes(VIDUR).workload), [(374, 44), (396, 109)]);
    assert_eq!(lengths(&sizes(RESULT).workload), [(1024, 128), (1000, 7), (12, 300)]);
}

#[test]
fn lists_have_the_fields_of_several_tools() {
    let replay = sizes(LIST);
    assert_eq!(lengths(&replay.workload), [(30, 4), (50, 6), (70, 8)]);
    assert_eq!(times(&replay.workload), [0.0, 1.5, 2.0]);
    assert_eq!(replay.workload.requests()[0].session, Some(SessionId(7)));
    let array = sizes(ARRAY);
    assert_eq!((lengths(&array.workload), array.timed), (vec![(30, 4), (50, 6)], true));
    assert_eq!(times(&array.workload), [0.0, 0.25]);
    let starts = RESULT.replace("\"errors\"", "\"start_times\": [10.5, 10.0, 12.0], \"errors\"");
    let replay = sizes(&starts);
    assert_eq!(lengths(&replay.workload), [(1000, 7), (1024, 128), (12, 300)], "in order of sending");
    assert_eq!(times(&replay.workload), [0.0, 0.5, 2.0]);
}

#[test]
fn what_cannot_be_true_is_refused_with_its_line_and_a_remedy() {
    for (text, line, words) in [
        ("", 0, "not a trace: the file is empty"),
        ("hello\n", 0, "not a trace that podlab knows: podlab reads Mooncake JSONL"),
        (
            "TIMESTAMP,ContextTokens\n1,2\n",
            1,
            "no column tells a request's output tokens; podlab looks for generatedtokens",
        ),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", 0, "the file holds no request"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n1,2\n", 2, "2 values under 3 names"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n1,2.5,3\n", 2, "contexttokens is no whole number"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n1,-2,3\n", 2, "-2 is no number of prompt tokens"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n5,2,3\n\n4,2,3\n", 4, "before that of the request before: sort"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-02-29 00:00:00,2,3\n", 2, "timestamp is no time"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n0,1,1\n2e7,1,1\n", 3, "more than 115 days"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n0,4294967295,1\n", 2, "together exceed"),
        ("{\"prompt_len\": 3}\n", 1, "no field tells its output tokens; podlab looks for output_len"),
        (
            "{\"prompt\": \"hi\", \"output_tokens\": 3}\n",
            1,
            "is text, whose tokens podlab cannot count: add prompt_len",
        ),
        ("[{\"conversations\": []}]", 0, "request 1: no field tells its prompt tokens, and its conversations is text"),
        ("{\"prompt_len\": 3, \"output_len\": 1}\n{\"prompt_len\": 3,", 2, "a request is one JSON object on one line"),
        ("{\"prompt_len\": 1, \"output_len\": 1}\n{\"prompt_len\": 1, \"output_len\": 1, \"time\": 1}", 2, "or none"),
        (
            "{\"time\": 1, \"prompt_len\": 1, \"output_len\": 1}\n{\"prompt_len\": 1, \"output_len\": 1}",
            2,
            "tells no time",
        ),
        ("{\"time\": -1, \"prompt_len\": 1, \"output_len\": 1}", 1, "time is no time"),
        ("{\"prompt_len\": 1, \"output_len\": 1}\n{\"input_length\": 1, \"hash_ids\": [1]}", 2, "it has hash_ids"),
        ("{\"input_lens\": [1, 2], \"output_lens\": [1]}", 0, "not of one length"),
        ("[1]", 0, "request 1: it is no JSON object"),
    ] {
        let error = read(text).expect_err(text);
        assert_eq!(error.line, line, "{text}: {error}");
        assert!(error.problem.contains(words), "{text}: {error}");
    }
}

#[test]
fn the_azure_trace_is_what_it_is_said_to_be() {
    let Some(file) = data("traces/AzureLLMInferenceTrace_code_2023.csv") else { return };
    let text = std::fs::read_to_string(file).expect("it can be read");
    let replay = sizes(&text);
    let requests = replay.workload.requests();
    assert_eq!((requests.len(), requests[0].prompt, requests[0].output), (8819, Tokens(4808), Tokens(10)));
    let prompt: u64 = requests.iter().map(|request| u64::from(request.prompt.0)).sum();
    assert_eq!(prompt, 18_059_974);
}

#[test]
fn sizes_are_replayed_from_the_command_line() {
    let folder = Folder::new("sizes");
    let (azure, vidur) = (folder.file("a.csv", AZURE), folder.file("v.csv", VIDUR));
    let run = |file: &std::path::Path, arguments: &[&str]| -> Option<(String, String, i32)> {
        let mut command = podlab()?;
        let trace = format!("trace:{}", file.display());
        command.arg("simulate").arg(project("driver/examples/aws-blog-70b.yaml"));
        Some(said(&command.args(["--workload", &trace, "-o", "json"]).args(arguments).output().expect("it runs")))
    };
    for (file, arguments, requests) in [
        (&azure, &["--speedup", "100"] as &[&str], 4),
        (&azure, &["--repeat", "3"], 12),
        (&azure, &["--concurrency", "2"], 4),
        (&vidur, &[], 2),
        (&vidur, &["--rate", "3"], 2),
        (&vidur, &["--users", "2", "--repeat", "2"], 4),
    ] {
        let Some((stdout, stderr, status)) = run(file, arguments) else { return };
        assert_eq!(status, 0, "{stderr}");
        assert!(stderr.contains("the trace tells sizes, and nothing of what prompts share"), "{stderr}");
        let result: serde_json::Value = serde_json::from_str(&stdout).expect("it is JSON");
        assert_eq!(result["runs"][0]["completed"], requests, "{arguments:?}");
        assert_eq!(result["runs"][0]["hit_rate"]["total"], 0.0);
    }
    for (file, arguments, words) in [
        (&azure, &["--rate", "3"] as &[&str], "--rate contradicts"),
        (&azure, &["--users", "3"], "use --set arrivals.turns=closed"),
        (&vidur, &["--speedup", "3"], "tells no times; use --rate"),
    ] {
        let Some((_, stderr, status)) = run(file, arguments) else { return };
        assert!(status == 2 && stderr.contains(words), "{stderr}");
    }
}
