//! A stage for short stories. A block holds 4 tokens, an object two blocks: 8 tokens. A letter is a piece of one
//! block; a number after it says another length; what stands behind `|` is the reply: `ab6|c` is a prompt of ten tokens
//! and four tokens of reply.
//!
//! `start x ab` looks x up and begins if it can: `x 0+8` says that nothing is on the device and 8 tokens will be
//! loaded. Operations are told as they come out: `#2 load 0..1..3 8+16` brings object 0 from L1 and objects 1 and 2
//! from L2, 8 and 16 tokens; `#3 store 0..1 8 pool` is new to L1 with 8 tokens and goes to L2. `#2 brought 1 host 3 refused`
//! ends a load: object 0 is on the device, all three are in L1, and the pool refused the rest. `store x 8` is a store of a
//! pass that has not ended, `compute x 8` its end.

use kvcache::{
    Blocks, BreakerConfig, CacheConfig, Chain, ChainBuilder, Choice, Contact, Deadline, Done, Duplicates, Eviction,
    Failed, HoldId, HostConfig, Inquiry, LoadEnd, LoadMode, Looked, OpId, Piece, RequestId, Span, StoreMode, Task,
    TierConfig, TieredCache, Time, Tokens, Wanted, Woken, WorkerCache,
};
use std::collections::BTreeMap;

const BLOCK: Tokens = Tokens(4);

/// 8 blocks of device, 48 tokens of host: six objects.
pub(super) fn tiers() -> TierConfig {
    TierConfig {
        chunk: Tokens(8),
        host: Some(HostConfig {
            capacity: 48,
            token_bytes: 1,
            chunk: Tokens(8),
            eviction: Eviction::Lru,
            watermark: 1000,
            evict: 0,
            seed: 0,
        }),
        pool: false,
        load: LoadMode::Overlapped,
        store: StoreMode::Overlapped,
        choice: Choice::Always,
        save_unfull_chunk: false,
        save_decode_cache: false,
        min_retrieve: Tokens::ZERO,
        deadline: Deadline { base: Span::from_secs(1), per_1k: Span::ZERO },
        breaker: BreakerConfig { failures: 2, ..BreakerConfig::default() },
    }
}

pub(super) fn both() -> TierConfig {
    TierConfig { pool: true, ..tiers() }
}

pub(super) fn pool() -> TierConfig {
    TierConfig { host: None, ..both() }
}

#[derive(Default)]
struct Request {
    id: RequestId,
    pieces: Vec<Piece>,
    prompt: Tokens,
    inquiry: Inquiry,
    holds: Option<(HoldId, Tokens)>,
}

impl Request {
    fn new(id: u64, text: &str) -> Self {
        let mut builder = ChainBuilder::new();
        let mut prompt = None;
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            let digits = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
            if letter == '|' {
                prompt = builder.pieces().last().map(|piece| piece.end);
            } else {
                builder.push(u64::from(u32::from(letter)), Tokens(rest[1..=digits].parse().unwrap_or(BLOCK.0)));
            }
            rest = &rest[1 + digits..];
        }
        let pieces = builder.pieces().to_vec();
        let prompt = prompt.unwrap_or_else(|| Chain::new(&pieces, BLOCK).tokens());
        Self { id: RequestId(id), pieces, prompt, ..Self::default() }
    }

    fn chain(&self) -> Chain<'_> {
        Chain::new(&self.pieces, BLOCK)
    }
}

/// A stage: a cache, requests by name, and what is written down.
struct Stage {
    cache: TieredCache,
    requests: BTreeMap<String, Request>,
    now: Time,
    said: Vec<String>,
}

