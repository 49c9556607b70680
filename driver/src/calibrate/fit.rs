//! Least squares in logarithms: factors such that what is simulated comes near what was measured.
//!
//! A residual is `ln(simulated / measured) / spread`, with a spread for each kind of figure. Large ones count less than their
//! square, `2 (sqrt(1 + r^2) - 1)`, so that a few odd measurements do not decide. Each factor is also held near its published
//! value, by a normal prior of standard deviation [`PRIOR`] of its logarithm: what the measurements tell outweighs it, and what
//! they do not tell stays where it was. The minimum is looked for by damped Gauss-Newton steps (Levenberg 1944, Marquardt
//! 1963) on a numeric Jacobian.
//!
//! The spreads are those of [`Kind`] at first, then those of the residuals found, until these are what was assumed.
//!
//! What is simulated jumps: a request joins this pass or the next. What a figure departs from a line by, between the setups that
//! its gradient is taken from, counts as spread where it is asked how far the factors may be off.

use super::factors::{Factor, Setup};

/// Standard deviation of the logarithm of a factor before anything is measured: within a factor of two of what is published in
/// two cases of three.
pub const PRIOR: f64 = 0.7;

/// No spread is taken to be less: clocks that tell a millisecond of some seconds, and what a search leaves undone.
const LEAST_SPREAD: f64 = 3e-4;

/// What kind of figure was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Time to first token.
    Ttft,
    /// Time per output token.
    Tpot,
    /// The duration of a pass.
    Pass,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Ttft, Self::Tpot, Self::Pass];

    /// Spread of its residuals that is assumed at first.
    const fn spread(self) -> f64 {
        match self {
            Self::Ttft => 0.08,
            Self::Tpot | Self::Pass => 0.05,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ttft => "ttft",
            Self::Tpot => "tpot",
            Self::Pass => "pass",
        }
    }
}

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Which group of measurements it belongs to: groups are left out and drawn as wholes.
    pub group: usize,
    /// What it is.
    pub kind: Kind,
    /// Milliseconds, above zero.
    pub ms: f64,
}

/// Measurements, and what a setup makes of them.
pub trait Bench: Sync {
    /// The figures, in order.
    fn measured(&self) -> &[Measured];

    /// What is simulated for each figure, in milliseconds. Of groups that are not wanted anything may be said.
    fn simulate(&self, setup: &Setup, wanted: &dyn Fn(usize) -> bool) -> Vec<f64>;
}

/// A fit.
#[derive(Clone, Debug)]
pub struct Fit {
    /// What was fitted.
    pub factors: Vec<Factor>,
    /// The setup found.
    pub setup: Setup,
    /// The spread of each kind, as [`Kind::ALL`].
    pub spreads: [f64; 3],
    /// Logarithms of the factors found.
    pub(super) at: Vec<f64>,
    /// Residuals there, of the groups fitted to: `(group, residual, gradient)`, in spreads that hold how far figures jump.
    pub(super) residuals: Vec<(usize, f64, Vec<f64>)>,
}

/// How long is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most searches, each with the spreads that the one before left.
    pub rounds: u32,
    /// Most steps in each of them.
    pub steps: u32,
}

/// Least difference in logarithms by which gradients are taken.
const LEAST_STRIDE: f64 = 2e-3;

/// Fits `factors` to the groups that are `wanted`; the others stay as `base` has them. So long at most.
pub fn fit(bench: &dyn Bench, factors: &[Factor], base: Setup, wanted: &dyn Fn(usize) -> bool, limits: Limits) -> Fit {
    let start: Vec<f64> = factors.iter().map(|factor| factor.start().ln()).collect();
    let nominal = Kind::ALL.map(Kind::spread);
    let mut search = Search { bench, factors, base, wanted, spreads: nominal, start: start.clone(), stride: 0.05 };
    let mut at = search.minimum(start, limits.steps);
    for round in 1..limits.rounds {
        let spreads = search.spreads_at(&at);
        let settled = spreads.iter().zip(search.spreads).all(|(new, old)| (0.8..1.25).contains(&(new / old)));
        if settled && round > 1 {
            break;
        }
        (search.spreads, search.stride) = (spreads, (search.stride / 2.0).max(LEAST_STRIDE));
        at = search.minimum(at, limits.steps);
    }
    let residuals = search.with_jumps(search.linear(&at));
    Fit { factors: factors.to_vec(), setup: search.setup(&at), spreads: search.spreads, at, residuals }
}

