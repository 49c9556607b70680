//! Which worker holds how much of which piece.
//!
//! A piece's key names all that comes before it, and what a worker holds is closed under prefixes. So one number per
//! piece and worker says everything: up to which token of the prompt the worker holds it, 0 for not at all.
//!
//! Invariants ([`Holders::check`] asserts them):
//! * a row is vacant and all zero, or in the map and held by at least one worker;
//! * `held` and `rows_of` count the entries above zero, by row and by worker.

use alloc::vec;
use alloc::vec::Vec;
use hashbrown::hash_map::Entry;
use kvcache::{KeyMap, PieceKey, Tokens, WorkerId};

/// A row's number.
pub(crate) type Slot = u32;

#[derive(Clone, Copy, Debug)]
struct Row {
    piece: PieceKey,
    held: u16, // by how many workers
}

/// The index of pieces and their holders. Memory: 4 bytes per worker and piece held by anyone, and some 30 per piece.
#[derive(Debug)]
pub struct Holders {
    workers: u16,
    unit: Tokens,
    slots: KeyMap<Slot>,
    ends: Vec<u32>, // an entry for each slot and worker: tokens from the start of the prompt
    rows: Vec<Row>,
    vacant: Vec<Slot>,
    rows_of: Vec<usize>,
}

impl Holders {
    /// An index of what `workers` workers hold in blocks (or chunks) of `unit` tokens; both at least one.
    #[must_use]
    pub fn new(workers: u16, unit: Tokens) -> Self {
        Self {
            workers,
            unit,
            slots: KeyMap::default(),
            ends: Vec::new(),
            rows: Vec::new(),
            vacant: Vec::new(),
            rows_of: vec![0; usize::from(workers)],
        }
    }

    /// Tokens in a block.
    #[must_use]
    pub const fn unit(&self) -> Tokens {
        self.unit
    }

    /// How many workers there are.
    #[must_use]
    pub const fn workers(&self) -> u16 {
        self.workers
    }

    /// How many pieces anyone holds.
    #[must_use]
    pub fn pieces(&self) -> usize {
        self.slots.len()
    }

    /// `worker` now holds `piece` up to token `upto`, the end of a full block that ends in the piece; nothing of it
    /// where `upto` is zero. O(1), and no allocation unless more pieces are held than ever before.
    ///
    /// # Panics
    /// Where there is no such worker.
    #[inline]
    pub fn set(&mut self, worker: WorkerId, piece: PieceKey, upto: Tokens) {
        if upto == Tokens::ZERO {
            self.drop_piece(worker, piece);
        } else {
            *self.end_mut(worker, piece) = upto.0;
        }
    }

    /// As [`Holders::set`], but never less than before.
    #[inline]
    pub(crate) fn raise(&mut self, worker: WorkerId, piece: PieceKey, upto: Tokens) {
        debug_assert!(upto > Tokens::ZERO, "raised to something");
        let end = self.end_mut(worker, piece);
        *end = upto.0.max(*end);
    }

    /// The entry of a piece that `worker` is about to hold.
    #[inline]
    fn end_mut(&mut self, worker: WorkerId, piece: PieceKey) -> &mut u32 {
        assert!(worker.0 < self.workers, "{worker} of {}", self.workers);
        let slot = match self.slots.entry(piece.0) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let row = Row { piece, held: 0 };
                let slot = self.vacant.pop().unwrap_or(self.rows.len() as Slot);
                if let Some(vacant) = self.rows.get_mut(slot as usize) {
                    *vacant = row;
                } else {
                    self.rows.push(row);
                    self.ends.resize(self.ends.len() + usize::from(self.workers), 0);
                }
                *entry.insert(slot)
            }
        };
        let end = &mut self.ends[slot as usize * usize::from(self.workers) + worker.index()];
        if *end == 0 {
            self.rows[slot as usize].held += 1;
            self.rows_of[worker.index()] += 1;
        }
        end
    }

    fn drop_piece(&mut self, worker: WorkerId, piece: PieceKey) {
        assert!(worker.0 < self.workers, "{worker} of {}", self.workers);
        if let Some(slot) = self.slot(piece) {
            self.drop_entry(worker, slot);
        }
    }

    fn drop_entry(&mut self, worker: WorkerId, slot: Slot) {
        let end = &mut self.ends[slot as usize * usize::from(self.workers) + worker.index()];
        if *end == 0 {
            return;
        }
        *end = 0;
        self.rows_of[worker.index()] -= 1;
        let row = &mut self.rows[slot as usize];
        row.held -= 1;
        if row.held == 0 {
            self.slots.remove(&row.piece.0);
            self.vacant.push(slot);
        }
    }

    /// `worker` holds nothing any more. O(pieces), or O(1) where it held nothing.
    ///
    /// # Panics
    /// Where there is no such worker.
    pub fn clear(&mut self, worker: WorkerId) {
        if self.rows_of[worker.index()] > 0 {
            for slot in 0..self.rows.len() {
                self.drop_entry(worker, slot as Slot);
            }
        }
    }

    #[inline]
    pub(crate) fn slot(&self, piece: PieceKey) -> Option<Slot> {
        self.slots.get(&piece.0).copied()
    }

    /// Up to which token each worker holds the piece of this row.
    #[inline]
    pub(crate) fn row(&self, slot: Slot) -> &[u32] {
        let from = slot as usize * usize::from(self.workers);
        &self.ends[from..from + usize::from(self.workers)]
    }

    /// Asserts the invariants of the module. O(pieces x workers).
    ///
    /// # Panics
    /// Where one is broken: a bug.
    pub fn check(&self) {
        let mut rows_of = vec![0; usize::from(self.workers)];
        let mut used = 0;
        for (slot, row) in self.rows.iter().enumerate() {
            let ends = self.row(slot as Slot);
            assert_eq!(ends.iter().filter(|end| **end > 0).count(), usize::from(row.held), "holders of a row");
            if row.held > 0 {
                assert_eq!(self.slot(row.piece), Some(slot as Slot), "a row that is held is found");
                used += 1;
            }
            for (count, end) in rows_of.iter_mut().zip(ends) {
                *count += usize::from(*end > 0);
            }
        }
        assert_eq!(rows_of, self.rows_of, "rows of a worker");
        assert_eq!(used, self.slots.len(), "each row in the map is held");
        assert_eq!(used + self.vacant.len(), self.rows.len(), "each other row is vacant");
    }
}
