//! `kvaware` by hand: what LMCache's controller would reply, and what production-stack makes of it.
//!
//! The rules, from `routing_logic.py` and `kv_controller.py`: of each chunk the controller names the worker that was the
//! first to admit it, of those that have it still; the reply lists workers in the order in which they were named first,
//! each with the end of the last chunk for which it was named. The router takes the first of the list, if that end is at
//! least the prompt's length less the threshold.

use super::{Gateway, prompt};
use kvcache::{CacheEvent, Change, Epoch, Piece, PieceKey, Time, Tokens, WorkerId};
use router::{Api, FeedCount, Missed, Reason, RouterConfig, Signal, Strategy};

/// Chunks of one block, so that vectors stay short.
fn gateway(workers: u16) -> Gateway {
    Gateway::with(RouterConfig { lmcache_chunk: Tokens(16), ..RouterConfig::new(Strategy::KvAware, workers) })
}

fn tell(gateway: &mut Gateway, worker: u16, epoch: u32, sequence: u64, change: Change) {
    let event = CacheEvent { epoch: Epoch(epoch), sequence, change };
    gateway.router.observe(WorkerId(worker), Signal::Cache(&[event]), Time::ZERO, Time::ZERO);
}

fn stored(pieces: &[Piece], piece: usize, upto: u32) -> Change {
    let parent = piece.checked_sub(1).map_or(PieceKey::ROOT, |before| pieces[before].key);
    let start = piece.checked_sub(1).map_or(Tokens::ZERO, |before| Tokens(pieces[before].end.0 / 16 * 16));
    Change::Stored { parent, start, upto: Tokens(upto), pieces: [pieces[piece]].into(), strand: None }
}

/// Who is chosen and why, what that worker holds, and the most that anyone does.
fn ask(gateway: &mut Gateway, pieces: &[Piece], excluded: &[u16]) -> (u16, Reason, Option<u32>, Option<u32>) {
    let decision = gateway.ask(pieces, None, excluded, 0).expect("somebody is available");
    (decision.worker.0, decision.reason, decision.matched.map(|t| t.0), decision.best.map(|t| t.0))
}

const FIRST: Reason = Reason::FirstHolder;

const fn by_rate(recent: Option<u32>, missed: Missed) -> Reason {
    Reason::LowestQps { recent, missed: Some(missed) }
}

#[test]
fn the_first_to_hold_the_first_chunk_is_followed() {
    let mut gateway = gateway(4);
    let pieces = prompt(&[(1, 16), (2, 16), (3, 16), (4, 5)]);
    let nobody = by_rate(None, Missed::NoHolder);
    assert_eq!(ask(&mut gateway, &pieces, &[]), (0, nobody, Some(0), Some(0)));
    // 3 admits chunk 0; then 2 admits all three. Chunk 0 is 3's, the others are 2's: the reply is {3: 16, 2: 48}.
    tell(&mut gateway, 3, 0, 0, stored(&pieces, 0, 16));
    (0..3).for_each(|piece| tell(&mut gateway, 2, 0, piece, stored(&pieces, piece as usize, 16 * (piece as u32 + 1))));
    assert_eq!(ask(&mut gateway, &pieces, &[]), (3, FIRST, Some(16), Some(48)), "though 2 has more");
    // 3 computed the rest, too, but later: it is named for chunk 0 alone, and what it has is more than that.
    tell(&mut gateway, 3, 0, 1, stored(&pieces, 1, 32));
    assert_eq!(ask(&mut gateway, &pieces, &[]), (3, FIRST, Some(32), Some(48)));
    // Without 3, 2 is the first of those that are left.
    assert_eq!(ask(&mut gateway, &pieces, &[3]), (2, FIRST, Some(48), Some(48)));
    // 3 evicts and admits chunk 0 again: now 2 was there before it.
    tell(&mut gateway, 3, 0, 2, Change::Evicted { left: Tokens(16), pieces: [pieces[1]].into(), strand: None });
    tell(&mut gateway, 3, 0, 3, Change::Evicted { left: Tokens::ZERO, pieces: [pieces[0]].into(), strand: None });
    tell(&mut gateway, 3, 0, 4, stored(&pieces, 0, 16));
    assert_eq!(ask(&mut gateway, &pieces, &[]), (2, FIRST, Some(48), Some(48)));
    // 2 restarts: all it had is gone, and 3 is left.
    tell(&mut gateway, 2, 1, 0, Change::Cleared);
    assert_eq!(ask(&mut gateway, &pieces, &[]), (3, FIRST, Some(16), Some(16)));
    let count = FeedCount { applied: 9, ..FeedCount::default() };
    assert_eq!(gateway.router.feed(), Some(count));
}