/// A figure's residual, and what it answers to each factor, in spreads.
struct Row {
    group: usize,
    kind: Kind,
    residual: f64,
    /// Per unit of each factor's logarithm.
    gradient: Vec<f64>,
    /// How far the residual lies below the middle of those to either side, for each factor.
    bends: Vec<f64>,
}

struct Search<'a> {
    bench: &'a dyn Bench,
    factors: &'a [Factor],
    base: Setup,
    wanted: &'a dyn Fn(usize) -> bool,
    spreads: [f64; 3],
    start: Vec<f64>,
    /// Differences in logarithms by which gradients are taken.
    stride: f64,
}

impl Search<'_> {
    fn setup(&self, at: &[f64]) -> Setup {
        let mut setup = self.base;
        self.factors.iter().zip(at).for_each(|(factor, log)| factor.put(&mut setup, log.exp()));
        setup
    }

    /// Groups and logarithms of simulated over measured, of the figures wanted.
    fn errors(&self, at: &[f64]) -> Vec<(Measured, f64)> {
        let simulated = self.bench.simulate(&self.setup(at), self.wanted);
        let all = self.bench.measured().iter().zip(simulated);
        all.filter(|(measured, _)| (self.wanted)(measured.group))
            .map(|(measured, simulated)| (*measured, (simulated.max(1e-9) / measured.ms).ln()))
            .collect()
    }

    fn residuals(&self, at: &[f64]) -> Vec<f64> {
        self.errors(at).into_iter().map(|(measured, error)| error / self.spreads[measured.kind as usize]).collect()
    }

    fn cost(&self, residuals: &[f64], at: &[f64]) -> f64 {
        let data: f64 = residuals.iter().map(|r| 2.0 * ((1.0 + r * r).sqrt() - 1.0)).sum();
        let prior: f64 = at.iter().zip(&self.start).map(|(a, b)| ((a - b) / PRIOR).powi(2)).sum();
        data + prior
    }

    /// The spread of each kind: that of a normal distribution whose median size is the errors'.
    fn spreads_at(&self, at: &[f64]) -> [f64; 3] {
        let errors = self.errors(at);
        Kind::ALL.map(|kind| {
            let of_kind = errors.iter().filter(|(measured, _)| measured.kind == kind);
            match median(of_kind.map(|(_, error)| error.abs()).collect()) {
                Some(middle) => (1.4826 * middle).clamp(LEAST_SPREAD, 2.0 * kind.spread()),
                None => kind.spread(),
            }
        })
    }

    /// Residuals with their gradients, by central differences over some hundredths: a queue answers to less than that in
    /// jumps, since a request joins this pass or the next.
    fn linear(&self, at: &[f64]) -> Vec<Row> {
        let figures: Vec<Measured> =
            self.bench.measured().iter().filter(|one| (self.wanted)(one.group)).copied().collect();
        let here = self.residuals(at);
        let beside: Vec<[Vec<f64>; 2]> = (0..at.len())
            .map(|index| {
                [-self.stride, self.stride].map(|by| {
                    let mut moved = at.to_vec();
                    moved[index] += by;
                    self.residuals(&moved)
                })
            })
            .collect();
        let row = |(row, (figure, residual)): (usize, (Measured, &f64))| Row {
            group: figure.group,
            kind: figure.kind,
            residual: *residual,
            gradient: beside.iter().map(|[below, above]| (above[row] - below[row]) / (2.0 * self.stride)).collect(),
            bends: beside.iter().map(|[below, above]| f64::midpoint(above[row], below[row]) - residual).collect(),
        };
        figures.into_iter().zip(&here).enumerate().map(row).collect()
    }

    /// Rows in spreads that hold how far the figures of a kind depart from lines, in the root of the mean square.
    fn with_jumps(&self, rows: Vec<Row>) -> Vec<(usize, f64, Vec<f64>)> {
        let shrink = Kind::ALL.map(|kind| {
            let bends = rows.iter().filter(|row| row.kind == kind).flat_map(|row| &row.bends);
            let (count, squares) = bends.fold((0u32, 0.0), |(count, sum), bend| (count + 1, sum + bend * bend));
            (1.0 + squares / f64::from(count.max(1))).sqrt().recip()
        });
        let scaled = |row: Row| {
            let by = shrink[row.kind as usize];
            (row.group, by * row.residual, row.gradient.into_iter().map(|slope| by * slope).collect())
        };
        rows.into_iter().map(scaled).collect()
    }

    fn minimum(&self, from: Vec<f64>, steps: u32) -> Vec<f64> {
        let mut at = from;
        let mut damping = 1e-2;
        let mut cost = self.cost(&self.residuals(&at), &at);
        for _ in 0..steps {
            let rows = self.linear(&at);
            let system =
                Normal::of(rows.iter().map(|row| (row.residual, row.gradient.as_slice(), 1.0)), &at, &self.start);
            let before = cost;
            for _ in 0..6 {
                let Some(step) = system.step(damping) else { break };
                let moved: Vec<f64> = at.iter().zip(&step).map(|(a, d)| a + d.clamp(-1.5, 1.5)).collect();
                let tried = self.cost(&self.residuals(&moved), &moved);
                if tried < cost {
                    (at, cost, damping) = (moved, tried, (damping / 5.0).max(1e-6));
                    break;
                }
                damping *= 4.0;
            }
            if before - cost <= 1e-5 * before {
                break;
            }
        }
        at
    }
}

