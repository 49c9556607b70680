//! The simulator's laws on a real trace, and against theory.

use crate::support::{Folder, conversation, podlab, project};
use driver::endpoint::Endpoint;
use driver::experiment::{Case, Experiment, Load, Outcome, Source, Tiers};
use driver::process::Usage;
use driver::report::Inputs;
use kvcache::{Blocks, CacheConfig, ChainBuilder, Duplicates, RequestId, SessionId, Span, Time, Tokens};
use router::{Api, Router, RouterConfig, Strategy};
use sim::cluster::{Arrival, Cluster};
use sim::cost::{CostModel, Segment, Shape};
use sim::ledger::Ledger;
use sim::replica::EngineConfig;
use sim::simulate::{Path, simulate};
use sim::streams::Streams;
use sim::workload::{Pacing, Segment as Piece, Workload};
use std::collections::BTreeMap;
use std::time::Instant;

/// What an infinite cache would reuse of the conversation trace's prompt tokens; no policy can exceed it.
const REUSE_CEILING: f64 = 0.37363;

fn experiment(workload: &str) -> Experiment {
    let file = project("driver/examples/aws-blog-70b.yaml");
    let (endpoint, _) = Endpoint::read(&file).expect("the sample is valid");
    let source = Source::read(workload, None).expect("the workload is valid");
    Experiment { endpoint, file: "aws-blog-70b.yaml".to_owned(), workload: workload.to_owned(), source }
}

fn case(strategy: Strategy, replicas: u16, speedup: f64) -> Case {
    Case { strategy, cache: Tiers::L0, replicas, load: Load::Trace { speedup }, seed: 0, settings: BTreeMap::new() }
}

/// Runs a case; the simulator asserts its conservation laws and Little's law by itself at the end.
fn run(experiment: &Experiment, case: Case) -> Outcome {
    let assembled = experiment.assemble(&case).expect("it can be simulated");
    experiment.run(case, &assembled).expect("it ends in time")
}

#[test]
fn the_conversation_trace_completes_under_every_strategy() {
    let Some(trace) = conversation() else { return };
    let experiment = experiment(&format!("trace:{}", trace.display()));
    for replicas in [4, 7] {
        for strategy in Strategy::ALL {
            let outcome = run(&experiment, case(strategy, replicas, 1.0));
            assert_eq!(outcome.summary.completed, 12_031, "{strategy} on {replicas}");
            assert_eq!(outcome.summary.failed, 0);
            let hits = outcome.summary.hit_rate.total.expect("prompts were looked up");
            assert!(hits > 0.03 && hits <= REUSE_CEILING, "{strategy} on {replicas} reuses {hits}");
            let by_worker = outcome.requests_by_worker();
            let busiest = *by_worker.iter().max().expect("there are workers");
            if strategy == Strategy::PrefixAware {
                // Every request shares its first 512 tokens: whoever got the first one gets them all.
                assert_eq!(busiest, 12_031, "compat prefixaware collapses onto one worker: {by_worker:?}");
            } else {
                assert!(busiest < 6_000, "{strategy} spreads: {by_worker:?}");
            }
        }
    }
}

#[test]
fn one_worker_with_room_for_everything_reaches_the_reuse_ceiling() {
    let Some(trace) = conversation() else { return };
    let experiment = experiment(&format!("trace:{}", trace.display()));
    // So slow that requests do not overlap, and no block is ever evicted.
    let mut case = case(Strategy::RoundRobin, 1, 0.002);
    case.settings.insert("engine.num_gpu_blocks".to_owned(), "20000000".to_owned());
    let hits = run(&experiment, case).summary.hit_rate.total.expect("prompts were looked up");
    assert!((REUSE_CEILING - 0.0002..=REUSE_CEILING).contains(&hits), "{hits} against {REUSE_CEILING}");
}

