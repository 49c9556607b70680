//! The laws, asserted.

use super::{NodeStore, Place, Sums, blocks_of, fragments};
use crate::shelf::Policy;
use alloc::vec;
use alloc::vec::Vec;

impl NodeStore {
    /// Asserts every law of the module that one moment can show. O(what is in it).
    ///
    /// # Panics
    /// Where one is broken: a bug.
    pub fn check(&self) {
        let block = self.config.block;
        let ready = self.objects.iter().flatten().map(|object| (&object.extents, object.len));
        let writing = self.writes.iter().map(|(_, writing)| writing).chain(self.discarded.values());
        let writing: Vec<_> = writing.map(|writing| (&writing.extents, writing.len)).collect();
        for (extents, len) in ready.clone().chain(writing.iter().copied()) {
            assert_eq!(u64::from(blocks_of(extents)), len.div_ceil(u64::from(block)), "blocks for the bytes, no more");
            let fragments = fragments(extents, len, block);
            assert_eq!(fragments.iter().map(|fragment| fragment.len).sum::<u64>(), len, "fragments sum to the length");
            assert!(fragments.iter().all(|fragment| fragment.len > 0), "and none is empty");
            assert!(
                extents.windows(2).all(|pair| pair[0].start + pair[0].len < pair[1].start),
                "fragments are in order and adjoin nowhere"
            );
        }
        self.arena.check(ready.chain(writing.iter().copied()).flat_map(|(extents, _)| extents.iter().copied()));

        let mut pins = vec![0; self.objects.len()];
        self.leases.iter().for_each(|(_, slot)| pins[*slot as usize] += 1);
        let mut sums = Sums { writing: writing.iter().map(|(extents, _)| blocks_of(extents)).sum(), ..Sums::default() };
        let (mut evictable, mut weight) = (0, 0);
        for (slot, object) in self.objects.iter().enumerate() {
            let Some(object) = object else {
                assert_eq!(pins[slot], 0, "a lease covers an object");
                continue;
            };
            assert_eq!(object.pins, pins[slot], "pins are leases");
            let blocks = blocks_of(&object.extents);
            weight += u64::from(blocks) * u64::from(block);
            if object.condemned {
                assert!(object.pins > 0, "what is condemned and not held has gone");
            } else {
                sums.objects += 1;
                sums.object_bytes += object.len;
                assert_eq!(self.names.get(&object.name), Some(&Place::Ready(slot as u32)), "an object has its name");
            }
            if object.pins > 0 {
                sums.pinned += blocks;
            } else {
                evictable += 1;
            }
        }
        assert_eq!(sums, self.sums, "sums");
        for (ticket, writing) in self.writes.iter() {
            assert_eq!(self.names.get(&writing.name), Some(&Place::Pending(ticket)), "a put under way has its name");
        }
        let named = self.sums.objects as usize + self.writes.len();
        assert_eq!(self.names.len(), named, "a name is pending or ready, once");
        assert_eq!(self.vacant.len(), self.objects.iter().filter(|slot| slot.is_none()).count(), "vacant slots");
        assert_eq!(self.order.evictable(), evictable, "the order knows what nobody holds, and nothing else");
        assert!(self.order.tokens().is_none_or(|known| known == weight), "and what it weighs");

        assert_eq!(self.waiting.len(), self.waits.len(), "each wait is listed by its name");
        for (ticket, waiting) in self.waits.iter() {
            assert!(self.waiting.contains(&(waiting.name, ticket)), "once");
            assert!(!self.has(&waiting.name), "nobody waits for what is there");
        }
        self.leases.check();
        self.writes.check();
        self.waits.check();
    }
}
