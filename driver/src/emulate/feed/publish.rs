//! The sockets: each worker's stream, and what of it is told again.

use super::batch::packed;
use super::tell::Told;
use crate::failure::Failure;
use axum::body::Bytes;
use kvcache::{Tokens, WorkerId};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::timeout;
use zeromq::{Endpoint, PubSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqError, ZmqMessage};

/// Batches that are told again, at most: vLLM's `buffer_steps`.
const MOST_BATCHES: usize = 10_000;
/// ... and their bytes, of each worker: batches of long prompts are large.
const MOST_BYTES: usize = 64 << 20;
/// Told instead of a number, that nothing more is told again.
const END: [u8; 8] = (-1_i64).to_be_bytes();
/// How long whoever asks for batches may take to take them.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first worker's ports; the others' follow. 0: any that is free, for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Of the stream.
    pub events: u16,
    /// Of what is told again; `None`: nothing is.
    pub replay: Option<u16>,
}

/// A stream that cannot be published.
#[derive(Debug, Error)]
pub enum NoFeed {
    /// There are not so many ports.
    #[error("publish KV events: {workers} workers take ports {first} to {last}, and the last there is is 65535")]
    Ports {
        /// How many.
        workers: u16,
        /// The first.
        first: u16,
        /// What would be the last.
        last: u32,
    },
    /// Streams and replays would meet.
    #[error(
        "publish KV events: {workers} workers take {workers} ports from each on, and {events} and {replay} are not so far apart"
    )]
    Overlap {
        /// How many.
        workers: u16,
        /// The first port of streams.
        events: u16,
        /// The first port of replays.
        replay: u16,
    },
    /// The port is another's, or not for us.
    #[error("publish KV events on {address}: {error}")]
    Taken {
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: ZmqError,
    },
}

impl From<NoFeed> for Failure {
    fn from(error: NoFeed) -> Self {
        match error {
            NoFeed::Ports { .. } | NoFeed::Overlap { .. } => Self::Usage(error.to_string()),
            NoFeed::Taken { .. } => Self::Failed(error.to_string()),
        }
    }
}

impl Ports {
    fn check(self, workers: u16) -> Result<(), NoFeed> {
        let more = workers.saturating_sub(1);
        for first in [Some(self.events), self.replay].into_iter().flatten().filter(|port| *port > 0) {
            if first.checked_add(more).is_none() {
                return Err(NoFeed::Ports { workers, first, last: u32::from(first) + u32::from(more) });
            }
        }
        match self.replay {
            Some(replay) if self.events.min(replay) > 0 && self.events.abs_diff(replay) < workers => {
                Err(NoFeed::Overlap { workers, events: self.events, replay })
            }
            _ => Ok(()),
        }
    }
}

/// The way to the sockets of all workers. They are closed when the last of its copies is dropped.
#[derive(Clone, Debug)]
pub struct Feed {
    lines: Vec<mpsc::UnboundedSender<Vec<Told>>>, // emptied at once: publishing waits for nobody
    places: Vec<(SocketAddr, Option<SocketAddr>)>,
    batches: Arc<[AtomicU64]>,
}

impl Feed {
    /// Where each worker's stream is, and what is told again.
    #[must_use]
    pub fn places(&self) -> &[(SocketAddr, Option<SocketAddr>)] {
        &self.places
    }

    /// Batches that a worker has told so far. Those that a reply has led to are among them when it is over.
    #[must_use]
    pub fn batches(&self, worker: WorkerId) -> u64 {
        self.batches[worker.index()].load(Ordering::Acquire)
    }

    /// `worker` tells these, in one batch.
    pub(super) fn publish(&self, worker: WorkerId, told: Vec<Told>) {
        if !told.is_empty() {
            // Where nobody takes it, the runtime ends.
            let _ = self.lines[worker.index()].send(told);
            self.batches[worker.index()].fetch_add(1, Ordering::Release);
        }
    }
}

