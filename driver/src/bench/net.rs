//! Connections: opened when there is none idle, kept alive, their bytes stamped when they leave the socket.
//!
//! A connection of HTTP/1.1 is polled by the task whose request is on it: no token goes from one task to another. One of
//! HTTP/2 has a task of its own and up to [`STREAMS`] requests at a time.

use super::clock::Clock;
use super::problem::Problem;
use super::target::Origin;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Requests that share a connection of HTTP/2: what servers allow at least.
const STREAMS: usize = 100;
/// Connections that are opened ahead at a time.
const AHEAD: usize = 32;
/// How long opening a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);

type Body = Full<Bytes>;

/// A socket that keeps when it was last read from.
struct Stamped {
    stream: TcpStream,
    last: Arc<AtomicU64>,
    clock: Clock,
}

impl AsyncRead for Stamped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.last.store(self.clock.now(), Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A stream of bytes, in the clear or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Io = TokioIo<Box<dyn Stream>>;

/// A connection with room for a request.
pub(super) struct Connection {
    way: Way,
    last: Arc<AtomicU64>,
    /// How long it took to open, nanoseconds; 0 once a request has been on it.
    pub(super) opened_ns: u64,
}

enum Way {
    One {
        sender: http1::SendRequest<Body>,
        driver: Pin<Box<http1::Connection<Io, Body>>>,
    },
    /// The count of those who hold `_held` is the number of requests on it.
    Many {
        sender: http2::SendRequest<Body>,
        _held: Arc<()>,
    },
}

impl Connection {
    /// When bytes last came from the socket.
    pub(super) fn last_read(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    pub(super) const fn is_http2(&self) -> bool {
        matches!(self.way, Way::Many { .. })
    }

    /// Sends a request and waits for the head of the response.
    pub(super) async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, hyper::Error> {
        match &mut self.way {
            Way::One { sender, driver } => alongside(driver, sender.send_request(request)).await,
            Way::Many { sender, .. } => sender.send_request(request).await,
        }
    }

    /// Waits for something that only the connection can bring about.
    pub(super) async fn wait<T>(&mut self, what: impl Future<Output = T>) -> T {
        match &mut self.way {
            Way::One { driver, .. } => alongside(driver, what).await,
            Way::Many { .. } => what.await,
        }
    }

    /// Whether the other side has closed it.
    fn is_over(&mut self) -> bool {
        match &mut self.way {
            Way::One { sender, driver } => {
                let mut nobody = Context::from_waker(std::task::Waker::noop());
                driver.as_mut().poll(&mut nobody).is_ready() || !sender.is_ready()
            }
            Way::Many { sender, .. } => sender.is_closed(),
        }
    }
}

/// Polls `what`, and the connection that brings it about.
async fn alongside<T>(driver: &mut Pin<Box<http1::Connection<Io, Body>>>, what: impl Future<Output = T>) -> T {
    let (mut what, mut over) = (pin!(what), false);
    poll_fn(|cx| {
        if let Poll::Ready(done) = what.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        // A connection that has ended says so to whoever waits for it.
        if !over {
            over = driver.as_mut().poll(cx).is_ready();
        }
        what.as_mut().poll(cx)
    })
    .await
}

/// A connection of HTTP/2: who sends on it, the count of requests on it, when it was last read from.
type Shared = (http2::SendRequest<Body>, Arc<()>, Arc<AtomicU64>);

/// The connections to one place.
pub(super) struct Pool {
    origin: Origin,
    tls: Option<TlsConnector>,
    /// Without TLS nobody negotiates: HTTP/2 is spoken where it is asked for.
    http2: bool,
    clock: Clock,
    idle: Mutex<Vec<Connection>>,
    shared: Mutex<Vec<Shared>>,
    opened: AtomicUsize,
}

impl Pool {
    pub(super) fn new(origin: Origin, tls: Option<TlsConnector>, http2: bool, clock: Clock) -> Self {
        Self {
            origin,
            tls,
            http2,
            clock,
            idle: Mutex::default(),
            shared: Mutex::default(),
            opened: AtomicUsize::new(0),
        }
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// An idle connection, or a new one.
    pub(super) async fn take(&self) -> Result<Connection, Problem> {
        while let Some(mut idle) = lock(&self.idle).pop() {
            if !idle.is_over() {
                return Ok(idle);
            }
        }
        if let Some(shared) = self.share() {
            return Ok(shared);
        }
        let began = self.clock.now();
        let mut connection = match timeout(PATIENCE, self.open()).await {
            Ok(opened) => opened?,
            Err(_) => return Err(Problem::new("connect_timeout", format!("{}: no connection in 10 s", self.origin))),
        };
        connection.opened_ns = self.clock.now() - began;
        Ok(connection)
    }

    /// Connections opened so far.
    pub(super) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// Opens connections until `count` are idle, few at a time: servers drop the first packets of hundreds at once, and whoever
    /// was dropped tries again a second later. One that cannot be opened is left to the request that needs it.
    pub(super) async fn open_ahead(self: &Arc<Self>, count: usize) {
        let first = self.take().await;
        let shared = first.as_ref().is_ok_and(Connection::is_http2);
        if let Ok(first) = first {
            self.give_back(first);
        }
        while !shared && lock(&self.idle).len() < count {
            let few = AHEAD.min(count - lock(&self.idle).len());
            let mut opening = JoinSet::new();
            for _ in 0..few {
                let pool = self.clone();
                opening.spawn(async move { timeout(PATIENCE, pool.open()).await });
            }
            while let Some(opened) = opening.join_next().await {
                match opened {
                    Ok(Ok(Ok(connection))) => lock(&self.idle).push(connection),
                    _ => return,
                }
            }
        }
    }

    /// Gives a connection back whose response has been read to its end.
    pub(super) fn give_back(&self, mut connection: Connection) {
        connection.opened_ns = 0;
        if matches!(connection.way, Way::One { .. }) {
            lock(&self.idle).push(connection);
        }
    }

    fn share(&self) -> Option<Connection> {
        let mut shared = lock(&self.shared);
        shared.retain(|(sender, ..)| !sender.is_closed());
        let (sender, streams, last) = shared.iter().find(|(_, streams, _)| Arc::strong_count(streams) <= STREAMS)?;
        let way = Way::Many { sender: sender.clone(), _held: streams.clone() };
        Some(Connection { way, last: last.clone(), opened_ns: 0 })
    }

    async fn open(&self) -> Result<Connection, Problem> {
        let Origin { port, .. } = self.origin;
        let stream = TcpStream::connect((self.origin.bare_host(), port)).await.map_err(|error| self.refused(&error))?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        // A request shall not wait for the acknowledgement of what was sent before it.
        stream.set_nodelay(true).map_err(|error| self.refused(&error))?;
        let last = Arc::new(AtomicU64::new(0));
        let stamped = Stamped { stream, last: last.clone(), clock: self.clock };
        let (stream, http2): (Box<dyn Stream>, bool) = match &self.tls {
            None => (Box::new(stamped), self.http2),
            Some(tls) => {
                let odd = |error: &dyn std::fmt::Display| {
                    Problem::new(
                        "tls",
                        format!("{}: {error}; --cacert FILE names one more certificate to trust", self.origin),
                    )
                };
                let name = ServerName::try_from(self.origin.bare_host().to_owned()).map_err(|error| odd(&error))?;
                let stream = tls.connect(name, stamped).await.map_err(|error| odd(&error))?;
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                (Box::new(stream), http2)
            }
        };
        let failed = |error: hyper::Error| Problem::new("connect", format!("{}: {error}", self.origin));
        let io = TokioIo::new(stream);
        if !http2 {
            let (sender, driver) = http1::Builder::new().handshake(io).await.map_err(failed)?;
            return Ok(Connection { way: Way::One { sender, driver: Box::pin(driver) }, last, opened_ns: 0 });
        }
        let mut builder = http2::Builder::new(TokioExecutor::new());
        let (sender, driver) = builder.timer(TokioTimer::new()).handshake(io).await.map_err(failed)?;
        // It ends when the last sender does, or says to each request why it broke.
        tokio::spawn(async move { drop(driver.await) });
        let streams = Arc::new(());
        lock(&self.shared).push((sender.clone(), streams.clone(), last.clone()));
        Ok(Connection { way: Way::Many { sender, _held: streams }, last, opened_ns: 0 })
    }

    fn refused(&self, error: &io::Error) -> Problem {
        let class = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connect_refused",
            io::ErrorKind::TimedOut => "connect_timeout",
            _ => "connect",
        };
        Problem::new(class, format!("{}: {error}", self.origin))
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("origin", &self.origin).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
