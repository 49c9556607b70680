//! Which objects can be read from now on, and which can no more: for whoever keeps their bytes.

use super::Shelf;
use super::strips::{Mask, StripId};
use crate::chain::BlockKey;
use crate::units::{Blocks, Tokens};
use alloc::vec::Vec;

/// A change of what is on a shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelved {
    /// This object was written, and can be read.
    Added(BlockKey),
    /// This object was evicted or lost.
    Dropped(BlockKey),
}

impl Shelf {
    /// The same shelf, which tells what comes and goes.
    pub(crate) fn telling(mut self) -> Self {
        self.told = Some(Vec::new());
        self
    }

    /// What came and went since this was asked last, in order.
    pub(crate) fn take_told(&mut self) -> Vec<Shelved> {
        self.told.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// Objects of a strip came or went.
    #[inline]
    pub(super) fn tell_of(&mut self, id: StripId, objects: Mask, change: fn(BlockKey) -> Shelved) {
        if self.told.is_some() && objects != 0 {
            self.tell_each(id, objects, change);
        }
    }

    #[cold]
    fn tell_each(&mut self, id: StripId, mut objects: Mask, change: fn(BlockKey) -> Shelved) {
        let strip = self.strips.at(id);
        let (key, label, start, is_tail) = (strip.key, strip.label, strip.start, strip.tail > Tokens::ZERO);
        while objects != 0 {
            let at = Blocks(objects.trailing_zeros());
            let key = if is_tail { key } else { self.strips.labels.key(label, start + at) };
            self.told.iter_mut().for_each(|told| told.push(change(key)));
            objects &= objects - 1;
        }
    }

    /// Everything goes: all that is ready.
    pub(super) fn tell_all_gone(&mut self) {
        if self.told.is_none() {
            return;
        }
        for id in self.strips.ids().collect::<Vec<_>>() {
            if self.strips.is_live(id) {
                self.tell_of(id, self.strips.at(id).ready, Shelved::Dropped);
            }
        }
    }
}
