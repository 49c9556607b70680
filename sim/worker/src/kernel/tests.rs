//! Each kernel against plain arithmetic, and the law: the same bits in both dialects, for any rows and any threads.

use super::*;
use half::f16;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

struct Draw(ChaCha8Rng);

impl Draw {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }
    fn float(&mut self) -> f32 {
        (self.0.next_u32() as f32 / u32::MAX as f32 - 0.5) * 4.0
    }
    fn matrix(&mut self, rows: usize, cols: usize) -> Matrix {
        let mut x = Matrix::default();
        x.reshape(rows, cols);
        for row in 0..rows {
            x.row_mut(row)[..cols].fill_with(|| self.float());
        }
        x
    }
    /// A matrix of each kind.
    fn packed(&mut self, cols: usize, depth: usize) -> [Packed; 3] {
        let blocks = depth.div_ceil(BLOCK);
        let fours: Vec<Four> = (0..cols * blocks)
            .map(|_| Four {
                scale: f16::from_f32(self.float()).to_f32(),
                least: f16::from_f32(self.float()).to_f32(),
                q: core::array::from_fn(|_| (self.0.next_u32() & 15) as u8),
            })
            .collect();
        let eights: Vec<Eight> = (0..cols * blocks)
            .map(|_| Eight {
                scale: f16::from_f32(self.float()),
                q: core::array::from_fn(|_| (self.0.next_u32() & 255) as u8 as i8),
            })
            .collect();
        let four = |col: usize, at: usize| fours[col * blocks + at];
        [
            Packed::four(cols, depth, true, four),
            Packed::four(cols, depth, false, four),
            Packed::eight(cols, depth, |col, at| eights[col * blocks + at]),
        ]
    }
}

fn levels() -> [Level; 2] {
    [Level::detect(), Level::Portable]
}

fn bits(x: &Matrix, cols: usize) -> Vec<Vec<u32>> {
    (0..x.rows()).map(|row| x.row(row)[..cols].iter().map(|value| value.to_bits()).collect()).collect()
}

fn acts(level: Level, team: &Team, x: &Matrix, depth: usize) -> Acts {
    let mut acts = Acts::default();
    quantise(level, team, x, x.rows(), depth, &mut acts);
    acts
}

fn apply(level: Level, threads: usize, w: &Packed, x: &Matrix) -> Matrix {
    let team = Team::new(threads).unwrap();
    let mut y = Matrix::default();
    y.reshape(x.rows(), w.panels() * PANEL);
    linear(level, &team, w, &acts(level, &team, x, w.depth()), &mut y, 0, Into::Set);
    y
}

#[test]
fn activations_are_quantised_to_half_a_step() {
    let (mut draw, team) = (Draw::new(1), Team::new(1).unwrap());
    let mut x = draw.matrix(3, 64);
    x.row_mut(1)[..64].fill(0.0);
    x.row_mut(2)[..32].fill(f32::MIN_POSITIVE / 4.0);
    let both = levels().map(|level| acts(level, &team, &x, 64));
    for row in 0..3 {
        assert_eq!(both[0].row(row), both[1].row(row), "both dialects agree");
        for (act, x) in both[0].row(row).iter().zip(x.row(row).as_chunks::<32>().0) {
            let q: Vec<f32> = act.q.iter().flat_map(|word| word.to_le_bytes().map(|q| f32::from(q as i8))).collect();
            let most = x.iter().fold(0f32, |most, x| most.max(x.abs()));
            for (q, x) in q.iter().zip(x) {
                assert!(
                    (q * act.scale - x).abs() <= 0.51 * most / 127.0 + most * 1e-3 + 4e-6,
                    "{q} x {} is {x}",
                    act.scale
                );
            }
            let sum = act.scale * q.iter().sum::<f32>();
            assert!((act.sum - sum).abs() <= sum.abs() * 2e-3 + 1e-5, "{} is {sum}", act.sum);
        }
    }
}

