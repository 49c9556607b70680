//! The rules, one short story each. A block holds 4 tokens, an object two blocks: 8 tokens. A letter is a piece of one
//! block; a number after it says another length; what stands behind `|` is the reply: `ab6|c` is a prompt of ten tokens
//! and four tokens of reply.
//!
//! `start x ab` looks x up and begins if it can: `x 0+8` says that nothing is on the device and 8 tokens will be
//! loaded. Operations are told as they come out: `#2 load 0..1..3 8+16` brings object 0 from L1 and objects 1 and 2
//! from L2, 8 and 16 tokens; `#3 store 0..1 8 pool` is new to L1 with 8 tokens and goes to L2.

use kvcache::{
    Blocks, BreakerConfig, CacheConfig, Chain, ChainBuilder, Choice, Deadline, Done, Duplicates, Eviction, Failed,
    HoldId, HostConfig, Inquiry, LoadEnd, LoadMode, Looked, OpId, Piece, RequestId, Span, StoreMode, Task, TierConfig,
    TieredCache, Time, Tokens, Woken, WorkerCache,
};
use std::collections::BTreeMap;

const BLOCK: Tokens = Tokens(4);

/// 8 blocks of device, 48 tokens of host: six objects.
fn tiers() -> TierConfig {
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
        breaker: BreakerConfig { failures: 2, probe_every: Span::from_secs(5) },
    }
}

fn both() -> TierConfig {
    TierConfig { pool: true, ..tiers() }
}