#[test]
fn one_seed_gives_the_same_bytes_in_debug_and_release() {
    let folder = Folder::new("same-bytes");
    let Some(mut command) = podlab() else { return };
    let workload = match conversation() {
        Some(trace) => format!("trace:{}", trace.display()),
        None => "docqa".to_owned(),
    };
    let endpoint = project("driver/examples/aws-blog-70b.yaml");
    command.arg("simulate").arg(&endpoint).args(["--workload", &workload, "--strategy", "kvaware", "--out"]);
    let status = command.arg(folder.path("release")).output().expect("it runs").status;
    assert!(status.success());
    let experiment = experiment(&workload);
    let load = if experiment.source.is_trace() { Load::Trace { speedup: 1.0 } } else { Load::Concurrency(20) };
    // All tiers, as the endpoint file has it.
    let outcome = run(&experiment, Case { load, cache: Tiers::L0L1L2, ..case(Strategy::KvAware, 7, 1.0) });
    let usage = Usage::since(Instant::now());
    driver::report::folder::write(&folder.path("debug"), &[outcome], &Inputs::default(), usage)
        .expect("it can be written");
    for file in ["requests.jsonl", "summary.json"] {
        let read = |run: &str| std::fs::read(folder.path(run).join(file)).expect("it was written");
        let (debug, release) = (read("debug"), read("release"));
        assert!(debug == release, "{file} differs between debug and release");
        assert!(debug.len() > 500, "{file} says something");
    }
}

/// A pass lasts the same whatever it computes.
struct Constant(Span);

impl CostModel for Constant {
    fn segment(&self, _: &Shape) -> Segment {
        Segment::line(self.0, Span::ZERO)
    }
}

/// The mean wait of a single server with deterministic service `service` at utilisation `rho`, simulated by the real
/// engine: one seat, one token.
fn mean_wait(rho: f64, service: Span, requests: u32, seed: u64) -> f64 {
    let mut gaps = Streams::new(seed).named("arrivals");
    let mut workload = Workload::new(Pacing::Open);
    let mut at = Time::ZERO;
    for id in 0..u64::from(requests) {
        at += Span::from_secs_f64(gaps.exponential(service.as_secs_f64() / rho));
        workload.push(at, Some(SessionId(id)), &[Piece { id, tokens: Tokens(100) }], Tokens(1));
    }
    let engine = EngineConfig {
        max_num_seqs: 1,
        max_num_batched_tokens: Tokens(128),
        max_model_len: Tokens(128),
        chunked_prefill: true,
        long_prefill_token_threshold: None,
        max_num_partial_prefills: 1,
        reserve_full_isl: true,
        async_scheduling: false,
        max_repeats: 1 << 14,
        record_work: false,
        tiers: None,
        cache: CacheConfig {
            capacity: Blocks(64),
            block: Tokens(16),
            prefix_caching: true,
            duplicates: Duplicates::Keep,
            events: false,
        },
    };
    let router = Router::new(RouterConfig::new(Strategy::RoundRobin, 1));
    let mut cluster = Cluster::new(1, engine, router, Box::new(Constant(service)), None).expect("the engine is valid");
    let path = Path { latency: Span::ZERO, api: Api::Completions, names_session: true };
    let ledger = simulate(&workload, &mut cluster, path, |_| {}).expect("it ends in time");
    ledger.check();
    let waits = ledger
        .records()
        .iter()
        .map(|record| record.ttft().expect("every request completes").saturating_sub(service).as_secs_f64());
    waits.sum::<f64>() / f64::from(requests)
}

#[test]
fn the_engine_with_one_seat_is_an_m_d_1_queue() {
    let service = Span::from_millis(50);
    for rho in [0.3, 0.5, 0.7] {
        // Pollaczek and Khinchine, for deterministic service.
        let expected = rho * service.as_secs_f64() / (2.0 * (1.0 - rho));
        let runs: Vec<f64> = (1..=16).map(|seed| mean_wait(rho, service, 12_000, seed)).collect();
        let mean = runs.iter().sum::<f64>() / runs.len() as f64;
        let variance = runs.iter().map(|run| (run - mean).powi(2)).sum::<f64>() / (runs.len() - 1) as f64;
        let error = (variance / runs.len() as f64).sqrt();
        println!("rho {rho}: wait {mean:.6} s, expected {expected:.6} s, standard error {error:.6} s");
        assert!((mean - expected).abs() <= 3.0 * error, "rho {rho}: {mean} against {expected} +- 3 x {error}");
        assert!(error < 0.02 * expected, "the sample is large enough to tell 6 %");
    }
}

