//! Attention by four quantities: chunk, cached tokens before it, decoders, context of each; linear between what was measured.
//!
//! The grid is a tree, not a box: behind each chunk stand the cached prefixes that were measured with it, behind each of those the
//! numbers of decoders, behind those their contexts. So a profile may leave out what its engine could not run (most decoders
//! beside a chunk, the longest contexts of most decoders, a single row that failed), and what is next to it stands in: between
//! its neighbours where it has them, else along the last two, which is told.
//!
//! Chunk 0 (nobody computes a prompt) and 0 decoders are branches of their own. Below the first value of anything else the first
//! one holds: a chunk of one token reads as much KV as one of sixteen, in tiles that are no smaller.

use super::{Attention, Axis, InvalidProfile, Line};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::ops::Range;

/// A pass of one chunk and decoders of equal context.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) chunk: f64,
    pub(super) cached: f64,
    pub(super) decoders: f64,
    pub(super) context: f64,
}

/// Something by one quantity, rising; at least one.
type By<T> = Vec<(f64, T)>;

/// Microseconds by context.
pub(super) type Contexts = By<f64>;

/// What was measured beside one chunk and prefix.
#[derive(Clone, Debug, PartialEq)]
struct Beside {
    /// Without decoders.
    alone: Option<f64>,
    decoders: By<Contexts>,
}

/// Microseconds of one layer's attention.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Grid {
    /// Nobody computes a prompt.
    decoding: By<Contexts>,
    chunks: By<By<Beside>>,
}

/// A duration, and of what the pass has more than was measured.
type Told = (f64, Option<Axis>);

impl Grid {
    pub(super) fn new(rows: &[Attention]) -> Result<Self, InvalidProfile> {
        if rows.is_empty() {
            return Err(InvalidProfile::Missing("attention"));
        }
        let mut rows: Vec<&Attention> = rows.iter().collect();
        let what = |row: &Attention| {
            let Attention { chunk, cached, decoders, context, .. } = row;
            format!("attention of a chunk of {chunk} behind {cached}, {decoders} decoders of {context}")
        };
        if let Some(row) = rows.iter().find(|row| !(row.time.is_finite() && row.time > 0.0)) {
            return Err(InvalidProfile::Time { what: what(row), time: row.time.to_string() });
        }
        let key = |row: &Attention| {
            let cached = if row.chunk > 0 { row.cached } else { 0.0 };
            (row.chunk, cached, row.decoders, if row.decoders > 0 { row.context } else { 0 })
        };
        rows.sort_by(|one, other| key(one).partial_cmp(&key(other)).unwrap_or(core::cmp::Ordering::Equal));
        if let Some(pair) = rows.windows(2).find(|pair| key(pair[0]) == key(pair[1])) {
            return Err(InvalidProfile::Twice(what(pair[1])));
        }
        let without = rows.partition_point(|row| row.chunk == 0);
        let decoding = by_decoders(&rows[..without]);
        let chunks: By<By<Beside>> = rows[without..]
            .chunk_by(|one, other| one.chunk == other.chunk)
            .map(|rows| (rows[0].chunk as f64, by_cached(rows)))
            .collect();
        if decoding.is_empty() {
            return Err(InvalidProfile::Missing("attention of decoders alone"));
        }
        if chunks.is_empty() {
            return Err(InvalidProfile::Missing("attention of a prompt's chunk"));
        }
        Ok(Self { decoding, chunks })
    }

    /// The duration at a point, and of what it has more than was measured.
    pub(super) fn at(&self, point: &Point) -> Told {
        let Point { chunk, cached, decoders, context } = *point;
        if chunk <= 0.0 {
            return if decoders > 0.0 { of_decoders(&self.decoding, decoders, context) } else { (0.0, None) };
        }
        between(&self.chunks, chunk, Axis::Chunk, |prefixes| {
            between(prefixes, cached, Axis::Cached, |beside| beside.at(decoders, context))
        })
    }

    /// Decoders alone, of equal context, as a line in the context of all of them around `context`. The line is the same for
    /// every context between two that were measured, and told apart where it goes on beyond them.
    pub(super) fn line(&self, decoders: u64, context: u64) -> (Line, Option<Axis>) {
        let (count, each) = (decoders as f64, context as f64 / decoders as f64);
        let beside = &self.decoding[sides(&self.decoding, count)];
        let knots = || beside.iter().flat_map(|(_, contexts)| contexts.iter().map(|(context, _)| *context));
        let low = knots().filter(|knot| *knot < each).fold(f64::NEG_INFINITY, f64::max);
        let high = knots().filter(|knot| *knot >= each).fold(f64::INFINITY, f64::min);
        let at = |each: f64| of_decoders(&self.decoding, count, each);
        if low == f64::NEG_INFINITY {
            let (time, beyond) = at(high);
            return (Line { base: time, slope: 0.0, valid_to: whole(high * count) }, beyond);
        }
        // Above all, along the last two.
        let (from, to, valid_to) =
            if high < f64::INFINITY { (low, high, whole(high * count)) } else { (low, 2.0 * low, u64::MAX) };
        let ((start, _), (end, beyond)) = (at(from), at(to));
        let slope = ((end - start) / (to - from)).max(0.0);
        (Line { base: start - slope * from, slope: slope / count, valid_to }, beyond)
    }

