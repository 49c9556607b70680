//! Publishers that vanish: the connection stays, and nothing comes.

use super::feed::{Publisher, counted, heard, joined, stored};
use super::world::{Act, Gateway, Mock, events, json};
use crate::emulate::raw::{Response, call};
use driver::gateway::Settings;
use kvcache::Tokens;
use router::{RouterConfig, Strategy};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// A way to another socket that can freeze: then it takes what comes, passes nothing on, and closes nothing, as the network does in
/// front of a host without power.
struct Way {
    place: String,
    is_frozen: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Way {
    async fn to(place: &str) -> Self {
        let to: SocketAddr = place.strip_prefix("tcp://").expect("TCP").parse().expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let place = format!("tcp://{}", listener.local_addr().expect("bound"));
        let is_frozen = Arc::new(AtomicBool::new(false));
        let frozen = is_frozen.clone();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(to).await else { continue };
                let (near, far) = (near.into_split(), far.into_split());
                tokio::spawn(copy(near.0, far.1, frozen.clone()));
                tokio::spawn(copy(far.0, near.1, frozen.clone()));
            }
        });
        Self { place, is_frozen, task }
    }

    fn freeze(&self, is_frozen: bool) {
        self.is_frozen.store(is_frozen, Ordering::Relaxed);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn copy(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, is_frozen: Arc<AtomicBool>) {
    let mut bytes = [0; 4096];
    loop {
        let count = from.read(&mut bytes).await.unwrap_or(0);
        // A connection that was frozen once is lost, and nobody is told.
        if is_frozen.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if count == 0 || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

const SILENCE: Duration = Duration::from_millis(200);

/// A gateway before a worker that tells what it holds, through ways that can freeze; the last is that of replay.
async fn world(replays: bool) -> (Mock, Publisher, Vec<Way>, Gateway) {
    let mock = Mock::new(json("200 OK", "{}")).await;
    let publisher = Publisher::new(true).await;
    let router = RouterConfig {
        lmcache_chunk: Tokens(4),
        block: Tokens(4),
        chunk: Tokens(4),
        ..RouterConfig::new(Strategy::KvAware, 1)
    };
    let mut ways = vec![Way::to(&publisher.place.events).await];
    let mut place = publisher.place.clone();
    place.events = ways[0].place.clone();
    if replays {
        ways.push(Way::to(publisher.place.replay.as_deref().expect("it has one")).await);
        place.replay = Some(ways[1].place.clone());
    } else {
        place.replay = None;
    }
    let set_up = Settings { feeds: vec![place], feed_silence: SILENCE, ..Settings::new(vec![mock.origin()], router) };
    (mock, publisher, ways, Gateway::new(set_up).await)
}

async fn ask(gateway: &Gateway, ids: &[u32]) -> Response {
    call(gateway.address, "POST", "/v1/completions", &format!("{{\"prompt\":{ids:?}}}")).await
}

fn matched(got: &Response) -> Option<u32> {
    got.header("x-podlab-matched-tokens").and_then(|text| text.parse().ok())
}

async fn until(gateway: &Gateway, what: &str, count: u64) -> bool {
    for _ in 0..400 {
        if counted(gateway.address, 0, what).await >= count {
            return true;
        }
        sleep(Duration::from_millis(25)).await;
    }
    false
}

/// A host that is gone is found out by its silence: replay does not answer, so nothing is believed of it any more. One that has
/// nothing to tell does answer, and what it told stays true.
#[tokio::test]
async fn a_publisher_that_vanished_is_asked_and_forgotten() {
    let (_mock, mut publisher, ways, gateway) = world(true).await;
    let prompt: Vec<u32> = (1..=16).collect();
    let first = joined(gateway.address, 0, &mut publisher).await;
    publisher.say(vec![stored(&[11, 12, 13], None, &prompt[..12], &[])], false).await;
    heard(gateway.address, 0, first + 1).await;
    assert_eq!(matched(&ask(&gateway, &prompt).await), Some(12));
    sleep(8 * SILENCE).await;
    assert_eq!(matched(&ask(&gateway, &prompt).await), Some(12), "silence is no sign of death");
    assert_eq!(counted(gateway.address, 0, "vanished").await, 0);
    ways.iter().for_each(|way| way.freeze(true));
    assert!(until(&gateway, "vanished", 1).await, "nobody noticed");
    assert_eq!(ask(&gateway, &prompt).await.header("x-podlab-fallback"), Some("no-holder"));
    // It is back: all that it still keeps is told again.
    ways.iter().for_each(|way| way.freeze(false));
    let batches = counted(gateway.address, 0, "batches").await;
    for _ in 0..100 {
        publisher.say(Vec::new(), false).await;
        sleep(Duration::from_millis(50)).await;
        if counted(gateway.address, 0, "batches").await > batches + first {
            break;
        }
    }
    assert_eq!(matched(&ask(&gateway, &prompt).await), Some(12));
}

/// A subscription that is deaf while replay goes on telling is opened anew.
#[tokio::test]
async fn a_subscription_that_went_deaf_is_opened_again() {
    let (_mock, mut publisher, ways, gateway) = world(true).await;
    let prompt: Vec<u32> = (1..=16).collect();
    let first = joined(gateway.address, 0, &mut publisher).await;
    ways[0].freeze(true);
    // Its bytes are lost, and the connection with them; the next one may be had.
    publisher.say(vec![stored(&[11, 12], None, &prompt[..8], &[])], false).await;
    heard(gateway.address, 0, first + 1).await;
    assert_eq!(matched(&ask(&gateway, &prompt).await), Some(8), "replay had it");
    ways[0].freeze(false);
    for number in 0..100 {
        publisher.say(vec![stored(&[100 + number], None, &[50 + number as u32; 4], &[])], false).await;
        sleep(Duration::from_millis(50)).await;
        if counted(gateway.address, 0, "restarts").await > 0 {
            break;
        }
    }
    // On the new connection all is told again, and then it comes at once.
    assert!(until(&gateway, "restarts", 1).await, "it was never opened again");
    for number in 0..100 {
        publisher.say(Vec::new(), false).await;
        sleep(Duration::from_millis(20)).await;
        if matched(&ask(&gateway, &prompt).await) == Some(8) && number > 10 {
            break;
        }
    }
    assert_eq!(matched(&ask(&gateway, &prompt).await), Some(8));
}

/// Without replay nobody can be asked. Answers that must have made blocks, of none of which a word came, tell as much; answers
/// that made none, and idle hours, do not.
#[tokio::test]
async fn without_replay_answers_tell_who_vanished() {
    let (_mock, mut publisher, ways, gateway) = world(false).await;
    let prompt: Vec<u32> = (1..=16).collect();
    let first = joined(gateway.address, 0, &mut publisher).await;
    publisher.say(vec![stored(&[11, 12, 13, 14], None, &prompt, &[])], false).await;
    heard(gateway.address, 0, first + 1).await;
    for _ in 0..6 {
        assert_eq!(matched(&ask(&gateway, &prompt).await), Some(16), "all of it is there, so nothing is told");
    }
    sleep(8 * SILENCE).await;
    assert_eq!(counted(gateway.address, 0, "vanished").await, 0, "there was nothing to tell");
    // Prompts too short for a block make none either.
    for _ in 0..6 {
        ask(&gateway, &[7, 7]).await;
    }
    sleep(4 * SILENCE).await;
    assert_eq!(counted(gateway.address, 0, "vanished").await, 0, "nor then");
    ways[0].freeze(true);
    for number in 0..3 {
        ask(&gateway, &[1000 + number; 8]).await;
    }
    assert!(until(&gateway, "vanished", 1).await, "nobody noticed");
    assert_eq!(ask(&gateway, &prompt).await.header("x-podlab-fallback"), Some("no-holder"));
}

/// What is told while answers are under way may be of their blocks: it comes before they end, and none of them is missed then. Nor
/// is a replay that never answered a sign of anything but a wrong port.
#[tokio::test]
async fn who_told_before_the_answers_ended_has_not_vanished() {
    let (mock, mut publisher, _ways, gateway) = world(false).await;
    let first = joined(gateway.address, 0, &mut publisher).await;
    let told = |number: u32| stored(&[u64::from(100 + number)], None, &[500 + number; 4], &[]);
    for round in 0..3 {
        mock.tell(Act::Stream(events(2), 3 * SILENCE / 2));
        let prompts = [3 * round, 3 * round + 1, 3 * round + 2].map(|number| [500 + number; 9]);
        let [one, two, three] = &prompts;
        let answers = async { tokio::join!(ask(&gateway, one), ask(&gateway, two), ask(&gateway, three)) };
        let tells = async {
            sleep(SILENCE / 2).await;
            publisher.say((3 * round..3 * round + 3).map(told).collect(), false).await;
        };
        tokio::join!(answers, tells);
        sleep(4 * SILENCE).await;
        assert_eq!(counted(gateway.address, 0, "vanished").await, 0, "round {round}: it told in time");
    }
    heard(gateway.address, 0, first + 3).await;
    assert_eq!(matched(&ask(&gateway, &[500; 9]).await), Some(4), "and is believed");
}

/// Replay that never answered says that its port is wrong, and nothing of the worker, which tells all the same.
#[tokio::test]
async fn a_replay_that_never_answered_is_a_wrong_port() {
    let (_mock, mut publisher, ways, gateway) = world(true).await;
    ways[1].freeze(true);
    let first = joined(gateway.address, 0, &mut publisher).await;
    let prompt: Vec<u32> = (1..=16).collect();
    publisher.say(vec![stored(&[11, 12, 13], None, &prompt[..12], &[])], false).await;
    heard(gateway.address, 0, first + 1).await;
    // It is asked three times meanwhile, two seconds each.
    sleep(Duration::from_secs(8)).await;
    assert_eq!(counted(gateway.address, 0, "vanished").await, 0);
    assert_eq!(matched(&ask(&gateway, &prompt).await), Some(12), "what it told stays true");
}
