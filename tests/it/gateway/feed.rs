//! What workers say of their caches, on vLLM's wire, and what becomes of it.

use super::world::{Gateway, Mock, json};
use crate::emulate::raw::{Response, call};
use crate::support::data;
use driver::gateway::Settings;
use driver::gateway::feed::{Event, Follower, Heard, Name, Place, batch};
use kvcache::{Chain, Change, Time, Tokens, WorkerId};
use proptest::prelude::*;
use rmpv::Value;
use router::{Matches, RouterConfig, Signal, Strategy as Rule, TokenHasher};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::sleep;
use zeromq::{PubSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal")).collect()
}

/// The four layouts that are about say the same.
#[test]
fn all_four_layouts_are_read() {
    let mut told = Vec::new();
    for layout in ["v0", "array", "mixed", "map"] {
        let Some(file) = data(&format!("kv-events/example.{layout}.hex")) else { return };
        let text = std::fs::read_to_string(file).expect("it is there");
        let events: Vec<Vec<Event>> =
            text.lines().map(|line| batch(&bytes(line)).unwrap_or_else(|error| panic!("{layout}: {error}"))).collect();
        told.push(events);
    }
    let long = Name::Bytes(bytes(&"00112233445566778899aabbccddeeff".repeat(2)).into());
    let stored = |names: Vec<Name>, parent: Option<u64>, tokens: Vec<u32>, on_device| Event::Stored {
        names,
        parent: parent.map(Name::Number),
        tokens,
        block: 4,
        is_plain: true,
        on_device,
    };
    let (first, second) = (Name::Number(9_007_199_254_740_993), Name::Number(u64::MAX));
    let meant = |on_device| {
        vec![
            vec![stored(vec![first.clone(), second.clone()], None, (1..=8).collect(), true)],
            vec![stored(vec![Name::Number(42)], Some(u64::MAX), vec![9, 10, 11, 12], true)],
            vec![stored(vec![Name::Number(43)], Some(u64::MAX), vec![9, 10, 11, 13], true)],
            vec![
                Event::Removed { names: vec![Name::Number(42)], on_device: true },
                stored(vec![long.clone()], None, vec![7; 4], on_device),
            ],
            vec![Event::Cleared],
        ]
    };
    // The oldest does not tell where a block is.
    assert_eq!(told[0], meant(true));
    for newer in &told[1..] {
        assert_eq!(*newer, meant(false));
    }
}

/// A stored event as vLLM writes it now.
pub(super) fn stored(names: &[u64], parent: Option<u64>, tokens: &[u32], more: &[(&str, Value)]) -> Value {
    let list = |items: Vec<Value>| Value::Array(items);
    let block = (tokens.len() / names.len().max(1)) as u64;
    let mut fields: Vec<(Value, Value)> = vec![
        ("type".into(), "BlockStored".into()),
        ("block_hashes".into(), list(names.iter().map(|name| (*name).into()).collect())),
        ("parent_block_hash".into(), parent.map_or(Value::Nil, Value::from)),
        ("token_ids".into(), list(tokens.iter().map(|token| (*token).into()).collect())),
        ("block_size".into(), block.into()),
        ("medium".into(), "GPU".into()),
    ];
    fields.extend(more.iter().map(|(name, value)| ((*name).into(), value.clone())));
    Value::Map(fields)
}

pub(super) fn removed(names: &[u64]) -> Value {
    let names = names.iter().map(|name| (*name).into()).collect();
    Value::Map(vec![("type".into(), "BlockRemoved".into()), ("block_hashes".into(), Value::Array(names))])
}

pub(super) fn packed(events: Vec<Value>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let batch = Value::Array(vec![1.5.into(), Value::Array(events), 0.into()]);
    rmpv::encode::write_value(&mut bytes, &batch).expect("a list takes it");
    bytes
}

fn changes(heard: Heard) -> Vec<Change> {
    match heard {
        Heard::Events(events) => events.into_iter().map(|event| event.change).collect(),
        Heard::Gap(from) => panic!("a gap from {from}"),
    }
}

