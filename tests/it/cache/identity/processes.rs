//! Two programs that never met must name a block alike: `hash()` of Python did not, and pods that were restarted missed
//! each other's blocks.

use super::{hex, served};
use crate::support::skipped;
use kvcache::{Blocks, Chain, ChainBuilder, Salt, Tokens};
use std::fmt::Write;
use std::process::Command;

/// Hashes of a thousand blocks under a few identities, and the keys of the simulator, as text.
fn vectors() -> String {
    let mut out = String::new();
    for tenant in ["", "tenant-a", "고객"] {
        let salt = Salt::for_tenant(tenant, Some("batch.7")).expect("a salt");
        let mut hash = served(&salt).root();
        for block in 0..1000_u32 {
            let tokens: Vec<u32> = (0..block % 17).map(|n| block.wrapping_mul(2_654_435_761) ^ n).collect();
            hash = hash.then(&tokens);
        }
        writeln!(out, "vector {}", hex(hash)).expect("text grows");
    }
    let mut builder = ChainBuilder::new();
    (0..1000).for_each(|n| builder.push(u64::from(n % 7), Tokens(1 + n % 40)));
    let chain = Chain::new(builder.pieces(), Tokens(16));
    let keys = (0..chain.tokens().0 / 16).map(|block| chain.key(Blocks(block)).0);
    writeln!(out, "vector {:016x}", keys.fold(0, |sum: u64, key| sum.rotate_left(1) ^ key)).expect("text grows");
    out
}

const FIXED: &str = "\
vector 9d7afe5a11d72e72b9172caa9b0a53536bdea74e05256f514cdca02127bf7206
vector bb77dab2732b539b27b070a1669bd52245f1f785f7b87c6073e8718d89ae8590
vector 4b316dd53b5c50ed2fae37061c490d18b734039458e5aeb32af5fead94317a5b
vector 9d9675b41008183f
";

const PYTHON: &str = r#"
import hashlib, struct
def framed(*fields): return b"".join(struct.pack("<Q", len(f)) + f for f in fields)
def sha(*parts): return hashlib.sha256(b"".join(parts)).digest()
for tenant in ("", "tenant-a", "\uace0\uac1d"):
    salt = sha(b"podlab.salt\x01", framed(tenant.encode(), b"batch.7")).hex()
    h = sha(b"podlab.root\x01", struct.pack("<I", 16), framed(b"Qwen/Qwen3-8B@main", b"bf16", salt.encode(), b""))
    for block in range(1000):
        tokens = [(block * 2654435761 & 0xffffffff) ^ n for n in range(block % 17)]
        h = sha(b"podlab.block\x01", h, struct.pack("<Q", len(tokens)), *(struct.pack("<I", t) for t in tokens))
    print("vector", h.hex())
"#;

fn said(command: &mut Command) -> Vec<String> {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    // The harness may have begun the line.
    text.lines().filter_map(|line| line.find("vector ").map(|at| line[at..].to_owned())).collect()
}

#[test]
fn hashes_are_the_same_on_every_platform() {
    assert_eq!(vectors(), FIXED);
}

/// Not a test of its own: what the other process says.
#[test]
#[ignore = "run by another_process_computes_the_same"]
fn say_vectors() {
    print!("{}", vectors());
}

#[test]
fn another_process_computes_the_same() {
    let name = "cache::identity::processes::say_vectors";
    let this = std::env::current_exe().expect("this binary has a path");
    let other = said(Command::new(this).args([name, "--exact", "--ignored", "--nocapture"]));
    assert_eq!(other, FIXED.lines().collect::<Vec<_>>());
}

#[test]
fn python_computes_the_same() {
    let Some(python) = std::env::var_os("PODLAB_PYTHON") else {
        skipped("PODLAB_PYTHON names no interpreter; run tests/run.sh");
        return;
    };
    let fixed: Vec<&str> = FIXED.lines().collect();
    assert_eq!(said(Command::new(python).args(["-c", PYTHON])), fixed[..3]);
}
