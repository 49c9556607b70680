//! Where nothing moves up, the tiered cache is the worker's cache: the same answers, the same blocks, the same events,
//! whatever is below and however much goes down to it.

use super::super::prompts::{Author, Chance, Cut, Prompt};
use kvcache::{
    Blocks, BreakerConfig, CacheConfig, Choice, Deadline, Done, Duplicates, Eviction, HoldId, HostConfig, Inquiry,
    LoadMode, Looked, RequestId, Span, StoreMode, TierConfig, TieredCache, Time, Tokens, Wanted, WorkerCache,
};

const STEPS: u32 = 1500;
const CHUNK: Tokens = Tokens(12);

/// A request in both caches.
struct Request {
    prompt: Prompt,
    tiered: HoldId,
    alone: HoldId,
    reserved: u32,
}

struct Pair {
    tiered: TieredCache,
    alone: WorkerCache,
    block: u32,
    requests: Vec<Request>,
    known: Vec<Prompt>,
    author: Author,
    chance: Chance,
    now: Time,
    stores: u64,
    evicted: u64,
}

impl Pair {
    fn new(seed: u64, cache: CacheConfig, tiers: Option<TierConfig>) -> Self {
        Self {
            tiered: TieredCache::new(WorkerCache::new(cache), tiers),
            alone: WorkerCache::new(cache),
            block: cache.block.0,
            requests: Vec::new(),
            known: Vec::new(),
            author: Author::new(cache.block.0, Cut::Irregular(20), 150),
            chance: Chance::new(seed),
            now: Time::ZERO,
            stores: 0,
            evicted: 0,
        }
    }

    fn step(&mut self) {
        self.now += Span(7);
        match self.chance.below(10) {
            0 => {
                let prompt = self.author.write(&mut self.chance, &self.known);
                self.known.push(prompt);
            }
            1..5 if !self.known.is_empty() && self.requests.len() < 8 => self.begin(),
            _ if self.requests.is_empty() => {}
            5..8 => self.commit(),
            8 => self.reserve(),
            _ => {
                let place = self.chance.below(self.requests.len() as u32) as usize;
                let Request { tiered, alone, reserved, .. } = self.requests.swap_remove(place);
                self.tiered.release(tiered, Tokens(reserved));
                self.alone.release(alone, Tokens(reserved));
            }
        }
    }

    fn begin(&mut self) {
        let prompt = self.known[self.chance.below(self.known.len() as u32) as usize].clone();
        let (id, chain, asked) = (RequestId(1), prompt.chain(Tokens(self.block)), Tokens(prompt.asked));
        let mut inquiry = Inquiry::New;
        let wanted = Wanted { request: id, chain, prompt: asked, total: asked, others: 0 };
        self.tiered.ask_ahead(wanted, &mut inquiry, self.now);
        let looked = self.tiered.look_up(wanted, &mut inquiry, self.now);
        let Looked::Ready(offer) = looked else { panic!("there is nothing to wait for") };
        let found = self.alone.find(chain, Blocks((prompt.asked - 1) / self.block));
        let tokens = found.blocks().tokens(Tokens(self.block));
        assert_eq!((offer.device(), offer.cached(), offer.loads()), (tokens, tokens, false));
        let upto = self.chance.within(tokens.0, prompt.tokens);
        assert_eq!(self.tiered.has_room(&offer, Tokens(upto)), self.alone.has_room(&found, Tokens(upto)));
        let begun = self.tiered.begin(id, chain, &offer, Tokens(upto), self.now);
        match (begun, self.alone.begin(found, Tokens(upto))) {
            (Ok(tiered), Ok(alone)) => {
                assert_eq!(tiered.load, None, "nothing to load");
                self.requests.push(Request { prompt, tiered: tiered.hold, alone, reserved: upto });
            }
            (tiered, alone) => assert_eq!(tiered.err(), alone.err(), "no room"),
        }
    }

    fn commit(&mut self) {
        let place = self.chance.below(self.requests.len() as u32) as usize;
        let Request { prompt, tiered, alone, reserved } = &self.requests[place];
        let (chain, asked) = (prompt.chain(Tokens(self.block)), Tokens(prompt.asked));
        if self.chance.percent(30) {
            self.tiered.store(RequestId(1), *tiered, chain, asked, Tokens(*reserved), self.now);
        }
        self.tiered.commit(RequestId(1), *tiered, chain, asked, Tokens(*reserved), self.now);
        self.alone.commit(*alone, chain, Tokens(*reserved));
        // What goes down goes slowly: some stores are always under way.
        while let Some(op) = self.tiered.poll_op() {
            self.stores += 1;
            if self.chance.percent(70) {
                self.tiered.op_done(op.id, Ok(Done::Copied), self.now);
            }
        }
    }

