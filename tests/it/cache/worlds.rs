//! Random histories. After every step, cache, model and mirror must agree on everything that can be asked.
//!
//! A failure names the world and the step; `worlds` with that one world runs it again.

use super::histories::{self, History, Seen, learn, rounds};
use super::mirror::Mirror;
use super::model::{Held, Model};
use super::prompts::{Author, Chance, Cut, Prompt};
use kvcache::{Blocks, CacheConfig, Chain, Duplicates, HoldId, NoRoom, Tokens, WorkerCache};
use std::collections::BTreeMap;

const STEPS: u32 = 1500;
const PROMPTS: usize = 12;

struct Request {
    prompt: Prompt,
    hold: HoldId,
    held: Held,
    reserved: u32,
    computed: u32,
    grows: bool, // the cache is shown the reply only as far as it is computed
}

struct World {
    config: CacheConfig,
    cache: WorkerCache,
    model: Model,
    mirror: Mirror,
    author: Author,
    known: Vec<Prompt>,
    requests: Vec<Request>,
    chance: Chance,
    seen: Seen,
}

impl World {
    fn new(seed: u64, config: CacheConfig, cut: Cut, longest: u32) -> Self {
        Self {
            config,
            cache: WorkerCache::new(config),
            model: Model::new(config),
            mirror: Mirror::new(config.block),
            author: Author::new(config.block.0, cut, longest),
            known: Vec::new(),
            requests: Vec::new(),
            chance: Chance::new(seed),
            seen: Seen::default(),
        }
    }

    /// A prompt that nobody sent before; one that was known may be forgotten.
    fn learn(&mut self) -> &'static str {
        let prompt = self.author.write(&mut self.chance, &self.known);
        learn(&mut self.known, prompt, PROMPTS, &mut self.chance);
        "learn"
    }

    fn begin(&mut self) -> &'static str {
        if self.known.is_empty() || self.requests.len() == 12 {
            return "begin nothing";
        }
        // Half of the time one of three favourites, so that equal prompts meet in flight.
        let among = if self.chance.percent(50) { self.known.len().min(3) } else { self.known.len() };
        let prompt = self.known[self.chance.below(among as u32) as usize].clone();
        // The last prompt token is always computed again, so a hit never covers it; other limits must work, too.
        let limit = match self.chance.below(10) {
            0 => self.chance.below(prompt.asked / self.config.block.0 + 1),
            1 => u32::MAX,
            _ => (prompt.asked - 1) / self.config.block.0,
        };
        let found = self.cache.find(prompt.chain(self.config.block), Blocks(limit));
        let hits = self.model.find(&prompt.names, limit);
        assert_eq!(found.blocks().0, hits, "hits of a new request");
        let start = hits * self.config.block.0;
        let most = prompt.tokens.max(start);
        let upto = if self.chance.percent(50) { prompt.asked.max(start) } else { self.chance.within(start, most) };
        let (needed, available) = self.model.wants(&prompt.names, hits, self.blocks(upto));
        assert_eq!(self.cache.has_room(&found, Tokens(upto)), needed <= available, "room for a new request");
        self.seen.when("refused", needed > available);
        match self.cache.begin(found, Tokens(upto)) {
            Err(refused) => {
                let expected = NoRoom { needed: Blocks(needed), available: Blocks(available) };
                assert!(needed > available, "refused in spite of room");
                assert_eq!(refused, expected);
            }
            Ok(hold) => {
                assert!(needed <= available, "begun without room");
                let held = self.model.begin(&prompt.names, hits, self.blocks(upto));
                let grows = self.chance.percent(30);
                self.seen.saw("begun", 1);
                self.seen.saw("blocks hit", u64::from(hits));
                self.requests.push(Request { prompt, hold, held, reserved: upto, computed: start, grows });
            }
        }
        "begin"
    }

    fn blocks(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.config.block.0)
    }

    fn pick(&mut self) -> Option<usize> {
        let count = self.requests.len() as u32;
        (count > 0).then(|| self.chance.below(count) as usize)
    }

    fn reserve(&mut self) -> &'static str {
        let Some(index) = self.pick() else { return "reserve nothing" };
        let (before, most) = (self.requests[index].reserved, self.requests[index].prompt.tokens);
        let upto = self.chance.within(before.min(most), most).max(before);
        let needed = self.blocks(upto) - self.blocks(before);
        let available = self.model.available();
        let result = self.cache.reserve(Blocks(needed));
        if needed > available {
            assert_eq!(result, Err(NoRoom { needed: Blocks(needed), available: Blocks(available) }));
        } else {
            assert_eq!(result, Ok(()));
            self.model.take(&mut self.requests[index].held, needed);
            self.requests[index].reserved = upto;
        }
        "reserve"
    }

    fn commit(&mut self) -> &'static str {
        let Some(index) = self.pick() else { return "commit nothing" };
        let whole = self.chance.percent(40);
        let request = &mut self.requests[index];
        let most = request.reserved;
        let computed = if whole { most } else { self.chance.within(request.computed, most) };
        if computed == 0 {
            return "commit nothing";
        }
        let pieces = if request.grows { request.prompt.pieces_upto(computed) } else { request.prompt.pieces.clone() };
        self.cache.commit(request.hold, Chain::new(&pieces, self.config.block), Tokens(computed));
        let copies = self.model.commit(&mut request.held, &request.prompt.names, computed / self.config.block.0);
        self.seen.saw("copies", copies);
        request.computed = computed;
        "commit"
    }

    /// Finished, or preempted with blocks that were never committed: the cache cannot tell.
    fn release(&mut self) -> &'static str {
        let Some(index) = self.pick() else { return "release nothing" };
        let request = self.requests.swap_remove(index);
        self.seen.when("released unfinished", request.computed < request.reserved);
        self.cache.release(request.hold, Tokens(request.reserved));
        self.model.release(&request.held);
        "release"
    }

    fn restart(&mut self) -> &'static str {
        while !self.requests.is_empty() {
            self.release();
        }
        self.seen.saw("blocks evicted", self.model.evicted);
        self.cache.restart();
        self.model.restart();
        "restart"
    }

    /// The mirror knows exactly what is resident: no piece more, no block less.
    fn compare_mirror(&self) {
        let mut upto = BTreeMap::new();
        for (name, (piece, end)) in &self.author.ends {
            if self.model.is_resident(*name) {
                let known = upto.entry(*piece).or_insert(*end);
                *known = (*known).max(*end);
            }
        }
        assert_eq!(self.mirror.upto, upto, "the mirror's whole knowledge");
    }
}

