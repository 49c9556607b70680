//! The socket: a subscription to each worker's stream, opened again whenever it breaks, and its replay.

use super::follow::{Follower, Heard};
use crate::gateway::dispatch::Dispatch;
use futures_util::StreamExt;
use kvcache::{Tokens, WorkerId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use zeromq::{DealerSocket, Socket, SocketEvent, SocketRecv, SocketSend, SubSocket, ZmqMessage};

/// How long a connection, or a step of a replay, may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Waiting before the next try.
const AGAIN: Duration = Duration::from_millis(500);
/// Told instead of a number, that nothing more is told again.
const END: [u8; 8] = (-1_i64).to_be_bytes();

/// Where a worker tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its publisher, `tcp://host:port`.
    pub events: String,
    /// Where it tells again what is missing; `None`: nowhere.
    pub replay: Option<String>,
}

/// Follows a worker, for ever.
pub(in crate::gateway) async fn follow(dispatch: Arc<Dispatch>, worker: WorkerId, place: Place, block: Tokens) {
    let mut follower = Follower::new(block);
    loop {
        // Whatever ends it, there will be another connection.
        let _ = listen(&dispatch, worker, &place, &mut follower).await;
        follower.reconnected();
        sleep(AGAIN).await;
    }
}

/// Follows a worker until the connection breaks.
async fn listen(
    dispatch: &Dispatch,
    worker: WorkerId,
    place: &Place,
    follower: &mut Follower,
) -> Result<(), zeromq::ZmqError> {
    let mut socket = SubSocket::new();
    let mut happened = socket.monitor();
    let connected = async {
        socket.connect(&place.events).await?;
        socket.subscribe("").await
    };
    timeout(PATIENCE, connected).await.map_err(|_| zeromq::ZmqError::Other("no connection in time"))??;
    loop {
        let message = tokio::select! {
            message = socket.recv() => message?,
            event = happened.next() => match event {
                Some(SocketEvent::Disconnected(_)) | None => return Ok(()),
                Some(_) => continue,
            },
        };
        let Some((number, payload)) = parts(&message) else { continue };
        let mut heard = follower.hear(number, payload);
        if let Heard::Gap(from) = heard {
            let replayed = match &place.replay {
                Some(at) => timeout(5 * PATIENCE, replay(at, from, number, follower, dispatch, worker)).await,
                None => Ok(Ok(())),
            };
            drop(replayed);
            // Told again up to here, or not to be had.
            heard = follower.hear(number, payload);
            if let Heard::Gap(_) = heard {
                follower.give_up(number);
                heard = follower.hear(number, payload);
            }
        }
        tell(dispatch, worker, follower, heard);
    }
}

/// Has what is missing told again.
async fn replay(
    at: &str,
    from: u64,
    upto: u64,
    follower: &mut Follower,
    dispatch: &Dispatch,
    worker: WorkerId,
) -> Result<(), zeromq::ZmqError> {
    let mut socket = DealerSocket::new();
    socket.connect(at).await?;
    let mut ask = ZmqMessage::from("");
    ask.push_back(from.to_be_bytes().to_vec().into());
    socket.send(ask).await?;
    loop {
        let message =
            timeout(PATIENCE, socket.recv()).await.map_err(|_| zeromq::ZmqError::Other("no answer in time"))??;
        let Some((number, payload)) = parts(&message) else { return Ok(()) };
        if number >= upto {
            return Ok(());
        }
        match follower.hear(number, payload) {
            Heard::Gap(_) => return Ok(()), // it is not kept for so long
            heard => tell(dispatch, worker, follower, heard),
        }
    }
}

fn tell(dispatch: &Dispatch, worker: WorkerId, follower: &Follower, heard: Heard) {
    let Heard::Events(events) = heard else { return };
    dispatch.cached(worker, follower.epoch(), &events, follower.counts());
}

/// The number of a batch, and its bytes; `None`: it is none, or the end.
fn parts(message: &ZmqMessage) -> Option<(u64, &[u8])> {
    let number: [u8; 8] = message.get(1)?.as_ref().try_into().ok()?;
    let payload = message.get(2)?;
    (number != END).then(|| (u64::from_be_bytes(number), payload.as_ref()))
}
