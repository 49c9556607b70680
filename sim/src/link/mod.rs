//! A link that all transfers under way share equally, told the time.
//!
//! Egalitarian processor sharing, by virtual time as in fluid fair queueing (Demers, Keshav and Shenker, SIGCOMM 1989;
//! Parekh and Gallager, IEEE/ACM Transactions on Networking 1993): `attained` is the work that each transfer present
//! all along has received; it grows at 1/n of the link's speed while n are under way, and a transfer ends when it has
//! grown by the transfer's work since it joined. So only the order of ends is kept, and a join touches nobody else.
//!
//! All of it is integer arithmetic in 2^-44 ps. A departure is exact at that grain and a join rounds the attained work
//! down by less than one unit, so no transfer is ever early, and none is later than the next whole picosecond plus
//! n x 2^-44 ps per join or cancellation while it was under way. Asking more or less often changes nothing.
//!
//! Invariants: no finish lies below what is attained, nor above it by more than the transfer's work; `end` follows from
//! the first finish; on an idle link nothing is attained.

use alloc::collections::VecDeque;
use kvcache::{Span, Time};

mod fluid; // time and work in fractions of a picosecond
mod queue; // who ends next

use queue::{Queue, Transfer};

/// The number of a transfer; no two under way on one link have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub u64);

/// A link shared equally by all transfers under way.
///
/// Holds for runs of 100 days, transfers of 2^50 bytes and rates from 1 MB/s to 10 TB/s. An operation is O(log n) in
/// the transfers under way, and without division where there is only one.
#[derive(Debug)]
pub struct Link {
    per_byte: u64, // work of a byte: how long it takes alone
    queue: Queue,
    attained: u128, // since the link was last idle, as of `since`
    since: u128,
    end: u128,   // when the first of the queue ends; the largest number where it is empty
    began: u128, // when the busy period under way did
    busy: u128,  // of busy periods that are over
    moved: u128,
    ended: VecDeque<(TransferId, Time)>, // by now, but nobody asked yet
    now: Time,
}

impl Link {
    /// An idle link. A byte's time is rounded up to 2^-44 ps, which at 10 TB/s is a part in 10^12.
    ///
    /// # Panics
    /// Where the rate is below 1 MB/s or above 10 TB/s.
    #[must_use]
    pub fn new(bytes_per_s: f64) -> Self {
        assert!((1e6..=1e13).contains(&bytes_per_s), "a link of {bytes_per_s} bytes per second is out of range");
        Self {
            per_byte: fluid::per_byte(bytes_per_s),
            queue: Queue::default(),
            attained: 0,
            since: 0,
            end: u128::MAX,
            began: 0,
            busy: 0,
            moved: 0,
            ended: VecDeque::new(),
            now: Time::ZERO,
        }
    }

    /// How long `bytes` take with the link to themselves, rounded up; the longest span where that is longer.
    #[must_use]
    pub fn alone(&self, bytes: u64) -> Span {
        Span(fluid::whole_up(self.work(bytes)).unwrap_or(u64::MAX))
    }

    /// A transfer of `bytes` joins. One of no bytes ends at once.
    ///
    /// # Panics
    /// Where `now` lies in the past.
    pub fn begin(&mut self, transfer: TransferId, bytes: u64, now: Time) {
        let (at, work) = (self.settle(now), self.work(bytes));
        if self.queue.is_empty() {
            (self.since, self.began, self.end) = (at, at, at + work);
            self.queue.insert(transfer, bytes, work);
        } else {
            // Rounded down, so that those under way may lose but never gain.
            self.attained += fluid::share(at - self.since, self.queue.len());
            self.since = at;
            self.queue.insert(transfer, bytes, self.attained + work);
            self.end = self.next_end();
        }
    }

