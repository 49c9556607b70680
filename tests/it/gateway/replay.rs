//! The replay law over real requests: what a gateway logged, told to a fresh desk, gives the same decisions.

use super::feed::{Publisher, removed, stored};
use super::world::{Act, Gateway, Mock, events, json, settings};
use crate::emulate::raw::call;
use crate::support::{Folder, podlab, said};
use driver::bench::target::Origin;
use driver::gateway::{self, Replayed, Settings, replay};
use leaving::{Client, Ended};
use router::{HealthConfig, RouterConfig, Strategy};
use sim::streams::{Stream, Streams};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// A client that keeps its connections, and may leave.
mod leaving {
    use http_body_util::{BodyExt, Full};
    use hyper::Request;
    use hyper::body::Bytes;
    use hyper_util::client::legacy::connect::HttpConnector;
    use hyper_util::rt::TokioExecutor;
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::time::timeout;

    #[derive(Clone)]
    pub(super) struct Client(hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>);

    #[derive(Debug, PartialEq)]
    pub(super) enum Ended {
        Whole,
        Failed,
        Left,
    }

    impl Client {
        pub(super) fn new() -> Self {
            Self(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http())
        }

        /// Asks; `patience`: leaves after so long where no head has come, and behind the first piece where one has.
        pub(super) async fn ask(&self, at: SocketAddr, path: &str, body: String, patience: Option<Duration>) -> Ended {
            let request = Request::post(format!("http://{at}{path}")).header("x-user", (body.len() % 7).to_string());
            let asked = self.0.request(request.body(Full::from(body)).expect("it is one"));
            let answer = match patience {
                Some(patience) => timeout(patience, asked).await,
                None => Ok(asked.await),
            };
            let mut response = match answer {
                Err(_) => return Ended::Left,
                Ok(Err(_)) => return Ended::Failed,
                Ok(Ok(response)) => response,
            };
            let mut text = Vec::new();
            while let Some(frame) = response.frame().await {
                let Ok(frame) = frame else { return Ended::Failed };
                text.extend_from_slice(frame.data_ref().map_or(&[][..], |bytes| bytes));
                if patience.is_some() {
                    return Ended::Left;
                }
            }
            let is_whole = response.status().is_success() && text.ends_with(b"data: [DONE]\n\n");
            if is_whole { Ended::Whole } else { Ended::Failed }
        }
    }
}

/// A worker in a process of its own.
struct Process(Child, String);

