//! Server-sent events, cut anywhere: bytes go in as they come, whole events come out.
//!
//! By the HTML standard's "server-sent events" (lines end in LF, CR or CRLF; a leading byte order mark, comments, `id` and
//! `retry` mean nothing here; several `data` lines are joined by LF). Pure: no clock, no socket.

use std::fmt;

/// Longest line and longest event, in bytes: a server that never ends one must not fill the memory.
pub const LONGEST: usize = 16 << 20;

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its type; empty where the stream names none, which stands for `message`.
    pub name: &'a [u8],
    /// Its data, never empty.
    pub data: &'a [u8],
}

/// A line or an event longer than [`LONGEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event of more than {LONGEST} bytes")
    }
}

impl std::error::Error for TooLong {}

/// The parser's memory between two pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sse {
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// What lines of the event have said so far.
    data: Vec<u8>,
    name: Vec<u8>,
    /// The last byte was a CR: an LF that follows belongs to it.
    after_cr: bool,
    /// Something of the stream has been read.
    begun: bool,
}

impl Sse {
    /// Reads `bytes` and shows each event that they complete. O(bytes).
    ///
    /// # Errors
    /// [`TooLong`]; the stream cannot be read any further then.
    pub fn push(&mut self, mut bytes: &[u8], mut show: impl FnMut(Event<'_>)) -> Result<(), TooLong> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.line.extend_from_slice(bytes);
                return if self.line.len() > LONGEST { Err(TooLong) } else { Ok(()) };
            };
            self.after_cr = bytes[end] == b'\r';
            if self.line.is_empty() {
                self.read_line(&bytes[..end], &mut show)?;
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&bytes[..end]);
                self.read_line(&line, &mut show)?;
                line.clear();
                self.line = line;
            }
            bytes = &bytes[end + 1..];
        }
        Ok(())
    }

    /// Whether a stream that ends here breaks off inside a line or an event.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        !self.line.is_empty() || !self.data.is_empty()
    }

    fn read_line(&mut self, line: &[u8], show: &mut impl FnMut(Event<'_>)) -> Result<(), TooLong> {
        let first = !std::mem::replace(&mut self.begun, true);
        let line = if first { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        if line.is_empty() {
            // Each line of data has left an LF behind it; the last one is none of the event.
            if let Some((_, data)) = self.data.split_last().filter(|(_, data)| !data.is_empty()) {
                show(Event { name: &self.name, data });
            }
            self.data.clear();
            self.name.clear();
            return Ok(());
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => value.clone_into(&mut self.name),
            _ => {}
        }
        if self.data.len().max(self.name.len()) > LONGEST { Err(TooLong) } else { Ok(()) }
    }
}
