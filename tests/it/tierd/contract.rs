//! What the wire promises.

use super::{Daemon, bytes};
use std::time::{Duration, Instant};

#[test]
fn what_is_put_is_leased_exactly_and_once() {
    let Some(daemon) = Daemon::start(&["--bytes", "8MiB"]) else { return };
    let (mut wire, segment) = (daemon.wire(), daemon.path());
    for (seed, len) in [1, 999, 65_535, 65_536, 65_537, 300_000].into_iter().enumerate() {
        let (key, object) = (format!("m@{len}"), bytes(seed as u64, len));
        assert_eq!(wire.put(&key, &object), 200);
        assert_eq!(wire.load(&segment, &key, 0).as_ref(), Some(&object), "{len} bytes");
        assert_eq!(wire.put(&key, b"other bytes"), 409, "it is there");
        assert_eq!(wire.load(&segment, &key, 0), Some(object), "and does not change");
    }
    let lease = wire.lease("m@1").expect("it is there");
    assert_eq!(wire.release(&lease), 200);
    assert_eq!(wire.release(&lease), 404, "a lease ends once");
    assert_eq!(wire.post("/v1/leases/0123456789abcdef0123456789abcdef/release").status, 404);
    assert_eq!(wire.lease("absent").err(), Some(404));
    let short = wire.lease_with("m@1", 0, 0.05).expect("it is there");
    std::thread::sleep(Duration::from_millis(120));
    assert_eq!(wire.release(&short), 404, "it has expired");
    assert_eq!((daemon.meter("objects"), daemon.meter("leases"), daemon.meter("expired_leases_total")), (6, 0, 1));
}

#[test]
fn keys_are_split_raw_and_decoded_once() {
    let Some(daemon) = Daemon::start(&["--bytes", "8MiB"]) else { return };
    let (mut wire, segment) = (daemon.wire(), daemon.path());
    // As aiohttp sends them: these are literal, those are escaped.
    let keys = [
        "a%2Fb",
        "a%252Fb",
        "a%2520b",
        "a%20b",
        "a%2Bb",
        "a@b&c=d;e",
        "a%23b",
        "a%3Fb",
        "a%2Fleases",
        "leases",
        "%C3%A9",
        "%00%FF",
    ];
    for (seed, key) in keys.iter().enumerate() {
        assert_eq!(wire.put(key, &bytes(seed as u64, 100)), 200, "{key}");
    }
    for (seed, key) in keys.iter().enumerate() {
        assert_eq!(wire.load(&segment, key, 0), Some(bytes(seed as u64, 100)), "{key}");
    }
    assert_eq!(wire.load(&segment, "a%2fb", 0), Some(bytes(0, 100)), "digits of either case");
    assert_eq!(wire.load(&segment, "a+b", 0), Some(bytes(4, 100)), "a plus is a plus");
    assert_eq!(wire.put("%61%40%62&c=d;e", b"x"), 409, "what needs no escaping may be escaped");
    assert_eq!(wire.post("/v1/kv/other%20bucket/leases/leases").status, 404, "buckets are separate");
}

#[test]
fn a_held_miss_is_answered_early_or_when_its_object_arrives() {
    let Some(daemon) = Daemon::start(&["--bytes", "8MiB"]) else { return };
    let (mut wire, segment) = (daemon.wire(), daemon.path());
    // On a busy machine any one of them may be late.
    let held = (0..5).map(|_| {
        let begun = Instant::now();
        assert_eq!(wire.lease_with("never", 400, 30.0).err(), Some(504));
        begun.elapsed()
    });
    let held = held.min().expect("there are five");
    assert!(
        (Duration::from_millis(340)..Duration::from_millis(400)).contains(&held),
        "{held:?}: before 400 ms are over"
    );
    let object = bytes(1, 70_000);
    let mut other = daemon.wire();
    let late = object.clone();
    let putting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        (other.put("late", &late), Instant::now())
    });
    let lease = wire.lease_with("late", 5000, 30.0).expect("it arrives");
    let answered = Instant::now();
    assert_eq!(lease.copy(&segment), object);
    let (status, put) = putting.join().expect("it does not panic");
    assert_eq!(status, 200);
    assert!(answered.saturating_duration_since(put) < Duration::from_millis(50), "at once");
    assert_eq!(wire.release(&lease), 200);
}

#[test]
fn with_hold_pending_only_what_is_being_put_is_waited_for() {
    let Some(daemon) = Daemon::start(&["--bytes", "8MiB", "--hold", "pending"]) else { return };
    let (mut wire, mut putting) = (daemon.wire(), daemon.wire());
    let begun = Instant::now();
    assert_eq!(wire.lease_with("absent", 2000, 30.0).err(), Some(504));
    assert!(begun.elapsed() < Duration::from_millis(200), "at once: {:?}", begun.elapsed());
    putting.send(b"PUT /v1/kv/lmcache/pending HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n01234");
    daemon.until("puts_total", 1);
    let finishing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        putting.send(b"56789");
        putting.answer().expect("it answers").status
    });
    let lease = wire.lease_with("pending", 2000, 30.0).expect("it arrives");
    assert_eq!(lease.copy(&daemon.path()), b"0123456789");
    assert_eq!(finishing.join().expect("it does not panic"), 200);
}

