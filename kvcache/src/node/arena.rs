//! Room in a segment: fixed blocks, handed out as fragments.
//!
//! Invariants ([`Arena::check`]): free extents are disjoint, inside the segment, and no two of them adjoin; the order by
//! length lists each once.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// Consecutive blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Extent {
    pub(super) start: u32,
    pub(super) len: u32,
}

#[derive(Debug)]
pub(super) struct Arena {
    blocks: u32,
    free: u32,
    by_start: BTreeMap<u32, u32>,
    by_len: BTreeSet<(u32, u32)>, // length, start
}

impl Arena {
    /// All of it free.
    pub(super) fn new(blocks: u32) -> Self {
        let mut arena = Self { blocks, free: 0, by_start: BTreeMap::new(), by_len: BTreeSet::new() };
        if blocks > 0 {
            arena.give(Extent { start: 0, len: blocks });
        }
        arena
    }

    pub(super) const fn free(&self) -> u32 {
        self.free
    }

    /// So many blocks, in order of their place, adjoining ones as one extent: the shortest extent that holds all of them,
    /// else the longest ones. `None` where not so many are free. O(log extents) for each extent taken.
    pub(super) fn take(&mut self, blocks: u32) -> Option<Vec<Extent>> {
        if blocks > self.free {
            return None;
        }
        let mut taken = Vec::new();
        let mut left = blocks;
        while left > 0 {
            let fits = self.by_len.range((left, 0)..).next();
            let (len, start) = *fits.or_else(|| self.by_len.last())?;
            let part = len.min(left);
            self.remove(start, len);
            if part < len {
                self.insert(start + part, len - part);
            }
            taken.push(Extent { start, len: part });
            left -= part;
        }
        self.free -= blocks;
        // Taken whole, two extents cannot adjoin: free ones do not, and only the last one is taken in part.
        taken.sort_unstable();
        Some(taken)
    }

    /// Gives an extent back.
    pub(super) fn give(&mut self, extent: Extent) {
        let Extent { mut start, mut len } = extent;
        debug_assert!(len > 0 && start + len <= self.blocks, "only what was taken is given back");
        self.free += len;
        if let Some((&before, &length)) = self.by_start.range(..start).next_back() {
            debug_assert!(before + length <= start, "nothing is given back twice");
            if before + length == start {
                self.remove(before, length);
                (start, len) = (before, length + len);
            }
        }
        if let Some(&length) = self.by_start.get(&(start + len)) {
            self.remove(start + len, length);
            len += length;
        }
        self.insert(start, len);
    }

    fn insert(&mut self, start: u32, len: u32) {
        self.by_start.insert(start, len);
        self.by_len.insert((len, start));
    }

    fn remove(&mut self, start: u32, len: u32) {
        self.by_start.remove(&start);
        self.by_len.remove(&(len, start));
    }

    /// Asserts the invariants of the module, and that what is free and `used` together is the segment, each block once.
    pub(super) fn check(&self, used: impl Iterator<Item = Extent>) {
        let mut all: Vec<(Extent, bool)> = used.map(|extent| (extent, false)).collect();
        all.extend(self.by_start.iter().map(|(&start, &len)| (Extent { start, len }, true)));
        all.sort_unstable();
        let (mut end, mut was_free) = (0, false);
        for (extent, is_free) in all {
            assert!(extent.len > 0 && extent.start == end, "each block is free or used, once: {extent:?} after {end}");
            assert!(!(is_free && was_free), "free extents do not adjoin");
            (end, was_free) = (extent.start + extent.len, is_free);
        }
        assert_eq!(end, self.blocks, "the segment is accounted for");
        let listed: BTreeSet<(u32, u32)> = self.by_start.iter().map(|(&start, &len)| (len, start)).collect();
        assert_eq!(listed, self.by_len, "the order by length lists each once");
        assert_eq!(self.free, self.by_start.values().sum::<u32>(), "free blocks are counted");
    }
}
