//! Memory: ten million pieces go into an index of 32 MiB, and neither its own count nor the process's memory passes that.

use super::super::Chance;
use crate::support::skipped;
use kvcache::{Chain, ChainBuilder, Tokens, WorkerId};
use router::{Index, IndexConfig, Matches};
use std::process::Command;

const LIMIT: u64 = 32 << 20;
const WORKERS: u16 = 70;
const INSERTS: u64 = 10_000_000;

/// The most memory that this process ever had in RAM, in bytes, without the pages of its own program, which come as they are
/// run: how many of these there are is the compiler's business. `None`: this is no Linux.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let told = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse().ok()
    };
    Some((told("VmHWM:")? - told("RssFile:")?) << 10)
}

/// Prompts of all lengths: most begin like others, and each goes on with pieces that nobody saw before.
struct Author {
    chance: Chance,
    builder: ChainBuilder,
    fresh: u64,
}

impl Author {
    fn write(&mut self) {
        let Self { chance, builder, fresh } = self;
        builder.clear();
        for block in 0..chance.below(64) {
            builder.push(block, Tokens(16));
        }
        // Short ones, so that there are many runs, and now and then a long document.
        let new = if chance.percent(2) { 2_000 } else { 1 + chance.below(40) };
        for block in *fresh..*fresh + new {
            builder.push(1_000 + block, Tokens(16));
        }
        *fresh += new;
    }
}

/// Not a test of its own: what the other process does.
#[test]
#[ignore = "run by ten_million_pieces_stay_within_the_limit"]
fn insert_ten_million() {
    let mut author = Author { chance: Chance::new(1), builder: ChainBuilder::new(), fresh: 0 };
    let mut matches = Matches::new();
    (0..100).for_each(|_| author.write());
    let before = peak();
    let mut index = Index::new(IndexConfig { limit: LIMIT, ..IndexConfig::new(WORKERS, Tokens(16)) });
    author.fresh = 0;
    let mut most = 0;
    while author.fresh < INSERTS {
        author.write();
        let chain = Chain::new(author.builder.pieces(), Tokens(16));
        index.matches(chain, &mut matches);
        index.touch_matched(&matches);
        let worker = WorkerId(author.chance.below(WORKERS.into()) as u16);
        index.store_chain(worker, chain, chain.tokens());
        if author.chance.below(2_000) == 0 {
            // Who restarts takes holes into all segments, and so rarely that the limit ends most lives.
            index.clear(WorkerId(author.chance.below(WORKERS.into()) as u16));
        }
        most = most.max(index.bytes());
        assert!(most <= LIMIT, "{most} bytes after {} pieces", author.fresh);
    }
    index.check();
    let grown = before.zip(peak()).map(|(before, after)| after - before);
    let evicted = index.counts().evicted;
    println!("grown {} most {most} pieces {} evicted {evicted}", grown.unwrap_or_default(), index.pieces());
}

#[test]
fn ten_million_pieces_stay_within_the_limit() {
    if peak().is_none() {
        skipped("/proc/self/status says nothing of VmHWM");
        return;
    }
    // A process of its own: what other tests take must not count.
    let this = std::env::current_exe().expect("this binary has a path");
    let name = "router::index::memory::insert_ten_million";
    let output = Command::new(this).args([name, "--exact", "--ignored", "--nocapture"]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let line = said.lines().find_map(|line| line.find("grown ").map(|at| &line[at..])).expect("it says how much");
    let words: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [grown, most, pieces, evicted] = words[..] else { panic!("{line}") };
    // What the allocator keeps beside what it was asked for is little.
    assert!(grown <= LIMIT + LIMIT / 10, "the process grew by {grown} bytes, of {LIMIT}");
    // A segment or a list that finds no room to grow makes others go, so a little stays free.
    assert!(most > LIMIT * 17 / 20 && evicted > 5_000_000, "the limit was reached: {most}, {evicted} pieces went");
    assert!(pieces > 500_000, "and {pieces} pieces are still there");
}
