//! Sockets, and stopping gracefully.
//!
//! Told to stop, a server is not ready any more and takes no new work, but goes on answering; requests in flight may end within
//! the drain time. After it, streams end in an error event and the rest in an error.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutWriter;
use tokio_rustls::TlsAcceptor;

/// How long clients may take to read the last words once the drain time is over.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Waiting before the next try where the process has no socket left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// Most bytes of a request's head, and of a response that waits for its reader.
const BUFFER: usize = 64 << 10;

/// How far the server's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Ready.
    Serving,
    /// No new work.
    Draining,
    /// Requests in flight are given up.
    Over,
}

/// Resolves when requests in flight are given up.
pub(crate) async fn over(phase: &mut watch::Receiver<Phase>) {
    // A server that is gone is over, too.
    let _ = phase.wait_for(|phase| *phase == Phase::Over).await;
}

/// Resolves at SIGTERM or SIGINT. What a second signal does is the caller's business.
///
/// # Errors
/// Where signals cannot be heard.
pub async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// A socket, in the clear or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Who lets clients in.
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) routes: Router,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) tls: Option<TlsAcceptor>,
    /// How long a client may take to send a request's head, or to agree on TLS. Idle connections are closed after it, too.
    pub(crate) head_timeout: Duration,
    /// How long a client may take nothing of what it is sent: then its connection is closed, and its request is over.
    pub(crate) reader_timeout: Duration,
    /// How long requests in flight may take to end once the server is told to stop.
    pub(crate) drain: Duration,
}

impl Door {
    pub(crate) async fn serve(self, shutdown: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                stream = self.accept() => drop(connections.spawn(self.connection(stream))),
                Some(_) = connections.join_next() => {}
            }
        }
        // Nobody may be listening: then nobody is in flight.
        self.phase.send_replace(Phase::Draining);
        if timeout(self.drain, self.see_off(&mut connections)).await.is_err() {
            self.phase.send_replace(Phase::Over);
            // Whoever has not read them by then never will.
            let _ = timeout(LAST_WORDS, self.see_off(&mut connections)).await;
        }
        connections.shutdown().await;
    }

    /// Waits for connections with work in flight. New ones are answered meanwhile, and not waited for.
    async fn see_off(&self, connections: &mut JoinSet<()>) {
        let mut late = JoinSet::new();
        while !connections.is_empty() {
            tokio::select! {
                _ = connections.join_next() => {}
                stream = self.accept() => drop(late.spawn(self.connection(stream))),
                Some(_) = late.join_next() => {}
            }
        }
    }

    async fn accept(&self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                // Tokens are small writes: with Nagle's algorithm each would wait for the client's delayed
                // acknowledgement of the one before.
                Ok((stream, _)) if stream.set_nodelay(true).is_ok() => return stream,
                Ok(_) => {} // the client has gone already
                Err(_) => sleep(ACCEPT_AGAIN).await,
            }
        }
    }

    /// One connection's life. While the server drains it ends with the request in flight, at once where there is none,
    /// unless it began only then: it shall hear that there is no new work.
    fn connection(&self, stream: TcpStream) -> impl Future<Output = ()> + Send + 'static {
        let mut phase = self.phase.subscribe();
        let was_serving = *phase.borrow() == Phase::Serving;
        let (patience, routes, tls) = (self.head_timeout, self.routes.clone(), self.tls.clone());
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(self.reader_timeout));
        let stream = Box::pin(stream);
        async move {
            let stream: Box<dyn Stream> = match tls {
                None => Box::new(stream),
                // Who does not agree in time is no client.
                Some(tls) => match timeout(patience, tls.accept(stream)).await {
                    Ok(Ok(stream)) => Box::new(stream),
                    _ => return,
                },
            };
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(patience)
                .max_buf_size(BUFFER)
                // A token is a hundred bytes: to copy them into one buffer costs less than to have the kernel gather them.
                .writev(false)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
            let mut served: Pin<&mut _> = pin!(served);
            if was_serving {
                let unseen = phase.clone();
                let mut told = pin!(phase.wait_for(|phase| *phase != Phase::Serving));
                let mut waked: Option<Waker> = None;
                let is_over = poll_fn(|cx| {
                    // A connection that breaks concerns nobody else.
                    if served.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(true);
                    }
                    // Whoever tells of the server's end knows whom to wake, but at first: it need not be asked behind each token.
                    let is_known = waked.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
                    if is_known && unseen.has_changed().is_ok_and(|has| !has) {
                        return Poll::Pending;
                    }
                    if !is_known {
                        waked = Some(cx.waker().clone());
                    }
                    told.as_mut().poll(cx).map(|_| false)
                });
                if is_over.await {
                    return;
                }
            } else {
                let _ = served.await;
                return;
            }
            served.as_mut().graceful_shutdown();
            let _ = served.await;
        }
    }
}
