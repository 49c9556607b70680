//! The command line as a stranger meets it: every wrong input gets one clear error, its exit code, and nothing else.

use crate::support::{Folder, podlab, project, said};
use std::process::Command;

mod serve; // what a served endpoint's tiers do, from outside
mod threads; // runs of a matrix on several
mod demo; // what the demo says, and where TTFT goes
mod workloads; // generated ones

const SAMPLE: &str = "driver/examples/aws-blog-70b.yaml";

fn simulate() -> Option<Command> {
    let mut command = podlab()?;
    command.arg("simulate");
    Some(command)
}

/// Runs `podlab simulate SAMPLE arguments...` and expects this exit code, these words, and nothing on stdout.
fn refuses(arguments: &[&str], code: i32, words: &[&str]) {
    let Some(mut command) = simulate() else { return };
    let output = command.arg(project(SAMPLE)).args(arguments).output().expect("it runs");
    let (stdout, stderr, status) = said(&output);
    assert_eq!(status, code, "{arguments:?}: {stderr}");
    assert_eq!(stdout, "", "{arguments:?} prints no result");
    for word in words {
        assert!(stderr.contains(word), "{arguments:?} should say {word:?}:\n{stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn contradictions_and_unknown_names_are_usage_errors() {
    refuses(&["--strategy", "prefix-aware"], 2, &["did you mean \"prefixaware\"?"]);
    refuses(&["--cache", "l9"], 2, &["there is none, l0, l0+l1, l0+l1+l2, l0+l2"]);
    refuses(&["--cache", "l1"], 2, &["there is none, l0"]);
    refuses(&["--cache", "l0+l1,l1+l2"], 2, &["--cache l1+l2"]);
    refuses(&["--cache", "l0_l1"], 2, &["did you mean \"l0+l1\"?"]);
    refuses(&["--cache", "l0+l2", "--set", "l2.ttl=1min", "--set", "l2.eviction=arc"], 2, &["--set l2.eviction=arc"]);
    refuses(&["--workload", "docqs"], 2, &["did you mean \"docqa\"?"]);
    refuses(&["--workload", "shared_system"], 2, &["did you mean \"shared-system\"?"]);
    let names = "there is docqa, chat, shared-system, mixed, unrelated, code-review, multi-round-qa, and trace:FILE";
    refuses(&["--workload", "code_review"], 2, &[names, "did you mean \"code-review\"?"]);
    refuses(&["--workload", "multi-round-qa", "--users", "3"], 2, &["--set multi_round_qa.num_users=N"]);
    refuses(&["--users", "3", "--rate", "1"], 2, &["cannot be used with"]);
    refuses(&["--users", "3", "--speedup", "2"], 2, &["cannot be used with"]);
    refuses(&["--users", "3,3"], 2, &["--users: 3 is given twice"]);
    refuses(&["--repeat", "2"], 2, &["--repeat plays a trace again, and --workload docqa is none"]);
    let bursts = ["--rate", "1", "--set", "arrivals.burst_factor=20"];
    refuses(&bursts, 2, &["--set arrivals.burst_factor=20: arrivals.burst_factor x arrivals.burst_share is 2.000"]);
    refuses(&["--workload", "chat", "--speedup", "2"], 2, &["--workload chat is none"]);
    refuses(&["--rate", "1", "--concurrency", "2"], 2, &["cannot be used with"]);
    refuses(&["--speedup", "2"], 2, &["--speedup plays a trace faster"]);
    refuses(&["--rate", "-1"], 2, &["a number above 0"]);
    refuses(&["--replicas", "0"], 2, &["a whole number from 1 to 4096 is expected"]);
    refuses(&["--set", "engine.host_overhead=1"], 2, &["needs a unit"]);
    refuses(&["--set", "engine.hostoverhead=1ms"], 2, &["did you mean \"engine.host_overhead\"?"]);
    refuses(&["--set", "docqa.documents"], 2, &["key=value"]);
    refuses(&["--seed", "x"], 2, &["a whole number is expected"]);
    refuses(&["--replicas", "1,x"], 2, &["'x'", "a whole number from 1 to 4096 is expected"]);
    refuses(&["--set", "api.latency=5q"], 2, &["use ns, us, ms, s, min (or m) or h"]);
    refuses(&["--strategy", ""], 2, &["--strategy"]);
    refuses(&["--cache", ""], 2, &["--cache: a value is missing"]);
}

#[test]
fn a_value_given_twice_is_not_run_twice() {
    refuses(&["--strategy", "roundrobin,kvaware,roundrobin"], 2, &["--strategy: roundrobin is given twice"]);
    refuses(&["--cache", "l0,l0"], 2, &["--cache: l0 is given twice"]);
    refuses(&["--replicas", "2", "--replicas", "2"], 2, &["--replicas: 2 is given twice"]);
    refuses(&["--rate", "1,1.0"], 2, &["--rate: 1 is given twice"]);
    refuses(&["--concurrency", "4,4"], 2, &["--concurrency: 4 is given twice"]);
    refuses(&["--seed", "0,1,0"], 2, &["--seed: 0 is given twice"]);
}

#[test]
fn a_missing_endpoint_file_is_an_invalid_input() {
    let Some(mut command) = simulate() else { return };
    let (_, stderr, status) = said(&command.arg("nowhere.yaml").output().expect("it runs"));
    assert_eq!(status, 3, "{stderr}");
    assert!(stderr.contains("nowhere.yaml"), "{stderr}");
}

#[test]
fn what_no_run_can_hold_is_said_and_not_computed() {
    refuses(&["--rate", "1e-9"], 2, &["beyond the 100 days", "--rate"]);
    refuses(&["--rate", "0.01", "--requests", "250000"], 2, &["beyond the 100 days"]);
    refuses(&["--set", "engine.host_overhead=1h"], 2, &["beyond the 100 days"]);
    refuses(&["--set", "engine.host_overhead=2h"], 2, &["longer than an hour"]);
    refuses(&["--set", "api.latency=720h"], 2, &["longer than an hour"]);
    refuses(&["--set", "docqa.document_tokens=4294967295"], 2, &["4294967295 of a request"]);
    refuses(&["--set", "docqa.document_tokens=4294967295", "--set", "docqa.answer_tokens=4294967295"], 2, &["docqa"]);
}

/// Replays a trace of these lines and expects exit code 3 and these words, and that no folder is left behind.
fn broken_trace(lines: &str, words: &[&str]) {
    let folder = Folder::new("broken-trace");
    let trace = folder.file("trace.jsonl", lines);
    let Some(mut command) = simulate() else { return };
    command.arg(project(SAMPLE)).arg("--workload").arg(format!("trace:{}", trace.display()));
    let output = command.arg("--out").arg(folder.path("run")).output().expect("it runs");
    let (stdout, stderr, status) = said(&output);
    assert_eq!((status, stdout.as_str()), (3, ""), "{lines}\n{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{lines}\nshould say {word:?}:\n{stderr}");
    }
    assert_eq!(folder.names(), ["trace.jsonl"], "nothing is half-written");
}

#[test]
fn a_trace_that_cannot_be_true_is_refused_with_its_line() {
    let good = r#"{"timestamp": 5, "input_length": 600, "output_length": 3, "hash_ids": [1, 2]}"#;
    let line = |text: &str| format!("{good}\n{text}\n");
    broken_trace(&line(r#"{"timestamp": 6, "input_length": 600, "outp"#), &["line 2", "cut off"]);
    broken_trace(
        &line(r#"{"timestamp": 6, "input_length": -1, "output_length": 3, "hash_ids": []}"#),
        &["line 2", "input_length -1"],
    );
    broken_trace(
        &line(r#"{"timestamp": 4, "input_length": 600, "output_length": 3, "hash_ids": [1, 2]}"#),
        &["line 2", "backwards"],
    );
    broken_trace(
        &line(r#"{"timestamp": 6, "input_length": 100000000000, "output_length": 3, "hash_ids": [1]}"#),
        &["line 2", "100000000000"],
    );
    broken_trace(
        &line(r#"{"timestamp": 6, "input_length": 600, "output_length": 3, "hash_ids": [1]}"#),
        &["line 2", "cover"],
    );
    broken_trace(
        &line(r#"{"timestamp": -1, "input_length": 6, "output_length": 3, "hash_ids": [1]}"#),
        &["line 2", "timestamp -1"],
    );
    broken_trace(
        &line(r#"{"timestamp": 6, "input_length": 6, "output_length": 3, "hash_ids": [-1]}"#),
        &["line 2", "not negative"],
    );
    broken_trace(
        &line(r#"{"timestamp": 6, "input_length": "6", "output_length": 3, "hash_ids": [1]}"#),
        &["line 2", "invalid type"],
    );
    broken_trace(&line(r#"{"timestamp": 6, "output_length": 3, "hash_ids": [1]}"#), &["line 2", "input_length"]);
    broken_trace(&line("[]"), &["line 2"]);
    broken_trace("", &["not a trace"]);
    broken_trace("TIMESTAMP,ContextTokens\n", &["line 1: no column tells a request's output tokens"]);
}

#[test]
fn an_input_that_never_ends_is_refused() {
    refuses(&["--lab", "/dev/zero"], 3, &["/dev/zero: cannot be read: it is larger than the 1 MiB"]);
}

#[test]
fn a_request_beyond_max_model_len_is_refused_and_the_run_goes_on() {
    let folder = Folder::new("too-long");
    let lines = r#"{"timestamp": 0, "input_length": 600, "output_length": 3, "hash_ids": [1, 2]}
{"timestamp": 1, "input_length": 600, "output_length": 200000, "hash_ids": [1, 2]}
{"timestamp": 2, "input_length": 600, "output_length": 3, "hash_ids": [1, 2]}
"#;
    let trace = folder.file("trace.jsonl", lines);
    let Some(mut command) = simulate() else { return };
    command.arg(project(SAMPLE)).arg("--workload").arg(format!("trace:{}", trace.display()));
    let (stdout, stderr, status) = said(&command.args(["-o", "json"]).output().expect("it runs"));
    assert_eq!(status, 0, "{stderr}");
    let result: serde_json::Value = serde_json::from_str(&stdout).expect("it is JSON");
    let run = &result["runs"][0];
    assert_eq!((&run["requests"], &run["completed"], &run["failed"]), (&3.into(), &2.into(), &1.into()));
}

#[test]
fn a_run_that_completes_nothing_says_so() {
    let Some(mut command) = simulate() else { return };
    let none = ["--requests", "9", "--cache", "l0", "--set", "engine.max_model_len=100"];
    let (_, stderr, status) = said(&command.arg(project(SAMPLE)).args(none).output().expect("it runs"));
    assert_eq!(status, 0);
    assert!(stderr.ends_with(": none of 9 requests completed, so no latency is known\n"), "{stderr}");
}

#[test]
fn the_json_has_every_promised_key() {
    let Some(mut command) = simulate() else { return };
    command.arg(project(SAMPLE)).args(["--requests", "30", "--replicas", "1,2", "--rate", "2", "-o", "json"]);
    command.args(["--cache", "l0"]);
    let (stdout, stderr, status) = said(&command.output().expect("it runs"));
    assert_eq!(status, 0, "{stderr}");
    let result: serde_json::Value = serde_json::from_str(&stdout).expect("it is JSON");
    assert_eq!(result["runs"].as_array().map(Vec::len), Some(2));
    for key in ["cpu_seconds", "peak_rss_bytes", "wall_seconds"] {
        assert!(result["process"][key].as_f64().is_some_and(|value| value > 0.0), "{key}");
    }
    let run = &result["runs"][1];
    for key in ["strategy", "cache", "replicas", "workload", "rate", "seed", "requests", "completed", "failed"] {
        assert!(!run[key].is_null(), "{key}");
    }
    for key in ["concurrency", "speedup"] {
        assert_eq!(run.get(key), Some(&serde_json::Value::Null), "{key} is there, and null");
    }
    for statistic in ["mean", "p50", "p90", "p95", "p99"] {
        for quantity in ["ttft", "tpot", "itl", "e2el"] {
            let key = format!("{statistic}_{quantity}_ms");
            assert!(run[&key].as_f64().is_some_and(|value| value > 0.0), "{key}");
        }
    }
    for key in ["request_throughput", "output_throughput", "total_token_throughput", "imbalance", "makespan_s"] {
        assert!(run[key].as_f64().is_some_and(|value| value > 0.0), "{key}");
    }
    for key in ["total", "output_only", "input", "output"] {
        assert!(run["cost_per_1k_tokens"][key].as_f64().is_some_and(|value| value > 0.0), "{key}");
    }
    let hits = &run["hit_rate"];
    assert!(hits["l0"].as_f64().is_some_and(|rate| (0.0..1.0).contains(&rate)), "a rate is a fraction");
    assert_eq!(hits["l0"], hits["total"]);
    assert!(hits["l1"].is_null() && hits["l2"].is_null(), "unknown is null, not 0");
}

/// Runs that meet each document more than once on each of two workers; the device holds one of them.
const TIERED: [&str; 14] = [
    "--requests",
    "40",
    "--replicas",
    "2",
    "--concurrency",
    "1",
    "--strategy",
    "roundrobin",
    "--set",
    "docqa.documents=4",
    "--set",
    "engine.num_gpu_blocks=8250",
    "--set",
    "docqa.document_tokens=65536",
];

/// What `podlab simulate SAMPLE` with these runs and arguments prints.
fn tiered(arguments: &[&str]) -> Option<String> {
    let mut command = simulate()?;
    command.arg(project(SAMPLE)).args(TIERED).args(arguments);
    let (stdout, stderr, status) = said(&command.output().expect("it runs"));
    assert_eq!((status, stderr.as_str()), (0, ""), "{arguments:?}");
    Some(stdout)
}

#[test]
fn each_cache_tells_of_the_tiers_that_it_has() {
    let tiers = [("none", ""), ("l0", "l0"), ("l0+l1", "l0 l1"), ("l0+l1+l2", "l0 l1 l2"), ("l0+l2", "l0 l2")];
    let list = tiers.map(|(cache, _)| cache).join(",");
    // Four documents of 65,536 tokens: L1 is to hold them all.
    let Some(stdout) = tiered(&["--cache", &list, "--set", "l1.bytes=20GiB", "-o", "json"]) else { return };
    let result: serde_json::Value = serde_json::from_str(&stdout).expect("it is JSON");
    let mut totals = Vec::new();
    for (run, (cache, there)) in tiers.iter().enumerate() {
        let run = &result["runs"][run];
        assert_eq!(run["cache"], *cache);
        let (hits, tokens) = (&run["hit_rate"], &run["tokens"]);
        for tier in ["l0", "l1", "l2"] {
            let is = there.split(' ').any(|name| name == tier);
            assert_eq!(hits[tier].is_number(), is, "{cache}: {hits}");
            assert!(is || tokens[tier] == 0, "{cache}: {tokens}");
        }
        let count = |name: &str| tokens[name].as_u64().expect("tokens are counted");
        let found = count("l0") + count("l1") + count("l2");
        assert_eq!(run["cached_tokens"], found, "{cache}");
        assert_eq!(run["prompt_tokens"], found + count("computed"), "{cache}: each prompt token is found or computed");
        let lower = there.contains("l1") || there.contains("l2");
        for (part, names) in [
            ("bytes_moved", ["host_to_device", "device_to_host", "nic", "l2"]),
            ("stall_s", ["lookup", "load_l1", "load_l2", "store"]),
            ("tier_events", ["short_loads", "l2_discarded_puts", "l2_expired_leases", "breaker_opened"]),
        ] {
            let part = run.get(part).expect("it is told");
            assert_eq!(part.is_null(), !lower, "{cache}: {part}");
            assert!(!lower || names.iter().all(|name| part[name].is_number()), "{cache}: {part}");
        }
        if lower {
            let loaded = run["bytes_moved"]["host_to_device"].as_u64();
            assert!(loaded.is_some_and(|bytes| bytes > 0), "{cache}: what is below the device is used");
        }
        totals.push(found);
    }
    assert!(totals[0] == 0 && totals[1] < totals[2] && totals[2] < totals[3], "each tier adds hits: {totals:?}");
    assert!(totals[3] >= totals[4], "{totals:?}");
}

#[test]
fn a_table_has_hits_by_tier_where_a_run_has_tiers() {
    let header = |caches: &str| {
        let stdout = tiered(&["--cache", caches])?;
        let line = stdout.lines().find(|line| line.starts_with('│')).expect("there is a table").to_owned();
        let names: Vec<String> = line.trim_matches(['│', ' ']).split("  ").map(str::trim).map(str::to_owned).collect();
        Some((names.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>(), stdout))
    };
    let Some((names, stdout)) = header("none,l0") else { return };
    assert_eq!(names[names.len() - 3..], ["hit", "regret", "$/1K"]);
    assert!(!stdout.contains("L1"), "{stdout}");
    let Some((names, stdout)) = header("l0,l0+l1,l0+l1+l2") else { return };
    assert_eq!(names[names.len() - 6..], ["hit", "regret", "L0", "L1", "L2", "$/1K"]);
    assert_eq!(stdout.matches("L1: 131072 tokens of each worker, lru").count(), 1, "{stdout}");
    // A fifth of 2,048 GiB on two instances, at 327,680 bytes a token.
    assert_eq!(stdout.matches("L2: 2684354 tokens in tieredstorage on 2 instances, lru").count(), 1, "{stdout}");
    // Rows are numbered, since a note names one of them.
    let rows: Vec<&str> = stdout.lines().filter(|line| line.contains("  l0")).collect();
    let cells = |row: &str| row.split("  ").map(str::trim).filter(|cell| *cell == "-").count();
    assert_eq!(rows.iter().map(|row| cells(row)).collect::<Vec<_>>(), [2, 1, 0], "a tier that is not there is a dash");
    let Some(stdout) = tiered(&["--cache", "l0+l1+l2", "--set", "l1.bytes=5GiB,50GiB"]) else { return };
    let lines: Vec<&str> = stdout.lines().filter(|line| line.starts_with('L') && line.contains(" tokens ")).collect();
    let expected = [
        "L1: 131072 tokens of each worker, lru (l1.bytes 5GiB)",
        "L1: 1310720 tokens of each worker, lru (l1.bytes 50GiB)",
        "L2: 2684354 tokens in tieredstorage on 2 instances, lru",
    ];
    assert_eq!(lines, expected, "each size once, by tier, and what it goes with");
}

#[test]
fn what_was_simulated_is_told_with_what_it_goes_with() {
    let few = |arguments: &[&str]| -> Option<String> {
        let mut command = simulate()?;
        command.arg(project(SAMPLE)).args(["--requests", "9", "--cache", "l0+l2"]).args(arguments);
        let (stdout, stderr, status) = said(&command.output().expect("it runs"));
        assert_eq!((status, stderr.as_str()), (0, ""), "{arguments:?}");
        Some(stdout)
    };
    // L2 goes with the workers, since the other axis has both; a long name is told above the table.
    let Some(stdout) = few(&["--replicas", "2,7", "--set", "engine.max_num_batched_tokens=4096,8192"]) else { return };
    for line in [
        "4096 tokens a pass (engine.max_num_batched_tokens 4096)\n",
        "8192 tokens a pass (engine.max_num_batched_tokens 8192)\n",
        "on 2 instances, lru (replicas 2)\n",
        "on 7 instances, lru (replicas 7)\n",
        "\n(A) engine.max_num_batched_tokens\n",
        "strategy     (A) ",
    ] {
        assert_eq!(stdout.matches(line).count(), 1, "{line}: {stdout}");
    }
    let Some(stdout) = few(&["--replicas", "1", "--users", "1"]) else { return };
    assert!(stdout.contains("on 1 instance, lru\n") && stdout.contains(" · load 1 user · "), "{stdout}");
}

#[test]
fn the_endpoint_file_decides_the_tiers_where_nobody_else_does() {
    let Some(stdout) = tiered(&["-o", "json"]) else { return };
    let result: serde_json::Value = serde_json::from_str(&stdout).expect("it is JSON");
    assert_eq!(result["runs"][0]["cache"], "l0+l1+l2");
    let folder = Folder::new("default-tiers");
    let text = std::fs::read_to_string(project(SAMPLE)).expect("it is there");
    let off = text.replace("    args:\n", "    args:\n      - --no-enable-prefix-caching\n");
    let off = folder.file("off.yaml", &off);
    let Some(mut command) = simulate() else { return };
    command.arg(off).args(["--requests", "2", "-o", "json"]);
    let (stdout, stderr, status) = said(&command.output().expect("it runs"));
    assert_eq!(status, 0, "{stderr}");
    assert!(stdout.contains("\"cache\": \"none\"") && stderr.contains("turn prefix caching off"), "{stderr}");
}

#[test]
fn the_csv_has_the_columns_of_the_json_in_its_order() {
    let output = |format: &str| {
        let mut command = simulate()?;
        // What is null in one run has parts in the other.
        command.arg(project(SAMPLE)).args([
            "--requests",
            "5",
            "--set",
            "api.latency=1ms",
            "--cache",
            "l0+l1,l0",
            "-o",
            format,
        ]);
        let (stdout, stderr, status) = said(&command.output().expect("it runs"));
        assert_eq!(status, 0, "{stderr}");
        Some(stdout)
    };
    let (Some(csv), Some(json)) = (output("csv"), output("json")) else { return };
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 3, "a line of names, and one per run");
    assert!(lines.iter().all(|line| line.len() == lines[0].len()));
    let first = ["strategy", "cache", "replicas", "workload", "rate", "concurrency", "users", "speedup", "seed"];
    assert_eq!(lines[0][..9], first);
    let of = |run: usize, name: &str| {
        let column = lines[0].iter().position(|known| *known == name).unwrap_or_else(|| panic!("{name} is a column"));
        lines[run][column]
    };
    assert_eq!((of(1, "bytes_moved.nic"), of(2, "bytes_moved.nic")), ("0", ""), "unknown is empty, not 0");
    assert_eq!((of(1, "stall_s.load_l1"), of(2, "stall_s.load_l1"), of(2, "tokens.l1")), ("0.0", "", "0"));
    assert!(!lines[0].contains(&"bytes_moved") && !lines[0].contains(&"stall_s"), "a figure has one column");
    let mut from = 0;
    for name in &lines[0] {
        let key = name.rsplit('.').next().expect("a name has a last part");
        let key = if name.starts_with("settings.") { "api.latency" } else { key };
        let at = json[from..].find(&format!("\"{key}\":"));
        from += at.unwrap_or_else(|| panic!("{name} is not in the order of the JSON"));
    }
}

#[test]
fn the_settings_are_listed_without_an_endpoint() {
    for shell in ["simulate", "serve"] {
        for arguments in [&["--set", "help"] as &[&str], &["--set=help"], &["nowhere.yaml", "--set", "help"]] {
            let Some(mut command) = podlab() else { return };
            let (stdout, stderr, status) = said(&command.arg(shell).args(arguments).output().expect("it runs"));
            assert_eq!((status, stderr.as_str()), (0, ""), "{shell} {arguments:?}");
            for setting in driver::lab::settings::SETTINGS {
                assert!(stdout.contains(&format!("\n  {} ", setting.key)), "{}: {stdout}", setting.key);
            }
        }
        for arguments in [&[] as &[&str], &["--set", "api.latency=1ms"]] {
            let Some(mut command) = podlab() else { return };
            let (stdout, stderr, status) = said(&command.arg(shell).args(arguments).output().expect("it runs"));
            assert_eq!((status, stdout.as_str()), (2, ""), "{shell} {arguments:?}: {stderr}");
            assert!(stderr.contains("ENDPOINT.yaml"), "{stderr}");
        }
    }
}

/// What makes no difference is told, and nothing else is.
#[test]
fn what_was_asked_for_in_vain_is_told() {
    let warned = |arguments: &[&str]| -> Option<String> {
        let mut command = simulate()?;
        let requests: &[&str] = if arguments.contains(&"--requests") { &[] } else { &["--requests", "20"] };
        let output = command.arg(project(SAMPLE)).args(arguments).args(requests).output().expect("it runs");
        let (_, stderr, status) = said(&output);
        assert_eq!(status, 0, "{stderr}");
        Some(stderr)
    };
    let trace = Folder::new("vain");
    let line = "{\"timestamp\": 0, \"input_length\": 600, \"output_length\": 5, \"hash_ids\": [1, 2]}\n";
    let file = trace.file("t.jsonl", line);
    let trace = format!("trace:{}", file.display());
    for (arguments, expected) in [
        (&["--workload", "chat", "--set", "docqa.skew=1"] as &[&str], "it is of the workload docqa"),
        (&["--set", "router.load_slack=3", "--strategy", "kvaware"], "who does: prefixaware+"),
        (&["--set", "router.cache_events=false", "--strategy", "kvaware"], "who does: kvaware+, predicted-ttft"),
        (&["--set", "arrivals.burstiness=2", "--concurrency", "3"], "it is of arrivals that --rate draws"),
        (&["--set", "arrivals.shape=0s:2", "--users", "3"], "it is of arrivals that --rate draws"),
        (&["--set", "arrivals.think=2s"], "it is of users, whom --users asks for"),
        (&["--set", "arrivals.turns=closed"], "it is of requests with times of their own"),
        (&["--set", "chat.think=2s", "--workload", "chat", "--users", "3"], "arrivals.think is of --users"),
        (&["--set", "arrivals.burst_factor=2", "--workload", "multi-round-qa"], "those of multi-round-qa are not"),
        (&["--set", "unrelated.users=2"], "it is of the workload unrelated"),
        (&["--workload", &trace, "--requests", "2"], "--requests 2: the trace has 1 requests"),
    ] {
        let Some(said) = warned(arguments) else { return };
        assert!(said.contains(expected) && said.lines().count() == 1, "{arguments:?}: {said}");
    }
    for arguments in [
        &["--set", "docqa.skew=1"] as &[&str],
        &["--set", "router.load_slack=3", "--strategy", "roundrobin,prefixaware+"],
        &["--set", "router.audit=false"],
        &["--set", "arrivals.burstiness=2", "--rate", "3"],
        &["--set", "arrivals.burst_factor=2", "--set", "arrivals.shape=0s:1/60s:2", "--rate", "3"],
        &["--set", "arrivals.think=2s", "--users", "3"],
        &["--set", "arrivals.turns=closed", "--workload", &trace, "--requests", "1"],
        &["--workload", &trace, "--requests", "2", "--repeat", "2"],
        &["--workload", &trace, "--requests", "1"],
    ] {
        assert_eq!(warned(arguments).as_deref(), Some(""), "{arguments:?}");
    }
}