impl Process {
    fn start(address: &str) -> Self {
        use std::io::BufRead;
        let mut command = Command::new(env!("CARGO_BIN_EXE_podlab-mock"));
        command.args(["--listen", address, "--ttft-ms", "2", "--itl-ms", "1", "--tokens", "4"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it is built");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it tells where it listens");
        Self(child, line.trim().to_owned())
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Prompts of few beginnings and many ends, in ids; some chats.
fn ask(draws: &mut Stream) -> (&'static str, String) {
    let blocks = 1 + draws.below(8);
    let mut ids: Vec<u64> = (0..blocks).flat_map(|_| [draws.below(4); 4]).collect();
    ids.push(9);
    let session = draws.below(20);
    let (prompt, path) = if draws.below(10) == 0 {
        (format!("\"messages\":[{{\"role\":\"user\",\"content\":\"{ids:?}\"}}]"), "/v1/chat/completions")
    } else {
        (format!("\"prompt\":{ids:?}"), "/v1/completions")
    };
    (path, format!("{{{prompt},\"max_tokens\":4,\"user_id\":\"{session}\",\"stream\":true}}"))
}

/// What workers do, from moment to moment.
async fn moods(mock: Arc<Mock>, mut draws: Stream, is_over: Arc<AtomicBool>) {
    while !is_over.load(Ordering::Relaxed) {
        let act = match draws.below(8) {
            0 => json("500 Internal Server Error", "{}"),
            1 => json("503 Service Unavailable", "{}"),
            2 => json("400 Bad Request", "{}"),
            3 => Act::Close,
            4 => Act::Break(vec!["data: 1\n\n".to_owned()]),
            _ => Act::Stream(events(4), Duration::from_millis(1)),
        };
        mock.tell(act);
        sleep(Duration::from_millis(20 + draws.below(60))).await;
    }
}

/// A worker's account of its cache: the tree of all prompts that there are, some of which comes and goes.
async fn account(mut publisher: Publisher, mut draws: Stream, is_over: Arc<AtomicBool>) {
    let mut next = 1;
    while !is_over.load(Ordering::Relaxed) {
        let blocks = 1 + draws.below(4);
        let ids: Vec<u32> = (0..blocks).flat_map(|_| [draws.below(4) as u32; 4]).collect();
        let names: Vec<u64> = (next..next + blocks).collect();
        next += blocks;
        let mut told = vec![stored(&names, None, &ids, &[])];
        if next > 60 && draws.below(3) > 0 {
            told.push(removed(&[next - 40, next - 50]));
        }
        publisher.say(told, draws.below(20) == 0).await;
        sleep(Duration::from_millis(10)).await;
    }
}

fn replayed(log: &Path) -> Replayed {
    replay(BufReader::new(File::open(log).expect("it is there"))).unwrap_or_else(|error| panic!("{error}"))
}

/// What a log is after some lines of it were changed.
fn changed(log: &Path, change: impl Fn(usize, &str) -> Option<String>) -> Result<Replayed, String> {
    let text = std::fs::read_to_string(log).expect("it is there");
    let lines: Vec<String> = text.lines().enumerate().filter_map(|(place, line)| change(place, line)).collect();
    replay(lines.join("\n").as_bytes())
}

/// 10,000 requests by `predicted-ttft`, which goes by all there is: events of caches, loads, ages, and what first tokens teach.
/// Workers fail, break off and are killed, clients leave; each decision and each retry is the same once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_real_requests_are_decided_alike_once_more() {
    const REQUESTS: u64 = 10_600; // some are given up before they are read
    let began = Instant::now();
    let (folder, streams) = (Folder::new("decisions"), Streams::new(9));
    let log = folder.path("decisions.jsonl");
    let mut mocks = Vec::new();
    for _ in 0..3 {
        mocks.push(Arc::new(Mock::new(Act::Stream(events(4), Duration::from_millis(1))).await));
    }
    let mut victim = Process::start("127.0.0.1:0");
    let place = victim.1.clone();
    let mut workers: Vec<Origin> = mocks.iter().map(|mock| mock.origin()).collect();
    workers.push(gateway::worker(&format!("http://{place}")).expect("on loopback"));
    let router = RouterConfig { block: kvcache::Tokens(4), ..RouterConfig::new(Strategy::PredictedTtft, 4) };
    let mut set_up = Settings::new(workers, router);
    let mut publishers = Vec::new();
    for worker in 0..4 {
        publishers.push(Publisher::new(worker % 2 == 0).await);
    }
    set_up.feeds = publishers.iter().map(|publisher| publisher.place.clone()).collect();
    set_up.decision_log = Some(log.clone());
    set_up.health = HealthConfig { open: kvcache::Span::from_millis(50), ..HealthConfig::default() };
    let gateway = Gateway::new(set_up).await;
    let address = gateway.address;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut world = JoinSet::new();
    world.spawn(moods(mocks[2].clone(), streams.named("moods"), is_over.clone()));
    for (worker, publisher) in publishers.into_iter().enumerate() {
        world.spawn(account(publisher, streams.named(&format!("account {worker}")), is_over.clone()));
    }
    let over = is_over.clone();
    world.spawn(async move {
        while !over.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(300)).await;
            victim.kill();
            sleep(Duration::from_millis(100)).await;
            victim = Process::start(&place);
        }
    });
    let (client, sent) = (Client::new(), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    for number in 0..64 {
        let (client, sent, mut draws) = (client.clone(), sent.clone(), streams.named(&format!("client {number}")));
        clients.spawn(async move {
            let mut ended = [0_u32; 3];
            while sent.fetch_add(1, Ordering::Relaxed) < REQUESTS {
                let (path, body) = ask(&mut draws);
                let leaves = draws.below(8) == 0;
                let patience = leaves.then(|| Duration::from_millis(1 + draws.below(10)));
                ended[client.ask(address, path, body, patience).await as usize] += 1;
            }
            ended
        });
    }
    let mut ended = [0; 3];
    while let Some(of_one) = clients.join_next().await {
        let of_one = of_one.expect("it does not panic");
        (0..3).for_each(|place| ended[place] += of_one[place]);
    }
    drop(client);
    is_over.store(true, Ordering::Relaxed);
    while let Some(task) = world.join_next().await {
        task.expect("it does not panic");
    }
    let metrics = call(address, "GET", "/metrics", "").await.body;
    gateway.stopped().await;
    let took = began.elapsed();
    let came = replayed(&log);
    println!("{ended:?} (whole, failed, left) in {took:?}: {came:?}");
    assert_eq!((came.differences, came.is_cut), (0, false), "{:?}", came.shown);
    assert_eq!(ended.iter().sum::<u32>(), REQUESTS as u32);
    // Who left before the gateway had read it is no request.
    assert!(came.requests >= 10_000 && came.decisions > came.requests, "{came:?}");
    assert!(came.retries > 20 && came.failures > 500 && came.batches > 200, "too little happened: {came:?}");
    assert!(ended[Ended::Whole as usize] > 5_000 && ended[Ended::Left as usize] > 500, "{ended:?}");
    let retries = metrics.lines().find_map(|line| line.strip_prefix("podlab:gateway_retries_total "));
    assert_eq!(retries, Some(came.retries.to_string().as_str()), "the log has what the gateway counted");
    // The comparison can fail: by one batch of events less, by one first token told later, by one end never told.
    let without = |what: &'static str| {
        let mut left = 100_i32;
        let left = std::cell::RefCell::new(&mut left);
        let changed = changed(&log, |_, line| {
            if line.contains(what) {
                **left.borrow_mut() -= 1;
            }
            (!(line.contains(what) && **left.borrow() == 0)).then(|| line.to_owned())
        });
        changed.map(|came| came.differences)
    };
    for what in ["{\"cached\":{\"worker\":0", "{\"first_token\"", "{\"ended\""] {
        let differences = without(what).unwrap_or(1);
        assert!(differences > 0, "a line {what} is missing, and nothing differs");
    }
    let Some(mut command) = podlab() else { return };
    let (out, err, code) = said(&command.args(["validate", "decisions"]).arg(&log).output().expect("it runs"));
    assert!(code == 0 && out.contains(": 0 of "), "{code}: {out}{err}");
    let seed = |place: usize, line: &str| {
        Some(if place == 0 { line.replace("\"externality\":1000", "\"externality\":0") } else { line.to_owned() })
    };
    assert!(changed(&log, seed).is_ok_and(|came| came.differences > 0), "another set-up decides otherwise");
    let text = std::fs::read_to_string(&log).expect("it is there");
    let first = text.find("\"matched\":").expect("something was looked for");
    let spoilt = folder.file("spoilt.jsonl", &(text[..first].to_owned() + &text[first..].replacen(":", ":1", 1)));
    let Some(mut command) = podlab() else { return };
    let (out, err, code) = said(&command.args(["validate", "decisions"]).arg(spoilt).output().expect("it runs"));
    assert!(code == 99 && err.contains("line "), "{code}: {out}{err}");
}

