//! The shelf: a flat keyed store of objects, kept by strips.
//!
//! Each object (a chunk of a chain) is absent, pending or ready for itself, on the one shard where it was placed: a
//! head may be absent while its tail is there. What makes this cheap is that objects which came together are kept
//! together: an operation costs the strips on its path, and no map is asked per object.
//!
//! Invariants ([`Shelf::check`] asserts them):
//! * a range that is held begins and ends where strips do, so all objects of a strip have the same holders;
//! * a holder remembers only its deepest strip; a split gives the new number to the upper part, so this stays right;
//! * who writes holds what it writes, and fills what it holds: a strip with pending objects has no absent ones, and the
//!   pending ones have one writer;
//! * a strip without objects, holders and children is removed; without objects but with children it stays, so that
//!   what is below it can be reached;
//! * a use touches whole strips, so all objects of a slice were used last at one moment;
//! * a slice has objects; which of them are ready or pending its strip knows, so what becomes ready together is one
//!   word per strip;
//! * no shard holds more than its capacity; ready and pending objects fill it alike.

mod strips; // the tree
mod slices; // what a strip has on a shard
mod policy; // which slice goes next
mod cut; // cutting strips in two, and joining them
mod write; // reserving and publishing
mod fill; // what is absent becomes pending
mod loss; // evicting, losing, clearing
mod told; // which objects came and went
mod check; // the invariants

use crate::chain::Chain;
use crate::time::Time;
use crate::units::{Blocks, Tokens};
use alloc::vec::Vec;
use fill::Wanted;
pub use policy::{Eviction, UnknownEviction};
pub(crate) use policy::{Order, Policy};
pub(crate) use slices::{Shard, ShardUsage, SliceId};
use slices::{Shards, Slice};
use strips::{StripId, Strips};
pub use told::Shelved;

/// What a use of a range renews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uses {
    /// The range alone: who keeps the shelf hears of nothing else.
    Range,
    /// The range, and after it what is above it and held by nobody, deepest first.
    Whole,
}

/// Objects that are held: they stay until this is given back, which must be done exactly once.
#[derive(Debug)]
#[must_use]
pub(crate) struct Held {
    leaf: StripId,
    from: Blocks,
    to: Blocks,
    writer: u64, // of pending objects; zero: none
    epoch: u32,
}

impl Held {
    /// The first object held.
    pub(crate) const fn from(&self) -> Blocks {
        self.from
    }

    /// The end of what is held.
    pub(crate) const fn to(&self) -> Blocks {
        self.to
    }
}

/// What came of a wish to write.
#[derive(Debug)]
pub(crate) struct Reserved {
    /// All objects from the first one asked for up to `end`.
    pub(crate) held: Held,
    /// Where room ended.
    pub(crate) end: Blocks,
    /// Tokens of the objects that are to be written: those that were absent.
    pub(crate) new: Tokens,
    /// Tokens of absent objects that found no room.
    pub(crate) skipped: Tokens,
}

#[derive(Debug)]
pub(crate) struct Shelf {
    unit: Tokens,
    uses: Uses,
    strips: Strips,
    shards: Shards,
    writer: u64, // reservations so far
    epoch: u32,  // how often it was cleared
    now: Time,
    watermark: u64,             // of each shard, in tokens
    fuller: Vec<u16>,           // shards that were left fuller
    wanted: Wanted,             // of a strip that is being filled; else nothing
    told: Option<Vec<Shelved>>, // where somebody keeps the objects' bytes
}

/// The existing part of a path, held from some object on.
struct Walk {
    leaf: StripId,
    reach: Blocks, // where it ends
    gaps: bool,    // something that is held now is absent
}

impl Shelf {
    /// An empty shelf of objects of `unit` tokens, whose uses renew [`Uses::Range`].
    pub(crate) fn new(unit: Tokens, shards: Vec<Shard>) -> Self {
        assert!(!shards.is_empty() && shards.len() <= usize::from(u16::MAX), "a shelf has 1 to 65535 shards");
        Self {
            unit,
            uses: Uses::Range,
            strips: Strips::new(unit),
            watermark: u64::MAX,
            fuller: Vec::new(),
            wanted: Wanted::new(shards.len()),
            shards: Shards::new(shards),
            writer: 0,
            epoch: 0,
            now: Time::ZERO,
            told: None,
        }
    }

