//! The controller: what is lost, told twice, told late or never, and what becomes of the index.

use super::changes::{blocks, evicted, stored};
use super::fleet::Fleet;
use super::{Chance, prompt};
use kvcache::{CacheEvent, Chain, Change, Epoch, Piece, Span, Time, Tokens, WorkerId};
use router::{FeedCount, Matches, Router, RouterConfig, Signal, Snapshot, Strategy, Wanted};
use std::collections::VecDeque;

const UNIT: u32 = 16;

fn at(millis: u64) -> Time {
    Time::ZERO + Span::from_millis(millis)
}

/// A router that listens, and one worker that talks.
struct Line {
    router: Router,
    events: Vec<CacheEvent>,
    pieces: Vec<Piece>,
}

impl Line {
    /// A worker that will store eight blocks, one event each, and evict the last four again.
    fn new(silence: Option<Span>) -> Self {
        let config = RouterConfig { silence, ..RouterConfig::new(Strategy::KvAware, 2) };
        let pieces = prompt(&[16; 8].map(|tokens| (tokens.into(), tokens)));
        let all = blocks(&pieces, UNIT);
        let changes = stored(&all, 0, 8, UNIT).into_iter().chain(evicted(&all, 4, 8, UNIT));
        let events = changes.zip(0..).map(|(change, sequence)| CacheEvent { epoch: Epoch(0), sequence, change });
        Self { router: Router::new(config), events: events.collect(), pieces }
    }

    fn hear(&mut self, numbers: impl IntoIterator<Item = usize>, millis: u64) {
        for number in numbers {
            self.router.observe(WorkerId(1), Signal::Cache(&self.events[number..=number]), at(millis), at(millis));
        }
    }

    /// Blocks that the worker is thought to hold.
    fn held(&self) -> u32 {
        let mut matches = Matches::new();
        self.router.index().expect("it listens").matches(Chain::new(&self.pieces, Tokens(UNIT)), &mut matches);
        matches.tokens()[1].0 / UNIT
    }

    fn count(&self) -> FeedCount {
        self.router.feed().expect("it listens")
    }

    fn snapshot(&mut self, next: u64, held: usize, millis: u64) {
        let stored = stored(&blocks(&self.pieces, UNIT), 0, held, UNIT);
        let snapshot = Snapshot { epoch: Epoch(0), next, stored: &stored };
        self.router.take_snapshot(WorkerId(1), &snapshot, at(millis), at(millis));
    }
}

const REPLAY: Wanted = Wanted::Replay { worker: WorkerId(1), epoch: Epoch(0), from: 2 };
const SNAPSHOT: Wanted = Wanted::Snapshot { worker: WorkerId(1) };

#[test]
fn what_is_told_twice_counts_once() {
    let mut line = Line::new(None);
    line.hear([0, 1, 1, 0, 2, 2, 3], 0);
    assert_eq!((line.held(), line.router.poll_wanted()), (4, None));
    assert_eq!(line.count(), FeedCount { applied: 4, skipped: 3, ..FeedCount::default() });
    assert_eq!(line.router.deadline(), None, "nothing is awaited");
}

#[test]
fn a_gap_is_told_again() {
    let mut line = Line::new(None);
    // 2 and 3 are lost: what comes behind them waits, and is not believed before they are there.
    line.hear([0, 1, 4, 5], 0);
    assert_eq!((line.held(), line.router.poll_wanted(), line.router.poll_wanted()), (2, Some(REPLAY), None));
    assert_eq!(line.router.deadline(), Some(at(1000)));
    // The replay begins with 2; live events go on meanwhile, and what is told twice counts once.
    line.hear([2, 6, 3, 4, 5], 10);
    assert_eq!((line.held(), line.router.poll_wanted(), line.router.deadline()), (7, None, None));
    line.hear([7, 8], 20);
    assert_eq!(line.held(), 7);
    let count = line.count();
    assert_eq!((count.applied, count.skipped, count.gaps, count.replayed), (9, 2, 1, 1));
}

