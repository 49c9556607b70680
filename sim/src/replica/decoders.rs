//! All sequences that decode, as one: each emits a token in every pass, so one counter of passes is the clock of them
//! all, and what the next k passes attend to and allocate is a closed form.
//!
//! Invariants: `context` is the sum over decoders of the tokens that the next pass attends to; `residues[r]` counts the
//! decoders with `(computed - passes) mod block == r`.

use alloc::vec;
use alloc::vec::Vec;
use kvcache::Tokens;

/// What a decoder noted when it joined; everything else follows from the counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Joined {
    /// The counter then.
    pub(super) since: u64,
    /// The counter after its last token.
    pub(super) until: u64,
}

/// Blocks that requests began in a stretch of passes, which are numbered from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// How many.
    pub blocks: u64,
    /// The numbers of the passes that they were begun in, summed.
    pub passes: u64,
    /// The same of x (x - 1) / 2, x being the number of the pass.
    pub pairs: u64,
}

impl core::ops::Add for Begun {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { blocks: self.blocks + other.blocks, passes: self.passes + other.passes, pairs: self.pairs + other.pairs }
    }
}

/// Decoders that begin a block in some pass: how many, and the numbers of these passes and their squares, summed.
#[derive(Default)]
struct Beginners {
    decoders: u64,
    passes: u64,
    squares: u64,
}

impl Beginners {
    fn add(&mut self, pass: u64, decoders: u64) {
        self.decoders += decoders;
        self.passes += decoders * pass;
        self.squares += decoders * pass * pass;
    }

    /// Each of them begins `count` blocks, in passes that are `block` apart.
    fn each(&self, count: u64, block: u64) -> Begun {
        let Self { decoders, passes, squares } = *self;
        let pairs = count * count.saturating_sub(1) / 2;
        let sum = count * passes + block * pairs * decoders;
        let squares_before = pairs * (2 * count).saturating_sub(1) / 3;
        let sum_of_squares = count * squares + 2 * block * pairs * passes + block * block * squares_before * decoders;
        Begun { blocks: count * decoders, passes: sum, pairs: (sum_of_squares - sum) / 2 }
    }
}

#[derive(Debug)]
pub(super) struct Decoders {
    /// How many there are.
    pub(super) count: u64,
    /// Tokens that the next pass attends to, summed.
    pub(super) context: u64,
    /// Passes in which decoders were scheduled so far.
    pub(super) passes: u64,
    /// The least `until` of all; `u64::MAX` where there is none.
    pub(super) next_end: u64,
    /// The longest context, as it was when `passes` was 0; the least there is where nobody decodes.
    oldest: i64,
    residues: Vec<u32>,
    /// `passes` modulo the block.
    phase: usize,
}

impl Decoders {
    pub(super) fn new(block: Tokens) -> Self {
        Self {
            count: 0,
            context: 0,
            passes: 0,
            next_end: u64::MAX,
            oldest: i64::MIN,
            residues: vec![0; block.0 as usize],
            phase: 0,
        }
    }

    fn residue(&self, computed: Tokens, since: u64) -> usize {
        let block = self.residues.len() as u64;
        ((u64::from(computed.0) + block - since % block) % block) as usize
    }

    /// A sequence with `computed` tokens of KV and `left` tokens to emit takes part from the next pass on.
    pub(super) fn join(&mut self, computed: Tokens, left: Tokens) -> Joined {
        debug_assert!(left > Tokens::ZERO, "a decoder has something to emit");
        let joined = Joined { since: self.passes, until: self.passes + u64::from(left.0) };
        self.see(computed, joined);
        self.count += 1;
        self.context += u64::from(computed.0) + 1;
        let residue = self.residue(computed, joined.since);
        self.residues[residue] += 1;
        joined
    }

    /// A decoder ends no sooner than the first of all, and attends to no more than the one that attends to most.
    fn see(&mut self, computed: Tokens, joined: Joined) {
        self.next_end = self.next_end.min(joined.until);
        self.oldest = self.oldest.max(i64::from(computed.0) + 1 - joined.since as i64);
    }

