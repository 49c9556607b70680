//! A platform's own logs as a trace: sizes, times, sharing and sessions, and no text.

use crate::support::{Folder, podlab, said};
use driver::import::trace::{Imported, Settings, write};
use driver::import::{Format, read};
use kvcache::Span;
use serde_json::{Value, json};
use sim::workload::description::Description;
use sim::workload::{Workload, mooncake};

pub(crate) mod fuzz; // whatever a log holds
mod leftovers; // replies, years and units

const SYSTEM: &str =
    "You are a patient assistant of the Zanzibar library, and quote nobody by name without asking first.";

fn settings(block: u32) -> Settings {
    Settings { salt: b"pepper".to_vec(), block }
}

fn imported(log: &str, block: u32) -> Imported {
    write(read(log, None, None).expect("it is a log"), &settings(block)).expect("it is a trace")
}

fn lines(imported: &Imported) -> Vec<Value> {
    imported.text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn workload(imported: &Imported) -> Workload {
    mooncake::parse(&imported.text).expect("podlab reads its own traces")
}

/// A chat of two turns and somebody else's question behind the same system prompt. Four characters are a token.
fn chats() -> Vec<(f64, Value, Value)> {
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let first = vec![message("system", SYSTEM), message("user", "Where are the maps of the southern coast kept?")];
    let mut second = first.clone();
    second.push(message("assistant", "In the second room, behind the globe."));
    second.push(message("user", "And the older ones?"));
    let other = vec![message("system", SYSTEM), message("user", "May I bring my dog?")];
    let body =
        |messages: &[Value], user: &str| json!({"model": "m", "messages": messages, "user": user, "max_tokens": 50});
    let reply = |text: &str, prompt: u32, completion: u32| {
        let choice = json!({"message": message("assistant", text), "finish_reason": "stop"});
        json!({"choices": [choice], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}})
    };
    let chars = |messages: &[Value]| {
        let of = |value: &Value| value.as_str().map_or(0, str::len);
        // A role takes three characters more: two brackets and a line's end on both sides.
        messages.iter().map(|message| of(&message["role"]) + of(&message["content"]) + 4).sum::<usize>() as u32
    };
    vec![
        (1_764_230_400.25, body(&first, "ann"), reply("In the second room, behind the globe.", chars(&first) / 4, 9)),
        (1_764_230_430.5, body(&second, "ann"), reply("Upstairs.", chars(&second) / 4, 3)),
        (1_764_230_410.0, body(&other, "bob"), reply("If it is quiet.", chars(&other) / 4, 4)),
    ]
}

fn openai() -> String {
    let line = |(at, request, response): (f64, Value, Value)| {
        format!("{}\n", json!({"timestamp": at, "request": request, "response": response}))
    };
    chats().into_iter().map(line).collect()
}

fn sagemaker(encoding: &str) -> String {
    use base64::Engine;
    let data = |value: &Value| match encoding {
        "BASE64" => base64::prelude::BASE64_STANDARD.encode(value.to_string()),
        _ => value.to_string(),
    };
    let side =
        |value: &Value| json!({"observedContentType": "application/json", "data": data(value), "encoding": encoding});
    let line = |((_, request, response), time): ((f64, Value, Value), &str)| {
        let capture = json!({"endpointInput": side(&request), "endpointOutput": side(&response)});
        format!("{}\n", json!({"captureData": capture, "eventMetadata": {"inferenceTime": time}, "eventVersion": "0"}))
    };
    let times = ["2025-11-27T08:00:00.250Z", "2025-11-27T08:00:30.5Z", "2025-11-27T08:00:10Z"];
    chats().into_iter().zip(times).map(line).collect()
}

