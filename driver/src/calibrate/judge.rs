//! How good a fit is: on groups that were left out of it, and how far its factors may be off.
//!
//! *Held out.* Groups are shuffled and dealt into folds; each fold is simulated with what was fitted to the others.
//!
//! *Intervals.* From the fit's own linear form around the minimum, groups are drawn with replacement
//! (bootstrap, Efron 1979) and the weighted normal equations solved again; the interval of a factor holds the middle 95 % of
//! what comes. Nothing is simulated for that, so what is not linear over the width of an interval is not in it. Draws of groups
//! do not tell by how much the prior decided what the figures leave open; so an interval also holds as many standard deviations
//! as Student's quantile says of the factor's distribution under figures of the spread found and the prior, around what was
//! found and around the minimum of the linear form. And neither tells how rough the way to the minimum is; so it holds as much
//! as the fits without each fold differ (delete-a-group jackknife, Kott 2001, with Student's quantile).
//!
//! *Told or not.* A factor of which the measurements leave more than nine tenths of the prior's spread is not told by them: it
//! keeps its published value, and the others are fitted again.

use super::factors::{Factor, Setup};
use super::fit::{Bench, Fit, Kind, Limits, Normal, PRIOR, fit, median, quantile};
use sim::streams::{Stream, Streams};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// How the work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Folds of the groups that are left out in turn; no more than there are groups.
    pub folds: usize,
    /// How long each fit searches.
    pub limits: Limits,
    /// Where randomness starts.
    pub seed: u64,
}

impl Default for Effort {
    fn default() -> Self {
        Self { folds: 5, limits: Limits { rounds: 3, steps: 8 }, seed: 0 }
    }
}

/// A factor found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Which.
    pub factor: Factor,
    /// Its value, in its unit.
    pub value: f64,
    /// The 95 % interval; `None`: the measurements do not tell it, and the value is the published one.
    pub interval: Option<(f64, f64)>,
}

/// Relative errors, simulated over measured less one, of one kind of figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Errors {
    /// Of what.
    pub kind: Kind,
    /// The errors, in the order of the figures.
    pub all: Vec<f64>,
}

impl Errors {
    /// The median of their sizes; `None` of none.
    #[must_use]
    pub fn median_size(&self) -> Option<f64> {
        median(self.all.iter().map(|error| error.abs()).collect())
    }

    /// The quantile of their sizes; `None` of none.
    #[must_use]
    pub fn size_at(&self, share: f64) -> Option<f64> {
        quantile(self.all.iter().map(|error| error.abs()).collect(), share)
    }
}

/// A calibration.
#[derive(Clone, Debug)]
pub struct Calibrated {
    /// The setup found.
    pub setup: Setup,
    /// Its factors.
    pub found: Vec<Found>,
    /// Errors on what it was fitted to.
    pub training: Vec<Errors>,
    /// Errors on groups left out; `None`: there are too few groups.
    pub held_out: Option<Vec<Errors>>,
    /// Groups there are.
    pub groups: usize,
}

/// Fits `factors` to all groups, and judges the fit.
#[must_use]
pub fn calibrate(bench: &dyn Bench, factors: &[Factor], base: Setup, effort: Effort) -> Calibrated {
    let everything = fit(bench, factors, base, &|_| true, effort.limits);
    let told: Vec<Factor> = told(&everything);
    let fitted =
        if told.len() == factors.len() { everything } else { fit(bench, &told, base, &|_| true, effort.limits) };
    let groups = count(bench);
    let folds = held_out(bench, &told, base, effort);
    let apart = folds.as_ref().map_or_else(|| vec![0.0; told.len()], |folds| jackknife(&folds.fits));
    let intervals = intervals(&fitted, groups, effort.seed, &apart);
    let found = factors.iter().map(|factor| {
        let interval = told.iter().position(|known| known == factor).map(|place| intervals[place]);
        Found { factor: *factor, value: factor.of(&fitted.setup), interval }
    });
    Calibrated {
        found: found.collect(),
        training: errors(bench, &bench.simulate(&fitted.setup, &|_| true)),
        held_out: folds.map(|folds| errors(bench, &folds.simulated)),
        setup: fitted.setup,
        groups,
    }
}

fn count(bench: &dyn Bench) -> usize {
    bench.measured().iter().map(|one| one.group + 1).max().unwrap_or_default()
}

/// The factors that the measurements tell. Of those that they tell only together (one number of ranks does not tell all-reduces
/// from layers), the one that is told least goes first, until what is left is told.
fn told(fit: &Fit) -> Vec<Factor> {
    let mut kept: Vec<usize> = (0..fit.factors.len()).collect();
    while !kept.is_empty() {
        let of = |all: &[f64]| -> Vec<f64> { kept.iter().map(|place| all[*place]).collect() };
        let start: Vec<f64> = kept.iter().map(|place| fit.factors[*place].start().ln()).collect();
        let gradients: Vec<Vec<f64>> = fit.residuals.iter().map(|(_, _, gradient)| of(gradient)).collect();
        let rows =
            fit.residuals.iter().zip(&gradients).map(|((_, residual, _), of_it)| (*residual, of_it.as_slice(), 1.0));
        let left = Normal::of(rows, &of(&fit.at), &start).deviations();
        let worst = (0..kept.len()).max_by(|a, b| left[*a].total_cmp(&left[*b])).expect("some are kept");
        if left[worst] < 0.9 * PRIOR {
            break;
        }
        kept.remove(worst);
    }
    kept.into_iter().map(|place| fit.factors[place]).collect()
}

