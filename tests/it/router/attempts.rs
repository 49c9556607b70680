//! Requests that are tried again, what is heard late of earlier attempts, and how old what was heard is.

use super::corrected::forecast;
use super::{Chance, prompt};
use kvcache::{Chain, Epoch, Piece, RequestId, Span, Time, Tokens, WorkerId};
use router::{Api, Decision, Forecast, RouteRequest, Router, RouterConfig, Signal, Strategy, WorkerLoad};

const fn at(millis: u64) -> Time {
    Time(Span::from_millis(millis).0)
}

fn route(router: &mut Router, request: u64, pieces: &[Piece], excluded: &[WorkerId], now: Time) -> Decision {
    let chain = Chain::new(pieces, Tokens(1));
    let asked = RouteRequest { request: RequestId(request), session: None, chain, api: Api::Chat };
    router.route(&asked, excluded, now).expect("somebody is available")
}

/// Whatever is tried again, and however it ends, a router with nothing in flight decides as a new one does.
#[test]
fn attempts_that_failed_leave_nothing_behind() {
    for strategy in Strategy::ALL.into_iter().filter(|strategy| strategy.cost().is_some()) {
        // What was sent counts for nothing soon after, so that only what waits could differ.
        let config = RouterConfig { speculative: Span(1), ..RouterConfig::new(strategy, 4) };
        let mut router = Router::new(config);
        let mut chance = Chance::new(1);
        for request in 0..5000 {
            let now = at(request * 10);
            let pieces = prompt(&[(request, 1024)]);
            let mut failed = Vec::new();
            let worker = loop {
                let worker = route(&mut router, request, &pieces, &failed, now).worker;
                assert!(!failed.contains(&worker));
                if failed.len() == 3 || chance.percent(50) {
                    break worker;
                }
                failed.push(worker);
            };
            // The dead are heard of late, if at all.
            if let Some(late) = failed.first() {
                router.observe(*late, Signal::FirstToken(RequestId(request)), now, now);
                router.observe(*late, Signal::Finished(RequestId(request)), now, now);
                assert_eq!(router.loads().load(worker).prefilling, 1, "{strategy}: it is elsewhere");
            }
            if chance.percent(80) {
                router.observe(worker, Signal::FirstToken(RequestId(request)), now, now);
            }
            router.observe(worker, Signal::Finished(RequestId(request)), now, now);
            assert!(router.loads().loads().iter().all(|load| *load == WorkerLoad::default()), "{strategy}");
        }
        router.loads().check();
        let (now, pieces) = (at(60_000), prompt(&[(1 << 40, 1024)]));
        let costs = |decision: &Decision| decision.scores.iter().map(|score| score.cost).collect::<Vec<_>>();
        let after = costs(&route(&mut router, 1 << 40, &pieces, &[], now));
        assert_eq!(after, costs(&route(&mut Router::new(config), 0, &pieces, &[], now)), "{strategy}");
    }
}

#[test]
fn costs_have_no_end_that_panics() {
    let config = RouterConfig { externality: u16::MAX, ..RouterConfig::new(Strategy::PredictedTtft, 1) };
    let mut router = Router::new(config);
    for request in 0..60_000 {
        // An hour each; all of them wait.
        route(&mut router, request, &prompt(&[(request, 72_000_000)]), &[], Time::ZERO);
    }
    let decision = route(&mut router, 60_000, &prompt(&[(60_000, 72_000_000)]), &[], Time::ZERO);
    assert_eq!(decision.scores[0].cost, Some(u64::MAX));
}

/// Who decides by what workers say tells how long ago they said it; who does not says nothing.
#[test]
fn decisions_tell_how_old_their_signals_are() {
    for strategy in Strategy::ALL {
        let mut router = Router::new(RouterConfig::new(strategy, 2));
        let pieces = prompt(&[(1, 1024)]);
        let first = route(&mut router, 0, &pieces, &[WorkerId(1)], Time::ZERO);
        assert_eq!(first.age, None, "{strategy}: nothing was heard");
        router.observe(WorkerId(0), Signal::FirstToken(RequestId(0)), at(100), at(150));
        // What left earlier and comes later makes it no older.
        router.observe(WorkerId(0), Signal::Finished(RequestId(0)), at(70), at(160));
        let decision = route(&mut router, 1, &pieces, &[WorkerId(1)], at(300));
        let reads = strategy.cost().is_some();
        assert_eq!(decision.age, reads.then_some(Span::from_millis(200)), "{strategy}");
        let ages: Vec<_> = decision.scores.iter().filter_map(|score| score.age).collect();
        assert_eq!(
            ages,
            if reads { vec![Span::from_millis(200)] } else { vec![] },
            "{strategy}: of 1 nothing is known"
        );
    }
}

