//! Causal attention of the rows of a batch over KV pages in halves.
//!
//! Keys are taken in tiles of 64 that begin at multiples of 64 of the position, whatever page they lie on, and a row's
//! tiles in ascending order: the scores of a tile, its greatest, what is left of the sums so far, and the tile's values
//! added key by key. So a row's result depends on its own position and on the keys and values before it, and on nothing
//! that happens to be computed beside it. Heads that share keys and values go through a tile together.

use super::Matrix;
use super::lanes::{Lanes, Level, Task, run};
use super::rows::exp;
use super::team::{Disjoint, Team};
use core::ops::Range;

/// Keys per tile.
const TILE: usize = 64;
/// Query rows, a token and a head each, that share the conversion of a tile.
const TOGETHER: usize = 96;

/// How heads are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads per key and value head.
    pub group: usize,
    /// Heads of keys and values.
    pub kv: usize,
    /// Values of a head, a multiple of 16.
    pub dim: usize,
}

/// The rows of one sequence in the batch.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Its rows of the batch.
    pub rows: Range<usize>,
    /// Position of the first.
    pub start: usize,
}

/// Memory that a thread needs.
#[derive(Debug, Default)]
pub struct Scratch {
    keys: Vec<[f32; TILE]>,
    values: Vec<f32>,
    scores: Vec<[f32; TILE]>,
    sums: Vec<f32>,
    state: Vec<State>,
}

/// What a row has seen so far.
#[derive(Clone, Copy, Debug)]
struct State {
    greatest: f32,
    total: f32,
    /// By what its sums shrink with the tile under way.
    shrink: f32,
}

/// What a sequence has in its pages: `head(sequence, page, kv head)` is the keys, by dimension, then the values, by token.
pub trait Kv: Sync {
    /// Tokens per page, a multiple of 8.
    fn page(&self) -> usize;
    /// The halves of one head on the `page`-th page of a sequence of the batch.
    fn head(&self, sequence: usize, page: usize, head: usize) -> &[u16];
}

/// `out = softmax(q k / sqrt(d)) v` for all rows of all sequences: the first heads of each row of `q` into those of `out`.
pub fn attend(
    level: Level,
    team: &Team,
    heads: Heads,
    (q, out): (&Matrix, &mut Matrix),
    batch: &[Rows],
    kv: &impl Kv,
    scratch: &mut [Scratch],
) {
    assert!(scratch.len() >= team.threads(), "memory for every thread");
    let tokens = (TOGETHER / heads.group).max(1);
    let mut units = Vec::new();
    for (sequence, part) in batch.iter().enumerate() {
        for first in part.rows.clone().step_by(tokens) {
            let rows = first..(first + tokens).min(part.rows.end);
            units.extend((0..heads.kv).map(|head| (sequence, head, rows.clone())));
        }
    }
    // The longest first, so that no thread is left with them.
    let last = |(sequence, _, rows): &(usize, usize, Range<usize>)| {
        batch[*sequence].start + rows.end - batch[*sequence].rows.start
    };
    units.sort_by_key(|unit| core::cmp::Reverse(last(unit)));
    let stride = out.stride();
    let out = Disjoint::new(out.all_mut());
    let scratch = Disjoint::new(scratch);
    team.deal(units.len(), |rank, at| {
        let (sequence, head, rows) = units[at].clone();
        let start = batch[sequence].start + rows.start - batch[sequence].rows.start;
        let [scratch] = scratch.span(rank, 1) else { unreachable!("one") };
        run(level, Unit { heads, q, out: &out, stride, kv, sequence, head, rows, start, scratch });
    });
}

/// Some rows of one sequence, all query heads of one key and value head.
struct Unit<'a, K> {
    heads: Heads,
    q: &'a Matrix,
    out: &'a Disjoint<'a, f32>,
    stride: usize,
    kv: &'a K,
    sequence: usize,
    head: usize,
    rows: Range<usize>,
    start: usize,
    scratch: &'a mut Scratch,
}