    /// The same shelf, whose uses renew something else.
    pub(crate) fn with_uses(self, uses: Uses) -> Self {
        Self { uses, ..self }
    }

    /// The same shelf, of which [`Shelf::evict_ahead`] keeps shards from staying fuller than `tokens`.
    pub(crate) fn with_watermark(self, tokens: u64) -> Self {
        Self { watermark: tokens, ..self }
    }

    /// It is `now`. Only [`Eviction::Lfu`] and [`Shelf::expire`] ask.
    pub(crate) fn tell(&mut self, now: Time) {
        debug_assert!(now >= self.now, "time does not go back");
        self.now = now;
    }

    /// The end of the consecutive ready objects of `chain` from `from` on, at most `to`. Changes nothing.
    /// O(strips on the path, times the log of their pieces).
    pub(crate) fn find(&self, chain: Chain<'_>, from: Blocks, to: Blocks) -> Blocks {
        let to = to.min(chain.objects());
        let (mut above, mut at) = self.strips.start(chain, from);
        let mut end = from;
        while at < to {
            let Some((id, inside)) = self.strips.step(above, chain, at, to - at) else { break };
            let strip = self.strips.at(id);
            if at + inside > end {
                let skipped = end - at;
                let ready = ((strip.ready & !strip.doomed) >> skipped.0).trailing_ones();
                end += Blocks(ready).min(inside - skipped);
                if end < at + inside {
                    break;
                }
            }
            at += inside;
            if inside < strip.len {
                break;
            }
            above = id;
        }
        end
    }

    /// Whether object `index` of `chain` is being written, and will be there if that ends well. O(strips on the path).
    pub(crate) fn is_pending(&self, chain: Chain<'_>, index: Blocks) -> bool {
        let (mut above, mut at) = (StripId::ROOT, Blocks::ZERO);
        while at <= index && index < chain.objects() {
            let Some((id, inside)) = self.strips.step(above, chain, at, index + Blocks(1) - at) else { break };
            let strip = self.strips.at(id);
            if index < at + inside {
                return (strip.pending & !strip.doomed) >> (index - at).0 & 1 == 1;
            }
            if inside < strip.len {
                break;
            }
            above = id;
            at += inside;
        }
        false
    }

    /// Holds objects that [`Shelf::find`] said are ready: they are not evicted.
    ///
    /// # Panics
    /// Where some of them were never there.
    pub(crate) fn pin(&mut self, chain: Chain<'_>, from: Blocks, to: Blocks) -> Held {
        if from >= to {
            return self.nothing(from);
        }
        let walk = self.hold(chain, from, to);
        assert!(walk.reach == to && !walk.gaps, "only what was found is pinned");
        Held { leaf: walk.leaf, from, to, writer: 0, epoch: self.epoch }
    }

    /// Gives back what was pinned. This is a use of it.
    pub(crate) fn unpin(&mut self, held: Held) {
        self.publish(held, Blocks::ZERO);
    }

    const fn nothing(&self, from: Blocks) -> Held {
        Held { leaf: StripId::ROOT, from, to: from, writer: 0, epoch: self.epoch }
    }

    /// Holds the strips of `from..to` as far as there are any.
    fn hold(&mut self, chain: Chain<'_>, from: Blocks, to: Blocks) -> Walk {
        let (leaf, reach) = self.strips.start(chain, from);
        let mut walk = Walk { leaf, reach, gaps: false };
        while walk.reach < to {
            let at = walk.reach;
            let Some((mut id, inside)) = self.strips.step(walk.leaf, chain, at, to - at) else { break };
            if inside < self.strips.at(id).len {
                let lower = id;
                id = self.split(id, inside);
                // What was cut off may be what was absent anyway.
                self.strips.tidy(lower);
            }
            if at < from && from < at + inside {
                self.split(id, from - at);
            }
            if at + inside > from {
                self.hold_strip(id);
                walk.gaps |= self.strips.at(id).absent() != 0;
                if at > from && self.may_join(walk.leaf, id) {
                    self.join(chain, walk.leaf, id);
                }
            }
            walk.leaf = id;
            walk.reach += inside;
        }
        walk
    }

