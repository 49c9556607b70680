//! How many requests a worker lets in: the proxy before it (`worker.requestLimits`) hands so many to the engine at a time,
//! lets so many wait in a line of its own, first come, first served, and turns the others away.

use super::signals::Letter;
use super::{Arrival, Cluster, Event, Refusal};
use crate::replica::Output;
use alloc::boxed::Box;
use kvcache::{Piece, RequestId, Tokens, WorkerId};
use router::Signal;

/// Limits of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Requests at the engine at a time, at least 1.
    pub concurrent: u32,
    /// Requests in line before it. `None`: as many as come.
    pub queue: Option<u32>,
    /// The HTTP status of a refusal.
    pub status: u16,
}

/// A request in line.
#[derive(Clone, Debug)]
pub(super) struct InLine {
    pub(super) request: RequestId,
    pieces: Box<[Piece]>,
    prompt: Tokens,
    output: Tokens,
}

impl Cluster {
    /// The same cluster, each of whose workers lets so many requests in.
    #[must_use]
    pub const fn with_limits(mut self, limits: Option<RequestLimits>) -> Self {
        self.limits = limits;
        self
    }

    /// Whether `arrival` has to stay outside `worker`, in line or turned away. Else it counts as inside.
    pub(super) fn stays_outside(&mut self, worker: WorkerId, arrival: &Arrival<'_>) -> bool {
        let Some(limits) = self.limits else { return false };
        let station = &mut self.stations[worker.index()];
        if station.inside < limits.concurrent {
            station.inside += 1;
            return false;
        }
        let request = arrival.request;
        // It would only hold up others in line.
        if let Err(refused) = station.replica.config().would_serve(arrival.prompt, arrival.output) {
            self.refuse(worker, request, Refusal::Worker(refused));
            return true;
        }
        if limits.queue.is_none_or(|most| station.line.len() < most as usize) {
            let Arrival { pieces, prompt, output, .. } = *arrival;
            station.line.push_back(InLine { request, pieces: pieces.into(), prompt, output });
        } else {
            self.refuse(worker, request, Refusal::Overflow { status: limits.status });
        }
        true
    }

    /// A request that was sent to `worker` ends there before it began.
    pub(super) fn refuse(&mut self, worker: WorkerId, request: RequestId, refusal: Refusal) {
        let at = self.now;
        self.events.push_back(Event::Refused { request, refusal, at });
        self.hear_what_is_immediate();
        self.router.observe(worker, Signal::Finished(request), at, at);
    }

    /// A request has left `worker`; who is first in line takes its place.
    pub(super) fn let_in(&mut self, worker: WorkerId) {
        let station = &mut self.stations[worker.index()];
        station.inside -= 1;
        let Some(next) = station.line.pop_front() else { return };
        station.inside += 1;
        self.submit(worker, next.request, &next.pieces, next.prompt, next.output);
    }

    /// The client of a request that waits in line went away. Says whether it did.
    pub(super) fn leave_line(&mut self, worker: WorkerId, request: RequestId) -> bool {
        let line = &mut self.stations[worker.index()].line;
        let Some(place) = line.iter().position(|waiting| waiting.request == request) else { return false };
        line.remove(place);
        self.events.push_back(Event::Output { worker, output: Output::Cancelled { request } });
        // As of whoever leaves the engine, the router hears of it with all that the worker tells.
        self.signals.send(worker, Letter::Finished(request), self.now);
        self.hear_what_is_immediate();
        self.leave_if_drained(worker);
        true
    }

    /// Requests in line before all workers.
    #[must_use]
    pub fn in_line(&self) -> u64 {
        self.stations.iter().map(|station| station.line.len() as u64).sum()
    }
}
