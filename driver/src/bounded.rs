//! Files read up to a size: a device or a pipe may never end.

use std::io::{self, Read};
use std::path::Path;

/// The content of a file of at most `limit` bytes.
///
/// # Errors
/// Where it cannot be read, or is larger.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it is larger than the {} MiB that are read", limit >> 20)));
    }
    Ok(bytes)
}
