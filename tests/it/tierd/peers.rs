//! Several daemons that share their objects.

use super::wire::Wire;
use super::{Daemon, bytes, free_port, fresh_name};
use kvcache::{ObjectName, Owners};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Daemons that know each other.
struct Fleet {
    daemons: Vec<Daemon>,
    urls: Vec<String>,
}

impl Fleet {
    fn start(count: usize, arguments: &[&str]) -> Option<Self> {
        let urls: Vec<String> = (0..count).map(|_| format!("http://127.0.0.1:{}", free_port())).collect();
        let daemons = (0..count).map(|place| Self::daemon(&urls, place, arguments)).collect::<Option<Vec<_>>>()?;
        Some(Self { daemons, urls })
    }

    fn daemon(urls: &[String], place: usize, arguments: &[&str]) -> Option<Daemon> {
        let others: Vec<&str> =
            urls.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, url)| url.as_str()).collect();
        let peers = others.join(",");
        let own = ["--bytes", "8MiB", "--peers", &peers, "--advertise", &urls[place]];
        let all = [&own[..], arguments].concat();
        Daemon::start_at(urls[place].trim_start_matches("http://"), &fresh_name(), &all)
    }

    fn owner(&self, key: &str) -> usize {
        owner(&self.urls, key)
    }

    /// A key that belongs to this daemon.
    fn key_of(&self, place: usize, start: u32) -> String {
        (start..).map(|number| format!("key-{number}")).find(|key| self.owner(key) == place).expect("there are many")
    }

    fn load(&self, place: usize, key: &str, timeout_ms: u32) -> Option<Vec<u8>> {
        self.daemons[place].wire().load(&self.daemons[place].path(), key, timeout_ms)
    }
}

fn owner(urls: &[String], key: &str) -> usize {
    Owners::new(urls.iter().map(String::as_str)).of(&ObjectName::of(b"lmcache", key.as_bytes()))
}

#[test]
fn what_is_put_through_one_is_read_through_another() {
    let Some(fleet) = Fleet::start(3, &[]) else { return };
    let mut owners = [0; 3];
    for number in 0..30_u64 {
        let (key, object) =
            (format!("object {number}").replace(' ', "%20"), bytes(number, 10_000 + 5_000 * number as usize));
        let through = number as usize % 3;
        assert_eq!(fleet.daemons[through].wire().put(&key, &object), 200);
        owners[fleet.owner(&key.replace("%20", " "))] += 1;
        for place in 0..3 {
            assert_eq!(
                fleet.load(place, &key, 0).as_ref(),
                Some(&object),
                "{key} put through {through}, read through {place}"
            );
        }
    }
    assert!(owners.iter().all(|count| *count > 2), "{owners:?}");
    let fetched: u64 = fleet.daemons.iter().map(|daemon| daemon.meter("fetched_total")).sum();
    let forwarded: u64 = fleet.daemons.iter().map(|daemon| daemon.meter("forwarded_total")).sum();
    // An object put through its owner is fetched by two; one put through another is sent, and fetched by the third.
    let own = 60 - fetched as i64 - forwarded as i64;
    assert_eq!((own, fetched >= 30), (0, true), "fetched {fetched}, forwarded {forwarded}");
}

