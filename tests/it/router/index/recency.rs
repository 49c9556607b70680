//! What goes when room ends: what was used least recently, leaves first, whoever holds it.

use super::super::{Chance, prompt};
use kvcache::{Chain, Piece, Tokens, WorkerId};
use router::{Index, IndexConfig, Matches};

const UNIT: u32 = 16;
const SYSTEMS: usize = 6;

/// A document behind one of a few system prompts.
struct Document {
    pieces: Vec<Piece>,
    system: usize,
}

impl Document {
    fn new(number: u64, system: usize) -> Self {
        Self { pieces: prompt(&[(system as u64, 4 * UNIT), (100 + number, 8 * UNIT)]), system }
    }

    fn chain(&self) -> Chain<'_> {
        Chain::new(&self.pieces, Tokens(UNIT))
    }
}

struct Shelf {
    index: Index,
    matches: Matches,
    documents: Vec<Document>,
    /// Documents in order of their last use, the least recent first.
    used: Vec<usize>,
    /// The document that came together with a system prompt, of each: as one run, they are used together.
    first: [usize; SYSTEMS],
}

impl Shelf {
    fn new(limit: u64) -> Self {
        let config = IndexConfig { limit, ..IndexConfig::new(2, Tokens(UNIT)) };
        let (index, matches) = (Index::new(config), Matches::new());
        Self { index, matches, documents: Vec::new(), used: Vec::new(), first: [usize::MAX; SYSTEMS] }
    }

    fn found(&mut self, place: usize) -> Tokens {
        self.index.matches(self.documents[place].chain(), &mut self.matches);
        self.matches.of(WorkerId(0)).max(self.matches.of(WorkerId(1)))
    }

    fn touch(&mut self, place: usize) {
        let found = self.found(place);
        self.index.touch_matched(&self.matches);
        self.note(place, found);
    }

    fn store(&mut self, place: usize, worker: WorkerId) {
        if self.found(place) == Tokens::ZERO {
            self.first[self.documents[place].system] = place;
        }
        let chain = self.documents[place].chain();
        self.index.store_chain(worker, chain, chain.tokens());
        self.note(place, chain.tokens());
    }

    /// So much of a document was used: nothing, its system prompt, or all.
    fn note(&mut self, place: usize, found: Tokens) {
        let Document { pieces, system } = &self.documents[place];
        for used in [(found == pieces[1].end).then_some(place), (found > Tokens::ZERO).then(|| self.first[*system])] {
            self.used.retain(|before| Some(*before) != used);
            self.used.extend(used);
        }
    }

    /// Those that are left are the ones used last; a system prompt is there as long as a document behind it is.
    fn check(&mut self) -> usize {
        let found: Vec<_> = self.used.clone().into_iter().map(|place| (place, self.found(place).0)).collect();
        let whole = |found: u32| found == 12 * UNIT;
        let gone = found.iter().position(|(_, found)| whole(*found)).unwrap_or(found.len());
        for (place, tokens) in &found[gone..] {
            assert!(whole(*tokens), "{place} is gone, and what was used before it is not");
        }
        for (place, tokens) in &found[..gone] {
            let system = self.documents[*place].system;
            let needed = found[gone..].iter().any(|(other, _)| self.documents[*other].system == system);
            assert!(*tokens == 0 || *tokens == 4 * UNIT, "half a document");
            assert!(!needed || *tokens > 0, "the system prompt of what is there");
        }
        found.len() - gone
    }
}

#[test]
fn the_least_recently_used_go_first() {
    for seed in 0..6 {
        let mut chance = Chance::new(seed);
        // The smallest index holds some hundred documents.
        let mut shelf = Shelf::new(IndexConfig::least(2) + 4096 * seed);
        shelf.documents = (0..600).map(|number| Document::new(number, chance.pick(SYSTEMS))).collect();
        let (mut fewest, mut most) = (usize::MAX, 0);
        for step in 0..6_000 {
            let place = chance.pick(600);
            if chance.percent(60) {
                shelf.store(place, WorkerId(chance.below(2) as u16));
            } else {
                shelf.touch(place);
            }
            if step % 10 == 0 {
                let left = shelf.check();
                if step > 3_000 {
                    (fewest, most) = (fewest.min(left), most.max(left));
                }
            }
        }
        shelf.index.check();
        assert!(fewest > 80 && most < 400, "{fewest} to {most} documents are left at any time");
        assert!(fewest * 10 > most * 8, "no more goes than must: {fewest} to {most}");
    }
}

/// A prefix that is asked for again and again stays, though a hundred times what the index holds comes by.
#[test]
fn what_is_used_survives_a_flood() {
    let mut shelf = Shelf::new(1 << 20);
    shelf.documents = (0..60_000).map(|number| Document::new(number as u64, number)).collect();
    for place in 0..60_000 {
        shelf.index.store_chain(WorkerId(1), shelf.documents[place].chain(), Tokens(u32::MAX));
        for place in (0..5).filter(|_| place % 100 == 10) {
            assert_eq!(shelf.found(place), Tokens(12 * UNIT));
            shelf.index.touch_matched(&shelf.matches);
        }
    }
    let found: Vec<_> = (0..10).map(|place| shelf.found(place).0 / UNIT).collect();
    assert_eq!(found, [12, 12, 12, 12, 12, 0, 0, 0, 0, 0]);
    assert!(shelf.index.counts().evicted > 100_000);
}
