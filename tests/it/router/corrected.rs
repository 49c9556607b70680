//! podlab's strategies by hand: the reasoning stands beside the numbers.

use super::{Gateway, prompt};
use kvcache::{CacheEvent, Change, Epoch, Piece, PieceKey, RequestId, Span, TierCost, Time, Tokens, WorkerId};
use router::{
    Api, Decision, Forecast, Loading, LowerTiers, Reason, RouteRequest, Router, RouterConfig, Signal, Strategy,
};

/// A router, the time, and who serves what.
struct Desk {
    router: Router,
    next: u64,
    millis: u64,
    told: Vec<u64>,
}

impl Desk {
    fn new(strategy: Strategy, workers: u16) -> Self {
        Self::with(RouterConfig::new(strategy, workers))
    }

    fn with(config: RouterConfig) -> Self {
        Self { told: vec![0; usize::from(config.workers)], router: Router::new(config), next: 0, millis: 0 }
    }

    fn now(&self) -> Time {
        Time::ZERO + Span::from_millis(self.millis)
    }

    fn decide(&mut self, pieces: &[Piece], session: Option<u64>, excluded: &[u16]) -> Decision {
        let excluded: Vec<_> = excluded.iter().map(|worker| WorkerId(*worker)).collect();
        let chain = kvcache::Chain::new(pieces, Tokens(1));
        let session = session.map(kvcache::SessionId);
        let asked = RouteRequest { request: RequestId(self.next), session, chain, api: Api::Chat };
        self.next += 1;
        self.router.route(&asked, &excluded, self.now()).expect("somebody is available")
    }

    /// The worker chosen.
    fn ask(&mut self, pieces: &[Piece], excluded: &[u16]) -> u16 {
        self.decide(pieces, None, excluded).worker.0
    }

    fn first_token(&mut self, worker: u16, request: u64) {
        let now = self.now();
        self.router.observe(WorkerId(worker), Signal::FirstToken(RequestId(request)), now, now);
    }

    fn finish(&mut self, worker: u16, request: u64) {
        let now = self.now();
        self.router.observe(WorkerId(worker), Signal::Finished(RequestId(request)), now, now);
    }

    /// A worker tells that it holds the first `upto` tokens of a prompt of one piece.
    fn holds(&mut self, worker: u16, pieces: &[Piece], upto: u32) {
        let (now, sequence) = (self.now(), self.told[usize::from(worker)]);
        let change = Change::Stored {
            parent: PieceKey::ROOT,
            start: Tokens(0),
            upto: Tokens(upto),
            pieces: [pieces[0]].into(),
            strand: None,
        };
        self.told[usize::from(worker)] += 1;
        let event = CacheEvent { epoch: Epoch(0), sequence, change };
        self.router.observe(WorkerId(worker), Signal::Cache(&[event]), now, now);
    }
}

fn costs(decision: &Decision) -> Vec<Option<u64>> {
    decision.scores.iter().map(|score| score.cost).collect()
}

#[test]
fn the_least_loaded_is_counted_by_requests_then_by_tokens() {
    let mut desk = Desk::new(Strategy::LeastLoaded, 3);
    let (short, long) = (prompt(&[(1, 100)]), prompt(&[(2, 900)]));
    // One each, the lowest number first: 0 has 900 tokens to compute, 1 and 2 have 100.
    assert_eq!([desk.ask(&long, &[]), desk.ask(&short, &[]), desk.ask(&short, &[])], [0, 1, 2]);
    // All have one: the fewest tokens, the lowest number. Then 2, then 0.
    assert_eq!([desk.ask(&short, &[]), desk.ask(&short, &[])], [1, 2]);
    assert_eq!(desk.ask(&short, &[]), 0, "one against two and two");
    // A first token takes the tokens away, not the request; an end takes both.
    desk.first_token(0, 0);
    assert_eq!(desk.ask(&short, &[]), 0, "two each, and 100 tokens there against 200");
    desk.finish(1, 1);
    assert_eq!(desk.ask(&short, &[]), 1);
    let decision = desk.decide(&short, None, &[1]);
    assert_eq!((decision.worker.0, decision.reason), (2, Reason::LeastLoaded));
    assert_eq!(costs(&decision), [Some(3), None, Some(2)], "who is excluded has no cost");
}

