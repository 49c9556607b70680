//! Puts, in two phases.

use super::answer::{PutRefusal, Write, WriteId};
use super::config::Hold;
use super::name::ObjectName;
use super::{NodeStore, Object, Place, Writing, blocks_of, fragments, slice};
use crate::pool::Unknown;
use crate::shelf::Policy;
use crate::time::Time;

impl NodeStore {
    /// Makes room for an object of `len` bytes. It is pending until the writer finishes it, gives it up, or its time is
    /// over; the writer ends it in any case. O(objects evicted + fragments, times the log of how many there are).
    ///
    /// # Errors
    /// Why it is not put; nothing changed then.
    pub fn begin_put(&mut self, name: ObjectName, len: u64, now: Time) -> Result<Write, PutRefusal> {
        self.timeout(now);
        let blocks = self.config.blocks();
        if len == 0 {
            return Err(PutRefusal::Empty);
        }
        let needed = len.div_ceil(u64::from(self.config.block));
        if needed > u64::from(blocks) {
            return Err(PutRefusal::TooLarge { most: u64::from(blocks) * u64::from(self.config.block) });
        }
        if self.names.contains_key(&name) {
            self.counts.present += 1;
            return Err(PutRefusal::Present);
        }
        let needed = needed as u32;
        let held = self.sums.pinned + self.sums.writing;
        if needed > blocks - held {
            self.counts.no_room += 1;
            return Err(PutRefusal::NoRoom);
        }
        self.order.coming(name.word());
        self.evict_until(needed, now);
        let extents = self.arena.take(needed).expect("what nobody holds can go, and did");
        self.sums.writing += needed;
        self.counts.puts += 1;
        let fragments = fragments(&extents, len, self.config.block);
        let ticket = self.writes.start(Writing { name, len, extents }, now + self.config.put_ttl);
        self.names.insert(name, Place::Pending(ticket));
        self.evict_ahead(now);
        Ok(Write { id: WriteId(ticket), fragments })
    }

    /// All bytes are where they belong: the object is there from now on, and who waited for it gets a lease. `seal` is
    /// whatever is to come back with each lease, such as a checksum.
    ///
    /// # Errors
    /// Where the put is over: ended before, or too late. Its blocks are given back.
    pub fn finish_put(&mut self, id: WriteId, seal: u32, now: Time) -> Result<(), Unknown> {
        self.timeout(now);
        let Some(Writing { name, len, extents }) = self.writes.end(id.0) else { return Err(self.let_go(id)) };
        let blocks = blocks_of(&extents);
        self.sums.writing -= blocks;
        self.sums.objects += 1;
        self.sums.object_bytes += len;
        self.counts.stored += 1;
        self.counts.stored_bytes += len;
        let object = Object { name, len, seal, extents, pins: 0, condemned: false };
        let slot = if let Some(slot) = self.vacant.pop() {
            self.objects[slot as usize] = Some(object);
            slot
        } else {
            self.objects.push(Some(object));
            self.objects.len() as u32 - 1
        };
        self.names.insert(name, Place::Ready(slot));
        let weight = u64::from(blocks) * u64::from(self.config.block);
        self.order.enter(slice(slot), name.word(), weight, false, now);
        self.arrived(name, slot, now);
        Ok(())
    }

    /// The writer gives up: the name is absent again, and the blocks are free.
    ///
    /// # Errors
    /// Where the put is over: ended before, or too late. Its blocks are given back.
    pub fn abort_put(&mut self, id: WriteId, now: Time) -> Result<(), Unknown> {
        self.timeout(now);
        let Some(writing) = self.writes.end(id.0) else { return Err(self.let_go(id)) };
        self.counts.aborted += 1;
        self.nobody_brings(writing.name);
        self.free(writing);
        Ok(())
    }

    /// The writer of a put that is over has let go.
    fn let_go(&mut self, id: WriteId) -> Unknown {
        if let Some(writing) = self.discarded.remove(&id.0) {
            self.free(writing);
        }
        Unknown
    }

    fn free(&mut self, writing: Writing) {
        self.sums.writing -= blocks_of(&writing.extents);
        writing.extents.into_iter().for_each(|extent| self.arena.give(extent));
    }

    /// A put ended without an object.
    pub(super) fn nobody_brings(&mut self, name: ObjectName) {
        self.names.remove(&name);
        if self.config.hold == Hold::Pending {
            while let Some(ticket) = self.first_waiting(&name) {
                self.stop_waiting(ticket);
                self.miss(ticket);
            }
        }
    }

    /// Makes room ahead of need where there is more than the watermark.
    fn evict_ahead(&mut self, now: Time) {
        let blocks = u64::from(self.config.blocks());
        let share = |thousandths: u16| (blocks * u64::from(thousandths) / 1000) as u32;
        let used = blocks as u32 - self.arena.free();
        if self.config.watermark < 1000 && used > share(self.config.watermark) {
            self.evict_until(self.arena.free().saturating_add(share(self.config.evict).max(1)), now);
        }
    }
}
