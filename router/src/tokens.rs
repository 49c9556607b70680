//! From tokens to the keys of their blocks: what a router does before it can look anything up.
//!
//! Routing identity, not storage identity: 64 bits, so by chance two of n unequal blocks share a key with probability
//! n^2 / 2^65, and who finds such a pair on purpose misleads a router, not a cache ([`kvcache::BlockHash`] names what is
//! stored). A salt parts tenants, who then never match each other's blocks.

use alloc::vec::Vec;
use kvcache::{Piece, PieceKey, Tokens};

/// Constants of wyhash (Wang Yi, 2019): odd, and half of their bits are ones.
const SECRETS: [u64; 4] = [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3];

/// Hashes one prompt after another, in a buffer that is used again.
#[derive(Clone, Debug)]
pub struct TokenHasher {
    unit: Tokens,
    root: u64,
    pieces: Vec<Piece>,
}

impl TokenHasher {
    /// For blocks of `unit` tokens; `salt` parts those who must not share.
    ///
    /// # Panics
    /// Where `unit` is zero.
    #[must_use]
    pub fn new(unit: Tokens, salt: u64) -> Self {
        assert!(unit > Tokens::ZERO, "a block holds at least one token");
        let root = fold(salt ^ SECRETS[2], u64::from(unit.0) ^ SECRETS[3]);
        Self { unit, root, pieces: Vec::new() }
    }

    /// The pieces of a prompt: one for each full block. A key names its block and all before it. O(tokens): some 3 ns
    /// for a block of 16.
    pub fn pieces(&mut self, tokens: &[u32]) -> &[Piece] {
        self.pieces_after(None, tokens)
    }

    /// The same of tokens that come behind a block that is known already; `None`: at the beginning. O(tokens).
    ///
    /// # Panics
    /// Where positions would pass 32 bits.
    pub fn pieces_after(&mut self, before: Option<Piece>, tokens: &[u32]) -> &[Piece] {
        let unit = self.unit.0 as usize;
        self.pieces.clear();
        self.pieces.reserve(tokens.len() / unit);
        let (mut key, mut end) = before.map_or((self.root, 0_u32), |piece| (piece.key.0, piece.end.0));
        assert!(u32::try_from(tokens.len()).is_ok_and(|more| end.checked_add(more).is_some()), "positions are 32-bit");
        // Sixteen is what vLLM takes where nobody says otherwise; known lengths need no loop.
        if unit == 16 {
            let (blocks, _) = tokens.as_chunks::<16>();
            self.pieces.extend(blocks.iter().map(|block| {
                end = end.wrapping_add(16);
                key = next(key, of_16(block));
                Piece { key: PieceKey(key), end: Tokens(end) }
            }));
        } else {
            self.pieces.extend(tokens.chunks_exact(unit).map(|block| {
                end += self.unit.0;
                key = next(key, of_any(block));
                Piece { key: PieceKey(key), end: Tokens(end) }
            }));
        }
        &self.pieces
    }
}

/// The key of a block whose own tokens hash to `block`, behind what `before` names.
#[inline]
const fn next(before: u64, block: u64) -> u64 {
    fold(before ^ SECRETS[0], block ^ SECRETS[1])
}

/// The halves of a 128-bit product, folded. Both factors go in once more, so that one which is zero hides nothing.
#[inline]
const fn fold(a: u64, b: u64) -> u64 {
    fold_once(a, b) ^ a.rotate_left(32) ^ b
}

/// The same, of factors that cannot be zero.
#[inline]
const fn fold_once(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    (product as u64) ^ ((product >> 64) as u64)
}

#[inline]
const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// Four products, none of which waits for another, and no two of the same secrets, so that each place in a block counts for
/// itself. A factor is zero only for two tokens that are the halves of a secret, of which each is above 2^28: no vocabulary
/// has such tokens.
#[inline]
fn of_16(t: &[u32; 16]) -> u64 {
    let a = fold_once(pair(t[0], t[1]) ^ SECRETS[0], pair(t[2], t[3]) ^ SECRETS[1]);
    let b = fold_once(pair(t[4], t[5]) ^ SECRETS[1], pair(t[6], t[7]) ^ SECRETS[2]);
    let c = fold_once(pair(t[8], t[9]) ^ SECRETS[2], pair(t[10], t[11]) ^ SECRETS[3]);
    let d = fold_once(pair(t[12], t[13]) ^ SECRETS[3], pair(t[14], t[15]) ^ SECRETS[0]);
    a ^ b.rotate_left(16) ^ c.rotate_left(32) ^ d.rotate_left(48)
}

/// The same for any number of tokens, pair by pair.
#[inline]
fn of_any(tokens: &[u32]) -> u64 {
    tokens.chunks(2).fold(SECRETS[2], |hash, two| {
        let word = pair(two[0], two.get(1).copied().unwrap_or(u32::MAX));
        fold(hash ^ SECRETS[0], word ^ SECRETS[3])
    })
}
