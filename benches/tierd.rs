//! The daemon beside what no daemon could beat: a copy through a socket, and a copy of memory. All in one run, in turns, so that
//! whatever else the machine does disturbs all alike. Medians.
//!
//! A client of the same machine would map the segment; here it is read by `pread`, which copies the same bytes once.

use driver::tierd::{Daemon, Segment, Settings};
use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of an object: 256 tokens of an 8B model's KV, of one of eight ranks.
const OBJECT: usize = 4 << 20;
/// Objects of a turn.
const OBJECTS: usize = 64;
const WRITE: usize = 64 << 10;
const IN_FLIGHT: usize = 16;
const TURNS: usize = 9;
const SEGMENT: u64 = 1 << 30;

/// GB per second.
fn rate(bytes: usize, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64() / 1e9
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_unstable_by(f64::total_cmp);
    of[of.len() / 2]
}

struct Client(TcpStream);

impl Client {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("it is a socket");
        Self(stream)
    }

    fn put(&mut self, key: &str, object: &[u8]) {
        let head = format!("PUT /v1/kv/bench/{key} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", object.len());
        self.0.write_all(head.as_bytes()).expect("it reads");
        object.chunks(WRITE).for_each(|piece| self.0.write_all(piece).expect("it reads"));
        assert!(self.answer().starts_with("HTTP/1.1 200"));
    }

    fn post(&mut self, path: &str) {
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        self.0.write_all(head.as_bytes()).expect("it reads");
    }

    /// The next answer, head and body; none of them is longer than this.
    fn answer(&mut self) -> String {
        let mut read = Vec::new();
        let mut piece = [0; 8192];
        loop {
            let count = self.0.read(&mut piece).expect("it answers");
            assert!(count > 0, "it goes on");
            read.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&read);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.expect("it has one").parse().expect("a length") {
                return text.into_owned();
            }
        }
    }
}

/// The name of a lease, and where its bytes are.
fn lease(answer: &str) -> (String, Vec<(u64, usize)>) {
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let id = answer.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a name");
    let number = |text: &str| text.split([',', '}']).next().expect("a number").parse::<u64>().expect("a number");
    let parts = answer.split("\"offset\":").skip(1).map(|part| {
        let len = part.split("\"len\":").nth(1).expect("a length");
        (number(part), number(len) as usize)
    });
    (id.to_owned(), parts.collect())
}

/// Writes as many bytes into a socket, in writes of 64 KiB, to somebody who reads them.
fn socket_copy(object: &[u8]) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has one");
    let reader = thread::spawn(move || {
        let mut stream = listener.accept().expect("somebody connects").0;
        let mut buffer = vec![0; WRITE];
        let mut all = 0;
        while all < OBJECT * OBJECTS {
            all += stream.read(&mut buffer).expect("it comes");
            black_box(&buffer);
        }
        stream.write_all(b".").expect("it is read");
    });
    let mut client = Client::new(address);
    let begun = Instant::now();
    for _ in 0..OBJECTS {
        object.chunks(WRITE).for_each(|piece| client.0.write_all(piece).expect("it is read"));
    }
    client.0.read_exact(&mut [0]).expect("it says so");
    let took = begun.elapsed();
    reader.join().expect("it ends");
    rate(OBJECT * OBJECTS, took)
}

fn puts(address: SocketAddr, turn: usize, object: &[u8]) -> f64 {
    let mut client = Client::new(address);
    let begun = Instant::now();
    (0..OBJECTS).for_each(|number| client.put(&format!("{turn}-{number}"), object));
    rate(OBJECT * OBJECTS, begun.elapsed())
}

/// Copies as many bytes of memory that no cache holds.
fn memory_copy(source: &[u8], into: &mut [u8]) -> f64 {
    let begun = Instant::now();
    for number in 0..OBJECTS {
        let (from, to) = (number * OBJECT, number % (into.len() / OBJECT) * OBJECT);
        into[to..to + OBJECT].copy_from_slice(&source[from..from + OBJECT]);
        black_box(&into);
    }
    rate(OBJECT * OBJECTS, begun.elapsed())
}

/// Reads as many bytes of the segment, without asking anybody.
fn segment_copy(segment: &File, into: &mut [u8]) -> f64 {
    let begun = Instant::now();
    for number in 0..OBJECTS {
        let (from, to) = ((number * OBJECT) as u64, number % (into.len() / OBJECT) * OBJECT);
        segment.read_exact_at(&mut into[to..to + OBJECT], from).expect("it lies in the segment");
        black_box(&into);
    }
    rate(OBJECT * OBJECTS, begun.elapsed())
}