#[test]
fn chats_by_hand() {
    let trace = imported(&openai(), 8);
    assert_eq!((trace.requests, trace.counted, trace.limited, trace.guessed), (3, 3, 0, 0));
    assert!((trace.chars_per_token - 4.0).abs() < 0.05, "{}", trace.chars_per_token);
    let told = lines(&trace);
    // In order of time, from the first on.
    let times: Vec<_> = told.iter().map(|line| line["timestamp"].as_f64().unwrap()).collect();
    assert_eq!(times, [0.0, 9750.0, 30_250.0]);
    assert_eq!(told.iter().map(|line| line["output_length"].as_u64().unwrap()).collect::<Vec<_>>(), [9, 4, 3]);
    let ids = |line: &Value| line["hash_ids"].as_array().unwrap().clone();
    let (first, other, second) = (ids(&told[0]), ids(&told[1]), ids(&told[2]));
    let common = |a: &[Value], b: &[Value]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    // The system prompt and its role are some 27 tokens, three whole blocks; what ann said is a prefix of what she says next,
    // but perhaps for what is left of its last block.
    let again = common(&first, &second);
    assert_eq!(common(&first, &other), 3);
    assert!(again + 1 >= first.len() && again < second.len(), "{first:?} {second:?}");
    assert_eq!(told[0]["session_id"], told[2]["session_id"]);
    assert_ne!(told[0]["session_id"], told[1]["session_id"]);
    // Not a word of it, nor of who said it.
    for word in ["patient", "Zanzibar", "maps", "globe", "dog", "quiet", "Upstairs", "ann", "bob", "user"] {
        assert!(!trace.text.contains(word), "{word}: {}", trace.text);
    }
    let workload = workload(&trace);
    assert_eq!(workload.requests()[2].at.since(workload.requests()[0].at), Span::from_millis(30_250));
    let described = Description::of(&workload);
    assert_eq!(described.reusable_tokens, 8 * (3 + again as u64));
    assert_eq!((described.sessions, described.in_sessions), (2, 3));
}

#[test]
fn an_envelope_changes_nothing() {
    let plain = imported(&openai(), 16);
    for encoding in ["JSON", "BASE64"] {
        let log = sagemaker(encoding);
        assert_eq!(Format::of(&log), Some(Format::SageMaker));
        assert_eq!(imported(&log, 16), plain, "{encoding}");
    }
    // The same salt, the same names; another one, others.
    assert_eq!(imported(&openai(), 16), plain);
    let peppered =
        write(read(&openai(), None, None).unwrap(), &Settings { salt: b"other".to_vec(), block: 16 }).unwrap();
    assert_ne!(lines(&peppered)[0]["hash_ids"][0], lines(&plain)[0]["hash_ids"][0]);
    assert_eq!(Description::of(&workload(&peppered)), Description::of(&workload(&plain)));
}

/// Lines as they are found: flat, as the batch API has them, streamed, with tokens instead of text.
#[test]
fn other_shapes_of_the_same() {
    let one = |line: Value| {
        let mut seen = read(&line.to_string(), None, None).expect("it is a log");
        assert_eq!(seen.len(), 1);
        seen.remove(0)
    };
    let prompt = json!({"prompt": "Once upon a time", "max_tokens": 7});
    let flat = one(json!({"time": "2026-01-02T03:04:05+01:00", "prompt": "Once upon a time", "max_tokens": 7,
        "usage": {"prompt_tokens": 4, "completion_tokens": 5}}));
    assert_eq!((flat.at, flat.input, flat.output, flat.most), (1_767_319_445.0, Some(4), Some(5), Some(7)));
    let batch = one(json!({"custom_id": "a", "body": prompt, "response": {"status_code": 200,
        "body": {"created": 1_767_319_445, "choices": [{"text": " there was"}], "usage": {"prompt_tokens": 4, "completion_tokens": 5}}}}));
    assert_eq!((batch.at, &batch.prompt, batch.output), (flat.at, &flat.prompt, Some(5)));
    let events = "data: {\"choices\": [{\"text\": \" there\"}]}\n\ndata: {\"choices\": [{\"text\": \" was\"}]}\n\ndata: [DONE]\n\n";
    let streamed = one(json!({"ts": 1_767_319_445_000_u64, "request": prompt.to_string(), "response": events}));
    assert_eq!((streamed.at, &streamed.reply), (flat.at, &batch.reply));
    let tokens = one(json!({"timestamp": 1.5, "prompt": [5, 6, 7], "max_tokens": 7, "metadata": {"session_id": "s"}}));
    assert_eq!((tokens.prompt.len(), tokens.session.as_deref()), (3, Some("s")));
    let parts = json!([{"type": "text", "text": "What is "}, {"type": "image_url", "image_url": {"url": "x"}}]);
    let chat = |content: Value| {
        one(json!({"timestamp": 1, "messages": [{"role": "user", "content": content}], "max_tokens": 1}))
    };
    assert_ne!(chat(parts).prompt, chat(json!("What is ")).prompt);
    assert_eq!(chat(json!([{"type": "text", "text": "What is "}])).prompt, chat(json!("What is ")).prompt);
}

