//! The books of runs through the driver: instances and their cost, percentiles, gaps.

use super::check_cost_adds_up;
use crate::support::project;
use driver::endpoint::Endpoint;
use driver::experiment::{Case, Experiment, Load, Source, Tiers};
use router::Strategy;
use sim::cluster::Event;
use sim::ledger::{Distribution, Price};
use sim::replica::Output;
use sim::simulate::simulate;
use std::collections::BTreeMap;

/// The sample of seven p5.48xlarge with 8 GPUs each, but with pods of `gpus`.
fn experiment(tp: u32, gpus: u32, requests: u32) -> Experiment {
    let file = project("driver/examples/aws-blog-70b.yaml");
    let text = std::fs::read_to_string(file).expect("the sample is there");
    let text = text
        .replace("nvidia.com/gpu: \"8\"", &format!("nvidia.com/gpu: \"{gpus}\""))
        .replace("--tensor-parallel-size\n      - \"8\"", &format!("--tensor-parallel-size\n      - \"{tp}\""));
    let (endpoint, _) = Endpoint::parse(&text, "sample.yaml").expect("it is valid");
    let source = Source::DocumentQa { requests };
    Experiment { endpoint, file: "sample.yaml".to_owned(), workload: "docqa".to_owned(), source }
}

fn case(replicas: u16, concurrency: u32) -> Case {
    let settings = BTreeMap::from([("price.usd_per_hour".to_owned(), "36".to_owned())]);
    let (cache, load) = (Tiers::L0, Load::Concurrency(concurrency));
    Case { strategy: Strategy::KvAware, cache, replicas, load, seed: 0, settings }
}

#[test]
fn a_pod_never_spans_two_instances() {
    // floor(8 / 8) = 1 pod per instance, floor(8 / 4) = 2, and floor(8 / 5) = 1, with three GPUs idle.
    for (gpus, tp, workers_per_instance, expected) in
        [(8, 8, 1, [1, 7, 8, 9]), (4, 4, 2, [1, 4, 4, 5]), (5, 4, 1, [1, 7, 8, 9])]
    {
        let experiment = experiment(tp, gpus, 20);
        for (replicas, instances) in [1, 7, 8, 9].into_iter().zip(expected) {
            let assembled = experiment.assemble(&case(replicas, 4)).expect("it can be simulated");
            assert_eq!(assembled.price, Price { usd_per_hour: 36.0, workers_per_instance }, "pods of {gpus} GPUs");
            let outcome = experiment.run(case(replicas, 4), &assembled).expect("it ends in time");
            assert_eq!(outcome.resolved["price"]["instances"], instances);
            // A cent per instance and second.
            let seconds = outcome.summary.makespan_s.expect("requests complete");
            check_cost_adds_up(&outcome.summary, 0.01 * f64::from(instances) * seconds);
        }
    }
}

#[test]
fn percentiles_of_document_qa_are_in_order() {
    for requests in [1, 2, 3, 700] {
        let experiment = experiment(8, 8, requests);
        // Few requests share one worker, so that prompts interrupt those who decode.
        let case = Case { strategy: Strategy::PrefixAware, ..case(7, 20) };
        let assembled = experiment.assemble(&case).expect("it can be simulated");
        let workload = experiment.source.workload(&assembled.lab, case.load, case.seed);
        let mut gaps = Vec::new();
        let look = |event: &Event| gaps_of(event, &mut gaps);
        let ledger = simulate(&workload, &mut assembled.cluster(), assembled.path, look).expect("it ends in time");
        let summary = ledger.summary(Some(assembled.price));
        assert_eq!(summary.completed, u64::from(requests));
        for of in [&summary.ttft, &summary.tpot, &summary.itl, &summary.e2el] {
            let percentiles = [of.p50, of.p90, of.p95, of.p99];
            assert!(percentiles.iter().all(Option::is_some) && percentiles.is_sorted(), "{requests}: {of:?}");
        }
        // Gaps in buckets tell what the gaps themselves do.
        let exact = Distribution::of(gaps);
        println!("{requests}: itl {:?}, of raw gaps {exact:?}, tpot {:?}", summary.itl, summary.tpot);
        for (bucketed, exact) in
            [(summary.itl.p50, exact.p50), (summary.itl.p90, exact.p90), (summary.itl.p99, exact.p99)]
        {
            let (bucketed, exact) = (bucketed.expect("there are gaps"), exact.expect("there are gaps"));
            assert!((bucketed / exact - 1.0).abs() <= 0.008, "{requests}: {bucketed} against {exact}");
        }
        // All replies are of one length, so the mean over requests is the mean over gaps, but for roundings of 1 ps.
        let (tpot, itl) = (summary.tpot.mean.expect("replies are long"), summary.itl.mean.expect("replies are long"));
        assert!((tpot - itl).abs() < 2e-9, "{requests}: {tpot} against {itl}");
    }
}

/// The gaps that a run tells of, one by one.
fn gaps_of(event: &Event, gaps: &mut Vec<u64>) {
    match event {
        Event::Ran { stretch, .. } => {
            let lasts = (0..stretch.passes).map(|pass| stretch.first.0 + stretch.growth.0 * pass);
            gaps.extend(lasts.flat_map(|gap| (0..stretch.steady).map(move |_| gap)));
        }
        Event::Output { output: Output::Resumed { before, at, .. }, .. } => gaps.push(at.since(*before).0),
        _ => {}
    }
}
