//! The cache against the book where every prompt is one object; laws where prompts are many.

use super::super::model::Name;
use super::super::prompts::{Author, Chance, Cut, Prompt};
use super::textbook::{Arc, Book, Key, Lfu, S3Fifo};
use kvcache::{Blocks, Chain, ChainBuilder, Eviction, HostCache, HostConfig, HostPin, HostWrite, Piece, Time, Tokens};
use std::collections::BTreeSet;
use std::str::FromStr;

const CHUNK: Tokens = Tokens(256);
const KEYS: u64 = 150;

fn config(eviction: Eviction, objects: u64, seed: u64) -> HostConfig {
    let capacity = objects * u64::from(CHUNK.0);
    HostConfig { capacity, token_bytes: 1, chunk: CHUNK, eviction, watermark: 1000, evict: 200, seed }
}

fn pieces(key: Key) -> Vec<Piece> {
    let mut builder = ChainBuilder::new();
    builder.push(key, CHUNK);
    builder.pieces().to_vec()
}

/// Phases of favourites that move, and scans over everything: hits in every queue and every list of ghosts.
fn trace(seed: u64, length: usize) -> Vec<Key> {
    let mut chance = Chance::new(seed);
    let mut keys = Vec::with_capacity(length);
    let mut favourites = 0;
    while keys.len() < length {
        match chance.below(100) {
            0 => favourites = chance.below(KEYS as u32),
            1 | 2 => {
                let (from, count) = (chance.below(KEYS as u32), chance.within(5, 60));
                keys.extend((from..from + count).map(|key| u64::from(key) % KEYS));
            }
            3..60 => {
                let (a, b) = (chance.below(40), chance.below(40));
                keys.push(u64::from(favourites + a.min(b)) % KEYS);
            }
            _ => keys.push(u64::from(chance.below(KEYS as u32))),
        }
    }
    keys
}

/// Both live through a trace; they have the same objects after each request.
fn compare<B: Book>(
    eviction: Eviction,
    seed: u64,
    objects: usize,
    mut book: B,
    mut at: impl FnMut(&mut B, u64),
) -> u64 {
    let mut cache = HostCache::new(config(eviction, objects as u64, seed));
    let all: Vec<Vec<Piece>> = (0..KEYS).map(pieces).collect();
    let chain = |key: Key| Chain::new(&all[key as usize], CHUNK);
    let mut hits = 0;
    for (step, key) in trace(seed, 6000).into_iter().enumerate() {
        let minute = step as u64 / 20;
        cache.tell(Time(minute * 60_000_000_000_000));
        at(&mut book, minute);
        let hit = book.ask(key);
        hits += u64::from(hit);
        let found = cache.find(chain(key), Blocks(0), Blocks(1));
        assert_eq!(found == Blocks(1), hit, "{eviction}, step {step}: a hit of {key}");
        if hit {
            let pin = cache.pin(chain(key), Blocks(0), Blocks(1));
            cache.unpin(pin);
        } else {
            let write = cache.reserve(chain(key), Blocks(0), Blocks(1));
            cache.publish(write, Blocks(1));
        }
        cache.check();
        for key in 0..KEYS {
            let there = cache.find(chain(key), Blocks(0), Blocks(1)) == Blocks(1);
            assert_eq!(there, book.has(key), "{eviction}, step {step}: whether {key} is there");
        }
    }
    assert!(hits > 500, "{eviction} of {objects}: {hits} hits prove little");
    hits
}

#[test]
fn s3_fifo_is_that_of_the_paper() {
    for (seed, objects) in [(1, 10), (2, 17), (3, 40), (4, 100)] {
        compare(Eviction::S3Fifo, seed, objects, S3Fifo::new(objects), |_, _| ());
    }
}

#[test]
fn arc_is_that_of_the_paper() {
    for (seed, objects) in [(1, 10), (2, 17), (3, 40), (4, 100)] {
        compare(Eviction::Arc, seed, objects, Arc::new(objects, CHUNK.0 as usize), |_, _| ());
    }
}

#[test]
fn lfu_is_that_of_redis() {
    for (seed, objects) in [(1, 12), (2, 17), (3, 40), (4, 100)] {
        compare(Eviction::Lfu, seed, objects, Lfu::new(objects, seed), |book, minute| book.minute = minute);
    }
}

#[test]
fn policies_have_names() {
    for eviction in Eviction::ALL {
        assert_eq!(Eviction::from_str(eviction.as_str()), Ok(eviction));
    }
    assert!(Eviction::from_str("mru").is_err());
    assert_eq!(Eviction::default(), Eviction::Lru);
}

enum Theirs {
    Pin(HostPin),
    Write(HostWrite),
}

struct Holding {
    theirs: Theirs,
    prompt: Prompt,
    from: usize,
    end: usize,
}

/// A history in which only what holds under any policy is asserted.
struct World {
    cache: HostCache,
    author: Author,
    chance: Chance,
    known: Vec<Prompt>,
    held: Vec<Holding>,
    published: BTreeSet<Name>, // at any time
    written: u64,              // tokens published
    now: u64,
}

