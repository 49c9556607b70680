//! What a router knows of what nobody tells it: what was sent just now, what workers will have kept, and what lies below
//! their devices.

use super::{Gateway, prompt};
use kvcache::{CacheEvent, Change, Epoch, Piece, RequestId, Span, Time, Tokens, WorkerId};
use router::{Api, LowerTiers, RouteRequest, Router, RouterConfig, Signal, Snapshot, Strategy, TierTokens};

/// `kvaware+` on two workers, changed.
fn gateway(change: impl FnOnce(&mut RouterConfig)) -> Gateway {
    let mut config = RouterConfig::new(Strategy::KvAwarePlus, 2);
    change(&mut config);
    Gateway::with(config)
}

/// What each worker is thought to have of a prompt, asked `millis` after the start. Whoever is chosen has served it at once,
/// so that nobody is loaded.
fn known(gateway: &mut Gateway, pieces: &[Piece], excluded: &[u16], millis: u64) -> [TierTokens; 2] {
    let now = Time::ZERO + Span::from_millis(millis);
    let excluded: Vec<_> = excluded.iter().map(|worker| WorkerId(*worker)).collect();
    let request = RequestId(gateway.asked);
    let chain = kvcache::Chain::new(pieces, Tokens(1));
    let asked = RouteRequest { request, session: None, chain, api: Api::Completions };
    gateway.asked += 1;
    let decision = gateway.router.route(&asked, &excluded, now).expect("somebody is available");
    gateway.router.observe(decision.worker, Signal::Finished(request), now, now);
    [0, 1].map(|worker: usize| decision.scores[worker].matched.expect("it looks"))
}

const fn l0(tokens: u32) -> TierTokens {
    TierTokens { l0: Tokens(tokens), l1: Tokens(0), l2: Tokens(0) }
}

/// A prompt of 1,024 tokens; the last token is computed in any case, and with it the last of its 64 blocks.
fn long(content: u64) -> Vec<Piece> {
    prompt(&[(content, 1024)])
}

#[test]
fn what_was_sent_counts_for_two_seconds_to_a_quarter() {
    // Sent at a time that falls anywhere in the half seconds by which entries are kept.
    for sent in [0, 100, 499, 500, 730] {
        for (later, held) in [(0, 1008), (1999, 1008), (2000, 1008), (2500, 0), (9000, 0)] {
            let mut gateway = gateway(|_| ());
            assert_eq!(known(&mut gateway, &long(1), &[0], sent), [l0(0), l0(0)]);
            assert_eq!(known(&mut gateway, &long(1), &[0], sent + later), [l0(0), l0(held)], "{sent} + {later}");
        }
    }
    // In steps of sixteen blocks: of 1,000 tokens the first 768 count.
    let mut gateway = gateway(|_| ());
    known(&mut gateway, &prompt(&[(1, 1000)]), &[0], 0);
    assert_eq!(known(&mut gateway, &prompt(&[(1, 1000)]), &[0], 10), [l0(0), l0(768)]);
}

type News = fn(&mut Router, Time);

/// How a router may hear that worker 1 lives its next life.
const NEWS: [(&str, News); 5] = [
    ("an event", |router, now| {
        let cleared = CacheEvent { epoch: Epoch(1), sequence: 0, change: Change::Cleared };
        router.observe(WorkerId(1), Signal::Cache(&[cleared]), now, now);
    }),
    ("a heartbeat", |router, now| router.heartbeat(WorkerId(1), Epoch(1), 0, now, now)),
    ("a snapshot", |router, now| {
        let snapshot = Snapshot { epoch: Epoch(1), next: 1, stored: &[] };
        router.take_snapshot(WorkerId(1), &snapshot, now, now);
    }),
    ("who runs it", |router, now| router.observe(WorkerId(1), Signal::Restarted(Epoch(1)), now, now)),
    ("nothing, it is gone", |router, _| router.forget(WorkerId(1))),
];

#[test]
fn a_restart_ends_what_was_expected() {
    let now = Time::ZERO + Span::from_millis(20);
    let told = |config: &mut RouterConfig| config.lower = Some(lower(Some(1 << 20), None));
    let guessed = |config: &mut RouterConfig| config.guessed = Some(RouterConfig::guess(config.block));
    for (settings, change) in [("told", told as fn(&mut RouterConfig)), ("guessed", guessed)] {
        for (how, tell) in NEWS {
            let mut gateway = gateway(change);
            known(&mut gateway, &long(1), &[0], 0);
            assert_eq!(known(&mut gateway, &long(1), &[0], 10)[1], l0(1008));
            tell(&mut gateway.router, now);
            // Soon, and when nothing is expected any more: what the host had is gone with the rest.
            for millis in [30, 3_600_000] {
                // To 0 this time, so that 1 gets nothing new.
                assert_eq!(known(&mut gateway, &long(1), &[1], millis)[1], l0(0), "{settings}, {how}, {millis}");
            }
        }
    }
}