#[test]
fn the_less_loaded_of_two_is_never_the_busier() {
    let mut desk = Desk::new(Strategy::TwoChoices, 5);
    let pieces = prompt(&[(1, 10)]);
    // 3 is busier than anybody will get: it is chosen only against itself, which is never drawn.
    (0..200).for_each(|_| assert_eq!(desk.ask(&pieces, &[0, 1, 2, 4]), 3));
    let mut sent = [0; 5];
    for _ in 0..400 {
        let decision = desk.decide(&pieces, None, &[]);
        let Reason::LessLoadedOfTwo { other } = decision.reason else { panic!("{decision:?}") };
        let load = |worker: WorkerId| decision.scores[worker.index()].cost.expect("available");
        assert!(other != decision.worker && load(decision.worker) <= load(other), "{decision:?}");
        sent[decision.worker.index()] += 1;
    }
    assert_eq!(sent[3], 0);
    // Power of two choices: the others keep together.
    assert!([0, 1, 2, 4].iter().all(|worker| (95..=105).contains(&sent[*worker])), "{sent:?}");
    // The only one available is compared with itself.
    assert_eq!(desk.decide(&pieces, None, &[0, 1, 2, 4]).reason, Reason::LessLoadedOfTwo { other: WorkerId(3) });
}

#[test]
fn random_is_uniform() {
    let mut desk = Desk::new(Strategy::Random, 4);
    let mut sent = [0; 4];
    (0..9000).for_each(|_| sent[usize::from(desk.ask(&[], &[1]))] += 1);
    // 3,000 each, with a standard deviation of 45.
    assert!(sent[1] == 0 && [0, 2, 3].iter().all(|worker| (2820..3180).contains(&sent[*worker])), "{sent:?}");
}

#[test]
fn a_session_keeps_its_worker_while_that_has_room() {
    let mut desk = Desk::new(Strategy::SessionPlus, 4);
    let pieces = prompt(&[(1, 10)]);
    let mut compat = Gateway::new(Strategy::Session, 4);
    let home = compat.ask(&pieces, Some(9), &[], 0).expect("all are available").worker;
    // n requests in flight, then one more: nobody may have more than ceil(1.25 (n + 1) / 4) of them. So the first stays at
    // home (limit 1), and 2 to 4 go elsewhere (limit 1, 1, 2 of 3, 4).
    let mut loads = [0_u64; 4];
    for in_flight in 0..60 {
        let decision = desk.decide(&pieces, Some(9), &[]);
        let Reason::RingWithRoom { passed } = decision.reason else { panic!("{decision:?}") };
        let limit = (1250 * (in_flight + 1_u64)).div_ceil(4000);
        loads[decision.worker.index()] += 1;
        assert!(loads[decision.worker.index()] <= limit, "{loads:?} at {in_flight}");
        let room = loads[home.index()] - u64::from(decision.worker == home) < limit;
        assert_eq!((decision.worker == home, passed == 0), (room, room), "home while there is room: {decision:?}");
        assert!(passed < 4, "no worker is full twice: {decision:?}");
    }
    // All ends: it comes back.
    for request in 0..60 {
        let worker = desk.router.loads().worker(RequestId(request)).expect("in flight").0;
        desk.finish(worker, request);
    }
    assert_eq!(desk.decide(&pieces, Some(9), &[]).worker, home);
    // Without a session: by load.
    assert_eq!(desk.decide(&pieces, None, &[]).reason, Reason::LeastLoaded);
}

