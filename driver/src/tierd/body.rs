//! What is answered: a text, a lease that is taken back where nobody reads it, or an object on its way to another daemon.

use super::life::Busy;
use super::segment::Segment;
use super::spread::{Cursor, Seal};
use super::store::Leased;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use kvcache::{Fragment, ObjectName};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Most bytes of an object that are read at a time.
const PIECE: usize = 256 << 10;

/// The body of a request or a response.
#[derive(Debug)]
pub(super) struct Payload {
    kind: Kind,
    _busy: Option<Busy>,
}

#[derive(Debug)]
enum Kind {
    Text(Bytes, Option<Leased>),
    Object(Box<Moving>),
}

/// An object that is being sent.
#[derive(Debug)]
struct Moving {
    segment: Arc<Segment>,
    cursor: Cursor,
    covered: Option<Covered>,
}

/// What makes sure that it is the object that is sent.
#[derive(Debug)]
struct Covered {
    name: ObjectName,
    leased: Leased,
    seal: Seal,
}

impl Payload {
    pub(super) fn text(text: impl Into<Bytes>) -> Self {
        Self { kind: Kind::Text(text.into(), None), _busy: None }
    }

    /// Words about a lease, which ends where nobody comes for them.
    pub(super) fn about(leased: Leased, text: String) -> Self {
        Self { kind: Kind::Text(text.into(), Some(leased)), _busy: None }
    }

    /// A leased object. Breaks off where the lease ends before its time, or the object is not what was put: then it is
    /// condemned.
    pub(super) fn leased(segment: Arc<Segment>, name: ObjectName, leased: Leased) -> Self {
        let cursor = Cursor::new(leased.grant().fragments.clone());
        let seal = Seal::new(&name, leased.grant().len);
        let covered = Some(Covered { name, leased, seal });
        Self { kind: Kind::Object(Box::new(Moving { segment, cursor, covered })), _busy: None }
    }

    /// What lies in these fragments, which are the sender's.
    pub(super) fn own(segment: Arc<Segment>, fragments: Vec<Fragment>) -> Self {
        let cursor = Cursor::new(fragments);
        Self { kind: Kind::Object(Box::new(Moving { segment, cursor, covered: None })), _busy: None }
    }

    /// The same; the connection has work until it is gone.
    pub(super) fn of(self, busy: Busy) -> Self {
        Self { _busy: Some(busy), ..self }
    }
}

impl Moving {
    fn piece(&mut self) -> io::Result<Bytes> {
        let bytes = self.cursor.read(&self.segment, PIECE)?;
        if let Some(covered) = &mut self.covered {
            covered.seal.update(&bytes);
            if !covered.leased.holds() {
                return Err(io::Error::other("the lease ended before the object was sent"));
            }
            if self.cursor.left() == 0 && covered.seal.value() != covered.leased.grant().seal {
                covered.leased.condemn(&covered.name);
                return Err(io::Error::other("the object is not what was put"));
            }
        }
        Ok(bytes.into())
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match &mut self.kind {
            Kind::Text(bytes, _) if bytes.is_empty() => None,
            Kind::Text(bytes, leased) => {
                if let Some(mut leased) = leased.take() {
                    leased.hand_on();
                }
                Some(Ok(Frame::data(std::mem::take(bytes))))
            }
            Kind::Object(moving) if moving.cursor.left() == 0 => None,
            Kind::Object(moving) => Some(moving.piece().map(Frame::data)),
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Text(bytes, _) => bytes.is_empty(),
            Kind::Object(moving) => moving.cursor.left() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.kind {
            Kind::Text(bytes, _) => bytes.len() as u64,
            Kind::Object(moving) => moving.cursor.left(),
        })
    }
}
