//! Each strategy by hand-worked vectors: the reasoning stands beside the numbers.

use super::{Gateway, prompt};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use router::{Decision, Reason, RouterConfig, Strategy};
use std::collections::BTreeSet;

/// What a decision says, without its scores.
type Said = (u16, Reason, Option<u32>);

const fn decision(worker: u16, reason: Reason, matched: Option<u32>) -> Said {
    (worker, reason, matched)
}

fn said(decision: &Decision) -> Said {
    (decision.worker.0, decision.reason, decision.matched.map(|tokens| tokens.0))
}

#[test]
fn names_are_those_of_the_endpoint_file() {
    let names = ["roundrobin", "prefixaware", "kvaware", "session"];
    assert_eq!(Strategy::COMPATIBLE.map(Strategy::as_str), names);
    assert_eq!(Strategy::ALL[..4], Strategy::COMPATIBLE);
    assert_eq!(Strategy::ALL.map(Strategy::as_str).map(|name| name.parse::<Strategy>().unwrap()), Strategy::ALL);
    assert_eq!(
        "KvAware".parse::<Strategy>().unwrap_err().to_string(),
        "find routing strategy \"KvAware\": there are roundrobin, prefixaware, kvaware, session, random, \
         least-loaded, p2c, session+, prefixaware+, kvaware+, predicted-ttft"
    );
}

#[test]
fn nobody_left_is_an_error_and_changes_nothing() {
    for strategy in Strategy::ALL {
        let mut gateway = Gateway::new(strategy, 3);
        let none = gateway.ask(&prompt(&[(1, 40)]), None, &[0, 2, 1, 1], 0).unwrap_err();
        assert_eq!(none.to_string(), "route request 0: all 3 workers are excluded");
        // Worker 9 does not exist, worker 0 is named twice: two are left. Whatever the strategy, 0 is not chosen.
        for content in 0..100 {
            assert_ne!(gateway.ask(&prompt(&[(content, 40)]), Some(content), &[0, 9, 0], 0).unwrap().worker.0, 0);
        }
    }
    let mut turns = Gateway::new(Strategy::RoundRobin, 3);
    assert!(turns.ask(&[], None, &[0, 1, 2], 0).is_err());
    assert_eq!(turns.worker(&[]), 0, "the refused request took nobody's turn");
}

#[test]
fn turns_are_counted_for_each_set() {
    let mut gateway = Gateway::new(Strategy::RoundRobin, 3);
    let mut turn = |excluded: &[u16]| gateway.ask(&[], None, excluded, 0).unwrap();
    assert_eq!(said(&turn(&[])), decision(0, Reason::Turn, None));
    let turns: Vec<_> = [&[][..], &[1], &[1], &[], &[1], &[0], &[], &[]].map(|set| turn(set).worker.0).to_vec();
    // All:          1           2           0   1
    // Without 1:       0   2       0
    // Without 0:                       1
    assert_eq!(turns, [1, 0, 2, 2, 0, 1, 0, 1]);
}

#[test]
fn turns_tell_sets_of_many_workers_apart() {
    let mut gateway = Gateway::new(Strategy::RoundRobin, 130);
    for turn in 0..260 {
        assert_eq!(gateway.worker(&[]), turn % 130);
    }
    assert_eq!(gateway.ask(&[], None, &[129], 0).unwrap().worker.0, 0);
    assert_eq!(gateway.ask(&[], None, &[65], 0).unwrap().worker.0, 0);
    assert_eq!(gateway.ask(&[], None, &[1], 0).unwrap().worker.0, 0);
    assert_eq!(gateway.ask(&[], None, &[1], 0).unwrap().worker.0, 2);
}

/// Upstream keeps the counters of 1024 sets, then forgets them all.
#[test]
fn turns_are_forgotten_after_many_sets() {
    for (others, next) in [(1_023, 1), (1_024, 0)] {
        let mut gateway = Gateway::new(Strategy::RoundRobin, 12);
        assert_eq!(gateway.worker(&[]), 0);
        for set in 1..=others {
            let excluded: Vec<_> = (0..11).filter(|worker| set >> worker & 1 == 1).collect();
            gateway.ask(&[], None, &excluded, 0).unwrap();
        }
        assert_eq!(gateway.worker(&[]), next, "after {others} other sets");
    }
}