    fn hold_strip(&mut self, id: StripId) {
        let weight = self.weight(id);
        let strip = self.strips.at_mut(id);
        strip.pins += 1;
        if strip.pins > 1 {
            return;
        }
        // Nobody held it, so all that is there is ready.
        let mut slice = strip.slices;
        while slice != SliceId::NONE {
            let shard = self.shards.of_mut(slice.shard());
            shard.policy.pin(slice);
            let of = shard.slice(slice);
            let (next, len) = (of.next, of.len);
            shard.usage.pinned += weight * u64::from(len);
            slice = next;
        }
    }

    /// Hangs a slice at its strip, before the others.
    #[inline]
    fn hang(&mut self, id: SliceId) {
        let slice = self.shards.at_mut(id);
        let first = core::mem::replace(&mut self.strips.at_mut(slice.strip).slices, id);
        (slice.before, slice.next) = (SliceId::NONE, first);
        if first != SliceId::NONE {
            self.shards.at_mut(first).before = id;
        }
    }

    /// Removes a slice in which nothing is left.
    #[inline]
    fn remove(&mut self, id: SliceId) {
        let Slice { strip, next, before, .. } = *self.shards.at(id);
        if before == SliceId::NONE {
            self.strips.at_mut(strip).slices = next;
        } else {
            self.shards.at_mut(before).next = next;
        }
        if next != SliceId::NONE {
            self.shards.at_mut(next).before = before;
        }
        self.shards.of_mut(id.shard()).remove(id);
    }

    /// What an object of a strip weighs, in tokens.
    fn weight(&self, id: StripId) -> u64 {
        let tail = self.strips.at(id).tail;
        u64::from(if tail > Tokens::ZERO { tail.0 } else { self.unit.0 })
    }

    /// What fills a shard, in tokens: ready and pending objects.
    pub(crate) fn used(&self, shard: u16) -> u64 {
        self.shards.of(shard).used()
    }

    /// What is on a shard.
    pub(crate) fn usage(&self, shard: u16) -> ShardUsage {
        self.shards.of(shard).usage
    }

    /// What a shard can hold, in tokens.
    pub(crate) fn capacity(&self, shard: u16) -> u64 {
        self.shards.of(shard).capacity
    }

    /// Tokens evicted since the shelf was made.
    pub(crate) fn evicted(&self) -> u64 {
        self.shards.iter().map(|shard| shard.usage.evicted).sum()
    }

    /// Whether nothing of what is held was lost. O(strips held).
    pub(crate) fn is_whole(&self, held: &Held) -> bool {
        let mut id = held.leaf;
        while held.epoch == self.epoch && id != StripId::ROOT && self.strips.at(id).start >= held.from {
            if self.strips.at(id).doomed != 0 {
                return false;
            }
            id = self.strips.at(id).parent;
        }
        held.epoch == self.epoch
    }

    /// Tells on which shards the ready objects of a held range are, and how many tokens of it; a shard may come
    /// several times.
    pub(crate) fn spread(&self, held: &Held, mut visit: impl FnMut(u16, Tokens)) {
        let mut id = if held.epoch == self.epoch { held.leaf } else { StripId::ROOT };
        while id != StripId::ROOT && self.strips.at(id).start >= held.from {
            let strip = self.strips.at(id);
            let mut slice = strip.slices;
            while slice != SliceId::NONE {
                let of = self.shards.at(slice);
                let ready = if strip.pending == 0 { of.len } else { (of.objects & strip.ready).count_ones() };
                if ready != 0 {
                    visit(slice.shard(), Tokens(self.weight(id) as u32 * ready));
                }
                slice = of.next;
            }
            id = strip.parent;
        }
    }
}
