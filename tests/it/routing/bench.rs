//! Many runs of one endpoint, and what they tell on average.

use crate::support::{conversation, project};
use driver::endpoint::Endpoint;
use driver::experiment::{Case, Experiment, Load, Outcome, Source, Tiers};
use router::Strategy;
use sim::cluster::Cluster;
use sim::simulate::Path;
use sim::workload::Workload;
use std::collections::BTreeMap;

/// What is sent to which fleet.
pub(super) struct Bench {
    experiment: Experiment,
    load: Load,
    cache: Tiers,
    replicas: u16,
    seeds: Vec<u64>,
    settings: BTreeMap<String, String>,
}

/// Means over all seeds. Times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) strategy: Strategy,
    pub(super) mean: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) hit: f64,
    /// Largest over mean number of requests of a worker.
    pub(super) spread: f64,
    pub(super) tokens_per_s: f64,
    pub(super) regret: f64,
}

impl Bench {
    /// Seven workers with a device cache, two seeds.
    pub(super) fn new(workload: &str, requests: u32, load: Load) -> Self {
        let (endpoint, _) = Endpoint::read(&project("driver/examples/aws-blog-70b.yaml")).expect("the sample is valid");
        let source = Source::read(workload, Some(requests)).expect("the workload is valid");
        let file = "aws-blog-70b.yaml".to_owned();
        Self {
            experiment: Experiment { endpoint, file, workload: workload.to_owned(), source },
            load,
            cache: Tiers::L0,
            replicas: 7,
            seeds: vec![1, 2],
            settings: BTreeMap::new(),
        }
    }

    /// The conversation trace, on four workers.
    pub(super) fn trace() -> Option<Self> {
        let file = conversation()?;
        let bench = Self::new(&format!("trace:{}", file.display()), 20_000, Load::Trace { speedup: 1.0 });
        Some(Self { replicas: 4, seeds: vec![0], ..bench })
    }

    pub(super) fn with(mut self, settings: &[(&str, &str)]) -> Self {
        self.settings.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self
    }

    pub(super) fn on(self, cache: Tiers, replicas: u16) -> Self {
        Self { cache, replicas, ..self }
    }

    pub(super) fn at(self, load: Load) -> Self {
        Self { load, ..self }
    }

    fn case(&self, strategy: Strategy, seed: u64) -> Case {
        Case {
            strategy,
            cache: self.cache,
            replicas: self.replicas,
            load: self.load,
            seed,
            settings: self.settings.clone(),
        }
    }

    /// What it takes to run a case by hand.
    pub(super) fn prepare(&self, strategy: Strategy, seed: u64) -> (Workload, Cluster, Path) {
        let assembled = self.experiment.assemble(&self.case(strategy, seed)).expect("it can be simulated");
        let workload = self.experiment.source.workload(&assembled.lab, self.load, seed);
        (workload, assembled.cluster(), assembled.path)
    }

    fn outcome(&self, strategy: Strategy, seed: u64) -> Outcome {
        let case = self.case(strategy, seed);
        let assembled = self.experiment.assemble(&case).expect("it can be simulated");
        let outcome = self.experiment.run(case, &assembled).expect("it ends in time");
        assert_eq!(outcome.summary.failed, 0, "everything completes");
        outcome
    }

    pub(super) fn run(&self, strategy: Strategy) -> Figures {
        let outcomes: Vec<_> = self.seeds.iter().map(|seed| self.outcome(strategy, *seed)).collect();
        let mean = |of: &dyn Fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / outcomes.len() as f64;
        let spread = |outcome: &Outcome| {
            let by_worker = outcome.requests_by_worker();
            let most = by_worker.iter().max().copied().unwrap_or_default();
            most as f64 * by_worker.len() as f64 / by_worker.iter().sum::<u64>() as f64
        };
        Figures {
            strategy,
            mean: mean(&|outcome| outcome.summary.ttft.mean.expect("there are requests")),
            p90: mean(&|outcome| outcome.summary.ttft.p90.expect("there are requests")),
            p99: mean(&|outcome| outcome.summary.ttft.p99.expect("there are requests")),
            hit: mean(&|outcome| outcome.summary.hit_rate.total.expect("there are prompts")),
            spread: mean(&spread),
            tokens_per_s: mean(&|outcome| outcome.summary.throughput.output.expect("there are tokens")),
            regret: mean(&|outcome| outcome.summary.overlap_regret.expect("few workers are looked at")),
        }
    }

    /// All of `strategies`, the fastest first.
    pub(super) fn compare(&self, title: &str, strategies: &[Strategy]) -> Vec<Figures> {
        let mut all: Vec<_> = strategies.iter().map(|strategy| self.run(*strategy)).collect();
        all.sort_by(|a, b| a.mean.total_cmp(&b.mean));
        println!("{title}");
        for Figures { strategy, mean, p90, p99, hit, spread, tokens_per_s, regret } in &all {
            println!(
                "  {strategy:<15} TTFT mean {mean:8.1} p90 {p90:8.1} p99 {p99:8.1} ms  hit {:5.1} %  spread {spread:5.2}  {tokens_per_s:6.0} tok/s  regret {:4.1} %",
                hit * 100.0,
                regret * 100.0
            );
        }
        all
    }
}

/// The figures of one of them.
pub(super) fn of(all: &[Figures], strategy: Strategy) -> Figures {
    *all.iter().find(|figures| figures.strategy == strategy).expect("it was run")
}