#[test]
fn what_cannot_be_told_again_is_taken_from_a_snapshot() {
    for patience in [false, true] {
        let mut line = Line::new(None);
        line.hear([0, 1, 4], 0);
        assert_eq!(line.router.poll_wanted(), Some(REPLAY));
        if patience {
            line.router.timeout(at(999));
            assert_eq!(line.router.poll_wanted(), None);
            line.router.timeout(at(1000));
        } else {
            line.router.replay_failed(WorkerId(1), at(1000));
        }
        assert_eq!((line.router.poll_wanted(), line.router.poll_wanted()), (Some(SNAPSHOT), None));
        // A late replay cannot be put where it belongs any more. The snapshot holds 0..=5; 6 came before it did.
        line.hear([2, 6], 1010);
        assert_eq!(line.held(), 2, "what was known stays until the snapshot is there");
        line.snapshot(6, 6, 1020);
        assert_eq!((line.held(), line.router.deadline()), (7, None));
        line.hear([5, 7], 1030);
        assert_eq!(line.held(), 8);
        let count = line.count();
        assert_eq!((count.gaps, count.snapshots, count.replayed, count.given_up), (1, 1, 0, 0));
    }
}

#[test]
fn where_nobody_answers_the_worker_holds_nothing_until_it_says_more() {
    let mut line = Line::new(None);
    line.hear([0, 1, 4], 0);
    line.router.timeout(at(1000));
    line.router.timeout(at(2000));
    // 4 cannot be found without 2 and 3.
    assert_eq!((line.held(), line.router.deadline(), line.count().given_up), (0, None, 1));
    // A snapshot of what was before is old news; one of now is not.
    line.snapshot(3, 3, 2010);
    assert_eq!(line.held(), 0);
    line.snapshot(5, 5, 2020);
    assert_eq!(line.held(), 5);
    line.hear([5], 2030);
    assert_eq!(line.held(), 6);
}

#[test]
fn a_restart_takes_all_at_once_whatever_is_missing() {
    for behind in [false, true] {
        let mut line = Line::new(None);
        line.hear(if behind { vec![0, 1, 4] } else { vec![0, 1, 2] }, 0);
        let cleared = CacheEvent { epoch: Epoch(1), sequence: 0, change: Change::Cleared };
        line.router.observe(WorkerId(1), Signal::Cache(&[cleared]), at(10), at(10));
        assert_eq!((line.held(), line.router.deadline()), (0, None));
        // Stragglers of the earlier life say nothing.
        line.hear([3, 5], 20);
        assert_eq!(line.held(), 0);
        let again = CacheEvent { epoch: Epoch(1), sequence: 1, ..line.events[0].clone() };
        line.router.observe(WorkerId(1), Signal::Cache(&[again]), at(30), at(30));
        assert_eq!(line.held(), 1);
        // The first events of its third life are lost: its second is over all the same.
        let late = CacheEvent { epoch: Epoch(2), sequence: 3, ..line.events[0].clone() };
        line.router.observe(WorkerId(1), Signal::Cache(&[late]), at(40), at(40));
        assert_eq!(line.held(), 0);
        let wanted = std::iter::from_fn(|| line.router.poll_wanted()).last();
        assert_eq!(wanted, Some(Wanted::Replay { worker: WorkerId(1), epoch: Epoch(2), from: 0 }));
    }
}

#[test]
fn a_heartbeat_notices_that_the_last_event_was_lost() {
    let mut line = Line::new(None);
    line.hear([0, 1], 0);
    line.router.heartbeat(WorkerId(1), Epoch(0), 2, at(10), at(10));
    assert_eq!(line.router.poll_wanted(), None, "all was heard");
    line.router.heartbeat(WorkerId(1), Epoch(0), 4, at(20), at(20));
    assert_eq!(line.router.poll_wanted(), Some(REPLAY));
    line.hear([2, 3], 30);
    assert_eq!((line.held(), line.router.deadline()), (4, None));
    // It restarted, and nothing of that was heard.
    line.router.heartbeat(WorkerId(1), Epoch(1), 0, at(40), at(40));
    assert_eq!((line.held(), line.router.poll_wanted()), (0, None));
}

