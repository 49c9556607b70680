//! The cache of one worker, by vLLM's rules: full blocks only, visible when the pass that computed them ends, the last
//! prompt token always computed again, the tail of a request evicted before its head.
//!
//! Invariant ([`WorkerCache::check`]): every block is free, private (held by one request and in nobody else's reach)
//! or resident (findable), and in exactly one of the three. Resident blocks are held or idle; free and idle ones are
//! *available*. Free blocks are taken before any idle one is evicted. (vLLM takes its one free queue strictly in order,
//! so a block that was freed without content can wait there behind cached ones.)

use crate::chain::{Chain, Piece};
use crate::event::{CacheEvent, CacheSnapshot, Change, Epoch, Strand, StrandId};
use crate::label::{LabelId, Labels};
use crate::news::News;
use crate::runs::{Extent, Path, RunId, Runs};
use crate::units::{Blocks, Tokens};
use alloc::vec::Vec;
use core::fmt;

/// What becomes of a block whose content turns out to be resident already when the pass that computed it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duplicates {
    /// The copy stays with the request until that ends, as in vLLM v1, whose block tables are append-only.
    #[default]
    Keep,
    /// The copy is freed at once and the request goes on with the resident block.
    Merge,
}

/// How a worker's cache is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Device blocks in all.
    pub capacity: Blocks,
    /// Tokens in a block.
    pub block: Tokens,
    /// Whether blocks are kept for later requests at all (`--enable-prefix-caching`).
    pub prefix_caching: bool,
    /// What becomes of copies.
    pub duplicates: Duplicates,
    /// Whether changes are told as [`CacheEvent`]s. Where nobody listens, they cost nothing.
    pub events: bool,
}

/// A look-up's answer. Valid until the cache changes.
#[derive(Clone, Copy, Debug)]
pub struct Found(Path);

impl Found {
    /// Blocks of the prompt that are resident.
    #[must_use]
    pub const fn blocks(&self) -> Blocks {
        self.0.blocks
    }
}

/// What a request holds of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldId(u32);

impl HoldId {
    /// Its place in a list of all: numbers are used again.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    leaf: RunId,       // deepest run held; the path to it is the request's first `committed` blocks
    committed: Blocks, // blocks of the request that are resident
    copies: Blocks,    // blocks it keeps beside resident ones of the same content
}

/// A request for blocks that cannot be met now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// Blocks asked for.
    pub needed: Blocks,
    /// Blocks free or idle.
    pub available: Blocks,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "needs {}, only {} available", self.needed, self.available)
    }
}

impl core::error::Error for NoRoom {}

/// Where the blocks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// In nobody's hands, without content.
    pub free: Blocks,
    /// Held by one request, not findable.
    pub private: Blocks,
    /// Findable and held by at least one request.
    pub held: Blocks,
    /// Findable and held by nobody.
    pub idle: Blocks,
}

/// The device tier (L0) of one worker.
#[derive(Debug)]
pub struct WorkerCache {
    config: CacheConfig,
    runs: Runs,
    free: Blocks,
    private: Blocks,
    holds: Vec<Hold>,
    vacant: Vec<HoldId>,
    news: News,
}

impl WorkerCache {
    /// An empty cache.
    #[must_use]
    pub fn new(config: CacheConfig) -> Self {
        Self {
            config,
            runs: Runs::new(config.block),
            free: config.capacity,
            private: Blocks::ZERO,
            holds: Vec::new(),
            vacant: Vec::new(),
            news: News::default(),
        }
    }

    /// Its set-up.
    #[must_use]
    pub const fn config(&self) -> &CacheConfig {
        &self.config
    }

    /// The longest resident prefix of `chain`, in full blocks and at most `limit` of them. Changes nothing.
    /// O(runs on the path, times the log of their pieces).
    #[must_use]
    pub fn find(&self, chain: Chain<'_>, limit: Blocks) -> Found {
        debug_assert_eq!(chain.unit(), self.config.block, "a chain in the worker's blocks");
        if self.config.prefix_caching { Found(self.runs.find(chain, limit)) } else { Found(Path::NOTHING) }
    }

