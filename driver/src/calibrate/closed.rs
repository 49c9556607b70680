//! A closed loop against one worker: what a measured row says was done, done by the simulator.
//!
//! The table does not say how its loops were run. The rows whose lengths are those of SemiAnalysis's InferenceX (formerly
//! InferenceMAX; Apache-2.0), 1,024 in and 1,024 out, 1,024/8,192 and 8,192/1,024 with 4 to 64 in flight, are its results, and
//! its scripts are public: `benchmark_serving.py --dataset-name random --random-range-ratio 0.8 --num-prompts $((CONC * 10))
//! --max-concurrency $CONC --request-rate inf --ignore-eos` against `vllm serve --kv-cache-dtype fp8 --async-scheduling
//! --no-enable-prefix-caching --max-num-batched-tokens 8192 --gpu-memory-utilization 0.9`. So lengths are uniform from 80 % of
//! the nominal to all of it, everybody starts at once, ten rounds are measured from the first request on, and figures are means
//! over requests (AIConfigurator's `silicon_ttft_ms` is `mean_ttft`). The first burst is a tenth of all requests, and most of
//! their mean TTFT: it grows with the number in flight, and hardly with the length of replies. A steady state would not.
//!
//! Of other rows nothing is known: all prompts and replies are as long as it says, users start spread over the time that one
//! request takes, and the first third of the requests is left out.

use super::factors::Setup;
use kvcache::{CacheConfig, Duplicates, Span, Time, Tokens};
use router::{Api, Router, RouterConfig, Strategy};
use sim::cluster::Cluster;
use sim::cost::CostModel;
use sim::cost::deployment::Deployment;
use sim::extent::Extent;
use sim::ledger::{Record, Warmup};
use sim::replica::EngineConfig;
use sim::simulate::{Path, simulate_within};
use sim::streams::Streams;
use sim::workload::{Pacing, Segment, Workload};

/// How a loop was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// As InferenceX does.
    InferenceX,
    /// Users spread evenly, after the start is forgotten.
    Steady,
}

/// A closed loop.
#[derive(Clone, Debug)]
pub struct ClosedLoop {
    /// The worker.
    pub deployment: Deployment,
    /// Nominal tokens of a prompt.
    pub prompt: u32,
    /// Nominal tokens of a reply.
    pub output: u32,
    /// Requests in flight.
    pub concurrency: u32,
    /// How it was run.
    pub protocol: Protocol,
}

/// Means over requests, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Played {
    /// Time to first token.
    pub ttft: f64,
    /// Time per output token.
    pub tpot: f64,
    /// From sending to the last token.
    pub e2el: f64,
}

impl ClosedLoop {
    /// The protocol by which a loop of these lengths was run.
    #[must_use]
    pub fn protocol_of(prompt: u32, output: u32, concurrency: u32) -> Protocol {
        let lengths = [(1_024, 1_024), (1_024, 8_192), (8_192, 1_024)].contains(&(prompt, output));
        let inference_x = lengths && [4, 8, 16, 32, 64].contains(&concurrency);
        if inference_x { Protocol::InferenceX } else { Protocol::Steady }
    }

    /// Plays it. The draws of lengths are always the same.
    ///
    /// # Panics
    /// Where a request would not be served: whoever planned the deployment gave it room for one.
    #[must_use]
    pub fn play(&self, setup: &Setup) -> Played {
        self.play_on(setup, |model| model)
    }

    /// Plays it, with `watch` around what prices its passes.
    ///
    /// # Panics
    /// As [`ClosedLoop::play`].
    pub fn play_on(&self, setup: &Setup, watch: impl Fn(Box<dyn CostModel>) -> Box<dyn CostModel>) -> Played {
        let workload = self.workload();
        match self.protocol {
            Protocol::InferenceX => self.run(&workload, setup, Extent::default(), &watch),
            Protocol::Steady => {
                let together = self.run(&workload, setup, Extent::default(), &watch);
                let ramp = Span::from_secs_f64(together.e2el / 1e3);
                let extent =
                    Extent { ramp, warmup: Warmup::Requests(u64::from(self.concurrency) * 4), ..Extent::default() };
                self.run(&workload, setup, extent, &watch)
            }
        }
    }

    fn workload(&self) -> Workload {
        let mut lengths = Streams::new(0).named("lengths of a closed loop");
        let (rounds, least) = match self.protocol {
            Protocol::InferenceX => (10, 0.8),
            Protocol::Steady => (12, 1.0),
        };
        let mut draw = |most: u32| {
            let least = (f64::from(most) * least) as u32;
            Tokens(least + lengths.below(u64::from(most - least) + 1) as u32)
        };
        let mut workload = Workload::new(Pacing::Closed { concurrency: self.concurrency });
        for id in 0..u64::from(self.concurrency) * rounds {
            let prompt = [Segment { id, tokens: draw(self.prompt) }];
            let output = draw(self.output);
            workload.push(Time::ZERO, None, &prompt, output);
        }
        workload
    }

    fn run(
        &self,
        workload: &Workload,
        setup: &Setup,
        extent: Extent,
        watch: &impl Fn(Box<dyn CostModel>) -> Box<dyn CostModel>,
    ) -> Played {
        let deployment = Deployment { efficiency: setup.efficiency, ..self.deployment.clone() };
        let model = watch(Box::new(deployment.roofline(Span::ZERO, false)));
        let mut cluster = one_worker(&deployment, model);
        let path = Path { latency: setup.api_latency, api: Api::Completions, names_session: false };
        let ledger = simulate_within(workload, &mut cluster, None, path, extent, |_| {})
            .expect("a loop of a few thousand requests ends within the horizon");
        let left_out = match extent.warmup {
            Warmup::Requests(count) => count as usize,
            _ => 0,
        };
        let records = &ledger.records()[left_out..];
        let mean = |of: fn(&Record) -> Option<Span>| {
            let spans: Vec<f64> = records.iter().filter_map(of).map(Span::as_millis_f64).collect();
            spans.iter().sum::<f64>() / spans.len() as f64
        };
        Played { ttft: mean(Record::ttft), tpot: mean(Record::tpot), e2el: mean(Record::e2el) }
    }
}

/// A worker without a prefix cache.
///
/// # Panics
/// Where the deployment's settings contradict each other, which its plan has checked.
#[must_use]
pub fn one_worker(deployment: &Deployment, model: Box<dyn CostModel>) -> Cluster {
    let engine = EngineConfig {
        max_num_seqs: deployment.max_num_seqs,
        max_num_batched_tokens: deployment.max_num_batched_tokens,
        max_model_len: deployment.max_model_len,
        chunked_prefill: true,
        long_prefill_token_threshold: None,
        max_num_partial_prefills: 1,
        reserve_full_isl: false,
        async_scheduling: false,
        max_repeats: 1 << 14,
        record_work: false,
        cache: CacheConfig {
            capacity: deployment.blocks,
            block: deployment.block_size,
            prefix_caching: false,
            duplicates: Duplicates::Keep,
            events: false,
        },
        tiers: None,
    };
    let router = Router::new(RouterConfig {
        block: deployment.block_size,
        chunk: deployment.block_size,
        ..RouterConfig::new(Strategy::RoundRobin, 1)
    });
    Cluster::new(1, engine, router, model, None).expect("the plan has checked the engine")
}