#[test]
fn an_engine_s_own_log() {
    let old = "INFO 12-31 23:59:58 logger.py:36] Received request cmpl-a-0: prompt: 'How, to', params: SamplingParams(n=1, max_tokens=16, min_tokens=0), prompt_token_ids: [1, 2, 3, 4, 5], lora_request: None.\nINFO 12-31 23:59:59 metrics.py:345] Avg prompt throughput: 1\nINFO 01-01 00:00:03 logger.py:36] Received request cmpl-b-0: prompt: 'How, to', params: SamplingParams(n=1, max_tokens=8, min_tokens=0), prompt_token_ids: [1, 2, 3, 4, 9], lora_request: None.\n";
    let trace = imported(old, 2);
    let told = lines(&trace);
    assert_eq!(
        (told[1]["timestamp"].as_f64(), &told[0]["output_length"], &told[1]["output_length"]),
        (Some(5000.0), &16.into(), &8.into())
    );
    assert_eq!((trace.counted, trace.limited), (2, 2));
    assert_eq!((&told[0]["hash_ids"][1], &told[0]["input_length"]), (&told[1]["hash_ids"][1], &5.into()));
    assert_ne!(told[0]["hash_ids"][2], told[1]["hash_ids"][2]);
    // As it is logged since 0.11: details first, then the request, the parts of a stream, and its end without tokens.
    let line = |level: &str, what: &str| format!("(APIServer pid=9) {level} 02-13 11:33:33 [logger.py:49] {what}\n");
    let prompt = "'what is prompt_token_ids: [5] and max_tokens=3, Received request y: ?'";
    let new = line(
        "DEBUG",
        &format!(
            "Request chatcmpl-x details: prompt: {prompt}, prompt_token_ids: [7, 8, 9], prompt_embeds shape: None."
        ),
    ) + &line(
        "INFO",
        "Received request chatcmpl-x: params: SamplingParams(n=1, max_tokens=100, min_tokens=0), lora_request: None.",
    ) + &line(
        "INFO",
        "Generated response chatcmpl-x (streaming delta): output: 'b', output_token_ids: [3], finish_reason: None",
    ) + &line(
        "INFO",
        "Generated response chatcmpl-x (streaming delta): output: ' c', output_token_ids: [4, 5], finish_reason: None",
    ) + &line(
        "INFO",
        "Generated response chatcmpl-x (streaming complete): output: 'b c', output_token_ids: None, finish_reason: stop",
    );
    let trace = imported(&new, 2);
    let told = lines(&trace);
    assert_eq!((trace.requests, &told[0]["input_length"], &told[0]["output_length"]), (1, &3.into(), &3.into()));
    let whole = line(
        "INFO",
        "Received request z: prompt: 'max_tokens=9 prompt_token_ids: [1], ', params: SamplingParams(n=1, max_tokens=4), prompt_token_ids: [1, 2, 3, 4], lora_request: None.",
    ) + &line("INFO", "Generated response z: output: 'b c', output_token_ids: [3, 4], finish_reason: stop");
    let told = lines(&imported(&whole, 2));
    assert_eq!((&told[0]["input_length"], &told[0]["output_length"]), (&4.into(), &2.into()));
    let new =
        line("INFO", "Received request chatcmpl-x: params: SamplingParams(n=1, max_tokens=100), lora_request: None.");
    let text = line(
        "INFO",
        "Received request t: prompt: 'what is prompt_token_ids: [5], ?', params: SamplingParams(n=1, max_tokens=4), prompt_token_ids: None, lora_request: None.",
    );
    assert_eq!(lines(&imported(&text, 2))[0]["input_length"], 8, "of thirty-odd characters");
    let bare: String = new.lines().take(1).collect();
    let problem = read(&bare, None, None).expect_err("it names no prompt").to_string();
    assert!(
        problem.contains("1 of 1 requests name no prompt") && problem.contains("VLLM_LOGGING_LEVEL=DEBUG"),
        "{problem}"
    );
}