/// Who takes the number of a worker that is gone is a stranger, whatever life it is in.
#[test]
fn of_a_number_that_is_taken_anew_nothing_is_known() {
    for strategy in [Strategy::KvAwarePlus, Strategy::PredictedTtft] {
        let mut router = Router::new(RouterConfig::new(strategy, 2));
        let pieces = prompt(&[(1, 1024)]);
        router.observe(WorkerId(0), Signal::Restarted(Epoch(3)), at(0), at(0));
        router.forget(WorkerId(0));
        assert_eq!(route(&mut router, 0, &pieces, &[WorkerId(1)], at(1)).age, None, "{strategy}");
        router.observe(WorkerId(0), Signal::Finished(RequestId(0)), at(2), at(2));
        // The stranger is in its third life, of which 0 was sent a prompt in the one before.
        let known = |router: &mut Router, request, now| {
            route(router, request, &pieces, &[WorkerId(1)], now).matched.expect("it looked")
        };
        assert!(known(&mut router, 1, at(3)) > Tokens::ZERO, "{strategy}: it was sent that");
        router.observe(WorkerId(0), Signal::Finished(RequestId(1)), at(4), at(4));
        router.heartbeat(WorkerId(0), Epoch(3), 0, at(5), at(5));
        assert_eq!(known(&mut router, 2, at(6)), Tokens::ZERO, "{strategy}: and restarted");
    }
}

/// Coefficients that left their worker earlier and come later change nothing.
#[test]
fn the_newest_forecast_counts() {
    let expected = |told: &[(u64, u64)]| {
        let mut router = Router::new(RouterConfig::new(Strategy::PredictedTtft, 1));
        for (as_of, micros) in told {
            let forecast = Forecast { per_new_token: Span::from_micros(*micros), as_of: at(*as_of), ..forecast() };
            router.observe(WorkerId(0), Signal::Forecast(forecast), at(*as_of), at(100));
        }
        route(&mut router, 0, &prompt(&[(1, 1024)]), &[], at(100)).scores[0].expected.expect("it predicts")
    };
    assert_eq!(expected(&[(20, 50), (10, 5000)]), expected(&[(20, 50)]));
    assert_eq!(expected(&[(10, 5000), (20, 50)]), expected(&[(20, 50)]));
    assert!(expected(&[(10, 5000)]) > expected(&[(20, 50)]));
}

/// What is expected of a worker goes by its own coefficients, whatever those of others are, before and after they change.
#[test]
fn each_worker_is_expected_to_be_itself() {
    let fast = forecast();
    let slow = Forecast { per_new_token: Span::from_millis(3), per_context_token: Span::from_micros(1), ..fast };
    let expected = |told: &[(u16, Forecast)], request: u64| {
        let mut router = Router::new(RouterConfig::new(Strategy::PredictedTtft, 4));
        // Worker 2 was sent a half of it, and 1 and 2 decode.
        for (request, worker, pieces) in [(100, 2, prompt(&[(1, 1024)])), (101, 1, prompt(&[(9, 4096)]))] {
            let others: Vec<_> = (0..4).map(WorkerId).filter(|other| other.0 != worker).collect();
            route(&mut router, request, &pieces, &others, at(100));
            router.observe(WorkerId(worker), Signal::FirstToken(RequestId(request)), at(100), at(100));
        }
        for (worker, forecast) in told {
            router.observe(WorkerId(*worker), Signal::Forecast(*forecast), at(100), at(100));
        }
        let decision = route(&mut router, request, &prompt(&[(1, 1024), (2, 1024)]), &[], at(100));
        decision.scores.iter().map(|score| score.expected.expect("it predicts")).collect::<Vec<_>>()
    };
    let all = |forecast| expected(&[0, 1, 2, 3].map(|worker| (worker, forecast)), 0);
    let (all_fast, all_slow) = (all(fast), all(slow));
    assert!(all_fast.iter().zip(&all_slow).all(|(fast, slow)| fast < slow), "{all_fast:?} {all_slow:?}");
    for kinds in 0..16_u16 {
        let is_slow = |worker: u16| kinds >> worker & 1 == 1;
        let told = [0, 1, 2, 3].map(|worker| (worker, if is_slow(worker) { slow } else { fast }));
        let mixed: Vec<_> =
            (0..4).map(|worker| if is_slow(worker) { &all_slow } else { &all_fast }[usize::from(worker)]).collect();
        assert_eq!(expected(&told, 0), mixed, "{kinds:04b}");
        // The same after each was something else.
        let swapped = told.map(|(worker, forecast)| (worker, if forecast == slow { fast } else { slow }));
        assert_eq!(expected(&[swapped, told].concat(), 0), mixed, "{kinds:04b}");
    }
}
