//! What was evicted and is remembered by its key alone, in order of eviction.

use crate::keyed::OwnHash;
use core::hash::BuildHasherDefault;
use lru::LruCache;

#[derive(Debug)]
pub(super) struct Ghosts {
    keys: LruCache<u64, u64, BuildHasherDefault<OwnHash>>, // and what weighed how many tokens
    tokens: u64,
}

impl Ghosts {
    pub(super) fn new() -> Self {
        Self { keys: LruCache::unbounded_with_hasher(BuildHasherDefault::default()), tokens: 0 }
    }

    /// Tokens of all that is remembered.
    pub(super) const fn tokens(&self) -> u64 {
        self.tokens
    }

    /// What is remembered under a key weighed this much.
    pub(super) fn tokens_of(&self, key: u64) -> Option<u64> {
        self.keys.peek(&key).copied()
    }

    pub(super) fn remember(&mut self, key: u64, tokens: u64) {
        self.forget(key);
        self.keys.put(key, tokens);
        self.tokens += tokens;
    }

    /// Forgets a key; gives whether it was remembered.
    pub(super) fn forget(&mut self, key: u64) -> bool {
        let tokens = self.keys.pop(&key);
        self.tokens -= tokens.unwrap_or_default();
        tokens.is_some()
    }

    /// Forgets what was evicted first until at most `tokens` are remembered.
    pub(super) fn trim(&mut self, tokens: u64) {
        while self.tokens > tokens {
            let Some((_, gone)) = self.keys.pop_lru() else { break };
            self.tokens -= gone;
        }
    }
}
