//! Random histories. After every step, cache and model must agree on everything that can be asked, and every operation
//! that comes out must be the one expected.
//!
//! A failure names the setting and the step.

use super::super::histories::{self, History, Seen, learn, rounds};
use super::super::host::model::Object;
use super::super::mirror::Mirror;
use super::super::model::Names;
use super::super::prompts::{Author, Chance, Prompt};
use super::model::{Ask, Model, Seat, tokens_of};
use super::settings::Setting;
use kvcache::{Blocks, Chain, HoldId, Inquiry, Op, OpId, RequestId, Span, TieredCache, Time, Tokens, WorkerCache};
use std::collections::BTreeSet;
use std::rc::Rc;

const STEPS: u32 = 1200;
const WORLDS: u64 = 480;
const PROMPTS: usize = 16;
const REQUESTS: usize = 10;

/// A prompt with its reply, and the objects that lower tiers know it by.
pub(super) struct Known {
    pub(super) prompt: Prompt,
    pub(super) objects: Vec<Object>,
}

/// What a request waits for, with its blocks in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    Nothing,
    ToStart(OpId),
    ForLoad(OpId),
    /// For its pass to end, which has stored something already.
    ToCommit,
}

pub(super) struct Holds {
    pub(super) hold: HoldId,
    pub(super) seat: Seat,
    pub(super) reserved: u32,
    pub(super) computed: u32,
    /// What was stored before the pass ended.
    pub(super) stored: u32,
    pub(super) waits: Waits,
}

impl Holds {
    pub(super) fn waits_for_a_load(&self) -> bool {
        matches!(self.waits, Waits::ToStart(_) | Waits::ForLoad(_))
    }
}

pub(super) struct Request {
    pub(super) id: RequestId,
    pub(super) known: Rc<Known>,
    pub(super) inquiry: Inquiry,
    /// As the model has it.
    pub(super) expected: Inquiry,
    /// Tokens to have: the prompt, and after a preemption what was emitted.
    pub(super) total: u32,
    /// Requests that wait besides, as it is looked up next.
    pub(super) others: u32,
    /// The cache is shown the reply only as far as it is computed.
    pub(super) grows: bool,
    pub(super) holds: Option<Holds>,
}

impl Request {
    pub(super) fn ask<'a>(&self, known: &'a Known) -> Ask<'a> {
        let Known { prompt, objects } = known;
        Ask {
            request: self.id,
            names: &prompt.names,
            objects,
            prompt: prompt.asked,
            total: self.total,
            others: self.others,
        }
    }
}

pub(super) struct World {
    pub(super) setting: Setting,
    pub(super) cache: TieredCache,
    pub(super) model: Model,
    mirror: Mirror,
    author: Author,
    chunks: Names,
    pub(super) known: Vec<Rc<Known>>,
    pub(super) requests: Vec<Request>,
    pub(super) pending: Vec<Op>,
    pub(super) past: Vec<OpId>,
    pub(super) now: Time,
    pub(super) arrivals: u64,
    pub(super) chance: Chance,
    pub(super) seen: Seen,
    open: bool,
    /// Everybody is to go.
    pub(super) ending: bool,
}

impl World {
    fn new(setting: Setting) -> Self {
        Self {
            setting,
            cache: TieredCache::new(WorkerCache::new(setting.cache), setting.tiers),
            model: Model::new(setting.cache, setting.tiers),
            mirror: Mirror::new(setting.cache.block),
            author: Author::new(setting.cache.block.0, setting.cut, setting.longest),
            chunks: Names::default(),
            known: Vec::new(),
            requests: Vec::new(),
            pending: Vec::new(),
            past: Vec::new(),
            now: Time::ZERO,
            arrivals: 0,
            chance: Chance::new(setting.seed),
            seen: Seen::default(),
            open: false,
            ending: false,
        }
    }

