//! Who leaves, or is preempted while its pass is under way: what waited for them goes on, nothing comes after their end, and no
//! token comes out that rests upon nothing.

use super::world::{World, pool, tiers};
use kvcache::{
    ChainBuilder, Choice, Costs, Deadline, LoadMode, RequestId, Span, TierConfig, TierCost, Time, Tokens, WorkerId,
};
use router::Api;
use sim::cluster::{Arrival, Cluster, Event};
use sim::cost::{CostModel, Segment, Shape};
use sim::replica::Output;
use sim::transport::PoolAccess;

/// A pass takes 1 ms and 10 us for each token.
struct TenMicros;

impl CostModel for TenMicros {
    fn segment(&self, shape: &Shape) -> Segment {
        let base = Span::from_millis(1) + Span::from_micros(10) * shape.tokens;
        Segment::line(base, Span::ZERO)
    }
}

fn arrive(cluster: &mut Cluster, request: u64, prompt: u32, output: u32) {
    arrive_with(cluster, request, request, prompt, output);
}

fn arrive_with(cluster: &mut Cluster, request: u64, content: u64, prompt: u32, output: u32) {
    let mut chain = ChainBuilder::new();
    chain.push(content, Tokens(prompt));
    chain.push(1000 + request, Tokens(output));
    cluster.arrive(&Arrival {
        request: RequestId(request),
        session: None,
        pieces: chain.pieces(),
        prompt: Tokens(prompt),
        output: Tokens(output),
        api: Api::Completions,
    });
}

/// Lets all that is under way end; gives what came out.
fn outputs(cluster: &mut Cluster) -> Vec<Output> {
    while let Some(due) = cluster.next_due() {
        cluster.advance(due);
        cluster.check();
    }
    let events = std::iter::from_fn(|| cluster.poll());
    events.filter_map(|event| if let Event::Output { output, .. } = event { Some(output) } else { None }).collect()
}

/// The head of the queue waits for the pool's answer, and goes away: the next one starts then, not when the answer comes.
#[test]
fn whoever_waited_behind_one_who_left_starts_at_once() {
    let cost = TierCost { fixed: Span::from_millis(1), per_token: Span::ZERO };
    let costs = Costs { new_token: Span::from_millis(1), pairs_1024: Span::ZERO, host: cost, pool: cost };
    let config = TierConfig { choice: Choice::ByCost(costs), ..tiers(None, true) };
    let access = PoolAccess { round_trip: Span::from_millis(50), ..pool(1, 1 << 30) };
    let mut world = World::new(1, 63).with(config, Some(access));
    world.engine.max_model_len = Tokens(1000);
    let mut cluster = world.cluster(TenMicros);
    arrive(&mut cluster, 0, 600, 1);
    cluster.advance(Time::ZERO + Span::from_millis(1));
    arrive(&mut cluster, 1, 100, 1);
    cluster.advance(Time::ZERO + Span::from_millis(2));
    cluster.cancel(WorkerId(0), RequestId(0));
    let outputs = outputs(&mut cluster);
    let at = outputs.iter().find_map(|output| match output {
        Output::FirstToken { request: RequestId(1), at, .. } => Some(*at),
        _ => None,
    });
    // 100 tokens take 2 ms.
    assert_eq!(at, Some(Time::ZERO + Span::from_millis(4)));
}

/// Under async scheduling, a request is preempted by the plan of the next pass while its first token is computed, and its
/// client goes away before that comes out.
#[test]
fn a_token_of_one_who_was_preempted_and_left_does_not_come_out() {
    let mut world = World::new(1, 4);
    world.engine.async_scheduling = true;
    world.engine.max_model_len = Tokens(64);
    (world.engine.max_num_seqs, world.engine.max_num_batched_tokens) = (8, Tokens(33));
    let mut cluster = world.cluster(TenMicros);
    // 31 tokens, two blocks; the second pass fills them, the third begins another. Of the other request, 17 tokens and the
    // other two blocks, two tokens are computed in the first pass and the rest in the second, while the third is planned.
    arrive(&mut cluster, 0, 31, 20);
    arrive(&mut cluster, 1, 17, 20);
    let mut seen = Vec::new();
    while !seen.contains(&Output::Preempted { request: RequestId(1) }) {
        let due = cluster.next_due().expect("it comes to that");
        cluster.advance(due);
        while let Some(event) = cluster.poll() {
            if let Event::Output { output, .. } = event {
                seen.push(output);
            }
        }
    }
    cluster.cancel(WorkerId(0), RequestId(1));
    let after = outputs(&mut cluster);
    let of_it = |output: &&Output| {
        matches!(output, Output::FirstToken { request: RequestId(1), .. } | Output::Cancelled { request: RequestId(1) })
    };
    let of_it: Vec<&Output> = seen.iter().chain(&after).filter(of_it).collect();
    assert_eq!(of_it, [&Output::Cancelled { request: RequestId(1) }], "nothing comes after its end");
}

/// Layer by layer, a pass computes with what is still on its way from L1. The plan of the next pass preempts the request;
/// its token comes out all the same, if all came that it rests upon.
#[test]
fn a_token_comes_out_of_a_preempted_request_if_its_load_was_whole() {
    for (base, whole) in [(Span::from_secs(1), true), (Span::from_millis(100), false)] {
        let deadline = Deadline { base, per_1k: Span::ZERO };
        let config = TierConfig { load: LoadMode::Layerwise, deadline, ..tiers(Some(10_000), false) };
        let mut world = World::new(1, 63).with(config, None);
        world.engine.async_scheduling = true;
        world.engine.max_model_len = Tokens(1000);
        // Two chunks take 512 ms.
        world.transport.host_bytes_per_s = 1e6;
        let mut cluster = world.cluster(TenMicros);
        // 600 tokens, whose two chunks go to L1; then 999 push them off the device.
        for (at, request, id, prompt) in [(0, 0, 7, 600), (2_000, 1, 8, 999)] {
            cluster.advance(Time::ZERO + Span::from_millis(at));
            arrive_with(&mut cluster, request, id, prompt, 1);
        }
        // 398 tokens fill 25 blocks in the third pass; the fourth begins another, and there are no more: the 600 have 38.
        cluster.advance(Time::ZERO + Span::from_millis(10_000));
        arrive_with(&mut cluster, 2, 9, 398, 20);
        cluster.advance(Time::ZERO + Span::from_millis(10_002));
        arrive_with(&mut cluster, 3, 7, 600, 5);
        let outputs = outputs(&mut cluster);
        let of_it = |output: &&Output| match output {
            Output::Admitted { request, .. }
            | Output::Loaded { request, .. }
            | Output::Preempted { request }
            | Output::FirstToken { request, .. } => *request == RequestId(3),
            _ => false,
        };
        let told: Vec<String> = outputs.iter().filter(of_it).map(|output| format!("{output:?}")).collect();
        let told: Vec<&str> = told.iter().map(|text| text.split(' ').next().expect("it has a name")).collect();
        let computed = outputs.iter().find_map(|output| match output {
            Output::FirstToken { request: RequestId(3), computed, .. } => Some(computed.0),
            _ => None,
        });
        if whole {
            assert_eq!(told, ["Admitted", "Preempted", "Loaded", "FirstToken", "Admitted", "Loaded"]);
            assert_eq!(computed, Some(88));
        } else {
            assert_eq!(told, ["Admitted", "Preempted", "Admitted", "FirstToken"]);
            assert_eq!(computed, Some(600));
        }
    }
}