impl Stage {
    fn play(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["start", who, prompt] => {
                let request = Request::new(who.as_bytes()[0].into(), prompt);
                self.requests.insert(who.to_owned(), request);
                self.start(who);
            }
            ["start", who] => self.start(who),
            ["ahead", who, prompt] => {
                let mut request = Request::new(who.as_bytes()[0].into(), prompt);
                let (id, asked, chain) = (request.id, request.prompt, Chain::new(&request.pieces, BLOCK));
                let wanted = Wanted { request: id, chain, prompt: asked, total: asked, others: 0 };
                self.cache.ask_ahead(wanted, &mut request.inquiry, self.now);
                self.requests.insert(who.to_owned(), request);
            }
            ["store", who, upto] => {
                let request = &self.requests[who];
                let (hold, _) = request.holds.expect("it has begun");
                let upto = Tokens(upto.parse().expect("tokens"));
                self.cache.store(request.id, hold, request.chain(), request.prompt, upto, self.now);
            }
            ["compute", who] => self.compute(who, self.requests[who].prompt),
            ["compute", who, upto] => self.compute(who, Tokens(upto.parse().expect("tokens"))),
            ["end", who] => self.end(who),
            ["run", who, prompt] => {
                self.play(&format!("start {who} {prompt}"));
                self.play(&format!("compute {who}"));
                self.end(who);
            }
            ["restart"] => {
                let whom: Vec<String> = self.requests.keys().cloned().collect();
                whom.iter().for_each(|who| self.end(who));
                self.cache.restart();
            }
            ["restart", "at", "once"] => self.cache.restart(),
            ["flood"] => self.flood(),
            ["wait", seconds] => self.now += Span::from_secs_f64(seconds.parse().expect("seconds")),
            ["late"] => {
                while let Some(end) = self.cache.timeout(self.now) {
                    self.loaded(end);
                }
            }
            ["usage"] => self.usage(),
            [op, ref outcome @ ..] => self.tell(op, outcome),
            [] => {}
        }
        self.tell_ops();
        self.cache.check();
    }

    fn say(&mut self, what: String) {
        self.said.push(what);
    }

    fn start(&mut self, who: &str) {
        let request = self.requests.get_mut(who).expect("who starts again has started before");
        let (id, prompt, chain) = (request.id, request.prompt, Chain::new(&request.pieces, BLOCK));
        let wanted = Wanted { request: id, chain, prompt, total: prompt, others: 0 };
        let looked = self.cache.look_up(wanted, &mut request.inquiry, self.now);
        let Looked::Ready(offer) = looked else { return self.say(format!("{who} waits")) };
        let said = match self.cache.begin(id, chain, &offer, chain.tokens(), self.now) {
            Err(refused) => format!("{who} {refused}"),
            Ok(admission) => {
                request.holds = Some((admission.hold, chain.tokens()));
                if let Some(op) = admission.load {
                    self.cache.start_load(op, self.now);
                }
                format!("{who} {}+{}", offer.device().0, (offer.cached() - offer.device()).0)
            }
        };
        self.say(said);
    }

    fn compute(&mut self, who: &str, upto: Tokens) {
        let request = &self.requests[who];
        let (hold, _) = request.holds.expect("it has begun");
        self.cache.commit(request.id, hold, request.chain(), request.prompt, upto, self.now);
        self.tell_ops();
    }

    fn end(&mut self, who: &str) {
        let request = self.requests.get_mut(who).expect("a request that was started");
        if let Some((hold, reserved)) = request.holds.take() {
            self.cache.release(hold, reserved);
        }
    }

    /// All idle blocks are evicted.
    fn flood(&mut self) {
        let request = Request::new(0, "!1");
        let (one, mut closed) = (Tokens(1), Inquiry::Closed);
        let wanted = Wanted { request: request.id, chain: request.chain(), prompt: one, total: one, others: 0 };
        let looked = self.cache.look_up(wanted, &mut closed, self.now);
        let Looked::Ready(offer) = looked else { panic!("it waits for nothing") };
        let all = self.cache.available().tokens(BLOCK);
        let begun =
            self.cache.begin(request.id, request.chain(), &offer, all, self.now).expect("it takes what there is");
        self.cache.release(begun.hold, all);
    }

    fn tell_ops(&mut self) {
        while let Some(op) = self.cache.poll_op() {
            let task = match op.task {
                Task::Probe { from, to } => format!("probe {}..{}", from.0, to.0),
                Task::Load { from, host, to, host_tokens, pool_tokens } => {
                    format!("load {}..{}..{} {}+{}", from.0, host.0, to.0, host_tokens.0, pool_tokens.0)
                }
                Task::Store { from, to, host, host_tokens, pool } => {
                    let short = if from < host && host < to { format!(" upto {}", host.0) } else { String::new() };
                    let pool = if pool { " pool" } else { "" };
                    format!("store {}..{} {}{short}{pool}", from.0, to.0, host_tokens.0)
                }
            };
            self.say(format!("#{} {task}", op.id.0));
        }
    }

    fn tell(&mut self, op: &str, outcome: &[&str]) {
        let op = OpId(op.strip_prefix('#').and_then(|op| op.parse().ok()).expect("#number"));
        let count = |number: &str| Blocks(number.parse().expect("objects"));
        let outcome = match *outcome {
            ["has", upto] => Ok(Done::Probed(count(upto))),
            ["brought", upto, ref rest @ ..] => {
                let (host, contact) = match *rest {
                    ["host", host, ref rest @ ..] => (host, rest),
                    _ => (upto, rest),
                };
                let pool = match *contact {
                    [] => Contact::Answered,
                    ["unasked"] => Contact::Unasked,
                    ["refused"] => Contact::Refused,
                    ["silence"] => Contact::Silent,
                    _ => panic!("nobody hears so of the pool: {contact:?}"),
                };
                Ok(Done::Loaded { device: count(upto), host: count(host), pool })
            }
            ["copied"] => Ok(Done::Copied),
            ["stored"] => Ok(Done::Stored),
            ["unreachable"] => Err(Failed::Unreachable),
            ["silence"] => Err(Failed::TimedOut),
            ["broken"] => Err(Failed::Broken),
            _ => panic!("nobody knows how an operation ends so: {outcome:?}"),
        };
        match self.cache.op_done(op, outcome, self.now) {
            None => self.say("nothing".to_owned()),
            Some(Woken::Copied) => self.say("copied".to_owned()),
            Some(Woken::Room(_)) => self.say("room".to_owned()),
            Some(Woken::Loaded(end)) => self.loaded(end),
            Some(Woken::Answered { request, op, upto }) => {
                let asked = self.requests.values_mut().find(|other| other.id == request).expect("it is here");
                assert!(asked.inquiry.answer(op, upto), "it waits for the answer");
            }
        }
    }

    fn loaded(&mut self, end: LoadEnd) {
        let (who, request) = self.requests.iter().find(|(_, other)| other.id == end.request).expect("it is here");
        let (hold, _) = request.holds.expect("it waits with its blocks");
        self.cache.commit_loaded(hold, request.chain(), end.got);
        let whole = if end.whole { "" } else { " short" };
        let said = format!("{who} got {} of it {}+{}{whole}", end.got.0, end.from_host.0, end.from_pool.0);
        self.say(said);
    }

    fn usage(&mut self) {
        let usage = self.cache.usage();
        let kept = self.cache.kept_for_loads();
        let device = format!("device {} {} {} {}", usage.free.0, usage.private.0, usage.held.0, usage.idle.0);
        let host = self.cache.host().map_or_else(String::new, |host| {
            let usage = host.usage();
            format!(" host {} {} {}", usage.ready, usage.pending, usage.pinned)
        });
        self.say(format!("{device} kept {}{host}", kept.0));
    }
}

pub(super) fn check(tiers: TierConfig, story: &str, expected: &str) {
    let config = CacheConfig {
        capacity: Blocks(8),
        block: BLOCK,
        prefix_caching: true,
        duplicates: Duplicates::Keep,
        events: false,
    };
    let cache = TieredCache::new(WorkerCache::new(config), Some(tiers));
    let mut stage = Stage { cache, requests: BTreeMap::new(), now: Time::ZERO, said: Vec::new() };
    story.split(';').for_each(|line| stage.play(line));
    let clean = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(stage.said.join(", "), clean(expected), "{story}");
}
