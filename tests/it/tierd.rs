//! L2 as a daemon: the binary, its socket and its segment, and a client of the wire that is not LMCache's.

mod wire; // podlab's own client
mod contract; // what the wire promises
mod segment; // where clients look for it
mod peers; // several daemons
mod hostile; // broken, slow, huge, gone
mod lmcache; // LMCache's own client and adapters

use crate::support::podlab;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use wire::Wire;

/// A daemon with a segment of its own; both go away with the test.
struct Daemon {
    child: Child,
    address: String,
    shm: String,
    said: Arc<Mutex<String>>,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A name of a segment that nobody else has.
fn fresh_name() -> String {
    format!("podlab-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it has an address").port()
}

/// The command that starts a daemon; `None`, said, where the binary is not built.
fn command(listen: &str, shm: &str, arguments: &[&str]) -> Option<Command> {
    let mut command = podlab()?;
    command.args(["tierd", "--listen", listen, "--shm", shm]).args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    Some(command)
}

impl Daemon {
    fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_at("127.0.0.1:0", &fresh_name(), arguments)
    }

    fn start_at(listen: &str, shm: &str, arguments: &[&str]) -> Option<Self> {
        let mut child = command(listen, shm, arguments)?.spawn().expect("it runs");
        let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let (mut line, mut begun) = (String::new(), String::new());
        let address = loop {
            line.clear();
            assert!(stderr.read_line(&mut line).expect("it is text") > 0, "it does not start: {begun}");
            begun.push_str(&line);
            if let Some((_, rest)) = line.split_once("tierd on http://") {
                break rest.split(": ").next().expect("an address").to_owned();
            }
        };
        let said = Arc::new(Mutex::new(begun));
        let more = said.clone();
        std::thread::spawn(move || {
            let mut line = String::new();
            while matches!(stderr.read_line(&mut line), Ok(read) if read > 0) {
                more.lock().expect("nobody panics with it").push_str(&std::mem::take(&mut line));
            }
            let _ = stderr.read_to_string(&mut String::new());
        });
        Some(Self { child, address, shm: shm.to_owned(), said })
    }

    fn wire(&self) -> Wire {
        Wire::new(&self.address)
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/dev/shm").join(&self.shm)
    }

    /// All that it has said.
    fn said(&self) -> String {
        self.said.lock().expect("nobody panics with it").clone()
    }

    /// A figure of its `/metrics`.
    fn meter(&self, name: &str) -> u64 {
        let page = self.wire().get("/metrics");
        let text = String::from_utf8(page.body).expect("it is text");
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("podlab:tierd_{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a whole number")
    }

    /// Waits until a figure is as it should be.
    fn until(&self, name: &str, wanted: u64) {
        let begun = Instant::now();
        while self.meter(name) != wanted {
            assert!(begun.elapsed() < Duration::from_secs(10), "{name} is {}, not {wanted}", self.meter(name));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, signal: &str) {
        Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill runs");
    }

    /// Waits for its end, and gives its exit status.
    fn end(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                return status.code();
            }
            assert!(begun.elapsed() < Duration::from_secs(40), "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for name in [self.shm.clone(), format!(".{}.spare", self.shm), format!(".{}.lock", self.shm)] {
            let _ = std::fs::remove_file(PathBuf::from("/dev/shm").join(name));
        }
    }
}

/// Bytes that no other seed gives.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |word: &mut u64| {
        *word ^= *word << 13;
        *word ^= *word >> 7;
        *word ^= *word << 17;
        *word as u8
    };
    (0..len).map(|_| step(&mut word)).collect()
}
