//! Random histories. After every step, cache and model must agree on everything that can be asked.

use super::super::histories::{self, History, Seen, learn, rounds};
use super::super::prompts::{Author, Chance, Cut, Prompt};
use super::model::{Holding, Model, Object};
use kvcache::{Blocks, Chain, Eviction, HostCache, HostConfig, HostPin, HostWrite, Tokens};

const STEPS: u32 = 900;
const PROMPTS: usize = 12;

#[derive(Clone, Copy, Debug)]
struct Setting {
    seed: u64,
    config: HostConfig,
    cut: Cut,
    longest: u32,
    tails: bool,
}

enum Theirs {
    Pin(HostPin),
    Write(HostWrite),
}

struct World {
    setting: Setting,
    cache: HostCache,
    model: Model,
    author: Author,
    chance: Chance,
    known: Vec<Prompt>,
    held: Vec<(Theirs, Holding, bool)>,
    seen: Seen,
}

impl World {
    fn new(setting: Setting) -> Self {
        Self {
            setting,
            cache: HostCache::new(setting.config),
            model: Model::new(setting.config),
            author: Author::new(setting.config.chunk.0, setting.cut, setting.longest),
            chance: Chance::new(setting.seed),
            known: Vec::new(),
            held: Vec::new(),
            seen: Seen::default(),
        }
    }

    fn learn(&mut self) -> &'static str {
        let prompt = self.author.write(&mut self.chance, &self.known);
        learn(&mut self.known, prompt, PROMPTS, &mut self.chance);
        "learn"
    }

    fn chain<'a>(&self, prompt: &'a Prompt) -> Chain<'a> {
        prompt.chain(self.setting.config.chunk).with_tail(self.setting.tails)
    }

    fn objects(&self, prompt: &Prompt) -> Vec<Object> {
        let chunk = u64::from(self.setting.config.chunk.0);
        let full = prompt.names.iter().map(|name| (*name, chunk));
        let tail = prompt.tail.filter(|_| self.setting.tails).map(|name| (name, u64::from(prompt.tokens) % chunk));
        full.chain(tail).collect()
    }

    /// A known prompt, and a range of it: mostly from its start or to its end.
    fn pick(&mut self) -> Option<(Prompt, Vec<Object>, usize, usize)> {
        if self.known.is_empty() || self.held.len() == 10 {
            return None;
        }
        let among = if self.chance.percent(40) { self.known.len().min(3) } else { self.known.len() };
        let prompt = self.known[self.chance.below(among as u32) as usize].clone();
        let objects = self.objects(&prompt);
        let most = objects.len() as u32;
        let from = if self.chance.percent(50) { 0 } else { self.chance.within(0, most) };
        let to = if self.chance.percent(60) { most } else { self.chance.within(from, most) };
        Some((prompt, objects, from as usize, to as usize))
    }

    fn pin(&mut self) -> &'static str {
        let Some((prompt, objects, from, to)) = self.pick() else { return "pin nothing" };
        let chain = self.chain(&prompt);
        let end = self.cache.find(chain, blocks(from), blocks(to));
        assert_eq!(end, blocks(self.model.find(&objects, from, to)), "where the found objects end");
        let pin = Theirs::Pin(self.cache.pin(chain, blocks(from), end));
        let end = end.0 as usize;
        self.held.push((pin, self.model.pin(&objects, from, end), false));
        self.seen.saw("objects hit", (end - from) as u64);
        self.seen.when("pin without the head", end > from && self.model.find(&objects, 0, end) < from);
        if self.setting.config.chunk > Tokens(1) {
            self.seen.when("pin with a tail", end > prompt.names.len());
        }
        "pin"
    }

    fn reserve(&mut self) -> &'static str {
        let Some((prompt, objects, from, to)) = self.pick() else { return "reserve nothing" };
        let write = self.cache.reserve(self.chain(&prompt), blocks(from), blocks(to));
        let holding = self.model.reserve(&objects, from, to);
        assert_eq!(
            (write.end(), u64::from(write.new_tokens().0)),
            (blocks(holding.end), holding.new),
            "end, new tokens"
        );
        self.seen.when("something to write", holding.new > 0);
        self.seen.when("cut short for want of room", holding.end < to);
        self.held.push((Theirs::Write(write), holding, false));
        "reserve"
    }

    fn give_back(&mut self) -> &'static str {
        if self.held.is_empty() {
            return "give back nothing";
        }
        let index = self.chance.below(self.held.len() as u32) as usize;
        let (theirs, holding, orphan) = self.held.swap_remove(index);
        self.seen.when("given back after a restart", orphan);
        match theirs {
            Theirs::Pin(pin) => {
                self.cache.unpin(pin);
                self.model.give_back(&holding, 0);
                "unpin"
            }
            Theirs::Write(write) => {
                let upto = match self.chance.below(10) {
                    0 | 1 => 0,
                    2 | 3 => self.chance.within(0, holding.end as u32) as usize,
                    4 => usize::MAX >> 33,
                    _ => holding.end,
                };
                self.seen.when("not published", upto == 0 && holding.new > 0);
                self.seen.when("published in part", upto > 0 && upto < holding.end && holding.new > 0);
                self.cache.publish(write, blocks(upto));
                self.model.give_back(&holding, upto);
                "publish"
            }
        }
    }

    fn clear(&mut self) -> &'static str {
        self.cache.clear();
        self.model.clear();
        self.held.iter_mut().for_each(|(_, _, orphan)| *orphan = true);
        "clear"
    }
}

