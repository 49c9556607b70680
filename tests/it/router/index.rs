//! The index against a literal one and against the truth: real caches, small, under random requests.

use super::{Gateway, prompt};
use kvcache::{
    Blocks, CacheConfig, Chain, Change, Duplicates, HoldId, Piece, PieceKey, Time, Tokens, WorkerCache, WorkerId,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use router::{IndexCounts, Matches, Missed, Reason, RouterConfig, Signal, Strategy};
use std::collections::{BTreeMap, BTreeSet};

const UNIT: Tokens = Tokens(16);
/// Two blocks, so that chunks end where pieces do not, too.
const CHUNK: Tokens = Tokens(32);
const WORKERS: u16 = 3;

/// A block, by what is known of it without any arithmetic on keys: the piece it ends in, and its number.
type Block = (PieceKey, u32);

/// Which workers hold a block, in the order in which they came to: the index as one would write it down.
#[derive(Default)]
struct Literal {
    holders: BTreeMap<Block, Vec<WorkerId>>,
    starts: BTreeMap<PieceKey, u32>,
}

impl Literal {
    /// The blocks of a prompt.
    fn blocks(pieces: &[Piece]) -> Vec<Block> {
        let tokens = pieces.last().map_or(0, |piece| piece.end.0);
        let piece_of = |token| pieces.iter().find(|piece| token < piece.end.0).expect("a token of the prompt").key;
        (0..tokens / UNIT.0).map(|block| (piece_of((block + 1) * UNIT.0 - 1), block)).collect()
    }

    fn learn(&mut self, pieces: &[Piece]) {
        let mut start = 0;
        for piece in pieces {
            assert_eq!(*self.starts.entry(piece.key).or_insert(start), start, "a piece begins at one place");
            start = piece.end.0;
        }
    }

    fn apply(&mut self, worker: WorkerId, change: Change) {
        match change {
            Change::Stored { piece, upto, .. } => {
                let first = self.starts[&piece] / UNIT.0;
                assert!(upto.0 / UNIT.0 > first, "something was stored");
                for block in first..upto.0 / UNIT.0 {
                    let holders = self.holders.entry((piece, block)).or_default();
                    if !holders.contains(&worker) {
                        holders.push(worker);
                    }
                }
            }
            Change::Evicted { piece, upto } => {
                self.lose(worker, |(of, block)| of == piece && (block + 1) * UNIT.0 > upto.0);
            }
            Change::Cleared => self.lose(worker, |_| true),
        }
    }

    fn lose(&mut self, worker: WorkerId, which: impl Fn(Block) -> bool) {
        self.holders.retain(|block, holders| {
            if which(*block) {
                holders.retain(|holder| *holder != worker);
            }
            !holders.is_empty()
        });
    }

    /// What LMCache's controller would put first into its reply: for each chunk it names the first of those who hold it.
    fn reply(&self, pieces: &[Piece], excluded: &[u16]) -> Option<(u16, Tokens)> {
        let mut named: Vec<(u16, Tokens)> = Vec::new(); // as in a dictionary that keeps its order
        let blocks = Self::blocks(pieces);
        for end in (1..=blocks.len() as u32 * UNIT.0 / CHUNK.0).map(|chunk| chunk * CHUNK.0) {
            let holders = self.holders.get(&blocks[(end / UNIT.0) as usize - 1]);
            let Some(first) = holders.into_iter().flatten().map(|holder| holder.0).find(|w| !excluded.contains(w))
            else {
                break;
            };
            match named.iter_mut().find(|(worker, _)| *worker == first) {
                Some((_, matched)) => *matched = Tokens(end),
                None => named.push((first, Tokens(end))),
            }
        }
        named.first().copied()
    }

    /// How many tokens of a prompt `worker` holds, block by block.
    fn matched(&self, pieces: &[Piece], worker: WorkerId) -> Tokens {
        let holds = |block: &&Block| self.holders.get(block).is_some_and(|workers| workers.contains(&worker));
        Tokens(Self::blocks(pieces).iter().take_while(holds).count() as u32 * UNIT.0)
    }
}

struct Dice(ChaCha8Rng);

impl Dice {
    fn below(&mut self, bound: u32) -> u32 {
        self.0.next_u32() % bound
    }

    /// A prompt of a few pieces that share their beginnings with many others: lengths are no multiples of a block,
    /// some pieces hold no end of a block, and a content may be cut short wherever it stands.
    fn prompt(&mut self) -> Vec<Piece> {
        let contents: Vec<_> = (0..1 + self.below(6))
            .map(|_| {
                let content = self.below(4);
                let whole = [5, 37, 64, 90][content as usize];
                (u64::from(content), if self.below(4) == 0 { 1 + self.below(whole) } else { whole })
            })
            .collect();
        prompt(&contents)
    }

    fn excluded(&mut self) -> Vec<u16> {
        (0..WORKERS).filter(|_| self.below(4) == 0).collect()
    }
}

struct Live {
    worker: usize,
    hold: HoldId,
    pieces: Vec<Piece>,
    reserved: Tokens,
    computed: Tokens,
}

/// Workers under random requests.
struct Fleet {
    caches: Vec<WorkerCache>,
    live: Vec<Live>,
}

impl Fleet {
    fn new() -> Self {
        let cache = |blocks, duplicates| {
            WorkerCache::new(CacheConfig {
                capacity: Blocks(blocks),
                block: UNIT,
                prefix_caching: true,
                duplicates,
                events: true,
            })
        };
        let caches = vec![cache(20, Duplicates::Keep), cache(33, Duplicates::Merge), cache(50, Duplicates::Keep)];
        Self { caches, live: Vec::new() }
    }

    /// Something happens at one worker.
    fn step(&mut self, dice: &mut Dice, literal: &mut Literal) {
        match dice.below(1000) {
            0..300 => {
                let pieces = dice.prompt();
                literal.learn(&pieces);
                self.begin(dice.below(WORKERS.into()) as usize, pieces, dice);
            }
            300..700 if !self.live.is_empty() => self.compute(dice),
            700..998 if !self.live.is_empty() => {
                let live = self.live.swap_remove(dice.below(self.live.len() as u32) as usize);
                self.caches[live.worker].release(live.hold, live.reserved);
            }
            998.. => {
                let worker = dice.below(WORKERS.into()) as usize;
                let (ended, live) = core::mem::take(&mut self.live).into_iter().partition(|live| live.worker == worker);
                self.live = live;
                let ended: Vec<Live> = ended;
                ended.iter().for_each(|live| self.caches[worker].release(live.hold, live.reserved));
                self.caches[worker].restart();
            }
            _ => {}
        }
    }

    fn begin(&mut self, worker: usize, pieces: Vec<Piece>, dice: &mut Dice) {
        let chain = Chain::new(&pieces, UNIT);
        let found = self.caches[worker].find(chain, Tokens(chain.tokens().0 - 1).full_blocks(UNIT));
        let cached = found.blocks().tokens(UNIT);
        let reserved = cached + Tokens(1 + dice.below(chain.tokens().0 - cached.0));
        if let Ok(hold) = self.caches[worker].begin(found, reserved) {
            self.live.push(Live { worker, hold, pieces, reserved, computed: cached });
        }
    }

    /// A request gets blocks for more of its tokens, if there are any, and a pass for some of them ends.
    fn compute(&mut self, dice: &mut Dice) {
        let index = dice.below(self.live.len() as u32) as usize;
        let live = &mut self.live[index];
        let cache = &mut self.caches[live.worker];
        let chain = Chain::new(&live.pieces, UNIT);
        let upto = Tokens(live.reserved.0 + dice.below(chain.tokens().0 - live.reserved.0 + 1));
        if cache.reserve(upto.blocks(UNIT) - live.reserved.blocks(UNIT)).is_ok() {
            live.reserved = upto;
        }
        live.computed = Tokens(live.computed.0 + dice.below(live.reserved.0 - live.computed.0 + 1));
        cache.commit(live.hold, chain, live.computed);
    }
}

/// What `kvaware` must answer, given what the controller would reply.
fn expected(reply: Option<(u16, Tokens)>, tokens: Tokens, threshold: Tokens) -> Result<u16, Missed> {
    match reply {
        None => Err(Missed::NoHolder),
        Some((_, matched)) if matched < tokens.saturating_sub(threshold) => Err(Missed::TooShort { matched }),
        Some((worker, _)) => Ok(worker),
    }
}

/// Says whether it was followed to a worker that does not have the most.
fn check_decision(
    gateway: &mut Gateway,
    pieces: &[Piece],
    excluded: &[u16],
    matched: &[Tokens],
    literal: &Literal,
) -> bool {
    let threshold = gateway.router.config().kv_aware_threshold;
    let tokens = Chain::new(pieces, UNIT).tokens();
    let decision = gateway.ask(pieces, None, excluded, 0).expect("somebody is available");
    assert_eq!(decision.matched, Some(matched[decision.worker.index()]), "what the chosen worker holds");
    let available = (0..WORKERS).filter(|worker| !excluded.contains(worker));
    assert_eq!(decision.best, available.map(|worker| matched[usize::from(worker)]).max(), "the most that anyone holds");
    let known = decision.scores.iter().map(|score| score.matched.expect("looked up").total());
    assert!(known.eq(matched.iter().copied()), "a score for each");
    match expected(literal.reply(pieces, excluded), tokens, threshold) {
        Ok(first) => {
            assert_eq!((decision.worker.0, decision.reason), (first, Reason::FirstHolder));
            decision.regret() > Some(Tokens::ZERO)
        }
        Err(expected) => {
            let Reason::LowestQps { missed, .. } = decision.reason else { panic!("{decision:?}") };
            assert_eq!(missed, Some(expected));
            false
        }
    }
}

#[test]
fn the_index_is_exact() {
    let config = RouterConfig {
        kv_aware_threshold: Tokens(100),
        lmcache_chunk: CHUNK,
        ..RouterConfig::new(Strategy::KvAware, WORKERS)
    };
    let (mut gateway, mut fleet, mut literal) = (Gateway::with(config), Fleet::new(), Literal::default());
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(1));
    let mut matches = Matches::new();
    let (mut told, mut partial, mut distinct, mut second_best) = (0, 0, 0, 0);
    for step in 0..150_000 {
        fleet.step(&mut dice, &mut literal);
        for (cache, worker) in fleet.caches.iter_mut().zip((0..).map(WorkerId)) {
            while let Some(event) = cache.poll_event() {
                gateway.router.observe(worker, Signal::Cache(&event), Time::ZERO, Time::ZERO);
                literal.apply(worker, event.change);
                told += 1;
                partial += u32::from(matches!(event.change, Change::Evicted { upto, .. } if upto > Tokens::ZERO));
            }
        }
        let pieces = dice.prompt();
        let chain = Chain::new(&pieces, UNIT);
        let index = gateway.router.index().unwrap();
        index.matches(chain, &mut matches);
        for (cache, worker) in fleet.caches.iter().zip((0..).map(WorkerId)) {
            let truth = cache.find(chain, chain.tokens().full_blocks(UNIT)).blocks().tokens(UNIT);
            assert_eq!(literal.matched(&pieces, worker), truth, "step {step}: events tell all of {worker}");
            assert_eq!(matches.tokens()[worker.index()], truth, "step {step}: {worker}");
        }
        let held: BTreeSet<_> = literal.holders.keys().map(|(piece, _)| *piece).collect();
        assert_eq!(index.pieces(), held.len(), "step {step}: each piece that is held, and no other");
        index.check();
        let excluded = dice.excluded();
        if excluded.len() < usize::from(WORKERS) {
            let wrong = check_decision(&mut gateway, &pieces, &excluded, matches.tokens(), &literal);
            second_best += u32::from(wrong);
        }
        distinct += u32::from(matches.tokens().iter().collect::<BTreeSet<_>>().len() == 3);
    }
    // The test would mean little if little happened.
    assert!(told > 50_000 && partial > 5_000, "{told} events, {partial} of them evict a part of a piece");
    assert!(distinct > 5_000, "{distinct} prompts matched three ways");
    assert!(second_best > 2_000, "{second_best} times the first holder was not the one with the most");
    assert_eq!(gateway.router.index().unwrap().counts(), IndexCounts::default());
    assert_eq!(gateway.router.feed().map(|feed| (feed.skipped, feed.gaps)), Some((0, 0)));
}