    /// Blocks that can be had: free ones, and idle ones by eviction.
    #[inline]
    #[must_use]
    pub fn available(&self) -> Blocks {
        self.free + self.runs.idle
    }

    /// Whether a request that found `found` could hold its first `upto` tokens now.
    #[must_use]
    pub fn has_room(&self, found: &Found, upto: Tokens) -> bool {
        upto.blocks(self.config.block).saturating_sub(found.0.blocks) + found.0.idle <= self.available()
    }

    /// Begins to hold `found` for a request, and blocks for its tokens up to `upto` besides.
    ///
    /// # Errors
    /// [`NoRoom`], and nothing changed.
    pub fn begin(&mut self, found: Found, upto: Tokens) -> Result<HoldId, NoRoom> {
        let needed = upto.blocks(self.config.block).saturating_sub(found.0.blocks);
        if !self.has_room(&found, upto) {
            return Err(NoRoom { needed, available: self.available().saturating_sub(found.0.idle) });
        }
        let hold = Hold { leaf: self.runs.pin(found.0), committed: found.0.blocks, copies: Blocks::ZERO };
        self.take(needed);
        Ok(if let Some(id) = self.vacant.pop() {
            self.holds[id.0 as usize] = hold;
            id
        } else {
            self.holds.push(hold);
            HoldId(self.holds.len() as u32 - 1)
        })
    }

    /// Takes `needed` more blocks for requests that hold something already. Whose they are, the caller keeps count of.
    ///
    /// # Errors
    /// [`NoRoom`], and nothing changed.
    pub fn reserve(&mut self, needed: Blocks) -> Result<(), NoRoom> {
        if needed > self.available() {
            return Err(NoRoom { needed, available: self.available() });
        }
        self.take(needed);
        Ok(())
    }

    fn take(&mut self, needed: Blocks) {
        let evict = needed.saturating_sub(self.free);
        if evict > Blocks::ZERO {
            let Self { runs, news, config, .. } = self;
            runs.evict(evict, |labels, extent| {
                if config.events && news.is_by_strand() {
                    news.push_cut(extent.label.into(), extent.from.tokens(config.block));
                } else if config.events {
                    let list = news.list();
                    news.push(evicted(labels, extent, config.block, list));
                }
            });
        }
        self.free = self.free.saturating_sub(needed);
        self.private += needed;
    }

    /// A pass ended: the full blocks of the request's first `computed` tokens become resident.
    pub fn commit(&mut self, id: HoldId, chain: Chain<'_>, computed: Tokens) {
        let hold = self.holds[id.0 as usize];
        let to = computed.full_blocks(self.config.block);
        if to <= hold.committed || !self.config.prefix_caching {
            return;
        }
        let Self { runs, news, config, .. } = self;
        let done = runs.commit(chain, hold.leaf, hold.committed, to, |labels, extent, behind| {
            if config.events {
                let list = news.list();
                news.push(stored(labels, (extent, behind), config.block, list));
            }
        });
        let new = to - hold.committed - done.copies;
        self.private -= new;
        let kept = match self.config.duplicates {
            Duplicates::Keep => done.copies,
            Duplicates::Merge => {
                self.private -= done.copies;
                self.free += done.copies;
                Blocks::ZERO
            }
        };
        self.holds[id.0 as usize] = Hold { leaf: done.leaf, committed: to, copies: hold.copies + kept };
    }

    /// The request lets go of everything: its resident blocks become idle, deepest first, the rest free. `reserved`
    /// is up to which token it had blocks, those it found included. What was computed since the last [`WorkerCache::commit`] is lost.
    pub fn release(&mut self, id: HoldId, reserved: Tokens) {
        let hold = self.holds[id.0 as usize];
        let private = reserved.blocks(self.config.block) - hold.committed + hold.copies;
        self.private -= private;
        self.free += private;
        self.runs.release(hold.leaf);
        self.vacant.push(id);
    }