fn blocks(count: usize) -> Blocks {
    Blocks(count as u32)
}

impl History for World {
    fn step(&mut self) -> &'static str {
        match self.chance.below(1000) {
            0..3 => self.clear(),
            3..150 => self.learn(),
            150..400 => self.pin(),
            400..650 => self.reserve(),
            _ => self.give_back(),
        }
    }

    fn compare(&mut self, _: u32) {
        self.cache.check();
        assert_eq!(self.cache.usage(), self.model.usage(), "what is where");
        assert_eq!(self.cache.evicted(), self.model.evicted, "evicted tokens");
        assert_eq!(self.cache.skipped(), self.model.skipped, "skipped tokens");
        for prompt in &self.known {
            let (objects, chain) = (self.objects(prompt), self.chain(prompt));
            assert_eq!(chain.objects(), blocks(objects.len()), "objects of a prompt");
            // All that is ready, not only a prefix.
            let mut at = 0;
            while at < objects.len() {
                let end = self.model.find(&objects, at, objects.len());
                assert_eq!(self.cache.find(chain, blocks(at), Blocks(u32::MAX)), blocks(end), "ready from {at} on");
                at = end + 1;
            }
        }
    }
}

fn live(setting: Setting) -> Seen {
    let mut world = World::new(setting);
    histories::live(setting, STEPS, &mut world);
    world.seen.saw("tokens evicted", world.model.evicted);
    world.seen
}

/// Chunks of one size: pieces even and irregular, from hardly enough for one prompt to plenty, with and without partial
/// tails, eviction on demand and in the background.
fn worlds(eviction: Eviction, chunk: u32, longest: u32, cuts: [Cut; 2]) {
    for round in 0..rounds() {
        let mut seed = 1_000_000 * u64::from(chunk) + 1000 * round;
        let mut all = Seen::default();
        for cut in cuts {
            for percent in [70_u64, 130, 300, 1000] {
                for (tails, watermark) in [(false, 1000), (true, 1000), (true, 800)] {
                    let config = HostConfig {
                        capacity: u64::from(longest) * percent / 100 * 3 + 2,
                        token_bytes: 3,
                        chunk: Tokens(chunk),
                        eviction,
                        watermark,
                        evict: 200,
                        seed: 0,
                    };
                    seed += 1;
                    all.add(&live(Setting { seed, config, cut, longest, tails }));
                }
            }
        }
        all.check(if chunk > 1 { 9 } else { 8 }, 50);
    }
}

#[test]
fn lru_agrees_with_the_model_in_chunks_of_16() {
    worlds(Eviction::Lru, 16, 700, [Cut::Even(64), Cut::Irregular(200)]);
}

#[test]
fn lru_agrees_with_the_model_in_chunks_of_1() {
    worlds(Eviction::Lru, 1, 150, [Cut::Even(16), Cut::Irregular(40)]);
}

#[test]
fn lru_agrees_with_the_model_in_chunks_of_7() {
    worlds(Eviction::Lru, 7, 300, [Cut::Even(7), Cut::Irregular(100)]);
}

#[test]
fn fifo_agrees_with_the_model_in_chunks_of_16() {
    worlds(Eviction::Fifo, 16, 700, [Cut::Even(64), Cut::Irregular(200)]);
}

#[test]
fn fifo_agrees_with_the_model_in_chunks_of_2() {
    worlds(Eviction::Fifo, 2, 250, [Cut::Even(16), Cut::Irregular(40)]);
}
