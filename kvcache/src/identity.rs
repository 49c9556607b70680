//! Storage identity: which bytes of KV are these? Computed only where real tokens are.
//!
//! `BlockHash(i) = SHA-256("podlab.block" | version | BlockHash(i-1) | tokens)`, and the root hashes everything that
//! makes KV of equal tokens differ: model, dtype, block size, tenant salt, adapter. Each field carries its length, so
//! no two field lists can run together; the domain tags keep roots and blocks apart. vLLM chains in the same way
//! (facts: sha256 is its default since 0.10.2), but left salt and adapter in one untagged domain.

use crate::chain::PieceKey;
use crate::units::Tokens;
use sha2::{Digest, Sha256};

/// Version of the layout of what is hashed. A change of layout must change it, or old stores would answer for new keys.
const VERSION: u8 = 1;

/// Identity of a block and everything before it; collision-resistant, stable across processes and platforms.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash(pub [u8; 32]);

impl core::fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Everything besides the tokens that decides what a block's KV is.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Model name and revision, as served.
    pub model: &'a str,
    /// Element type of the KV cache, such as `bf16`.
    pub dtype: &'a str,
    /// Tokens in a block.
    pub block: Tokens,
    /// The tenant's salt; set by the gateway, never taken from a client as it is.
    pub salt: &'a str,
    /// The adapter (LoRA) in use; empty for none.
    pub adapter: &'a str,
}

impl Identity<'_> {
    /// The hash that the first block of a prompt follows.
    #[must_use]
    pub fn root(&self) -> BlockHash {
        let mut hasher = Sha256::new();
        hasher.update(b"podlab.root");
        hasher.update([VERSION]);
        hasher.update(self.block.0.to_le_bytes());
        for field in [self.model, self.dtype, self.salt, self.adapter] {
            hasher.update((field.len() as u64).to_le_bytes());
            hasher.update(field.as_bytes());
        }
        BlockHash(hasher.finalize().into())
    }
}

impl BlockHash {
    /// The hash of the block that holds `tokens` and follows the block of this hash.
    #[must_use]
    pub fn then(&self, tokens: &[u32]) -> BlockHash {
        let mut hasher = Sha256::new();
        hasher.update(b"podlab.block");
        hasher.update([VERSION]);
        hasher.update(self.0);
        hasher.update((tokens.len() as u64).to_le_bytes());
        for token in tokens {
            hasher.update(token.to_le_bytes());
        }
        BlockHash(hasher.finalize().into())
    }

    /// The short identity that routers and the simulator use: the first eight bytes.
    #[must_use]
    pub const fn piece_key(&self) -> PieceKey {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        PieceKey(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }
}
