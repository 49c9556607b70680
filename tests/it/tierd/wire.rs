//! A client of the wire over a plain socket: it sends what it is told to, byte for byte.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

pub(super) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

/// A lease as the wire tells it.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) id: String,
    pub(super) offsets: Vec<(u64, u64)>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

impl Wire {
    pub(super) fn new(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("it is a socket");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("it is a socket");
        Self { stream, read: Vec::new() }
    }

    /// Sends bytes as they are; whether they went.
    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub(super) fn stop_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    pub(super) fn patience(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("it is a socket");
    }

    /// Whatever comes until the other side closes.
    pub(super) fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        let mut rest = std::mem::take(&mut self.read);
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// The next answer, if one comes.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let mut answer = Answer { status, head, body: Vec::new() };
        let len = answer.header("content-length").map_or(0, |len| len.parse().expect("a length"));
        while self.read.len() < end + len {
            self.more()?;
        }
        answer.body = self.read[end..end + len].to_vec();
        self.read.drain(..end + len);
        Some(answer)
    }

    fn more(&mut self) -> Option<()> {
        let mut piece = [0; 16 << 10];
        let read = self.stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        self.read.extend_from_slice(&piece[..read]);
        Some(())
    }

    fn ask(&mut self, head: &str, body: &[u8]) -> Answer {
        let head = format!("{head} HTTP/1.1\r\nhost: podlab\r\ncontent-length: {}\r\n\r\n", body.len());
        assert!(self.send(&[head.as_bytes(), body].concat()), "it reads");
        self.answer().expect("it answers")
    }

    pub(super) fn get(&mut self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), b"")
    }

    pub(super) fn post(&mut self, path: &str) -> Answer {
        self.ask(&format!("POST {path}"), b"")
    }

    /// Puts an object under a key that needs no escaping, or is escaped.
    pub(super) fn put(&mut self, key: &str, body: &[u8]) -> u16 {
        self.ask(&format!("PUT /v1/kv/lmcache/{key}"), body).status
    }

    /// Asks for a lease of `ttl` seconds, to be had within so many milliseconds.
    pub(super) fn lease_with(&mut self, key: &str, timeout_ms: u32, ttl: f64) -> Result<Lease, u16> {
        let answer = self.post(&format!("/v1/kv/lmcache/{key}/leases?timeout_ms={timeout_ms}&ttl_s={ttl:?}"));
        if answer.status != 200 {
            return Err(answer.status);
        }
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let told: serde_json::Value = serde_json::from_slice(&answer.body).expect("it is JSON");
        let number = |part: &serde_json::Value, name: &str| part[name].as_u64().expect("a whole number");
        let offsets = told["offsets"].as_array().expect("a list").iter();
        Ok(Lease {
            id: told["id"].as_str().expect("a text").to_owned(),
            offsets: offsets.map(|part| (number(part, "offset"), number(part, "len"))).collect(),
        })
    }

    pub(super) fn lease(&mut self, key: &str) -> Result<Lease, u16> {
        self.lease_with(key, 0, 30.0)
    }

    pub(super) fn release(&mut self, lease: &Lease) -> u16 {
        self.post(&format!("/v1/leases/{}/release", lease.id)).status
    }

    /// Leases, copies, releases.
    pub(super) fn load(&mut self, segment: &Path, key: &str, timeout_ms: u32) -> Option<Vec<u8>> {
        let lease = self.lease_with(key, timeout_ms, 30.0).ok()?;
        let copy = lease.copy(segment);
        assert_eq!(self.release(&lease), 200, "it is under way");
        Some(copy)
    }
}

impl Lease {
    pub(super) fn copy(&self, segment: &Path) -> Vec<u8> {
        let file = File::open(segment).expect("the segment is there");
        let size = file.metadata().expect("it has a size").len();
        let mut copy = Vec::new();
        for (offset, len) in &self.offsets {
            assert!(*len > 0 && offset + len <= size, "a fragment lies in the segment, and is not empty");
            let at = copy.len();
            copy.resize(at + *len as usize, 0);
            file.read_exact_at(&mut copy[at..], *offset).expect("it can be read");
        }
        copy
    }
}
