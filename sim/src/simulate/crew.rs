//! A run whose workers come and go: the fleet acts when its time has come, and who was lost is sent again or gets an error.

use super::{Run, Shell};
use crate::cluster::{Cluster, Event};
use crate::fleet::Fleet;
use alloc::vec::Vec;
use kvcache::{RequestId, Time};

/// The fleet, and which request of the workload each that was sent is.
pub(super) struct Crew<'a> {
    fleet: &'a mut Fleet,
    pub(super) sent: Vec<u32>,
}

impl<'a> Crew<'a> {
    pub(super) const fn new(fleet: &'a mut Fleet) -> Self {
        Self { fleet, sent: Vec::new() }
    }

    /// When the fleet may have something to do: where a worker waits for the place of another, at whatever happens.
    fn due(&self, cluster: &mut Cluster) -> Option<Time> {
        let waits = self.fleet.is_short().then(|| cluster.next_due()).flatten();
        [waits, self.fleet.deadline()].into_iter().flatten().min()
    }
}

impl Run<'_> {
    /// When something happens by itself next. Nothing befalls a fleet that has nothing to do any more.
    pub(super) fn next_due(&self, cluster: &mut Cluster) -> Option<Time> {
        let due = cluster.next_due();
        let Some(crew) = self.crew.as_ref().filter(|_| self.ledger.in_system() > 0) else { return due };
        [due, crew.fleet.deadline()].into_iter().flatten().min()
    }

    /// What befalls the fleet until `at` befalls it, and what follows from that at once. Says whether anything did.
    pub(super) fn live_until(&mut self, at: Time, cluster: &mut Cluster, shell: &mut impl Shell) -> bool {
        let mut acted = false;
        while let Some(due) = self.crew.as_ref().and_then(|crew| crew.due(cluster)).filter(|due| *due <= at) {
            cluster.advance(due.max(cluster.now()));
            self.enter_events(cluster, shell);
            if let Some(crew) = &mut self.crew {
                crew.fleet.act(cluster);
            }
            self.enter_events(cluster, shell);
            acted = true;
        }
        acted
    }

    /// What a lost request comes to: before its first token the gateway sends it again, as often as it may; whoever has seen
    /// a part of a reply gets an error. Gives the request that this has ended.
    pub(super) fn fails(&mut self, event: &Event, cluster: &mut Cluster, shell: &mut impl Shell) -> Option<RequestId> {
        let crew = self.crew.as_mut()?;
        crew.fleet.look(event, cluster);
        let Event::Lost { request, worker, at } = *event else { return None };
        let record = &self.ledger.records()[request.0 as usize];
        if record.first_token.is_none() && record.lost <= crew.fleet.config().retries {
            let index = crew.sent[request.0 as usize] as usize;
            self.ledger.sent_again();
            self.arrive(request, index, cluster, shell);
            return None;
        }
        self.ledger.errored(request, at);
        cluster.give_up(request, worker);
        Some(request)
    }
}
