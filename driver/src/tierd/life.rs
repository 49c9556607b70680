//! How long a connection may be silent: not long in the middle of a request's head, longer between two requests, and with a
//! request under way as long as something moves.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval};

/// How often a connection is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What a connection is seen to do.
#[derive(Debug, Default)]
pub(super) struct Life {
    moved: AtomicU64, // bytes, in either direction
    head: AtomicU64,  // bytes that came while no request was under way
    busy: AtomicBool,
    begun: AtomicU64, // requests
}

/// A request is under way, until this is gone.
#[derive(Debug)]
pub(super) struct Busy(Arc<Life>);

impl Life {
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.head.store(0, Ordering::Relaxed);
        self.busy.store(true, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Resolves when the connection was silent for too long. `held` is how long nothing may move while a request is under way.
    pub(super) async fn silent(&self, head: Duration, idle: Duration, held: Duration) {
        let mut look = interval(LOOK);
        let mut since = Instant::now();
        let mut last = (false, false, 0, 0);
        loop {
            look.tick().await;
            let busy = self.busy.load(Ordering::Relaxed);
            let in_head = !busy && self.head.load(Ordering::Relaxed) > 0;
            // A head that comes byte by byte is no quicker for it.
            let moved = if in_head { 0 } else { self.moved.load(Ordering::Relaxed) };
            // Between two looks there may have been whole requests.
            let seen = (busy, in_head, moved, self.begun.load(Ordering::Relaxed));
            if seen != last {
                (last, since) = (seen, Instant::now());
            }
            let most = if busy {
                held
            } else if in_head {
                head
            } else {
                idle
            };
            if since.elapsed() >= most {
                return;
            }
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Relaxed);
    }
}

/// A socket that tells what it does.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) stream: TcpStream,
    pub(super) life: Arc<Life>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let read = (buffer.filled().len() - before) as u64;
        self.life.moved.fetch_add(read, Ordering::Relaxed);
        if !self.life.busy.load(Ordering::Relaxed) {
            self.life.head.fetch_add(read, Ordering::Relaxed);
        }
        polled
    }
}

impl Watched {
    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(wrote)) = polled {
            self.life.moved.fetch_add(wrote as u64, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(polled)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(polled)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
