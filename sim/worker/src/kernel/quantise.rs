//! Activations in 8 bits, as llama.cpp's Q8_1 has them: 32 values share a scale.
//!
//! The scale, and the sum of the values that the least of 4-bit weights is multiplied by, are rounded to halves as there,
//! since podlab's tokens are compared with llama.cpp's; a sum that no half can hold stays a float.

use super::Matrix;
use super::lanes::{Lanes, Level, Task, run};
use super::pack::BLOCK;
use super::team::{Disjoint, Team};

/// 32 activations of one row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Act {
    /// Four at a time, the first in the lowest byte; from -127 to 127.
    pub(super) q: [i32; 8],
    /// What a step is worth.
    pub(super) scale: f32,
    /// The scale times the sum of the steps.
    pub(super) sum: f32,
}

/// Rows of activations in 8 bits; room for more rows is kept.
#[derive(Debug, Default)]
pub struct Acts {
    rows: usize,
    blocks: usize,
    acts: Vec<Act>,
}

impl Acts {
    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Blocks of 32 per row.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// One row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[Act] {
        &self.acts[row * self.blocks..(row + 1) * self.blocks]
    }

    /// Makes room for rows of `depth` values, whatever these are now.
    pub fn reshape(&mut self, rows: usize, depth: usize) {
        (self.rows, self.blocks) = (rows, depth.div_ceil(BLOCK));
        if self.acts.len() < rows * self.blocks {
            self.acts.resize(rows * self.blocks, Act::default());
        }
    }

    pub(super) fn all_mut(&mut self) -> &mut [Act] {
        &mut self.acts[..self.rows * self.blocks]
    }
}

/// The first `depth` values of the first `rows` rows of `x` in 8 bits; `depth` is a multiple of 32.
pub fn quantise(level: Level, team: &Team, x: &Matrix, rows: usize, depth: usize, into: &mut Acts) {
    into.reshape(rows, depth);
    let blocks = into.blocks();
    let out = Disjoint::new(into.all_mut());
    team.split_large(rows, depth, |range| {
        for row in range {
            run(level, Row { x: &x.row(row)[..depth], to: out.span(row * blocks, blocks) });
        }
    });
}

/// Quantises one row.
pub(super) struct Row<'a> {
    pub(super) x: &'a [f32],
    pub(super) to: &'a mut [Act],
}

impl Task for Row<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let (blocks, rest) = self.x.as_chunks::<8>().0.as_chunks::<4>();
        assert!(rest.is_empty() && blocks.len() == self.to.len(), "whole blocks");
        for (x, to) in blocks.iter().zip(self.to) {
            *to = block(l, x);
        }
    }
}

#[inline(always)]
fn block<L: Lanes>(l: L, x: &[[f32; 8]; 4]) -> Act {
    let x = [l.load(&x[0]), l.load(&x[1]), l.load(&x[2]), l.load(&x[3])];
    let most = l.max(l.max(l.abs(x[0]), l.abs(x[1])), l.max(l.abs(x[2]), l.abs(x[3])));
    let most = l.greatest(most);
    let (scale, per) = if most > 0.0 { (most / 127.0, 127.0 / most) } else { (0.0, 0.0) };
    // 127 / most is infinite where `most` is among the least of floats: such a block counts as zero.
    let per = if per.is_finite() { per } else { 0.0 };
    let per = l.splat(per);
    let steps = x.map(|x| l.round(l.mul(x, per)));
    let whole = l.sum(l.add(l.add(steps[0], steps[1]), l.add(steps[2], steps[3])));
    let sum = scale * whole;
    let mut halves = [0; 8];
    l.store_half(l.load(&[scale, sum, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]), &mut halves);
    let rounded = l.to_array(l.load_half(&halves));
    let mut q = [0; 8];
    for (pair, steps) in q.chunks_exact_mut(2).zip(steps) {
        let b = l.narrow(steps).map(i8::cast_unsigned);
        pair[0] = i32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        pair[1] = i32::from_le_bytes([b[4], b[5], b[6], b[7]]);
    }
    Act { q, scale: rounded[0], sum: if rounded[1].is_finite() { rounded[1] } else { sum } }
}
