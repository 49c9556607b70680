//! Reservations, by hand and against sums over a list.

use super::Chance;
use kvcache::{RequestId, Tokens, WorkerId};
use router::{ReservationCounts, Reservations, Reserved, WorkerLoad};
use std::collections::BTreeMap;

const ANSWER: RequestId = RequestId(42);

const fn tokens(new: u32, context: u32) -> Reserved {
    Reserved { new_tokens: Tokens(new), context_tokens: Tokens(context) }
}

const fn load(requests: u32, prefilling: u32, new_tokens: u64, context_tokens: u64) -> WorkerLoad {
    WorkerLoad { requests, prefilling, new_tokens, context_tokens }
}

#[test]
fn a_request_prefills_decodes_and_is_gone() {
    let mut account = Reservations::new(2);
    assert_eq!(account.reserve(ANSWER, WorkerId(1), tokens(100, 300)), None);
    assert_eq!(account.reserve(RequestId(43), WorkerId(1), tokens(7, 7)), None);
    assert_eq!(account.loads(), [load(0, 0, 0, 0), load(2, 2, 107, 307)]);
    assert!(account.first_token(ANSWER));
    assert_eq!(account.load(WorkerId(1)), load(2, 1, 7, 307));
    assert!(!account.first_token(ANSWER), "there is one first token");
    assert_eq!(account.load(WorkerId(1)), load(2, 1, 7, 307));
    assert_eq!(account.release(ANSWER), Some(WorkerId(1)));
    assert_eq!(account.load(WorkerId(1)), load(1, 1, 7, 7));
    assert_eq!(account.release(RequestId(43)), Some(WorkerId(1)));
    assert_eq!((account.load(WorkerId(1)), account.live()), (load(0, 0, 0, 0), 0));
    account.check();
}

#[test]
fn what_is_not_there_is_counted_and_changes_nothing() {
    let mut account = Reservations::new(1);
    assert_eq!(account.release(ANSWER), None);
    assert!(!account.first_token(ANSWER));
    account.reserve(ANSWER, WorkerId(0), tokens(1, 1));
    account.release(ANSWER);
    assert_eq!(account.release(ANSWER), None, "released once");
    assert!(!account.release_from(ANSWER, WorkerId(0)));
    assert!(!account.first_token(ANSWER));
    assert_eq!(account.load(WorkerId(0)), load(0, 0, 0, 0));
    let expected = ReservationCounts { reserved: 1, moved: 0, released: 1, stray_releases: 3, stray_first_tokens: 2 };
    assert_eq!(account.counts(), expected);
    account.check();
}

#[test]
fn a_retry_moves_what_is_reserved_and_starts_over() {
    let mut account = Reservations::new(3);
    account.reserve(ANSWER, WorkerId(0), tokens(100, 300));
    account.first_token(ANSWER);
    assert_eq!(account.reserve(ANSWER, WorkerId(2), tokens(300, 300)), Some(WorkerId(0)));
    assert_eq!(account.loads(), [load(0, 0, 0, 0), load(0, 0, 0, 0), load(1, 1, 300, 300)]);
    // The end of the first attempt, heard late, takes nothing from the second.
    assert!(!account.release_from(ANSWER, WorkerId(0)));
    assert_eq!((account.worker(ANSWER), account.load(WorkerId(2))), (Some(WorkerId(2)), load(1, 1, 300, 300)));
    assert!(account.release_from(ANSWER, WorkerId(2)));
    assert_eq!((account.worker(ANSWER), account.load(WorkerId(2))), (None, load(0, 0, 0, 0)));
    let counts = account.counts();
    assert_eq!((counts.reserved, counts.moved, counts.released, counts.stray_releases), (1, 1, 1, 1));
    // The same worker once more: there is one reservation still.
    account.reserve(ANSWER, WorkerId(1), tokens(5, 9));
    assert_eq!(account.reserve(ANSWER, WorkerId(1), tokens(6, 9)), Some(WorkerId(1)));
    assert_eq!(account.load(WorkerId(1)), load(1, 1, 6, 9));
    account.check();
}

