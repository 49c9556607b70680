//! Tokens of the blocks that requests in flight may store: a cache speaks of blocks by their keys, vLLM's events of their tokens.
//!
//! Law: a block is known as long as a request has not ended whose prompt or reply it is a part of. Grows with these alone.

use kvcache::{Piece, PieceKey, RequestId, Tokens};
use std::collections::HashMap;
use std::sync::Arc;

/// Blocks by key.
#[derive(Debug, Default)]
pub(super) struct Names {
    blocks: HashMap<PieceKey, Named>,
    /// Whole blocks of each request's prompt and reply, first to last.
    requests: HashMap<RequestId, Vec<PieceKey>>,
}

#[derive(Debug)]
struct Named {
    /// The prompt of whoever named it first, and where it begins there; of a reply's block, its tokens.
    prompt: Arc<[u32]>,
    start: usize,
    /// Requests that have not ended.
    requests: u32,
}

impl Names {
    /// A request with this prompt may store its whole blocks, of `block` tokens each. O(blocks).
    pub(super) fn know(&mut self, request: RequestId, pieces: &[Piece], prompt: &Arc<[u32]>, block: Tokens) {
        let size = block.0 as usize;
        let whole = prompt.len() / size;
        let keys: Vec<PieceKey> = pieces.iter().take(whole).map(|piece| piece.key).collect();
        for (place, key) in keys.iter().enumerate() {
            let named = || Named { prompt: Arc::clone(prompt), start: place * size, requests: 0 };
            self.blocks.entry(*key).or_insert_with(named).requests += 1;
        }
        self.requests.insert(request, keys);
    }

    /// A request that is known may store this block of its reply, too.
    pub(super) fn know_more(&mut self, request: RequestId, key: PieceKey, tokens: &[u32]) {
        let Some(keys) = self.requests.get_mut(&request) else { return };
        keys.push(key);
        let named = || Named { prompt: Arc::from(tokens), start: 0, requests: 0 };
        self.blocks.entry(key).or_insert_with(named).requests += 1;
    }

    /// It has ended. O(blocks).
    pub(super) fn forget(&mut self, request: RequestId) {
        for key in self.requests.remove(&request).unwrap_or_default() {
            let Some(named) = self.blocks.get_mut(&key) else { continue };
            named.requests -= 1;
            if named.requests == 0 {
                self.blocks.remove(&key);
            }
        }
    }

    /// The tokens of a block; `None`: it is no whole block of a prompt in flight.
    pub(super) fn tokens(&self, key: PieceKey, block: Tokens) -> Option<&[u32]> {
        let named = self.blocks.get(&key)?;
        named.prompt.get(named.start..named.start + block.0 as usize)
    }
}
