//! Signals that take a while: what happened since the latest of them is expected, not ignored.

use super::corrected::forecast;
use super::prompt;
use kvcache::{Chain, Piece, RequestId, Span, Time, Tokens, WorkerId};
use router::{Api, Decision, RouteRequest, Router, RouterConfig, Signal, Strategy};

const fn at(millis: u64) -> Time {
    Time(Span::from_millis(millis).0)
}

fn route(router: &mut Router, request: u64, pieces: &[Piece], now: u64) -> Decision {
    let chain = Chain::new(pieces, Tokens(1));
    let asked = RouteRequest { request: RequestId(request), session: None, chain, api: Api::Chat };
    router.route(&asked, &[], at(now)).expect("somebody is available")
}

/// One worker, to which prompts of so many tokens were sent, a millisecond of work each, at these times. Signals take `lag`,
/// as one told at the time `heard`.
fn sent(lag: u64, heard: u64, requests: &[(u32, u64)]) -> Router {
    let config = RouterConfig { externality: 0, ..RouterConfig::new(Strategy::PredictedTtft, 1) };
    let mut router = Router::new(config);
    router.observe(WorkerId(0), Signal::Forecast(forecast()), at(heard - lag), at(heard));
    for (number, (tokens, time)) in (0..).zip(requests) {
        route(&mut router, number, &prompt(&[(1000 + number, *tokens)]), *time);
    }
    router
}

/// How long a prompt of 100 tokens would wait, in milliseconds.
fn wait(router: &mut Router, now: u64) -> u64 {
    let decision = route(router, 99, &prompt(&[(9, 100)]), now);
    decision.scores[0].expected.expect("it predicts").0 / Span::from_millis(1).0 - 100
}

#[test]
fn queues_move_on_while_signals_are_under_way() {
    // Two of a second each, at 0 and 0.1 s. Where signals are immediate, none says that the first is still at work.
    let requests = [(1000, 10_000), (1000, 10_100)];
    for (now, left) in [(10_500, 1500), (11_000, 1000), (15_000, 1000)] {
        assert_eq!(wait(&mut sent(0, 10_000, &requests), now), left, "at {now}");
    }
    // Where they take 2 s, at 11.9 s nothing of this is known, and both are taken to go on; at 12.5 s it is known that the
    // first was not done at 10.5 s; at 15 s, that it was not at 13 s: it may be done at once, then comes the second.
    for (now, left) in [(10_500, 1500), (11_900, 100), (12_000, 0), (12_500, 0), (15_000, 0)] {
        assert_eq!(wait(&mut sent(2000, 10_000, &requests), now), left, "at {now}");
    }
    // A third at 14.8 s finds an idle worker, as far as anyone knows; at 14.1 s the other two were not done at 12.1 s.
    let more = [(1000, 10_000), (1000, 10_100), (1000, 14_800)];
    assert_eq!(wait(&mut sent(2000, 10_000, &more), 15_000), 800);
    // At 13.2 s comes news of 11.2 s: the first token of the first. The second began then, and ends at 12.2 s.
    for (now, left) in [(13_200, 0), (13_600, 0)] {
        let mut router = sent(2000, 10_000, &requests);
        router.observe(WorkerId(0), Signal::FirstToken(RequestId(0)), at(11_200), at(13_200));
        assert_eq!(wait(&mut router, now), left, "at {now}");
    }
    // News of 12.9 s at 14.9 s: it took far longer than expected. Of the second half a second is left at 13.4 s, and so on.
    let long = [(1000, 10_000), (3000, 10_100)];
    for (now, left) in [(14_900, 1000), (15_400, 500), (15_900, 0), (16_500, 0)] {
        let mut router = sent(2000, 10_000, &long);
        router.observe(WorkerId(0), Signal::FirstToken(RequestId(0)), at(12_900), at(14_900));
        assert_eq!(wait(&mut router, now), left, "at {now}");
    }
}

