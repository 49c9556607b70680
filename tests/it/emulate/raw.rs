//! An HTTP client that hides nothing: bytes, chunks and the moments at which they came.

use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// No test waits longer for a server.
const PATIENCE: Duration = Duration::from_secs(20);

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The events of a stream: every one is a `data:` line and an empty one, and nothing else is in the body.
    pub(crate) fn events(&self) -> Vec<String> {
        let body = self.body.strip_suffix("\n\n").unwrap_or_else(|| panic!("a stream ends after an event: {self:?}"));
        let event = |event: &str| event.strip_prefix("data: ").filter(|data| !data.contains('\n')).map(str::to_owned);
        body.split("\n\n").map(|text| event(text).unwrap_or_else(|| panic!("no event: {text:?}"))).collect()
    }
}

/// A connection with a request on it.
#[derive(Debug)]
pub(crate) struct Call {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Call {
    /// Sends bytes as they are.
    pub(crate) async fn open(address: SocketAddr, bytes: &[u8]) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("a server listens");
        stream.set_nodelay(true).expect("connected");
        // A server may answer and close before it has read everything.
        let _ = stream.write_all(bytes).await;
        Self { stream, bytes: Vec::new() }
    }

    /// Sends a request and closes its connection after the response.
    pub(crate) async fn send(address: SocketAddr, method: &str, path: &str, body: &str) -> Self {
        Self::open(address, request(method, path, "connection: close\r\n", body).as_bytes()).await
    }

    /// Sends more on the same connection, and forgets what came before.
    pub(crate) async fn send_more(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.stream.write_all(bytes).await.expect("open");
    }

    /// Waits until `text` has come, and gives the moment.
    pub(crate) async fn wait_for(&mut self, text: &str) -> Instant {
        self.arrivals_until(text).await.last().copied().unwrap_or_else(Instant::now)
    }

    /// Moments at which bytes came, until `text` has.
    pub(crate) async fn arrivals_until(&mut self, text: &str) -> Vec<Instant> {
        let mut moments = Vec::new();
        let seen = async {
            while !String::from_utf8_lossy(&self.bytes).contains(text) {
                assert_ne!(self.stream.read_buf(&mut self.bytes).await.expect("open"), 0, "closed before {text:?}");
                moments.push(Instant::now());
            }
        };
        timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("no {text:?}"));
        moments
    }

    /// Moments at which bytes came, until the connection closes.
    pub(crate) async fn arrivals(&mut self) -> Vec<Instant> {
        let mut moments = Vec::new();
        while timeout(PATIENCE, self.stream.read_buf(&mut self.bytes)).await.expect("the server closes").expect("open")
            > 0
        {
            moments.push(Instant::now());
        }
        moments
    }

    /// Reads to the end.
    pub(crate) async fn response(mut self) -> Response {
        let mut rest = Vec::new();
        // A connection that is reset after the response has still brought it.
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("the server closes");
        self.bytes.extend(rest);
        parse(&self.bytes)
    }
}

/// The bytes of a request; each of `headers` ends in a line's end.
pub(crate) fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: test\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

/// Sends a request and reads the response.
pub(crate) async fn call(address: SocketAddr, method: &str, path: &str, body: &str) -> Response {
    Call::send(address, method, path, body).await.response().await
}

pub(crate) async fn post(address: SocketAddr, path: &str, body: &Value) -> Response {
    call(address, "POST", path, &body.to_string()).await
}

fn parse(bytes: &[u8]) -> Response {
    let text = String::from_utf8(bytes.to_vec()).expect("text");
    let (head, rest) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let chunked = head.lines().any(|line| line == "transfer-encoding: chunked");
    let body = if chunked { unchunked(rest) } else { rest.to_owned() };
    Response { status, head: head.to_owned(), body }
}

fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    loop {
        let (size, tail) = rest.split_once("\r\n").expect("a chunk has a size");
        let size = usize::from_str_radix(size, 16).expect("a chunk has a size");
        if size == 0 {
            return body;
        }
        body.push_str(&tail[..size]);
        rest = tail[size..].strip_prefix("\r\n").expect("a chunk ends in a line");
    }
}