#[test]
fn who_waits_through_another_hears_when_it_arrives_and_many_share_one_transfer() {
    let Some(fleet) = Fleet::start(2, &[]) else { return };
    let (key, object) = (fleet.key_of(0, 0), bytes(9, 1_000_000));
    let waiting: Vec<_> = (0..16)
        .map(|_| {
            let (mut wire, path, key) = (fleet.daemons[1].wire(), fleet.daemons[1].path(), key.clone());
            std::thread::spawn(move || wire.load(&path, &key, 5000))
        })
        .collect();
    fleet.daemons[1].until("waits", 16);
    fleet.daemons[0].until("waits", 1);
    let begun = Instant::now();
    assert_eq!(fleet.daemons[0].wire().put(&key, &object), 200);
    for thread in waiting {
        assert_eq!(thread.join().expect("it does not panic").as_ref(), Some(&object));
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!((fleet.daemons[1].meter("fetched_total"), fleet.daemons[0].meter("hits_total")), (1, 1));
    let begun = Instant::now();
    assert_eq!(
        fleet.daemons[1].wire().lease_with(&fleet.key_of(0, 1000), 300, 30.0).err(),
        Some(504),
        "a miss of both"
    );
    assert!(begun.elapsed() < Duration::from_millis(300), "{:?}: in time", begun.elapsed());
}

#[test]
fn a_killed_daemon_is_a_miss_and_a_put_stays_here() {
    let Some(mut fleet) = Fleet::start(2, &[]) else { return };
    let (lost, stored) = (fleet.key_of(0, 0), fleet.key_of(0, 100));
    assert_eq!(fleet.daemons[0].wire().put(&lost, b"bytes"), 200);
    fleet.daemons[0].child.kill().expect("it can be killed");
    fleet.daemons[0].end();
    let mut times = Vec::new();
    for number in 0..20_u64 {
        let begun = Instant::now();
        assert_eq!(fleet.daemons[1].wire().lease(&lost).err(), Some(404), "a miss");
        let key = fleet.key_of(0, 1000 + 100 * number as u32);
        assert_eq!(fleet.daemons[1].wire().put(&key, &bytes(number, 1000)), 200, "stored here");
        assert_eq!(fleet.load(1, &key, 0), Some(bytes(number, 1000)));
        times.push(begun.elapsed());
    }
    assert_eq!(fleet.daemons[1].wire().put(&stored, b"stored alone"), 200);
    times.sort_unstable();
    assert!(times[19] < Duration::from_millis(1500), "{:?}", times[19]);
    let page = String::from_utf8(fleet.daemons[1].wire().get("/metrics").body).expect("it is text");
    assert!(
        page.contains(&format!("podlab:tierd_peer_up{{peer=\"{}\"}} 0", fleet.urls[0])),
        "its breaker is open: {page}"
    );
    // It comes back, empty; the other finds that out by itself, within its probe.
    let again = Fleet::daemon(&fleet.urls, 0, &[]).expect("it was there before");
    fleet.daemons[0] = again;
    let (key, object) = (fleet.key_of(0, 50_000), bytes(3, 100_000));
    assert_eq!(fleet.daemons[0].wire().put(&key, &object), 200);
    let begun = Instant::now();
    while fleet.load(1, &key, 0).as_ref() != Some(&object) {
        assert!(begun.elapsed() < Duration::from_secs(5), "hits are back within 5 s");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(fleet.load(1, &stored, 0), Some(b"stored alone".to_vec()), "what stayed here is here");
}

#[test]
fn stopped_in_its_tracks_a_daemon_costs_a_bounded_time() {
    let Some(fleet) = Fleet::start(2, &[]) else { return };
    fleet.daemons[0].signal("-STOP");
    let mut times = Vec::new();
    for number in 0..6_u64 {
        let begun = Instant::now();
        let key = fleet.key_of(0, 100 * number as u32);
        let status = fleet.daemons[1].wire().put(&key, &bytes(number, 1000));
        times.push(begun.elapsed());
        assert_eq!(status, 200);
    }
    fleet.daemons[0].signal("-CONT");
    assert!(times[0] < Duration::from_secs(3), "before a client gives up (5 s): {times:?}");
    assert!(
        times[3..].iter().all(|time| *time < Duration::from_millis(500) || *time > Duration::from_secs(2)),
        "{times:?}"
    );
    assert!(times[3] < Duration::from_millis(500), "the breaker is open after three: {times:?}");
}

/// Between two daemons: passes everything on, but spoils one byte of each object that comes back, or cuts it short.
fn spoiling(listener: TcpListener, to: String, passed: &'static AtomicU32, spoil: fn(&mut Vec<u8>, usize)) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let to = to.clone();
            std::thread::spawn(move || {
                let mut stream = stream;
                let mut request = Vec::new();
                let mut byte = [0; 1];
                while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                    request.push(byte[0]);
                }
                let mut wire = Wire::new(&to);
                wire.send(&request);
                if let Some(answer) = wire.answer() {
                    let mut all = [answer.head.as_bytes(), &answer.body].concat();
                    spoil(&mut all, answer.head.len());
                    passed.fetch_add(1, Ordering::Relaxed);
                    let _ = stream.write_all(&all);
                }
            });
        }
    });
}

/// What becomes of bytes on their way.
type Spoil = fn(&mut Vec<u8>, usize);

