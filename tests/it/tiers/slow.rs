//! A hit is not always a win: a slow L2 hurts who always loads, and never who may choose; a fast one helps both.

use super::golden::deployment;
use super::world::{World, pool, tiers};
use kvcache::{Choice, LoadMode, Span, TierConfig, Tokens};
use sim::cost::deployment::Deployment;
use sim::cost::loading;
use sim::streams::Streams;
use sim::transport::PoolAccess;
use sim::workload::Arrivals;
use sim::workload::Workload;
use sim::workload::document_qa::DocumentQa;

/// Questions about long documents, on workers whose device remembers few of them.
fn questions(seed: u64, concurrency: u32) -> Workload {
    let qa = DocumentQa {
        requests: 300,
        documents: 30,
        skew: 0.0,
        document: Tokens(6000),
        question: Tokens(60),
        answer: Tokens(40),
        instruction: Tokens(0),
        users: 30,
    };
    qa.generate(Arrivals::Closed { concurrency }, Streams::new(seed))
}

struct Lab {
    deployment: Deployment,
    workload: Workload,
}

impl Lab {
    /// Mean TTFT in milliseconds, and the share of prompt tokens that L2 gave.
    fn run(&self, load: LoadMode, choice: Option<Choice>, access: Option<PoolAccess>) -> (f64, f64) {
        let token_bytes = self.deployment.kv_bytes_per_token;
        let mut world = World::new(2, 40_000 / 16);
        world.engine.max_model_len = Tokens(8192);
        world.transport.token_bytes = token_bytes;
        world.transport.host_bytes_per_s = 400e9;
        if let Some(mut access) = access {
            (access.pool.token_bytes, access.pool.shard_bytes) = (token_bytes, 2 << 40);
            world.transport.pool = Some(access);
            let model = self.deployment.roofline(Span::ZERO, false);
            let choice = choice.unwrap_or(Choice::ByCost(loading::costs(&model, &world.transport)));
            world = world.with(TierConfig { load, choice, ..tiers(None, true) }, Some(access));
        }
        let (ledger, _) = world.run(self.deployment.roofline(Span::from_millis(1), false), &self.workload);
        let summary = ledger.summary(None);
        (summary.ttft.mean.expect("there are requests"), summary.hit_rate.l2.unwrap_or(0.0))
    }
}

fn access(bytes_per_s: f64, round_trip: Span) -> PoolAccess {
    PoolAccess { bytes_per_s, round_trip, ..pool(2, 0) }
}

#[test]
fn a_slow_l2_hurts_who_always_loads_and_never_who_may_choose() {
    let deployment = deployment("Llama-3.1-70B", "p5.48xlarge", 8, 131_072);
    for seed in [0, 1] {
        let lab = Lab { deployment: deployment.clone(), workload: questions(seed, 8) };
        let (alone, _) = lab.run(LoadMode::Blocking, None, None);
        for load in [LoadMode::Blocking, LoadMode::Overlapped, LoadMode::Layerwise] {
            // Slow to carry, slow to answer, and both. Computing 6,000 tokens takes about 270 ms, their KV has 2 GB.
            let slow = [(1.2e9, 500), (20e9, 50_000), (2e9, 20_000)];
            for (bytes_per_s, micros) in slow {
                let access = Some(access(bytes_per_s, Span::from_micros(micros)));
                let (always, hit) = lab.run(load, Some(Choice::Always), access);
                let (chosen, _) = lab.run(load, None, access);
                // Overlapped loads share the link until hardly one of them meets its deadline.
                assert!(always > 1.2 * alone, "it hurts: {always} against {alone}, {hit} of tokens loaded");
                assert!(chosen < 1.02 * alone, "it never hurts who may choose: {chosen} against {alone}");
            }
            let fast = Some(access(40e9, Span::from_micros(200)));
            let (always, _) = lab.run(load, Some(Choice::Always), fast);
            let (chosen, hit) = lab.run(load, None, fast);
            assert!(chosen < 0.9 * alone && hit > 0.1, "a fast one is used: {chosen} against {alone}");
            assert!(chosen < 1.15 * always, "nearly as much as by who always loads: {chosen} against {always}");
        }
    }
}

/// Where many wait, the engine has others to serve while loads are under way: a load may take longer than computing, and a
/// fast L2 is used nearly as much as by who always loads.
#[test]
fn under_load_a_fast_l2_is_used_and_a_slow_one_still_does_not_hurt() {
    let deployment = deployment("Llama-3.1-70B", "p5.48xlarge", 8, 131_072);
    for seed in [0, 1] {
        let lab = Lab { deployment: deployment.clone(), workload: questions(seed, 30) };
        let (alone, _) = lab.run(LoadMode::Overlapped, None, None);
        for (bytes_per_s, micros) in [(1.2e9, 500), (20e9, 50_000), (2e9, 20_000)] {
            let (chosen, _) = lab.run(LoadMode::Overlapped, None, Some(access(bytes_per_s, Span::from_micros(micros))));
            assert!(chosen < 1.02 * alone, "it never hurts who may choose: {chosen} against {alone}");
        }
        let fast = Some(access(40e9, Span::from_micros(200)));
        let (always, _) = lab.run(LoadMode::Overlapped, Some(Choice::Always), fast);
        let (chosen, hit) = lab.run(LoadMode::Overlapped, None, fast);
        assert!(always < 0.6 * alone && chosen < 1.15 * always && hit > 0.5, "{alone} {always} {chosen} {hit}");
    }
}