#[test]
fn linear_is_the_sum_of_products() {
    let mut draw = Draw::new(2);
    let x = draw.matrix(5, 96);
    for w in draw.packed(20, 96) {
        let y = apply(Level::detect(), 1, &w, &x);
        let team = Team::new(1).unwrap();
        let acts = acts(Level::detect(), &team, &x, 96);
        let mut column = vec![0.0; 96];
        for col in 0..20 {
            w.column(col, &mut column);
            for row in 0..5 {
                let (mut sum, mut size) = (0f64, 0f64);
                for (act, w) in acts.row(row).iter().zip(column.as_chunks::<32>().0) {
                    let q = act.q.iter().flat_map(|word| word.to_le_bytes().map(|q| f64::from(q as i8)));
                    for (q, w) in q.zip(w) {
                        let product = q * f64::from(act.scale) * f64::from(*w);
                        (sum, size) = (sum + product, size + product.abs());
                    }
                }
                let y = f64::from(y.row(row)[col]);
                assert!((y - sum).abs() < 2e-3 * size, "{} bits, row {row}, column {col}: {y} is {sum}", w.bits());
            }
        }
    }
}

#[test]
fn a_row_of_a_linear_layer_depends_on_itself_alone() {
    let mut draw = Draw::new(3);
    for (cols, depth, rows) in [(8, 32, 1), (20, 96, 7), (136, 576, 11), (24, 1536, 200)] {
        let x = draw.matrix(rows, depth);
        for w in draw.packed(cols, depth) {
            let together = bits(&apply(Level::detect(), 1, &w, &x), cols);
            assert_eq!(bits(&apply(Level::detect(), 3, &w, &x), cols), together, "threads");
            if rows < 20 {
                assert_eq!(bits(&apply(Level::Portable, 2, &w, &x), cols), together, "dialects");
            }
            for (row, together) in together.iter().enumerate().take(12) {
                let mut one = Matrix::default();
                one.reshape(1, depth);
                one.row_mut(0).copy_from_slice(x.row(row));
                assert_eq!(bits(&apply(Level::detect(), 1, &w, &one), cols)[0], *together, "row {row} of {rows}");
            }
        }
    }
}

#[test]
fn extremes_do_not_overflow() {
    let mut x = Matrix::default();
    x.reshape(1, 64);
    x.row_mut(0).fill(-1.0);
    let four = Packed::four(8, 64, true, |_, _| Four { scale: 1.0, least: 0.0, q: [15; 32] });
    let eight = Packed::eight(8, 64, |_, _| Eight { scale: f16::ONE, q: [-128; 32] });
    for level in levels() {
        let y = apply(level, 1, &four, &x).row(0)[0];
        assert!((y + 15.0 * 64.0).abs() < 1.0, "{y}");
        let y = apply(level, 1, &eight, &x).row(0)[0];
        assert!((y - 128.0 * 64.0).abs() < 6.0, "{y}");
    }
}

#[test]
fn outputs_are_biased_or_added() {
    let mut draw = Draw::new(4);
    let (x, team) = (draw.matrix(2, 64), Team::new(2).unwrap());
    let [w, ..] = draw.packed(16, 64);
    let plain = apply(Level::detect(), 1, &w, &x);
    let acts = acts(Level::detect(), &team, &x, 64);
    let bias: Vec<f32> = (0..16).map(|_| draw.float()).collect();
    let mut y = draw.matrix(2, 64);
    let before = bits(&y, 64);
    linear(Level::detect(), &team, &w, &acts, &mut y, 8, Into::Biased(&bias));
    for (row, before) in before.iter().enumerate() {
        for (col, bias) in bias.iter().enumerate() {
            assert_eq!(y.row(row)[8 + col].to_bits(), (plain.row(row)[col] + bias).to_bits());
        }
        assert_eq!(y.row(row)[7].to_bits(), before[7], "columns before stay");
        assert_eq!(y.row(row)[24].to_bits(), before[24], "columns behind stay");
    }
    let before = y.row(1)[9];
    linear(Level::detect(), &team, &w, &acts, &mut y, 8, Into::Add);
    assert_eq!(y.row(1)[9].to_bits(), (before + plain.row(1)[1]).to_bits());
}

#[test]
fn joined_matrices_compute_as_they_did() {
    let mut draw = Draw::new(5);
    let x = draw.matrix(3, 64);
    let [a, ..] = draw.packed(16, 64);
    let [b, _, other] = draw.packed(8, 64);
    let apart = [&a, &b].map(|w| bits(&apply(Level::detect(), 1, w, &x), w.cols()));
    let joined = Packed::join(vec![a, b, other]);
    assert_eq!(joined.iter().map(Packed::cols).collect::<Vec<_>>(), [24, 8], "those of a kind are one");
    let together = bits(&apply(Level::detect(), 1, &joined[0], &x), 24);
    for row in 0..3 {
        assert_eq!(together[row], [apart[0][row].clone(), apart[1][row].clone()].concat());
    }
}

