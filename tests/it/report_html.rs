//! Pages: whole and well-formed, what the files say, the same bytes again, nothing of what users wrote taken for markup.

use crate::support::{Folder, podlab, project, said};
use serde_json::{Value, json};

mod markup; // a page as a tree of tags

use markup::Page;

const SAMPLE: &str = "driver/examples/aws-blog-70b.yaml";

fn run(folder: &Folder, arguments: &[&str]) -> Option<(String, String, i32)> {
    let output = podlab()?.current_dir(folder.path(".")).args(arguments).output();
    Some(said(&output.expect("it runs")))
}

/// Runs `podlab COMMAND SAMPLE ARGUMENTS`, which succeeds.
fn sample(folder: &Folder, command: &str, arguments: &str) -> Option<()> {
    let file = std::fs::canonicalize(project(SAMPLE)).expect("the sample is there").display().to_string();
    let arguments = [command, &file].into_iter().chain(arguments.split_whitespace());
    let (_, stderr, status) = run(folder, &arguments.collect::<Vec<_>>())?;
    assert_eq!(status, 0, "{stderr}");
    Some(())
}

fn text(folder: &Folder, name: &str) -> String {
    std::fs::read_to_string(folder.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn parsed(folder: &Folder, name: &str) -> Value {
    serde_json::from_str(&text(folder, name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A page that is whole and leans on nothing else.
fn page(folder: &Folder, name: &str) -> Page {
    let text = text(folder, name);
    let page = Page::parse(&text).unwrap_or_else(|why| panic!("{name}: {why}"));
    for address in page.addresses() {
        assert!(!address.contains("//") && !address.starts_with("data:"), "{name} leans on {address}");
    }
    assert!(!text.contains("url(") && !text.contains("@import"), "{name}: the style leans on nothing");
    assert_eq!(page.count("script"), 0, "{name} has no scripts");
    assert!(text.len() < 500_000, "{name}: {} bytes", text.len());
    page
}

#[test]
fn the_page_of_a_run_says_what_its_files_say() {
    let folder = Folder::new("page-run");
    if sample(&folder, "simulate", "--strategy kvaware --slo p90_ttft<2s --warmup 10 --out run").is_none() {
        return;
    }
    let page = page(&folder, "run/report.html");
    let summary = parsed(&folder, "run/summary.json");
    for (row, name) in [("TTFT", "ttft"), ("TPOT", "tpot"), ("ITL", "itl"), ("E2EL", "e2el")] {
        let expected: Vec<f64> = ["mean", "p50", "p90", "p95", "p99"]
            .iter()
            .map(|part| summary[format!("{part}_{name}_ms")].as_f64().expect("it is known"))
            .collect();
        let cells = page.row(row);
        assert_eq!(cells.len(), expected.len(), "{row}: {cells:?}");
        for (cell, expected) in cells.iter().zip(expected) {
            let shown: f64 = cell.replace(',', "").parse().unwrap_or_else(|_| panic!("{row}: {cell}"));
            assert!((shown - expected).abs() <= 0.006 * expected, "{row}: {cell} is not {expected}");
        }
    }
    assert_eq!(page.row("requests measured"), ["690"]);
    assert_eq!(page.row("requests completed"), ["690"]);
    let hits = summary["hit_rate"]["total"].as_f64().expect("it is known");
    assert_eq!(page.row("hit rate, %"), [format!("{:.2}", hits * 100.0)]);
    // Each worker once, and as many requests as were measured.
    let workers: u64 = (0..7).map(|worker| page.row(&worker.to_string())[0].parse::<u64>().expect("a count")).sum();
    assert_eq!(workers, 690);
    for words in
        ["simulated", "SLO kept", "p90_ttft", "How it was made", "simulate", "kvaware", "seed 0", "Slowest requests"]
    {
        assert!(page.text().contains(words), "{words} is missing");
    }
    // What shows something says it in words, too.
    assert_eq!(
        page.count("svg"),
        page.labelled() + page.hidden(),
        "each picture has a title and a description, or says nothing new"
    );
    assert!(page.labelled() >= 7, "{}", page.labelled());
    assert!(page.count("caption") == page.count("table"), "each table has a caption");
    assert!(page.has("meta", "name", "viewport") && page.has("html", "lang", "en"));
}

#[test]
fn the_slowest_requests_are_the_slowest() {
    let folder = Folder::new("page-slowest");
    if sample(&folder, "simulate", "--requests 200 --out run").is_none() {
        return;
    }
    let mut ttfts: Vec<(f64, u64)> = text(&folder, "run/requests.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("it is JSON"))
        .map(|line| (line["ttft_ms"].as_f64().expect("it completed"), line["request"].as_u64().expect("a number")))
        .collect();
    ttfts.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
    let expected: Vec<String> = ttfts[..10].iter().map(|(_, request)| request.to_string()).collect();
    assert_eq!(page(&folder, "run/report.html").heads_of("The longest times to first token"), expected);
}

#[test]
fn pages_are_the_same_bytes_again() {
    let folder = Folder::new("page-again");
    if sample(&folder, "simulate", "--requests 50 --out run").is_none() {
        return;
    }
    sample(&folder, "simulate", "--requests 50 --strategy roundrobin,kvaware --cache none,l0+l1+l2 --out runs")
        .expect("it ran");
    sample(&folder, "sweep", "--requests 50 --strategy roundrobin,kvaware --seed 1,2 --out grid").expect("it ran");
    let quick = ["validate", "theory", "--quick", "--only", "m_m_1", "--out", "checks"];
    let (_, stderr, status) = run(&folder, &quick).expect("it ran");
    assert_eq!(status, 0, "{stderr}");
    run(&folder, &["compare", "run", "grid", "--out", "never"]).expect("it ran");
    let (_, stderr, status) = run(&folder, &["compare", "runs", "runs", "--out", "compared"]).expect("it ran");
    assert_eq!(status, 0, "{stderr}");
    let below = folder.names_below("runs").into_iter().filter(|name| name.starts_with('0'));
    let mut pages: Vec<String> = below.map(|name| format!("runs/{name}/report.html")).collect();
    assert_eq!(pages.len(), 4);
    pages.extend(["run", "runs", "grid", "checks", "compared"].map(|name| format!("{name}/report.html")));
    let first: Vec<String> = pages.iter().map(|page| text(&folder, page)).collect();
    for name in &pages {
        page(&folder, name);
        std::fs::remove_file(folder.path(name)).expect("it is there");
    }
    let (_, stderr, status) = run(&folder, &["report", "run", "runs", "grid", "checks", "compared"]).expect("it ran");
    assert_eq!(status, 0, "{stderr}");
    for (name, first) in pages.iter().zip(first) {
        assert!(text(&folder, name) == first, "{name} is not the same again");
    }
    // Runs are reached from the page of all.
    let all = page(&folder, "runs/report.html");
    let linked: Vec<String> = all.addresses().into_iter().filter(|address| address.ends_with("/report.html")).collect();
    assert_eq!(linked.len(), 4, "{linked:?}");
    for address in linked {
        assert!(pages.contains(&format!("runs/{}", address.replace("%2B", "+"))), "{address} leads nowhere");
    }
}

#[test]
fn the_same_command_gives_the_same_page() {
    let (one, other) = (Folder::new("page-one"), Folder::new("page-other"));
    if sample(&one, "simulate", "--requests 50 --out run").is_none() {
        return;
    }
    sample(&other, "simulate", "--requests 50 --out run --threads 1 ").expect("it ran");
    let strip = |text: String| text.replace(" --threads 1", "");
    assert!(text(&one, "run/report.html") == strip(text(&other, "run/report.html")));
}

#[test]
fn what_users_wrote_is_text() {
    let folder = Folder::new("page-escaped");
    let hostile = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>";
    let summary = json!({"mean_ttft_ms": 100.0, "p50_ttft_ms": 90.0, "p90_ttft_ms": 120.0, "p99_ttft_ms": 130.0, "requests": 2, "completed": 1, "failed": 1,
                         "slo": {"holds": false, "terms": [{"term": hostile, "share": 0.5, "holds": false}]}});
    let made = json!({"podlab": hostile, "clock": hostile, "command": ["podlab", hostile], "strategy": hostile, "workload": hostile,
                      "settings": {hostile: hostile}, "warnings": [hostile], "lab": {hostile: hostile},
                      "inputs": {"trace": {"path": hostile, "sha256": hostile}},
                      "machine": {"os": hostile, "architecture": hostile, "cpus": 2}});
    let line = |number: u64, status: &str| {
        json!({"request": number, "status": status, "worker": hostile, "sent_ms": 0.0, "ttft_ms": 100.0, "e2el_ms": 200.0,
               "first_token_ms": 100.0, "last_token_ms": 200.0, "prompt_tokens": 10, "output_tokens": 5})
    };
    for name in ["set/a", "set/b"] {
        std::fs::create_dir_all(folder.path(name)).expect("it can be made");
        folder.file(&format!("{name}/summary.json"), &summary.to_string());
        let seed = u64::from(name.ends_with('b'));
        let mut made = made.clone();
        made["seed"] = seed.into();
        folder.file(&format!("{name}/run.json"), &made.to_string());
        folder.file(&format!("{name}/requests.jsonl"), &format!("{}\n{}\n", line(0, "completed"), line(1, hostile)));
    }
    let Some((_, stderr, status)) = run(&folder, &["report", "set", "set/a"]) else { return };
    assert_eq!(status, 0, "{stderr}");
    let (_, stderr, _) = run(&folder, &["compare", "set/a", "set/b", "--out", "compared"]).expect("it ran");
    assert!(stderr.contains("wrote compared"), "{stderr}");
    for name in ["set/report.html", "set/a/report.html", "set/b/report.html", "compared/report.html"] {
        let text = text(&folder, name);
        for raw in ["<script", "<img", "\"'&<"] {
            assert!(!text.contains(raw), "{name} has a raw {raw}");
        }
        page(&folder, name);
    }
    let page = page(&folder, "set/a/report.html");
    assert!(page.text().contains(hostile), "it is told as it was written");
}

#[test]
fn the_page_of_a_comparison_begins_with_the_verdict() {
    let folder = Folder::new("page-compared");
    if sample(&folder, "simulate", "--strategy kvaware --out a").is_none() {
        return;
    }
    sample(&folder, "simulate", "--strategy roundrobin --out b").expect("it ran");
    let (_, stderr, status) = run(&folder, &["compare", "a", "b", "--out", "ab"]).expect("it ran");
    assert_eq!(status, 99, "{stderr}");
    assert_eq!(folder.names_below("ab"), ["comparison.json", "report.html"]);
    let page = page(&folder, "ab/report.html");
    let words = page.text();
    let place = |text: &str| words.find(text).unwrap_or_else(|| panic!("{text} is missing"));
    assert!(
        place("Verdict: FAIL") < place("Settings that differ") && place("Settings that differ") < place("Every figure")
    );
    assert_eq!(page.row("strategy"), ["kvaware", "roundrobin"]);
    let comparison = parsed(&folder, "ab/comparison.json");
    let figures = comparison["pairs"][0]["figures"].as_array().expect("there are figures");
    let ttft = figures.iter().find(|figure| figure["key"] == "mean_ttft_ms").expect("it is there");
    let cells = page.row("TTFT mean, ms");
    let relative = ttft["relative"].as_f64().expect("it is known");
    assert_eq!(cells[4], format!("{:+.1} %", relative * 100.0), "{cells:?}");
    assert_eq!((cells[5].as_str(), cells[6].as_str()), ("10 %", "WORSE"));
    // Both curves of three latencies, the parts of two means, and the differences.
    assert!(page.labelled() >= 6, "{}", page.labelled());
    assert!(words.contains("A, simulated") && words.contains("B, simulated"));
}

#[test]
fn a_folder_without_anything_has_no_page() {
    let folder = Folder::new("page-nothing");
    for (name, words) in [(".", "nothing is there that has a report"), ("nowhere", "it is not there")] {
        let Some((_, stderr, status)) = run(&folder, &["report", name]) else { return };
        assert_eq!(status, 3, "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
    assert!(folder.names().is_empty());
}
