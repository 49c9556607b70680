//! A linear layer: int8 activations times packed weights.
//!
//! Per block of 32 inputs the products are integers and their sum is exact; blocks are added up in `f32`, ascending, one
//! fused multiply-add for the products and, in 4 bits, one for the least. No output of a row depends on how many other
//! rows there are, on how columns are dealt to threads, or on the dialect.

use super::Matrix;
use super::lanes::{Lanes, Level, Task, run};
use super::pack::{Block4, Block8, Kind, PANEL, Packed};
use super::quantise::{Act, Acts};
use super::team::{Disjoint, Team};

/// Rows whose activations stay in the cache while all panels pass by: a quarter of a megabyte of them.
const CACHED: usize = 256 << 10;

/// What becomes of the outputs.
#[derive(Clone, Copy, Debug)]
pub enum Into<'a> {
    /// They replace what was there.
    Set,
    /// They replace what was there, a bias added: one value for each output.
    Biased(&'a [f32]),
    /// They are added to what was there.
    Add,
}

/// `y[.., from..] = x w`, for the first `x.rows()` rows of `y`.
///
/// # Panics
/// Where shapes do not fit.
pub fn linear(level: Level, team: &Team, w: &Packed, x: &Acts, y: &mut Matrix, from: usize, into: Into<'_>) {
    assert_eq!(x.blocks(), w.blocks(), "as many inputs as the matrix has");
    assert!(from.is_multiple_of(PANEL) && from + w.panels() * PANEL <= y.stride(), "outputs fit");
    assert!(x.rows() <= y.rows(), "rows fit");
    if let Into::Biased(bias) = into {
        assert!(bias.len() == w.panels() * PANEL, "a bias for every output");
    }
    let stride = y.stride();
    let out = Disjoint::new(y.all_mut());
    team.split(w.panels(), |panels| {
        let place = Place { out: &out, stride, from, into };
        match &w.kind {
            Kind::Four(blocks) => run(level, Tiles { blocks, panels, x, place }),
            Kind::FourWide(blocks) => run(level, Tiles { blocks, panels, x, place }),
            Kind::Eight(blocks) => run(level, Tiles { blocks, panels, x, place }),
        }
    });
}

/// Where outputs go.
#[derive(Clone, Copy)]
struct Place<'a> {
    out: &'a Disjoint<'a, f32>,
    stride: usize,
    from: usize,
    into: Into<'a>,
}

impl Place<'_> {
    #[inline(always)]
    fn put<L: Lanes>(&self, l: L, row: usize, panel: usize, sum: L::F) {
        let at = row * self.stride + self.from + panel * PANEL;
        let to = self.out.eight(at);
        let sum = match self.into {
            Into::Set => sum,
            Into::Biased(bias) => l.add(sum, l.load(&bias.as_chunks().0[panel])),
            Into::Add => l.add(l.load(to), sum),
        };
        l.store(sum, to);
    }
}

struct Tiles<'a, B> {
    blocks: &'a [B],
    panels: core::ops::Range<usize>,
    x: &'a Acts,
    place: Place<'a>,
}

impl<B: Block> Task for Tiles<'_, B> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let (rows, blocks) = (self.x.rows(), self.x.blocks());
        let cached = (CACHED / (blocks * size_of::<Act>())).max(8) / 8 * 8;
        let mut first = 0;
        while first < rows {
            let last = (first + cached).min(rows);
            for panel in self.panels.clone() {
                let weights = &self.blocks[panel * blocks..(panel + 1) * blocks];
                let mut row = first;
                while row < last {
                    row += match last - row {
                        1 => self.tile::<L, 1>(l, weights, row, panel),
                        2 => self.tile::<L, 2>(l, weights, row, panel),
                        3 => self.tile::<L, 3>(l, weights, row, panel),
                        _ => self.tile::<L, 4>(l, weights, row, panel),
                    };
                }
            }
            first = last;
        }
    }
}

impl<B: Block> Tiles<'_, B> {
    #[inline(always)]
    fn tile<L: Lanes, const R: usize>(&self, l: L, weights: &[B], row: usize, panel: usize) -> usize {
        let n = weights.len();
        let x: [&[Act]; R] = core::array::from_fn(|r| &self.x.row(row + r)[..n]);
        let mut sums = [l.splat(0.0); R];
        for (at, block) in weights.iter().enumerate() {
            block.add(l, core::array::from_fn(|r| &x[r][at]), &mut sums);
        }
        for (r, sum) in sums.into_iter().enumerate() {
            self.place.put(l, row + r, panel, sum);
        }
        R
    }
}

/// A block of weights: 32 inputs, 8 outputs.
trait Block: Sync {
    /// Adds what it makes of the activations of `R` rows to their sums.
    fn add<L: Lanes, const R: usize>(&self, l: L, x: [&Act; R], sums: &mut [L::F; R]);
}

/// Eight scales.
trait Scales: Copy + Sync {
    fn load<L: Lanes>(l: L, from: &[Self; 8]) -> L::F;
}

impl Scales for u16 {
    #[inline(always)]
    fn load<L: Lanes>(l: L, from: &[Self; 8]) -> L::F {
        l.load_half(from)
    }
}

impl Scales for f32 {
    #[inline(always)]
    fn load<L: Lanes>(l: L, from: &[Self; 8]) -> L::F {
        l.load(from)
    }
}

impl<S: Scales> Block for Block4<S> {
    #[inline(always)]
    fn add<L: Lanes, const R: usize>(&self, l: L, x: [&Act; R], sums: &mut [L::F; R]) {
        // 16 products of a weight up to 15 with an activation up to 127 are below 2^15: 8 pairs fit into 16 bits.
        let mut words = [l.zero_words(); R];
        for (j, q) in self.q.iter().enumerate() {
            let (low, high) = l.nibbles(l.bytes(q));
            for r in 0..R {
                words[r] = l.dot_nibbles(words[r], low, l.splat_bytes(x[r].q[2 * j]));
                words[r] = l.dot_nibbles(words[r], high, l.splat_bytes(x[r].q[2 * j + 1]));
            }
        }
        let (scale, least) = (S::load(l, &self.scale), S::load(l, &self.least));
        for r in 0..R {
            let dot = l.ints(l.pairs(words[r]));
            sums[r] = l.fma(dot, l.mul(scale, l.splat(x[r].scale)), sums[r]);
            sums[r] = l.fma(least, l.splat(x[r].sum), sums[r]);
        }
    }
}

impl Block for Block8 {
    #[inline(always)]
    fn add<L: Lanes, const R: usize>(&self, l: L, x: [&Act; R], sums: &mut [L::F; R]) {
        let mut dots = [l.zero_ints(); R];
        for (j, q) in self.q.iter().enumerate() {
            let w = l.signed_bytes(q);
            for r in 0..R {
                dots[r] = l.dot_bytes(dots[r], w, l.splat_bytes(x[r].q[j]));
            }
        }
        let scale = l.load_half(&self.scale);
        for r in 0..R {
            sums[r] = l.fma(l.ints(dots[r]), l.mul(scale, l.splat(x[r].scale)), sums[r]);
        }
    }
}