#[test]
fn a_lease_whose_requester_has_gone_is_released() {
    let Some(daemon) = Daemon::start(&["--bytes", "8MiB"]) else { return };
    let mut waiting = daemon.wire();
    waiting.send(
        b"POST /v1/kv/lmcache/k/leases?timeout_ms=5000&ttl_s=30.0 HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
    );
    daemon.until("waits", 1);
    drop(waiting);
    daemon.until("waits", 0);
    assert_eq!(daemon.wire().put("k", b"bytes"), 200);
    assert_eq!((daemon.meter("leases"), daemon.meter("hits_total")), (0, 0), "nobody waits any more");
}

#[test]
fn what_cannot_be_is_refused_and_the_connection_goes_on() {
    let Some(daemon) = Daemon::start(&["--bytes", "1MiB"]) else { return };
    let mut wire = daemon.wire();
    assert_eq!(wire.put("empty", b""), 400);
    assert_eq!(wire.lease("empty").err(), Some(404));
    assert_eq!(wire.put("half", &bytes(1, 512 << 10)), 200);
    assert_eq!(wire.put("rest", &bytes(2, 300 << 10)), 200);
    let leases = ["half", "rest"].map(|key| wire.lease(key).expect("it is there"));
    // The whole body is read before the answer, so that who sends it hears it.
    assert_eq!(wire.put("more", &bytes(3, 400 << 10)), 507);
    assert_eq!(wire.put("half", &bytes(3, 900 << 10)), 409);
    leases.iter().for_each(|lease| assert_eq!(wire.release(lease), 200));
    assert_eq!(wire.put("more", &bytes(3, 400 << 10)), 200, "what nobody holds makes room");
    assert_eq!(wire.load(&daemon.path(), "more", 0), Some(bytes(3, 400 << 10)));
    for (path, status) in [
        ("/v1/kv/lmcache/half/leases?ttl_s=0", 400),
        ("/v1/kv/lmcache/half/leases?ttl_s=601", 400),
        ("/v1/kv/lmcache/half/leases?ttl_s=nan", 400),
        ("/v1/kv/lmcache/half/leases?timeout_ms=-1", 400),
        ("/v1/kv/lmcache/half/leases?timeout_ms=1&timeout_ms=2", 400),
        ("/v1/kv/lmcache/%zz/leases", 400),
        ("/v1/kv//half/leases", 400),
        ("/v1/kv/lmcache/a/b/c/d", 404),
        ("/v1/kv/lmcache/half", 405),
        ("/", 404),
    ] {
        let answer = wire.post(path);
        assert_eq!(answer.status, status, "{path}");
        let told: serde_json::Value = serde_json::from_slice(&answer.body).expect("it is JSON");
        assert!(told["error"].is_string(), "{path} is told why");
    }
    let mut huge = daemon.wire();
    huge.send(b"PUT /v1/kv/lmcache/huge HTTP/1.1\r\nhost: x\r\ncontent-length: 1048577\r\n\r\n");
    assert_eq!(huge.answer().expect("before it is sent").status, 413);
    let mut chunked = daemon.wire();
    chunked
        .send(b"PUT /v1/kv/lmcache/c HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(chunked.answer().expect("it is told").status, 411);
}

#[test]
fn answers_are_not_delayed() {
    // With Nagle's algorithm on the accepted socket an answer could wait 40 ms for an acknowledgement.
    let Some(daemon) = Daemon::start(&["--bytes", "1MiB"]) else { return };
    let mut wire = daemon.wire();
    assert_eq!(wire.put("k", b"bytes"), 200);
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            let begun = Instant::now();
            let lease = wire.lease("k").expect("it is there");
            assert_eq!(wire.release(&lease), 200);
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    assert!(times[50] < Duration::from_millis(20), "{:?}", times[50]);
}

#[test]
fn logs_and_metrics_tell_no_key() {
    let Some(daemon) = Daemon::start(&["--bytes", "1MiB", "--access-log"]) else { return };
    let mut wire = daemon.wire();
    let key = "model@0@0@hash@canary-salt-4711";
    assert_eq!(wire.put(key, b"canary-bytes-4711"), 200);
    wire.load(&daemon.path(), key, 0).expect("it is there");
    assert_eq!(wire.put(key, b"x"), 409);
    let refused = wire.post(&format!("/v1/kv/lmcache/{key}%zz/leases"));
    assert_eq!(refused.status, 400);
    let metrics = wire.get("/metrics");
    let begun = Instant::now();
    while daemon.said().lines().filter(|line| line.contains(" ms")).count() < 6 {
        assert!(begun.elapsed() < Duration::from_secs(5), "{}", daemon.said());
        std::thread::sleep(Duration::from_millis(10));
    }
    let said = daemon.said();
    for text in [
        &said,
        &String::from_utf8_lossy(&metrics.body).into_owned(),
        &String::from_utf8_lossy(&refused.body).into_owned(),
    ] {
        assert!(!text.contains("canary") && !text.contains("4711"), "{text}");
    }
    assert!(said.contains("PUT object object=") && said.contains("key_bytes=31"), "{said}");
}