#[test]
fn the_longest_prefix_is_kept_within_the_slack() {
    let config = RouterConfig { load_slack: 2, ..RouterConfig::new(Strategy::PrefixAwarePlus, 3) };
    let mut desk = Desk::with(config);
    let (mine, other) = (prompt(&[(1, 320)]), prompt(&[(2, 320)]));
    let mut tell = |pieces: &[Piece]| {
        let decision = desk.decide(pieces, None, &[]);
        (decision.worker.0, decision.reason, decision.matched.map(|tokens| tokens.0))
    };
    // Nobody was sent it: the least loaded. Then it stays, until 0 has two requests more than the least loaded, and stays
    // still; with three it would be too many.
    assert_eq!(tell(&mine), (0, Reason::LeastLoaded, Some(0)));
    assert_eq!(tell(&mine), (0, Reason::LongestPrefix, Some(320)));
    assert_eq!(tell(&mine), (0, Reason::LongestPrefix, Some(320)));
    assert_eq!(tell(&mine), (1, Reason::LeastLoaded, Some(0)), "3 - 0 > 2: nobody else was sent anything");
    // 1 was sent it, too, and has less to do.
    assert_eq!(tell(&mine), (1, Reason::LongestPrefix, Some(320)));
    assert_eq!(tell(&other), (2, Reason::LeastLoaded, Some(0)), "a miss goes to the least loaded");
    assert_eq!(tell(&other), (2, Reason::LongestPrefix, Some(320)));
}

#[test]
fn what_half_of_all_ask_for_is_sent_to_more() {
    let mut desk = Desk::new(Strategy::PrefixAwarePlus, 4);
    let hot = prompt(&[(1, 320)]);
    let mut spread = Vec::new();
    for request in 0..100 {
        let cold = prompt(&[(100 + request % 25, 320)]);
        let pieces = if request % 2 == 0 { &hot } else { &cold };
        let decision = desk.decide(pieces, None, &[]);
        if let Reason::HotPrefix { holders, wanted } = decision.reason {
            spread.push((holders, wanted));
        }
        desk.finish(decision.worker.0, request);
    }
    // Half of all requests are for the hot prefix (the first found nothing, so a little less): 4 * 0.5 * 1.25 = 2.5, so of
    // four workers three should have it. Cold ones have 1/50 each: one worker serves that.
    assert!(spread.iter().all(|(holders, wanted)| holders < wanted && *wanted <= 3), "{spread:?}");
    assert_eq!(spread.iter().map(|(holders, _)| *holders).collect::<Vec<_>>(), [1, 2], "one after the other");
}

#[test]
fn what_few_ask_for_stays_where_it_is() {
    // One request in twenty is for the prefix, the others are for nothing that was there before.
    let mut desk = Desk::new(Strategy::PrefixAwarePlus, 7);
    let mut reasons = Vec::new();
    for request in 0..1000_u64 {
        let pieces = if request % 20 == 0 { prompt(&[(1, 320)]) } else { prompt(&[(100 + request, 320)]) };
        let decision = desk.decide(&pieces, None, &[]);
        if request % 20 == 0 {
            reasons.push(decision.reason);
        }
        desk.finish(decision.worker.0, request);
    }
    assert_eq!(reasons.remove(0), Reason::LeastLoaded);
    assert_eq!(reasons, [Reason::LongestPrefix; 49], "a seventh of all is 143, and these are 50");
}

#[test]
fn what_many_ask_for_goes_to_nobody_who_is_overloaded() {
    let mut desk = Desk::new(Strategy::PrefixAwarePlus, 2);
    let hot = prompt(&[(1, 320)]);
    // 1 has 65 requests, one more than 0 may be passed over for.
    (0..65).for_each(|cold| assert_eq!(desk.ask(&prompt(&[(100 + cold, 320)]), &[0]), 1));
    for _ in 0..150 {
        let decision = desk.decide(&hot, None, &[]);
        assert_eq!(decision.worker.0, 0);
        let request = desk.next - 1;
        desk.finish(0, request);
    }
    // One of them ends: 64 is within the slack, and the prefix is hot.
    desk.finish(1, 0);
    let decision = desk.decide(&hot, None, &[]);
    assert_eq!((decision.worker.0, decision.reason), (1, Reason::HotPrefix { holders: 1, wanted: 2 }));
}

