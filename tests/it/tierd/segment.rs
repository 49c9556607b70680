//! Where clients look for the segment: it is there, whatever they do to it, and whoever died before.

use super::{Daemon, bytes, command, free_port, fresh_name};
use crate::support::said;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

fn until_there(path: &Path, wanted: impl Fn(&fs::Metadata) -> bool) {
    let begun = Instant::now();
    while !fs::metadata(path).is_ok_and(|found| wanted(&found)) {
        assert!(begun.elapsed() < Duration::from_secs(5), "{} does not come back", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn it_has_the_size_and_the_mode_that_were_asked_for() {
    for (arguments, mode) in [(vec![], 0o600), (vec!["--mode", "660"], 0o660)] {
        let Some(daemon) = Daemon::start(&[&["--bytes", "3MiB"][..], &arguments].concat()) else { return };
        let found = fs::metadata(daemon.path()).expect("it is there");
        assert_eq!((found.len(), found.permissions().mode() & 0o777), (3 << 20, mode));
        assert!(found.blocks() * 512 >= 3 << 20, "all of it is reserved");
    }
}

#[test]
fn each_way_to_lose_it_is_noticed() {
    let Some(daemon) = Daemon::start(&["--bytes", "4MiB"]) else { return };
    let (path, object) = (daemon.path(), bytes(5, 200_000));
    assert_eq!(daemon.wire().put("k", &object), 200);
    let own = fs::metadata(&path).expect("it is there").ino();
    let spare = Path::new("/dev/shm").join(format!(".{}.spare", daemon.shm));
    let load = || daemon.wire().load(&path, "k", 0);
    // The client that unlinks it.
    fs::remove_file(&path).expect("it can be unlinked");
    until_there(&path, |found| found.ino() == own);
    assert_eq!(load().as_ref(), Some(&object));
    // Somebody who puts a file of his own there.
    let other = path.with_extension("other");
    fs::write(&other, "something else").expect("it is a file");
    fs::rename(&other, &path).expect("it can be replaced");
    until_there(&path, |found| found.ino() == own);
    assert_eq!(load().as_ref(), Some(&object));
    // The hidden name.
    fs::remove_file(&spare).expect("it can be unlinked");
    until_there(&spare, |found| found.ino() == own);
    // Both at once: no file without a name gets one again, so its bytes are copied.
    std::thread::sleep(Duration::from_millis(200));
    let begun = daemon.meter("segment_restored_total");
    fs::remove_file(&spare).expect("it can be unlinked");
    fs::remove_file(&path).expect("it can be unlinked");
    until_there(&path, |found| found.len() == 4 << 20);
    daemon.until("segment_restored_total", begun + 1);
    assert_eq!(load().as_ref(), Some(&object));
    assert_eq!(daemon.wire().put("more", &object), 200, "and it is written where clients read");
    assert_eq!(daemon.wire().load(&path, "more", 0).as_ref(), Some(&object));
}

#[test]
fn made_shorter_its_content_is_lost_and_said_to_be() {
    let Some(mut daemon) = Daemon::start(&["--bytes", "4MiB"]) else { return };
    let file = fs::OpenOptions::new().write(true).open(daemon.path()).expect("it can be opened");
    file.set_len(1000).expect("it can be cut");
    assert_eq!(daemon.end(), Some(1));
    std::thread::sleep(Duration::from_millis(50));
    assert!(daemon.said().contains("what was stored is lost: start it again"), "{}", daemon.said());
}

#[test]
fn a_dead_daemons_is_replaced_and_a_living_ones_is_not() {
    let name = fresh_name();
    let listen = format!("127.0.0.1:{}", free_port());
    let Some(mut first) = Daemon::start_at(&listen, &name, &["--bytes", "4MiB"]) else { return };
    assert_eq!(first.wire().put("k", b"bytes"), 200);
    let lease = first.wire().lease("k").expect("it is there");
    let Some(mut second) = command("127.0.0.1:0", &name, &["--bytes", "4MiB"]) else { return };
    let (_, stderr, status) = said(&second.output().expect("it runs"));
    assert_eq!(status, 1, "{stderr}");
    assert!(stderr.contains("belongs to a podlab tierd that is running"), "{stderr}");
    let own = fs::metadata(first.path()).expect("it is there").ino();
    first.child.kill().expect("it can be killed");
    first.end();
    assert!(first.path().exists(), "killed, it takes nothing away");
    let Some(again) = Daemon::start_at(&listen, &name, &["--bytes", "4MiB"]) else { return };
    assert_ne!(fs::metadata(again.path()).expect("it is there").ino(), own, "clients see that it is new");
    assert_eq!(again.wire().lease("k").err(), Some(404), "and it is empty");
    assert_eq!(again.wire().put("k", b"other bytes"), 200);
    let other = again.wire().lease("k").expect("it is there");
    assert_eq!(again.wire().release(&lease), 404, "a lease of the life before ends none of this one");
    assert_eq!(again.wire().release(&other), 200);
}

#[test]
fn what_another_program_made_is_left_alone() {
    let name = fresh_name();
    let path = Path::new("/dev/shm").join(&name);
    let Some(mut daemon) = command("127.0.0.1:0", &name, &["--bytes", "1MiB"]) else { return };
    fs::write(&path, "somebody's").expect("it can be written");
    let (_, stderr, status) = said(&daemon.output().expect("it runs"));
    let left = fs::read(&path);
    let _ = fs::remove_file(&path);
    let _ = fs::remove_file(Path::new("/dev/shm").join(format!(".{name}.lock")));
    assert_eq!((status, left.ok()), (1, Some(b"somebody's".to_vec())), "{stderr}");
    assert!(stderr.contains("no podlab tierd made it"), "{stderr}");
}

#[test]
fn a_size_that_is_not_there_and_other_mistakes_are_said_clearly() {
    for (arguments, code, hint) in [
        (vec!["--bytes", "200TiB"], 1, "take a smaller segment"),
        (vec!["--bytes", "1KiB"], 2, "change one of the two"),
        (vec!["--peers", "http://127.0.0.1:9"], 2, "--advertise"),
        (vec!["--advertise", "http://127.0.0.1:9"], 2, "--peers"),
        (vec!["--peers", "127.0.0.1:9", "--advertise", "http://127.0.0.1:9"], 2, "http://HOST:PORT"),
        (vec!["--mode", "777"], 2, "octal permissions"),
        (vec!["--eviction", "mru"], 2, "lru, s3-fifo"),
    ] {
        let Some(mut command) = command("127.0.0.1:0", &fresh_name(), &arguments) else { return };
        let (_, stderr, status) = said(&command.output().expect("it runs"));
        assert_eq!(status, code, "{arguments:?}: {stderr}");
        assert!(stderr.contains(hint), "{arguments:?}: {stderr}");
    }
}

#[test]
fn stopped_it_finishes_what_comes_in_and_takes_the_segment_away() {
    for signal in ["-TERM", "-INT"] {
        let Some(mut daemon) = Daemon::start(&["--bytes", "4MiB"]) else { return };
        let (mut putting, mut waiting, mut idle) = (daemon.wire(), daemon.wire(), daemon.wire());
        assert_eq!(idle.put("k", b"bytes"), 200);
        putting.send(b"PUT /v1/kv/lmcache/slow HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n01234");
        waiting
            .send(b"POST /v1/kv/lmcache/no/leases?timeout_ms=20000 HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        daemon.until("waits", 1);
        daemon.until("puts_total", 2);
        daemon.signal(signal);
        assert_eq!(waiting.answer().expect("it is answered").status, 504, "who is held is told");
        std::thread::sleep(Duration::from_millis(100));
        assert!(daemon.child.try_wait().expect("it can be asked").is_none(), "what comes in may do so to its end");
        assert!(daemon.path().exists());
        putting.send(b"56789");
        assert_eq!(putting.answer().expect("it is answered").status, 200);
        assert_eq!(daemon.end(), Some(0), "{}", daemon.said());
        for name in [daemon.shm.clone(), format!(".{}.spare", daemon.shm), format!(".{}.lock", daemon.shm)] {
            assert!(!Path::new("/dev/shm").join(&name).exists(), "{name} is left");
        }
    }
}

#[test]
fn a_second_signal_stops_it_at_once() {
    let Some(mut daemon) = Daemon::start(&["--bytes", "4MiB"]) else { return };
    let mut putting = daemon.wire();
    putting.send(b"PUT /v1/kv/lmcache/slow HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n01234");
    daemon.until("puts_total", 1);
    daemon.signal("-TERM");
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    daemon.signal("-TERM");
    assert_eq!(daemon.end(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(3) && !daemon.path().exists());
}

#[test]
fn the_test_hook_replaces_it_and_is_not_there_unless_asked_for() {
    let Some(daemon) = Daemon::start(&["--bytes", "4MiB", "--test-hook", "/replace"]) else { return };
    let (path, object) = (daemon.path(), bytes(5, 200_000));
    assert_eq!(daemon.wire().put("k", &object), 200);
    let own = fs::metadata(&path).expect("it is there").ino();
    assert_eq!(daemon.wire().get("/replace").status, 404);
    assert_eq!(daemon.wire().post("/replace").status, 200);
    assert_ne!(fs::metadata(&path).expect("it is there").ino(), own);
    assert_eq!(daemon.wire().load(&path, "k", 0).as_ref(), Some(&object));
    let Some(plain) = Daemon::start(&["--bytes", "1MiB"]) else { return };
    assert_eq!(plain.wire().post("/replace").status, 404);
}
