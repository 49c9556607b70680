//! Leases, and waits for them.

use super::answer::{Asked, Grant, GrantId, WaitId};
use super::config::Hold;
use super::name::ObjectName;
use super::{NodeStore, Place, Waiting, blocks_of, fragments, slice};
use crate::pool::Unknown;
use crate::shelf::Policy;
use crate::time::{Span, Time};

impl NodeStore {
    /// A lease of `ttl` on an object; where it is not there, a wait for one `until` then, as far as [`Hold`] has it.
    /// O(log objects + fragments).
    pub fn lease(&mut self, name: ObjectName, ttl: Span, until: Time, now: Time) -> Asked {
        self.timeout(now);
        let place = self.names.get(&name).copied();
        if let Some(Place::Ready(slot)) = place {
            return self.grant(slot, ttl, now).map_or(Asked::TooMany, Asked::Granted);
        }
        if until <= now || (self.config.hold == Hold::Pending && place.is_none()) {
            self.counts.misses += 1;
            return Asked::Absent;
        }
        if self.waits.len() >= self.config.leases as usize {
            return Asked::TooMany;
        }
        let ticket = self.waits.start(Waiting { name, ttl }, until);
        self.waiting.insert((name, ticket));
        Asked::Waiting(WaitId(ticket))
    }

    /// What became of a wait: a lease, or a miss. To be asked after every other call, until there is none.
    pub fn poll_answer(&mut self) -> Option<(WaitId, Option<Grant>)> {
        self.answers.pop_front()
    }

    /// Nobody waits any more.
    ///
    /// # Errors
    /// Where the wait is over: its answer was given, and if that was a lease, it is to be released.
    pub fn cancel(&mut self, id: WaitId, now: Time) -> Result<(), Unknown> {
        self.timeout(now);
        if self.stop_waiting(id.0) { Ok(()) } else { Err(Unknown) }
    }

    /// Ends a lease. This is a use of the object.
    ///
    /// # Errors
    /// Where the lease is over: released before, expired, or never given.
    pub fn release(&mut self, id: GrantId, now: Time) -> Result<(), Unknown> {
        self.timeout(now);
        let slot = self.leases.end(id.0).ok_or(Unknown)?;
        self.unpin(slot, now);
        Ok(())
    }

    /// Whether a lease still keeps what it covers. To be asked *after* the copy: what was copied under a lease that has
    /// ended since may be anything.
    #[must_use]
    pub fn holds(&self, id: GrantId, now: Time) -> bool {
        self.leases.ends(id.0).is_some_and(|ends| now < ends)
    }

    /// An object has arrived: who waited for it, in the order of asking.
    pub(super) fn arrived(&mut self, name: ObjectName, slot: u32, now: Time) {
        while let Some(ticket) = self.first_waiting(&name) {
            let ttl = self.waits.get(ticket).map_or(Span::ZERO, |waiting| waiting.ttl);
            self.stop_waiting(ticket);
            if let Some(grant) = self.grant(slot, ttl, now) {
                self.answers.push_back((WaitId(ticket), Some(grant)));
            } else {
                self.miss(ticket);
            }
        }
    }

    pub(super) fn first_waiting(&self, name: &ObjectName) -> Option<u64> {
        self.waiting.range((*name, 0)..=(*name, u64::MAX)).next().map(|(_, ticket)| *ticket)
    }

    pub(super) fn stop_waiting(&mut self, ticket: u64) -> bool {
        let Some(Waiting { name, .. }) = self.waits.end(ticket) else { return false };
        self.waiting.remove(&(name, ticket));
        true
    }

    /// A wait is over, without a lease.
    pub(super) fn miss(&mut self, ticket: u64) {
        self.counts.misses += 1;
        self.answers.push_back((WaitId(ticket), None));
    }

    /// `None` where too many leases are under way.
    fn grant(&mut self, slot: u32, ttl: Span, now: Time) -> Option<Grant> {
        if self.leases.len() >= self.config.leases as usize {
            return None;
        }
        let object = self.objects[slot as usize].as_mut()?;
        object.pins += 1;
        if object.pins == 1 {
            self.sums.pinned += blocks_of(&object.extents);
            self.order.pin(slice(slot));
        }
        self.counts.hits += 1;
        self.counts.hit_bytes += object.len;
        Some(Grant {
            id: GrantId(self.leases.start(slot, now + ttl)),
            len: object.len,
            seal: object.seal,
            fragments: fragments(&object.extents, object.len, self.config.block),
        })
    }

    /// A lease on the object in this slot has ended.
    pub(super) fn unpin(&mut self, slot: u32, now: Time) {
        let Some(object) = self.objects[slot as usize].as_mut() else { return };
        object.pins -= 1;
        let (is_pinned, condemned) = (object.pins > 0, object.condemned);
        if !is_pinned {
            self.sums.pinned -= blocks_of(&object.extents);
        }
        self.order.used(slice(slot), is_pinned, now);
        if condemned && !is_pinned {
            self.order.gone(slice(slot), None);
            self.vacate(slot);
        }
    }
}