    /// Looks again who ends first and who attends to most, among those who decode: computed tokens when they joined, and when
    /// that was.
    pub(super) fn refresh(&mut self, all: impl Iterator<Item = (Tokens, Joined)>) {
        (self.next_end, self.oldest) = (u64::MAX, i64::MIN);
        for (computed, joined) in all {
            self.see(computed, joined);
        }
    }

    /// The most tokens that a decoder attends to in the next pass; 0 where there is none.
    pub(super) const fn longest(&self) -> u64 {
        if self.count == 0 { 0 } else { (self.oldest + self.passes as i64) as u64 }
    }

    /// A decoder that joined with `computed` tokens takes no further part; gives the passes it took part in.
    /// The caller refreshes.
    pub(super) fn leave(&mut self, computed: Tokens, joined: Joined) -> Tokens {
        let residue = self.residue(computed, joined.since);
        self.residues[residue] -= 1;
        let passes = Tokens((self.passes - joined.since) as u32);
        self.count -= 1;
        self.context -= u64::from((computed + passes).0) + 1;
        passes
    }

    /// `passes` more passes were scheduled.
    pub(super) fn advance(&mut self, passes: u64) {
        self.passes += passes;
        self.context += passes * self.count;
        let block = self.residues.len() as u64;
        self.phase += (if passes < block { passes } else { passes % block }) as usize;
        if self.phase >= self.residues.len() {
            self.phase -= self.residues.len();
        }
    }

    /// Blocks that the decoders begin in the next `passes` passes.
    pub(super) fn blocks_begun(&self, passes: u64) -> u64 {
        if passes == 1 {
            return u64::from(self.residues[if self.phase == 0 { 0 } else { self.residues.len() - self.phase }]);
        }
        let block = self.residues.len() as u64;
        let (whole, rest) = (passes / block, passes % block);
        let mut blocks = self.count * whole;
        self.each_beginning(rest, |_, decoders| blocks += decoders);
        blocks
    }

    /// How many decoders begin a block in each of the next passes, which are counted from 0 to `passes`, at most as many as a
    /// block has tokens.
    #[inline]
    fn each_beginning(&self, passes: u64, mut visit: impl FnMut(u64, u64)) {
        // Who begins a block in a pass is one residue below who does in the one before; below 0 is the highest.
        let below = self.residues.len() - self.phase;
        let (lower, upper) = self.residues.split_at(if below == self.residues.len() { 1 } else { below + 1 });
        for (pass, decoders) in (0..passes).zip(lower.iter().rev().chain(upper.iter().rev())) {
            if *decoders > 0 {
                visit(pass, u64::from(*decoders));
            }
        }
    }

    /// The same, and in which of them. O(min(passes, block size)).
    pub(super) fn begun(&self, passes: u64) -> Begun {
        let block = self.residues.len() as u64;
        let (whole, rest) = (passes / block, passes % block);
        // Of those who begin one before the rest is over, who do so once more, and of the others.
        let (mut more, mut others) = (Beginners::default(), Beginners::default());
        self.each_beginning(passes.min(block), |pass, decoders| {
            let those = if pass < rest { &mut more } else { &mut others };
            those.add(pass, decoders);
        });
        more.each(whole + 1, block) + others.each(whole, block)
    }

    /// The most passes, up to `most`, whose new blocks fit into `available`.
    pub(super) fn passes_that_fit(&self, most: u64, available: u64) -> u64 {
        let block = self.residues.len() as u64;
        if self.count * (most / block + 1) <= available || self.blocks_begun(most) <= available {
            return most;
        }
        let (mut fits, mut not) = (0, most);
        while not - fits > 1 {
            let middle = u64::midpoint(fits, not);
            if self.blocks_begun(middle) <= available { fits = middle } else { not = middle }
        }
        fits
    }

    /// Nobody decodes: every counter is back at its start.
    pub(super) fn is_idle(&self) -> bool {
        self.count == 0 && self.context == 0 && self.residues.iter().all(|n| *n == 0)
    }
}