impl<K: Kv> Task for Unit<'_, K> {
    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        let (group, dim) = (self.heads.group, self.heads.dim);
        let (tokens, rows) = (self.rows.len(), self.rows.len() * group);
        self.scratch.prepare(rows, dim);
        let end = self.start + tokens;
        for first in (0..end).step_by(TILE) {
            let keys = (end - first).min(TILE);
            self.widen(l, first, keys);
            // Rows before the tile do not see it.
            let from = first.saturating_sub(self.start) * group;
            let mut row = from;
            while row < rows {
                row += match rows - row {
                    1 => self.score::<L, 1>(l, row),
                    2 => self.score::<L, 2>(l, row),
                    _ => self.score::<L, 3>(l, row),
                };
            }
            for row in from..rows {
                let seen = self.start + row / group + 1 - first;
                let Scratch { scores, state, .. } = &mut *self.scratch;
                weigh(l, &mut scores[row], &mut state[row], seen, dim);
            }
            let mut row = from;
            while row < rows {
                row += match rows - row {
                    1 => self.gather::<L, 1>(l, row, keys),
                    2 => self.gather::<L, 2>(l, row, keys),
                    3 => self.gather::<L, 3>(l, row, keys),
                    _ => self.gather::<L, 4>(l, row, keys),
                };
            }
        }
        for row in 0..rows {
            let total = l.splat(self.scratch.state[row].total);
            let place = (self.rows.start + row / group) * self.stride + (self.head * group + row % group) * dim;
            let sums = &self.scratch.sums[row * dim..(row + 1) * dim];
            for (at, sum) in sums.as_chunks::<8>().0.iter().enumerate() {
                l.store(l.div(l.load(sum), total), self.out.eight(place + 8 * at));
            }
        }
    }
}

impl Scratch {
    fn prepare(&mut self, rows: usize, dim: usize) {
        self.keys.resize(dim, [0.0; TILE]);
        self.values.resize(TILE * dim, 0.0);
        self.scores.resize(rows.max(self.scores.len()), [0.0; TILE]);
        self.sums.clear();
        self.sums.resize(rows * dim, 0.0);
        self.state.clear();
        self.state.resize(rows, State { greatest: f32::NEG_INFINITY, total: 0.0, shrink: 0.0 });
    }
}

