//! L2 in a Redis beside `redis-benchmark`, which asks the same server for as many values of the same size, as many at a time,
//! over one connection as well. In turns, so that whatever else the machine does disturbs both alike. Medians.

use driver::l2::{Named, Place, Remote, Terms};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const IN_FLIGHT: usize = 4;
const TURNS: usize = 7;
/// Bytes of a turn, about.
const BYTES: usize = 256 << 20;

struct Server(Child, u16);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start() -> Server {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    let child = command.stdout(Stdio::null()).spawn().expect("redis-server is installed");
    let server = Server(child, port);
    let began = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "it listens");
        std::thread::sleep(Duration::from_millis(20));
    }
    server
}

/// GB per second of SET and GET, as redis-benchmark measures them.
fn peer(port: u16, size: usize, count: usize) -> [f64; 2] {
    ["set", "get"].map(|test| {
        let mut command = Command::new("redis-benchmark");
        command.args(["-p", &port.to_string(), "-c", "1", "-P", &IN_FLIGHT.to_string(), "--csv", "-t", test]);
        let output = command.args(["-d", &size.to_string(), "-n", &count.to_string()]).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().last().expect("a line");
        let rate: f64 = line.split(',').nth(1).expect("a rate").trim_matches('"').parse().expect("a number");
        rate * size as f64 / 1e9
    })
}

/// The same of L2: objects that are not there are put, and fetched.
fn ours(remote: &Remote, (turn, size, count): (usize, usize, usize), object: &Arc<[u8]>) -> [f64; 2] {
    let names = (0..count).map(|number| format!("bench:{size}:{turn}:{number}")).collect();
    let of = Named { names, length: size };
    let until = tokio::time::Instant::now() + Duration::from_secs(120);
    let began = Instant::now();
    let (tell, told) = mpsc::channel();
    remote.put(of.clone(), vec![Arc::clone(object); count], until, move |answer| {
        tell.send(answer).expect("somebody waits")
    });
    assert_eq!(told.recv().expect("it answers").came as usize, count);
    let put = began.elapsed();
    let began = Instant::now();
    let (tell, told) = mpsc::channel();
    remote.fetch(of.clone(), until, move |answer, values| tell.send((answer, values)).expect("somebody waits"));
    let (answer, values) = told.recv().expect("it answers");
    let got = began.elapsed();
    assert_eq!(answer.came as usize, count);
    assert!(values.iter().all(|value| value.len() == size));
    of.names.into_iter().for_each(|name| remote.refuse(name));
    let rate = |took: Duration| (size * count) as f64 / took.as_secs_f64() / 1e9;
    [rate(put), rate(got)]
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_unstable_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    let server = start();
    let place = Place::parse(&format!("redis://127.0.0.1:{}", server.1)).expect("a URL");
    let terms = Terms { silence: Duration::from_secs(10), in_flight: IN_FLIGHT, ttl: None };
    let remote = Remote::new(place, terms, |line| println!("{line}")).expect("a thread");
    println!("{IN_FLIGHT} at a time, one connection, medians of {TURNS} turns, GB/s");
    for size in [32 << 10, 1 << 20, 6 << 20] {
        let (object, count) = (Arc::from(vec![7; size]), (BYTES / size).min(4096));
        let turns: Vec<[f64; 4]> = (0..TURNS)
            .map(|turn| {
                let [their_set, their_get] = peer(server.1, size, count);
                let [put, get] = ours(&remote, (turn, size, count), &object);
                // What was refused is removed in passing.
                std::thread::sleep(Duration::from_millis(300));
                [their_set, put, their_get, get]
            })
            .collect();
        let of = |at: usize| median(turns.iter().map(|turn| turn[at]).collect());
        let ratio = |a: usize, b: usize| median(turns.iter().map(|turn| turn[a] / turn[b]).collect());
        println!(
            "{:>5} KiB: SET {:.2}, put {:.2} ({:.2} of it); GET {:.2}, fetch {:.2} ({:.2} of it)",
            size >> 10,
            of(0),
            of(1),
            ratio(1, 0),
            of(2),
            of(3),
            ratio(3, 2)
        );
    }
}
