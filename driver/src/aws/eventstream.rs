//! Amazon's event stream encoding (`application/vnd.amazon.eventstream`), cut anywhere.
//!
//! A frame is: u32 length of all, u32 length of its headers, u32 CRC-32 of these eight bytes, headers, payload, u32 CRC-32 of
//! all before; all numbers big-endian (`facts/clients.md`, section 2, and botocore's `eventstream.py`). Pure: no clock, no socket.

use std::fmt;

/// Longest frame, in bytes: botocore's limit, 24 MiB.
const LONGEST: usize = 24 << 20;
/// Lengths and their checksum.
const PRELUDE: usize = 12;
/// The last checksum.
const TRAILER: usize = 4;

/// A frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// `event`, `exception` or `error`.
    pub message_type: String,
    /// `PayloadPart`, or the name of the exception.
    pub kind: String,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFrame {
    /// A checksum that is another.
    Checksum,
    /// Lengths that contradict each other, or one beyond 24 MiB.
    Length,
    /// Headers that do not end where they should, or of an unknown type.
    Headers,
}

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checksum => "a frame whose checksum does not fit its bytes",
            Self::Length => "a frame whose lengths contradict each other",
            Self::Headers => "a frame whose headers cannot be read",
        })
    }
}

impl std::error::Error for BadFrame {}

/// The decoder's memory between two pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoder {
    /// What has come of a frame.
    held: Vec<u8>,
}

impl Decoder {
    /// Reads `bytes` and shows each frame that they complete. O(bytes).
    ///
    /// # Errors
    /// [`BadFrame`]; the stream cannot be read any further then.
    pub fn push(&mut self, bytes: &[u8], mut show: impl FnMut(Frame)) -> Result<(), BadFrame> {
        self.held.extend_from_slice(bytes);
        let mut read = 0;
        let result = loop {
            match next(&self.held[read..]) {
                Ok(Some((frame, length))) => {
                    read += length;
                    show(frame);
                }
                Ok(None) => break Ok(()),
                Err(bad) => break Err(bad),
            }
        };
        self.held.drain(..read);
        result
    }

    /// Whether a stream that ends here breaks off inside a frame.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        !self.held.is_empty()
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// The first frame of `bytes` and its length; `None`: it is not all there.
fn next(bytes: &[u8]) -> Result<Option<(Frame, usize)>, BadFrame> {
    let (Some(total), Some(headers), Some(check)) = (number(bytes, 0), number(bytes, 4), number(bytes, 8)) else {
        return Ok(None);
    };
    if crc32fast::hash(&bytes[..8]) != check {
        return Err(BadFrame::Checksum);
    }
    let (total, headers) = (total as usize, headers as usize);
    if total > LONGEST || headers.saturating_add(PRELUDE + TRAILER) > total {
        return Err(BadFrame::Length);
    }
    let Some(frame) = bytes.get(..total) else { return Ok(None) };
    let body = &frame[..total - TRAILER];
    if number(frame, total - TRAILER) != Some(crc32fast::hash(body)) {
        return Err(BadFrame::Checksum);
    }
    let mut read = read_headers(&body[PRELUDE..PRELUDE + headers]).ok_or(BadFrame::Headers)?;
    body[PRELUDE + headers..].clone_into(&mut read.payload);
    Ok(Some((read, total)))
}

/// Names and values; those that matter here are strings.
fn read_headers(mut bytes: &[u8]) -> Option<Frame> {
    let mut frame = Frame::default();
    while let Some((length, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (kind, rest) = rest.split_first()?;
        let (value, rest) = match kind {
            0 | 1 => (&[][..], rest),
            2 => rest.split_at_checked(1)?,
            3 => rest.split_at_checked(2)?,
            4 => rest.split_at_checked(4)?,
            5 | 8 => rest.split_at_checked(8)?,
            6 | 7 => {
                let (length, rest) = rest.split_at_checked(2)?;
                rest.split_at_checked(usize::from(u16::from_be_bytes([length[0], length[1]])))?
            }
            9 => rest.split_at_checked(16)?,
            _ => return None,
        };
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b":message-type" => frame.message_type = text(),
            b":event-type" | b":exception-type" | b":error-code" => frame.kind = text(),
            _ => {}
        }
        bytes = rest;
    }
    Some(frame)
}

/// A frame as bytes, for whoever plays the server: string headers and a payload.
#[must_use]
pub fn encode(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(name.len() as u8);
        head.extend_from_slice(name.as_bytes());
        head.push(7);
        head.extend_from_slice(&(value.len() as u16).to_be_bytes());
        head.extend_from_slice(value.as_bytes());
    }
    let total = PRELUDE + head.len() + payload.len() + TRAILER;
    let mut frame = Vec::with_capacity(total);
    frame.extend_from_slice(&(total as u32).to_be_bytes());
    frame.extend_from_slice(&(head.len() as u32).to_be_bytes());
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(&head);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame
}
