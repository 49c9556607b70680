//! Connections to another daemon: opened when there is none idle, and kept.

use super::body::Payload;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long opening a connection may take.
const CONNECT: Duration = Duration::from_millis(250);
/// Connections that are kept.
const KEPT: usize = 32;
/// Most bytes that wait to be read from one.
const BUFFER: usize = 256 << 10;

type Sender = http1::SendRequest<Payload>;

#[derive(Debug)]
pub(super) struct Link {
    address: String, // HOST:PORT
    idle: Mutex<Vec<Sender>>,
}

/// An answer, and the connection that it comes on.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    sender: Sender,
}

impl Link {
    pub(super) const fn new(address: String) -> Self {
        Self { address, idle: Mutex::new(Vec::new()) }
    }

    fn idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // The one used last is the likeliest to be open still.
        std::iter::from_fn(|| idle.pop()).find(|sender| !sender.is_closed())
    }

    async fn open(&self) -> io::Result<Sender> {
        let stream = timeout(CONNECT, TcpStream::connect(&self.address)).await??;
        stream.set_nodelay(true)?;
        let handshake = http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(io::Error::other)?;
        // It ends with the last of its sender and its answers.
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Sends a request and waits for the head of its answer, which must begin `within` so long. A kept connection that
    /// turns out to be closed is no answer: then a new one is tried.
    pub(super) async fn call(&self, request: impl Fn() -> Request<Payload>, within: Duration) -> io::Result<Answer> {
        let asked = async {
            if let Some(mut sender) = self.idle()
                && sender.ready().await.is_ok()
                && let Ok(response) = sender.send_request(request()).await
            {
                return Ok(Answer { response, sender });
            }
            let mut sender = self.open().await?;
            let response = sender.send_request(request()).await.map_err(io::Error::other)?;
            Ok(Answer { response, sender })
        };
        timeout(within, asked).await?
    }

    /// The body of an answer was read to its end: the connection may serve again.
    pub(super) fn keep(&self, answer: Answer) {
        let Answer { response, sender } = answer;
        drop(response);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT && !sender.is_closed() {
            idle.push(sender);
        }
    }
}