#[test]
fn a_prefix_goes_where_it_was_sent() {
    let mut gateway = Gateway::new(Strategy::PrefixAware, 4);
    let mut ask = |contents: &[(u64, u32)], excluded: &[u16]| {
        let decision = gateway.ask(&prompt(contents), None, excluded, 0).unwrap();
        (decision.worker.0, decision.reason, decision.matched.unwrap().0)
    };
    let alone = Reason::DeepestPrefix { tied: 1 };
    // Chunks of 32 tokens: system prompt 1 is a full one, what follows a short one of 10.
    let (first, reason, matched) = ask(&[(1, 32), (2, 10)], &[]);
    assert_eq!((reason, matched), (Reason::NoPrefix, 0));
    // The same again matches to its end: the short chunk counts, being as long.
    assert_eq!(ask(&[(1, 32), (2, 10)], &[]), (first, alone, 42));
    // One token more, or less, or a whole chunk of the same content: another last chunk.
    assert_eq!(ask(&[(1, 32), (2, 11)], &[]), (first, alone, 32));
    assert_eq!(ask(&[(1, 32), (2, 9)], &[]), (first, alone, 32));
    assert_eq!(ask(&[(1, 32), (2, 32)], &[]), (first, alone, 32));
    // 31 tokens of the system prompt are a short chunk that nobody was sent.
    assert_eq!(ask(&[(1, 31)], &[]).1, Reason::NoPrefix);
    // Without the first, nobody was sent chunk 1; now `second` was, and 64 tokens more.
    let (second, reason, _) = ask(&[(1, 32), (3, 64)], &[first]);
    assert_eq!(reason, Reason::NoPrefix);
    assert_ne!(first, second);
    assert_eq!(ask(&[(1, 32), (3, 64)], &[]), (second, alone, 96));
    assert_eq!(ask(&[(1, 32), (3, 60)], &[]), (second, alone, 64), "chunk 2 of 3, then a short one");
    // Without the deepest, the walk ends where somebody is left: at the system prompt.
    assert_eq!(ask(&[(1, 32), (3, 64), (4, 5)], &[second]), (first, alone, 32));
    // Both were sent the system prompt; whoever is drawn was sent all of this from now on.
    let (drawn, reason, matched) = ask(&[(1, 32), (5, 32)], &[]);
    assert_eq!((reason, matched), (Reason::DeepestPrefix { tied: 2 }, 32));
    assert_eq!(ask(&[(1, 32), (5, 32)], &[]), (drawn, alone, 64));
}

#[test]
fn draws_are_what_the_documentation_says() {
    let config = RouterConfig { seed: 0x0123_4567_89ab_cdef, ..RouterConfig::new(Strategy::PrefixAware, 7) };
    let mut gateway = Gateway::with(config);
    let mut key = [0; 32];
    key[..8].copy_from_slice(&[0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01]);
    let mut draws = ChaCha8Rng::from_seed(key);
    let name = b"routing ties".iter();
    draws.set_stream(
        name.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }),
    );
    let mut sent = [0; 7];
    for content in 0..70_000 {
        // 2^32 mod 7 = 4 of 2^32 draws are drawn again: none of these.
        let expected = (u64::from(draws.next_u32()) * 7) >> 32;
        let worker = gateway.worker(&[(content, 32)]);
        assert_eq!(u64::from(worker), expected);
        sent[usize::from(worker)] += 1;
    }
    // 10,000 each, with a standard deviation of 93.
    assert!(sent.iter().all(|sent| (9_600..10_400).contains(sent)), "{sent:?}");
}

#[test]
fn ties_are_drawn_evenly() {
    let mut gateway = Gateway::new(Strategy::PrefixAware, 4);
    for excluded in [[1, 2, 3], [0, 2, 3], [0, 1, 2]] {
        gateway.ask(&prompt(&[(1, 32)]), None, &excluded, 0).unwrap();
    }
    let mut sent = [0; 4];
    for content in 0..3_000 {
        let decision = gateway.ask(&prompt(&[(1, 32), (100 + content, 32)]), None, &[], 0).unwrap();
        assert_eq!(decision.reason, Reason::DeepestPrefix { tied: 3 });
        sent[decision.worker.index()] += 1;
    }
    // 1000 each, with a standard deviation of 26; worker 2 was never sent the shared chunk.
    assert_eq!(sent[2], 0);
    assert!([0, 1, 3].iter().all(|worker| (900..1_100).contains(&sent[*worker])), "{sent:?}");
}

/// How many of 1000 requests, 5 turns of 200 users, each of 7 workers gets where all share `shared` tokens.
fn shares(shared: u32) -> [u32; 7] {
    let mut gateway = Gateway::new(Strategy::PrefixAware, 7);
    let mut sent = [0; 7];
    for turn in 0..5 {
        for user in 0..200 {
            let turns = (0..=turn).map(|turn| (1_000 + 10 * user + turn, 150));
            let contents: Vec<_> = core::iter::once((1, shared)).chain(turns).collect();
            sent[usize::from(gateway.worker(&contents))] += 1;
        }
    }
    sent
}

