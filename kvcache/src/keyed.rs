//! A map whose keys are mixed already: a key is its own hash, and look-ups cost no hashing.

use core::hash::{BuildHasherDefault, Hasher};
use hashbrown::HashMap;

/// From the word of a [`crate::BlockKey`] or [`crate::PieceKey`]. Never iterated: its order says nothing.
pub type KeyMap<V> = HashMap<u64, V, BuildHasherDefault<OwnHash>>;

/// Takes one 64-bit word as its own hash.
#[derive(Debug, Default)]
pub struct OwnHash(u64);

impl Hasher for OwnHash {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        debug_assert!(false, "only keys are hashed here, not {} bytes", bytes.len());
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}