#[test]
fn exp_is_close_and_never_more_than_one_below_zero() {
    struct All<'a>(&'a [[f32; 8]], &'a mut [[f32; 8]]);
    impl Task for All<'_> {
        #[inline(always)]
        fn run<L: Lanes>(self, l: L) {
            for (x, y) in self.0.iter().zip(self.1) {
                l.store(rows::exp(l, l.load(x)), y);
            }
        }
    }
    let x: Vec<[f32; 8]> = (0..2000).map(|i| core::array::from_fn(|j| (i * 8 + j) as f32 / -180.0)).collect();
    let [fast, portable] = levels().map(|level| {
        let mut y = vec![[0.0; 8]; x.len()];
        run(level, All(&x, &mut y));
        y
    });
    assert_eq!(fast, portable);
    for (x, y) in x.iter().flatten().zip(fast.iter().flatten()) {
        let exact = f64::from(*x).exp();
        let right = if *x < -87.0 { *y == 0.0 } else { (f64::from(*y) - exact).abs() < 3e-7 * exact };
        assert!(right && *y <= 1.0, "e^{x} is {y}");
    }
    assert_eq!(fast[0][0].to_bits(), 1f32.to_bits(), "e^0 is 1");
    let mut y = [[0.0; 8]];
    run(Level::detect(), All(&[[f32::NEG_INFINITY, 1.0, 50.0, 88.0, 1e9, -87.0, -88.0, 0.5]], &mut y));
    assert!(y[0][0] == 0.0 && (y[0][1] - 1f32.exp()).abs() < 1e-6 && y[0][4].is_finite(), "{y:?}");
}

#[test]
fn rows_between_layers_are_the_same_in_both_dialects() {
    let mut draw = Draw::new(6);
    let (x, weight) = (draw.matrix(9, 256), (0..128).map(|_| draw.float()).collect::<Vec<f32>>());
    let angles: Vec<f32> = (0..9 * 32).map(|_| draw.float()).collect();
    let rows: Vec<usize> = (0..9).collect();
    let all = [(Level::detect(), 1), (Level::detect(), 3), (Level::Portable, 1)].map(|(level, threads)| {
        let team = Team::new(threads).unwrap();
        let (mut normed, mut gated) = (Acts::default(), Acts::default());
        norm(level, &team, &x, &rows, &weight, 1e-5, &mut normed);
        gate(level, &team, &x, 9, 128, &mut gated);
        let mut turned = draw_again(&x);
        rotate(level, &team, &mut turned, 9, (3, 32), |row| &angles[row * 32..][..32]);
        let acts = (0..9).map(|row| [normed.row(row), gated.row(row)].concat()).collect::<Vec<_>>();
        (acts, bits(&turned, 256))
    });
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
}

fn draw_again(x: &Matrix) -> Matrix {
    let mut copy = Matrix::default();
    copy.reshape(x.rows(), x.stride());
    (0..x.rows()).for_each(|row| copy.row_mut(row).copy_from_slice(x.row(row)));
    copy
}

/// Pages of random halves in one layer, of so many tokens each.
struct Halves {
    tokens: usize,
    heads: Heads,
    pages: Vec<Vec<Vec<u16>>>,
}

impl Kv for Halves {
    fn page(&self) -> usize {
        self.tokens
    }
    fn head(&self, _: usize, page: usize, head: usize) -> &[u16] {
        &self.pages[page][head]
    }
}

impl Halves {
    /// The same keys and values whatever the page size.
    fn new(tokens: usize, heads: Heads, length: usize) -> Self {
        let mut draw = Draw::new(7);
        let value = |draw: &mut Draw| f16::from_f32(draw.float()).to_bits();
        let all: Vec<u16> = (0..length * heads.kv * 2 * heads.dim).map(|_| value(&mut draw)).collect();
        let mut pages = vec![vec![vec![0x7e00; 2 * heads.dim * tokens]; heads.kv]; length.div_ceil(tokens)];
        for at in 0..length {
            for head in 0..heads.kv {
                let kv = &all[(at * heads.kv + head) * 2 * heads.dim..][..2 * heads.dim];
                let page = &mut pages[at / tokens][head];
                for d in 0..heads.dim {
                    page[d * tokens + at % tokens] = kv[d];
                    page[(heads.dim * tokens) + at % tokens * heads.dim + d] = kv[heads.dim + d];
                }
            }
        }
        Self { tokens, heads, pages }
    }

