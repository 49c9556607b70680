//! `session`: the worker of the request's session, by a hash ring; without a session, the worker with the lowest rate.
//! Where `kvaware` does not go by its index, it goes by this.

use crate::available::Available;
use crate::compat::recent::Recent;
use crate::compat::ring::Ring;
use crate::request::{Decision, Missed, Reason};
use crate::router::{Asked, Choose};
use kvcache::{SessionId, Span, Time, WorkerId};

#[derive(Debug)]
pub(crate) struct Sessions {
    ring: Ring,
    recent: Recent,
}

impl Sessions {
    pub(crate) fn new(workers: u16, window: Span) -> Self {
        Self { ring: Ring::new(workers), recent: Recent::new(workers, window) }
    }

    /// The worker for `session`, and why. `missed` is passed on.
    pub(crate) fn pick(
        &mut self,
        session: Option<SessionId>,
        missed: Option<Missed>,
        available: &Available,
        now: Time,
    ) -> (WorkerId, Reason) {
        if let Some(session) = session {
            return (self.ring.owner(session, available), Reason::RingOfSession { missed });
        }
        let (worker, recent) = self.recent.lowest(available, now);
        (worker, Reason::LowestQps { recent, missed })
    }

    /// A request goes to `worker`, whichever rule said so: upstream counts them all.
    pub(crate) fn note(&mut self, worker: WorkerId, now: Time) {
        self.recent.note(worker, now);
    }
}

impl Choose for Sessions {
    fn choose(&mut self, asked: &Asked<'_>) -> Decision {
        let (worker, reason) = self.pick(asked.request.session, None, asked.available, asked.now);
        self.note(worker, asked.now);
        Decision::blind(worker, reason)
    }
}
