//! From passes that were timed to what each quantity of a pass adds.
//!
//! Non-negative least squares, weighted by the inverse of the duration: as all durations are sums of the columns, the residuals
//! then add up to nothing, so the fitted passes take as long together as those that were timed. What tokens take is a line with
//! knots at powers of two where there were passes; its bends cost a little, so that a knot between few passes lies where its
//! neighbours put it.

use crate::computed::Pass;
use sim::cost::CostModel;
use sim::cost::timed::TimedPasses;

/// Passes on either side that a knot needs.
const NEEDED: usize = 3;
/// How much a bend of the line of tokens costs, beside the data.
const STIFFNESS: f64 = 1e-4;
/// Rounds of weighting: weights go by the fitted durations, which go by the weights.
const ROUNDS: usize = 4;
/// Linear columns behind those of the knots: samples, context, pairs, KV of chunks.
const LINEAR: usize = 4;

/// How far single passes are from the fit: parts of their duration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Half of the passes are closer.
    pub p50: f64,
    /// Nine tenths of the passes are closer.
    pub p90: f64,
}

/// The durations that are closest to those of `passes`; `None`: there are none.
#[must_use]
pub fn fit(passes: &[Pass]) -> Option<TimedPasses> {
    let knots = knots(passes)?;
    let columns: Vec<Vec<f64>> = passes.iter().map(|pass| columns(&knots, pass)).collect();
    // Columns of about one size: pairs are many, samples few.
    let size = knots.len() + LINEAR;
    let mean = passes.iter().map(|pass| pass.cpu_us).sum::<f64>() / passes.len() as f64;
    let scale: Vec<f64> = (0..size)
        .map(|column| {
            let sum: f64 = columns.iter().map(|row| row[column]).sum();
            if sum > 0.0 { mean * columns.len() as f64 / sum } else { 1.0 }
        })
        .collect();
    let mut fitted: Vec<f64> = passes.iter().map(|pass| pass.cpu_us).collect();
    let mut found = vec![0.0; size];
    for _ in 0..ROUNDS {
        let mut system = System::new(size);
        for ((row, pass), fitted) in columns.iter().zip(passes).zip(&fitted) {
            let scaled: Vec<f64> = row.iter().zip(&scale).map(|(value, scale)| value * scale).collect();
            system.add(&scaled, pass.cpu_us, 1.0 / fitted.max(mean * 1e-3));
        }
        for at in 1..knots.len().saturating_sub(1) {
            let mut bend = vec![0.0; size];
            let [low, here, high] = [at - 1, at, at + 1].map(|knot| knots[knot] as f64);
            bend[at - 1] = scale[at - 1] * (high - here) / (high - low);
            bend[at] = -scale[at];
            bend[at + 1] = scale[at + 1] * (here - low) / (high - low);
            system.add(&bend, 0.0, STIFFNESS * passes.len() as f64 / mean);
        }
        found = system.non_negative();
        for (fitted, row) in fitted.iter_mut().zip(&columns) {
            *fitted = row.iter().zip(&scale).zip(&found).map(|((value, scale), found)| value * scale * found).sum();
        }
    }
    // Microseconds in, picoseconds out.
    let of = |column: usize| found[column] * scale[column] * 1e6;
    let first = knots.len();
    Some(TimedPasses {
        tokens: knots.iter().enumerate().map(|(at, knot)| (*knot, of(at))).collect(),
        sample: of(first),
        context: of(first + 1),
        pair: of(first + 2),
        prefill_context: of(first + 3),
    })
}

/// How far `passes` are from `model`.
#[must_use]
pub fn spread(passes: &[Pass], model: &TimedPasses) -> Option<Spread> {
    let mut errors: Vec<f64> = passes.iter().map(|pass| (told(model, pass) / pass.cpu_us - 1.0).abs()).collect();
    errors.sort_by(f64::total_cmp);
    let at =
        |permille: usize| errors.get((errors.len() * permille / 1000).min(errors.len().saturating_sub(1))).copied();
    Some(Spread { p50: at(500)?, p90: at(900)? })
}

/// How long `model` says that a pass lasts, µs.
#[must_use]
pub fn told(model: &TimedPasses, pass: &Pass) -> f64 {
    let shape = pass.shape();
    model.segment(&shape).at(shape.context).0 as f64 / 1e6
}

/// Numbers of new tokens between which passes are priced by straight lines: the smallest, the largest, and powers of two
/// with passes on both sides.
fn knots(passes: &[Pass]) -> Option<Vec<u64>> {
    let mut tokens: Vec<u64> = passes.iter().map(|pass| pass.tokens).collect();
    tokens.sort_unstable();
    let (least, most) = (*tokens.first()?, *tokens.last()?);
    let mut knots = vec![least];
    let between = |low: u64, high: u64| tokens.partition_point(|t| *t <= high) - tokens.partition_point(|t| *t < low);
    for power in (0..24).map(|bits| 1u64 << bits).filter(|power| *power > least && *power < most) {
        let below = knots.last().map_or(0, |last| between(*last, power));
        if below >= NEEDED && between(power, (2 * power).min(most)) >= NEEDED {
            knots.push(power);
        }
    }
    if most > least {
        knots.push(most);
    }
    Some(knots)
}