/// Upstream's trie, literally: sets of workers by the chunks on the way. A chunk is the piece it ends in, its number
/// and its length.
#[derive(Default)]
struct Trie(BTreeMap<(PieceKey, u32, u32), BTreeSet<u16>>);

impl Trie {
    fn chunks(pieces: &[Piece], chunk: u32) -> Vec<(PieceKey, u32, u32)> {
        let tokens = Chain::new(pieces, UNIT).tokens().0;
        let ends = (1..=tokens.div_ceil(chunk)).map(|number| (number, tokens.min(number * chunk)));
        let piece_of = |end| pieces.iter().find(|piece| end <= piece.end.0).expect("the end of a chunk").key;
        ends.map(|(number, end)| (piece_of(end), number, end - (number - 1) * chunk)).collect()
    }

    /// The length of the longest match, and the workers left.
    fn walk(&self, chunks: &[(PieceKey, u32, u32)], mut left: BTreeSet<u16>) -> (u32, BTreeSet<u16>) {
        let mut length = 0;
        for chunk in chunks {
            let there = self.0.get(chunk).map_or_else(BTreeSet::new, |sent| sent & &left);
            if there.is_empty() {
                break;
            }
            (length, left) = (length + chunk.2, there);
        }
        (length, left)
    }
}

#[test]
fn prefixes_are_those_of_a_literal_trie() {
    let config = RouterConfig { chunk: Tokens(24), ..RouterConfig::new(Strategy::PrefixAware, WORKERS) };
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(2));
    let mut tied_seen = BTreeSet::new();
    for _ in 0..400 {
        // A fresh router each time: nothing is ever forgotten, so an old one knows everything.
        let (mut gateway, mut trie) = (Gateway::with(config), Trie::default());
        for _ in 0..60 {
            let (pieces, excluded) = (dice.prompt(), dice.excluded());
            let available: BTreeSet<_> = (0..WORKERS).filter(|worker| !excluded.contains(worker)).collect();
            let Ok(decision) = gateway.ask(&pieces, None, &excluded, 0) else { continue };
            let chunks = Trie::chunks(&pieces, 24);
            let (length, left) = trie.walk(&chunks, available);
            assert_eq!(decision.matched, Some(Tokens(length)));
            let reason = match length {
                0 => Reason::NoPrefix,
                _ => Reason::DeepestPrefix { tied: left.len() as u16 },
            };
            assert_eq!(decision.reason, reason);
            assert!(left.contains(&decision.worker.0), "one of those left is drawn");
            tied_seen.insert((length > 0, left.len()));
            for chunk in chunks {
                trie.0.entry(chunk).or_default().insert(decision.worker.0);
            }
        }
        gateway.router.index().unwrap().check();
    }
    assert_eq!(tied_seen.len(), 6, "1, 2 and 3 left, with and without a match");
}