/// Nothing that somebody could send makes it panic, and what is cut anywhere is no batch, or a shorter one.
#[test]
fn odd_batches_are_refused() {
    let whole = packed(vec![stored(&[1, 2], None, &[1, 2, 3, 4], &[]), removed(&[1])]);
    for end in 0..whole.len() {
        assert!(batch(&whole[..end]).is_err(), "cut at {end}");
    }
    let wrong: Vec<(&str, Value)> = vec![
        ("block_size", 0.into()),
        ("block_size", 3.into()),
        ("token_ids", Value::Array(vec![(-1).into(); 4])),
        ("token_ids", Value::Array(vec![(1_u64 << 32).into(); 4])),
        ("token_ids", "abcd".into()),
        ("block_hashes", Value::Array(vec!["a".into(), "b".into()])),
        ("block_hashes", Value::Array(vec![Value::Binary(vec![0; 65]), 1.into()])),
        ("parent_block_hash", "a".into()),
    ];
    for (name, value) in wrong {
        let Value::Map(mut fields) = stored(&[1, 2], None, &[1, 2, 3, 4], &[]) else { unreachable!() };
        fields.iter_mut().filter(|(key, _)| key.as_str() == Some(name)).for_each(|(_, old)| *old = value.clone());
        assert!(batch(&packed(vec![Value::Map(fields)])).is_err(), "{name}: {value}");
    }
    let mut deep = Value::Nil;
    for _ in 0..100 {
        deep = Value::Array(vec![deep]);
    }
    assert!(batch(&packed(vec![deep])).is_err());
    // What is not known is nothing, and harms nothing.
    let unknown = Value::Map(vec![("type".into(), "BlockMoved".into()), ("to".into(), 7.into())]);
    assert_eq!(batch(&packed(vec![unknown])), Ok(Vec::new()));
    let more = [("new_field", Value::from("x")), ("group_idx", 0.into())];
    assert_eq!(batch(&packed(vec![stored(&[1], None, &[1], &more)])).expect("it is read").len(), 1);
    assert_eq!(batch(&packed(vec![stored(&[1], None, &[1], &[("group_idx", 1.into())])])), Ok(Vec::new()));
}

/// Blocks whose names depend on more than tokens are not taken for what tokens name.
#[test]
fn what_tokens_do_not_name_is_left_out() {
    let mut follower = Follower::new(Tokens(2));
    let of = |name: &'static str, value: Value| packed(vec![stored(&[1], None, &[5, 6], &[(name, value)])]);
    let adapters =
        [of("lora_id", 3.into()), of("lora_name", "a".into()), of("extra_keys", Value::Array(vec!["salt".into()]))];
    for (number, payload) in adapters.iter().enumerate() {
        assert!(changes(follower.hear(number as u64, payload)).is_empty());
    }
    assert_eq!(changes(follower.hear(3, &packed(vec![stored(&[1], None, &[5, 6, 7], &[])]))), []);
    assert_eq!(changes(follower.hear(4, &packed(vec![stored(&[2], Some(99), &[5, 6], &[])]))), []);
    let counts = follower.counts();
    assert_eq!((counts.others, counts.misfits, counts.orphans), (3, 1, 1));
    assert_eq!(changes(follower.hear(5, &of("extra_keys", Value::Array(vec![Value::Nil])))).len(), 1);
}

/// Numbers: in order, twice, with a gap, from another process.
#[test]
fn numbers_tell_what_is_missing() {
    let mut follower = Follower::new(Tokens(1));
    let one = |token: u32, parent: Option<u64>| packed(vec![stored(&[u64::from(token)], parent, &[token], &[])]);
    assert_eq!(follower.hear(2, &one(3, Some(2))), Heard::Gap(0), "it was not there from the beginning");
    assert_eq!(changes(follower.hear(0, &one(1, None))).len(), 1);
    assert_eq!(changes(follower.hear(1, &one(2, Some(1)))).len(), 1);
    assert_eq!(changes(follower.hear(2, &one(3, Some(2)))).len(), 1);
    assert_eq!(changes(follower.hear(1, &one(2, Some(1)))), [], "told again");
    assert_eq!(follower.hear(5, &one(6, None)), Heard::Gap(3));
    follower.give_up(5);
    assert_eq!((follower.epoch().0, follower.blocks()), (1, 0));
    assert_eq!(changes(follower.hear(5, &one(6, None))).len(), 1);
    // Another process begins at 0; on a new connection, any number that was there before tells of one.
    assert_eq!(changes(follower.hear(0, &one(1, None))).len(), 1);
    assert_eq!((follower.epoch().0, follower.blocks()), (2, 1));
    assert_eq!(changes(follower.hear(1, &one(2, Some(1)))).len(), 1);
    follower.reconnected();
    assert_eq!(follower.hear(1, &one(8, None)), Heard::Gap(0));
    assert_eq!(follower.epoch().0, 3);
    let counts = follower.counts();
    assert_eq!((counts.gaps, counts.restarts, counts.overlaps), (3, 3, 1));
    // What cannot be read may have said that something is gone: nothing is known of the cache any more.
    assert_eq!(changes(follower.hear(0, &one(1, None))).len(), 1);
    assert_eq!(follower.hear(1, b"\xc1"), Heard::Events(Vec::new()));
    assert_eq!((follower.epoch().0, follower.blocks(), follower.counts().malformed), (4, 0, 1));
    assert_eq!(changes(follower.hear(2, &one(3, None))).len(), 1);
    // A process that has come as far as the one before is another one all the same.
    follower.reconnected();
    assert_eq!(follower.hear(3, &one(4, None)), Heard::Gap(0));
    assert_eq!((follower.epoch().0, follower.blocks()), (5, 0));
}