/// The others, a few hundred requests each, without anybody who tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_strategy_decides_alike_once_more() {
    let folder = Folder::new("decisions-all");
    for strategy in Strategy::ALL {
        let streams = Streams::new(10);
        let mocks = [
            Arc::new(Mock::new(Act::Stream(events(2), Duration::ZERO)).await),
            Arc::new(Mock::new(Act::Stream(events(2), Duration::ZERO)).await),
            Arc::new(Mock::new(Act::Close).await),
        ];
        let mut set_up = settings(&[&mocks[0], &mocks[1], &mocks[2]]);
        set_up.router = RouterConfig { block: kvcache::Tokens(4), ..RouterConfig::new(strategy, 3) };
        set_up.router.chunk = kvcache::Tokens(4);
        set_up.router.guessed = Some(RouterConfig::guess(kvcache::Tokens(4)));
        set_up.session_key = Some("user_id".to_owned());
        let log = folder.path(&format!("{strategy}.jsonl"));
        set_up.decision_log = Some(log.clone());
        let gateway = Gateway::new(set_up).await;
        let address = gateway.address;
        let is_over = Arc::new(AtomicBool::new(false));
        let world = tokio::spawn(moods(mocks[2].clone(), streams.named("moods"), is_over.clone()));
        let client = Client::new();
        let mut clients = JoinSet::new();
        for number in 0..8 {
            let (client, mut draws) = (client.clone(), streams.named(&format!("client {number}")));
            clients.spawn(async move {
                for _ in 0..40 {
                    let (path, body) = ask(&mut draws);
                    client.ask(address, path, body, None).await;
                }
            });
        }
        while let Some(one) = clients.join_next().await {
            one.expect("it does not panic");
        }
        drop(client);
        is_over.store(true, Ordering::Relaxed);
        world.await.expect("it does not panic");
        gateway.stopped().await;
        let came = replayed(&log);
        assert_eq!((came.requests, came.differences), (320, 0), "{strategy}: {came:?}");
        assert!(came.failures > 0, "{strategy}: {came:?}");
        // Numbers that no gateway has are refused, whatever the strategy would do with them.
        let text = std::fs::read_to_string(&log).expect("it is there");
        for (name, number) in [
            ("index_limit", 0),
            ("workers", 0),
            ("block", 0),
            ("block", u64::from(u32::MAX)),
            ("lmcache_chunk", u64::from(u32::MAX)),
            ("at", u64::MAX),
        ] {
            let (before, rest) = text.split_once(&format!("\"{name}\":")).expect("it is told");
            let rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
            let spoilt = format!("{before}\"{name}\":{number}{rest}");
            let error = replay(spoilt.as_bytes()).expect_err("no gateway is set up so");
            let line = if name == "at" { "line 2: " } else { "line 1: " };
            assert!(error.starts_with(line), "{strategy}, {name} {number}: {error}");
        }
        // A file that is there is not written over.
        let again = Settings { decision_log: Some(log), ..settings(&[&mocks[0]]) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        assert!(gateway::serve(again, listener, std::future::ready(())).await.is_err());
    }
}

/// What is no log is refused with its line, and a last line that is cut is told of.
#[test]
fn logs_that_are_none_are_refused() {
    for (text, why) in
        [("", "line 1"), ("{}\n", "line 1"), ("not JSON", "line 1"), ("{\"podlab\":\"something else\"}\n", "line 1")]
    {
        let error = replay(text.as_bytes()).expect_err("it is none");
        assert!(error.starts_with(why), "{text:?}: {error}");
    }
}