/// Leases and copies the objects of a turn, sixteen requests in flight; somebody else releases.
fn gets(address: SocketAddr, turn: usize, segment: &File, into: &mut [u8], release: &Sender<String>) -> f64 {
    let mut clients: Vec<Client> = (0..IN_FLIGHT).map(|_| Client::new(address)).collect();
    let ask = |client: &mut Client, number: usize| {
        client.post(&format!("/v1/kv/bench/{turn}-{number}/leases?timeout_ms=1000&ttl_s=30.0"));
    };
    let begun = Instant::now();
    (0..IN_FLIGHT).for_each(|number| ask(&mut clients[number], number));
    for number in 0..OBJECTS {
        let client = &mut clients[number % IN_FLIGHT];
        let (id, parts) = lease(&client.answer());
        if number + IN_FLIGHT < OBJECTS {
            ask(client, number + IN_FLIGHT);
        }
        let mut to = number % (into.len() / OBJECT) * OBJECT;
        for (offset, len) in parts {
            segment.read_exact_at(&mut into[to..to + len], offset).expect("it lies in the segment");
            to += len;
        }
        release.send(id).expect("somebody releases");
    }
    rate(OBJECT * OBJECTS, begun.elapsed())
}

fn releases(address: SocketAddr, ids: &Receiver<String>) {
    let mut client = Client::new(address);
    for id in ids {
        client.post(&format!("/v1/leases/{id}/release"));
        assert!(client.answer().starts_with("HTTP/1.1 200"));
    }
}

/// Microseconds of lease, release and a small put, one after the other: P50 and P99.
fn serial(address: SocketAddr) -> [(f64, f64); 3] {
    let mut client = Client::new(address);
    client.put("small", &[1; 4096]);
    let mut times: [Vec<f64>; 3] = Default::default();
    for number in 0..2000 {
        let mut timed = |what: usize, ask: &mut dyn FnMut(&mut Client) -> String| {
            let begun = Instant::now();
            let answer = ask(&mut client);
            times[what].push(begun.elapsed().as_secs_f64() * 1e6);
            answer
        };
        let answer = timed(0, &mut |client| {
            client.post("/v1/kv/bench/small/leases?timeout_ms=1000&ttl_s=30.0");
            client.answer()
        });
        let (id, _) = lease(&answer);
        timed(1, &mut |client| {
            client.post(&format!("/v1/leases/{id}/release"));
            client.answer()
        });
        timed(2, &mut |client| {
            client.put(&format!("small-{number}"), &[1; 4096]);
            String::new()
        });
    }
    times.map(|mut of| {
        of.sort_unstable_by(f64::total_cmp);
        (of[of.len() / 2], of[of.len() * 99 / 100])
    })
}

fn main() {
    let name = format!("podlab-bench-{}", std::process::id());
    let segment = Segment::create(Path::new("/dev/shm"), &name, SEGMENT, 0o600).expect("there is room");
    let segment = Arc::new(segment);
    let file = File::open(segment.path()).expect("it is there");
    let (told, addresses) = channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let of_daemon = segment.clone();
    let daemon = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("threads start").block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            told.send(listener.local_addr().expect("it has one")).expect("somebody asks");
            let stop = async { drop(stopped.await) };
            Daemon::new(Settings::new(SEGMENT), of_daemon, 1).run(listener, stop).await
        })
    });
    let address = addresses.recv().expect("it starts");
    let (release, ids) = channel();
    let ids = Mutex::new(ids);

    let object: Vec<u8> = (0..OBJECT).map(|at| (at * 31 >> 3) as u8).collect();
    let source = vec![7; OBJECT * OBJECTS];
    let mut into = vec![0; 64 << 20];
    let mut rates: [Vec<f64>; 5] = Default::default();
    thread::scope(|scope| {
        scope.spawn(|| releases(address, &ids.lock().expect("nobody else")));
        for turn in 0..TURNS {
            let figures = [
                socket_copy(&object),
                puts(address, turn, &object),
                memory_copy(&source, &mut into),
                segment_copy(&file, &mut into),
                gets(address, turn, &file, &mut into, &release),
            ];
            figures.into_iter().zip(&mut rates).for_each(|(figure, all)| all.push(figure));
        }
        drop(release);
    });
    let ratio = |a: &[f64], b: &[f64]| median(a.iter().zip(b).map(|(a, b)| a / b).collect());
    let [socket, put, memory, read, get] = &rates;
    println!("{OBJECTS} objects of {} MiB a turn, medians of {TURNS} turns; GB/s", OBJECT >> 20);
    println!("socket copy, 64-KiB writes   {:.2}", median(socket.clone()));
    println!("put, one after the other     {:.2}   {:.2} of the socket copy", median(put.clone()), ratio(put, socket));
    println!("memory copy, cache-cold      {:.2}", median(memory.clone()));
    println!(
        "segment read, cache-cold     {:.2}   {:.2} of the memory copy",
        median(read.clone()),
        ratio(read, memory)
    );
    println!("get, {IN_FLIGHT} in flight            {:.2}", median(get.clone()));
    println!("  {:.2} of the memory copy, {:.2} of the segment read", ratio(get, memory), ratio(get, read));
    for (what, (p50, p99)) in ["lease", "release", "put of 4 KiB"].into_iter().zip(serial(address)) {
        println!("{what}, alone: P50 {p50:.0} us, P99 {p99:.0} us");
    }
    drop(stop);
    daemon.join().expect("it ends");
}
