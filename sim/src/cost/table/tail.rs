//! What the longest context costs.
//!
//! FlashAttention's decode kernel gives a sequence and KV head to one block of threads, or to a few where there are few of
//! them (*splits*). A block reads its context at no more than its own speed, all together no faster than memory; so when the
//! short ones have ended, the blocks of the longest sequence still read, on a device that idles. A profile of equal contexts
//! never shows that. It shows all that it takes to work it out:
//!
//! * `token`: what a token of context takes while the device is busy, from the most decoders and the longest contexts;
//! * `alone`: what it takes a block by itself, from one decoder beside a chunk, where kernels do not split;
//! * how many blocks run at a time: those of one decoder take a multiple of a block's time as soon as they do not all fit.
//!
//! Then blocks are placed as the device does it, in order of heads, then sequences, each on whatever becomes free first, and
//! the time is put over that of as many tokens on a busy device. How contexts are distributed is not known to a cost model,
//! only their number, sum and longest: they are taken to rise by a power to the longest, at several places in the batch.

use super::grid::{Grid, Point};
use super::{InvalidProfile, Layers, Line, Shape};
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

/// The longest context over the mean, less 1, in quarters.
const KNOTS: [u64; 16] = [0, 1, 2, 4, 6, 8, 12, 16, 20, 28, 44, 60, 92, 124, 252, 508];

/// Numbers of decoders that factors are worked out for: all up to here, then some.
const EACH_TO: u64 = 32;

/// Places of the longest in the batch that are looked at.
const PLACES: u64 = 4;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tail {
    /// Microseconds per token of context on a busy device, all heads.
    token: f64,
    blocks: u64,
    /// Numbers of decoders, rising, and for each the time at the knots, over that of a busy device.
    factors: Vec<(u64, [f64; KNOTS.len()])>,
}

/// The device as blocks see it. Times in microseconds.
#[derive(Clone, Copy, Debug)]
struct Device {
    /// Of a token of one head, for a block by itself.
    alone: f64,
    /// Of a token of one head, if all the device read it.
    busy: f64,
    blocks: u64,
}

impl Tail {
    pub(super) fn new(grid: &Grid, layers: Layers, padded: impl Fn(u64) -> u64) -> Result<Self, InvalidProfile> {
        let contexts = grid.contexts();
        let (less, more) = (contexts[contexts.len() - 2], contexts[contexts.len() - 1]);
        // What more context takes.
        let grows = |chunk: f64, decoders: f64| {
            let time = |context: f64| grid.at(&Point { chunk, cached: 0.0, decoders, context });
            let ((longer, beyond), (shorter, _)) = (time(more), time(less));
            beyond.is_none().then_some((longer - shorter).max(0.0)).filter(|time| *time > 0.0)
        };
        let missing = InvalidProfile::Missing("how attention grows with the longest contexts");
        let most = grid.most_decoders();
        let token = grows(0.0, most).ok_or(missing.clone())? / (most * (more - less));
        let chunk = grid.shortest_chunk();
        let one = grows(chunk, 1.0).ok_or(missing)?;
        let at_a_time = grid
            .decoders()
            .iter()
            .filter_map(|decoders| Some(decoders * one / grows(chunk, *decoders)?))
            .fold(1.0, f64::max);
        let blocks = libm::round(layers.heads as f64 * at_a_time) as u64;
        let device = Device { alone: one / (more - less), busy: token / layers.kv_heads as f64, blocks };
        let factors = counts(most as u64)
            .map(|count| {
                (count, device.factors(layers.kv_heads, count, splits(padded(count) * layers.kv_heads, blocks)))
            })
            .collect();
        Ok(Self { token, blocks, factors })
    }

    pub(super) const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The time of decoders alone as a line in their context. With `n` decoders, the longest of which has `l` tokens of all
    /// `W`, `n * l - W` stays while all grow by a token a pass: between two knots the line is the same all along.
    pub(super) fn line(&self, shape: &Shape) -> Line {
        let (count, context) = (shape.decoders, shape.context);
        let above_mean = (count * shape.longest).saturating_sub(context);
        // The largest knot at or below the longest over the mean; above the last one its line goes on.
        let is_reached = |knot: &u64| u128::from(*knot) * u128::from(context) <= 4 * u128::from(above_mean);
        let knot = KNOTS.partition_point(is_reached).clamp(1, KNOTS.len() - 1) - 1;
        let factors = self.factors_of(count);
        let (low, high) = (1.0 + KNOTS[knot] as f64 / 4.0, 1.0 + KNOTS[knot + 1] as f64 / 4.0);
        let slope = (factors[knot + 1] - factors[knot]) / (high - low);
        let zero = factors[knot] - slope * low;
        // context * (zero + slope * longest over mean)
        Line {
            base: self.token * slope * above_mean as f64,
            slope: self.token * (zero + slope),
            valid_to: (4 * above_mean).checked_div(KNOTS[knot]).unwrap_or(u64::MAX),
        }
    }

