//! `podlab demo`: the main job on a built-in endpoint, in words and two tables.

use super::simulate::{RunOptions, run_all};
use super::{DemoArgs, Format, print};
use crate::endpoint::Endpoint;
use crate::experiment::{Experiment, Load, Matrix, Outcome, Source, Tiers};
use crate::failure::Failure;
use crate::lab::{Axis, Origin};
use crate::process::Usage;
use crate::report;
use router::Strategy;
use std::time::Instant;

const ENDPOINT: &str = include_str!("../../examples/aws-blog-70b.yaml");
const FILE: &str = "driver/examples/aws-blog-70b.yaml";

/// Requests of each run, and how many are in flight at once.
const REQUESTS: u32 = 700;
const IN_FLIGHT: u32 = 100;

/// Tokens of the system prompt that all requests share in the second part: the first block of every request in
/// Mooncake's conversation trace is such a one.
const SYSTEM_PROMPT: &str = "512";

pub(super) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let began = Instant::now();
    let apart = part(&[Tiers::None, Tiers::L0], "0")?;
    let shared = part(&[Tiers::L0], SYSTEM_PROMPT)?;
    let process = Usage::since(began);
    match args.format {
        Format::Table => print(&tell(&apart, &shared, process)),
        Format::Json => print(&report::json(&[apart, shared].concat(), process)),
        Format::Csv => print(&report::csv(&[apart, shared].concat())),
    }
}

fn part(caches: &[Tiers], instruction: &str) -> Result<Vec<Outcome>, Failure> {
    let (endpoint, _) = Endpoint::parse(ENDPOINT, FILE).map_err(|error| Failure::Invalid(error.to_string()))?;
    let source = Source::DocumentQa { requests: REQUESTS };
    let experiment = Experiment { endpoint, file: FILE.to_owned(), workload: "docqa".to_owned(), source };
    let matrix = |caches: &[Tiers], strategies: &[Strategy]| Matrix {
        strategies: strategies.to_vec(),
        caches: caches.to_vec(),
        replicas: vec![7],
        loads: vec![Load::Concurrency(IN_FLIGHT)],
        seeds: vec![0],
        axes: vec![Axis {
            key: "docqa.instruction_tokens".to_owned(),
            values: vec![instruction.to_owned()],
            origin: Origin::BuiltIn,
        }],
    };
    let mut outcomes = Vec::new();
    if caches.contains(&Tiers::None) {
        outcomes.extend(run_all(&experiment, &matrix(&[Tiers::None], &[Strategy::RoundRobin]), RunOptions::records())?);
    }
    let all = [Strategy::RoundRobin, Strategy::PrefixAware, Strategy::KvAware, Strategy::Session];
    outcomes.extend(run_all(&experiment, &matrix(&[Tiers::L0], &all), RunOptions::records())?);
    Ok(outcomes)
}

fn tell(apart: &[Outcome], shared: &[Outcome], process: Usage) -> String {
    let mut text = format!(
        "The case of AWS's blog, simulated: Llama-3.1-70B on 7 x ml.p5.48xlarge behind HyperPod's router.\n\
         Document Q&A: 35 documents of 8,192 tokens, {REQUESTS} questions, {IN_FLIGHT} always in flight. No AWS, no GPU:\n\
         every time below comes from a model of the hardware (published figures and efficiencies).\n\n\
         1. Documents that share nothing\n\n"
    );
    text.push_str(&report::table(apart));
    text.push('\n');
    text.push_str(&lines(&buys(apart)));
    text.push_str(&format!("\n2. The same, behind one system prompt of {SYSTEM_PROMPT} tokens\n\n"));
    text.push_str(&report::table(shared));
    text.push('\n');
    text.push_str(&lines(&collapse(apart, shared)));
    text.push_str(&format!(
        "\n{} runs in {:.2} s. Your own: podlab simulate ENDPOINT.yaml --strategy roundrobin,prefixaware,kvaware\n\
         The file behind this demo: {FILE}\n",
        apart.len() + shared.len(),
        process.wall_seconds
    ));
    text
}

/// Points of a list, at most 100 columns wide.
fn lines(sentences: &[String]) -> String {
    sentences.iter().map(|sentence| report::wrapped("  * ", sentence, 100)).collect()
}

fn of(outcomes: &[Outcome], cache: Tiers, strategy: Strategy) -> Option<&Outcome> {
    outcomes.iter().find(|outcome| outcome.case.cache == cache && outcome.case.strategy == strategy)
}

/// What each step buys, against no cache at all.
fn buys(outcomes: &[Outcome]) -> Vec<String> {
    let Some(bare) = of(outcomes, Tiers::None, Strategy::RoundRobin) else { return Vec::new() };
    let mut sentences = Vec::new();
    if let Some(cached) = of(outcomes, Tiers::L0, Strategy::RoundRobin) {
        sentences.push(format!("Prefix caching alone (L0, round robin): {}.", against(bare, cached)));
        for strategy in [Strategy::PrefixAware, Strategy::KvAware, Strategy::Session] {
            if let Some(routed) = of(outcomes, Tiers::L0, strategy) {
                sentences.push(format!("{strategy} on top of it: {}.", against(cached, routed)));
            }
        }
    }
    sentences
}

/// How `after` compares with `before`.
fn against(before: &Outcome, after: &Outcome) -> String {
    let (a, b) = (&before.summary, &after.summary);
    let hits = b.hit_rate.total.map_or("unknown".to_owned(), |rate| format!("{:.0} %", rate * 100.0));
    format!(
        "TTFT P50 {}, P90 {}; output throughput {}; cost per output token {}; hit rate {hits}",
        change(a.ttft.p50, b.ttft.p50),
        change(a.ttft.p90, b.ttft.p90),
        change(a.throughput.output, b.throughput.output),
        change(a.cost.output_only, b.cost.output_only),
    )
}

fn change(before: Option<f64>, after: Option<f64>) -> String {
    match (before, after) {
        (Some(before), Some(after)) if before > 0.0 => {
            let percent = ((after / before - 1.0) * 100.0).round();
            if percent == 0.0 { "unchanged".to_owned() } else { format!("{percent:+} %") }
        }
        _ => "unknown".to_owned(),
    }
}

/// What a shared system prompt does to HyperPod's default strategy.
fn collapse(apart: &[Outcome], shared: &[Outcome]) -> Vec<String> {
    let default = Strategy::PrefixAware;
    let (Some(before), Some(after)) = (of(apart, Tiers::L0, default), of(shared, Tiers::L0, default)) else {
        return Vec::new();
    };
    let busiest = |outcome: &Outcome| outcome.requests_by_worker().into_iter().max().unwrap_or_default();
    let mut sentences = vec![format!(
        "prefixaware, HyperPod's default, sends {} of {REQUESTS} requests to ONE worker of 7; without the system prompt its busiest worker gets {}.",
        busiest(after),
        busiest(before),
    )];
    sentences.push(
        "It follows the longest prefix it has sent anywhere, reads no load and forgets nothing: once every prompt begins \
         with the same 128 characters, the first worker to see them has a prefix of all. The same happens to Mooncake's \
         conversation trace, where all 12,031 requests share their first 512 tokens."
            .to_owned(),
    );
    if let Some(fair) = of(shared, Tiers::L0, Strategy::RoundRobin) {
        sentences.push(format!("Against round robin that is: {}.", against(fair, after)));
    }
    sentences
}
