//! The cache of one worker as a reader of vLLM's rules would write it down: one entry per block, no trees, no runs.

use kvcache::{CacheConfig, Duplicates, Usage};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Names the content of a block and everything before it. Two blocks have one name exactly if all their tokens are
/// equal: [`Names`] gives it from literal tokens and knows nothing of hashes.
pub(super) type Name = usize;

/// A token, literally: the content it belongs to and its place there.
pub(super) type Token = (u64, u32);

/// Which literal block has which name: a block is the block before it and its own tokens.
#[derive(Default)]
pub(super) struct Names(BTreeMap<(Option<Name>, Vec<Token>), Name>);

impl Names {
    /// The names of the full blocks of a prompt.
    pub(super) fn of(&mut self, tokens: &[Token], block: usize) -> Vec<Name> {
        let mut before = None;
        tokens
            .chunks_exact(block)
            .map(|tokens| {
                let next = self.0.len();
                let name = *self.0.entry((before, tokens.to_vec())).or_insert(next);
                before = Some(name);
                name
            })
            .collect()
    }

    /// The name of what lies behind the last full block, called `before`, of a prompt.
    pub(super) fn of_tail(&mut self, before: Option<Name>, tokens: &[Token]) -> Name {
        let next = self.0.len();
        *self.0.entry((before, tokens.to_vec())).or_insert(next)
    }
}

/// A resident block.
#[derive(Clone, Copy)]
struct Entry {
    holders: u32,
    released: u64, // which release was the last to let go of it
    depth: usize,  // its place in the prompt
}

/// What a request holds.
#[derive(Clone, Default)]
pub(super) struct Held {
    resident: Vec<Name>, // its first blocks, findable
    pub(super) private: u32,
}

pub(super) struct Model {
    config: CacheConfig,
    entries: Vec<Option<Entry>>,                 // by name
    idle: BTreeSet<(u64, Reverse<usize>, Name)>, // entries that nobody holds, in the order in which they go
    pub(super) resident: u32,
    free: u32,
    releases: u64,
    pub(super) evicted: u64,
}

impl Model {
    pub(super) fn new(config: CacheConfig) -> Self {
        let free = config.capacity.0;
        Self { config, entries: Vec::new(), idle: BTreeSet::new(), resident: 0, free, releases: 0, evicted: 0 }
    }

    fn entry(&self, name: Name) -> Option<Entry> {
        self.entries.get(name).copied().flatten()
    }

    /// How many leading blocks are resident, at most `limit`.
    pub(super) fn find(&self, prompt: &[Name], limit: u32) -> u32 {
        prompt.iter().take(limit as usize).take_while(|name| self.entry(**name).is_some()).count() as u32
    }

    pub(super) fn is_resident(&self, name: Name) -> bool {
        self.entry(name).is_some()
    }

    pub(super) fn available(&self) -> u32 {
        self.free + self.idle.len() as u32
    }

    /// What a request that found `found` blocks lacks for `blocks`, and what it could get: found blocks that are idle
    /// stop being available the moment they are held.
    pub(super) fn wants(&self, prompt: &[Name], found: u32, blocks: u32) -> (u32, u32) {
        let mine = &prompt[..found as usize];
        let idle = mine.iter().filter(|name| self.entry(**name).is_some_and(|entry| entry.holders == 0)).count();
        (blocks.saturating_sub(found), self.available() - idle as u32)
    }

    /// Holds the first `found` blocks of `prompt` and takes what lacks for `blocks`.
    pub(super) fn begin(&mut self, prompt: &[Name], found: u32, blocks: u32) -> Held {
        let mut held = Held::default();
        for name in &prompt[..found as usize] {
            self.hold(*name);
            held.resident.push(*name);
        }
        self.take(&mut held, blocks.saturating_sub(found));
        held
    }

    fn hold(&mut self, name: Name) {
        let entry = self.entries[name].as_mut().expect("only resident blocks are held");
        self.idle.remove(&(entry.released, Reverse(entry.depth), name));
        entry.holders += 1;
    }

    /// Takes `count` blocks: free ones, then those that were let go of first, in one release the deepest first.
    pub(super) fn take(&mut self, held: &mut Held, count: u32) {
        for _ in 0..count {
            if self.free == 0 {
                let (_, _, name) = self.idle.pop_first().expect("the caller looked whether there is room");
                self.entries[name] = None;
                self.resident -= 1;
                self.free += 1;
                self.evicted += 1;
            }
            self.free -= 1;
            held.private += 1;
        }
    }

    /// The request's first `blocks` blocks are computed: each becomes resident, or is a copy of a resident one. Gives
    /// the number of copies.
    pub(super) fn commit(&mut self, held: &mut Held, prompt: &[Name], blocks: u32) -> u64 {
        let mut copies = 0;
        if !self.config.prefix_caching {
            return copies;
        }
        let done = held.resident.len();
        for (depth, &name) in prompt.iter().enumerate().take(blocks as usize).skip(done) {
            if self.entry(name).is_some() {
                copies += 1;
                self.hold(name);
                if self.config.duplicates == Duplicates::Merge {
                    held.private -= 1;
                    self.free += 1;
                }
            } else {
                let most = self.entries.len().max(name + 1);
                self.entries.resize(most, None);
                self.entries[name] = Some(Entry { holders: 1, released: 0, depth });
                self.resident += 1;
                held.private -= 1;
            }
            held.resident.push(name);
        }
        copies
    }

    pub(super) fn release(&mut self, held: &Held) {
        self.releases += 1;
        self.free += held.private;
        for name in &held.resident {
            let entry = self.entries[*name].as_mut().expect("held blocks stay");
            entry.holders -= 1;
            if entry.holders == 0 {
                entry.released = self.releases;
                self.idle.insert((entry.released, Reverse(entry.depth), *name));
            }
        }
    }

    pub(super) fn restart(&mut self) {
        *self = Self::new(self.config);
    }

    pub(super) fn usage(&self, private: u32) -> Usage {
        let idle = self.idle.len() as u32;
        Usage {
            free: kvcache::Blocks(self.free),
            private: kvcache::Blocks(private),
            held: kvcache::Blocks(self.resident - idle),
            idle: kvcache::Blocks(idle),
        }
    }
}