/// What began after the one before it had ended did not begin before it was sent.
#[test]
fn nobody_begins_before_it_was_sent() {
    for (now, left) in [(13_000, 3500), (15_000, 1500)] {
        let mut router = sent(2000, 10_000, &[(1000, 10_000), (4000, 12_500)]);
        router.observe(WorkerId(0), Signal::FirstToken(RequestId(0)), at(11_000), at(13_000));
        assert_eq!(wait(&mut router, now), left, "at {now}");
    }
}

/// News that one worker's signals take long changes nothing of another's.
#[test]
fn each_worker_has_its_own_lag() {
    let expected = |slow: bool| {
        let config = RouterConfig { externality: 0, ..RouterConfig::new(Strategy::PredictedTtft, 2) };
        let mut router = Router::new(config);
        for worker in 0..2 {
            router.observe(WorkerId(worker), Signal::Forecast(forecast()), at(10_000), at(10_000));
        }
        if slow {
            router.observe(WorkerId(1), Signal::Finished(RequestId(77)), at(5_000), at(10_000));
        }
        for request in [1, 2] {
            let pieces = prompt(&[(request, 1000)]);
            let chain = Chain::new(&pieces, Tokens(1));
            let asked = RouteRequest { request: RequestId(request), session: None, chain, api: Api::Chat };
            router.route(&asked, &[WorkerId(1)], at(10_000)).expect("0 is there");
        }
        // The first is overdue by 4 s, and nothing says that it is done: the second has all before it.
        route(&mut router, 3, &prompt(&[(3, 100)]), 15_000).scores[0].expected
    };
    assert_eq!((expected(true), expected(false)), (Some(Span::from_millis(1100)), Some(Span::from_millis(1100))));
}

/// Who waits behind others and goes away leaves the first as far as it has come.
#[test]
fn who_leaves_the_middle_of_a_queue_disturbs_nobody() {
    let requests = [(3000, 10_000), (1000, 10_100), (1000, 10_200)];
    for lag in [0, 500] {
        let mut router = sent(lag, 10_000, &requests);
        router.observe(WorkerId(0), Signal::Finished(RequestId(1)), at(12_000 - lag), at(12_000));
        assert_eq!(wait(&mut router, 12_500), 1500, "of 4 s 2.5 s are over; signals take {lag} ms");
    }
}

/// A request that is overdue at the moment of which news has come still waits then: the next one is not alone, and does not
/// wait for the end of a pass once more.
#[test]
fn the_overdue_still_wait() {
    let after = |lag: u64| {
        let config = RouterConfig { externality: 60_000, ..RouterConfig::new(Strategy::PredictedTtft, 1) };
        let mut router = Router::new(config);
        router.observe(WorkerId(0), Signal::Forecast(forecast()), at(10_000 - lag), at(10_000));
        route(&mut router, 0, &prompt(&[(1, 1000)]), 10_000);
        route(&mut router, 1, &prompt(&[(2, 100)]), 15_000).scores[0].cost
    };
    // Its work counts sixty times more for each that waits: none, and the cost would be that of an idle worker.
    let idle = Span::from_millis(100).0;
    assert!(after(1) > Some(50 * idle) && after(0) > Some(50 * idle), "{:?} {:?}", after(1), after(0));
}

/// What was sent counts as computed until the worker could have told: two seconds, and as long as signals take.
#[test]
fn what_was_sent_counts_until_it_could_be_told() {
    for strategy in [Strategy::KvAwarePlus, Strategy::PredictedTtft] {
        for (lag, later, held) in [
            (0, 1_999, true),
            (0, 2_600, false),
            (10_000, 11_999, true),
            (10_000, 15_100, false),
            (90_000, 61_999, true),
            (90_000, 78_000, false),
        ] {
            let mut router = Router::new(RouterConfig::new(strategy, 1));
            router.observe(WorkerId(0), Signal::Finished(RequestId(77)), at(100_000 - lag), at(100_000));
            let pieces = prompt(&[(1, 1024)]);
            route(&mut router, 0, &pieces, 100_000);
            let again = route(&mut router, 1, &pieces, 100_000 + later);
            // Clocks that differ by more than a minute count as a minute.
            assert_eq!(again.matched > Some(Tokens::ZERO), held, "{strategy}: {lag} ms, {later} ms later");
        }
    }
}