#[test]
fn the_fewest_tokens_to_compute() {
    let lower = LowerTiers { chunk: Tokens(256), l1: Some(1 << 20), l2: Some(1 << 20) };
    let speculative = Span::from_millis(1);
    let mut desk =
        Desk::with(RouterConfig { lower: Some(lower), speculative, ..RouterConfig::new(Strategy::KvAwarePlus, 4) });
    let pieces = prompt(&[(1, 4096)]);
    // Sent to 3, which computed it; its device told of 1,024 tokens.
    assert_eq!(desk.ask(&pieces, &[0, 1, 2]), 3);
    desk.first_token(3, 0);
    desk.finish(3, 0);
    desk.millis = 1000;
    desk.holds(3, &pieces, 1024);
    // 1 has other work: 2,000 tokens to compute, and 2,000 of context, of which a tenth counts.
    assert_eq!(desk.ask(&prompt(&[(2, 2000)]), &[0, 2, 3]), 1);
    let decision = desk.decide(&pieces, None, &[]);
    // 4,096 tokens, of which the last block is computed in any case: 4,080 may be had. The pool has them for 0.5 each:
    // 4096 - 2040 = 2056 at 0 and 2; 2056 + 2000 + 200 at 1. At 3: 1,024 whole, 3,056 of the host for 0.75 each (2,292).
    assert_eq!(costs(&decision), [Some(2056), Some(4256), Some(2056), Some(4096 - 1024 - 2292)]);
    assert_eq!((decision.worker.0, decision.reason), (3, Reason::LowestCost { tied: 1 }), "in a chat, too");
    let matched = decision.scores[3].matched.expect("it looks");
    assert_eq!((matched.l0.0, matched.l1.0, matched.l2.0), (1024, 3056, 0));
    assert_eq!((decision.matched, decision.best), (Some(Tokens(4080)), Some(Tokens(4080))));
    assert_eq!(decision.age, Some(Span::ZERO), "3 told it just now");
    // What was sent counts as computed: 16 tokens are left. It has one in flight: 16 tokens to compute, and 4,096 of context.
    // So n in flight cost 16 + 425.6 n: with five that is more than loading from the pool at 0.
    let next = desk.decide(&pieces, None, &[]);
    assert_eq!((next.worker.0, next.scores[3].cost), (3, Some(16 + 16 + 409)));
    assert_eq!([(); 4].map(|()| desk.ask(&pieces, &[])), [3, 3, 3, 0]);
}

/// A token takes 1 ms, a pass nothing but its tokens, the device holds 10,000.
pub(super) fn forecast() -> Forecast {
    Forecast {
        fixed: Span::ZERO,
        least: Span::ZERO,
        per_new_token: Span::from_millis(1),
        per_1024_pairs: Span::ZERO,
        per_context_token: Span::ZERO,
        pass: Tokens(8192),
        l1: TierCost { fixed: Span::from_millis(20), per_token: Span::from_micros(500) },
        l2: TierCost { fixed: Span::from_millis(50), per_token: Span::from_micros(900) },
        loading: Loading::WhereFaster,
        capacity: 10_000,
        as_of: Time::ZERO,
    }
}

fn predicting(config: RouterConfig) -> Desk {
    let mut desk = Desk::with(RouterConfig { externality: 0, lost_again: 0, ..config });
    for worker in 0..config.workers {
        desk.router.observe(WorkerId(worker), Signal::Forecast(forecast()), Time::ZERO, Time::ZERO);
    }
    desk
}