/// A long chain goes at once, and no recursion follows it.
#[test]
fn a_chain_of_any_length_goes_with_its_first_block() {
    let mut follower = Follower::new(Tokens(1));
    let names: Vec<u64> = (0..200_000).collect();
    let tokens: Vec<u32> = (0..200_000).collect();
    assert_eq!(changes(follower.hear(0, &packed(vec![stored(&names, None, &tokens, &[])]))).len(), 1);
    assert_eq!(changes(follower.hear(1, &packed(vec![removed(&[0])]))).len(), 200_000);
    assert_eq!(follower.blocks(), 0);
}

/// An engine: blocks by name, kept and dropped as it likes.
#[derive(Debug, Default)]
struct Engine {
    /// Name: parent, tokens up to its end.
    held: BTreeMap<u64, (Option<u64>, Vec<u32>)>,
    next: u64,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Whatever an engine keeps and drops, in whatever order, the router's index says of each prompt what a walk through the
    /// engine's blocks finds, as long as the engine drops no block before those behind it; and never more where it does.
    #[test]
    fn the_index_holds_what_the_engine_says(
        steps in prop::collection::vec((0_u8..10, any::<prop::sample::Index>(), prop::collection::vec(0_u32..3, 1..5)), 1..60),
        in_order in any::<bool>(),
    ) {
        let block = Tokens(2);
        let mut router = router::Router::new(RouterConfig { block, ..RouterConfig::new(Rule::KvAwarePlus, 1) });
        let mut follower = Follower::new(block);
        let mut engine = Engine::default();
        for (number, (kind, which, symbols)) in steps.into_iter().enumerate() {
            let names: Vec<u64> = engine.held.keys().copied().collect();
            let event = if kind < 6 || names.is_empty() {
                // Two tokens for each symbol, behind a block that is held or at the beginning.
                let parent = (kind % 2 == 0 && !names.is_empty()).then(|| names[which.index(names.len())]);
                let mut before = parent.map_or(Vec::new(), |name| engine.held[&name].1.clone());
                let tokens: Vec<u32> = symbols.iter().flat_map(|symbol| [*symbol, 7]).collect();
                let (mut told, mut above) = (Vec::new(), parent);
                for two in tokens.chunks(2) {
                    before.extend(two);
                    told.push(engine.next);
                    engine.held.insert(engine.next, (above, before.clone()));
                    above = Some(engine.next);
                    engine.next += 1;
                }
                stored(&told, parent, &tokens, &[])
            } else {
                let has_children = |name: &u64| engine.held.values().any(|(parent, _)| *parent == Some(*name));
                let leaves: Vec<u64> = names.iter().copied().filter(|name| !in_order || !has_children(name)).collect();
                let name = leaves[which.index(leaves.len())];
                engine.held.remove(&name);
                removed(&[name])
            };
            let Heard::Events(events) = follower.hear(number as u64, &packed(vec![event])) else { panic!("no gap") };
            if !events.is_empty() {
                router.observe(WorkerId(0), Signal::Cache(&events), Time::ZERO, Time::ZERO);
            }
            router.index().expect("it keeps one").check();
            // Every prompt that was ever there, and what is left of it.
            for (_, tokens) in engine.held.values() {
                let mut hasher = TokenHasher::new(block, 0);
                let pieces = hasher.pieces(tokens).to_vec();
                let mut matches = Matches::default();
                router.index().expect("it keeps one").matches(Chain::new(&pieces, block), &mut matches);
                let found = matches.of(WorkerId(0));
                let held = (1..=tokens.len() / 2).take_while(|blocks| {
                    engine.held.values().any(|(_, other)| *other == tokens[..blocks * 2])
                });
                let truth = Tokens(held.count() as u32 * 2);
                if in_order {
                    prop_assert_eq!(found, truth);
                } else {
                    prop_assert!(found <= truth, "{} of {}", found, truth);
                }
            }
        }
    }
}

