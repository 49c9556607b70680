//! Clients that are broken, slow, huge, or gone. `PODLAB_FUZZ` is how many malformed requests are tried.

use super::wire::Wire;
use super::{Daemon, bytes};
use crate::router::Chance;
use std::time::{Duration, Instant};

fn is_well(daemon: &Daemon) {
    let (mut wire, object) = (daemon.wire(), bytes(77, 100_000));
    let status = wire.put("after", &object);
    assert!(status == 200 || status == 409, "{status}");
    assert_eq!(wire.load(&daemon.path(), "after", 0), Some(object));
    let said = daemon.said();
    assert!(!said.contains("panicked"), "{said}");
}

/// Requests that are right, to be spoiled.
const REQUESTS: [&str; 8] = [
    "PUT /v1/kv/lmcache/fuzz@1 HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nContent-Type: application/octet-stream\r\n\r\nhello, world",
    "POST /v1/kv/lmcache/fuzz@1/leases?timeout_ms=0&ttl_s=0.01 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "POST /v1/kv/lmcache/fuzz%2F%25/leases?timeout_ms=1&ttl_s=30.0 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "POST /v1/leases/00000000000000000000000000000001/release HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "GET /v1/peer/lmcache/fuzz@1?wait_ms=1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "PUT /v1/peer/lmcache/fuzz@2 HTTP/1.1\r\nHost: x\r\nx-podlab-seal: 0123abcd\r\nContent-Length: 3\r\n\r\nabc",
    "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    "HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
];

/// Pieces that mean something to HTTP, to paths, to numbers, or to nobody.
const PIECES: [&str; 36] = [
    "",
    " ",
    "\r\n",
    "\n",
    "\0",
    "%",
    "%00",
    "%2F",
    "%zz",
    "/",
    "//",
    "/leases",
    "?",
    "&",
    "=",
    "#",
    "..",
    "-1",
    "1e999",
    "NaN",
    "inf",
    "18446744073709551616",
    "0.0",
    "Transfer-Encoding: chunked\r\n",
    "Content-Length: 5\r\n",
    "Expect: 100-continue\r\n",
    "HTTP/1.0",
    "HTTP/9.9",
    "\u{e9}",
    "\u{1f600}",
    "PUT ",
    "GET ",
    "Connection: upgrade\r\n",
    "0\r\n\r\n",
    ";",
    "{}",
];

fn spoil(request: &str, chance: &mut Chance) -> Vec<u8> {
    let mut spoiled = request.as_bytes().to_vec();
    for _ in 0..chance.below(4) {
        let at = chance.pick(spoiled.len() + 1);
        let until = (at + chance.pick(12)).min(spoiled.len());
        match chance.below(5) {
            0 => drop(spoiled.drain(at..until)),
            1 => drop(spoiled.splice(at..at, PIECES[chance.pick(36)].bytes())),
            2 => drop(spoiled.splice(at..until, PIECES[chance.pick(36)].bytes())),
            3 => spoiled.truncate(at),
            _ if at < spoiled.len() => spoiled[at] = chance.below(256) as u8,
            _ => {}
        }
    }
    spoiled
}

#[test]
fn malformed_requests_are_refused_cleanly() {
    let Some(daemon) = Daemon::start(&["--bytes", "4MiB", "--access-log"]) else { return };
    let rounds = std::env::var("PODLAB_FUZZ").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(10_000_u32);
    let mut chance = Chance::new(9);
    let (mut answers, mut longest) = ([0_u32; 6], Duration::ZERO);
    for round in 0..rounds {
        let spoiled = spoil(REQUESTS[chance.pick(8)], &mut chance);
        let mut wire = Wire::new(&daemon.address);
        wire.patience(Duration::from_secs(5));
        let begun = Instant::now();
        wire.send(&spoiled);
        wire.stop_sending();
        // A reset is an end, too.
        let rest = wire.rest().unwrap_or_default();
        longest = longest.max(begun.elapsed());
        let shown = || String::from_utf8_lossy(&spoiled).into_owned();
        assert!(begun.elapsed() < Duration::from_secs(1), "{round}: no end to {:?}", shown());
        let status = rest
            .strip_prefix(b"HTTP/1.")
            .and_then(|rest| rest.get(2..5))
            .map(|status| String::from_utf8_lossy(status).into_owned());
        let class = status.as_ref().map_or(0, |status| usize::from(status.as_bytes()[0] - b'0'));
        // 504 is how a miss that was waited for is told.
        assert!(class < 5 || status.as_deref() == Some("504"), "{round}: {status:?} to {:?}", shown());
        answers[class.min(5)] += 1;
    }
    println!("answers by class {answers:?}, longest {longest:?}");
    assert!(answers[2] > rounds / 50 && answers[4] > rounds / 50, "{answers:?}: some are right, many are wrong");
    is_well(&daemon);
    daemon.until("writing_bytes", 0);
}

