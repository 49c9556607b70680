//! Why a request went where it did: its decision is kept while the run goes by, and nobody else's.

use super::Assembled;
use kvcache::{SessionId, Time};
use router::{Decision, RouterConfig};
use sim::cluster::{Event, Overlap};
use sim::ledger::{Ledger, Record};
use sim::workload::Workload;
use std::collections::BTreeMap;

/// A request, what was decided about it, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Its number, from 0 in order of arrival.
    pub request: u64,
    /// Its user's session, if it has one.
    pub session: Option<SessionId>,
    /// Whether it names its session where the router looks for it.
    pub names_session: bool,
    /// What became of it.
    pub record: Record,
    /// What was decided. `None`: nobody could be chosen.
    pub routed: Option<Routed>,
    /// How the router is set up.
    pub router: RouterConfig,
}

/// A decision of the router, and what it could not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// What, and why.
    pub decision: Decision,
    /// What workers really had. `None`: nobody looked.
    pub overlap: Option<Overlap>,
    /// When.
    pub at: Time,
}

/// Requests that somebody asked about.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    requests: &'a [u64],
    routed: BTreeMap<u64, Routed>,
}

impl<'a> Asked<'a> {
    pub(super) const fn about(requests: &'a [u64]) -> Self {
        Self { requests, routed: BTreeMap::new() }
    }

    /// Keeps the decision, if it is about one of them.
    pub(super) fn look(&mut self, event: &Event) {
        if let Event::Routed { request, decision, overlap, at } = event
            && self.requests.contains(&request.0)
        {
            self.routed.insert(request.0, Routed { decision: decision.clone(), overlap: *overlap, at: *at });
        }
    }

    /// All of them, once the run is over.
    pub(super) fn explain(&self, workload: &Workload, ledger: &Ledger, assembled: &Assembled) -> Vec<Explanation> {
        let explain = |&request: &u64| Explanation {
            request,
            session: workload.requests()[ledger.place(request as usize)].session,
            names_session: assembled.path.names_session,
            record: ledger.records()[request as usize],
            routed: self.routed.get(&request).cloned(),
            router: assembled.router,
        };
        self.requests.iter().map(explain).collect()
    }
}