#[test]
fn what_a_log_does_not_tell_is_estimated_and_said() {
    let line = |at: u32, prompt: &str, rest: Value| {
        let mut line = json!({"timestamp": f64::from(at) + 0.5, "prompt": prompt});
        line.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        format!("{line}\n")
    };
    // 100 characters are 20 tokens where it is counted: five characters a token.
    let counted = json!({"usage": {"prompt_tokens": 20, "completion_tokens": 6}});
    let log = line(1, &"x".repeat(100), counted)
        + &line(2, &"x".repeat(50), json!({"max_tokens": 9}))
        + &line(3, "x", json!({}));
    let trace = imported(&log, 4);
    let told = lines(&trace);
    let numbers = |key: &str| told.iter().map(|line| line[key].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!((numbers("input_length"), numbers("output_length")), (vec![20, 10, 1], vec![6, 9, 6]));
    assert_eq!((trace.counted, trace.limited, trace.guessed, trace.chars_per_token), (1, 1, 1, 5.0));
    // Blocks of 20 characters: two whole ones are the same, and what is left of the second prompt is not.
    assert_eq!(told[0]["hash_ids"].as_array().unwrap()[..2], told[1]["hash_ids"].as_array().unwrap()[..2]);
    assert_eq!(told[1]["hash_ids"].as_array().unwrap().len(), 3);
    assert_eq!((trace.estimated, trace.unseen), (0, 0));
    let streamed = "data: {\"choices\": [{\"delta\": {\"content\": \"a\"}}]}\n\ndata: {\"choices\": [], \"usage\": {\"prompt_tokens\": 77, \"completion_tokens\": 5}}\n\n";
    let told = lines(&imported(&line(1, &"x".repeat(300), json!({"response": streamed})), 64));
    assert_eq!((&told[0]["input_length"], &told[0]["output_length"]), (&77.into(), &5.into()));
    let plain = imported(&line(1, "x", json!({"response": format!("Here is the data: {}", "word ".repeat(400))})), 64);
    assert!(lines(&plain)[0]["output_length"].as_u64() > Some(400) && plain.estimated == 1);
    let generated = imported(&line(1, "x", json!({"response": [{"generated_text": "y".repeat(80)}]})), 64);
    assert_eq!(lines(&generated)[0]["output_length"], 20);
    let nothing =
        write(read(&line(1, "x", json!({})), None, None).unwrap(), &settings(4)).expect_err("no length at all");
    assert!(nothing.to_string().contains("log the responses, too"), "{nothing}");
}

/// What a log does not show is nobody's; what looks longer than it is does not change how others are cut.
#[test]
fn nothing_is_shared_that_was_not_seen() {
    let line = |at: usize, prompt: &str, tokens: u32| {
        let usage = json!({"prompt_tokens": tokens, "completion_tokens": 3});
        format!("{}\n", json!({"timestamp": at as f64 + 0.5, "prompt": prompt, "usage": usage}))
    };
    let redacted: String = (0..10).map(|at| line(at, "[REDACTED]", 1000)).collect();
    let trace = imported(&redacted, 64);
    assert_eq!((trace.unseen, Description::of(&workload(&trace)).ceiling().map(|it| it < 0.07)), (10, Some(true)));
    // Two texts that differ at their ends, in a language of more characters a token than most of the log.
    let (same, dense) = ("word ".repeat(400), "\u{4e2d}".repeat(400));
    let texts = [same.clone() + "alpha", same + "omega", dense.clone(), dense.clone(), dense];
    let mixed: String = texts.iter().enumerate().map(|(at, text)| line(at, text, 400)).collect();
    let told = lines(&imported(&mixed, 64));
    assert_ne!(told[0]["hash_ids"], told[1]["hash_ids"], "what is left of them is told apart");
    // One image among many texts.
    let chat = |at: usize, content: Value, tokens: u32| {
        let messages = json!([{"role": "system", "content": "s".repeat(2000)}, {"role": "user", "content": content}]);
        format!(
            "{}\n",
            json!({"timestamp": at as f64 + 0.5, "messages": messages, "usage": {"prompt_tokens": tokens, "completion_tokens": 3}})
        )
    };
    let image = json!([{"type": "image_url", "image_url": {"url": "A".repeat(200_000)}}]);
    let log: String =
        (0..9).map(|at| chat(at, json!(format!("question {at}")), 505)).chain([chat(9, image, 900)]).collect();
    let ceiling = Description::of(&workload(&imported(&log, 64))).ceiling().expect("there are prompts");
    assert!(ceiling > 0.7, "{ceiling}");
}

/// A word that is in every field of every kind of line is nowhere in what is written or said.
#[test]
fn no_word_of_a_log_gets_out() {
    let canary = "alice@example.com";
    let folder = Folder::new("canary");
    let seeds = [openai(), sagemaker("JSON")];
    let mut said_of: Vec<String> = Vec::new();
    for field in [
        "timestamp",
        "request",
        "response",
        "messages",
        "prompt",
        "usage",
        "date",
        "created",
        "inferenceTime",
        "data",
        "user",
    ] {
        for (index, seed) in seeds.iter().enumerate() {
            let line: Value = serde_json::from_str(seed.lines().next().unwrap_or_default()).expect("it is JSON");
            let mut line = line;
            for place in ["", "/request", "/response", "/eventMetadata", "/captureData/endpointInput"] {
                if let Some(Value::Object(object)) = line.pointer_mut(place) {
                    object.insert(field.to_owned(), json!(canary));
                }
            }
            let log = folder.file("log", &format!("{line}\n"));
            let out = folder.path(&format!("{field}-{index}"));
            let Some(mut command) = podlab() else { return };
            let output = command.args(["trace", "import"]).arg(&log).arg("--out").arg(&out).output().expect("it runs");
            let (stdout, stderr, _) = said(&output);
            said_of.push(stdout + &stderr + &std::fs::read_to_string(&out).unwrap_or_default());
        }
    }
    let leaks: Vec<_> = said_of.iter().filter(|said| said.contains("alice") || said.contains("Zanzibar")).collect();
    assert!(leaks.is_empty(), "{leaks:?}");
    assert!(
        said_of.iter().any(|said| said.contains("is no time")) && said_of.iter().any(|said| said.contains("hash_ids"))
    );
}

/// What cannot be simulated is not written, and can be tried again.
#[test]
fn a_trace_is_written_when_it_can_be_read() {
    let folder = Folder::new("unreadable");
    let out = folder.path("trace.jsonl");
    let line = |at: Value, tokens: u64| {
        format!(
            "{}\n",
            json!({"timestamp": at, "created": 5, "prompt": "x", "usage": {"prompt_tokens": tokens, "completion_tokens": 1}})
        )
    };
    for (log, words) in [
        (line(json!(0), 5) + &line(json!(1_764_230_400), 5), "the log spans 20419 days, and a trace 100 at most"),
        (line(json!("inf"), 5), "timestamp is no time"),
        (line(json!(1), 4_294_967_295), "usage counts 4294967295 tokens"),
    ] {
        let file = folder.file("log", &log);
        let Some(mut command) = podlab() else { return };
        let output = command.args(["trace", "import"]).arg(&file).arg("--out").arg(&out).output().expect("it runs");
        let (_, stderr, status) = said(&output);
        assert!(status == 3 && stderr.contains(words), "{stderr}");
        assert!(!out.exists());
    }
    assert_eq!(
        read(&line(Value::Null, 5), None, None).map(|seen| seen[0].at),
        Ok(5.0),
        "created tells it where timestamp is null"
    );
}

#[test]
fn broken_logs_name_the_place_and_the_remedy() {
    let good = openai();
    for (log, words) in [
        ("", "not a log that podlab knows"),
        ("hello\n", "name it by --format"),
        ("{\"timestamp\": 1}\n", "line 1: no messages, prompt or inputs"),
        ("{\"prompt\": \"a\"}\n", "line 1: no field tells when the request came; podlab looks for timestamp, "),
        ("{\"timestamp\": \"noon\", \"prompt\": \"a\"}\n", "line 1: timestamp is no time: seconds, or"),
        ("{\"timestamp\": 1, \"prompt\": [\"a\", \"b\"]}\n", "line 1: prompt holds several prompts"),
        ("{\"timestamp\": 1, \"prompt\": \"a\"\n", "line 1: the line is cut off"),
        ("{\"timestamp\": 1, \"prompt\": a}\n", "line 1: column 28: expected value"),
        ("{\"captureData\": {}}\n", "line 1: captureData holds no endpointInput: turn on"),
        ("{\"captureData\": {\"endpointInput\": {\"data\": \"{}\"}}}\n", "line 1: no eventMetadata.inferenceTime"),
    ] {
        let problem = read(log, None, None).expect_err(log).to_string();
        assert!(problem.contains(words), "{log} should say {words:?}: {problem}");
    }
    let second = good.clone() + "{}\n";
    assert!(read(&second, None, None).unwrap_err().to_string().starts_with("line 4: "));
    assert!(Format::named("opnai").unwrap_err().contains("did you mean \"openai\"?"));
}

#[test]
fn from_the_command_line() {
    let folder = Folder::new("import");
    let log = folder.file("log.jsonl", &openai());
    let out = folder.path("trace.jsonl");
    let run = |arguments: &[&str]| -> Option<(String, String, i32)> {
        Some(said(&podlab()?.args(["trace", "import"]).args(arguments).output().expect("it runs")))
    };
    let (log, out) = (log.display().to_string(), out.display().to_string());
    let Some((text, stderr, status)) = run(&[&log, "--out", &out, "--salt", "pepper", "--block", "8"]) else { return };
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(text.starts_with(&format!("trace:{out}: 3 requests, ")), "{text}");
    assert!(text.contains("\nreuse ceiling   ") && text.contains("No text is in it. Next: podlab simulate"), "{text}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), imported(&openai(), 8).text);
    let Some((_, again, status)) = run(&[&log, "--out", &out]) else { return };
    assert!(status == 2 && again.contains("it is there already, and is not replaced"), "{again}");
    let other = folder.path("none/trace.jsonl").display().to_string();
    let Some((_, nowhere, status)) = run(&[&log, "--out", &other]) else { return };
    assert!(status == 1 && nowhere.contains("cannot be written"), "{nowhere}");
    let Some((_, missing, status)) = run(&["/nowhere", "--out", &other]) else { return };
    assert!(status == 3 && missing.contains("/nowhere: cannot be read"), "{missing}");
    assert_eq!(folder.names().len(), 2, "nothing half-written is left: {:?}", folder.names());
    let Some((_, empty, status)) = run(&[&log, "--out", &other, "--salt", ""]) else { return };
    assert!(status == 2 && empty.contains("--salt is empty"), "{empty}");
    // Without a salt nobody can ask for it again.
    let names: Vec<Value> = ["a", "b"]
        .into_iter()
        .filter_map(|name| {
            let out = folder.path(name);
            run(&[&log, "--out", out.to_str().unwrap()])?;
            serde_json::from_str::<Value>(std::fs::read_to_string(&out).unwrap().lines().next().unwrap()).ok()
        })
        .collect();
    assert_ne!(names[0]["hash_ids"], names[1]["hash_ids"]);
}