/// Batches with their numbers.
type Batches = VecDeque<(u64, Vec<u8>)>;

/// A publisher as vLLM's, with replay.
pub(super) struct Publisher {
    socket: PubSocket,
    pub(super) place: Place,
    kept: Arc<Mutex<Batches>>,
    next: u64,
    task: tokio::task::JoinHandle<()>,
}

impl Publisher {
    pub(super) async fn new(keeps: bool) -> Self {
        let (mut socket, mut replay) = (PubSocket::new(), RouterSocket::new());
        let events = socket.bind("tcp://127.0.0.1:0").await.expect("a free port").to_string();
        let again = replay.bind("tcp://127.0.0.1:0").await.expect("a free port").to_string();
        let kept = Arc::new(Mutex::new(Batches::new()));
        let theirs = kept.clone();
        let task = tokio::spawn(async move {
            while let Ok(asked) = replay.recv().await {
                let (who, from) = (asked.get(0).expect("its sender").clone(), asked.get(2).expect("a number").clone());
                let from = u64::from_be_bytes(from.as_ref().try_into().expect("8 bytes"));
                let mut told: Vec<(u64, Vec<u8>)> = theirs.lock().expect("sound").iter().cloned().collect();
                told.retain(|(number, _)| *number >= from);
                told.push((u64::MAX, Vec::new()));
                for (number, payload) in told {
                    let mut message = ZmqMessage::from(who.clone());
                    message.push_back(Vec::new().into());
                    message.push_back(number.to_be_bytes().to_vec().into());
                    message.push_back(payload.into());
                    replay.send(message).await.expect("it is asked for");
                }
            }
        });
        let place = Place { events, replay: keeps.then_some(again) };
        Self { socket, place, kept, next: 0, task }
    }

