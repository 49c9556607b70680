//! Gateways, and workers that do as they are told.

use driver::bench::target::Origin;
use driver::failure::Failure;
use driver::gateway::{self, Settings};
use router::{RouterConfig, Strategy};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// What a worker does with a request.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Answers with these bytes, as they are, and keeps the connection.
    Say(Vec<u8>),
    /// Streams events, one each so often; then keeps the connection.
    Stream(Vec<String>, Duration),
    /// Streams events so long after all who came before have theirs: one prompt at a time, as an engine computes them.
    Turn(Vec<String>, Duration),
    /// Streams events, and closes in the middle of the body.
    Break(Vec<String>),
    /// Streams events, and then nothing, until the other side goes.
    Stall(Vec<String>),
    /// Streams so many tokens, each named by the request's body.
    Echo(usize, Duration),
    /// Closes without a word.
    Close,
    /// Says nothing, until the other side goes.
    Hang,
    /// Streams so many events of so many bytes as fast as they are taken.
    Flood(usize, usize),
}

/// What a worker has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The bytes of every request, head and body.
    pub(super) requests: Vec<Vec<u8>>,
    /// When the other side left in the middle of an answer.
    pub(super) left: Vec<Instant>,
    /// Bytes of answers that were taken.
    pub(super) sent: usize,
    /// Whose turn it is.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// A worker that does as it is told.
#[derive(Debug)]
pub(super) struct Mock {
    pub(super) address: SocketAddr,
    pub(super) seen: Arc<Mutex<Seen>>,
    act: Arc<Mutex<Act>>,
    task: JoinHandle<()>,
}

impl Mock {
    pub(super) async fn new(act: Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (seen, act) = (Arc::new(Mutex::new(Seen::default())), Arc::new(Mutex::new(act)));
        let (theirs, told) = (seen.clone(), act.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(attend(stream, theirs.clone(), told.clone()));
            }
        });
        Self { address, seen, act, task }
    }

    pub(super) fn tell(&self, act: Act) {
        *self.act.lock().expect("sound") = act;
    }

    pub(super) fn requests(&self) -> usize {
        self.seen.lock().expect("sound").requests.len()
    }

    pub(super) fn origin(&self) -> Origin {
        gateway::worker(&format!("http://{}", self.address)).expect("a worker may be on loopback")
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn attend(mut stream: TcpStream, seen: Arc<Mutex<Seen>>, act: Arc<Mutex<Act>>) {
    stream.set_nodelay(true).expect("connected");
    let mut bytes = Vec::new();
    while let Some(request) = read(&mut stream, &mut bytes).await {
        let mut act = act.lock().expect("sound").clone();
        if let Act::Echo(count, gap) = act {
            act = Act::Stream(echo(&request, count), gap);
        }
        seen.lock().expect("sound").requests.push(request);
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        match act {
            Act::Say(answer) => stream.write_all(&answer).await.unwrap_or_default(),
            Act::Close => return,
            Act::Hang => {
                let _ = stream.read(&mut [0; 1]).await;
                seen.lock().expect("sound").left.push(Instant::now());
                return;
            }
            Act::Echo(..) => return,
            Act::Stall(events) => {
                let _ = stream.write_all(head.as_bytes()).await;
                for event in events {
                    let _ = stream.write_all(chunk(&event).as_bytes()).await;
                }
                let _ = stream.read(&mut [0; 1]).await;
                seen.lock().expect("sound").left.push(Instant::now());
                return;
            }
            Act::Turn(events, gap) => {
                let turn = seen.lock().expect("sound").turn.clone();
                let turn = turn.lock().await;
                sleep(gap).await;
                drop(turn);
                let _ = stream.write_all(head.as_bytes()).await;
                for event in events {
                    let _ = stream.write_all(chunk(&event).as_bytes()).await;
                }
                let _ = stream.write_all(b"0\r\n\r\n").await;
            }
            Act::Break(events) => {
                let _ = stream.write_all(head.as_bytes()).await;
                for event in events {
                    let _ = stream.write_all(chunk(&event).as_bytes()).await;
                }
                return;
            }
            Act::Stream(events, gap) => {
                let _ = stream.write_all(head.as_bytes()).await;
                for event in events {
                    let mut byte = [0; 1];
                    let gone = tokio::select! {
                        read = stream.read(&mut byte) => read.unwrap_or(0) == 0,
                        () = sleep(gap) => false,
                    };
                    if gone || stream.write_all(chunk(&event).as_bytes()).await.is_err() {
                        seen.lock().expect("sound").left.push(Instant::now());
                        return;
                    }
                    seen.lock().expect("sound").sent += event.len();
                }
                let _ = stream.write_all(b"0\r\n\r\n").await;
            }
            Act::Flood(count, size) => {
                let _ = stream.write_all(head.as_bytes()).await;
                let event = chunk(&format!("data: {}\n\n", "x".repeat(size)));
                for _ in 0..count {
                    if stream.write_all(event.as_bytes()).await.is_err() {
                        seen.lock().expect("sound").left.push(Instant::now());
                        return;
                    }
                    seen.lock().expect("sound").sent += event.len();
                }
                let _ = stream.write_all(chunk("data: [DONE]\n\n").as_bytes()).await;
                let _ = stream.write_all(b"0\r\n\r\n").await;
            }
        }
    }
}

/// One request; `None`: the connection is over.
async fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
            let length =
                text.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
            let end = head + length.unwrap_or(0);
            if bytes.len() >= end {
                return Some(bytes.drain(..end).collect());
            }
        }
        if stream.read_buf(bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// An answer of JSON.
pub(super) fn json(status: &str, body: &str) -> Act {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    Act::Say(format!("{head}{body}").into_bytes())
}

/// Events of a stream that is whole.
pub(super) fn events(count: usize) -> Vec<String> {
    let tokens = (0..count).map(|token| format!("data: {{\"token\":{token}}}\n\n"));
    tokens.chain(["data: [DONE]\n\n".to_owned()]).collect()
}

/// What a worker streams that names its tokens by the request's body.
pub(super) fn echo(request: &[u8], count: usize) -> Vec<String> {
    let body = String::from_utf8_lossy(request);
    let body = body.split("\r\n\r\n").last().unwrap_or_default().to_owned();
    let tokens = (0..count).map(|token| format!("data: {body}#{token}\n\n"));
    tokens.chain(["data: [DONE]\n\n".to_owned()]).collect()
}

/// A gateway under test.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), Failure>>,
}

impl Gateway {
    pub(super) async fn new(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        let until = async move { drop(stopped.await) };
        Self { address, stop: Some(stop), task: tokio::spawn(gateway::serve(settings, listener, until)) }
    }

    /// By turns before these workers.
    pub(super) async fn before(workers: &[&Mock]) -> Self {
        Self::new(settings(workers)).await
    }

    /// Tells it to stop, as a signal would.
    pub(super) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until it has.
    pub(super) async fn stopped(mut self) {
        self.stop();
        let ended = timeout(Duration::from_secs(40), &mut self.task).await.expect("it stops");
        ended.expect("it does not panic").expect("it served");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn settings(workers: &[&Mock]) -> Settings {
    let origins: Vec<Origin> = workers.iter().map(|mock| mock.origin()).collect();
    let count = u16::try_from(origins.len()).expect("few");
    Settings::new(origins, RouterConfig::new(Strategy::RoundRobin, count))
}