/// Upstream's `hashtrie.py`, run with 7 endpoints, does the same: 1000 of 1000 for 128 and 1,000 shared characters,
/// 105 to 185 each for 0 and 64 (facts of the compatibility baseline).
#[test]
fn a_shared_first_chunk_sends_everything_to_one_worker() {
    for tokens in [32, 250] {
        let mut sent = shares(tokens);
        sent.sort_unstable();
        assert_eq!(sent, [0, 0, 0, 0, 0, 0, 1000], "{tokens} shared tokens");
    }
    for tokens in [0, 16] {
        // Users are drawn once and then stay: 5 x binomial(200, 1/7), so 143 with a standard deviation of 25.
        let sent = shares(tokens);
        assert_eq!(sent.iter().sum::<u32>(), 1000);
        assert!(sent.iter().all(|sent| sent % 5 == 0 && (70..=215).contains(sent)), "{tokens}: {sent:?}");
    }
}

#[test]
fn the_seed_decides_and_nothing_else() {
    let decisions = |strategy, seed| -> Vec<Decision> {
        let mut gateway = Gateway::with(RouterConfig { seed, ..RouterConfig::new(strategy, 5) });
        let asked = (0..200).map(|n| gateway.ask(&prompt(&[(n % 60, 40)]), (n % 3 > 0).then_some(n % 7), &[3], n));
        asked.map(Result::unwrap).collect()
    };
    for strategy in Strategy::ALL {
        assert_eq!(decisions(strategy, 1), decisions(strategy, 1));
        let draws = matches!(strategy, Strategy::PrefixAware | Strategy::Random | Strategy::TwoChoices);
        assert_eq!(decisions(strategy, 1) != decisions(strategy, 2), draws, "{strategy}");
    }
}

#[test]
fn the_lowest_rate_is_counted_over_a_minute() {
    let mut gateway = Gateway::new(Strategy::Session, 2);
    let mut at = |seconds| {
        let decision = gateway.ask(&[], None, &[], seconds).unwrap();
        let Reason::LowestQps { recent, missed: None } = decision.reason else { panic!("{decision:?}") };
        (decision.worker.0, recent)
    };
    assert_eq!(at(0), (0, None));
    assert_eq!(at(10), (1, None), "never sent anything comes before one");
    assert_eq!(at(20), (0, Some(1)), "of equals the first");
    assert_eq!(at(30), (1, Some(1)));
    assert_eq!(at(60), (0, Some(2)), "what is a minute old still counts: 2 and 2");
    assert_eq!(at(61), (0, Some(2)), "0 had 3 and is rid of its first: 2 and 2");
    assert_eq!(at(62), (1, Some(2)), "3 and 2");
    assert_eq!(at(200), (0, Some(0)), "nothing lately, which is not never");
}

/// Computed apart from this code, from what the ring's documentation says: sessions must not move with a new version.
#[test]
fn the_ring_is_the_same_everywhere() {
    let mut gateway = Gateway::new(Strategy::Session, 4);
    let homes: Vec<_> = (0..16).map(|session| gateway.ask(&[], Some(session), &[], 0).unwrap().worker.0).collect();
    assert_eq!(homes, [1, 0, 1, 3, 3, 0, 0, 2, 2, 3, 0, 0, 2, 2, 0, 1]);
}

#[test]
fn only_the_sessions_of_a_lost_worker_move() {
    let home = |workers, excluded: &[u16]| -> Vec<u16> {
        let config = RouterConfig { seed: u64::from(workers), ..RouterConfig::new(Strategy::Session, workers) };
        let mut gateway = Gateway::with(config);
        let homes = (0..8_000).map(|session| gateway.ask(&[], Some(session), excluded, 0).unwrap());
        let homes = homes.inspect(|home| assert_eq!(home.reason, Reason::RingOfSession { missed: None }));
        homes.map(|home| home.worker.0).collect()
    };
    let all = home(8, &[]);
    for worker in 0..8 {
        let share = all.iter().filter(|home| **home == worker).count();
        assert!((800..=1150).contains(&share), "{share} of 8,000 sessions on {worker}");
    }
    let without = home(8, &[3]);
    assert!(all.iter().zip(&without).all(|(before, after)| *before == 3 || before == after), "others stay");
    let fled: BTreeSet<_> = all.iter().zip(&without).filter(|(b, _)| **b == 3).map(|(_, after)| *after).collect();
    assert_eq!(fled, BTreeSet::from([0, 1, 2, 4, 5, 6, 7]), "and those of 3 spread over all");
    // A ninth worker takes from all, and nobody else gains. A ring of nine without it is a ring of eight.
    let nine = home(9, &[]);
    assert!(all.iter().zip(&nine).all(|(before, after)| before == after || *after == 8));
    assert_eq!(home(9, &[8]), all);
}
