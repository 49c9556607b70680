//! Replies that the next turn repeats, logs across a New Year, and units of time.

use super::*;
use driver::import::{Reader, read_next};

fn message(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

/// A conversation of four turns, with replies of some length; four characters are a token.
fn conversation(reasoning: bool, streamed: bool) -> String {
    let (mut messages, mut log) = (vec![message("system", SYSTEM)], String::new());
    for turn in 0..4 {
        messages.push(message("user", &format!("Question {turn}: {}", "why is that so? ".repeat(9))));
        let length = |value: &Value| value.as_str().map_or(0, str::len);
        let chars: usize =
            messages.iter().map(|message| length(&message["role"]) + length(&message["content"]) + 4).sum();
        let reply = format!("Answer {turn}: {}", "because it is. ".repeat(20));
        let usage = json!({"prompt_tokens": chars / 4, "completion_tokens": (reply.len() + 13) / 4});
        let mut spoken = message("assistant", &reply);
        if reasoning {
            spoken["reasoning_content"] = json!("Let me think.");
        }
        let response = if streamed {
            let (begin, end) = reply.split_at(40);
            let event = |text: &str| format!("data: {}\n\n", json!({"choices": [{"delta": {"content": text}}]}));
            json!(event(begin) + &event(end) + &format!("data: {}\n\n", json!({"choices": [], "usage": usage})))
        } else {
            json!({"choices": [{"message": spoken}], "usage": usage})
        };
        let request = json!({"messages": messages, "user": "ann"});
        log +=
            &format!("{}\n", json!({"timestamp": 1_764_230_400 + 60 * turn, "request": request, "response": response}));
        messages.push(message("assistant", &reply));
    }
    log
}

#[test]
fn what_was_replied_is_known_when_the_next_turn_repeats_it() {
    for streamed in [false, true] {
        let trace = imported(&conversation(false, streamed), 16);
        let told = Description::of(&workload(&trace));
        // Of each turn all but its question is known, and at both ends of a turn less than a block is lost.
        let lines = lines(&trace);
        let of = |line: &Value, key: &str| line[key].as_u64().unwrap();
        let known: u64 = lines[..3].iter().map(|line| of(line, "input_length") + of(line, "output_length")).sum();
        assert!(told.reusable_tokens <= known, "{} of {known}", told.reusable_tokens);
        assert!(told.reusable_tokens + 3 * 32 >= known, "{} of {known}", told.reusable_tokens);
        // Without them replies count as new.
        let text = trace.text.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().remove("output_hash_ids").expect("each has some");
            format!("{line}\n")
        });
        let without = Description::of(&mooncake::parse(&text.collect::<String>()).expect("it is a trace"));
        let replies: u64 = lines[..3].iter().map(|line| of(line, "output_length")).sum();
        assert!(without.reusable_tokens + replies <= told.reusable_tokens + 3 * 32);
        assert!(without.reusable_tokens + replies / 2 < told.reusable_tokens);
    }
    // What was thought is in the engine's cache and in no later prompt.
    let thought = imported(&conversation(true, false), 16);
    assert!(lines(&thought).iter().all(|line| line.get("output_hash_ids").is_none()));
}

fn vllm(day: &str, id: u32) -> String {
    format!(
        "INFO {day} 10:00:00 logger.py:36] Received request cmpl-{id}: prompt: 'How, to', params: SamplingParams(n=1, max_tokens=16), prompt_token_ids: [1, 2], lora_request: None.\n"
    )
}

/// Days from the first, of files read one after the other.
fn days(files: &[&[&str]]) -> Vec<i64> {
    let mut reader = Reader::default();
    let mut all = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let text: String = file.iter().zip(0..).map(|(day, id)| vllm(day, 100 * number as u32 + id)).collect();
        all.extend(read_next(&text, None, None, &mut reader).expect("it is a log"));
    }
    all.iter().map(|seen| ((seen.at - all[0].at) / 86_400.0).round() as i64).collect()
}

#[test]
fn logs_of_several_files_cross_the_new_year() {
    assert_eq!(days(&[&["12-30", "12-31"], &["01-01"], &["01-02"]]), [0, 1, 2, 3]);
    assert_eq!(days(&[&["12-31", "01-01"], &["01-02"]]), [0, 1, 2]);
    // Files that are not in order, within a year and across its end.
    assert_eq!(days(&[&["03-02"], &["02-29"]]), [0, -2]);
    assert_eq!(days(&[&["01-02"], &["12-31"], &["01-03"]]), [0, -2, 1]);
}

#[test]
fn times_from_no_known_moment_say_their_unit() {
    let log = |times: &[Value]| -> String {
        times.iter().map(|at| format!("{}\n", json!({"timestamp": at, "prompt": "x", "max_tokens": 3}))).collect()
    };
    let seconds = |times: &[Value], unit| {
        let seen = read_next(&log(times), None, None, &mut Reader::with_unit(unit));
        seen.map(|seen| seen.iter().map(|seen| seen.at).collect::<Vec<_>>()).map_err(|error| error.to_string())
    };
    let whole = [json!(0), json!(1500), json!(3000)];
    let refused = seconds(&whole, None).expect_err("it may be either");
    assert!(refused.contains("say which by --time-unit s or --time-unit ms"), "{refused}");
    assert_eq!(seconds(&whole, Some(1e-3)), Ok(vec![0.0, 1.5, 3.0]));
    assert_eq!(seconds(&whole, Some(1.0)), Ok(vec![0.0, 1500.0, 3000.0]));
    // Fractions are of seconds; one moment has no unit; moments since 1970 are told by their size.
    assert_eq!(seconds(&[json!(0), json!(1.25)], None), Ok(vec![0.0, 1.25]));
    assert_eq!(seconds(&[json!(7), json!(7)], None), Ok(vec![7.0, 7.0]));
    let since = [json!(1_764_230_400_500_u64), json!(1_764_230_401)];
    assert_eq!(seconds(&since, Some(1e-3)), Ok(vec![1_764_230_400.5, 1_764_230_401.0]));
}

/// The same log, response's fields beside the request's, or the reply's text alone.
#[test]
fn replies_are_read_wherever_they_stand() {
    let nested = conversation(false, false);
    let lines_of = |change: &dyn Fn(&mut Value)| -> String {
        let changed = nested.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).expect("a line is JSON");
            change(&mut line);
            format!("{line}\n")
        });
        changed.collect()
    };
    let flat = lines_of(&|line| {
        let (request, response) = (line["request"].take(), line["response"].take());
        *line = json!({
            "timestamp": line["timestamp"], "messages": request["messages"], "user": "ann",
            "choices": response["choices"], "usage": response["usage"],
        });
    });
    let words = lines_of(&|line| {
        line["usage"] = line["response"]["usage"].take();
        line["response"] = line["response"]["choices"][0]["message"]["content"].take();
    });
    let expected = imported(&nested, 16).text;
    assert!(expected.lines().all(|line| line.contains("output_hash_ids")), "replies are known: {expected}");
    assert_eq!(imported(&flat, 16).text, expected);
    assert_eq!(imported(&words, 16).text, expected);
    // A reply that looks like JSON is a reply; without usage its length is that of its text.
    let one = json!({"timestamp": 1_764_230_400, "prompt": "How many rooms?", "response": "1234"});
    let seen = read_next(&one.to_string(), None, None, &mut Reader::default()).expect("it is a log");
    assert_eq!(seen[0].reply, Some(driver::import::content::Content::Text("1234".to_owned())));
}
