//! Requests from a file: a trace, or a list without times.

use crate::bounded;
use crate::failure::Failure;
use sim::workload::trace::{Replay, read};
use std::path::Path;

/// Of a trace: some eight million requests.
const MOST_BYTES: u64 = 2 << 30;

/// Reads a trace.
///
/// # Errors
/// [`Failure::Invalid`], naming the file, the line and the remedy.
pub(super) fn read_trace(file: &Path, show: impl FnOnce(&Path, &[u8])) -> Result<Replay, Failure> {
    let name = file.display();
    let bytes = bounded::read(file, MOST_BYTES)
        .map_err(|error| Failure::Invalid(format!("{name}: cannot be read: {error}")))?;
    show(file, &bytes);
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        Failure::Invalid(format!("{name}: line {line}: not UTF-8 text"))
    })?;
    // Some editors put a byte order mark first.
    let text = text.trim_start_matches('\u{feff}');
    read(text).map_err(|error| Failure::Invalid(format!("{name}: {error}")))
}