/// Fits to all folds but one.
#[derive(Clone, Debug)]
pub struct Folds {
    /// What is simulated for every figure by what was fitted to the other folds.
    pub simulated: Vec<f64>,
    /// Logarithms of the factors found without each fold.
    fits: Vec<Vec<f64>>,
}

/// Fits without each fold; `None` of fewer than two groups.
#[must_use]
pub fn held_out(bench: &dyn Bench, factors: &[Factor], base: Setup, effort: Effort) -> Option<Folds> {
    let groups = count(bench);
    let folds = effort.folds.min(groups);
    if folds < 2 {
        return None;
    }
    let mut order: Vec<usize> = (0..groups).collect();
    Streams::new(effort.seed).named("folds").shuffle(&mut order);
    let mut fold = vec![0; groups];
    order.iter().enumerate().for_each(|(place, group)| fold[*group] = place % folds);
    let mut simulated = vec![f64::NAN; bench.measured().len()];
    let mut fits = Vec::with_capacity(folds);
    for left_out in 0..folds {
        let others = fit(bench, factors, base, &|group| fold[group] != left_out, effort.limits);
        let of_it = bench.simulate(&others.setup, &|group| fold[group] == left_out);
        let places = bench.measured().iter().enumerate().filter(|(_, one)| fold[one.group] == left_out);
        places.for_each(|(place, _)| simulated[place] = of_it[place]);
        fits.push(others.at);
    }
    Some(Folds { simulated, fits })
}

/// Standard errors on each side of a 95 % interval, with so many degrees of freedom.
fn student(freedom: usize) -> f64 {
    StudentsT::new(0.0, 1.0, freedom as f64).map_or(f64::INFINITY, |student| student.inverse_cdf(0.975))
}

/// Half the width of each factor's interval by the fits without each fold, in logarithms.
fn jackknife(fits: &[Vec<f64>]) -> Vec<f64> {
    let count = fits.len() as f64;
    let student = student(fits.len() - 1);
    let of_factor = |place: usize| {
        let mean = fits.iter().map(|at| at[place]).sum::<f64>() / count;
        let squares: f64 = fits.iter().map(|at| (at[place] - mean).powi(2)).sum();
        student * ((count - 1.0) / count * squares).sqrt()
    };
    (0..fits.first().map_or(0, Vec::len)).map(of_factor).collect()
}

/// Relative errors by kind, of the kinds there are.
#[must_use]
pub fn errors(bench: &dyn Bench, simulated: &[f64]) -> Vec<Errors> {
    let of_kind = |kind: Kind| {
        let figures = bench.measured().iter().zip(simulated).filter(|(one, _)| one.kind == kind);
        Errors { kind, all: figures.map(|(one, simulated)| simulated / one.ms - 1.0).collect() }
    };
    Kind::ALL.into_iter().map(of_kind).filter(|errors| !errors.all.is_empty()).collect()
}

/// Draws of groups per interval.
const DRAWS: usize = 1_000;

fn intervals(fit: &Fit, groups: usize, seed: u64, apart: &[f64]) -> Vec<(f64, f64)> {
    let mut draws = Streams::new(seed).named("bootstrap");
    let start: Vec<f64> = fit.factors.iter().map(|factor| factor.start().ln()).collect();
    let mut found: Vec<Vec<f64>> = vec![Vec::with_capacity(DRAWS); fit.at.len()];
    for _ in 0..DRAWS {
        let times = drawn(groups, &mut draws);
        let rows =
            fit.residuals.iter().map(|(group, residual, gradient)| (*residual, gradient.as_slice(), times[*group]));
        let Some(step) = Normal::of(rows, &fit.at, &start).step(0.0) else { continue };
        found.iter_mut().zip(step).for_each(|(of_factor, step)| of_factor.push(step));
    }
    let all = fit.residuals.iter().map(|(_, residual, gradient)| (*residual, gradient.as_slice(), 1.0));
    let all = Normal::of(all, &fit.at, &start);
    let left = all.deviations();
    let undone = all.step(0.0).unwrap_or_else(|| vec![0.0; fit.at.len()]);
    // The spreads of the figures are known from so many groups only.
    let student = student(groups.saturating_sub(1));
    let interval = |(place, at): (usize, &f64)| {
        let step = |share: f64| quantile(found[place].clone(), share).unwrap_or_default();
        let half = apart[place].max(student * left[place]);
        // Around what was found, and around the minimum of the linear form: a search stops short of it where figures jump.
        let (least, most) = (undone[place].min(0.0) - half, undone[place].max(0.0) + half);
        ((at + step(0.025).min(least)).exp(), (at + step(0.975).max(most)).exp())
    };
    fit.at.iter().enumerate().map(interval).collect()
}

/// How often each group is drawn, of as many draws as there are groups.
fn drawn(groups: usize, draws: &mut Stream) -> Vec<f64> {
    let mut times = vec![0.0; groups];
    (0..groups).for_each(|_| times[draws.below(groups as u64) as usize] += 1.0);
    times
}
