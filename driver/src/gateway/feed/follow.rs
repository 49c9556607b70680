//! Batches in order, as events of a cache: what the engine calls by its own hashes is called here by the tokens.
//!
//! Batches are numbered from 0. A number that is too high is a gap: what is missing is asked for again, and where it cannot be had
//! the worker's cache is taken for a new one, of which only is known what is told from then on. A number that is too low is an
//! overlap of what was told again with what came meanwhile, or, where it is 0, another process. On a new connection all is asked
//! for anew: it may be another process that has come as far.
//!
//! The router's index wants caches to be closed under prefixes. An engine may drop a block before those behind it, which nobody
//! can find then: they are dropped here as well.

use super::decode::{Event, Name, batch};
use kvcache::{CacheEvent, Change, Epoch, Piece, PieceKey, Tokens};
use router::TokenHasher;
use std::collections::HashMap;

/// What came of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// These changes, perhaps none.
    Events(Vec<CacheEvent>),
    /// Nothing: batches from this number on are missing. It is heard with them, told again, or after [`Follower::give_up`].
    Gap(u64),
}

/// What became of all that was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedCounts {
    /// Batches heard in order.
    pub batches: u64,
    /// Batches that had been heard before.
    pub overlaps: u64,
    /// Times that some were missing.
    pub gaps: u64,
    /// Times that the worker was another process, or what was missing could not be had.
    pub restarts: u64,
    /// Times that nobody told any more.
    pub vanished: u64,
    /// Blocks whose parent is not known, so that their place is not.
    pub orphans: u64,
    /// Blocks that tokens alone do not name, or that are not on the device.
    pub others: u64,
    /// Blocks of another size than the router's.
    pub misfits: u64,
    /// Batches that could not be read.
    pub malformed: u64,
}

#[derive(Debug)]
struct Held {
    piece: Piece,
    parent: Option<Name>,
    children: Vec<Name>,
}

/// Follows one worker.
#[derive(Debug)]
pub struct Follower {
    block: Tokens,
    hasher: TokenHasher,
    held: HashMap<Name, Held>,
    /// How many names a piece is held by.
    keys: HashMap<PieceKey, u32>,
    epoch: Epoch,
    sequence: u64,
    due: u64,
    is_new: bool,    // the connection
    is_behind: bool, // a gap is known of
    counts: FeedCounts,
}

impl Follower {
    /// Of a worker that nothing was heard of, for a router with blocks of so many tokens.
    ///
    /// # Panics
    /// Where a block holds no token.
    #[must_use]
    pub fn new(block: Tokens) -> Self {
        Self {
            block,
            hasher: TokenHasher::new(block, 0),
            held: HashMap::new(),
            keys: HashMap::new(),
            epoch: Epoch(0),
            sequence: 0,
            due: 0,
            is_new: true,
            is_behind: false,
            counts: FeedCounts::default(),
        }
    }

    /// What became of all that was heard.
    #[must_use]
    pub const fn counts(&self) -> FeedCounts {
        self.counts
    }