    /// Plain attention of one row, in 64 bits.
    fn exact(&self, q: &[f32], position: usize) -> Vec<f64> {
        let Heads { group, dim, .. } = self.heads;
        let mut out = Vec::new();
        for (head, q) in q.chunks(dim).take(group * self.heads.kv).enumerate() {
            let wide = |x: u16| f64::from(f16::from_bits(x).to_f32());
            let page = |at: usize| &self.pages[at / self.tokens][head / group];
            let score = |at: usize| {
                let products = (0..dim).map(|d| f64::from(q[d]) * wide(page(at)[d * self.tokens + at % self.tokens]));
                products.sum::<f64>() / (dim as f64).sqrt()
            };
            let scores: Vec<f64> = (0..=position).map(score).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scores.iter().map(|score| (score - most).exp()).sum();
            out.extend((0..dim).map(|d| {
                let value = |at: usize| wide(page(at)[dim * self.tokens + at % self.tokens * dim + d]);
                scores.iter().enumerate().map(|(at, s)| (s - most).exp() * value(at)).sum::<f64>() / total
            }));
        }
        out
    }
}

#[test]
fn attention_is_exact_and_the_same_for_any_page_rows_and_threads() {
    let heads = Heads { group: 3, kv: 2, dim: 32 };
    let width = heads.group * heads.kv * heads.dim;
    let q = Draw::new(8).matrix(210, width);
    let ask = |level, threads, tokens, batch: &[Rows]| {
        let team = Team::new(threads).unwrap();
        let mut out = Matrix::default();
        out.reshape(210, width);
        let mut scratch: Vec<Scratch> = (0..threads).map(|_| Scratch::default()).collect();
        attend(level, &team, heads, (&q, &mut out), batch, &Halves::new(tokens, heads, 210), &mut scratch);
        bits(&out, width)
    };
    let whole = [Rows { rows: 0..210, start: 0 }];
    let together = ask(Level::detect(), 1, 16, &whole);
    let exact = Halves::new(16, heads, 210);
    for row in [0, 1, 15, 16, 63, 64, 65, 127, 128, 209] {
        for (got, exact) in together[row].iter().zip(exact.exact(q.row(row), row)) {
            let got = f64::from(f32::from_bits(*got));
            assert!((got - exact).abs() < 1e-5, "row {row}: {got} is {exact}");
        }
    }
    for (level, threads, tokens) in
        [(Level::detect(), 3, 16), (Level::detect(), 1, 8), (Level::detect(), 2, 128), (Level::Portable, 1, 24)]
    {
        assert_eq!(ask(level, threads, tokens, &whole), together, "{level:?}, {threads} threads, pages of {tokens}");
    }
    for cuts in [vec![1, 2, 64, 65], vec![63, 128, 200], (1..210).collect()] {
        let ends = cuts.iter().copied().chain([210]);
        let batch: Vec<Rows> =
            std::iter::once(0).chain(cuts.clone()).zip(ends).map(|(a, b)| Rows { rows: a..b, start: a }).collect();
        assert_eq!(ask(Level::detect(), 2, 16, &batch), together, "cut at {cuts:?}");
    }
}

#[test]
fn a_team_runs_every_part_once_and_tells_of_panics() {
    let team = Team::new(3).unwrap();
    for n in [1, 2, 3, 100] {
        let hits: Vec<_> = (0..n).map(|_| std::sync::atomic::AtomicU32::new(0)).collect();
        let hit = |at: usize| hits[at].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        team.split(n, |range| {
            range.for_each(|at| {
                hit(at);
            })
        });
        team.deal(n, |_, at| {
            hit(at);
        });
        assert!(hits.iter().all(|hits| hits.load(std::sync::atomic::Ordering::Relaxed) == 2));
    }
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        team.split(3, |range| assert!(range.start < 2, "the last part panics"));
    }));
    assert!(panicked.is_err());
    team.split(3, |_| ());
}

#[test]
fn halves_saturate() {
    let mut halves = [0; 8];
    halve(Level::detect(), &[1e9, -1e9, 1.0, 65504.0, 65520.0, 0.0, -0.0, 1e-9], &mut halves);
    let expected = [65504.0, -65504.0, 1.0, 65504.0, 65504.0, 0.0, -0.0, 0.0].map(|x| f16::from_f32(x).to_bits());
    assert_eq!(halves, expected);
}
