//! Storage identity: which bytes of KV are these? Computed only where real tokens are.
//!
//! `BlockHash(i) = SHA-256("podlab.block" | version | BlockHash(i-1) | tokens)`, and the root hashes everything that
//! makes KV of equal tokens differ: model, dtype, block size, tenant salt, adapter. Each field carries its length, so
//! no two field lists can run together; the domain tags keep roots and blocks apart. vLLM chains in the same way
//! (facts: sha256 is its default since 0.10.2), but left salt and adapter in one untagged domain.

use crate::chain::PieceKey;
use crate::units::Tokens;
use core::fmt;
use sha2::{Digest, Sha256};

/// Version of the layout of what is hashed. A change of layout must change it, or old stores would answer for new keys.
const VERSION: u8 = 1;

/// Identity of a block and everything before it; collision-resistant, stable across processes and platforms.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash(pub [u8; 32]);

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    /// Whose it is: no text of a client's passes for it, and who has but one tenant names that one.
    pub salt: &'a Salt,
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
        for field in [self.model, self.dtype, self.salt.as_str(), self.adapter] {
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

/// What goes into [`Identity::salt`]: 64 hexadecimal digits that name a tenant and, perhaps, a part of its space.
///
/// A tenant that shares blocks with another tells it, by the time to the first token, what it asked (CVE-2025-46570);
/// hence each tenant has a space of its own. The tenant's name comes from whoever authenticated the request. What a
/// client adds only splits its own tenant's space: both go, with their lengths, into one hash of another domain than
/// roots and blocks, so no choice of a client reaches the blocks of another tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Salt([u8; Salt::DIGITS]);

impl Salt {
    /// Characters of a client's own salt, at most.
    pub const LONGEST: usize = 128;

    const DIGITS: usize = 64;

    /// The salt of `tenant`, within it of whoever chose the `client` salt.
    ///
    /// # Errors
    /// Where the client's salt is not 1 to 128 characters of `A-Z a-z 0-9 . _ -`. The tenant's name may be anything.
    pub fn for_tenant(tenant: &str, client: Option<&str>) -> Result<Self, InvalidSalt> {
        let mut hasher = Sha256::new();
        hasher.update(b"podlab.salt");
        hasher.update([VERSION]);
        hasher.update((tenant.len() as u64).to_le_bytes());
        hasher.update(tenant.as_bytes());
        if let Some(client) = client {
            if client.is_empty() || client.len() > Self::LONGEST {
                return Err(InvalidSalt::Length(client.len()));
            }
            if let Some(found) = client.chars().find(|c| !c.is_ascii_alphanumeric() && !"._-".contains(*c)) {
                return Err(InvalidSalt::Character(found));
            }
            hasher.update((client.len() as u64).to_le_bytes());
            hasher.update(client.as_bytes());
        }
        let mut digits = [0; Self::DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(hasher.finalize()) {
            let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        Ok(Self(digits))
    }

    /// As text, for [`Identity::salt`] and for the keys of stored objects.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).expect("hexadecimal digits are text")
    }
}

/// A client's salt that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidSalt {
    /// It has so many bytes: none, or more than [`Salt::LONGEST`].
    Length(usize),
    /// It has this character, which is none of `A-Z a-z 0-9 . _ -`.
    Character(char),
}

impl fmt::Display for InvalidSalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(bytes) => write!(f, "a cache salt has 1 to {} characters, not {bytes} bytes", Salt::LONGEST),
            Self::Character(found) => {
                write!(f, "a cache salt consists of A-Z, a-z, 0-9, '.', '_', '-'; found {found:?}")
            }
        }
    }
}

impl core::error::Error for InvalidSalt {}