#[test]
fn who_is_silent_for_too_long_holds_nothing() {
    let mut line = Line::new(Some(Span::from_secs(30)));
    line.hear([0, 1], 0);
    assert_eq!(line.router.deadline(), Some(at(30_000)));
    line.router.timeout(at(29_999));
    assert_eq!(line.held(), 2);
    line.router.timeout(at(30_000));
    assert_eq!((line.held(), line.count().given_up, line.router.deadline()), (0, 1, None));
    // It was there all the time: what it holds is asked for.
    line.router.heartbeat(WorkerId(1), Epoch(0), 4, at(31_000), at(31_000));
    assert_eq!(line.router.poll_wanted(), Some(SNAPSHOT));
    line.snapshot(4, 4, 31_010);
    assert_eq!(line.held(), 4);
    line.hear([4], 31_020);
    assert_eq!(line.held(), 5);
}

#[test]
fn a_gap_is_filled_when_all_of_it_has_come() {
    let mut line = Line::new(None);
    line.hear([0, 1], 0);
    // Five were told, says the worker; then that it was eight.
    line.router.heartbeat(WorkerId(1), Epoch(0), 5, at(10), at(10));
    assert_eq!(line.router.poll_wanted(), Some(REPLAY));
    line.router.heartbeat(WorkerId(1), Epoch(0), 8, at(20), at(20));
    line.hear([2, 3, 4, 5, 6], 900);
    assert_eq!((line.held(), line.count().replayed), (7, 0), "one is missing");
    assert_eq!(line.router.deadline(), Some(at(1_900)), "and is waited for");
    // It does not come: a snapshot must.
    line.router.timeout(at(1_900));
    assert_eq!(line.router.poll_wanted(), Some(SNAPSHOT));
    line.snapshot(8, 8, 1_950);
    assert_eq!((line.held(), line.router.deadline()), (8, None));
    // The same where it comes in the end.
    let mut line = Line::new(None);
    line.hear([0, 1], 0);
    line.router.heartbeat(WorkerId(1), Epoch(0), 5, at(10), at(10));
    line.hear([2, 3, 4], 20);
    assert_eq!((line.held(), line.count().replayed, line.router.deadline()), (5, 1, None));
}

#[test]
fn what_never_comes_is_missed_once() {
    let mut line = Line::new(None);
    line.hear([0, 1], 0);
    line.router.heartbeat(WorkerId(1), Epoch(0), 5, at(10), at(10));
    line.router.timeout(at(1_010));
    line.router.timeout(at(2_010));
    assert_eq!((line.held(), line.count().given_up, line.router.deadline()), (0, 1, None));
    while line.router.poll_wanted().is_some() {}
    // Nothing new is missing, and what comes next counts.
    line.router.heartbeat(WorkerId(1), Epoch(0), 5, at(2_020), at(2_020));
    assert_eq!((line.count().gaps, line.router.poll_wanted()), (1, None));
    line.hear([5], 2_030);
    assert_eq!((line.count().gaps, line.router.deadline()), (1, None));
}

#[test]
fn whoever_has_the_number_next_begins_anew() {
    let mut line = Line::new(Some(Span::from_secs(30)));
    line.hear([0, 1], 0);
    // 2 is lost: a gap, and a question.
    line.hear([3], 10);
    line.router.forget(WorkerId(1));
    assert_eq!((line.held(), line.router.poll_wanted(), line.router.deadline()), (0, None, None));
    // Another process numbers from the start.
    line.hear([0, 1, 2], 100);
    assert_eq!((line.held(), line.router.deadline()), (3, Some(at(30_100))));
    // The same one comes back: what was told meanwhile is asked for.
    line.router.forget(WorkerId(1));
    line.hear([2], 200);
    let wanted = Wanted::Replay { worker: WorkerId(1), epoch: Epoch(0), from: 0 };
    assert_eq!((line.held(), line.router.poll_wanted()), (0, Some(wanted)));
    line.hear([0, 1], 300);
    assert_eq!(line.held(), 3);
}

