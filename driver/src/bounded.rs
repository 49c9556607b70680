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

/// The text of a file of at most `limit` bytes; the error names the file.
///
/// # Errors
/// As [`read`], and where it is no UTF-8.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, String> {
    let bytes = read(path, limit).map_err(|problem| format!("{}: {problem}", path.display()))?;
    String::from_utf8(bytes).map_err(|_| format!("{}: it is not text (UTF-8)", path.display()))
}
