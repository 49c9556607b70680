//! The controller: what workers say of their caches, in order, becomes the index.
//!
//! Invariant: of a worker whose feed is level the index holds exactly what its events of one epoch said. What is missing
//! is asked for ([`Wanted`]): first that it be told again, then a snapshot; where neither comes, the worker's entries go,
//! and what it says from then on counts. A worker that says nothing for too long loses its entries, too, and a restart
//! takes them at once: stale credit sends requests where nothing is.

use crate::index::{Index, IndexConfig};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use kept::Kept;
use kvcache::{CacheEvent, Change, Epoch, Span, Time, WorkerId};

mod kept; // what waits behind a gap

/// How long whoever is asked for events may take before something else is tried.
const PATIENCE: Span = Span::from_secs(1);
/// How long after a worker's entries were given up, or were asked for in vain, they are asked for again.
const AGAIN: Span = Span::from_secs(5);

/// What a feed needs and cannot get by itself: whoever owns the wire asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The worker's events of this epoch, from this number on, once more.
    Replay {
        /// Whose.
        worker: WorkerId,
        /// Of which life.
        epoch: Epoch,
        /// The first that is missing.
        from: u64,
    },
    /// All that the worker holds, and the number of the event that comes after ([`kvcache::WorkerCache::snapshot`]).
    Snapshot {
        /// Whose.
        worker: WorkerId,
    },
}

impl Wanted {
    const fn worker(self) -> WorkerId {
        match self {
            Self::Replay { worker, .. } | Self::Snapshot { worker } => worker,
        }
    }
}

/// All that a worker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot<'a> {
    /// The life of its cache.
    pub epoch: Epoch,
    /// The event that comes next.
    pub next: u64,
    /// What it holds, as [`Change::Stored`], each piece behind its parent.
    pub stored: &'a [Change],
}

/// What became of the events heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedCount {
    /// Applied to the index.
    pub applied: u64,
    /// Skipped: of an earlier epoch, or a sequence number that was there before.
    pub skipped: u64,
    /// How often events were found missing.
    pub gaps: u64,
    /// Gaps that were filled by telling again.
    pub replayed: u64,
    /// Snapshots taken.
    pub snapshots: u64,
    /// Gaps that nobody filled, and workers that fell silent: their entries went.
    pub given_up: u64,
}

#[derive(Debug)]
enum State {
    /// All that was said has been heard.
    Level,
    /// Something is missing. What came after it waits. There are events up to `upto`, which is not one.
    Behind { asked: Asked, until: Time, upto: u64, kept: Kept },
    /// Nothing was heard for too long, and its entries are gone.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Replay,
    Snapshot,
}

#[derive(Debug)]
struct Source {
    due: (Epoch, u64), // the next event
    state: State,
    heard: Option<Time>,   // when the latest news left the worker
    partial: Option<Time>, // what it held before was given up; from then on it may be asked for again
}

/// The index of what workers hold, by their own account.
#[derive(Debug)]
pub(crate) struct Feed {
    index: Index,
    sources: Vec<Source>,
    wanted: VecDeque<Wanted>,
    behind: u16, // workers that are not level
    silence: Option<Span>,
    count: FeedCount,
}

impl Feed {
    pub(crate) fn new(index: IndexConfig) -> Self {
        let source = |_| Source { due: (Epoch(0), 0), state: State::Level, heard: None, partial: None };
        Self {
            sources: (0..index.workers).map(source).collect(),
            index: Index::new(index),
            wanted: VecDeque::new(),
            behind: 0,
            silence: None,
            count: FeedCount::default(),
        }
    }

    /// The same feed, of which a worker must let hear something each `silence`.
    pub(crate) fn with_silence(self, silence: Option<Span>) -> Self {
        Self { silence, ..self }
    }