    pub(super) async fn say(&mut self, events: Vec<Value>, is_lost: bool) {
        let payload = packed(events);
        self.kept.lock().expect("sound").push_back((self.next, payload.clone()));
        if !is_lost {
            let mut message = ZmqMessage::from("");
            message.push_back(self.next.to_be_bytes().to_vec().into());
            message.push_back(payload.into());
            self.socket.send(message).await.expect("it is bound");
        }
        self.next += 1;
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the gateway counted of what a worker told.
pub(super) async fn counted(address: SocketAddr, worker: u16, what: &str) -> u64 {
    let metrics = call(address, "GET", "/metrics", "").await.body;
    let name = format!("podlab:gateway_kv_events_total{{worker=\"{worker}\",what=\"{what}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&name)).expect("it is counted");
    value.parse().expect("a number")
}

/// Waits until the gateway has heard so many batches of a worker.
pub(super) async fn heard(address: SocketAddr, worker: u16, batches: u64) {
    for _ in 0..500 {
        if counted(address, worker, "batches").await >= batches {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("{} batches of worker {worker}, not {batches}", counted(address, worker, "batches").await);
}

/// A subscription takes a moment, and what is said before it is lost to it.
pub(super) async fn joined(address: SocketAddr, worker: u16, publisher: &mut Publisher) -> u64 {
    for _ in 0..500 {
        publisher.say(Vec::new(), false).await;
        sleep(Duration::from_millis(20)).await;
        if counted(address, worker, "batches").await > 0 {
            sleep(Duration::from_millis(100)).await;
            return counted(address, worker, "batches").await;
        }
    }
    panic!("nobody subscribes");
}

/// `kvaware` sends a prompt where its blocks are, by the workers' own account on the wire; what was lost there is told again; what
/// is gone attracts nobody.
#[tokio::test]
async fn kvaware_goes_by_what_workers_publish() {
    let mocks = [Mock::new(json("200 OK", "{}")).await, Mock::new(json("200 OK", "{}")).await];
    let mut publishers = [Publisher::new(true).await, Publisher::new(false).await];
    let mut set_up = Settings::new(
        mocks.iter().map(Mock::origin).collect(),
        RouterConfig {
            lmcache_chunk: Tokens(4),
            block: Tokens(4),
            chunk: Tokens(4),
            ..RouterConfig::new(Rule::KvAware, 2)
        },
    );
    set_up.feeds = publishers.iter().map(|publisher| publisher.place.clone()).collect();
    let gateway = Gateway::new(set_up).await;
    let address = gateway.address;
    let ask = async |ids: &[u32]| -> Response {
        call(address, "POST", "/v1/completions", &format!("{{\"prompt\":{ids:?}}}")).await
    };
    let matched = |got: &Response| got.header("x-podlab-matched-tokens").and_then(|text| text.parse::<u32>().ok());
    let prompt: Vec<u32> = (1..=16).collect();
    let first = joined(address, 0, &mut publishers[0]).await;
    let second = joined(address, 1, &mut publishers[1]).await;
    let gaps = counted(address, 0, "gaps").await;
    publishers[0].say(vec![stored(&[11, 12], None, &prompt[..8], &[])], true).await;
    publishers[0].say(vec![stored(&[13], Some(12), &prompt[8..12], &[])], false).await;
    heard(address, 0, first + 2).await;
    assert_eq!(counted(address, 0, "gaps").await, gaps + 1);
    publishers[1].say(vec![stored(&[21], None, &prompt[..4], &[])], false).await;
    heard(address, 1, second + 1).await;
    let got = ask(&prompt).await;
    assert_eq!((got.header("x-podlab-worker"), matched(&got)), (Some("0"), Some(12)), "{}", got.head);
    assert_eq!(got.header("x-podlab-reason"), Some("first-holder"));
    // The first one drops all; the other is left.
    publishers[0].say(vec![removed(&[13, 12, 11])], false).await;
    heard(address, 0, first + 3).await;
    let got = ask(&prompt).await;
    assert_eq!((got.header("x-podlab-worker"), matched(&got)), (Some("1"), Some(4)), "{}", got.head);
    // What the other one lost nobody tells again: it is a new cache from there on.
    let restarts = counted(address, 1, "restarts").await;
    publishers[1].say(vec![stored(&[22], Some(21), &prompt[4..8], &[])], true).await;
    publishers[1].say(vec![stored(&[23], None, &[9; 4], &[])], false).await;
    heard(address, 1, second + 2).await;
    assert_eq!(counted(address, 1, "restarts").await, restarts + 1);
    assert_eq!(ask(&prompt).await.header("x-podlab-fallback"), Some("no-holder"));
    let got = ask(&[9; 8]).await;
    assert_eq!((got.header("x-podlab-worker"), matched(&got)), (Some("1"), Some(4)), "{}", got.head);
}

/// Text is put to a worker's `/tokenize`; where that fails, the request goes by what else is known.
#[tokio::test]
async fn text_is_tokenised_by_a_worker() {
    let mock = Mock::new(json("200 OK", "{\"tokens\":[1,2,3,4,5,6,7,8,9],\"count\":9}")).await;
    let mut publisher = Publisher::new(true).await;
    let mut set_up = Settings::new(
        vec![mock.origin()],
        RouterConfig { block: Tokens(4), chunk: Tokens(4), ..RouterConfig::new(Rule::KvAwarePlus, 1) },
    );
    set_up.feeds = vec![publisher.place.clone()];
    let gateway = Gateway::new(set_up).await;
    let before = joined(gateway.address, 0, &mut publisher).await;
    publisher.say(vec![stored(&[1, 2], None, &[1, 2, 3, 4, 5, 6, 7, 8], &[])], false).await;
    heard(gateway.address, 0, before + 1).await;
    for (path, body) in [
        ("/v1/completions", "{\"model\":\"m\",\"prompt\":\"hello\",\"temperature\":0}"),
        ("/v1/chat/completions", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"seed\":1}"),
    ] {
        let got = call(gateway.address, "POST", path, body).await;
        assert_eq!(got.header("x-podlab-matched-tokens"), Some("8"), "{path}: {}", got.head);
        let took = got.header("x-podlab-tokenize-ms").and_then(|ms| ms.parse::<f64>().ok());
        assert!(took.is_some_and(|ms| ms > 0.0 && ms < 1_000.0), "{}", got.head);
    }
    let seen = mock.seen.lock().expect("sound").requests.clone();
    let asked: Vec<String> = seen.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
    let tokenised: Vec<&String> = asked.iter().filter(|text| text.starts_with("POST /tokenize ")).collect();
    assert!(tokenised.iter().any(|text| text.ends_with("{\"model\":\"m\",\"prompt\":\"hello\"}")), "{tokenised:?}");
    assert!(tokenised.iter().all(|text| !text.contains("seed") && !text.contains("temperature")), "{tokenised:?}");
    // A salt parts: its blocks have other names at the worker.
    let salted = call(gateway.address, "POST", "/v1/completions", "{\"prompt\":\"hello\",\"cache_salt\":\"a\"}").await;
    assert_eq!(salted.header("x-podlab-matched-tokens"), Some("0"));
    mock.tell(json("404 Not Found", "{}"));
    assert_eq!(call(gateway.address, "POST", "/v1/completions", "{\"prompt\":\"hello\"}").await.status, 404);
}