/// The normal equations of a linear least-squares problem with the prior.
pub(super) struct Normal {
    matrix: Vec<Vec<f64>>,
    slope: Vec<f64>,
}

impl Normal {
    /// Of residuals with gradients and weights, around `at`.
    pub(super) fn of<'a>(rows: impl Iterator<Item = (f64, &'a [f64], f64)>, at: &[f64], start: &[f64]) -> Self {
        let size = at.len();
        let mut matrix = vec![vec![0.0; size]; size];
        let mut slope = vec![0.0; size];
        for (residual, gradient, times) in rows {
            let weight = times / (1.0 + residual * residual).sqrt();
            for (i, a) in gradient.iter().enumerate() {
                slope[i] += weight * a * residual;
                for (j, b) in gradient.iter().enumerate() {
                    matrix[i][j] += weight * a * b;
                }
            }
        }
        for i in 0..size {
            slope[i] += (at[i] - start[i]) / (PRIOR * PRIOR);
            matrix[i][i] += 1.0 / (PRIOR * PRIOR);
        }
        Self { matrix, slope }
    }

    /// The step to the minimum, shortened by `damping`.
    pub(super) fn step(&self, damping: f64) -> Option<Vec<f64>> {
        let mut damped = self.matrix.clone();
        for (i, row) in damped.iter_mut().enumerate() {
            row[i] *= 1.0 + damping;
        }
        solve(damped, self.slope.iter().map(|slope| -slope).collect())
    }

    /// Standard deviations of what is solved for, prior included.
    pub(super) fn deviations(&self) -> Vec<f64> {
        let size = self.slope.len();
        let unit = |i: usize| (0..size).map(|j| f64::from(u8::from(i == j))).collect();
        (0..size)
            .map(|i| solve(self.matrix.clone(), unit(i)).map_or(f64::INFINITY, |column| column[i].sqrt()))
            .collect()
    }
}

/// Solves a symmetric positive system by elimination; `None` where it is singular.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let size = right.len();
    for pivot in 0..size {
        if matrix[pivot][pivot] <= 1e-12 {
            return None;
        }
        for row in pivot + 1..size {
            let share = matrix[row][pivot] / matrix[pivot][pivot];
            let (above, below) = matrix.split_at_mut(row);
            below[0].iter_mut().zip(&above[pivot]).skip(pivot).for_each(|(into, from)| *into -= share * from);
            right[row] -= share * right[pivot];
        }
    }
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|column| matrix[row][column] * right[column]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    Some(right)
}

/// The quantile `share` of some numbers, by linear interpolation between ranks; `None` of none.
#[must_use]
pub fn quantile(mut numbers: Vec<f64>, share: f64) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let last = numbers.len().checked_sub(1)?;
    let rank = share * last as f64;
    let below = rank as usize;
    Some(numbers[below] + (numbers[(below + 1).min(last)] - numbers[below]) * (rank - below as f64))
}

/// The middle of some numbers; `None` of none.
#[must_use]
pub fn median(numbers: Vec<f64>) -> Option<f64> {
    quantile(numbers, 0.5)
}
