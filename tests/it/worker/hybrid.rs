//! Hybrid: real computation in virtual time, and what is calibrated on it.

use driver::calibrate::passes::{fit, spread, told};
use driver::computed::hybrid::Hybrid;
use driver::computed::{Fit, Pass, Timed, Ways};
use driver::emulate::candle::Loaded;
use driver::endpoint::Endpoint;
use driver::experiment::{Case, Experiment, Load, Outcome, Source, Tiers};
use driver::hardware::{ANY, Base, FORMAT, Hardware, Passes};
use router::Strategy;
use std::collections::BTreeMap;
use std::path::Path;

fn experiment(workload: &str, requests: u32) -> Experiment {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../driver/examples/aws-blog-70b.yaml");
    let text = std::fs::read_to_string(&file).expect("an example");
    let (endpoint, _) = Endpoint::parse(&text, "e.yaml").expect("valid");
    let source = Source::read(workload, Some(requests)).expect("known");
    Experiment { endpoint, file: "e.yaml".to_owned(), workload: workload.to_owned(), source }
}

fn case(replicas: u16, load: Load, cache: Tiers, settings: &[(&str, &str)]) -> Case {
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Case { strategy: Strategy::RoundRobin, cache, replicas, load, seed: 1, settings }
}

fn hybrid() -> Hybrid {
    let loaded = Loaded::tiny(0);
    let fit = Fit { model: "tiny".to_owned(), context: 8192, kv_token_bytes: 1024, block_overhead: 88, card: None };
    Hybrid { loaded, fit }
}

/// A run whose passes are computed.
fn computed(experiment: &Experiment, case: &Case) -> (Outcome, Timed) {
    let hybrid = hybrid();
    let mut assembled = experiment.assemble(case).expect("it fits");
    hybrid.fit.cut(&experiment.endpoint, &mut assembled, Ways::Modelled).expect("it can be computed");
    let mut outcome = experiment.run_computed(case.clone(), &assembled, &[], &hybrid).expect("it runs");
    let timed = outcome.computed.take().expect("it was computed");
    (outcome, timed)
}

const CHAT: [(&str, &str); 2] = [("chat.think", "100ms"), ("engine.max_num_batched_tokens", "64")];

#[test]
fn every_pass_lasts_as_long_as_its_thread_worked_on_it() {
    let experiment = experiment("shared-system", 40);
    let settings = [("shared_system.system_tokens", "600"), ("engine.max_num_batched_tokens", "64")];
    let (outcome, timed) = computed(&experiment, &case(3, Load::Concurrency(6), Tiers::L0L1L2, &settings));
    assert_eq!((outcome.summary.completed, outcome.summary.failed), (40, 0));
    let tokens: u64 = outcome.records.iter().map(|record| u64::from(record.output.0)).sum();
    let emitted: u64 = timed.passes.iter().map(|pass| pass.samples).sum();
    assert_eq!(emitted, tokens, "each token was sampled in a pass");
    // Passes of a worker follow each other, and none begins before the one before has lasted.
    let mut free = BTreeMap::new();
    for pass in &timed.passes {
        let at = free.entry(pass.worker).or_insert(0.0);
        assert!(pass.started_ms >= *at - 1e-6, "worker {} is one machine", pass.worker);
        *at = pass.started_ms + pass.cpu_us / 1e3;
    }
    assert_eq!(free.len(), 3, "all workers computed");
    // Prompts find what they share.
    assert!(outcome.summary.hit_rate.l0.is_some_and(|rate| rate > 0.1), "{:?}", outcome.summary.hit_rate);
}

/// Passes that take what they are said to take, with noise.
fn made(count: u64, noise: f64) -> Vec<Pass> {
    let mut draws = sim::streams::Streams::new(3).named("passes");
    let mut uniform = || draws.below(1_000_000) as f64 / 1e6;
    (0..count)
        .map(|at| {
            let decoders = at % 9;
            let chunk = if at % 3 == 0 { 1 + (uniform() * 60.0) as u64 } else { 0 };
            let cached = (uniform() * 900.0) as u64;
            let tokens = (decoders + chunk).max(1);
            let decoders = tokens - chunk;
            let context = decoders * (1 + (uniform() * 1500.0) as u64);
            let pairs = chunk * cached + chunk * (chunk + 1) / 2;
            let us = 120.0 + 70.0 * tokens as f64 + 7.0 * decoders as f64 + 0.3 * context as f64 + 0.2 * pairs as f64;
            Pass {
                worker: 0,
                started_ms: at as f64,
                cpu_us: us * (1.0 + noise * (2.0 * uniform() - 1.0)),
                tokens,
                samples: decoders,
                decoders,
                context,
                pairs,
                prefill_context: if chunk > 0 { cached + chunk } else { 0 },
                squares: chunk * chunk,
                longest: context.checked_div(decoders).unwrap_or(0),
            }
        })
        .collect()
}