    /// A prompt that nobody sent before; one that was known may be forgotten.
    fn learn(&mut self) -> &'static str {
        let known: Vec<Prompt> = self.known.iter().map(|known| known.prompt.clone()).collect();
        let prompt = self.author.write(&mut self.chance, &known);
        let known = Rc::new(Known { objects: self.objects_of(&prompt), prompt });
        let (prompt, block) = (&known.prompt, self.setting.cache.block);
        let objects = self.cache.objects(prompt.chain(block), Tokens(prompt.asked));
        if self.cache.tiers().is_some() {
            let (count, tokens) = (known.objects.len(), tokens_of(&known.objects, known.objects.len()));
            assert_eq!(objects.objects(), Blocks(count as u32), "objects of a prompt");
            assert_eq!(objects.tokens_before(objects.objects()), Tokens(tokens), "tokens of its objects");
        }
        learn(&mut self.known, known, PROMPTS, &mut self.chance);
        "learn"
    }

    /// Full chunks of all there is, or full chunks of the prompt alone and its tail.
    fn objects_of(&mut self, prompt: &Prompt) -> Vec<Object> {
        let Some(tiers) = self.setting.tiers else { return Vec::new() };
        let mut tokens = prompt.literal();
        let chunk = tiers.chunk.0 as usize;
        let tails = tiers.save_unfull_chunk && !tiers.save_decode_cache;
        if tails {
            tokens.truncate(prompt.asked as usize);
        }
        let names = self.chunks.of(&tokens, chunk);
        let rest = tokens.chunks_exact(chunk).remainder();
        let tail = (tails && !rest.is_empty()).then(|| (self.chunks.of_tail(names.last().copied(), rest), rest.len()));
        let tail = tail.map(|(name, tokens)| (name, tokens as u64));
        names.into_iter().map(|name| (name, chunk as u64)).chain(tail).collect()
    }

    fn arrive(&mut self) -> &'static str {
        if self.known.is_empty() || self.requests.len() == REQUESTS {
            return "arrive nobody";
        }
        // Often one of two favourites, so that equal prompts meet in flight.
        let among = if self.chance.percent(35) { self.known.len().min(2) } else { self.known.len() };
        let known = Rc::clone(&self.known[self.chance.below(among as u32) as usize]);
        self.arrivals += 1;
        let (total, grows) = (known.prompt.asked, self.chance.percent(30));
        let new = Inquiry::New;
        let id = RequestId(self.arrivals);
        let others = self.chance.below(3);
        self.requests.push(Request { id, known, inquiry: new, expected: new, total, others, grows, holds: None });
        if self.chance.percent(40) {
            self.ask_ahead(self.requests.len() - 1);
        }
        "arrive"
    }

    /// Time passes, and mostly somebody looks whether that was too long for a load.
    fn wait(&mut self) -> &'static str {
        let longest = if self.chance.percent(3) { 20_000 } else { 80 };
        self.now += Span(u64::from(self.chance.below(longest)));
        if self.chance.percent(85) {
            self.give_up_late_loads();
        }
        "wait"
    }

    fn compare_device(&mut self) {
        let mut private = self.model.kept();
        assert_eq!(self.cache.kept_for_loads(), Blocks(private), "blocks kept for loads");
        for holds in self.requests.iter().filter_map(|request| request.holds.as_ref()) {
            let counted = self.cache.private_of(holds.hold, Tokens(holds.reserved));
            assert_eq!(counted, Blocks(holds.seat.held.private), "private blocks of a request");
            private += counted.0;
        }
        let usage = self.cache.usage();
        assert_eq!(usage, self.model.device.usage(private), "where the blocks are");
        let all = usage.free + usage.private + usage.held + usage.idle;
        assert_eq!(all, self.setting.cache.capacity, "blocks are neither made nor lost");
        assert_eq!(self.cache.available().0, self.model.device.available());
        assert_eq!(self.cache.device().evicted(), self.model.device.evicted);
        while let Some(event) = self.cache.poll_event() {
            self.mirror.apply(event, &self.author.parents);
        }
        for known in &self.known {
            let prompt = &known.prompt;
            let whole = prompt.names.len() as u32;
            let resident = self.model.device.find(&prompt.names, whole);
            let found = self.cache.device().find(prompt.chain(self.setting.cache.block), Blocks(whole));
            assert_eq!(found.blocks().0, resident, "resident blocks of a known prompt");
            let mirrored = self.mirror.find(&prompt.pieces, self.setting.cache.block.0);
            assert_eq!(mirrored, resident, "what the mirror knows");
        }
    }

    fn compare_host(&self) {
        let (Some(host), Some(model)) = (self.cache.host(), &self.model.host) else {
            assert!(self.cache.host().is_none() && self.model.host.is_none(), "whether there is an L1");
            return;
        };
        assert_eq!(host.usage(), model.usage(), "what is in L1");
        assert_eq!((host.evicted(), host.skipped()), (model.evicted, model.skipped), "tokens evicted, skipped");
        for known in &self.known {
            let Known { prompt, objects } = &**known;
            let chain = self.cache.objects(prompt.chain(self.setting.cache.block), Tokens(prompt.asked));
            let mut at = 0;
            while at < objects.len() {
                let end = model.find(objects, at, objects.len());
                let found = host.find(chain, Blocks(at as u32), Blocks(u32::MAX));
                assert_eq!(found, Blocks(end as u32), "objects in L1 from {at} on");
                at = end + 1;
            }
        }
    }

    fn compare_waiting(&mut self) {
        assert_eq!(self.cache.counts(), self.model.counts, "what the tiers have done");
        assert_eq!(self.cache.deadline(), self.model.deadline(), "the next deadline");
        assert_eq!(self.cache.copying(), self.model.copying(), "copies under way");
        let planned = self.requests.iter().filter_map(|request| request.holds.as_ref()?.seat.load);
        for op in self.pending.iter().map(|op| op.id).chain(planned.map(OpId)) {
            let found = (self.cache.deadline_of(op), self.cache.needs_pool(op));
            assert_eq!(found, self.model.load(op), "deadline of a load, and whether it needs L2");
        }
        for request in &self.requests {
            assert_eq!(request.inquiry, request.expected, "what a request knows of the pool");
        }
        let mut names = BTreeSet::new();
        assert!(self.model.under_way().all(|name| names.insert(name)), "an object is loaded once");
        let open = !self.model.is_closed();
        self.seen.when("breaker opened", open && !self.open);
        self.seen.when("breaker closed", !open && self.open);
        self.open = open;
    }

    /// Everything ends, and nothing is left.
    fn end(&mut self) {
        self.ending = true;
        while !self.requests.is_empty() {
            self.release();
        }
        self.compare(STEPS);
        while !self.pending.is_empty() {
            self.answer();
            self.compare(STEPS);
        }
        assert!(self.model.is_idle(), "nothing moves");
        let usage = self.cache.usage();
        assert_eq!((usage.private, usage.held), (Blocks::ZERO, Blocks::ZERO), "nobody holds blocks");
        let pinned = self.cache.host().map_or((0, 0), |host| (host.usage().pinned, host.usage().pending));
        assert_eq!(pinned, (0, 0), "nobody holds objects");
        self.seen.saw("blocks evicted", self.model.device.evicted);
        self.seen.saw("tokens evicted from L1", self.model.host.as_ref().map_or(0, |host| host.evicted));
        self.seen.saw("tokens without room in L1", self.model.host.as_ref().map_or(0, |host| host.skipped));
        self.seen.saw("tokens that fell short", self.model.counts.fell_short);
    }

    pub(super) fn chain_of<'a>(&self, pieces: &'a [kvcache::Piece]) -> Chain<'a> {
        Chain::new(pieces, self.setting.cache.block)
    }
}