fn expected(decision: &Decision) -> Vec<Option<u64>> {
    decision.scores.iter().map(|score| score.expected.map(|span| span.0 / 1_000_000_000)).collect()
}

#[test]
fn a_queue_drains_with_time() {
    let speculative = Span::from_millis(1);
    let mut desk = predicting(RouterConfig { speculative, ..RouterConfig::new(Strategy::PredictedTtft, 2) });
    assert_eq!(desk.ask(&prompt(&[(1, 400)]), &[1]), 0);
    assert_eq!(desk.ask(&prompt(&[(2, 300)]), &[1]), 0);
    // 700 ms wait at 0, nobody at 1.
    let decision = desk.decide(&prompt(&[(3, 100)]), None, &[]);
    assert_eq!((expected(&decision), decision.worker.0), (vec![Some(800), Some(100)], 1));
    // 150 ms later 550 are left at 0; 1 has been done with its 100 for 50 ms, though it has not said so: no less than none.
    desk.millis = 150;
    assert_eq!(expected(&desk.decide(&prompt(&[(4, 100)]), None, &[1])), [Some(650), None]);
    // The first took 600 ms instead of 400: until it is heard of, 300 + 100 are left; then the second has just begun.
    desk.millis = 600;
    assert_eq!(expected(&desk.decide(&prompt(&[(5, 10)]), None, &[1])), [Some(410), None]);
    desk.first_token(0, 0);
    assert_eq!(expected(&desk.decide(&prompt(&[(6, 10)]), None, &[1])), [Some(300 + 100 + 10 + 10), None]);
    // Who is taken back waits no more.
    desk.finish(0, 1);
    assert_eq!(expected(&desk.decide(&prompt(&[(7, 10)]), None, &[1])), [Some(100 + 10 + 10 + 10), None]);
}

#[test]
fn what_is_held_is_weighed_against_who_waits() {
    let speculative = Span::from_millis(1);
    let mut desk = predicting(RouterConfig { speculative, ..RouterConfig::new(Strategy::PredictedTtft, 2) });
    let pieces = prompt(&[(1, 1024)]);
    desk.holds(0, &pieces, 1024);
    // All but the last block is there: 16 ms against 1,024.
    let decision = desk.decide(&pieces, None, &[]);
    assert_eq!((expected(&decision), decision.worker.0), (vec![Some(16), Some(1024)], 0));
    desk.finish(0, 0);
    // Behind 1,000 tokens of somebody else it still is better to wait (1,016 against 1,024), behind 1,010 not.
    for (others, chosen) in [(1000, 0), (1010, 1)] {
        assert_eq!(desk.ask(&prompt(&[(u64::from(others), others)]), &[1]), 0);
        let request = desk.next - 1;
        let decision = desk.decide(&pieces, None, &[]);
        assert_eq!(decision.worker.0, chosen, "{decision:?}");
        assert_eq!(decision.regret(), Some(Tokens(if chosen == 0 { 0 } else { 1008 })));
        desk.finish(0, request);
        desk.finish(chosen, request + 1);
    }
}

#[test]
fn what_a_tier_has_is_loaded_where_that_is_faster() {
    let lower = LowerTiers { chunk: Tokens(256), l1: Some(1 << 20), l2: Some(1 << 20) };
    for (loading, l1, l2) in [
        // 1,008 tokens: 20 + 504 + 16 from the host, 50 + 907.2 + 16 from the pool, 1,024 computed.
        (Loading::WhereFaster, 540, 973),
        (Loading::Always, 540, 973),
        (Loading::Never, 1024, 1024),
    ] {
        let speculative = Span::from_millis(1);
        let config = RouterConfig { speculative, lower: Some(lower), ..RouterConfig::new(Strategy::PredictedTtft, 2) };
        let mut desk = predicting(config);
        let pieces = prompt(&[(1, 1024)]);
        for worker in [0, 1] {
            let now = Time::ZERO;
            desk.router.observe(WorkerId(worker), Signal::Forecast(Forecast { loading, ..forecast() }), now, now);
        }
        assert_eq!(desk.ask(&pieces, &[0]), 1);
        desk.finish(1, 0);
        desk.millis = 1000;
        assert_eq!(expected(&desk.decide(&pieces, None, &[])), [Some(l2), Some(l1)], "{loading:?}");
    }
    // Of 256 tokens the pool is slower than computing: 50 + 230.4 + 16 against 256 + 16.
    let config = RouterConfig { lower: Some(lower), ..RouterConfig::new(Strategy::PredictedTtft, 2) };
    let mut desk = predicting(RouterConfig { speculative: Span::from_millis(1), ..config });
    let short = prompt(&[(1, 272)]);
    assert_eq!(desk.ask(&short, &[0]), 1);
    desk.finish(1, 0);
    desk.millis = 1000;
    assert_eq!(expected(&desk.decide(&short, None, &[1])), [Some(272), None]);
}