    /// Blocks that are private to the request, given up to which token it has blocks.
    #[must_use]
    pub fn private_of(&self, id: HoldId, reserved: Tokens) -> Blocks {
        let hold = self.holds[id.0 as usize];
        reserved.blocks(self.config.block) - hold.committed + hold.copies
    }

    /// The worker restarts, cold: a new epoch begins.
    ///
    /// # Panics
    /// Where a request still holds something.
    pub fn restart(&mut self) {
        assert_eq!(self.holds.len(), self.vacant.len(), "requests must let go before the worker restarts");
        self.runs = Runs::new(self.config.block);
        self.free = self.config.capacity;
        self.news.begin(Epoch(self.epoch().0 + 1));
        if self.config.events {
            self.news.push(Change::Cleared);
        }
    }

    /// How often it restarted.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.news.epoch()
    }

    /// The next change that nobody was told of yet.
    pub fn poll_event(&mut self) -> Option<CacheEvent> {
        self.news.poll()
    }

    /// All changes that nobody was told of yet, in order.
    #[inline]
    pub fn events(&self) -> impl ExactSizeIterator<Item = &CacheEvent> {
        self.news.iter()
    }

    /// From now on, whether evictions are told by their strands alone ([`Change::Evicted`] without pieces), and what goes of a
    /// strand as one change until somebody is told of it. For those who follow strands, and hear of all of it at once.
    pub const fn tell_by_strand(&mut self, by_strand: bool) {
        self.news.tell_by_strand(by_strand);
    }

    /// Hands the next changes that nobody was told of yet, at most `most` of them, to `hear`, in order, where there are any.
    pub fn take_events(&mut self, most: usize, hear: impl FnOnce(&[CacheEvent])) {
        self.news.take(most, hear);
    }

    /// All that is resident, for whoever has missed events. It changes nothing; events go on as if nobody had asked.
    /// O(runs, times their log, + pieces).
    #[must_use]
    pub fn snapshot(&self) -> CacheSnapshot {
        let told = |extent| stored(&self.runs.labels, extent, self.config.block, Vec::new());
        let stored = self.runs.extents().into_iter().map(told).collect();
        CacheSnapshot { epoch: self.epoch(), next: self.news.next(), stored }
    }

    /// Where the blocks are.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            free: self.free,
            private: self.private,
            held: self.runs.resident - self.runs.idle,
            idle: self.runs.idle,
        }
    }

    /// Blocks evicted since the worker started.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.runs.evicted
    }

    /// Asserts every law of this crate. O(runs + holds).
    ///
    /// # Panics
    /// Where one is broken: a bug.
    pub fn check(&self) {
        self.runs.check();
        assert_eq!(self.free + self.private + self.runs.resident, self.config.capacity, "each block is in one place");
    }
}

/// What became resident, and what it goes on; its pieces go into `pieces`, in which there are none.
fn stored(
    labels: &Labels,
    (extent, behind): (Extent, Option<LabelId>),
    block: Tokens,
    mut pieces: Vec<Piece>,
) -> Change {
    let touched = labels.touched(extent.label, extent.from, extent.to);
    pieces.extend_from_slice(touched.pieces);
    Change::Stored {
        parent: touched.parent,
        start: touched.start.full_blocks(block).tokens(block),
        upto: extent.to.tokens(block),
        pieces,
        strand: Some(Strand { id: extent.label.into(), behind: behind.map(StrandId::from) }),
    }
}

/// What was evicted, likewise.
fn evicted(labels: &Labels, extent: Extent, block: Tokens, mut pieces: Vec<Piece>) -> Change {
    pieces.extend_from_slice(labels.pieces(extent.label, extent.from, extent.to));
    Change::Evicted { left: extent.from.tokens(block), pieces, strand: Some(extent.label.into()) }
}