    /// The life of the cache that is told of. Where it grows, all that was known before is void.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Blocks that are known to be held.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.held.len()
    }

    /// The connection is another one: what it tells is another cache's.
    pub const fn reconnected(&mut self) {
        self.is_new = true;
    }

    /// A batch with its number. O(blocks in it).
    pub fn hear(&mut self, number: u64, payload: &[u8]) -> Heard {
        // Who is behind a new connection nobody knows: perhaps another process, which has come as far meanwhile.
        if std::mem::take(&mut self.is_new) && self.due > 0 {
            self.restart(0);
        }
        if number < self.due {
            if number > 0 {
                self.counts.overlaps += 1;
                return Heard::Events(Vec::new());
            }
            self.restart(0);
        }
        if number > self.due {
            self.counts.gaps += u64::from(!std::mem::replace(&mut self.is_behind, true));
            return Heard::Gap(self.due);
        }
        self.is_behind = false;
        self.due = number + 1;
        self.counts.batches += 1;
        match batch(payload) {
            Ok(events) => {
                let mut told = Vec::new();
                events.into_iter().for_each(|event| self.take(event, &mut told));
                Heard::Events(told)
            }
            Err(_) => {
                // Something is gone, perhaps, and nobody knows what.
                self.counts.malformed += 1;
                self.restart(number + 1);
                Heard::Events(Vec::new())
            }
        }
    }

    /// The number of the batch that comes next.
    #[must_use]
    pub const fn due(&self) -> u64 {
        self.due
    }

    /// Nobody tells any more: nothing is known of the cache. Whether anything was.
    pub fn vanished(&mut self) -> bool {
        if self.due == 0 {
            return false;
        }
        self.restart(0);
        self.counts.vanished += 1;
        true
    }

    /// What is missing before the batch `number` cannot be had.
    pub fn give_up(&mut self, number: u64) {
        self.restart(number);
    }

    fn restart(&mut self, due: u64) {
        self.held.clear();
        self.keys.clear();
        self.epoch = Epoch(self.epoch.0 + 1);
        (self.sequence, self.due) = (0, due);
        self.counts.restarts += 1;
    }

    fn tell(&mut self, change: Change, told: &mut Vec<CacheEvent>) {
        told.push(CacheEvent { epoch: self.epoch, sequence: self.sequence, change });
        self.sequence += 1;
    }

    fn take(&mut self, event: Event, told: &mut Vec<CacheEvent>) {
        match event {
            Event::Stored { names, parent, tokens, block, is_plain, on_device } => {
                let count = names.len() as u64;
                if block != self.block.0 {
                    self.counts.misfits += count;
                } else if !is_plain || !on_device {
                    self.counts.others += count;
                } else {
                    self.store(names, parent, &tokens, told);
                }
            }
            Event::Removed { names, on_device } if on_device => {
                // Last first, as engines do: then nothing is dropped that they keep.
                names.iter().rev().for_each(|name| self.remove(name, told));
            }
            Event::Removed { .. } => {}
            Event::Cleared => {
                self.held.clear();
                self.keys.clear();
                self.tell(Change::Cleared, told);
            }
        }
    }

    fn store(&mut self, names: Vec<Name>, parent: Option<Name>, tokens: &[u32], told: &mut Vec<CacheEvent>) {
        let before = match &parent {
            None => None,
            Some(name) => match self.held.get(name) {
                Some(held) => Some(held.piece),
                None => {
                    self.counts.orphans += names.len() as u64;
                    return;
                }
            },
        };
        let reach = before.map_or(0, |piece| u64::from(piece.end.0)) + tokens.len() as u64;
        if u32::try_from(reach).is_err() {
            self.counts.orphans += names.len() as u64;
            return;
        }
        let pieces = self.hasher.pieces_after(before, tokens).to_vec();
        let (mut last, mut parent) = (before, parent);
        // Pieces that are new, and what comes before the first of them.
        let mut run: Vec<Piece> = Vec::new();
        let mut start = before;
        for (name, piece) in names.into_iter().zip(pieces) {
            let is_there = self.held.contains_key(&name);
            let is_held = self.keys.get(&piece.key).is_some_and(|count| *count > 0);
            if is_held && !run.is_empty() {
                self.tell(stored(start, std::mem::take(&mut run)), told);
            }
            if !is_held {
                if run.is_empty() {
                    start = last;
                }
                run.push(piece);
            }
            if !is_there {
                *self.keys.entry(piece.key).or_default() += 1;
                if let Some(held) = parent.as_ref().and_then(|name| self.held.get_mut(name)) {
                    held.children.push(name.clone());
                }
                self.held.insert(name.clone(), Held { piece, parent, children: Vec::new() });
            }
            (last, parent) = (Some(piece), Some(name));
        }
        if !run.is_empty() {
            self.tell(stored(start, run), told);
        }
    }

    fn remove(&mut self, name: &Name, told: &mut Vec<CacheEvent>) {
        // A block, and those behind it, which nobody finds without it; the last ones go first.
        let mut order = vec![name.clone()];
        let mut next = 0;
        while let Some(one) = order.get(next) {
            let children = self.held.get(one).map(|held| held.children.clone()).unwrap_or_default();
            order.extend(children);
            next += 1;
        }
        for one in order.into_iter().rev() {
            let Some(held) = self.held.remove(&one) else { continue };
            if let Some(parent) = held.parent.as_ref().and_then(|parent| self.held.get_mut(parent)) {
                parent.children.retain(|child| *child != one);
            }
            let count = self.keys.get(&held.piece.key).copied().unwrap_or_default();
            if count > 1 {
                self.keys.insert(held.piece.key, count - 1);
                continue;
            }
            self.keys.remove(&held.piece.key);
            let left = held.piece.end.saturating_sub(self.block);
            self.tell(Change::Evicted { left, pieces: [held.piece].into(), strand: None }, told);
        }
    }
}

fn stored(before: Option<Piece>, pieces: Vec<Piece>) -> Change {
    let upto = pieces.last().map_or(Tokens::ZERO, |piece| piece.end);
    let (parent, start) = before.map_or((PieceKey::ROOT, Tokens::ZERO), |piece| (piece.key, piece.end));
    Change::Stored { parent, start, upto, pieces, strand: None }
}