    fn reserve(&mut self) {
        let place = self.chance.below(self.requests.len() as u32) as usize;
        let request = &mut self.requests[place];
        let upto = self.chance.within(request.reserved, request.prompt.tokens.max(request.reserved));
        let needed = Blocks(upto.div_ceil(self.block) - request.reserved.div_ceil(self.block));
        let reserved = self.tiered.reserve(needed);
        assert_eq!(reserved, self.alone.reserve(needed));
        if reserved.is_ok() {
            request.reserved = upto;
        }
    }

    fn compare(&mut self) {
        assert_eq!(self.tiered.usage(), self.alone.usage());
        assert_eq!(self.tiered.available(), self.alone.available());
        assert_eq!(self.tiered.device().evicted(), self.alone.evicted());
        assert_eq!((self.tiered.kept_for_loads(), self.tiered.deadline()), (Blocks::ZERO, None));
        for Request { tiered, alone, reserved, .. } in &self.requests {
            let private = self.alone.private_of(*alone, Tokens(*reserved));
            assert_eq!(self.tiered.private_of(*tiered, Tokens(*reserved)), private);
        }
        while let Some(event) = self.alone.poll_event() {
            assert_eq!(self.tiered.poll_event(), Some(event));
        }
        assert_eq!(self.tiered.poll_event(), None);
        self.evicted = self.alone.evicted();
        self.tiered.check();
    }
}

fn tiers(host: Option<u64>, pool: bool) -> TierConfig {
    let host = host.map(|capacity| HostConfig {
        capacity,
        token_bytes: 1,
        chunk: CHUNK,
        eviction: Eviction::Lru,
        watermark: 1000,
        evict: 200,
        seed: 0,
    });
    TierConfig {
        chunk: CHUNK,
        host,
        pool,
        load: LoadMode::Blocking,
        store: StoreMode::Blocking,
        choice: Choice::Always,
        save_unfull_chunk: false,
        save_decode_cache: false,
        min_retrieve: Tokens::ZERO,
        deadline: Deadline::default(),
        breaker: BreakerConfig::default(),
    }
}

/// Gives the operations that came out.
fn check(prefix_caching: bool, tiers: Option<TierConfig>) -> u64 {
    let (mut stores, mut evicted) = (0, 0);
    for seed in 0..6 {
        let duplicates = if seed % 2 == 0 { Duplicates::Keep } else { Duplicates::Merge };
        let capacity = Blocks(45 + 25 * (seed as u32 / 2));
        let cache = CacheConfig { capacity, block: Tokens(4), prefix_caching, duplicates, events: true };
        let mut pair = Pair::new(seed, cache, tiers);
        for _ in 0..STEPS {
            pair.step();
            pair.compare();
        }
        stores += pair.stores;
        evicted += pair.evicted;
    }
    assert!(evicted > 500 || !prefix_caching, "too little happens: {evicted} blocks evicted");
    stores
}

#[test]
fn without_tiers() {
    assert_eq!(check(true, None), 0);
}

#[test]
fn with_tiers_that_are_not_there() {
    assert_eq!(check(true, Some(tiers(None, false))), 0);
}

#[test]
fn with_a_host_tier_that_holds_nothing() {
    assert_eq!(check(true, Some(tiers(Some(11), false))), 0);
}

#[test]
fn without_prefix_caching_tiers_do_nothing() {
    assert_eq!(check(false, Some(tiers(Some(10_000), true))), 0);
}

#[test]
fn with_tiers_that_are_written_and_not_read() {
    let never = TierConfig { choice: Choice::Never, save_decode_cache: true, ..tiers(Some(700), true) };
    let stores = check(true, Some(never));
    assert!(stores > 500, "too little is stored: {stores}");
}

#[test]
fn with_loads_that_are_never_worth_it() {
    let never = TierConfig { min_retrieve: Tokens(10_000), ..tiers(Some(700), false) };
    assert!(check(true, Some(never)) > 300, "too little is stored");
}