#[test]
fn what_waits_behind_a_gap_is_bounded() {
    let mut line = Line::new(None);
    line.hear([0], 0);
    // 1 is lost; twelve thousand events wait behind it, of which the last ten thousand are kept.
    for sequence in 2..12_002 {
        let event = CacheEvent { sequence, ..line.events[1].clone() };
        line.router.observe(WorkerId(1), Signal::Cache(&[event]), at(1), at(1));
    }
    let wanted: Vec<_> = std::iter::from_fn(|| line.router.poll_wanted()).collect();
    assert_eq!(wanted, [Wanted::Replay { worker: WorkerId(1), epoch: Epoch(0), from: 1 }, SNAPSHOT]);
    line.snapshot(12_002, 3, 2);
    assert_eq!((line.held(), line.router.deadline()), (3, None));
}

#[test]
fn so_are_the_pieces_that_wait_there() {
    let many = |pieces: u32| {
        let pieces = (0..pieces).map(|piece| Piece { key: kvcache::PieceKey(u64::from(piece) << 32), end: Tokens(16) });
        Change::Evicted { left: Tokens::ZERO, pieces: pieces.collect(), strand: None }
    };
    // 64 events of 1,024 pieces are kept, and what was asked for is still the replay; one piece more is too much.
    for (more, expected) in [(0, vec![]), (1, vec![SNAPSHOT])] {
        let mut line = Line::new(None);
        line.hear([0], 0);
        let sizes = (0..64).map(|_| 1024).chain((more > 0).then_some(more));
        for (sequence, pieces) in (2..).zip(sizes) {
            let event = CacheEvent { epoch: Epoch(0), sequence, change: many(pieces) };
            line.router.observe(WorkerId(1), Signal::Cache(&[event]), at(1), at(1));
        }
        let wanted: Vec<_> = std::iter::from_fn(|| line.router.poll_wanted()).collect();
        let replay = Wanted::Replay { worker: WorkerId(1), epoch: Epoch(0), from: 1 };
        assert_eq!(wanted, [vec![replay], expected].concat());
        line.snapshot(200, 3, 2);
        assert_eq!((line.held(), line.router.deadline()), (3, None));
    }
    // What has been applied waits no more: 1 and 64 are lost, and 1 comes.
    let mut line = Line::new(None);
    line.hear([0], 0);
    let mut tell = |numbers: std::ops::Range<u64>| {
        for sequence in numbers {
            let event = CacheEvent { epoch: Epoch(0), sequence, change: many(1024) };
            line.router.observe(WorkerId(1), Signal::Cache(&[event]), at(1), at(1));
        }
    };
    [2..64, 65..66, 1..2, 66..128].into_iter().for_each(&mut tell);
    let wanted: Vec<_> = std::iter::from_fn(|| line.router.poll_wanted()).collect();
    assert_eq!(wanted.len(), 1, "a replay, and no snapshot: {wanted:?}");
}

/// A wire that loses, doubles and delays, a publisher that keeps only the last events, and workers that restart.
struct Wire {
    chance: Chance,
    fleet: Fleet,
    router: Router,
    published: Vec<Vec<CacheEvent>>, // by worker, its latest life
    under_way: VecDeque<(WorkerId, CacheEvent)>,
    now: u64,
}

const KEPT: usize = 12;

impl Wire {
    fn publish(&mut self, worker: WorkerId, event: CacheEvent) {
        let kept = &mut self.published[worker.index()];
        kept.retain(|other| other.epoch == event.epoch);
        kept.push(event.clone());
        for _ in 0..[1, 1, 1, 1, 1, 1, 1, 2, 0, 0][self.chance.pick(10)] {
            self.under_way.push_back((worker, event.clone()));
        }
    }

    fn step(&mut self) {
        self.now += 1 + self.chance.below(40);
        self.fleet.step(&mut self.chance, |chance, _| random_prompt(chance));
        for worker in (0..3).map(WorkerId) {
            while let Some(event) = self.fleet.caches[worker.index()].poll_event() {
                self.publish(worker, event);
            }
        }
        // Some wait for the next step; of two neighbours of different workers the order changes.
        for _ in 0..self.under_way.len() {
            let Some((worker, event)) = self.under_way.pop_front() else { break };
            if self.chance.percent(10) {
                self.under_way.push_front((worker, event));
                break;
            }
            let mut together = vec![event];
            while self.chance.percent(50)
                && let Some((_, event)) = self.under_way.pop_front_if(|(other, _)| *other == worker)
            {
                together.push(event);
            }
            self.router.observe(worker, Signal::Cache(&together), at(self.now), at(self.now));
        }
        self.answer();
        self.router.timeout(at(self.now));
    }

