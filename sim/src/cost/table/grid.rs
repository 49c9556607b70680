//! Attention by four quantities: multilinear between the points of a grid.
//!
//! Chunk 0 (nobody computes a prompt) and 0 decoders are planes of their own: there is no cached prefix before no chunk, and no
//! context of no decoder. Points that a profiler left out, such as most decoders beside a chunk, are continued from fewer
//! decoders, else from less context; whoever looks there is told.

use super::{Attention, Axis, InvalidProfile, Line};
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

/// A pass of one chunk and decoders of equal context.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) chunk: f64,
    pub(super) cached: f64,
    pub(super) decoders: f64,
    pub(super) context: f64,
}

/// Microseconds of one layer's attention.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Grid {
    /// Values of chunk, cached, decoders, context; the first of each is 0 but of the last.
    axes: [Vec<f64>; 4],
    times: Vec<f64>,
    /// Which of them were not measured.
    continued: Vec<bool>,
}

/// The places of an axis on both sides of a value, and how far it is from the first to the second.
#[derive(Clone, Copy)]
struct Between {
    low: usize,
    high: usize,
    part: f64,
    beyond: bool,
}

const NAMES: [Axis; 4] = [Axis::Chunk, Axis::Cached, Axis::Decoders, Axis::Context];
const DECODERS: usize = 2;
const CONTEXT: usize = 3;

impl Grid {
    pub(super) fn new(rows: &[Attention]) -> Result<Self, InvalidProfile> {
        if rows.is_empty() {
            return Err(InvalidProfile::Missing("attention"));
        }
        let values = |of: fn(&Attention) -> u64, counts: fn(&Attention) -> bool| {
            let mut axis: Vec<f64> = rows.iter().filter(|row| counts(row)).map(|row| of(row) as f64).collect();
            axis.sort_unstable_by(f64::total_cmp);
            axis.dedup();
            axis
        };
        let mut axes = [
            values(|row| row.chunk, |_| true),
            values(|row| row.cached, |row| row.chunk > 0),
            values(|row| row.decoders, |_| true),
            values(|row| row.context, |row| row.decoders > 0),
        ];
        for axis in [0, DECODERS] {
            if axes[axis].first() != Some(&0.0) {
                axes[axis].insert(0, 0.0);
            }
        }
        if let Some(short) = (0..4).find(|axis| axes[*axis].len() < 2) {
            return Err(InvalidProfile::Short(NAMES[short]));
        }
        let size = axes.iter().map(Vec::len).product();
        let mut grid = Self { axes, times: vec![f64::NAN; size], continued: vec![false; size] };
        for row in rows {
            grid.enter(row)?;
        }
        grid.fill()?;
        Ok(grid)
    }

    fn enter(&mut self, row: &Attention) -> Result<(), InvalidProfile> {
        let what = || {
            format!(
                "attention of a chunk of {} behind {}, {} decoders of {}",
                row.chunk, row.cached, row.decoders, row.context
            )
        };
        if !(row.time.is_finite() && row.time > 0.0) {
            return Err(InvalidProfile::Time { what: what(), time: row.time.to_string() });
        }
        let place = |axis: usize, value: u64| {
            self.axes[axis].binary_search_by(|at| at.total_cmp(&(value as f64))).unwrap_or_default()
        };
        let at = [place(0, row.chunk), place(1, row.cached), place(2, row.decoders), place(3, row.context)];
        let index = self.index(at);
        if !self.times[index].is_nan() {
            return Err(InvalidProfile::Twice(what()));
        }
        self.times[index] = row.time;
        Ok(())
    }

    /// Where a point is kept: what is nothing has one place.
    fn index(&self, [chunk, cached, decoders, context]: [usize; 4]) -> usize {
        let cached = if chunk == 0 { 0 } else { cached };
        let context = if decoders == 0 { 0 } else { context };
        let [_, all_cached, all_decoders, all_contexts] = self.axes.each_ref().map(Vec::len);
        ((chunk * all_cached + cached) * all_decoders + decoders) * all_contexts + context
    }