    /// What was measured of decoders alone: their number, and times by context.
    pub(super) fn decoding(&self) -> &[(f64, Contexts)] {
        &self.decoding
    }

    /// What was measured of decoders beside the shortest chunk without a prefix.
    pub(super) fn beside_shortest_chunk(&self) -> &[(f64, Contexts)] {
        &self.chunks[0].1[0].1.decoders
    }

    /// The longest context that was measured with about so many decoders.
    pub(super) fn most_context(&self, decoders: f64) -> f64 {
        let last = |(_, contexts): &(f64, Contexts)| contexts.last().map_or(0.0, |(context, _)| *context);
        self.decoding[sides(&self.decoding, decoders)].iter().map(last).fold(f64::INFINITY, f64::min)
    }
}

impl Beside {
    fn at(&self, decoders: f64, context: f64) -> Told {
        match self.alone {
            Some(time) if decoders <= 0.0 => (time, None),
            // Between none and the first that were measured.
            Some(time) if self.decoders.first().is_some_and(|(first, _)| decoders < *first) => {
                let (first, contexts) = &self.decoders[0];
                let (with, beyond) = by_context(contexts, context);
                (time + (with - time) * decoders / first, beyond)
            }
            Some(time) if self.decoders.is_empty() => (time, Some(Axis::Decoders)),
            _ => of_decoders(&self.decoders, decoders, context),
        }
    }
}

fn by_cached(rows: &[&Attention]) -> By<Beside> {
    let beside = |rows: &[&Attention]| {
        let alone = rows.iter().find(|row| row.decoders == 0).map(|row| row.time);
        (rows[0].cached, Beside { alone, decoders: by_decoders(rows) })
    };
    rows.chunk_by(|one, other| one.cached.total_cmp(&other.cached).is_eq()).map(beside).collect()
}

fn by_decoders(rows: &[&Attention]) -> By<Contexts> {
    let contexts = |rows: &[&Attention]| {
        (rows[0].decoders as f64, rows.iter().map(|row| (row.context as f64, row.time)).collect())
    };
    let with = rows.partition_point(|row| row.decoders == 0);
    rows[with..].chunk_by(|one, other| one.decoders == other.decoders).map(contexts).collect()
}

fn of_decoders(all: &[(f64, Contexts)], decoders: f64, context: f64) -> Told {
    between(all, decoders, Axis::Decoders, |contexts| by_context(contexts, context))
}

fn by_context(contexts: &Contexts, context: f64) -> Told {
    between(contexts, context, Axis::Context, |time| (*time, None))
}

/// The places on both sides of a value: one where it is met or below all, the last two where it is above all.
fn sides<T>(by: &[(f64, T)], value: f64) -> Range<usize> {
    let above = by.partition_point(|(at, _)| *at < value);
    match by.get(above) {
        Some((at, _)) if above == 0 || *at <= value => above..above + 1,
        Some(_) => above - 1..above + 1,
        None => by.len().saturating_sub(2)..by.len(),
    }
}

/// The duration at a value: as `of` has it on both sides, and the straight line between the two. Durations do not fall above
/// all that was measured.
fn between<T>(by: &[(f64, T)], value: f64, axis: Axis, of: impl Fn(&T) -> Told) -> Told {
    let above = by.partition_point(|(at, _)| *at < value);
    let place = |place: usize| (by[place].0, of(&by[place].1));
    match by.get(above) {
        Some((at, it)) if above == 0 || *at <= value => of(it),
        Some(_) => {
            let ((x0, (y0, one)), (x1, (y1, other))) = (place(above - 1), place(above));
            (y0 + (y1 - y0) * (value - x0) / (x1 - x0), one.or(other))
        }
        None if by.len() == 1 => (place(0).1.0, Some(axis)),
        None => {
            let ((x0, (y0, _)), (x1, (y1, _))) = (place(by.len() - 2), place(by.len() - 1));
            (y1 + (y1 - y0).max(0.0) * (value - x1) / (x1 - x0), Some(axis))
        }
    }
}

fn whole(tokens: f64) -> u64 {
    libm::floor(tokens + 1e-6) as u64
}