#[test]
fn a_chunk_is_admitted_when_its_last_block_is() {
    // LMCache's chunks are 256 tokens: 16 blocks.
    let mut gateway = Gateway::new(Strategy::KvAware, 2);
    let pieces = prompt(&[(1, 1024)]);
    tell(&mut gateway, 1, 0, 0, stored(&pieces, 0, 240));
    assert_eq!(ask(&mut gateway, &pieces, &[]), (0, by_rate(None, Missed::NoHolder), Some(0), Some(240)));
    tell(&mut gateway, 1, 0, 1, stored(&pieces, 0, 256));
    assert_eq!(ask(&mut gateway, &pieces, &[]), (1, FIRST, Some(256), Some(256)));
    tell(&mut gateway, 1, 0, 2, Change::Evicted { left: Tokens(240), pieces: [pieces[0]].into(), strand: None });
    // 1 was sent one request, 0 one: of equals the lower number.
    assert_eq!(ask(&mut gateway, &pieces, &[]), (0, by_rate(Some(1), Missed::NoHolder), Some(0), Some(240)));
}

#[test]
fn a_short_match_counts_only_for_a_short_rest() {
    let mut gateway = gateway(3);
    for worker in [1, 2] {
        tell(&mut gateway, worker, 0, 0, stored(&prompt(&[(1, 48)]), 0, 48));
    }
    // 48 of 2048 tokens are matched: 2000 are left, which is allowed. Of 2049, 2001 are left.
    let missed = Missed::TooShort { matched: Tokens(48) };
    let (fits, long) = (prompt(&[(1, 48), (2, 2000)]), prompt(&[(1, 48), (2, 2001)]));
    assert_eq!(ask(&mut gateway, &fits, &[]), (1, FIRST, Some(48), Some(48)));
    // By rate: 0 and 2 were never sent anything. What is said to be matched is what the worker chosen holds.
    assert_eq!(ask(&mut gateway, &long, &[]), (0, by_rate(None, missed), Some(0), Some(48)));
    assert_eq!(ask(&mut gateway, &long, &[]), (2, by_rate(None, missed), Some(48), Some(48)));
    // All were sent one request, 1 by the controller: it counts too.
    assert_eq!(ask(&mut gateway, &long, &[0]), (1, by_rate(Some(1), missed), Some(48), Some(48)));
    // By session, where there is one: as `session` would.
    let ring = Gateway::new(Strategy::Session, 3).ask(&long, Some(5), &[], 0).unwrap().worker;
    let by_session = gateway.ask(&long, Some(5), &[], 0).unwrap();
    assert_eq!((by_session.worker, by_session.reason), (ring, Reason::RingOfSession { missed: Some(missed) }));
    // Of a chat nothing is seen, though all of it is held. Worker 2 was sent one request by rate, and the one of the
    // session where the ring says so.
    let chat = gateway.ask_api(Api::Chat, &prompt(&[(1, 48)]), None, &[0, 1], 0).unwrap();
    let recent = Some(1 + u32::from(ring == WorkerId(2)));
    assert_eq!((chat.worker.0, chat.reason, chat.matched), (2, by_rate(recent, Missed::Chat), None));
}

/// Two users of one system prompt of 512 tokens, each at a worker of its own. Whoever came first is named for the system
/// prompt by everybody's prompt, and the second one's history, all of it at its worker, is not found once it is long:
/// production-stack #1035 and the reason for `kvaware+`.
#[test]
fn a_shared_beginning_hides_what_comes_after_it() {
    let mut gateway = Gateway::new(Strategy::KvAware, 2);
    let (one, two) = (prompt(&[(1, 512), (2, 4096)]), prompt(&[(1, 512), (3, 4096)]));
    for (worker, user) in [(0, &one), (1, &two)] {
        tell(&mut gateway, worker, 0, 0, stored(user, 0, 512));
        tell(&mut gateway, worker, 0, 1, stored(user, 1, 4608));
    }
    assert_eq!(ask(&mut gateway, &one, &[]), (0, FIRST, Some(4608), Some(4608)));
    let missed = Missed::TooShort { matched: Tokens(512) };
    assert_eq!(ask(&mut gateway, &two, &[]), (1, by_rate(None, missed), Some(4608), Some(4608)), "by luck");
    assert_eq!(ask(&mut gateway, &two, &[]), (0, by_rate(Some(1), missed), Some(512), Some(4608)), "without");
}

#[test]
fn who_listens() {
    let listens: Vec<_> = Strategy::ALL.into_iter().filter(|s| Gateway::new(*s, 2).router.listens_to_cache()).collect();
    assert_eq!(listens, [Strategy::KvAware, Strategy::KvAwarePlus, Strategy::PredictedTtft]);
}
