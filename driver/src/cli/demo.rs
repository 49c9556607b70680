//! `podlab demo`: the main job on a built-in endpoint, in words and tables. What it says is worked out from its runs.

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

mod words; // what the runs say

const ENDPOINT: &str = include_str!("../../examples/aws-blog-70b.yaml");
const FILE: &str = "driver/examples/aws-blog-70b.yaml";

/// Seeds of each case: what is said of a P90 is said of these.
const SEEDS: u64 = 10;
const WORKERS: u16 = 7;

/// HyperPod's strategies.
const STRATEGIES: [Strategy; 4] = [Strategy::RoundRobin, Strategy::PrefixAware, Strategy::KvAware, Strategy::Session];

/// Document Q&A of one length of context. Popularity, the new part of a prompt, replies and requests in flight are those of a
/// fit to the gains that AWS published (`facts/aws-inverse.md`, fit E): one of many.
struct Context {
    name: &'static str,
    document: u32,
    question: u32,
    documents: u32,
    requests: u32,
    in_flight: u32,
}

const ANSWER: &str = "1000";
const SKEW: &str = "0.73";

const SHORT: Context =
    Context { name: "8K", document: 7168, question: 1024, documents: 68, requests: 2100, in_flight: 700 };
const LONG: Context =
    Context { name: "64K", document: 57_344, question: 8192, documents: 45, requests: 1400, in_flight: 100 };

/// Tokens of the system prompt that all requests share in the third part: the first block of every request in
/// Mooncake's conversation trace is such a one.
const SYSTEM_PROMPT: &str = "512";
/// Requests there.
const REQUESTS: u32 = 700;

pub(super) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let began = Instant::now();
    let contexts = [of_context(&SHORT)?, of_context(&LONG)?];
    let behind_one = behind_one_prompt()?;
    let process = Usage::since(began);
    match args.format {
        Format::Table => print(&words::tell(&contexts, &behind_one, process)),
        Format::Json => print(&report::json(&all(contexts, behind_one), process)),
        Format::Csv => print(&report::csv(&all(contexts, behind_one))),
    }
}

fn all([short, long]: [Vec<Outcome>; 2], behind_one: Vec<Outcome>) -> Vec<Outcome> {
    [short, long, behind_one].concat()
}

/// No optimisation, then each strategy with each tier.
fn of_context(context: &Context) -> Result<Vec<Outcome>, Failure> {
    let (document, question) = (context.document.to_string(), context.question.to_string());
    let documents = context.documents.to_string();
    let settings = [
        ("docqa.documents", documents.as_str()),
        ("docqa.document_tokens", document.as_str()),
        ("docqa.question_tokens", question.as_str()),
        ("docqa.answer_tokens", ANSWER),
        ("docqa.skew", SKEW),
    ];
    let mut outcomes =
        runs(context.requests, context.in_flight, &settings, &[Tiers::None], &[Strategy::RoundRobin], false)?;
    let tiers = [Tiers::L0, Tiers::L0L1, Tiers::L0L1L2];
    outcomes.extend(runs(context.requests, context.in_flight, &settings, &tiers, &STRATEGIES, false)?);
    Ok(outcomes)
}

/// The same documents apart, and behind one system prompt.
fn behind_one_prompt() -> Result<Vec<Outcome>, Failure> {
    let both = [Strategy::RoundRobin, Strategy::PrefixAware];
    let mut outcomes = Vec::new();
    for instruction in ["0", SYSTEM_PROMPT] {
        let settings = [("docqa.instruction_tokens", instruction)];
        outcomes.extend(runs(REQUESTS, 100, &settings, &[Tiers::L0], &both, true)?);
    }
    Ok(outcomes)
}

fn runs(
    requests: u32,
    in_flight: u32,
    settings: &[(&str, &str)],
    caches: &[Tiers],
    strategies: &[Strategy],
    records: bool,
) -> Result<Vec<Outcome>, Failure> {
    let (endpoint, _) = Endpoint::parse(ENDPOINT, FILE).map_err(|error| Failure::Invalid(error.to_string()))?;
    let source = Source::DocumentQa { requests };
    let experiment = Experiment { endpoint, file: FILE.to_owned(), workload: "docqa".to_owned(), source };
    let axis = |(key, value): &(&str, &str)| Axis {
        key: (*key).to_owned(),
        values: vec![(*value).to_owned()],
        origin: Origin::BuiltIn,
    };
    let matrix = Matrix {
        strategies: strategies.to_vec(),
        caches: caches.to_vec(),
        replicas: vec![WORKERS],
        loads: vec![Load::Concurrency(in_flight)],
        seeds: (1..=SEEDS).collect(),
        axes: settings.iter().map(axis).collect(),
    };
    run_all(&experiment, &matrix, RunOptions::of_demo(records))
}