    /// Continues the grid where nothing was measured, from the side of few decoders and short contexts.
    fn fill(&mut self) -> Result<(), InvalidProfile> {
        let sizes = self.axes.each_ref().map(Vec::len);
        self.times[0] = 0.0; // no chunk and no decoder
        for chunk in 0..sizes[0] {
            for cached in 0..sizes[1] {
                for decoders in 0..sizes[2] {
                    for context in 0..sizes[3] {
                        let at = [chunk, cached, decoders, context];
                        let index = self.index(at);
                        if self.times[index].is_nan() {
                            self.times[index] = self.continuation(at).ok_or_else(|| self.hole(at))?;
                            self.continued[index] = true;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn continuation(&self, at: [usize; 4]) -> Option<f64> {
        [DECODERS, CONTEXT].into_iter().find_map(|axis| {
            // From decoders on both sides of "none" nothing follows.
            let least = if axis == DECODERS { 1 } else { 0 };
            let (one, two) = (at[axis].checked_sub(1)?, at[axis].checked_sub(2).filter(|place| *place >= least)?);
            let with = |place: usize| {
                let mut other = at;
                other[axis] = place;
                let time = self.times[self.index(other)];
                (!time.is_nan()).then_some((self.axes[axis][place], time))
            };
            let ((x1, y1), (x0, y0)) = (with(one)?, with(two)?);
            Some(y1 + (y1 - y0).max(0.0) * (self.axes[axis][at[axis]] - x1) / (x1 - x0))
        })
    }

    fn hole(&self, at: [usize; 4]) -> InvalidProfile {
        InvalidProfile::Hole { at: core::array::from_fn(|axis| self.axes[axis][at[axis]] as u64) }
    }

    fn between(&self, axis: usize, value: f64) -> Between {
        let points = &self.axes[axis];
        let high = points.partition_point(|at| *at < value).clamp(1, points.len() - 1);
        let low = high - 1;
        // Below the first point as there, above the last one on along the last two.
        let part = ((value - points[low]) / (points[high] - points[low])).max(0.0);
        Between { low, high, part, beyond: part > 1.0 }
    }

    /// The duration at a point, and of what it has more than the grid.
    pub(super) fn at(&self, point: &Point) -> (f64, Option<Axis>) {
        let sides = [
            self.between(0, point.chunk),
            self.between(1, point.cached),
            self.between(2, point.decoders),
            self.between(3, point.context),
        ];
        let (mut time, mut beyond) = (0.0, (0..4).find(|axis| sides[*axis].beyond).map(|axis| NAMES[axis]));
        for corner in 0..16_usize {
            let upper = |axis: usize| corner >> axis & 1 == 1;
            let weight: f64 =
                (0..4).map(|axis| if upper(axis) { sides[axis].part } else { 1.0 - sides[axis].part }).product();
            if weight == 0.0 {
                continue;
            }
            let index =
                self.index(core::array::from_fn(|axis| if upper(axis) { sides[axis].high } else { sides[axis].low }));
            time += weight * self.times[index];
            if self.continued[index] {
                beyond = beyond.or(Some(Axis::Decoders));
            }
        }
        (time.max(0.0), beyond)
    }

    /// Decoders alone, of equal context, as a line in the context of all of them around `context`. The line is the same for
    /// every context between two points of the grid.
    pub(super) fn line(&self, decoders: u64, context: u64) -> Line {
        let each = context as f64 / decoders as f64;
        let side = self.between(CONTEXT, each);
        let (low, high) = (self.axes[CONTEXT][side.low], self.axes[CONTEXT][side.high]);
        let time = |context: f64| self.at(&Point { chunk: 0.0, cached: 0.0, decoders: decoders as f64, context }).0;
        if each <= low {
            return Line { base: time(low), slope: 0.0, valid_to: (low * decoders as f64) as u64 };
        }
        let slope = ((time(high) - time(low)) / (high - low)).max(0.0);
        let last = side.high + 1 == self.axes[CONTEXT].len();
        let valid_to = if last { u64::MAX } else { (high * decoders as f64) as u64 };
        Line { base: time(low) - slope * low, slope: slope / decoders as f64, valid_to }
    }

    /// Decoders alone at the shortest context.
    pub(super) fn least(&self, decoders: u64) -> f64 {
        let context = self.axes[CONTEXT][0];
        self.at(&Point { chunk: 0.0, cached: 0.0, decoders: decoders as f64, context }).0
    }

    pub(super) fn most_decoders(&self) -> f64 {
        self.axes[DECODERS][self.axes[DECODERS].len() - 1]
    }

    pub(super) fn most_context(&self) -> f64 {
        self.axes[CONTEXT][self.axes[CONTEXT].len() - 1]
    }

    /// Values along the axis of decoders, without none.
    pub(super) fn decoders(&self) -> &[f64] {
        &self.axes[DECODERS][1..]
    }

    /// Contexts, rising.
    pub(super) fn contexts(&self) -> &[f64] {
        &self.axes[CONTEXT]
    }

    /// The shortest chunk that was measured.
    pub(super) fn shortest_chunk(&self) -> f64 {
        self.axes[0][1]
    }
}
