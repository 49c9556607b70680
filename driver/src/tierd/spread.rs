//! An object's bytes, in the fragments of the segment where it lies.

use super::segment::Segment;
use kvcache::{Fragment, ObjectName};
use std::io;

/// A checksum over whose it is, how long it is, and its bytes: it tells a spoiled object, and one that is another's.
///
/// CRC-32 misses no error of up to 32 bits in a row, and others with probability 2^-32.
#[derive(Clone, Debug)]
pub(super) struct Seal(crc32fast::Hasher);

impl Seal {
    pub(super) fn new(name: &ObjectName, len: u64) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(name.as_bytes());
        hasher.update(&len.to_le_bytes());
        Self(hasher)
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn value(&self) -> u32 {
        self.0.clone().finalize()
    }
}

/// A place in an object, which goes forward.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    fragments: Vec<Fragment>,
    index: usize,
    within: u64,
    left: u64,
}

impl Cursor {
    pub(super) fn new(fragments: Vec<Fragment>) -> Self {
        let left = fragments.iter().map(|fragment| fragment.len).sum();
        Self { fragments, index: 0, within: 0, left }
    }

    /// Bytes behind it.
    pub(super) const fn left(&self) -> u64 {
        self.left
    }

    /// The next part of up to `most` bytes that lie in one piece.
    fn next(&mut self, most: usize) -> Option<(u64, usize)> {
        let fragment = self.fragments.get(self.index)?;
        let part = (fragment.len - self.within).min(most as u64);
        let offset = fragment.offset + self.within;
        self.within += part;
        self.left -= part;
        if self.within == fragment.len {
            (self.index, self.within) = (self.index + 1, 0);
        }
        Some((offset, part as usize))
    }

    /// Writes the object's next bytes.
    ///
    /// # Errors
    /// Where the segment cannot be written, or the object has no such bytes.
    pub(super) fn write(&mut self, segment: &Segment, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (offset, part) = self.next(bytes.len()).ok_or(io::ErrorKind::InvalidInput)?;
            segment.write_at(&bytes[..part], offset)?;
            bytes = &bytes[part..];
        }
        Ok(())
    }

    /// Reads the object's next bytes, at most `most`, and none at its end.
    ///
    /// # Errors
    /// Where the segment cannot be read.
    pub(super) fn read(&mut self, segment: &Segment, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.left.min(most as u64) as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            let Some((offset, part)) = self.next(bytes.len() - filled) else { break };
            segment.read_at(&mut bytes[filled..filled + part], offset)?;
            filled += part;
        }
        Ok(bytes)
    }
}
