//! From a piece's key to its place: an extendible hash table, which grows by one small segment at a time.
//!
//! An index that must stay below a number of bytes cannot use a table that doubles: for a moment it would take three
//! times what it took. Here a full segment is split in two and the others stay where they are (Fagin, Nievergelt,
//! Pippenger and Strong, "Extendible hashing", 1979); inside a segment keys are found by linear probing, and a removal
//! moves later ones back, so nothing is left behind. Keys are mixed already: their upper bits choose the segment, their
//! lower ones the slot.

use super::run::RunId;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use kvcache::PieceKey;

/// Slots of a segment: 16 KiB.
const SLOTS: usize = 1024;
/// So many of them are used at most: then it takes 1.8 steps to find a key and 4.1 to find that it is not there, all in
/// neighbouring memory (Knuth, "The Art of Computer Programming", 6.4); half as full, 1.2 and 1.6. At three quarters it would
/// be 2.5 and 8.5.
const FULL: u32 = (SLOTS / 8 * 5) as u32;

/// Where a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) run: RunId,
    /// Which piece it is, counted from the start of the prompt; so it stays what it is wherever its run begins.
    pub(super) ordinal: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    key: u64,
    place: Place, // of no run: the slot is empty
}

const EMPTY: Slot = Slot { key: 0, place: Place { run: RunId::NONE, ordinal: 0 } };

#[derive(Debug)]
struct Segment {
    depth: u32, // how many upper bits its keys share
    len: u32,
    slots: Box<[Slot; SLOTS]>,
}

/// The table.
#[derive(Debug)]
pub(super) struct Places {
    depth: u32,
    directory: Vec<u32>, // a segment for each value of the upper `depth` bits
    segments: Vec<Segment>,
    len: usize,
}

impl Segment {
    fn new(depth: u32) -> Self {
        // Made on the heap, where it stays.
        let slots: Box<[Slot]> = vec![EMPTY; SLOTS].into_boxed_slice();
        let slots = slots.try_into().unwrap_or_else(|_| unreachable!("it has as many slots"));
        Self { depth, len: 0, slots }
    }

    /// The slot of `key`, or the empty one where it would be.
    #[inline]
    fn find(&self, key: u64) -> usize {
        let mut at = key as usize % SLOTS;
        while self.slots[at].place.run != RunId::NONE && self.slots[at].key != key {
            at = (at + 1) % SLOTS;
        }
        at
    }

    /// Says whether it was not there before; where it was, it stays what it is.
    #[inline]
    fn put(&mut self, slot: Slot) -> bool {
        let at = self.find(slot.key);
        let new = self.slots[at].place.run == RunId::NONE;
        if new {
            self.len += 1;
            self.slots[at] = slot;
        }
        new
    }

    fn remove(&mut self, key: u64) -> bool {
        let mut hole = self.find(key);
        if self.slots[hole].place.run == RunId::NONE {
            return false;
        }
        self.len -= 1;
        let mut at = hole;
        loop {
            self.slots[hole] = EMPTY;
            // What comes next and is not where it wants to be moves back, unless it would get before its place.
            loop {
                at = (at + 1) % SLOTS;
                if self.slots[at].place.run == RunId::NONE {
                    return true;
                }
                let wanted = self.slots[at].key as usize % SLOTS;
                if (at + SLOTS - wanted) % SLOTS >= (at + SLOTS - hole) % SLOTS {
                    break;
                }
            }
            self.slots[hole] = self.slots[at];
            hole = at;
        }
    }
}

impl Places {
    pub(super) fn new() -> Self {
        Self { depth: 0, directory: vec![0], segments: vec![Segment::new(0)], len: 0 }
    }

    /// Bytes allocated.
    pub(super) fn bytes(&self) -> usize {
        self.segments.len() * size_of::<[Slot; SLOTS]>()
            + self.segments.capacity() * size_of::<Segment>()
            + self.directory.capacity() * size_of::<u32>()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn segment_of(&self, key: u64) -> usize {
        // In two steps, since no bit at all may be asked for.
        self.directory[(key >> 1 >> (63 - self.depth)) as usize] as usize
    }

    #[inline]
    pub(super) fn get(&self, key: PieceKey) -> Option<Place> {
        let segment = &self.segments[self.segment_of(key.0)];
        let place = segment.slots[segment.find(key.0)].place;
        (place.run != RunId::NONE).then_some(place)
    }

    /// Looks where `keys` are or would be, for nothing: so their places come into the core's cache together, where one after
    /// the other each insertion would wait for its own. A few instructions each.
    #[inline]
    pub(super) fn glance(&self, keys: impl Iterator<Item = PieceKey>) {
        let at = |key: PieceKey| self.segments[self.segment_of(key.0)].slots[key.0 as usize % SLOTS].key;
        core::hint::black_box(keys.fold(0, |sum, key| sum ^ at(key)));
    }

    /// Bytes that an insertion of `key` allocates at most, what it frees afterwards included.
    #[inline]
    pub(super) fn growth(&self, key: PieceKey) -> usize {
        let segment = &self.segments[self.segment_of(key.0)];
        if segment.len < FULL { 0 } else { self.growth_of_split(segment.depth) }
    }

    #[cold]
    fn growth_of_split(&self, depth: u32) -> usize {
        let directory = if depth == self.depth { 2 * self.directory.len() * size_of::<u32>() } else { 0 };
        let list = if self.segments.len() == self.segments.capacity() { 2 * self.segments.len() } else { 0 };
        size_of::<[Slot; SLOTS]>() + directory + list * size_of::<Segment>()
    }

    /// Puts `key` somewhere, where it is nowhere yet; says whether it was so.
    #[inline]
    pub(super) fn insert(&mut self, key: PieceKey, place: Place) -> bool {
        let mut index = self.segment_of(key.0);
        while self.segments[index].len >= FULL {
            self.split(index);
            index = self.segment_of(key.0);
        }
        let new = self.segments[index].put(Slot { key: key.0, place });
        self.len += usize::from(new);
        new
    }

    #[cold]
    fn split(&mut self, index: usize) {
        let depth = self.segments[index].depth;
        if depth == self.depth {
            let doubled = self.directory.iter().flat_map(|segment| [*segment, *segment]).collect();
            self.directory = doubled;
            self.depth += 1;
        }
        let full = core::mem::replace(&mut self.segments[index], Segment::new(depth + 1));
        let other = self.segments.len();
        self.segments.push(Segment::new(depth + 1));
        for slot in full.slots.iter().filter(|slot| slot.place.run != RunId::NONE) {
            let lower = slot.key >> (63 - depth) & 1 == 1;
            self.segments[if lower { other } else { index }].put(*slot);
        }
        let first =
            self.directory.iter().position(|segment| *segment as usize == index).expect("it is in the directory");
        let half = 1 << (self.depth - depth - 1);
        self.directory[first + half..first + 2 * half].fill(other as u32);
    }

    /// Forgets `keys`, which are known.
    #[inline]
    pub(super) fn remove_all(&mut self, keys: impl ExactSizeIterator<Item = PieceKey> + Clone) {
        self.glance(keys.clone());
        self.len -= keys.len();
        for key in keys {
            let index = self.segment_of(key.0);
            let known = self.segments[index].remove(key.0);
            debug_assert!(known, "each piece has a place");
        }
    }

    /// Forgets `key`; says whether it was known.
    #[inline]
    pub(super) fn remove(&mut self, key: PieceKey) -> bool {
        let index = self.segment_of(key.0);
        let known = self.segments[index].remove(key.0);
        self.len -= usize::from(known);
        known
    }
}