    /// When the next transfer ends if nobody joins or leaves: the first picosecond at which its work is done, which has
    /// passed already where [`Link::finished`] has something to tell. `None` where nothing is under way, or nothing
    /// ends before 64 bits of picoseconds do.
    #[inline]
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        match self.ended.front() {
            Some((_, at)) => Some(*at),
            None => fluid::whole_up(self.end).map(Time),
        }
    }

    /// A transfer whose work is done by `now`, in order of ends and then of joining; to be asked until there is none.
    ///
    /// # Panics
    /// Where `now` lies in the past.
    pub fn finished(&mut self, now: Time) -> Option<TransferId> {
        let at = self.move_on(now);
        if let Some((transfer, _)) = self.ended.pop_front() {
            return Some(transfer);
        }
        (self.end <= at).then(|| self.depart())
    }

    /// A transfer leaves early: how many of its bytes were delivered, rounded down. `None` where it is not under way,
    /// or done by `now`: then [`Link::finished`] tells of it.
    ///
    /// # Panics
    /// Where `now` lies in the past.
    pub fn cancel(&mut self, transfer: TransferId, now: Time) -> Option<u64> {
        let at = self.settle(now);
        let Transfer { finish, bytes, .. } = self.queue.remove(transfer)?;
        // Those under way up to now, of whom it is one, share what was done since.
        let attained = self.attained + fluid::share(at - self.since, self.queue.len() + 1);
        let delivered = (self.work(bytes) - (finish - attained)) / u128::from(self.per_byte);
        self.moved += delivered;
        self.go_on(attained, at);
        Some(u64::try_from(delivered).expect("no more than its bytes"))
    }

    /// Transfers under way at the latest moment it was told.
    #[inline]
    #[must_use]
    pub fn active(&self) -> usize {
        self.queue.len()
    }

    /// Bytes of all transfers that ended, and what those brought that were cancelled. 100 days at 10 TB/s need more than 64 bits.
    #[must_use]
    pub const fn moved(&self) -> u128 {
        self.moved
    }

    /// Time with at least one transfer under way, up to the latest moment it was told; rounded down.
    #[must_use]
    pub fn busy(&self) -> Span {
        let under_way = if self.queue.is_empty() { 0 } else { fluid::fine(self.now).min(self.end) - self.began };
        Span(fluid::whole(self.busy + under_way))
    }

    fn work(&self, bytes: u64) -> u128 {
        u128::from(bytes) * u128::from(self.per_byte)
    }

    /// Time moves on to `now`, which is given at the grain of the link.
    fn move_on(&mut self, now: Time) -> u128 {
        assert!(now >= self.now, "time ran backwards");
        self.now = now;
        fluid::fine(now)
    }

    /// Time moves on to `now`; who is done by then leaves at its own end.
    fn settle(&mut self, now: Time) -> u128 {
        let at = self.move_on(now);
        while self.end <= at {
            let ended = Time(fluid::whole_up(self.end).expect("it ended by now"));
            let transfer = self.depart();
            self.ended.push_back((transfer, ended));
        }
        at
    }

    /// The first to end does so, at its exact end.
    fn depart(&mut self) -> TransferId {
        let Transfer { finish, id, bytes, .. } = self.queue.pop().expect("only a transfer under way has an end");
        self.moved += u128::from(bytes);
        // No division and no rounding: at its end exactly its finish is attained.
        self.go_on(finish, self.end);
        id
    }

    /// Somebody left at `at`, when `attained` was attained: looks ahead to the next end, or rests.
    #[inline]
    fn go_on(&mut self, attained: u128, at: u128) {
        if self.queue.is_empty() {
            self.busy += at - self.began;
            (self.attained, self.end) = (0, u128::MAX);
        } else {
            (self.attained, self.since) = (attained, at);
            self.end = self.next_end();
        }
    }

    /// When the first of the queue ends.
    #[inline]
    fn next_end(&self) -> u128 {
        match (self.queue.first_finish(), self.queue.len()) {
            (None, _) => u128::MAX,
            (Some(finish), 1) => self.since + (finish - self.attained),
            // What no 128 bits hold lies past the end of time.
            (Some(finish), sharing) => (finish - self.attained)
                .checked_mul(sharing as u128)
                .and_then(|remaining| self.since.checked_add(remaining))
                .unwrap_or(u128::MAX),
        }
    }

    /// Asserts every invariant. O(n log n).
    ///
    /// # Panics
    /// Where one is broken: a bug.
    pub fn check(&self) {
        self.queue.check();
        for Transfer { id, finish, bytes, .. } in self.queue.iter() {
            assert!(*finish >= self.attained, "{id:?} should have ended");
            assert!(finish - self.attained <= self.work(*bytes), "{id:?} has more to do than it brought");
        }
        assert_eq!(self.end, self.next_end(), "the end follows from the queue");
        assert!(!self.queue.is_empty() || self.attained == 0, "an idle link starts afresh");
        assert!(self.began <= self.since && self.since <= fluid::fine(self.now), "what is attained is attained by now");
        assert!(self.ended.iter().is_sorted_by_key(|(_, at)| *at), "ends are told in order");
        assert!(self.ended.back().is_none_or(|(_, at)| *at <= self.now), "what ended did so by now");
    }
}
