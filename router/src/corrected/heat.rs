//! What many ask for: how often prompts end their match at a prefix.
//!
//! Counted over the present minute and the one before; so memory is bounded by the requests of two minutes, and what
//! was hot a while ago is not.

use kvcache::{KeyMap, PieceKey, Span, Time};

const WINDOW: Span = Span::from_secs(60);
/// What was counted for less long tells nothing of a minute.
const LEAST_COUNTED: Span = Span::from_secs(1);
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
    since: Option<Time>,
}

impl Heat {
    /// There is a request.
    pub(crate) fn count(&mut self, now: Time) {
        let window = now.0 / WINDOW.0;
        if window > self.window {
            self.before = if window == self.window + 1 { core::mem::take(&mut self.now) } else { Count::default() };
            self.now = Count::default();
            self.window = window;
        }
        self.since.get_or_insert(now);
        self.now.all += 1;
    }

    /// The request that was counted last matched a prefix that ends with this piece, and no further.
    pub(crate) fn note(&mut self, piece: PieceKey) {
        *self.now.of.entry(piece.0).or_default() += 1;
    }

    fn hot(&self, piece: PieceKey) -> u64 {
        let of = |count: &Count| u64::from(count.of.get(&piece.0).copied().unwrap_or(0));
        of(&self.now) + of(&self.before)
    }

    /// How many requests for it each of `workers` workers will have in a minute, if they share them evenly and as many come
    /// as lately, taken low: by two standard deviations of a Poisson count, so that few say nothing. At least one.
    pub(crate) fn uses(&self, piece: PieceKey, workers: u16, now: Time) -> u64 {
        let counted_since = Time(self.window.saturating_sub(1) * WINDOW.0).max(self.since.unwrap_or(now));
        let counted = Span(now.0.saturating_sub(counted_since.0)).max(LEAST_COUNTED);
        let hot = self.hot(piece);
        let surely = hot.saturating_sub(2 * hot.isqrt());
        let in_a_minute = u128::from(surely) * u128::from(WINDOW.0) / u128::from(counted.0);
        (in_a_minute as u64 / u64::from(workers.max(1))).max(1)
    }

    /// How many of `workers` workers should hold it: as many as serve its share of all requests, with some room, and at
    /// least one.
    pub(crate) fn wanted(&self, piece: PieceKey, workers: u16) -> u16 {
        let all = self.now.all + self.before.all;
        if all < ENOUGH * u64::from(workers) {
            return 1;
        }
        let hot = self.hot(piece);
        let wanted = (hot * u64::from(workers) * HEADROOM).div_ceil(all * 1000);
        // What one worker serves anyway need not be spread.
        let wanted = if hot * u64::from(workers) <= all { 1 } else { wanted };
        wanted.clamp(1, u64::from(workers)) as u16
    }
}