/// What a pass has of each quantity.
fn columns(knots: &[u64], pass: &Pass) -> Vec<f64> {
    let mut columns = vec![0.0; knots.len() + LINEAR];
    let above = knots.partition_point(|knot| *knot < pass.tokens);
    if above == 0 {
        columns[0] = 1.0;
    } else {
        let (low, high) = (knots[above - 1], knots[above.min(knots.len() - 1)]);
        let part = if high > low { (pass.tokens - low) as f64 / (high - low) as f64 } else { 0.0 };
        columns[above - 1] += 1.0 - part;
        columns[above.min(knots.len() - 1)] += part;
    }
    let linear = [pass.samples, pass.context, pass.pairs, pass.prefill_context];
    for (column, value) in columns[knots.len()..].iter_mut().zip(linear) {
        *column = value as f64;
    }
    columns
}

/// The normal equations of a weighted least-squares problem.
struct System {
    matrix: Vec<Vec<f64>>,
    right: Vec<f64>,
}

impl System {
    fn new(size: usize) -> Self {
        Self { matrix: vec![vec![0.0; size]; size], right: vec![0.0; size] }
    }

    fn add(&mut self, row: &[f64], value: f64, weight: f64) {
        for (i, a) in row.iter().enumerate().filter(|(_, a)| **a != 0.0) {
            self.right[i] += weight * a * value;
            for (j, b) in row.iter().enumerate() {
                self.matrix[i][j] += weight * a * b;
            }
        }
    }

    /// The least squares among what is nowhere negative: Lawson and Hanson's active set ("Solving Least Squares Problems",
    /// 1974, chapter 23).
    fn non_negative(&self) -> Vec<f64> {
        let size = self.right.len();
        let (mut x, mut free) = (vec![0.0; size], vec![false; size]);
        // Each round frees one; a set never comes twice, and so many rounds are more than there were ever seen to be.
        for _ in 0..20 * size {
            let slope = |i: usize| self.right[i] - (0..size).map(|j| self.matrix[i][j] * x[j]).sum::<f64>();
            let held = (0..size).filter(|i| !free[*i] && self.matrix[*i][*i] > 0.0);
            let steepest = held.map(|i| (slope(i), i)).max_by(|a, b| a.0.total_cmp(&b.0));
            let Some((_, enters)) = steepest.filter(|(slope, i)| *slope > 1e-9 * self.right[*i].abs()) else { break };
            free[enters] = true;
            loop {
                let Some(z) = self.solve(&free) else {
                    free[enters] = false;
                    return x;
                };
                let blocking = (0..size).filter(|i| free[*i] && z[*i] <= 0.0);
                let step = blocking.map(|i| x[i] / (x[i] - z[i])).fold(1.0, f64::min);
                for i in 0..size {
                    x[i] += step * (z[i] - x[i]);
                    if free[i] && (x[i] <= 1e-12 || z[i] <= 0.0 && x[i] <= 1e-9) {
                        (x[i], free[i]) = (0.0, false);
                    }
                }
                if step >= 1.0 {
                    break;
                }
            }
        }
        x
    }

    /// The solution with everything zero that is not free; `None`: there is no single one.
    fn solve(&self, free: &[bool]) -> Option<Vec<f64>> {
        let places: Vec<usize> = (0..free.len()).filter(|i| free[*i]).collect();
        let n = places.len();
        let mut rows: Vec<Vec<f64>> = places
            .iter()
            .map(|i| places.iter().map(|j| self.matrix[*i][*j]).chain([self.right[*i]]).collect())
            .collect();
        for pivot in 0..n {
            let largest = (pivot..n).max_by(|a, b| rows[*a][pivot].abs().total_cmp(&rows[*b][pivot].abs()))?;
            rows.swap(pivot, largest);
            if rows[pivot][pivot].abs() < 1e-30 {
                return None;
            }
            let (above, below) = rows.split_at_mut(pivot + 1);
            let of = &above[pivot];
            for row in below {
                let factor = row[pivot] / of[pivot];
                row.iter_mut().zip(of).for_each(|(value, of)| *value -= factor * of);
            }
        }
        let mut x = vec![0.0; free.len()];
        for at in (0..n).rev() {
            let known: f64 = (at + 1..n).map(|column| rows[at][column] * x[places[column]]).sum();
            x[places[at]] = (rows[at][n] - known) / rows[at][at];
        }
        Some(x)
    }
}