#[test]
fn littles_law_holds_against_a_count_taken_in_the_engines() {
    // N is counted in the engines themselves, between one event and the next; W is what the ledger wrote down.
    let file = project("driver/examples/aws-blog-70b.yaml");
    let (endpoint, _) = Endpoint::read(&file).expect("the sample is valid");
    let source = Source::DocumentQa { requests: 200 };
    let experiment = Experiment { endpoint, file: String::new(), workload: "docqa".to_owned(), source };
    let case = Case { load: Load::Rate(6.0), ..case(Strategy::KvAware, 3, 1.0) };
    let assembled = experiment.assemble(&case).expect("it can be simulated");
    let workload = experiment.source.workload(&assembled.lab, case.load, case.seed);
    let mut cluster = assembled.cluster();
    let mut ledger = Ledger::new(3, 200);
    let (mut counted, mut chain) = (0_u128, ChainBuilder::new());
    for (number, request) in workload.requests().iter().enumerate() {
        counted += advance(&mut cluster, &mut ledger, request.at);
        workload.chain(request, &mut chain);
        let id = RequestId(number as u64);
        ledger.arrived(id, request.at, request.at, request.prompt, request.output);
        let (prompt, output) = (request.prompt, request.output);
        cluster.arrive(&Arrival {
            request: id,
            session: None,
            pieces: chain.pieces(),
            prompt,
            output,
            api: Api::Completions,
        });
    }
    while let Some(at) = cluster.next_due() {
        counted += advance(&mut cluster, &mut ledger, at);
    }
    ledger.close(cluster.now());
    ledger.check();
    assert_eq!(ledger.residence(), counted, "the integral of N equals the sum of W");
    assert!(counted > 0);
}

/// Goes to `to` from event to event, and gives the integral of the number of requests that the engines have.
fn advance(cluster: &mut Cluster, ledger: &mut Ledger, to: Time) -> u128 {
    let mut integral = 0;
    loop {
        let at = cluster.next_due().map_or(to, |due| due.min(to));
        let live: usize = cluster.replicas().map(sim::replica::Replica::live).sum();
        integral += live as u128 * u128::from(at.since(cluster.now()).0);
        cluster.advance(at);
        while let Some(event) = cluster.poll() {
            ledger.enter(&event, cluster.now());
        }
        if at == to {
            return integral;
        }
    }
}

#[test]
fn without_a_session_key_there_are_no_sessions() {
    let text = std::fs::read_to_string(project("driver/examples/aws-blog-70b.yaml")).expect("it is there");
    let with = experiment("docqa");
    assert!(with.endpoint.session_key.is_some(), "the sample names its session key");
    let without = text.replace("SESSION_KEY", "SOME_OTHER_KEY");
    let (endpoint, _) = Endpoint::parse(&without, "without.yaml").expect("it is valid");
    let without = Experiment { endpoint, ..with.clone() };
    let case = Case { load: Load::Concurrency(50), ..case(Strategy::Session, 4, 1.0) };
    let workers = |experiment: &Experiment| -> Vec<_> {
        run(experiment, case.clone()).records.iter().map(|record| record.worker).collect()
    };
    assert_ne!(workers(&with), workers(&without), "sessions that nobody names steer nothing");
}

#[test]
fn strategies_differ_on_document_qa() {
    let experiment = experiment("docqa");
    let placed = |strategy| -> Vec<_> {
        let case = Case { load: Load::Concurrency(50), ..case(strategy, 4, 1.0) };
        run(&experiment, case).records.iter().map(|record| record.worker).collect()
    };
    let all = Strategy::ALL.map(placed);
    for (index, one) in all.iter().enumerate() {
        assert!(all[index + 1..].iter().all(|other| other != one), "{} places like another", Strategy::ALL[index]);
    }
}

#[test]
fn more_of_anything_never_hurts_document_qa() {
    let experiment = experiment("docqa");
    let of = |cache, replicas| {
        let load = Load::Concurrency(50);
        run(&experiment, Case { cache, load, ..case(Strategy::KvAware, replicas, 1.0) }).summary
    };
    let (bare, cached, wide) = (of(Tiers::None, 2), of(Tiers::L0, 2), of(Tiers::L0, 4));
    assert_eq!((bare.hit_rate.total, bare.hit_rate.l0), (Some(0.0), None));
    assert!(cached.ttft.mean < bare.ttft.mean && wide.ttft.mean < cached.ttft.mean);
    assert!(cached.throughput.output > bare.throughput.output);
    // 700 questions about 35 documents: all but the first about each can find its document.
    assert!(wide.hit_rate.total > Some(0.8) && wide.hit_rate.total < Some(0.951), "{:?}", wide.hit_rate);
}