#[test]
fn made_passes_give_back_what_they_were_made_of() {
    let exact = made(3000, 0.0);
    let model = fit(&exact).expect("there are passes");
    let worst = exact.iter().map(|pass| (told(&model, pass) / pass.cpu_us - 1.0).abs()).fold(0.0, f64::max);
    assert!(worst < 2e-3, "{worst}");
    assert!((model.context / 1e6 - 0.3).abs() < 0.003 && (model.pair / 1e6 - 0.2).abs() < 0.003, "{model:?}");
    // With noise all passes together still take what they took.
    let noisy = made(3000, 0.3);
    let model = fit(&noisy).expect("there are passes");
    let [fitted, timed] =
        [noisy.iter().map(|pass| told(&model, pass)).sum(), noisy.iter().map(|pass| pass.cpu_us).sum::<f64>()];
    assert!((fitted / timed - 1.0).abs() < 1e-3, "{fitted} {timed}");
    let spread = spread(&noisy, &model).expect("there are passes");
    assert!((0.10..0.20).contains(&spread.p50), "{spread:?}");
    assert_eq!(fit(&[]), None);
}

/// A profile of `passes`, as a file.
fn profile(timed: &Timed, folder: &Path) -> String {
    let cost = fit(&timed.passes).expect("there are passes");
    let hardware = Hardware {
        format: FORMAT.to_owned(),
        name: "here".to_owned(),
        gpu: ANY.to_owned(),
        base: Base::Served,
        source: None,
        factors: BTreeMap::new(),
        passes: Some(Passes::new(timed.fit.clone(), &cost)),
        grid: None,
        errors: BTreeMap::new(),
    };
    let path = folder.join("here.yaml");
    std::fs::write(&path, hardware.text()).expect("a file");
    path.display().to_string()
}

/// Calibrated on one workload, the simulator says what another one takes. Other processes share this machine's caches and
/// threads, and so its speed changes between two runs by more than 3 %: the run that is reproduced lies between two
/// calibrating ones, and of several tries the one in which these differed least is judged. On a busy machine this fails.
#[test]
#[ignore = "a measurement, which wants an idle machine"]
fn what_is_calibrated_on_one_workload_reproduces_another() {
    let folder = std::env::temp_dir().join(format!("podlab-hybrid-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (first, second) = (experiment("chat", 60), experiment("shared-system", 60));
    let other = [
        ("engine.max_num_batched_tokens", "64"),
        ("shared_system.system_tokens", "600"),
        ("shared_system.question_tokens", "150"),
    ];
    let chat = case(2, Load::Concurrency(4), Tiers::L0, &CHAT);
    let mut tries = Vec::new();
    for _ in 0..4 {
        let before = computed(&first, &chat).1;
        let (hybrid, timed) = computed(&second, &case(2, Load::Concurrency(3), Tiers::L0, &other));
        let after = computed(&first, &chat).1;
        let both = Timed { passes: [before.passes, after.passes].concat(), ..before };
        let file = profile(&both, &folder);
        let cost = fit(&both.passes).expect("there are passes");
        // What the machine's speed did between the runs: passes of the one by the fit to the other.
        let fitted: f64 = timed.passes.iter().map(|pass| told(&cost, pass)).sum();
        let drift = fitted / timed.passes.iter().map(|pass| pass.cpu_us).sum::<f64>() - 1.0;
        let settings = [&other[..], &[("hardware.profile", file.as_str())]].concat();
        let case = case(2, Load::Concurrency(3), Tiers::L0, &settings);
        let assembled = second.assemble(&case).expect("it fits");
        let simulated = second.run(case, &assembled).expect("it runs");
        let off = |figure: fn(&Outcome) -> f64| figure(&simulated) / figure(&hybrid) - 1.0;
        let figures = [
            off(|run| run.summary.ttft.mean.expect("known")),
            off(|run| run.summary.tpot.mean.expect("known")),
            off(|run| run.summary.ttft.p90.expect("known")),
            off(|run| run.summary.tpot.p90.expect("known")),
        ];
        println!("drift {drift:+.3}; mean TTFT, TPOT, P90 TTFT, TPOT: {figures:+.3?}");
        tries.push((drift.abs(), figures));
    }
    let _ = std::fs::remove_dir_all(&folder);
    tries.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (drift, [ttft, tpot, p90_ttft, p90_tpot]) = tries[0];
    let slack = 1.5 * drift;
    assert!(ttft.abs() < 0.03 + slack && tpot.abs() < 0.03 + slack, "{tries:?}");
    assert!(p90_ttft.abs() < 0.06 + slack && p90_tpot.abs() < 0.06 + slack, "{tries:?}");
}
