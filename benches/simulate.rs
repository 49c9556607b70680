//! How many requests the simulator serves per CPU-second, parsing included, on the conversation trace.
//!
//! Criterion's clock is replaced by the CPU time of this process: the machine may be shared. `elem/s` in the output is
//! requests per CPU-second. Needs the trace: see README.md.

use cpu::CpuTime;
use criterion::{BenchmarkId, Criterion, Throughput};
use driver::experiment::{Case, Experiment, Load, Source, Tiers};
use router::Strategy;
use std::collections::BTreeMap;
use std::path::PathBuf;

mod cpu; // CPU time instead of wall time

fn trace() -> Option<PathBuf> {
    let named = std::env::var_os("PODLAB_DATA").map(PathBuf::from);
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"));
    let file = named.unwrap_or(beside).join("traces/mooncake_conversation_trace.jsonl");
    file.exists().then_some(file)
}

fn main() {
    let Some(file) = trace() else {
        println!("skipped: no conversation trace; name its folder in PODLAB_DATA");
        return;
    };
    let mut criterion = Criterion::default().with_measurement(CpuTime).configure_from_args();
    let endpoint = concat!(env!("CARGO_MANIFEST_DIR"), "/../driver/examples/aws-blog-70b.yaml");
    let name = format!("trace:{}", file.display());
    let run = |strategy: Strategy, replicas: u16, cache: Tiers| {
        let (endpoint, _) = driver::endpoint::Endpoint::read(endpoint.as_ref()).expect("the sample is valid");
        let source = Source::read(&name, None).expect("the trace is valid");
        let experiment = Experiment { endpoint, file: "aws-blog-70b.yaml".into(), workload: name.clone(), source };
        let case =
            Case { strategy, cache, replicas, load: Load::Trace { speedup: 1.0 }, seed: 0, settings: BTreeMap::new() };
        let assembled = experiment.assemble(&case).expect("the sample can be simulated");
        let outcome = experiment.run(case, &assembled).expect("it ends in time");
        assert_eq!(outcome.summary.completed, 12_031);
    };
    let mut group = criterion.benchmark_group("conversation trace, parsed and simulated");
    group.throughput(Throughput::Elements(12_031)).sample_size(20);
    for (strategy, replicas) in
        [(Strategy::RoundRobin, 4), (Strategy::KvAware, 4), (Strategy::PrefixAware, 4), (Strategy::KvAware, 64)]
    {
        for cache in [Tiers::L0, Tiers::L0L1L2] {
            let id = BenchmarkId::new(format!("{strategy} {}", cache.as_str()), replicas);
            group.bench_function(id, |bencher| bencher.iter(|| run(strategy, replicas, cache)));
        }
    }
    group.finish();
    criterion.final_summary();
}