fn pool() -> TierConfig {
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
            ["compute", who] => self.compute(who, self.requests[who].prompt),
            ["compute", who, upto] => self.compute(who, Tokens(upto.parse().expect("tokens"))),
            ["end", who] => self.end(who),
            ["run", who, prompt] => {
                self.play(&format!("start {who} {prompt}"));
                self.play(&format!("compute {who}"));
                self.end(who);
            }
            ["flood"] => self.flood(),
            ["wait", seconds] => self.now += Span::from_secs(seconds.parse().expect("seconds")),
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
        let looked = self.cache.look_up(id, chain, prompt, prompt, &mut request.inquiry, self.now);
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
        let looked = self.cache.look_up(request.id, request.chain(), one, one, &mut closed, self.now);
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
                Task::Store { from, to, host_tokens, pool } => {
                    format!("store {}..{} {}{}", from.0, to.0, host_tokens.0, if pool { " pool" } else { "" })
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
            ["brought", upto] => Ok(Done::Loaded(count(upto))),
            ["copied"] => Ok(Done::Copied),
            ["stored"] => Ok(Done::Stored),
            ["unreachable"] => Err(Failed::Unreachable),
            ["broken"] => Err(Failed::Broken),
            _ => panic!("nobody knows how an operation ends so: {outcome:?}"),
        };
        match self.cache.op_done(op, outcome, self.now) {
            None => self.say("nothing".to_owned()),
            Some(Woken::Copied) => self.say("copied".to_owned()),
            Some(Woken::Room) => self.say("room".to_owned()),
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

fn check(tiers: TierConfig, story: &str, expected: &str) {
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

#[test]
fn cold() {
    // 20 tokens are two objects and a half: the half is not stored. `usage`: free, private, held, idle blocks.
    check(
        tiers(),
        "start x abcde; usage; compute x; usage; #1 copied; usage; end x; usage",
        "x 0+0, device 3 5 0 0 kept 0 host 0 0 0, #1 store 0..2 16, device 3 0 5 0 kept 0 host 0 16 0,
         copied, device 3 0 5 0 kept 0 host 16 0 0, device 3 0 0 5 kept 0 host 16 0 0",
    );
    // Pass by pass: an object goes down when its last token is there.
    check(
        tiers(),
        "start x abcde; compute x 7; compute x 9; compute x 15; compute x 20",
        "x 0+0, #1 store 0..1 8, #2 store 1..2 8",
    );
    // What the device lost, nobody need store again.
    check(tiers(), "run x abcde; #1 copied; start y abcde; compute y", "x 0+0, #1 store 0..2 16, copied, y 16+0");
}

#[test]
fn a_hit_in_the_host() {
    // While it is read, it is pinned; behind it one block is left to compute.
    check(
        tiers(),
        "run x abcde; #1 copied; flood; usage; start y abcde; usage; #2 brought 2; usage; compute y; end y; usage",
        "x 0+0, #1 store 0..2 16, copied, device 8 0 0 0 kept 0 host 16 0 0,
         y 0+16, #2 load 0..2..2 16+0, device 3 5 0 0 kept 0 host 16 0 16,
         y got 16 of it 16+0, device 3 1 4 0 kept 0 host 16 0 0, device 3 0 0 5 kept 0 host 16 0 0",
    );
    // The device has three blocks of it: object 1 is loaded whole, though half of it is there, and gains 4 tokens.
    check(
        tiers(),
        "run x abcde; #1 copied; flood; run y abc; start z abcde; #3 brought 2; compute z",
        "x 0+0, #1 store 0..2 16, copied, y 0+8, #2 load 0..1..1 8+0, z 12+4, #3 load 1..2..2 8+0, z got 16 of it 4+0",
    );
}

#[test]
fn a_hit_in_the_pool_is_promoted() {
    // L1 has object 0, the pool all three: the pool is asked about what L1 lacks only, and L1 gets it on the way.
    check(
        both(),
        "start x ab; #1 has 0; start x; compute x; end x; #2 copied; #2 stored; flood;
         start y abcdefg; #3 has 3; start y; usage; #4 brought 3; usage; compute y",
        "x waits, #1 probe 0..1, x 0+0, #2 store 0..1 8 pool, copied, nothing,
         y waits, #3 probe 1..3, y 0+24, #4 load 0..1..3 8+16,
         device 1 7 0 0 kept 0 host 8 16 8, y got 24 of it 8+16, device 1 1 6 0 kept 0 host 24 0 0",
    );
    // Without L1 nothing is promoted, and what came from the pool does not go back to it.
    check(
        pool(),
        "start x ab; #1 has 0; start x; compute x; end x; #2 copied; #2 stored;
         start y abcdefg; #3 has 3; start y; #4 brought 3; compute y",
        "x waits, #1 probe 0..1, x 0+0, #2 store 0..1 0 pool, copied, nothing,
         y waits, #3 probe 1..3, y 8+16, #4 load 1..1..3 0+16, y got 24 of it 0+16",
    );
    // The pool has nothing: what is computed goes to both.
    check(both(), "start x abcd; #1 has 0; start x; compute x", "x waits, #1 probe 0..2, x 0+0, #2 store 0..2 16 pool");
}

#[test]
fn a_partial_chunk_is_an_object_of_its_own_prompt() {
    let tails = TierConfig { save_unfull_chunk: true, ..tiers() };
    // Ten tokens: an object of 8 and one of 2. Who asks the same finds both, less the token that must be computed.
    check(
        tails,
        "run x ab6; #1 copied; flood; start y ab6; #2 brought 2; compute y",
        "x 0+0, #1 store 0..2 10, copied, y 0+9, #2 load 0..2..2 10+0, y got 9 of it 9+0",
    );
    // A longer prompt and a shorter one find the full object only, and store their own tails.
    check(
        tails,
        "run x ab6; #1 copied; flood; start y ab6c; #2 brought 1; compute y; end y; flood; start z ab5",
        "x 0+0, #1 store 0..2 10, copied, y 0+8, #2 load 0..1..1 8+0, y got 8 of it 8+0, #3 store 1..2 6,
         z 0+8, #4 load 0..1..1 8+0",
    );
    // The tail is the prompt's, not the reply's.
    check(
        tails,
        "run x ab6|cd; #1 copied; flood; start y ab6|ef",
        "x 0+0, #1 store 0..2 10, copied, y 0+9, #2 load 0..2..2 10+0",
    );
}

#[test]
fn a_whole_hit_leaves_one_token() {
    // On the device the last full block is computed again; lower tiers give all but one token.
    check(
        tiers(),
        "run x abcd; #1 copied; start y abcd; #2 brought 2; end y; flood; start z abcd; #3 brought 2; usage",
        "x 0+0, #1 store 0..2 16, copied, y 12+3, #2 load 1..2..2 8+0, y got 15 of it 3+0, z 0+15, #3 load 0..2..2 16+0,
         z got 15 of it 15+0, device 4 1 3 0 kept 0 host 16 0 0",
    );
}

#[test]
fn a_short_read_is_a_prefix() {
    check(
        both(),
        "start x abcdefg; #1 has 3; start x; #2 brought 1; usage; compute x",
        "x waits, #1 probe 0..3, x 0+24, #2 load 0..0..3 0+24, x got 8 of it 0+8 short,
         device 1 5 2 0 kept 0 host 8 0 0",
    );
    // Nothing came, or nobody says what.
    let story = "start x abcdefg; #1 has 3; start x; #2 broken; usage";
    let expected = "x waits, #1 probe 0..3, x 0+24, #2 load 0..0..3 0+24, x got 0 of it 0+0 short,
                    device 1 7 0 0 kept 0 host 0 0 0";
    check(both(), story, expected);
    check(both(), &story.replace("broken", "copied"), expected);
    check(both(), &story.replace("broken", "unreachable"), expected);
}

#[test]
fn blocks_stay_until_the_load_has_ended() {
    // x is cancelled; its five blocks are nobody's until the load ends, and then hold nothing.
    check(
        tiers(),
        "run w abcde; #1 copied; flood; start x abcde; end x; usage; start y ghij; #2 brought 2; usage; start y; #2 brought 2",
        "w 0+0, #1 store 0..2 16, copied, x 0+16, #2 load 0..2..2 16+0, device 3 5 0 0 kept 5 host 16 0 16,
         y needs 4 blocks, only 3 blocks available, room, device 8 0 0 0 kept 0 host 16 0 0, y 0+0, nothing",
    );
    // A load that is late is given up after a second: x goes on without, and what comes then is for L1 alone.
    check(
        both(),
        "start x abcd; #1 has 2; start x; wait 1; late; compute x; end x; usage; #2 brought 1; usage",
        "x waits, #1 probe 0..2, x 0+15, #2 load 0..0..2 0+16, x got 0 of it 0+0 short,
         device 4 0 4 0 kept 0 host 0 16 0, room, device 4 0 0 4 kept 0 host 8 0 0",
    );
}

#[test]
fn one_prefix_is_loaded_once() {
    // y waits for x's load and finds the device full of it; z needs what x does not load.
    check(
        tiers(),
        "run w abcd; #1 copied; flood; start x abc; start y abcd; start z efg; #2 brought 1; start y",
        "w 0+0, #1 store 0..2 16, copied, x 0+8, #2 load 0..1..1 8+0, y waits, z 0+0, x got 8 of it 8+0,
         y 8+7, #3 load 1..2..2 8+0",
    );
    // Nobody waits for a load that was given up.
    check(
        tiers(),
        "run w abcd; #1 copied; flood; start x abc; wait 1; late; start y abcd",
        "w 0+0, #1 store 0..2 16, copied, x 0+8, #2 load 0..1..1 8+0, x got 0 of it 0+0 short, y 0+15,
         #3 load 0..2..2 16+0",
    );
}

#[test]
fn a_store_never_waits_for_room() {
    // Two of six objects' room: the third finds none, since what is being written stays.
    let mut small = tiers();
    small.host = small.host.map(|host| HostConfig { capacity: 23, ..host });
    check(
        small,
        "start x abcdef; compute x; usage; #1 copied; usage; end x; flood; start y abcdef",
        "x 0+0, #1 store 0..3 16, device 2 0 6 0 kept 0 host 0 16 0, copied, device 2 0 6 0 kept 0 host 16 0 0,
         y 0+16, #2 load 0..2..2 16+0",
    );
    // Room for none, and nowhere else to go: nothing is done. With a pool, the store goes there.
    small.host = small.host.map(|host| HostConfig { capacity: 7, ..host });
    check(small, "start x abcdef; compute x; usage", "x 0+0, device 2 0 6 0 kept 0 host 0 0 0");
    small.pool = true;
    check(small, "start x abcdef; #1 has 0; start x; compute x", "x waits, #1 probe 0..3, x 0+0, #2 store 0..3 0 pool");
    // A store that failed leaves nothing behind.
    check(
        tiers(),
        "start x abcd; compute x; #1 broken; usage; #1 copied",
        "x 0+0, #1 store 0..2 16, copied, device 4 0 4 0 kept 0 host 0 0 0, nothing",
    );
}

#[test]
fn replies_are_stored_where_they_are_to_be() {
    let story = "start x abc|defg; compute x 12; compute x 20; compute x 28";
    check(tiers(), story, "x 0+0, #1 store 0..1 8");
    let replies = TierConfig { save_decode_cache: true, ..tiers() };
    check(replies, story, "x 0+0, #1 store 0..1 8, #2 store 1..2 8, #3 store 2..3 8");
}

#[test]
fn a_pool_that_cannot_be_reached_is_left_alone() {
    // Two failures open the breaker for five seconds; then one question is let through, and its answer closes it.
    check(
        pool(),
        "start x abc; #1 unreachable; start x; compute x; #2 unreachable; start y def; end y; wait 5; start z ghi;
         start v jkl; #3 has 0; start w mno",
        "x waits, #1 probe 0..1, x 0+0, #2 store 0..1 0 pool, copied, y 0+0, z waits, #3 probe 0..1, v 0+0,
         w waits, #4 probe 0..1",
    );
}

#[test]
fn too_little_is_not_worth_a_load() {
    let picky = TierConfig { min_retrieve: Tokens(9), ..tiers() };
    check(
        picky,
        "run x abcdef; #1 copied; flood; start y abc; end y; start z abcde",
        "x 0+0, #1 store 0..3 24, copied, y 0+0, z 0+16, #2 load 0..2..2 16+0",
    );
}

#[test]
fn the_host_is_told_the_time() {
    // Two objects' room and counters that decay: a was used once more than c, but that is ten minutes ago.
    let mut aging = tiers();
    aging.host = aging.host.map(|host| HostConfig { capacity: 16, eviction: Eviction::Lfu, ..host });
    let story = |seconds: u64| {
        format!(
            "run x ab; #1 copied; flood; start y ab; #2 brought 1; end y; flood; wait {seconds}; run w cd; #3 copied;
             run v ef; #4 copied; flood; start u ab; start t cd"
        )
    };
    let begin = "x 0+0, #1 store 0..1 8, copied, y 0+7, #2 load 0..1..1 8+0, y got 7 of it 7+0, w 0+0,
                 #3 store 0..1 8, copied, v 0+0, #4 store 0..1 8, copied,";
    check(aging, &story(600), &format!("{begin} u 0+0, t 0+7, #5 load 0..1..1 8+0"));
    check(aging, &story(1), &format!("{begin} u 0+7, #5 load 0..1..1 8+0, t 0+0"));
}