    /// Between the numbers of decoders that there are factors for, as a part of the way.
    fn factors_of(&self, count: u64) -> [f64; KNOTS.len()] {
        let above = self.factors.partition_point(|(known, _)| *known < count).min(self.factors.len() - 1);
        let (high, upper) = &self.factors[above];
        let (low, lower) = &self.factors[above.saturating_sub(1)];
        if count >= *high || above == 0 {
            return *upper;
        }
        let part = (count - low) as f64 / (high - low) as f64;
        core::array::from_fn(|knot| lower[knot] + part * (upper[knot] - lower[knot]))
    }
}

/// Each number of decoders up to some, then in steps of about a quarter, up to `most`.
fn counts(most: u64) -> impl Iterator<Item = u64> {
    core::iter::successors(Some(1), move |count| {
        let next = if *count < EACH_TO { count + 1 } else { count + count / 4 };
        (*count < most).then_some(next.min(most))
    })
}

/// Into how many parts contexts are split, so that `work` pieces fill a device of `blocks`: the fewest whose waves are at
/// least 85 % as full as can be (FlashAttention-2's heuristic, which takes two blocks for each processor; contexts are long
/// enough for each split where a graph was captured for the longest).
fn splits(work: u64, blocks: u64) -> u64 {
    const MOST: u64 = 32;
    let room = 2 * blocks;
    if 5 * work >= 4 * room {
        return 1;
    }
    let full = |splits: u64| {
        let waves = (work * splits) as f64 / room as f64;
        waves / libm::ceil(waves)
    };
    let best = (1..=MOST).map(full).fold(0.0, f64::max);
    (1..=MOST).find(|splits| full(*splits) >= 0.85 * best).unwrap_or(1)
}

impl Device {
    /// The time at each knot over that of a busy device: rising, and no faster than the longest context does.
    fn factors(&self, heads: u64, count: u64, splits: u64) -> [f64; KNOTS.len()] {
        let mut factors = [1.0; KNOTS.len()];
        for (knot, quarters) in KNOTS.iter().enumerate() {
            let longest = 1.0 + *quarters as f64 / 4.0;
            let contexts = rising(count, longest);
            let time: f64 = (0..PLACES).map(|place| self.time(&shuffled(&contexts, place), heads, splits)).sum();
            factors[knot] = time / PLACES as f64 / (count as f64 * self.busy * heads as f64);
            if let Some(before) = knot.checked_sub(1) {
                let most = factors[before] * longest / (1.0 + KNOTS[before] as f64 / 4.0);
                factors[knot] = factors[knot].clamp(factors[before], most);
            }
        }
        factors
    }

    /// How long blocks take that are started in order, each as soon as there is room. Those that run share the memory.
    fn time(&self, contexts: &[f64], heads: u64, splits: u64) -> f64 {
        let mut waiting = (0..heads)
            .flat_map(|_| contexts.iter())
            .flat_map(|context| (0..splits).map(move |_| context / splits as f64));
        // Each running block has read as much as any other since it began: they end in order of where that began plus their length.
        let mut running: BinaryHeap<Reverse<Ends>> = BinaryHeap::new();
        let (mut now, mut read) = (0.0, 0.0);
        loop {
            while running.len() < self.blocks as usize
                && let Some(context) = waiting.next()
            {
                running.push(Reverse(Ends(read + context)));
            }
            let together = running.len() as f64;
            let Some(Reverse(Ends(next))) = running.pop() else { return now };
            now += (next - read) * self.alone.max(self.busy * together);
            read = next;
        }
    }
}

/// Where a block ends.
#[derive(Clone, Copy, Debug)]
struct Ends(f64);

impl PartialEq for Ends {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Ends {}
impl PartialOrd for Ends {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Ends {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Contexts of mean 1 whose longest is `longest`, where there are as many; the others rise with the place in the batch to the
/// power of one less than that.
fn rising(count: u64, longest: f64) -> Vec<f64> {
    let others = count - 1;
    let mut contexts: Vec<f64> =
        (1..=others).map(|place| libm::pow((place as f64 - 0.5) / count as f64, longest - 1.0)).collect();
    let left = (count as f64 - longest).max(0.0);
    let sum: f64 = contexts.iter().sum();
    for context in &mut contexts {
        *context = (*context * left / sum).min(longest);
    }
    contexts.push(longest);
    contexts
}

/// The same in another order: steps of about the golden part of the batch, begun at one of [`PLACES`] places.
fn shuffled(contexts: &[f64], place: u64) -> Vec<f64> {
    let count = contexts.len() as u64;
    let mut step = (count as f64 * 0.618) as u64;
    while step == 0 || gcd(step, count) > 1 {
        step += 1;
    }
    let from = place * count / PLACES;
    (0..count).map(|at| contexts[((from + at * step) % count) as usize]).collect()
}

const fn gcd(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { gcd(other, one % other) }
}
