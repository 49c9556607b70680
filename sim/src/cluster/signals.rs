//! What the router hears of workers, and when: each signal takes the same time, so they arrive in the order they left.

use alloc::collections::VecDeque;
use kvcache::{CacheEvent, Epoch, RequestId, Span, Time, WorkerId};
use router::{Router, Signal};

#[derive(Debug)]
enum Letter {
    Cache(CacheEvent),
    FirstToken(RequestId),
    Finished(RequestId),
    Restarted(Epoch),
}

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
    pub(super) fn send(&mut self, router: &mut Router, worker: WorkerId, signal: Signal<'_>, now: Time) {
        if self.lag == Span::ZERO {
            return router.observe(worker, signal, now, now);
        }
        let letter = match signal {
            Signal::Cache(events) => {
                let letters = events.iter().map(|event| (now, worker, Letter::Cache(event.clone())));
                return self.under_way.extend(letters);
            }
            Signal::FirstToken(request) => Letter::FirstToken(request),
            Signal::Finished(request) => Letter::Finished(request),
            Signal::Restarted(epoch) => Letter::Restarted(epoch),
            // Known from the start.
            Signal::Forecast(_) => return router.observe(worker, signal, now, now),
        };
        self.under_way.push_back((now, worker, letter));
    }

    /// What has arrived by `now` is heard. The router acts at decisions only, so it need not be told before one.
    pub(super) fn deliver(&mut self, router: &mut Router, now: Time) {
        while let Some((sent, worker, letter)) = self.under_way.pop_front_if(|(sent, ..)| *sent + self.lag <= now) {
            let signal = match &letter {
                Letter::Cache(event) => Signal::Cache(core::slice::from_ref(event)),
                Letter::FirstToken(request) => Signal::FirstToken(*request),
                Letter::Finished(request) => Signal::Finished(*request),
                Letter::Restarted(epoch) => Signal::Restarted(*epoch),
            };
            router.observe(worker, signal, sent, sent + self.lag);
        }
    }
}