impl<K: Kv> Unit<'_, K> {
    /// The tile's keys and values as floats. Eight keys at a time: what lies behind the last one counts for nobody.
    #[inline(always)]
    fn widen<L: Lanes>(&mut self, l: L, first: usize, keys: usize) {
        let (page, dim) = (self.kv.page(), self.heads.dim);
        for eight in (0..keys).step_by(8) {
            let at = first + eight;
            let halves = self.kv.head(self.sequence, at / page, self.head);
            let (by_dim, by_token) = halves.split_at(dim * page);
            let slot = at % page;
            for (key, of_dim) in self.scratch.keys.iter_mut().zip(by_dim.chunks_exact(page)) {
                let from = &of_dim[slot..].as_chunks::<8>().0[0];
                l.store(l.load_half(from), &mut key[eight..].as_chunks_mut::<8>().0[0]);
            }
            let known = (keys - eight).min(8) * dim;
            let from = by_token[slot * dim..][..known].as_chunks::<8>().0;
            let to = self.scratch.values[eight * dim..][..known].as_chunks_mut::<8>().0;
            for (from, to) in from.iter().zip(to) {
                l.store(l.load_half(from), to);
            }
        }
    }

    /// The products of `R` rows with all keys of the tile, each in ascending dimension.
    #[inline(always)]
    fn score<L: Lanes, const R: usize>(&mut self, l: L, row: usize) -> usize {
        let (group, dim) = (self.heads.group, self.heads.dim);
        let q: [&[f32]; R] = core::array::from_fn(|r| {
            let (token, head) = ((row + r) / group, (row + r) % group);
            &self.q.row(self.rows.start + token)[(self.head * group + head) * dim..][..dim]
        });
        let Scratch { keys, scores, .. } = &mut *self.scratch;
        for part in 0..TILE / 32 {
            let mut sums = [[l.splat(0.0); 4]; R];
            for (d, key) in keys[..dim].iter().enumerate() {
                let key: &[[f32; 8]; 4] = &key.as_chunks::<8>().0.as_chunks::<4>().0[part];
                let q: [L::F; R] = core::array::from_fn(|r| l.splat(q[r][d]));
                for (i, key) in key.iter().enumerate() {
                    let key = l.load(key);
                    for r in 0..R {
                        sums[r][i] = l.fma(q[r], key, sums[r][i]);
                    }
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                let to = &mut scores[row + r].as_chunks_mut::<8>().0.as_chunks_mut::<4>().0[part];
                for (sum, to) in sums.into_iter().zip(to) {
                    l.store(sum, to);
                }
            }
        }
        R
    }

    /// Adds the tile's values, weighed, to the sums of `R` rows.
    #[inline(always)]
    fn gather<L: Lanes, const R: usize>(&mut self, l: L, row: usize, keys: usize) -> usize {
        let dim = self.heads.dim;
        let Scratch { values, scores, sums, state, .. } = &mut *self.scratch;
        let weights: [&[f32; TILE]; R] = core::array::from_fn(|r| &scores[row + r]);
        let shrink: [L::F; R] = core::array::from_fn(|r| l.splat(state[row + r].shrink));
        for part in (0..dim).step_by(16) {
            let mut held: [[L::F; 2]; R] = core::array::from_fn(|r| {
                let from = sums[(row + r) * dim + part..].as_chunks::<8>().0;
                [l.mul(l.load(&from[0]), shrink[r]), l.mul(l.load(&from[1]), shrink[r])]
            });
            for (key, value) in values.chunks_exact(dim).take(keys).enumerate() {
                let value = value[part..][..16].as_chunks::<8>().0;
                let (first, second) = (l.load(&value[0]), l.load(&value[1]));
                for r in 0..R {
                    let weight = l.splat(weights[r][key]);
                    held[r][0] = l.fma(weight, first, held[r][0]);
                    held[r][1] = l.fma(weight, second, held[r][1]);
                }
            }
            for (r, held) in held.into_iter().enumerate() {
                let to = sums[(row + r) * dim + part..].as_chunks_mut::<8>().0;
                l.store(held[0], &mut to[0]);
                l.store(held[1], &mut to[1]);
            }
        }
        R
    }
}

/// Products of a row with a tile become weights: `seen` of its keys count.
#[inline(always)]
fn weigh<L: Lanes>(l: L, scores: &mut [f32; TILE], state: &mut State, seen: usize, dim: usize) {
    scores[seen.min(TILE)..].fill(f32::NEG_INFINITY);
    let scores = scores.as_chunks_mut::<8>().0;
    let scale = l.splat(1.0 / (dim as f32).sqrt());
    let mut most = l.splat(f32::NEG_INFINITY);
    for eight in scores.iter_mut() {
        let scaled = l.mul(l.load(eight), scale);
        most = l.max(scaled, most);
        l.store(scaled, eight);
    }
    let most = l.greatest(most);
    let most = if most > state.greatest { most } else { state.greatest };
    let base = l.splat(most);
    let mut total = l.splat(0.0);
    for eight in scores.iter_mut() {
        let weight = exp(l, l.sub(l.load(eight), base));
        total = l.add(total, weight);
        l.store(weight, eight);
    }
    let shrink = l.to_array(exp(l, l.splat(state.greatest - most)))[0];
    state.total = state.total.mul_add(shrink, l.sum(total));
    state.greatest = most;
    state.shrink = shrink;
}