/// Opens the sockets of so many workers, whose blocks have so many tokens. They live in tasks of the runtime that this is called in.
///
/// # Errors
/// Where a port cannot be had.
pub async fn open(ip: IpAddr, ports: Ports, workers: u16, block: Tokens) -> Result<Feed, NoFeed> {
    ports.check(workers)?;
    let (mut lines, mut places) = (Vec::new(), Vec::new());
    for rank in 0..workers {
        let at = |port: u16| SocketAddr::new(ip, if port == 0 { 0 } else { port + rank });
        let mut stream = PubSocket::new();
        let events = bind(&mut stream, at(ports.events)).await?;
        let mut again = RouterSocket::new();
        let replay = match ports.replay {
            Some(port) => Some(bind(&mut again, at(port)).await?),
            None => None,
        };
        let (line, told) = mpsc::unbounded_channel();
        let kept = Arc::new(Mutex::new(Kept::default()));
        tokio::spawn(async move {
            tokio::select! {
                () = publish(told, stream, &kept, rank, block) => {}
                () = repeat(again, &kept) => {}
            }
        });
        lines.push(line);
        places.push((events, replay));
    }
    let batches = (0..workers).map(|_| AtomicU64::new(0)).collect();
    Ok(Feed { lines, places, batches })
}

async fn bind(socket: &mut impl Socket, address: SocketAddr) -> Result<SocketAddr, NoFeed> {
    let taken = |error| NoFeed::Taken { address, error };
    match socket.bind(&format!("tcp://{address}")).await.map_err(taken)? {
        Endpoint::Tcp(_, port) => Ok(SocketAddr::new(address.ip(), port)),
        _ => Ok(address), // no other kind comes of a TCP address
    }
}

/// Batches with their numbers, oldest first.
#[derive(Debug, Default)]
struct Kept {
    batches: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

impl Kept {
    fn keep(&mut self, number: u64, batch: Bytes) {
        self.bytes += batch.len();
        self.batches.push_back((number, batch));
        while self.batches.len() > MOST_BATCHES || self.bytes > MOST_BYTES {
            let Some((_, oldest)) = self.batches.pop_front() else { return };
            self.bytes -= oldest.len();
        }
    }

    fn from(&self, number: u64) -> Vec<(u64, Bytes)> {
        let first = self.batches.partition_point(|(other, _)| *other < number);
        self.batches.range(first..).cloned().collect()
    }
}

/// Publishes batch after batch, numbered from 0, until nobody tells anything any more.
async fn publish(
    mut line: mpsc::UnboundedReceiver<Vec<Told>>,
    mut socket: PubSocket,
    kept: &Mutex<Kept>,
    rank: u16,
    block: Tokens,
) {
    let mut number: u64 = 0;
    while let Some(told) = line.recv().await {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let batch = Bytes::from(packed(told, seconds, rank, block.0));
        // It is kept before it is told: whoever misses one before it may ask at once.
        kept.lock().unwrap_or_else(PoisonError::into_inner).keep(number, batch.clone());
        // A subscriber that is too slow misses batches, and sees it by their numbers.
        let _ = socket.send(message(ZmqMessage::from(""), number.to_be_bytes(), batch)).await;
        number += 1;
    }
}

/// Answers whoever asks for batches from a number on, for ever.
async fn repeat(mut socket: RouterSocket, kept: &Mutex<Kept>) {
    while let Ok(asked) = socket.recv().await {
        // Who asks, an empty frame, the number.
        let (Some(who), Some(number)) = (asked.get(0), asked.get(2)) else { continue };
        let Ok(number) = number.as_ref().try_into().map(u64::from_be_bytes) else { continue };
        let batches = kept.lock().unwrap_or_else(PoisonError::into_inner).from(number);
        let answer = async {
            let head = || {
                let mut head = ZmqMessage::from(who.clone());
                head.push_back(Bytes::new());
                head
            };
            for (number, batch) in batches {
                socket.send(message(head(), number.to_be_bytes(), batch)).await?;
            }
            socket.send(message(head(), END, Bytes::new())).await
        };
        // Whoever leaves, or takes nothing, is left alone.
        drop(timeout(PATIENCE, answer).await);
    }
    // No socket any more: nothing is told again.
    std::future::pending().await
}

fn message(mut head: ZmqMessage, number: [u8; 8], batch: Bytes) -> ZmqMessage {
    head.push_back(Bytes::copy_from_slice(&number));
    head.push_back(batch);
    head
}