/// All live requests in a list: the worker, what was reserved, whether it has no first token yet.
#[derive(Default)]
struct Literal {
    live: BTreeMap<RequestId, (WorkerId, Reserved, bool)>,
    counts: ReservationCounts,
}

impl Literal {
    fn load(&self, worker: WorkerId) -> WorkerLoad {
        let here = || self.live.values().filter(|(at, ..)| *at == worker);
        let prefilling = || here().filter(|(.., prefilling)| *prefilling);
        WorkerLoad {
            requests: here().count() as u32,
            prefilling: prefilling().count() as u32,
            new_tokens: prefilling().map(|(_, reserved, _)| u64::from(reserved.new_tokens.0)).sum(),
            context_tokens: here().map(|(_, reserved, _)| u64::from(reserved.context_tokens.0)).sum(),
        }
    }

    fn release(&mut self, request: RequestId) -> Option<WorkerId> {
        let gone = self.live.remove(&request).map(|(worker, ..)| worker);
        self.counts.released += u64::from(gone.is_some());
        self.counts.stray_releases += u64::from(gone.is_none());
        gone
    }
}

/// Requests retried, answered, aborted and timed out in any order, with ends told twice, late or of nobody.
fn play(chance: &mut Chance, account: &mut Reservations, literal: &mut Literal) {
    let workers = account.loads().len() as u64;
    // Numbers go up, and few are in flight at once.
    let request = RequestId(literal.counts.reserved.saturating_sub(8) + chance.below(12));
    let worker = WorkerId(chance.below(workers) as u16);
    match chance.below(10) {
        0..4 => {
            let reserved = tokens(chance.below(1_000) as u32, chance.below(u64::from(u32::MAX)) as u32);
            let before = literal.live.insert(request, (worker, reserved, true)).map(|(before, ..)| before);
            literal.counts.reserved += u64::from(before.is_none());
            literal.counts.moved += u64::from(before.is_some());
            assert_eq!(account.reserve(request, worker, reserved), before);
        }
        4..6 => {
            let first = literal.live.get_mut(&request).is_some_and(|(.., prefilling)| core::mem::take(prefilling));
            literal.counts.stray_first_tokens += u64::from(!first);
            assert_eq!(account.first_token(request), first);
        }
        6..8 => {
            let here = literal.live.get(&request).is_some_and(|(at, ..)| *at == worker);
            if here {
                literal.release(request);
            } else {
                literal.counts.stray_releases += 1;
            }
            assert_eq!(account.release_from(request, worker), here);
        }
        _ => assert_eq!(account.release(request), literal.release(request)),
    }
    assert_eq!(account.worker(request), literal.live.get(&request).map(|(at, ..)| *at));
}

#[test]
fn random_ends_release_exactly_once() {
    let mut sum = ReservationCounts::default();
    for seed in 0..20_000 {
        let mut chance = Chance::new(seed);
        let mut account = Reservations::new(1 + chance.below(4) as u16);
        let mut literal = Literal::default();
        for _ in 0..60 {
            play(&mut chance, &mut account, &mut literal);
            account.check();
            assert_eq!((account.counts(), account.live()), (literal.counts, literal.live.len()));
            for (worker, load) in account.loads().iter().enumerate() {
                assert_eq!(*load, literal.load(WorkerId(worker as u16)));
            }
        }
        while let Some(request) = literal.live.keys().next().copied() {
            assert_eq!(account.release(request), literal.release(request));
        }
        // Whatever went before, in the end nothing is left.
        assert!(account.loads().iter().all(|load| *load == WorkerLoad::default()));
        let counts = account.counts();
        assert_eq!(counts.reserved, counts.released);
        sum.moved += counts.moved;
        sum.stray_releases += counts.stray_releases;
        sum.stray_first_tokens += counts.stray_first_tokens;
    }
    eprintln!("{sum:?}");
    assert!(sum.moved.min(sum.stray_releases).min(sum.stray_first_tokens) > 20_000, "{sum:?}");
}
