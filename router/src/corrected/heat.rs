//! What many ask for: how often prompts end their match at a prefix.
//!
//! Counted over the present minute and the one before; so memory is bounded by the requests of two minutes, and what
//! was hot a while ago is not.

use kvcache::{KeyMap, PieceKey, Span, Time};

const WINDOW: Span = Span::from_secs(60);
/// How much more than its share of requests those who hold a prefix are given room for, in thousandths.
const HEADROOM: u64 = 1250;
/// Requests per worker before shares mean anything.
const ENOUGH: u64 = 4;

#[derive(Debug, Default)]
struct Count {
    of: KeyMap<u32>,
    all: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Heat {
    now: Count,
    before: Count,
    window: u64,
}

impl Heat {
    /// A request matched a prefix that ends with this piece, and no further.
    pub(crate) fn note(&mut self, piece: PieceKey, now: Time) {
        let window = now.0 / WINDOW.0;
        if window > self.window {
            self.before = if window == self.window + 1 { core::mem::take(&mut self.now) } else { Count::default() };
            self.now = Count::default();
            self.window = window;
        }
        *self.now.of.entry(piece.0).or_default() += 1;
        self.now.all += 1;
    }

    /// How many of `workers` workers should hold it: as many as serve its share of all requests, with some room, and at
    /// least one.
    pub(crate) fn wanted(&self, piece: PieceKey, workers: u16) -> u16 {
        let all = self.now.all + self.before.all;
        if all < ENOUGH * u64::from(workers) {
            return 1;
        }
        let of = |count: &Count| u64::from(count.of.get(&piece.0).copied().unwrap_or(0));
        let hot = of(&self.now) + of(&self.before);
        let wanted = (hot * u64::from(workers) * HEADROOM).div_ceil(all * 1000);
        // What one worker serves anyway need not be spread.
        let wanted = if hot * u64::from(workers) <= all { 1 } else { wanted };
        wanted.clamp(1, u64::from(workers)) as u16
    }
}
