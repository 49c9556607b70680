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

/// Who is followed, and how.
pub(in crate::gateway) struct Following {
    pub(in crate::gateway) dispatch: Arc<Dispatch>,
    pub(in crate::gateway) worker: WorkerId,
    pub(in crate::gateway) place: Place,
    pub(in crate::gateway) block: Tokens,
    /// A stream that says nothing for so long is asked whether it is there.
    pub(in crate::gateway) silence: Duration,
}

/// Why nothing more is heard.
enum Ended {
    /// The other side closed the connection: whoever takes its place may tell all again.
    Closed,
    /// There is nobody, or somebody who says nothing: what was known is known no more.
    Vanished,
}

/// How often in a row replay may know what the subscription did not tell, before that is taken for deaf.
const DEAF: u32 = 2;
/// How often in a row replay may not answer, where it did before, until its worker is taken for gone.
const MUTE: u32 = 2;
/// Answers that should have made blocks, none of which was told of, before a stream without replay is taken for dead.
const UNHEARD: u64 = 3;

/// Follows a worker, for ever.
pub(in crate::gateway) async fn follow(following: Following) {
    let mut follower = Follower::new(following.block);
    let mut answered = false; // replay, ever
    loop {
        // Whatever ends it, there will be another connection.
        let ended = listen(&following, &mut follower, &mut answered).await.unwrap_or(Ended::Vanished);
        if matches!(ended, Ended::Vanished) && follower.vanished() {
            tell(&following, &follower, Heard::Events(Vec::new()));
        }
        follower.reconnected();
        sleep(AGAIN).await;
    }
}

/// Follows a worker until the connection breaks, or nobody is behind it any more.
async fn listen(
    following: &Following,
    follower: &mut Follower,
    answered: &mut bool,
) -> Result<Ended, zeromq::ZmqError> {
    let Following { dispatch, worker, place, silence, .. } = following;
    let mut socket = SubSocket::new();
    let mut happened = socket.monitor();
    let connected = async {
        socket.connect(&place.events).await?;
        socket.subscribe("").await
    };
    timeout(PATIENCE, connected).await.map_err(|_| zeromq::ZmqError::Other("no connection in time"))??;
    let (mut deaf, mut mute) = (0, 0);
    loop {
        let message = tokio::select! {
            message = socket.recv() => message?,
            event = happened.next() => match event {
                Some(SocketEvent::Disconnected(_)) | None => return Ok(Ended::Closed),
                Some(_) => continue,
            },
            // A host that lost its power closes nothing, and an engine without work says as little as a dead one.
            () = sleep(*silence) => {
                match &place.replay {
                    Some(at) => {
                        let before = follower.counts().batches;
                        let asked = replay(at, follower.due(), u64::MAX, follower, following);
                        if matches!(timeout(5 * PATIENCE, asked).await, Ok(Ok(()))) {
                            (*answered, mute) = (true, 0);
                        } else {
                            mute += 1;
                            // A port that never answered is a wrong one, not a dead host's.
                            if *answered && mute >= MUTE {
                                return Ok(Ended::Vanished);
                            }
                        }
                        deaf = if follower.counts().batches > before { deaf + 1 } else { 0 };
                    }
                    None if dispatch.meters.unheard(*worker) >= UNHEARD => return Ok(Ended::Vanished),
                    None => {}
                }
                if deaf >= DEAF {
                    return Ok(Ended::Closed);
                }
                continue;
            }
        };
        (deaf, mute) = (0, 0);
        let Some((number, payload)) = parts(&message) else { continue };
        let mut heard = follower.hear(number, payload);
        if let Heard::Gap(from) = heard {
            let replayed = match &place.replay {
                Some(at) => timeout(5 * PATIENCE, replay(at, from, number, follower, following)).await,
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
        tell(following, follower, heard);
    }
}

/// Has what is missing told again.
async fn replay(
    at: &str,
    from: u64,
    upto: u64,
    follower: &mut Follower,
    following: &Following,
) -> Result<(), zeromq::ZmqError> {
    let mut socket = DealerSocket::new();
    let connected = timeout(PATIENCE, socket.connect(at)).await;
    connected.map_err(|_| zeromq::ZmqError::Other("no connection in time"))??;
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
            heard => tell(following, follower, heard),
        }
    }
}

fn tell(following: &Following, follower: &Follower, heard: Heard) {
    let Heard::Events(events) = heard else { return };
    following.dispatch.cached(following.worker, follower.epoch(), &events, follower.counts());
}

/// The number of a batch, and its bytes; `None`: it is none, or the end.
fn parts(message: &ZmqMessage) -> Option<(u64, &[u8])> {
    let number: [u8; 8] = message.get(1)?.as_ref().try_into().ok()?;
    let payload = message.get(2)?;
    (number != END).then(|| (u64::from_be_bytes(number), payload.as_ref()))
}
