//! What random histories are about: prompts that share prefixes in all the ways that prompts do.

use super::model::{Name, Names, Token};
use kvcache::{Chain, ChainBuilder, Piece, PieceKey, Tokens};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;

/// Reproducible chance.
pub(super) struct Chance(ChaCha8Rng);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number in `0..below`.
    pub(super) fn below(&mut self, below: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(below)) >> 32) as u32
    }

    /// A number in `from..=to`.
    pub(super) fn within(&mut self, from: u32, to: u32) -> u32 {
        from + self.below(to - from + 1)
    }

    /// Whether something that happens `percent` of the time happens now.
    pub(super) fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }
}

/// How prompts are cut into pieces.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    /// Pieces of equal length, the last one perhaps shorter: a trace.
    Even(u32),
    /// Every length up to this: system prompts, turns and replies.
    Irregular(u32),
}

/// A prompt and the reply to it.
#[derive(Clone, Debug)]
pub(super) struct Prompt {
    contents: Vec<(u64, u32)>, // what it consists of: content and length
    pub(super) pieces: Vec<Piece>,
    pub(super) names: Vec<Name>,
    /// The name of the part behind the last full block.
    pub(super) tail: Option<Name>,
    /// Tokens of the prompt alone.
    pub(super) asked: u32,
    /// Tokens with the reply.
    pub(super) tokens: u32,
}

impl Prompt {
    pub(super) fn chain(&self, block: Tokens) -> Chain<'_> {
        Chain::new(&self.pieces, block)
    }

    /// Its tokens, literally.
    pub(super) fn literal(&self) -> Vec<Token> {
        self.contents.iter().flat_map(|(id, length)| (0..*length).map(|offset| (*id, offset))).collect()
    }

    /// Its pieces up to token `upto`, the last one cut there: what is known of a reply that still grows.
    pub(super) fn pieces_upto(&self, upto: u32) -> Vec<Piece> {
        let whole = self.pieces.partition_point(|piece| piece.end.0 < upto);
        let mut pieces = self.pieces[..=whole].to_vec();
        pieces[whole].end = Tokens(upto);
        pieces
    }
}

/// Makes prompts, and remembers which piece follows which.
pub(super) struct Author {
    block: u32,
    cut: Cut,
    longest: u32,
    names: Names,
    pub(super) parents: BTreeMap<PieceKey, PieceKey>,
    /// Where a block ends, by its name: the piece and the token.
    pub(super) ends: BTreeMap<Name, (PieceKey, Tokens)>,
}

impl Author {
    pub(super) fn new(block: u32, cut: Cut, longest: u32) -> Self {
        Self { block, cut, longest, names: Names::default(), parents: BTreeMap::new(), ends: BTreeMap::new() }
    }

    /// A new prompt: a fresh one, or the continuation, a fork or a cut of one of `known`.
    pub(super) fn write(&mut self, chance: &mut Chance, known: &[Prompt]) -> Prompt {
        let mut contents = Vec::new();
        if !known.is_empty() && chance.percent(85) {
            contents.clone_from(&known[chance.below(known.len() as u32) as usize].contents);
            if chance.percent(60) {
                // A fork: leave after a random piece, or in the middle of it.
                contents.truncate(chance.within(1, contents.len() as u32) as usize);
                if let Some(last) = contents.last_mut()
                    && chance.percent(50)
                {
                    last.1 = chance.within(1, last.1);
                }
            }
        }
        let (Cut::Even(typical) | Cut::Irregular(typical)) = self.cut;
        for _ in 0..chance.below(3 + self.longest / typical) {
            // Few contents, so that equal continuations come about by chance, too.
            contents.push((u64::from(chance.below(5)), self.length(chance)));
        }
        let asked = self.shorten(&mut contents).max(1);
        if contents.is_empty() {
            contents.push((7, asked));
        }
        let reply = if chance.percent(70) { chance.within(1, 3 * self.block.min(40)) } else { 0 };
        if reply > 0 {
            contents.push((100 + u64::from(chance.below(2)), reply));
        }
        self.print(contents, asked, asked + reply)
    }

    fn length(&self, chance: &mut Chance) -> u32 {
        match self.cut {
            Cut::Even(tokens) if chance.percent(85) => tokens,
            Cut::Even(tokens) | Cut::Irregular(tokens) => chance.within(1, tokens),
        }
    }

    /// Ends the contents where the longest prompt ends; gives their length.
    fn shorten(&self, contents: &mut Vec<(u64, u32)>) -> u32 {
        let mut tokens = 0;
        contents.retain_mut(|(_, length)| {
            *length = (*length).min(self.longest - tokens);
            tokens += *length;
            *length > 0
        });
        tokens
    }

    fn print(&mut self, contents: Vec<(u64, u32)>, asked: u32, tokens: u32) -> Prompt {
        let mut builder = ChainBuilder::new();
        let mut literal: Vec<Token> = Vec::new();
        let (mut parent, mut blocks) = (PieceKey::ROOT, 0);
        for (id, length) in &contents {
            // A piece in which no block ends is nobody's parent.
            if let Some(before) = builder.pieces().last().filter(|piece| piece.end.0 / self.block > blocks) {
                (parent, blocks) = (before.key, before.end.0 / self.block);
            }
            builder.push(*id, Tokens(*length));
            literal.extend((0..*length).map(|offset| (*id, offset)));
            self.parents.insert(builder.pieces().last().expect("a piece was pushed").key, parent);
        }
        let names = self.names.of(&literal, self.block as usize);
        let rest = literal.chunks_exact(self.block as usize).remainder();
        let tail = (!rest.is_empty()).then(|| self.names.of_tail(names.last().copied(), rest));
        let pieces = builder.pieces().to_vec();
        for (name, end) in names.iter().zip((1..).map(|n| n * self.block)) {
            let piece = pieces[pieces.partition_point(|piece| piece.end.0 < end)];
            self.ends.insert(*name, (piece.key, Tokens(end)));
        }
        Prompt { contents, pieces, names, tail, asked, tokens }
    }
}