#[test]
fn a_put_whose_client_goes_leaves_nothing() {
    let Some(daemon) = Daemon::start(&["--bytes", "8MiB"]) else { return };
    let mut chance = Chance::new(3);
    for round in 0..200 {
        let mut wire = daemon.wire();
        wire.send(b"PUT /v1/kv/lmcache/gone HTTP/1.1\r\nhost: x\r\ncontent-length: 500000\r\n\r\n");
        wire.send(&bytes(round, chance.pick(499_999)));
        drop(wire);
    }
    daemon.until("writing_bytes", 0);
    assert_eq!(daemon.meter("objects"), 0);
    assert_eq!(daemon.wire().lease("gone").err(), Some(404));
    let object = bytes(1, 500_000);
    assert_eq!(daemon.wire().put("gone", &object), 200, "the next one puts it whole");
    assert_eq!(daemon.wire().load(&daemon.path(), "gone", 0), Some(object));
}

#[test]
fn a_second_put_under_way_is_409_and_an_abandoned_one_is_not() {
    let Some(daemon) = Daemon::start(&["--bytes", "8MiB"]) else { return };
    let mut first = daemon.wire();
    first.send(b"PUT /v1/kv/lmcache/k HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n01234");
    daemon.until("puts_total", 1);
    assert_eq!(daemon.wire().put("k", b"another one"), 409);
    drop(first);
    daemon.until("writing_bytes", 0);
    assert_eq!(daemon.wire().put("k", b"another one"), 200);
}

#[test]
fn slow_heads_and_bodies_are_closed_and_others_go_on() {
    let Some(daemon) = Daemon::start(&["--bytes", "64MiB"]) else { return };
    assert_eq!(daemon.wire().put("k", b"bytes"), 200);
    let begun = Instant::now();
    let mut slow: Vec<Wire> = (0..1000)
        .map(|number| {
            let mut wire = daemon.wire();
            match number % 3 {
                0 => true, // idle
                1 => wire.send(b"POST /v1/kv/lmcache/k/lea"),
                _ => wire.send(
                    format!("PUT /v1/kv/lmcache/{number} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n01")
                        .as_bytes(),
                ),
            };
            wire
        })
        .collect();
    let mut wire = daemon.wire();
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            let begun = Instant::now();
            let lease = wire.lease("k").expect("it is there");
            assert_eq!(wire.release(&lease), 200);
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    assert!(times[198] < Duration::from_millis(250), "{:?} beside 1000 slow ones", times[198]);
    // Of each kind one, to the end.
    let mut body = slow.swap_remove(2);
    let mut head = slow.swap_remove(1);
    for wire in [&head, &body] {
        wire.patience(Duration::from_secs(15));
    }
    assert_eq!(head.rest().expect("it is closed"), b"", "a head that does not end is not answered");
    assert!(
        (Duration::from_secs(8)..Duration::from_millis(10_500)).contains(&begun.elapsed()),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(body.answer().map(|answer| answer.status), Some(408));
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    daemon.until("writing_bytes", 0);
    let mut idle = slow.swap_remove(0);
    assert_eq!(idle.lease("k").map(|lease| idle.release(&lease)).ok(), Some(200), "who is only idle is not closed");
    is_well(&daemon);
}

#[test]
fn only_who_is_idle_is_closed() {
    let Some(daemon) = Daemon::start(&["--bytes", "1MiB", "--idle", "1s"]) else { return };
    let mut wire = daemon.wire();
    assert_eq!(wire.put("k", b"bytes"), 200);
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(100));
        let lease = wire.lease("k").expect("it is there");
        assert_eq!(wire.release(&lease), 200, "a connection in use stays open");
    }
    let begun = Instant::now();
    assert_eq!(wire.rest().expect("it is closed"), b"");
    assert!(begun.elapsed() > Duration::from_millis(400), "{:?}", begun.elapsed());
}

#[test]
fn many_clients_at_once_read_only_what_was_put() {
    let Some(daemon) = Daemon::start(&["--bytes", "4MiB"]) else { return };
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let daemon = &daemon;
            scope.spawn(move || {
                let (mut wire, mut chance) = (daemon.wire(), Chance::new(thread));
                for _ in 0..300 {
                    let seed = chance.below(60);
                    let (key, object) = (format!("k{seed}"), bytes(seed, 1000 + 4_000 * seed as usize));
                    if chance.below(2) == 0 {
                        let status = wire.put(&key, &object);
                        assert!([200, 409, 507].contains(&status), "{status}");
                    } else if let Some(found) = wire.load(&daemon.path(), &key, 0) {
                        assert!(found == object, "{key} is not what was put");
                    }
                }
            });
        }
    });
    daemon.until("leases", 0);
    assert!(daemon.meter("hits_total") > 100 && daemon.meter("evictions_total") > 100);
}