#[test]
fn what_others_lose_counts() {
    let config = RouterConfig { speculative: Span::from_millis(1), ..RouterConfig::new(Strategy::PredictedTtft, 2) };
    let mut desk = predicting(config);
    for worker in [0, 1] {
        let now = Time::ZERO;
        desk.router.observe(WorkerId(worker), Signal::Forecast(forecast()), now, now);
    }
    // 0 holds 9,600 of its 10,000 tokens: 1,000 new ones displace 600. 1 is empty.
    desk.holds(0, &prompt(&[(9, 9600)]), 9600);
    let decision = desk.decide(&prompt(&[(1, 1000)]), None, &[]);
    let displaced: Vec<_> = decision.scores.iter().map(|score| score.displaced).collect();
    assert_eq!((displaced, decision.worker.0), (vec![Some(Tokens(600)), Some(Tokens(0))], 1));
    // Without a loss the two are equal, and the one that holds less is taken; with it, the costs differ by half of 600 ms.
    assert_eq!(costs(&decision), [Some(1_000_000_000_000); 2]);
    let mut desk = Desk::with(RouterConfig { externality: 0, lost_again: 500, ..config });
    for worker in [0, 1] {
        desk.router.observe(WorkerId(worker), Signal::Forecast(forecast()), Time::ZERO, Time::ZERO);
    }
    desk.holds(0, &prompt(&[(9, 9600)]), 9600);
    let decision = desk.decide(&prompt(&[(1, 1000)]), None, &[]);
    assert_eq!(costs(&decision), [Some(1_300_000_000_000), Some(1_000_000_000_000)]);
}

#[test]
fn own_work_counts_for_those_who_wait() {
    let config = RouterConfig {
        lost_again: 0,
        speculative: Span::from_millis(1),
        ..RouterConfig::new(Strategy::PredictedTtft, 2)
    };
    let mut desk = Desk::with(config);
    for worker in [0, 1] {
        desk.router.observe(WorkerId(worker), Signal::Forecast(forecast()), Time::ZERO, Time::ZERO);
    }
    let pieces = prompt(&[(1, 1024)]);
    desk.holds(0, &pieces, 1024);
    // Two wait at each: 2,000 ms at 0, 500 at 1. For itself the request would rather compute all at 1 (1,524 ms) than wait
    // at 0 (2,016 ms). But an average worker has two who wait: 1,024 ms of work cost 2,048 more there, 16 ms cost 32 here.
    for (worker, tokens) in [(0, 1000), (0, 1000), (1, 250), (1, 250)] {
        let next = desk.next;
        assert_eq!(desk.ask(&prompt(&[(100 + next, tokens)]), &[1 - worker]), worker);
    }
    let decision = desk.decide(&pieces, None, &[]);
    assert_eq!(expected(&decision), [Some(2016), Some(1524)]);
    assert_eq!(costs(&decision), [Some(2_048_000_000_000), Some(3_572_000_000_000)]);
    assert_eq!(decision.worker.0, 0);
}