    fn answer(&mut self) {
        while let Some(wanted) = self.router.poll_wanted() {
            if self.chance.percent(20) {
                continue; // nobody hears it
            }
            match wanted {
                Wanted::Replay { worker, epoch, from } => self.replay(worker, epoch, from),
                Wanted::Snapshot { worker } => self.snapshot(worker),
            }
        }
    }

    fn replay(&mut self, worker: WorkerId, epoch: Epoch, from: u64) {
        let kept = &self.published[worker.index()];
        let kept = kept[kept.len().saturating_sub(KEPT)..].to_vec();
        if !kept.iter().any(|event| (event.epoch, event.sequence) == (epoch, from)) {
            return self.router.replay_failed(worker, at(self.now));
        }
        for event in kept.iter().filter(|event| event.sequence >= from) {
            if !self.chance.percent(5) {
                self.router.observe(worker, Signal::Cache(std::slice::from_ref(event)), at(self.now), at(self.now));
            }
        }
    }

    fn snapshot(&mut self, worker: WorkerId) {
        let all = self.fleet.caches[worker.index()].snapshot();
        let snapshot = Snapshot { epoch: all.epoch, next: all.next, stored: &all.stored };
        self.router.take_snapshot(worker, &snapshot, at(self.now), at(self.now));
    }

    /// Everything that is under way arrives, and what is missing is noticed and told.
    fn settle(&mut self) {
        while let Some((worker, event)) = self.under_way.pop_front() {
            self.router.observe(worker, Signal::Cache(&[event]), at(self.now), at(self.now));
        }
        for _ in 0..60 {
            self.now += 1001;
            for worker in (0..3).map(WorkerId) {
                let all = self.fleet.caches[worker.index()].snapshot();
                self.router.heartbeat(worker, all.epoch, all.next, at(self.now), at(self.now));
            }
            self.answer();
            self.router.timeout(at(self.now));
        }
    }

    fn assert_exact(&mut self) {
        let mut matches = Matches::new();
        let index = self.router.index().expect("it listens");
        index.check();
        for _ in 0..50 {
            let pieces = random_prompt(&mut self.chance);
            let chain = Chain::new(&pieces, Tokens(UNIT));
            index.matches(chain, &mut matches);
            for (cache, held) in self.fleet.caches.iter().zip(matches.tokens()) {
                let truth = cache.find(chain, chain.tokens().full_blocks(Tokens(UNIT))).blocks();
                assert_eq!(*held, truth.tokens(Tokens(UNIT)));
            }
        }
    }
}

fn random_prompt(chance: &mut Chance) -> Vec<Piece> {
    let count = 1 + chance.pick(6);
    let contents: Vec<_> = (0..count)
        .map(|_| {
            let content = chance.pick(4);
            (content as u64, [5, 37, 64, 90][content])
        })
        .collect();
    prompt(&contents)
}

#[test]
fn whatever_the_wire_does_the_index_becomes_exact_again() {
    let mut all = FeedCount::default();
    for seed in 0..80 {
        // By keys, and by strands.
        let config = RouterConfig { strands: seed % 2 == 1, ..RouterConfig::new(Strategy::KvAware, 3) };
        let mut wire = Wire {
            chance: Chance::new(seed / 2),
            fleet: Fleet::new(Tokens(UNIT)),
            router: Router::new(config),
            published: vec![Vec::new(); 3],
            under_way: VecDeque::new(),
            now: 0,
        };
        for _ in 0..5 {
            (0..400).for_each(|_| wire.step());
            wire.settle();
            wire.assert_exact();
        }
        let count = wire.router.feed().expect("it listens");
        all.gaps += count.gaps;
        all.replayed += count.replayed;
        all.snapshots += count.snapshots;
        all.given_up += count.given_up;
    }
    // The test would mean little if little went wrong.
    assert!(all.gaps > 4000 && all.replayed > 2000 && all.snapshots > 1000 && all.given_up > 40, "{all:?}");
}