impl History for World {
    fn step(&mut self) -> &'static str {
        match self.chance.below(1000) {
            0 => self.restart(),
            1..150 => self.learn(),
            150..450 => self.begin(),
            450..550 => self.reserve(),
            550..850 => self.commit(),
            _ => self.release(),
        }
    }

    fn compare(&mut self, step: u32) {
        let mut private = 0;
        for request in &self.requests {
            let counted = self.cache.private_of(request.hold, Tokens(request.reserved));
            assert_eq!(counted.0, request.held.private, "private blocks of a request");
            private += counted.0;
        }
        let usage = self.cache.usage();
        assert_eq!(usage, self.model.usage(private), "where the blocks are");
        let all = usage.free + usage.private + usage.held + usage.idle;
        assert_eq!(all, self.config.capacity, "blocks are neither made nor lost");
        assert_eq!(self.cache.available().0, self.model.available());
        assert_eq!(self.cache.evicted(), self.model.evicted);
        self.cache.check();
        while let Some(event) = self.cache.poll_event() {
            assert!(self.config.events, "nobody asked for events");
            self.mirror.apply(event, &self.author.parents);
        }
        for prompt in &self.known {
            let whole = prompt.names.len() as u32;
            let resident = self.model.find(&prompt.names, whole);
            let found = self.cache.find(prompt.chain(self.config.block), Blocks(whole));
            assert_eq!(found.blocks().0, resident, "resident blocks of a known prompt");
            if self.config.events {
                assert_eq!(self.mirror.find(&prompt.pieces, self.config.block.0), resident, "what the mirror knows");
            }
        }
        if step.is_multiple_of(64) && self.config.events {
            self.compare_mirror();
        }
    }
}

fn live(seed: u64, config: CacheConfig, cut: Cut, longest: u32) -> Seen {
    let mut world = World::new(seed, config, cut, longest);
    histories::live((seed, config, cut), STEPS, &mut world);
    world.seen.saw("blocks evicted", world.model.evicted);
    world.seen
}

/// The histories of one block size: pieces even and irregular, caches from hardly enough for one request to plenty,
/// copies kept and merged, and a few without prefix caching or without events.
fn worlds(block: u32, longest: u32, cuts: [Cut; 3]) {
    let one = (longest + 120).div_ceil(block); // the longest request with its reply
    for round in 0..rounds() {
        let mut seed = 1_000_000 * u64::from(block) + 1000 * round;
        let mut all = Seen::default();
        for cut in cuts {
            for capacity in [one + 1, 3 * one / 2, 3 * one, 10 * one] {
                for duplicates in [Duplicates::Keep, Duplicates::Merge] {
                    let config = CacheConfig {
                        capacity: Blocks(capacity),
                        block: Tokens(block),
                        prefix_caching: true,
                        duplicates,
                        events: true,
                    };
                    seed += 1;
                    all.add(&live(seed, config, cut, longest));
                    if capacity == 3 * one {
                        live(seed, CacheConfig { events: false, ..config }, cut, longest);
                        live(seed, CacheConfig { prefix_caching: false, ..config }, cut, longest);
                    }
                }
            }
        }
        all.check(6, 1000);
    }
}

#[test]
fn agrees_with_the_model_in_blocks_of_16() {
    worlds(16, 2600, [Cut::Even(512), Cut::Even(16), Cut::Irregular(700)]);
}

#[test]
fn agrees_with_the_model_in_blocks_of_1() {
    worlds(1, 150, [Cut::Even(16), Cut::Even(1), Cut::Irregular(40)]);
}

#[test]
fn agrees_with_the_model_in_blocks_of_7() {
    worlds(7, 700, [Cut::Even(16), Cut::Even(7), Cut::Irregular(100)]);
}

#[test]
fn agrees_with_the_model_in_blocks_of_32() {
    worlds(32, 2000, [Cut::Even(512), Cut::Even(16), Cut::Irregular(700)]);
}
