//! What a row is put through between two linear layers: norm, rotation, activation. Each row by itself.

use super::Matrix;
use super::lanes::{Lanes, Level, Task, run};
use super::quantise::{Acts, Row};
use super::team::{Disjoint, Team};

/// e to the power of `x` to about 2 units in the last place; zero below -87, and above 88 what that has. (Cephes: a
/// polynomial between two powers of two.)
#[inline(always)]
pub(super) fn exp<L: Lanes>(l: L, x: L::F) -> L::F {
    let least = l.splat(-87.0);
    let bounded = l.min(l.max(x, least), l.splat(88.0));
    let power = l.round(l.mul(bounded, l.splat(core::f32::consts::LOG2_E)));
    let rest = l.fma(power, l.splat(-0.693_359_4), bounded);
    let rest = l.fma(power, l.splat(2.121_944_4e-4), rest);
    let mut sum = l.splat(1.987_569_1e-4);
    for next in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        sum = l.fma(sum, rest, l.splat(next));
    }
    let sum = l.fma(sum, l.mul(rest, rest), rest);
    let result = l.mul(l.add(sum, l.splat(1.0)), l.exp2_whole(power));
    l.keep_at_least(result, x, least)
}

/// Root-mean-square norm of the first `rows` rows of `x`, times `weight`, in 8 bits.
pub fn norm(level: Level, team: &Team, x: &Matrix, rows: &[usize], weight: &[f32], eps: f32, into: &mut Acts) {
    let depth = weight.len();
    into.reshape(rows.len(), depth);
    let blocks = into.blocks();
    let out = Disjoint::new(into.all_mut());
    team.split_large(rows.len(), depth, |range| {
        let mut normed = vec![0.0; depth];
        for place in range {
            let x = &x.row(rows[place])[..depth];
            run(level, Norm { x, weight, eps, normed: &mut normed });
            run(level, Row { x: &normed, to: out.span(place * blocks, blocks) });
        }
    });
}

struct Norm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    normed: &'a mut [f32],
}

impl Task for Norm<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let (x, weight) = (self.x.as_chunks::<8>().0, self.weight.as_chunks::<8>().0);
        let mut squares = l.splat(0.0);
        for x in x {
            let x = l.load(x);
            squares = l.fma(x, x, squares);
        }
        let mean = l.sum(squares) / self.x.len() as f32;
        let scale = l.splat(1.0 / (mean + self.eps).sqrt());
        for ((x, weight), to) in x.iter().zip(weight).zip(self.normed.as_chunks_mut::<8>().0) {
            l.store(l.mul(l.mul(l.load(x), scale), l.load(weight)), to);
        }
    }
}

/// `silu(gate) * up` of the first `rows` rows in 8 bits: gates are the first `depth` values of a row, ups the next.
pub fn gate(level: Level, team: &Team, x: &Matrix, rows: usize, depth: usize, into: &mut Acts) {
    into.reshape(rows, depth);
    let blocks = into.blocks();
    let out = Disjoint::new(into.all_mut());
    team.split_large(rows, depth, |range| {
        let mut gated = vec![0.0; depth];
        for row in range {
            let (gates, ups) = x.row(row)[..2 * depth].split_at(depth);
            run(level, Gate { gates, ups, gated: &mut gated });
            run(level, Row { x: &gated, to: out.span(row * blocks, blocks) });
        }
    });
}

struct Gate<'a> {
    gates: &'a [f32],
    ups: &'a [f32],
    gated: &'a mut [f32],
}

impl Task for Gate<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let one = l.splat(1.0);
        let pairs = self.gates.as_chunks::<8>().0.iter().zip(self.ups.as_chunks::<8>().0);
        for ((gate, up), to) in pairs.zip(self.gated.as_chunks_mut::<8>().0) {
            let gate = l.load(gate);
            let silu = l.div(gate, l.add(one, exp(l, l.sub(l.splat(0.0), gate))));
            l.store(l.mul(silu, l.load(up)), to);
        }
    }
}

/// Turns the first `heads` heads of each row by its position's angles: value `i` of a head together with value `i + d/2`.
/// `angles(row)` has `d/2` cosines, then as many sines.
pub fn rotate<'a>(
    level: Level,
    team: &Team,
    x: &mut Matrix,
    rows: usize,
    (heads, dim): (usize, usize),
    angles: impl Fn(usize) -> &'a [f32] + Sync,
) {
    let stride = x.stride();
    let all = Disjoint::new(x.all_mut());
    team.split_large(rows, heads * dim, |range| {
        for row in range {
            let angles = angles(row);
            for head in all.span(row * stride, heads * dim).chunks_exact_mut(dim) {
                run(level, Rotate { head, angles });
            }
        }
    });
}

struct Rotate<'a> {
    head: &'a mut [f32],
    angles: &'a [f32],
}

impl Task for Rotate<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let half = self.head.len() / 2;
        let (first, second) = self.head.split_at_mut(half);
        let (cos, sin) = self.angles.split_at(half);
        let pairs = first.as_chunks_mut::<8>().0.iter_mut().zip(second.as_chunks_mut::<8>().0);
        for ((a, b), (cos, sin)) in pairs.zip(cos.as_chunks::<8>().0.iter().zip(sin.as_chunks::<8>().0)) {
            let (x, y, cos, sin) = (l.load(a), l.load(b), l.load(cos), l.load(sin));
            l.store(l.sub(l.mul(x, cos), l.mul(y, sin)), a);
            l.store(l.fma(x, sin, l.mul(y, cos)), b);
        }
    }
}