#[test]
fn a_life_that_is_known_ends_nothing() {
    for (how, tell) in NEWS.into_iter().take(4) {
        let mut gateway = gateway(|config| config.lower = Some(lower(Some(1 << 20), None)));
        let restarted = Signal::Restarted(Epoch(1));
        gateway.router.observe(WorkerId(1), restarted, Time::ZERO, Time::ZERO);
        known(&mut gateway, &long(1), &[0], 0);
        tell(&mut gateway.router, Time::ZERO);
        let kept = known(&mut gateway, &long(1), &[0], 10_000)[1];
        assert_eq!(kept, TierTokens { l1: Tokens(1008), ..TierTokens::default() }, "{how}");
    }
}

#[test]
fn a_cleared_device_leaves_its_host() {
    let mut gateway = gateway(|config| config.lower = Some(lower(Some(1 << 20), None)));
    known(&mut gateway, &long(1), &[0], 0);
    let cleared = CacheEvent { epoch: Epoch(0), sequence: 0, change: Change::Cleared };
    gateway.router.observe(WorkerId(1), Signal::Cache(&[cleared]), Time::ZERO, Time::ZERO);
    let kept = TierTokens { l1: Tokens(1008), ..TierTokens::default() };
    assert_eq!(known(&mut gateway, &long(1), &[1], 10)[1], kept, "what was expected on the device is not");
}

#[test]
fn where_nobody_tells_each_keeps_the_latest_for_a_while() {
    // Two prompts of 1,024 tokens fit.
    let keeps = |config: &mut RouterConfig| {
        config.speculative = Span::from_millis(1);
        let mut kept = RouterConfig::guess(config.block);
        assert_eq!((kept.tokens, kept.ttl), (500_000, Some(Span::from_secs(120))), "31,250 blocks for 120 s");
        kept.tokens = 2048;
        config.guessed = Some(kept);
    };
    let mut gateway = gateway(keeps);
    assert!(!gateway.router.listens_to_cache(), "events would change nothing");
    let mut held = |content, millis| known(&mut gateway, &long(content), &[0], millis)[1].l0.0;
    assert_eq!([held(1, 0), held(2, 1000)], [0, 0]);
    // 1 is used again, so 3 takes the place of 2.
    assert_eq!([held(1, 2000), held(3, 3000), held(1, 4000), held(2, 5000)], [1008, 0, 1008, 0]);
    // 2 took the place of 3. What was used 120 s ago is still there, and then no more.
    assert_eq!(held(1, 124_000), 1008);
    assert_eq!(held(2, 126_000), 0, "last used at 5 s");
}

fn lower(l1: Option<u64>, l2: Option<u64>) -> LowerTiers {
    LowerTiers { chunk: Tokens(256), l1, l2 }
}

#[test]
fn lower_tiers_have_what_was_sent_behind_what_is_nearer() {
    let tiers = |l1, l2| {
        gateway(|config| {
            config.speculative = Span::from_millis(1);
            config.lower = Some(lower(l1, l2));
        })
    };
    let of = |l0: u32, l1: u32, l2: u32| TierTokens { l0: Tokens(l0), l1: Tokens(l1), l2: Tokens(l2) };
    // Sent to 1, and told nothing: its host has it, and so has the pool that all share.
    let mut gateway = tiers(Some(1 << 20), Some(1 << 20));
    known(&mut gateway, &long(1), &[0], 0);
    assert_eq!(known(&mut gateway, &long(1), &[0], 1000), [of(0, 0, 1008), of(0, 1008, 0)]);
    // The device tells of its first 512 tokens: the host's count from there on.
    let pieces = long(1);
    let change =
        Change::Stored { parent: kvcache::PieceKey::ROOT, start: Tokens(0), upto: Tokens(512), pieces, strand: None };
    let event = CacheEvent { epoch: Epoch(0), sequence: 0, change };
    gateway.router.observe(WorkerId(1), Signal::Cache(&[event]), Time::ZERO, Time::ZERO);
    assert_eq!(known(&mut gateway, &long(1), &[0], 2000), [of(0, 0, 1008), of(512, 496, 0)]);
    // Objects are chunks of 256 tokens: of 700 tokens two are whole.
    known(&mut gateway, &prompt(&[(7, 700)]), &[0], 3000);
    assert_eq!(known(&mut gateway, &prompt(&[(7, 700)]), &[0], 4000), [of(0, 0, 512), of(0, 512, 0)]);
    // A host of 1,024 tokens keeps the latest prompt only, the pool both.
    let mut gateway = tiers(Some(1024), Some(1 << 20));
    known(&mut gateway, &long(1), &[0], 0);
    known(&mut gateway, &long(2), &[0], 1000);
    assert_eq!(known(&mut gateway, &long(1), &[0], 2000), [of(0, 0, 1008), of(0, 0, 1008)]);
    // Without a pool there is the host alone.
    let mut gateway = tiers(Some(1 << 20), None);
    known(&mut gateway, &long(1), &[0], 0);
    assert_eq!(known(&mut gateway, &long(1), &[0], 1000), [of(0, 0, 0), of(0, 1008, 0)]);
}
