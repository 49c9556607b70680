//! Making the absent objects of a strip pending: which shard takes which, and how much room there is.

use super::Shelf;
use super::policy::Policy;
use super::slices::{Slice, SliceId};
use super::strips::{LONGEST, Mask, Strip, StripId, below, lowest};
use crate::chain::{BlockKey, Chain};
use crate::units::{Blocks, Tokens};
use alloc::vec;
use alloc::vec::Vec;

/// Who wants to write, and what it adds up to.
pub(super) struct Wish<'a, P, T> {
    pub(super) chain: Chain<'a>,
    pub(super) place: P, // on which shard an object belongs
    pub(super) told: T,  // how much is to be written to which shard
    pub(super) new: u64,
}

/// Which shard is to take which objects of a strip.
#[derive(Debug)]
pub(super) struct Wanted {
    objects: Vec<Mask>, // by shard
    shards: Vec<u16>,   // those that are to take something
}

impl Wanted {
    pub(super) fn new(shards: usize) -> Self {
        Self { objects: vec![0; shards], shards: Vec::new() }
    }

    #[inline]
    fn add(&mut self, shard: u16, objects: Mask) {
        let wanted = &mut self.objects[usize::from(shard)];
        if *wanted == 0 {
            self.shards.push(shard);
        }
        *wanted |= objects;
    }

    /// Each of the absent `objects` of a strip that begins at `start` is wanted of its place. O(objects between the
    /// first and the last). Kept apart from what calls it: nothing else here is done for each object.
    #[inline(never)]
    fn divide(&mut self, objects: Mask, start: Blocks, chain: Chain<'_>, place: &mut impl FnMut(BlockKey) -> u16) {
        let mut object = objects & objects.wrapping_neg();
        let mut block = start + Blocks(objects.trailing_zeros());
        let end = start + Blocks(Mask::BITS - objects.leading_zeros());
        for (piece, last) in chain.pieces_from(block) {
            let last = last.min(end);
            for block in block.0..last.0 {
                if objects & object != 0 {
                    self.add(place(piece.block(Blocks(block))), object);
                }
                object <<= 1;
            }
            block = block.max(last);
            if last == end {
                break;
            }
        }
    }

    /// What a shard is to take, which nobody wants any more then.
    #[inline]
    fn take(&mut self, shard: u16) -> Mask {
        core::mem::take(&mut self.objects[usize::from(shard)])
    }
}

impl Shelf {
    /// Makes the absent objects of a held strip pending, first to last as far as there is room; gives where that ends.
    /// Each shard is asked once: what is held cannot go and all else can, so how much room there is is known before
    /// any is made. A shard that cannot take the first object left out has evicted all it could.
    pub(super) fn fill(
        &mut self,
        id: StripId,
        wish: &mut Wish<'_, impl FnMut(BlockKey) -> u16, impl FnMut(u16, Tokens)>,
    ) -> Blocks {
        let weight = self.weight(id);
        let absent = self.divide(id, wish);
        let (end, full) = self.room_for(id, weight);
        if self.strips.at(id).slices != SliceId::NONE {
            self.widen(id, weight, end, wish);
        }
        while let Some(shard) = self.wanted.shards.pop() {
            let objects = self.wanted.take(shard) & below(end);
            if objects != 0 {
                let of = self.shards.of_mut(shard);
                of.policy.coming(self.strips.at(id).key.0);
                let len = objects.count_ones();
                let slice = of.add(shard, Slice { strip: id, len, objects, at: self.now, ..Slice::ALONE });
                self.hang(slice);
                self.make_room(shard, weight * u64::from(len), wish);
            }
        }
        let taken = absent & below(end);
        if taken != 0 {
            let strip = self.strips.at_mut(id);
            debug_assert!(strip.pending == 0 || strip.writer == self.writer, "one writer per strip");
            strip.pending |= taken;
            strip.writer = self.writer;
        }
        if let Some(full) = full {
            self.evict(full, u64::MAX);
        }
        end
    }

    /// Says which shard is to take which absent objects of a strip; gives all of them.
    #[inline]
    fn divide(
        &mut self,
        id: StripId,
        wish: &mut Wish<'_, impl FnMut(BlockKey) -> u16, impl FnMut(u16, Tokens)>,
    ) -> Mask {
        let strip = self.strips.at(id);
        let absent = strip.absent();
        if absent == 0 {
            return 0;
        }
        if self.shards.len() == 1 {
            self.wanted.add(0, absent);
        } else if strip.tail > Tokens::ZERO {
            self.wanted.add((wish.place)(strip.key), absent);
        } else {
            self.wanted.divide(absent, strip.start, wish.chain, &mut wish.place);
        }
        absent
    }

    /// Up to where there is room for what is wanted, and which shard has none beyond.
    #[inline]
    fn room_for(&self, id: StripId, weight: u64) -> (Blocks, Option<u16>) {
        let (mut end, mut full) = (self.strips.at(id).len, None);
        for shard in &self.wanted.shards {
            let available = self.shards.of(*shard).available();
            // Mostly there is room for more than a strip can have.
            if available < weight * u64::from(LONGEST.0) {
                let objects = self.wanted.objects[usize::from(*shard)];
                let first = Blocks((objects & !lowest(objects, available / weight)).trailing_zeros());
                if first < end {
                    (end, full) = (first, Some(*shard));
                }
            }
        }
        (end, full)
    }

    /// The slices that a strip has take what is wanted of their shards. With a policy that goes by age alone, only a
    /// slice of which nothing is published can.
    #[cold]
    fn widen(
        &mut self,
        id: StripId,
        weight: u64,
        end: Blocks,
        wish: &mut Wish<'_, impl FnMut(BlockKey) -> u16, impl FnMut(u16, Tokens)>,
    ) {
        let Strip { slices: mut slice, ready, .. } = *self.strips.at(id);
        while slice != SliceId::NONE {
            let Slice { next, objects, .. } = *self.shards.at(slice);
            if !(self.shards.of(slice.shard()).by_age && objects & ready != 0) {
                let more = self.wanted.take(slice.shard()) & below(end);
                if more != 0 {
                    let of = self.shards.at_mut(slice);
                    *of = of.with(objects | more);
                    self.make_room(slice.shard(), weight * u64::from(more.count_ones()), wish);
                }
            }
            slice = next;
        }
    }

    /// Makes room for new objects of `tokens` on a shard, which is known to be possible, and gives it to them.
    #[inline]
    fn make_room(
        &mut self,
        shard: u16,
        tokens: u64,
        wish: &mut Wish<'_, impl FnMut(BlockKey) -> u16, impl FnMut(u16, Tokens)>,
    ) {
        let of = self.shards.of_mut(shard);
        let used = of.used();
        let free = of.capacity - used;
        of.usage.pending += tokens;
        if used + tokens > self.watermark && !of.is_fuller {
            of.is_fuller = true;
            self.fuller.push(shard);
        }
        if tokens > free {
            self.evict(shard, tokens - free);
        }
        (wish.told)(shard, Tokens(tokens as u32));
        wish.new += tokens;
    }
}
