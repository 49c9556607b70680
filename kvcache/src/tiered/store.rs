//! From the device to the tiers: write-through, in the order of the prompt.

use super::{Contact, Done, Failed, Op, OpId, Task, Tiers, Woken};
use crate::chain::Chain;
use crate::host::HostWrite;
use crate::time::Time;
use crate::units::{Blocks, RequestId, Tokens};
use crate::worker::HoldId;

/// A store under way.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) op: OpId,
    write: Option<HostWrite>,
    at: Time, // since when it has been on its way to L2
    /// Whether it is off the device.
    pub(super) copied: bool,
    /// Whether L2 is to have it.
    pub(super) pool: bool,
}

impl Tiers {
    /// The request's first `computed` tokens are on the device: what is not stored of them yet, and is to be, goes on
    /// its way.
    pub(super) fn store(
        &mut self,
        request: RequestId,
        chain: Chain<'_>,
        hold: HoldId,
        prompt: Tokens,
        computed: Tokens,
        now: Time,
    ) {
        let objects = self.objects(chain, prompt);
        let saved = if self.config.save_decode_cache { computed } else { computed.min(prompt) };
        let whole = saved.full_blocks(self.config.chunk);
        let to = if saved == objects.tokens() { objects.objects() } else { whole };
        let from = self.stored[hold.index()];
        if to <= from {
            return;
        }
        self.stored[hold.index()] = to;
        self.tell_host(now);
        let write = self.host.as_mut().map(|host| host.reserve(objects, from, to));
        let host_tokens = write.as_ref().map_or(Tokens::ZERO, HostWrite::new_tokens);
        let host = write.as_ref().map_or(from, HostWrite::end);
        let pool = self.config.pool && self.breaker.may_call(now);
        if host_tokens == Tokens::ZERO && !pool {
            // Nothing to move: all is there, or there is no room, and a store never waits for room.
            if let (Some(host), Some(write)) = (&mut self.host, write) {
                host.publish(write, to);
            }
            return;
        }
        let op = self.number();
        self.stores.push(Store { op, write, at: now, copied: false, pool });
        self.ops.push_back(Op { id: op, request, task: Task::Store { from, to, host, host_tokens, pool } });
    }

    pub(super) fn store_done(&mut self, place: usize, outcome: Result<Done, Failed>, now: Time) -> Option<Woken> {
        self.tell_host(now);
        let store = &mut self.stores[place];
        let first = !core::mem::replace(&mut store.copied, true);
        if first {
            store.at = now;
            let arrived = outcome.is_ok();
            if let (Some(host), Some(write)) = (&mut self.host, store.write.take()) {
                let upto = if arrived { write.end() } else { Blocks::ZERO };
                host.publish(write, upto);
            }
        }
        let goes_on = outcome == Ok(Done::Copied) && store.pool;
        if !goes_on {
            let Store { pool, at, .. } = self.stores.swap_remove(place);
            if pool {
                self.heard(Contact::of(&outcome), at, now);
            }
        }
        first.then_some(Woken::Copied)
    }
}
