//! Streams of events, cut where an event ends.
//!
//! A worker that dies in the middle of an event must not leave half of it with the client, where the error event that follows
//! would be read as its continuation. So what comes behind the last end of an event waits for the rest.

use axum::body::Bytes;

/// Most bytes of one event; what is longer is passed on as it comes.
const MOST: usize = 1 << 20;

/// Pieces go in, whole events come out.
#[derive(Debug, Default)]
pub(super) struct Events {
    held: Vec<u8>,
    done: bool,
}

impl Events {
    /// What can be passed on now; empty where nothing can.
    pub(super) fn push(&mut self, piece: Bytes) -> Bytes {
        if self.held.is_empty() && ends_event(&piece) {
            // As servers that flush after each event send them: nothing is copied.
            self.note(&piece);
            return piece;
        }
        let before = self.held.len();
        self.held.extend_from_slice(&piece);
        let end = if self.held.len() > MOST { self.held.len() } else { last_end(&self.held, before) };
        let whole: Vec<u8> = self.held.drain(..end).collect();
        self.note(&whole);
        Bytes::from(whole)
    }

    /// What is left when the stream has ended well.
    pub(super) fn rest(&mut self) -> Bytes {
        let rest = Bytes::from(std::mem::take(&mut self.held));
        self.note(&rest);
        rest
    }

    /// Whether `[DONE]` was passed on: OpenAI's streams end in it, and one without has been cut.
    pub(super) const fn is_done(&self) -> bool {
        self.done
    }

    /// Whole events pass, so a line is never in two pieces; and a comment behind `[DONE]` takes nothing back.
    fn note(&mut self, passed: &[u8]) {
        let mut lines = passed.split(|byte| b"\r\n".contains(byte));
        self.done = self.done || lines.any(|line| [&b"data: [DONE]"[..], b"data:[DONE]"].contains(&line));
    }
}

fn ends_event(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\n\n") || bytes.ends_with(b"\n\r\n") || bytes.ends_with(b"\r\r")
}

/// Where the last whole event ends, of which the first `before` bytes hold none; 0 where there is none.
fn last_end(bytes: &[u8], before: usize) -> usize {
    (before + 1..=bytes.len()).rev().find(|end| ends_event(&bytes[..*end])).unwrap_or(0)
}