#[test]
fn what_is_spoiled_between_daemons_is_a_miss() {
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let spoils: [(&str, Spoil); 5] = [
        ("the first bit", |all, head| all[head] ^= 1),
        ("the last bit", |all, _| *all.last_mut().expect("it has bytes") ^= 0x80),
        ("two bytes swapped", |all, head| all.swap(head + 10, head + 2000)),
        ("its end", |all, _| all.truncate(all.len() - 1)),
        ("all of it", |all, head| all[head..].fill(0)),
    ];
    for (what, spoil) in spoils {
        // The other believes that the owner is where the spoiler listens.
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let spoiler = format!("http://{}", listener.local_addr().expect("it has an address"));
        let own = format!("http://127.0.0.1:{}", free_port());
        let arguments = ["--bytes", "4MiB", "--peers", &spoiler, "--advertise", &own];
        let Some(other) = Daemon::start_at(own.trim_start_matches("http://"), &fresh_name(), &arguments) else {
            return;
        };
        // The owner is not alone, so that its objects have seals.
        let peers = ["--bytes", "4MiB", "--peers", "http://127.0.0.1:1", "--advertise", "http://127.0.0.1:2"];
        let Some(behind) = Daemon::start(&peers) else { return };
        spoiling(listener, behind.address.clone(), &PASSED, spoil);
        let urls = [spoiler, own];
        let key =
            (0..).map(|number| format!("key-{number}")).find(|key| owner(&urls, key) == 0).expect("there are many");
        assert_eq!(behind.wire().put(&key, &bytes(1, 5000)), 200);
        assert_eq!(other.wire().lease(&key).err(), Some(404), "{what}");
        let (corrupt, failed) = if what == "its end" { (0, 1) } else { (1, 0) };
        other.until("corrupt_total", corrupt);
        other.until("fetch_failures_total", failed);
        other.until("writing_bytes", 0);
        assert_eq!(other.meter("objects"), 0, "{what}: nothing is left of it");
    }
    assert!(PASSED.load(Ordering::Relaxed) >= 5, "something was spoiled");
}

#[test]
fn what_is_spoiled_where_it_lies_is_not_sent_and_goes() {
    let Some(fleet) = Fleet::start(2, &[]) else { return };
    let (key, object) = (fleet.key_of(0, 0), bytes(8, 600_000));
    assert_eq!(fleet.daemons[0].wire().put(&key, &object), 200);
    let lease = fleet.daemons[0].wire().lease(&key).expect("it is there");
    // A client that opens the segment to write can do this.
    let file = std::fs::OpenOptions::new().write(true).open(fleet.daemons[0].path()).expect("it can be opened");
    std::os::unix::fs::FileExt::write_all_at(&file, &[!object[0]], lease.offsets[0].0).expect("it can be written");
    assert_eq!(fleet.daemons[0].wire().release(&lease), 200);
    assert_eq!(fleet.daemons[1].wire().lease(&key).err(), Some(404), "a miss");
    assert_eq!(fleet.daemons[0].wire().lease(&key).err(), Some(404), "and its owner has it no more");
    assert_eq!(fleet.daemons[1].wire().put(&key, &object), 200, "it can be put again");
    assert_eq!(fleet.load(0, &key, 0), Some(object));
}

#[test]
fn an_object_under_anothers_name_is_refused() {
    let Some(daemon) = Daemon::start(&["--bytes", "4MiB"]) else { return };
    let mut wire = daemon.wire();
    let mut put = |key: &str, seal: &str| {
        wire.send(format!("PUT /v1/peer/lmcache/{key} HTTP/1.1\r\nhost: x\r\nx-podlab-seal: {seal}\r\ncontent-length: 5\r\n\r\nhello").as_bytes());
        wire.answer().expect("it answers").status
    };
    assert_eq!(put("a", "00000000"), 422);
    assert_eq!(put("a", "zz"), 400);
    // The seal of `hello` under the name `a`: found by the test's own arithmetic.
    let name = ObjectName::of(b"lmcache", b"a");
    let seal = format!("{:08x}", crc32(&[name.as_bytes().as_slice(), &5_u64.to_le_bytes(), b"hello"].concat()));
    assert_eq!(put("b", &seal), 422, "it is another's");
    assert_eq!(put("a", &seal), 200);
    assert_eq!(daemon.meter("corrupt_total"), 2);
}

/// CRC-32 bit by bit (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    };
    !bytes.iter().fold(u32::MAX, step)
}
