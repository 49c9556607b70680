//! The arithmetic of a worker on the CPU, and all of its unsafe code.
//!
//! Law: **what a row becomes depends on that row alone**, never on how many others are computed beside it, on the number
//! of threads, on where its pages lie, or on the dialect (AVX2 or portable). Sums have one order, told in each module. On
//! this rests that a prompt has bit-identical logits however it is cut into chunks, batched, cached or moved.

mod lanes; // the operations, in two dialects
mod team; // threads of one worker
mod pack; // weights
mod quantise; // activations
mod linear;
mod rows; // norm, rotation, activation
mod attend;

#[cfg(test)]
mod tests;

pub use attend::{Heads, Kv, Rows, Scratch, attend};
pub use lanes::Level;
pub use linear::{Into, linear};
pub use pack::{BLOCK, Eight, Four, PANEL, Packed};
pub use quantise::{Act, Acts, quantise};
pub use rows::{gate, norm, rotate};
pub use team::Team;

use lanes::{Lanes, Task, run};

/// Rows of floats; the stride is a multiple of 32.
#[derive(Debug, Default)]
pub struct Matrix {
    rows: usize,
    stride: usize,
    values: Vec<f32>,
}

impl Matrix {
    /// Makes room for rows of `cols` values, whatever these are now.
    pub fn reshape(&mut self, rows: usize, cols: usize) {
        (self.rows, self.stride) = (rows, cols.next_multiple_of(BLOCK));
        if self.values.len() < rows * self.stride {
            self.values.resize(rows * self.stride, 0.0);
        }
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Values from one row to the next.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// One row, as long as the stride.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.stride..(row + 1) * self.stride]
    }

    /// One row, to write.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * self.stride..(row + 1) * self.stride]
    }

    fn all_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.rows * self.stride]
    }
}

/// Rounds to the nearest halves; what is greater than the greatest half becomes that.
///
/// # Panics
/// Where lengths differ or are no multiple of 8.
pub fn halve(level: Level, from: &[f32], to: &mut [u16]) {
    struct Halve<'a>(&'a [f32], &'a mut [u16]);
    impl Task for Halve<'_> {
        #[inline(always)]
        fn run<L: Lanes>(self, l: L) {
            let most = half::f16::MAX.to_f32();
            let (least, most) = (l.splat(-most), l.splat(most));
            for (from, to) in self.0.as_chunks::<8>().0.iter().zip(self.1.as_chunks_mut::<8>().0) {
                l.store_half(l.min(l.max(l.load(from), least), most), to);
            }
        }
    }
    assert!(from.len() == to.len() && from.len().is_multiple_of(8), "whole eights");
    run(level, Halve(from, to));
}