    pub(crate) const fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) const fn index_mut(&mut self) -> &mut Index {
        &mut self.index
    }

    pub(crate) const fn count(&self) -> FeedCount {
        self.count
    }

    /// What is needed and was not asked for yet.
    pub(crate) fn poll_wanted(&mut self) -> Option<Wanted> {
        self.wanted.pop_front()
    }

    /// Takes events that left their worker at `as_of`.
    pub(crate) fn hear(&mut self, worker: WorkerId, events: &[CacheEvent], as_of: Time, now: Time) {
        let source = &mut self.sources[worker.index()];
        source.heard = source.heard.max(Some(as_of));
        for event in events {
            let source = &mut self.sources[worker.index()];
            if matches!(source.state, State::Level) && (event.epoch, event.sequence) == source.due {
                source.due.1 += 1;
                self.count.applied += 1;
                apply(&mut self.index, worker, &event.change);
            } else {
                self.hear_out_of_turn(worker, event, now);
            }
        }
    }

    #[cold]
    fn hear_out_of_turn(&mut self, worker: WorkerId, event: &CacheEvent, now: Time) {
        if matches!(self.sources[worker.index()].state, State::Silent) {
            // What it held is unknown.
            self.fall_behind(worker, Asked::Snapshot, now);
        }
        let due = self.sources[worker.index()].due;
        if (event.epoch, event.sequence) < due {
            self.count.skipped += 1;
            return;
        }
        if event.epoch > due.0 {
            self.begin(worker, event.epoch);
        }
        let source = &mut self.sources[worker.index()];
        if event.sequence > source.due.1 {
            if let State::Level = source.state {
                self.count.gaps += 1;
                self.fall_behind(worker, Asked::Replay, now);
            }
            return self.keep(worker, event.clone(), now);
        }
        if let State::Behind { asked: Asked::Snapshot, .. } = source.state {
            // It cannot be put where it belongs.
            return self.keep(worker, event.clone(), now);
        }
        source.due.1 += 1;
        self.count.applied += 1;
        apply(&mut self.index, worker, &event.change);
        if matches!(self.sources[worker.index()].state, State::Behind { .. }) {
            self.catch_up(worker, now);
        }
    }

    /// The worker restarted: `epoch` is its life now, where no later one was heard of.
    pub(crate) fn restarted(&mut self, worker: WorkerId, epoch: Epoch) {
        if epoch > self.sources[worker.index()].due.0 {
            self.begin(worker, epoch);
        }
    }

    /// The worker is not there any more. Whoever has its number next begins as it did.
    pub(crate) fn forget(&mut self, worker: WorkerId) {
        self.begin(worker, Epoch(0));
        self.sources[worker.index()].heard = None;
        self.wanted.retain(|wanted| wanted.worker() != worker);
    }

    /// A life begins: nothing of the earlier one is left, whatever was lost on the way.
    fn begin(&mut self, worker: WorkerId, epoch: Epoch) {
        self.index.clear(worker);
        let source = &mut self.sources[worker.index()];
        (source.due, source.partial) = ((epoch, 0), None);
        if !matches!(source.state, State::Level) {
            source.state = State::Level;
            self.behind -= 1;
        }
    }

    fn fall_behind(&mut self, worker: WorkerId, asked: Asked, now: Time) {
        let source = &mut self.sources[worker.index()];
        let (epoch, from) = source.due;
        let (upto, kept) = match core::mem::replace(&mut source.state, State::Level) {
            State::Behind { upto, kept, .. } => (upto, kept),
            State::Silent => (from, Kept::default()),
            State::Level => {
                self.behind += 1;
                (from, Kept::default())
            }
        };
        source.state = State::Behind { asked, until: now + PATIENCE, upto, kept };
        self.wanted.push_back(match asked {
            Asked::Replay => Wanted::Replay { worker, epoch, from },
            Asked::Snapshot => Wanted::Snapshot { worker },
        });
    }

    /// Keeps an event that comes behind a gap.
    fn keep(&mut self, worker: WorkerId, event: CacheEvent, now: Time) {
        let State::Behind { asked, kept, upto, .. } = &mut self.sources[worker.index()].state else { return };
        *upto = (*upto).max(event.sequence + 1);
        self.count.skipped += u64::from(!kept.insert(event));
        // The latest are those that count, and only behind a snapshot.
        if kept.keep_within_bounds() && *asked == Asked::Replay {
            self.fall_behind(worker, Asked::Snapshot, now);
        }
    }

    /// Applies what waited for what has come now.
    fn catch_up(&mut self, worker: WorkerId, now: Time) {
        let source = &mut self.sources[worker.index()];
        let State::Behind { kept, upto, until, .. } = &mut source.state else { return };
        while let Some(event) = kept.pop_upto(source.due.1) {
            if event.sequence < source.due.1 {
                self.count.skipped += 1;
                continue;
            }
            source.due.1 += 1;
            self.count.applied += 1;
            apply(&mut self.index, worker, &event.change);
        }
        if source.due.1 >= *upto {
            source.state = State::Level;
            self.behind -= 1;
            self.count.replayed += 1;
        } else {
            // Something comes: more may.
            *until = now + PATIENCE;
        }
    }

    /// Nobody will tell `worker`'s events again.
    pub(crate) fn replay_failed(&mut self, worker: WorkerId, now: Time) {
        if let State::Behind { asked: Asked::Replay, .. } = self.sources[worker.index()].state {
            self.fall_behind(worker, Asked::Snapshot, now);
        }
    }

    /// All that `worker` holds, as it left it at `as_of`; what it said before does not matter any more.
    pub(crate) fn take_snapshot(&mut self, worker: WorkerId, snapshot: &Snapshot<'_>, as_of: Time, now: Time) {
        let source = &mut self.sources[worker.index()];
        source.heard = source.heard.max(Some(as_of));
        if (snapshot.epoch, snapshot.next) < source.due {
            self.count.skipped += 1;
            return;
        }
        self.count.snapshots += 1;
        self.index.clear(worker);
        for change in snapshot.stored {
            apply(&mut self.index, worker, change);
        }
        let source = &mut self.sources[worker.index()];
        let same_life = source.due.0 == snapshot.epoch;
        (source.due, source.partial) = ((snapshot.epoch, snapshot.next), None);
        match &mut source.state {
            State::Level => {}
            State::Silent => {
                source.state = State::Level;
                self.behind -= 1;
            }
            State::Behind { kept, asked, upto, .. } => {
                *asked = Asked::Replay;
                kept.keep_life(snapshot.epoch);
                // Of an earlier life nothing is missing.
                *upto = if same_life { *upto } else { kept.end() };
                let replayed = self.count.replayed;
                self.catch_up(worker, now);
                self.count.replayed = replayed;
            }
        }
    }

    /// `worker` lives, and the event that it tells next is `next` of `epoch`: so a lost last event is noticed.
    pub(crate) fn heartbeat(&mut self, worker: WorkerId, epoch: Epoch, next: u64, as_of: Time, now: Time) {
        let source = &mut self.sources[worker.index()];
        source.heard = source.heard.max(Some(as_of));
        if matches!(source.state, State::Silent) {
            return self.fall_behind(worker, Asked::Snapshot, now);
        }
        if epoch > source.due.0 {
            self.begin(worker, epoch);
        }
        let source = &mut self.sources[worker.index()];
        if epoch < source.due.0 {
            return;
        }
        if let State::Behind { upto, .. } = &mut source.state {
            *upto = next.max(*upto);
        } else if next > source.due.1 {
            self.count.gaps += 1;
            self.fall_behind(worker, Asked::Replay, now);
            if let State::Behind { upto, .. } = &mut self.sources[worker.index()].state {
                *upto = next;
            }
        } else if source.partial.is_some_and(|again| now >= again) {
            source.partial = Some(now + AGAIN);
            self.wanted.push_back(Wanted::Snapshot { worker });
        }
    }

    /// When [`Feed::timeout`] has something to do. O(workers).
    pub(crate) fn deadline(&self) -> Option<Time> {
        let of = |source: &Source| match source.state {
            State::Behind { until, .. } => Some(until),
            State::Silent => None,
            State::Level => Some(source.heard? + self.silence?),
        };
        self.sources.iter().filter_map(of).min()
    }

    /// It is `now`: who was asked and did not answer is asked for something else, or given up. O(workers) where
    /// something is amiss.
    pub(crate) fn timeout(&mut self, now: Time) {
        if self.behind == 0 && self.silence.is_none() {
            return;
        }
        for worker in (0..self.index.config().workers).map(WorkerId) {
            let source = &self.sources[worker.index()];
            let fell_silent = |heard: Time| self.silence.is_some_and(|silence| now >= heard + silence);
            match source.state {
                State::Behind { asked: Asked::Replay, until, .. } if now >= until => {
                    self.fall_behind(worker, Asked::Snapshot, now);
                }
                State::Behind { asked: Asked::Snapshot, until, .. } if now >= until => self.give_up(worker, now),
                State::Level if source.heard.is_some_and(fell_silent) => {
                    self.count.given_up += 1;
                    self.index.clear(worker);
                    self.sources[worker.index()].state = State::Silent;
                    self.behind += 1;
                }
                _ => {}
            }
        }
    }

    /// What is missing never came: what came after it counts, as far as it can be found. (vLLM tells again, and knows no
    /// snapshots.) Where heartbeats come, all is asked for again.
    fn give_up(&mut self, worker: WorkerId, now: Time) {
        self.count.given_up += 1;
        self.index.clear(worker);
        let source = &mut self.sources[worker.index()];
        source.partial = Some(now + AGAIN);
        if let State::Behind { kept, upto, .. } = core::mem::replace(&mut source.state, State::Level) {
            self.behind -= 1;
            source.due.1 = source.due.1.max(upto);
            for event in kept.into_events() {
                self.count.applied += 1;
                apply(&mut self.index, worker, &event.change);
            }
        }
    }
}

#[inline]
fn apply(index: &mut Index, worker: WorkerId, change: &Change) {
    let by_strand = index.config().follows_strands();
    match change {
        Change::Stored { start, upto, pieces, strand: Some(strand), .. } if by_strand => {
            index.store_strand(worker, *strand, *start, pieces, *upto);
        }
        Change::Evicted { left, strand: Some(strand), .. } if by_strand => index.evict_strand(worker, *strand, *left),
        // Who numbers nothing cannot be followed.
        Change::Stored { .. } | Change::Evicted { .. } if by_strand => index.count_orphan(),
        Change::Stored { parent, start, upto, pieces, .. } => index.store_all(worker, *parent, *start, pieces, *upto),
        Change::Evicted { left, pieces, .. } => index.evict_all(worker, *left, pieces),
        Change::Cleared => index.clear(worker),
    }
}
