//! Objects coming in: from a client, from another daemon, or from their owner.

use super::segment::Segment;
use super::spread::{Cursor, Seal};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::io;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a body may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Between two pieces.
    pub(super) piece: Duration,
    /// In all.
    pub(super) until: Instant,
}

/// Why an object did not come in.
#[derive(Debug)]
pub(super) enum Broken {
    /// Whoever sends it is too slow.
    Slow,
    /// Whoever sends it has gone, or sends something else than was announced.
    Cut,
    /// The segment cannot be written.
    Segment(io::Error),
}

/// Writes a body where it belongs, piece by piece as it comes. Gives its seal, where one is wanted.
pub(super) async fn receive(
    body: &mut Incoming,
    mut cursor: Cursor,
    segment: &Segment,
    mut seal: Option<Seal>,
    patience: Patience,
) -> Result<u32, Broken> {
    while cursor.left() > 0 {
        let frame = timeout_at(patience.until, timeout(patience.piece, body.frame())).await;
        let Ok(Ok(frame)) = frame else { return Err(Broken::Slow) };
        let Some(Ok(frame)) = frame else { return Err(Broken::Cut) };
        let Some(bytes) = frame.data_ref() else { continue };
        if bytes.len() as u64 > cursor.left() {
            return Err(Broken::Cut);
        }
        if let Some(seal) = &mut seal {
            seal.update(bytes);
        }
        cursor.write(segment, bytes).map_err(Broken::Segment)?;
    }
    Ok(seal.map_or(0, |seal| seal.value()))
}

/// Reads a body that nobody needs, so that its sender gets to reading the answer: one whose connection is closed while it
/// writes takes the daemon for dead.
pub(super) async fn discard(body: &mut Incoming, patience: Patience) -> Result<(), Broken> {
    loop {
        let frame = timeout_at(patience.until, timeout(patience.piece, body.frame())).await;
        match frame {
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(Ok(_)))) => {}
            Ok(Ok(Some(Err(_)))) => return Err(Broken::Cut),
            Ok(Err(_)) | Err(_) => return Err(Broken::Slow),
        }
    }
}
