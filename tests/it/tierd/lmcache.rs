//! LMCache's own client and adapters (Python package `lmcache`, no torch) store and read through the daemon.

use super::Daemon;
use crate::support::{said, skipped};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The interpreter, the drivers' folder and the unzipped package; `None`, said, where one of them is not there.
fn drivers() -> Option<(std::ffi::OsString, PathBuf, std::ffi::OsString)> {
    let Some(python) = std::env::var_os("PODLAB_PYTHON") else {
        skipped("PODLAB_PYTHON names no interpreter with aiohttp; run tests/run.sh");
        return None;
    };
    let Some(package) = std::env::var_os("PODLAB_LMCACHE") else {
        skipped("PODLAB_LMCACHE names no folder with the package lmcache; run tests/run.sh");
        return None;
    };
    let named = std::env::var_os("PODLAB_CLIENTS").map(PathBuf::from);
    let folder =
        named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/clients")).join("lmcache");
    if !folder.is_dir() {
        skipped("no drivers of LMCache's client; name their folder in PODLAB_CLIENTS");
        return None;
    }
    Some((python, folder, package))
}

/// How often a driver may try: its checks wait less than a second for an answer, which on a busy machine can be too short.
const TRIES: usize = 3;

/// Runs a driver against a daemon; gives how many of its checks passed, all of them.
fn drive(daemon: &Daemon, script: &str, arguments: &[&str]) -> Option<u32> {
    let (python, folder, package) = drivers()?;
    let url = format!("sagemaker-hyperpod://{}", daemon.address);
    let mut told = String::new();
    for _ in 0..TRIES {
        let mut command = Command::new(&python);
        command.arg(folder.join(script)).arg("--lmcache").arg(&package).args(["--url", &url, "--shm", &daemon.shm]);
        let output = command.args(arguments).env("PYTHONDONTWRITEBYTECODE", "1").output().expect("it runs");
        let (stdout, stderr, _) = said(&output);
        if let Some(passed) = stdout.lines().find_map(|line| line.strip_suffix(" passed, 0 failed")) {
            return Some(passed.parse().expect("a number"));
        }
        let failed: Vec<&str> = stdout.lines().filter(|line| line.starts_with("FAIL")).collect();
        told += &format!("{failed:?}\n{}\n", stderr.lines().rev().take(3).collect::<Vec<_>>().join("\n"));
    }
    panic!("{script}: {told}{}", daemon.said());
}

#[test]
fn its_client_is_content() {
    let Some(daemon) = Daemon::start(&["--bytes", "64MiB", "--test-hook", "/replace"]) else { return };
    let Some(passed) = drive(&daemon, "drive_client.py", &["--recreate", "/replace"]) else { return };
    assert_eq!(passed, 28);
}

#[test]
fn its_adapters_are_content() {
    let Some(daemon) = Daemon::start(&["--bytes", "64MiB"]) else { return };
    let Some(passed) = drive(&daemon, "drive_adapters.py", &[]) else { return };
    assert_eq!(passed, 12);
}

#[test]
fn the_process_that_unlinks_the_segment_at_its_end_harms_nobody() {
    let Some(daemon) = Daemon::start(&["--bytes", "64MiB"]) else { return };
    let Some(passed) = drive(&daemon, "drive_adapters.py", &["--unlink"]) else { return };
    assert_eq!(passed, 12);
    let begun = Instant::now();
    while !daemon.path().exists() {
        assert!(begun.elapsed() < Duration::from_secs(2), "it does not come back");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(drive(&daemon, "drive_adapters.py", &[]), Some(12), "the next client finds it");
    assert_eq!(drive(&daemon, "drive_client.py", &[]), Some(26), "and so does the other one");
}

#[test]
fn it_reads_through_one_daemon_what_it_stored_through_another() {
    let ports = [super::free_port(), super::free_port()];
    let urls = ports.map(|port| format!("http://127.0.0.1:{port}"));
    let start = |own: usize| {
        let listen = format!("127.0.0.1:{}", ports[own]);
        let arguments = ["--bytes", "64MiB", "--peers", &urls[1 - own], "--advertise", &urls[own]];
        Daemon::start_at(&listen, &super::fresh_name(), &arguments)
    };
    let (Some(first), Some(second)) = (start(0), start(1)) else { return };
    let Some(passed) = drive(&first, "drive_client.py", &[]) else { return };
    assert_eq!(passed, 26);
    assert_eq!(drive(&second, "drive_adapters.py", &[]), Some(12));
    assert!(first.meter("forwarded_total") > 50 && second.meter("forwarded_total") > 2);
}
