//! One script, two shells: the same arrivals give the same passes and the same decisions in virtual time and in wall
//! time. The wall here is tokio's paused clock, which jumps to the next timer; its ticks are a millisecond, so wake-ups
//! are late as they are in earnest.

use super::world::World;
use driver::emulate::Stats;
use driver::emulate::clock::{Clock, TimeScale};
use driver::emulate::engine::Engine;
use driver::emulate::progress::{End, Submission, Ticket};
use driver::emulate::record::Trail;
use kvcache::{Blocks, ChainBuilder, LoadMode, SessionId, Span, Time, Tokens};
use router::{Api, Strategy};
use sim::simulate::{Path, simulate};
use sim::streams::Streams;
use sim::workload::{Pacing, Segment, Workload};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Bursts of requests that share prefixes, at whole milliseconds: the paused clock knows no others.
fn script(seed: u64) -> Workload {
    let mut draws = Streams::new(seed).named("script");
    let mut workload = Workload::new(Pacing::Open);
    let mut at = 0;
    for burst in 0..24 {
        at += draws.below(90);
        for place in 0..1 + draws.below(9) {
            let prompt = [
                Segment { id: 1 + draws.below(3), tokens: Tokens(64 + 160 * draws.below(2) as u32) },
                Segment { id: 100 + draws.below(6), tokens: Tokens(draws.below(300) as u32) },
                Segment { id: 1000 + burst * 100 + place, tokens: Tokens(1 + draws.below(90) as u32) },
            ];
            let session = (draws.below(2) == 0).then(|| SessionId(draws.below(5)));
            let output = Tokens(1 + draws.below(60) as u32);
            workload.push(Time::ZERO + Span::from_millis(at), session, &prompt, output);
        }
    }
    workload
}

fn simulated(world: &World, workload: &Workload, path: Path) -> (Trail, u64) {
    let mut trail = Trail::default();
    let ledger = simulate(workload, &mut world.cluster(), path, |event| trail.note(event)).expect("it ends in time");
    ledger.check();
    (trail, ledger.preemptions())
}

async fn emulated(world: &World, workload: &Workload, path: Path, scale: f64) -> Stats {
    let clock = Clock::starting_at(Time::ZERO, TimeScale::try_from(scale).expect("valid"));
    let (start, (entrance, engine)) = (Instant::now(), Engine::new(world.cluster(), clock, path.latency, true));
    let play = async {
        let (mut chain, mut tickets) = (ChainBuilder::new(), Vec::<Ticket>::new());
        for request in workload.requests() {
            sleep_until(start + Duration::from_nanos((request.at.0 as f64 / 1000.0 / scale) as u64)).await;
            workload.chain(request, &mut chain);
            let prompt = &chain.pieces()[..chain.pieces().len() - 1];
            let (pieces, output, session) = (prompt.to_vec(), request.output, request.session);
            tickets.push(
                entrance
                    .submit(vec![Submission { pieces, output, session, api: path.api, asked: None, tokens: None }])
                    .expect("it runs"),
            );
        }
        for (ticket, request) in tickets.iter_mut().zip(workload.requests()) {
            let all = ticket.until(|one| one.end.is_some()).await.expect("it runs");
            assert_eq!((all[0].end, all[0].tokens), (Some(End::Finished), request.output));
        }
        drop(tickets);
        entrance.stop();
    };
    tokio::join!(engine.run(), play).0
}

async fn check(world: &World, seed: u64, api: Api) {
    let (workload, path) = (script(seed), Path { latency: Span::from_micros(3_700), api, names_session: true });
    let (expected, preemptions) = simulated(world, &workload, path);
    assert!(preemptions > 0, "the script is meant to make caches overflow");
    let stats = emulated(world, &workload, path, 1.0).await;
    let live = stats.recording.expect("it was recorded").trail;
    assert_eq!(live.decisions, expected.decisions, "{world:?}: decisions");
    assert_eq!(live.passes.len(), expected.passes.len(), "{world:?}: number of passes");
    for (index, (live, expected)) in live.passes.iter().zip(&expected.passes).enumerate() {
        assert_eq!(live, expected, "{world:?}: pass {index}");
    }
    assert_eq!((stats.completed, stats.left), (workload.requests().len() as u64, 0));
}

#[tokio::test(start_paused = true)]
async fn one_script_two_shells() {
    for strategy in [Strategy::RoundRobin, Strategy::KvAware, Strategy::PrefixAware, Strategy::Session] {
        for async_scheduling in [false, true] {
            let world =
                World { async_scheduling, capacity: Blocks(48), max_model_len: Tokens(768), ..World::new(3, strategy) };
            for seed in 0..4 {
                check(&world, seed, Api::Completions).await;
            }
            check(&world, 4, Api::Chat).await;
            check_tenfold(&world).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_script_two_shells_with_lower_tiers() {
    for load in [LoadMode::Blocking, LoadMode::Overlapped, LoadMode::Layerwise] {
        for async_scheduling in [false, true] {
            let (lower, capacity, max_model_len) = (Some(load), Blocks(48), Tokens(768));
            let world =
                World { async_scheduling, lower, capacity, max_model_len, ..World::new(3, Strategy::RoundRobin) };
            for seed in 0..4 {
                check(&world, seed, Api::Completions).await;
            }
            check_tenfold(&world).await;
        }
    }
}

/// Ten modelled seconds per second: wake-ups are ten times as late, and nothing changes.
async fn check_tenfold(world: &World) {
    let workload = script(5).sped_up(0.1);
    let path = Path { latency: Span::from_micros(3_700), api: Api::Completions, names_session: true };
    let (expected, _) = simulated(world, &workload, path);
    let stats = emulated(world, &workload, path, 10.0).await;
    assert_eq!(stats.recording.expect("it was recorded").trail, expected, "{world:?}");
}