impl History for World {
    fn step(&mut self) -> &'static str {
        match self.chance.below(100) {
            0..3 => self.learn(),
            3..16 => self.arrive(),
            16..36 => self.look(),
            36 => self.reserve(),
            37..43 => self.flood(),
            43..60 => self.advance(),
            60..79 => self.answer(),
            79..91 => self.release(),
            91 if self.chance.percent(25) => self.restart(),
            _ => self.wait(),
        }
    }

    fn compare(&mut self, _: u32) {
        let mut ops = Vec::new();
        while let Some(op) = self.cache.poll_op() {
            ops.push(op);
        }
        assert_eq!(ops, core::mem::take(&mut self.model.ops), "what is to be done");
        self.pending.extend(ops);
        self.compare_device();
        self.compare_host();
        self.compare_waiting();
        self.cache.check();
    }
}

fn live(setting: Setting) -> Seen {
    let mut world = World::new(setting);
    let _place = histories::live(setting, STEPS, &mut world);
    world.end();
    world.seen
}

fn worlds(first: u64) {
    for round in 0..rounds() {
        let mut all = Seen::default();
        for seed in first..first + WORLDS {
            all.add(&live(Setting::numbered(1000 * round + seed)));
        }
        all.check(75, 20);
    }
}

#[test]
fn agrees_with_the_model() {
    worlds(0);
}

#[test]
fn agrees_with_the_model_elsewhere() {
    worlds(WORLDS);
}
