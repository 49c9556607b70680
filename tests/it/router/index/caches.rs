//! What real caches tell: the index against a literal one and against the truth, small caches under random requests.

use super::super::fleet::Fleet;
use super::super::{Chance, Gateway};
use super::{UNIT, WORKERS, some_excluded, some_prompt};
use kvcache::{Chain, Change, Piece, PieceKey, Time, Tokens, WorkerId};
use router::{IndexCounts, Matches, Missed, Reason, RouterConfig, Signal, Strategy};
use std::collections::{BTreeMap, BTreeSet};

/// Two blocks, so that chunks end where pieces do not, too.
const CHUNK: Tokens = Tokens(32);

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

    /// Says how many pieces were evicted in part.
    fn apply(&mut self, worker: WorkerId, change: &Change) -> u32 {
        match change {
            Change::Stored { upto, pieces, .. } => {
                let mut stored = 0;
                for piece in pieces {
                    let first = self.starts[&piece.key] / UNIT.0;
                    for block in first..piece.end.min(*upto).0 / UNIT.0 {
                        let holders = self.holders.entry((piece.key, block)).or_default();
                        if !holders.contains(&worker) {
                            holders.push(worker);
                            stored += 1;
                        }
                    }
                }
                assert!(stored > 0, "something was stored");
                0
            }
            Change::Evicted { left, pieces, .. } => {
                let gone = |piece: PieceKey| move |(of, block)| of == piece && (block + 1) * UNIT.0 > left.0;
                pieces.iter().for_each(|piece| self.lose(worker, gone(piece.key)));
                u32::from(left.0 / UNIT.0 > self.starts[&pieces[0].key] / UNIT.0)
            }
            Change::Cleared => {
                self.lose(worker, |_| true);
                0
            }
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
    exact(false, 150_000);
}

/// Found by where they end in their workers' caches, and not by their keys.
#[test]
fn so_is_one_that_goes_by_strands() {
    exact(true, 150_000);
}

/// What went of a strand is told without its pieces, and together with what went of it before: a router that hears of it says
/// the same as one that hears of everything as it happened.
#[test]
fn what_goes_of_a_strand_may_be_told_together() {
    let config = RouterConfig {
        strands: true,
        kv_aware_threshold: Tokens(100),
        lmcache_chunk: CHUNK,
        ..RouterConfig::new(Strategy::KvAware, WORKERS)
    };
    let mut worlds = [false, true].map(|together| {
        let (mut fleet, gateway) = (Fleet::new(UNIT), Gateway::with(config));
        fleet.caches.iter_mut().for_each(|cache| cache.tell_by_strand(together));
        (fleet, gateway, Chance::new(7), 0_u32)
    });
    let (mut chance, mut matches) = (Chance::new(8), Matches::new());
    for step in 0..100_000 {
        for (fleet, _, chance, _) in &mut worlds {
            fleet.step(chance, |chance, _| some_prompt(chance));
        }
        if chance.percent(80) {
            continue; // nobody asks
        }
        for (fleet, gateway, _, told) in &mut worlds {
            for (cache, worker) in fleet.caches.iter_mut().zip((0..).map(WorkerId)) {
                // Not always all: what waits may still become more.
                let some = cache.events().len() - if step % 3 == 0 { cache.events().len() / 2 } else { 0 };
                let hear = |events: &[_]| {
                    *told += events.len() as u32;
                    gateway.router.observe(worker, Signal::Cache(events), Time::ZERO, Time::ZERO);
                };
                cache.take_events(if step % 3 == 0 { some } else { usize::MAX }, hear);
            }
        }
        if step % 3 == 0 {
            continue; // the two have heard of different things
        }
        let pieces = some_prompt(&mut chance);
        let excluded = some_excluded(&mut chance);
        let [one, other] = worlds.each_mut().map(|(fleet, gateway, ..)| {
            let (chain, index) = (Chain::new(&pieces, UNIT), gateway.router.index().expect("it keeps one"));
            index.check();
            index.matches(chain, &mut matches);
            for (cache, held) in fleet.caches.iter().zip(matches.tokens()) {
                let truth = cache.find(chain, chain.tokens().full_blocks(UNIT)).blocks().tokens(UNIT);
                assert_eq!(*held, truth, "step {step}");
            }
            let somebody = excluded.len() < usize::from(WORKERS);
            (matches.tokens().to_vec(), somebody.then(|| gateway.ask(&pieces, None, &excluded, 0)))
        });
        assert_eq!(one, other, "step {step}");
    }
    let [one, other] = worlds.map(|(_, gateway, _, told)| {
        assert_eq!(gateway.router.index().expect("it keeps one").counts(), IndexCounts::default());
        told
    });
    assert!(other < one - one / 20, "{one} events, {other} of them where they are told together");
}

fn exact(strands: bool, steps: u32) {
    let config = RouterConfig {
        strands,
        kv_aware_threshold: Tokens(100),
        lmcache_chunk: CHUNK,
        ..RouterConfig::new(Strategy::KvAware, WORKERS)
    };
    let (mut gateway, mut fleet, mut literal) = (Gateway::with(config), Fleet::new(UNIT), Literal::default());
    let mut chance = Chance::new(1);
    let mut matches = Matches::new();
    let (mut told, mut partial, mut distinct, mut second_best) = (0, 0, 0, 0);
    for step in 0..steps {
        fleet.step(&mut chance, |chance, _| {
            let pieces = some_prompt(chance);
            literal.learn(&pieces);
            pieces
        });
        for (cache, worker) in fleet.caches.iter_mut().zip((0..).map(WorkerId)) {
            cache.take_events(usize::MAX, |events| {
                // Together, one by one, or as it comes.
                let most = [1, 2, 5, usize::MAX][chance.pick(4)];
                for some in events.chunks(most) {
                    gateway.router.observe(worker, Signal::Cache(some), Time::ZERO, Time::ZERO);
                }
                for event in events {
                    partial += literal.apply(worker, &event.change);
                    told += 1;
                }
            });
        }
        let pieces = some_prompt(&mut chance);
        let chain = Chain::new(&pieces, UNIT);
        let index = gateway.router.index().expect("it keeps one");
        index.matches(chain, &mut matches);
        for (cache, worker) in fleet.caches.iter().zip((0..).map(WorkerId)) {
            let truth = cache.find(chain, chain.tokens().full_blocks(UNIT)).blocks().tokens(UNIT);
            assert_eq!(literal.matched(&pieces, worker), truth, "step {step}: events tell all of {worker}");
            assert_eq!(matches.tokens()[worker.index()], truth, "step {step}: {worker}");
        }
        let held: BTreeSet<_> = literal.holders.keys().map(|(piece, _)| *piece).collect();
        if strands {
            assert_eq!(index.is_empty(), held.is_empty(), "step {step}: nothing where nothing is held");
        } else {
            assert_eq!(index.pieces(), held.len(), "step {step}: each piece that is held, and no other");
        }
        index.check();
        let excluded = some_excluded(&mut chance);
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
    assert_eq!(gateway.router.index().expect("it keeps one").counts(), IndexCounts::default());
    assert_eq!(gateway.router.feed().map(|feed| (feed.skipped, feed.gaps)), Some((0, 0)));
}