impl World {
    fn new(config: HostConfig, cut: Cut, longest: u32, seed: u64) -> Self {
        Self {
            cache: HostCache::new(config),
            author: Author::new(config.chunk.0, cut, longest),
            chance: Chance::new(seed),
            known: Vec::new(),
            held: Vec::new(),
            published: BTreeSet::new(),
            written: 0,
            now: 0,
        }
    }

    fn chunk(&self) -> Tokens {
        self.cache.config().chunk
    }

    fn step(&mut self) {
        self.now += 7_000_000_000_000;
        self.cache.tell(Time(self.now));
        match self.chance.below(100) {
            0..15 => {
                let prompt = self.author.write(&mut self.chance, &self.known);
                if self.known.len() == 12 {
                    self.known.remove(0);
                }
                self.known.push(prompt);
            }
            15..60 => self.begin(),
            _ => self.give_back(),
        }
    }

    fn begin(&mut self) {
        if self.known.is_empty() || self.held.len() == 8 {
            return;
        }
        let prompt = self.known[self.chance.below(self.known.len() as u32) as usize].clone();
        let (chain, most) = (prompt.chain(self.chunk()), prompt.names.len() as u32);
        let from = if self.chance.percent(70) { 0 } else { self.chance.within(0, most) };
        let (theirs, end) = if self.chance.percent(50) {
            let end = self.cache.find(chain, Blocks(from), Blocks(most));
            (Theirs::Pin(self.cache.pin(chain, Blocks(from), end)), end.0)
        } else {
            let evicted = self.cache.evicted();
            let write = self.cache.reserve(chain, Blocks(from), Blocks(most));
            let (end, usage) = (write.end().0, self.cache.usage());
            let (used, chunk) = (usage.ready + usage.pending, u64::from(self.chunk().0));
            let evicted = self.cache.evicted() - evicted;
            if end < most {
                // What is there of the range itself makes no room for the rest.
                let beyond = (end..most).filter(|at| self.is_there(&prompt, *at)).count() as u64;
                assert!(usage.ready - usage.pinned <= beyond * chunk, "refused, though something could go");
                assert!(used + chunk > usage.capacity, "refused in spite of room");
            }
            assert!(evicted == 0 || used + chunk > usage.capacity, "no more goes than is needed");
            assert!(evicted <= u64::from(write.new_tokens().0), "no more goes than comes");
            (Theirs::Write(write), end)
        };
        self.held.push(Holding { theirs, prompt, from: from as usize, end: end as usize });
    }

    fn is_there(&self, prompt: &Prompt, at: u32) -> bool {
        self.cache.find(prompt.chain(self.chunk()), Blocks(at), Blocks(at + 1)) > Blocks(at)
    }

    fn give_back(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let index = self.chance.below(self.held.len() as u32) as usize;
        let Holding { theirs, prompt, from, end } = self.held.swap_remove(index);
        let before = self.cache.usage();
        match theirs {
            Theirs::Pin(pin) => self.cache.unpin(pin),
            Theirs::Write(write) => {
                let upto = if self.chance.percent(70) { end } else { self.chance.within(0, end as u32) as usize };
                self.cache.publish(write, Blocks(upto as u32));
                self.published.extend(prompt.names.iter().take(upto.min(end)).skip(from));
            }
        }
        let after = self.cache.usage();
        self.written += after.ready - before.ready;
        assert!(after.ready + after.pending <= before.ready + before.pending, "giving back takes no room");
    }

    fn check(&self) {
        self.cache.check();
        let usage = self.cache.usage();
        assert!(usage.ready + usage.pending <= usage.capacity && usage.pinned <= usage.ready);
        assert_eq!(usage.ready, self.written - self.cache.evicted(), "what was published is there or was evicted");
        for Holding { theirs, prompt, from, end } in &self.held {
            if matches!(theirs, Theirs::Pin(_)) {
                let (from, end) = (Blocks(*from as u32), Blocks(*end as u32));
                assert_eq!(self.cache.find(prompt.chain(self.chunk()), from, end), end, "what is held stays");
            }
        }
        for prompt in &self.known {
            for (at, name) in (0..).zip(&prompt.names) {
                assert!(
                    !self.is_there(prompt, at) || self.published.contains(name),
                    "what nobody published is not there"
                );
            }
        }
    }
}

#[test]
fn laws_hold_under_every_policy() {
    let mut seed = 7000;
    for eviction in Eviction::ALL {
        let (mut evicted, mut written) = (0, 0);
        for (chunk, longest, cut) in [(16, 700, Cut::Even(64)), (1, 200, Cut::Irregular(40))] {
            for percent in [80, 200, 600] {
                seed += 1;
                let capacity = u64::from(longest) * percent / 100;
                let chunk = Tokens(chunk);
                let config = HostConfig { capacity, token_bytes: 1, chunk, eviction, watermark: 1000, evict: 0, seed };
                let mut world = World::new(config, cut, longest, seed);
                for _ in 0..1000 {
                    world.step();
                    world.check();
                }
                evicted += world.cache.evicted();
                written += world.written;
            }
        }
        assert!(evicted > 20_000 && written > 50_000, "{eviction}: only {evicted} of {written} evicted");
    }
}
