//! Who sends next where replies decide: a fixed number in flight, or turn by turn.
//!
//! Requests reach the router in order of `(time, place in the list)`: a total order. What is kept grows with those who are
//! about to send, and by two numbers for each request where turns are taken.

use crate::extent::{Extent, Starting};
use crate::workload::{Pacing, Workload};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use kvcache::{RequestId, Span, Time};

/// No request.
const NONE: u32 = u32::MAX;

/// The state of a closed loop.
pub(crate) struct Pacer<'a> {
    workload: &'a Workload,
    latency: Span,
    /// Users who have not started yet, or who have not begun to take turns.
    starting: Starting,
    /// Nobody sends from then on.
    until: Option<Time>,
    /// How long whoever is turned away waits at least.
    pause: Span,
    /// Of those who wait for nobody, or for anybody, the next to send; the end of the list where there is none.
    next: usize,
    /// On their way to the router, or about to be sent. With a fixed number in flight these are users, and who reaches the
    /// router first has the next request of the list.
    due: BTreeSet<(Time, usize)>,
    /// How many have reached the router.
    arrived: usize,
    /// Who waits for each request, by its place in the list. Empty unless turns are taken.
    waits: Vec<u32>,
    /// The place in the list of each request, by its number, which is the order of arrival. Empty unless turns are taken.
    order: Vec<u32>,
}

impl<'a> Pacer<'a> {
    /// At the beginning of a run. `latency` lies between client and router.
    pub(crate) fn new(workload: &'a Workload, latency: Span, extent: &Extent) -> Self {
        let first_turns = || workload.turns().iter().filter(|turn| turn.after.is_none()).count() as u32;
        let users = match workload.pacing() {
            Pacing::Open => 0,
            Pacing::Closed { concurrency } => concurrency,
            Pacing::Turns => first_turns(),
        };
        let mut pacer = Self {
            workload,
            latency,
            starting: Starting::new(users, extent.ramp),
            until: extent.until,
            pause: extent.pause,
            next: 0,
            due: BTreeSet::new(),
            arrived: 0,
            waits: Vec::new(),
            order: Vec::new(),
        };
        match workload.pacing() {
            Pacing::Open | Pacing::Closed { .. } => {}
            Pacing::Turns => {
                pacer.waits = alloc::vec![NONE; workload.requests().len()];
                pacer.order.reserve_exact(workload.requests().len());
                for (place, turn) in workload.turns().iter().enumerate() {
                    if let Some(before) = turn.after {
                        pacer.waits[before as usize] = place as u32;
                    }
                }
                pacer.skip_later_turns();
            }
        }
        pacer
    }

    /// With a fixed number in flight, whoever starts by the next arrival and by `due`, when something happens by itself, does
    /// so now: before anything that happens at that moment.
    pub(crate) fn start_by(&mut self, due: Option<Time>) {
        if self.takes_turns() {
            return;
        }
        let next = |pacer: &Self| pacer.due.first().map(|(at, _)| *at).into_iter().chain(due).min();
        while let Some(at) = self.starting.next().filter(|at| next(self).is_none_or(|next| *at <= next)) {
            self.starting.advance();
            self.send_next(at);
        }
    }

    /// The next request to reach the router, and when; `None`: no one does before another reply is complete. O(1).
    pub(crate) fn first(&self) -> Option<(Time, usize)> {
        let due = self.due.first().map(|(at, place)| (*at, if self.takes_turns() { *place } else { self.arrived }));
        match (self.next_first_turn(), due) {
            (Some(turn), Some(due)) => Some(turn.min(due)),
            (turn, due) => turn.or(due),
        }
    }

    /// The request that [`Pacer::first`] names reaches the router. O(log of those about to send).
    pub(crate) fn arrives(&mut self) {
        let Some(first) = self.first() else { return };
        if self.next_first_turn() == Some(first) {
            self.starting.advance();
            self.next += 1;
            self.skip_later_turns();
        } else {
            self.due.pop_first();
        }
        self.arrived += 1;
        if self.takes_turns() {
            self.order.push(first.1 as u32);
        }
    }

    /// The reply to `request`, sent at `sent`, is complete, or will never come: whoever waits for it goes on.
    pub(crate) fn ended(&mut self, request: RequestId, sent: Time, now: Time) {
        self.go_on(request, sent, now, now);
    }

    /// `request`, sent at `sent`, was turned away for the moment: whoever would have waited for the reply waits a while.
    pub(crate) fn turned_away(&mut self, request: RequestId, sent: Time, now: Time) {
        self.go_on(request, sent, now, Time(now.0.saturating_add(self.pause.0)));
    }

    fn go_on(&mut self, request: RequestId, sent: Time, ended: Time, earliest: Time) {
        match self.workload.pacing() {
            Pacing::Open => {}
            Pacing::Closed { .. } => self.send_next(earliest),
            Pacing::Turns => {
                let waits = self.waits[self.order[request.0 as usize] as usize];
                if let Some(turn) = self.workload.turns().get(waits as usize) {
                    let at = turn.due(sent, ended).max(earliest);
                    if !self.is_over(at) {
                        self.send(waits as usize, at);
                    }
                }
            }
        }
    }

    /// The place in the list of each request, by its number; empty where these are the same.
    pub(crate) fn into_order(self) -> Vec<u32> {
        self.order
    }

    fn takes_turns(&self) -> bool {
        self.workload.pacing() == Pacing::Turns
    }

    /// Under a fixed number in flight: whoever's turn it is sends at `at`.
    fn send_next(&mut self, at: Time) {
        if !self.is_over(at) && self.next < self.workload.requests().len() {
            self.send(self.next, at);
            self.next += 1;
        }
    }

    fn is_over(&self, at: Time) -> bool {
        self.until.is_some_and(|until| at >= until)
    }

    fn send(&mut self, place: usize, at: Time) {
        self.due.insert((Time(at.0.saturating_add(self.latency.0)), place));
    }

    /// The next of those who wait for nobody; they are in order of time.
    fn next_first_turn(&self) -> Option<(Time, usize)> {
        let request = self.workload.requests().get(self.next).filter(|_| self.takes_turns())?;
        let at = request.at.max(self.starting.next().unwrap_or_default());
        (!self.is_over(at)).then(|| (Time(at.0.saturating_add(self.latency.0)), self.next))
    }

    fn skip_later_turns(&mut self) {
        let later = |turn: &crate::workload::Turn| turn.after.is_some();
        while self.workload.turns().get(self.next).is_some_and(later) {
            self.next += 1;
        }
    }
}
