//! What the router hears of workers, and when: each signal takes the same time, so they arrive in the order they left.
//!
//! The router acts at decisions only, so it is told before one, and when time has moved on. What workers say of their caches
//! waits where it was said: told together it costs less than whenever a pass has ended, since what tells and what is told
//! then do not drive each other out of the core's caches again and again.

use super::Station;
use alloc::collections::VecDeque;
use kvcache::{Epoch, RequestId, Span, Time, WorkerId};
use router::{Router, Signal};

#[derive(Clone, Copy, Debug)]
pub(super) enum Letter {
    /// So many changes of its cache, the next ones that it has to tell.
    Cache(usize),
    FirstToken(RequestId),
    Finished(RequestId),
    Restarted(Epoch),
}

/// So many signals under way are told at once, however long it is to the next decision.
const MANY: usize = 512;

/// Signals on their way.
#[derive(Debug, Default)]
pub(super) struct Signals {
    lag: Span,
    under_way: VecDeque<(Time, WorkerId, Letter)>, // when each left
}

impl Signals {
    pub(super) fn new(lag: Span) -> Self {
        Self { lag, under_way: VecDeque::new() }
    }

    /// A signal leaves `worker` now.
    #[inline]
    pub(super) fn send(&mut self, worker: WorkerId, letter: Letter, now: Time) {
        self.under_way.push_back((now, worker, letter));
    }

    /// So many changes of its cache are told by `worker` from now on.
    #[inline]
    pub(super) fn send_changes(&mut self, worker: WorkerId, changes: usize, now: Time) {
        match self.under_way.back_mut() {
            // What arrives together, and of which nothing else came in between, is one.
            Some((sent, sender, Letter::Cache(before))) if self.lag == Span::ZERO && *sender == worker => {
                *before += changes;
                *sent = now;
            }
            _ => self.send(worker, Letter::Cache(changes), now),
        }
    }

    /// Whether each arrives when it leaves.
    pub(super) fn are_immediate(&self) -> bool {
        self.lag == Span::ZERO
    }

    /// Whether so many have arrived that they should be heard.
    #[inline]
    pub(super) fn are_many(&self) -> bool {
        self.are_immediate() && self.under_way.len() >= MANY
    }

    /// What has arrived by `now` is heard.
    pub(super) fn deliver(&mut self, router: &mut Router, stations: &mut [Station], now: Time) {
        let lag = self.lag;
        while let Some((sent, worker, letter)) = self.under_way.pop_front_if(|(sent, ..)| *sent + lag <= now) {
            let heard = sent + lag;
            let signal = match letter {
                Letter::Cache(changes) => {
                    let station = &mut stations[worker.index()];
                    station.telling -= changes;
                    let tell = |told: &[_]| router.observe(worker, Signal::Cache(told), sent, heard);
                    station.replica.take_cache_events(changes, tell);
                    continue;
                }
                Letter::FirstToken(request) => Signal::FirstToken(request),
                Letter::Finished(request) => Signal::Finished(request),
                Letter::Restarted(epoch) => Signal::Restarted(epoch),
            };
            router.observe(worker, signal, sent, heard);
        }
    }
}
