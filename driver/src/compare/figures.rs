//! Each figure of two runs: how far apart they are, how sure that is, and the verdict.

use super::By;
use super::bootstrap::{self, Interval};
use super::metric::{Better, METRICS, Metric, Unit};
use super::tolerance::{Allowed, Tolerance};
use crate::report::seeds::mean_of;
use crate::told::{Request, Told};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How figures are judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Judge {
    /// How far they may be apart.
    pub tolerance: Tolerance,
    /// Whether either way is too far: the runs should agree. Else only what is worse is.
    pub agree: bool,
}

/// What is said of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Within the tolerance.
    Within,
    /// Beyond it, to the better.
    Better,
    /// Beyond it, but the interval of the difference holds zero.
    Unclear,
    /// Beyond it, to the worse.
    Regression,
    /// Beyond it, where the two should agree.
    Off,
}

impl Verdict {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Within => "ok",
            Self::Better => "better",
            Self::Unclear => "unclear",
            Self::Regression => "WORSE",
            Self::Off => "OFF",
        }
    }

    /// Whether that is all right.
    #[must_use]
    pub const fn passes(self) -> bool {
        matches!(self, Self::Within | Self::Better | Self::Unclear)
    }
}

/// A figure of two runs. What is unknown is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Its name in `summary.json`.
    pub key: String,
    /// Its name for people.
    pub name: String,
    /// What it is in.
    pub unit: Unit,
    /// Which way is better; null: neither.
    pub better: Option<Better>,
    /// Of the first; of several seeds, their mean.
    pub a: Option<f64>,
    /// Of the second.
    pub b: Option<f64>,
    /// Second less first.
    pub difference: Option<f64>,
    /// Where that lies with 95 %.
    pub interval: Option<Interval>,
    /// The difference as a part of the first.
    pub relative: Option<f64>,
    /// How far it may be off; null: it is not judged.
    pub tolerance: Option<Allowed>,
    /// What is said of it; null: it is not judged, or one of the two is unknown.
    pub verdict: Option<Verdict>,
    /// Whether that is all right.
    pub pass: Option<bool>,
}

impl Judge {
    /// The rule, in a sentence.
    #[must_use]
    pub fn rule(&self) -> String {
        if self.tolerance.default.is_none() && self.tolerance.named.is_empty() {
            return "Nothing is judged: --tolerance none.".to_owned();
        }
        let (which, word) =
            if self.agree { ("OFF: either way", "disagrees") } else { ("WORSE: to the worse", "regresses") };
        format!(
            "Tolerance {}. {which} by more than that, and the 95 % interval of the difference leaves zero out (unclear: it \
             does not); what has no interval {word} by its difference alone. Differences of rates in % are in points.",
            self.tolerance
        )
    }

    fn verdict(&self, metric: &Metric, base: f64, difference: f64, interval: Option<Interval>) -> Option<Verdict> {
        let allowed = self.tolerance.of(metric)?;
        if !allowed.is_less_than(difference, base) {
            return Some(Verdict::Within);
        }
        let better = match metric.better? {
            Better::Lower => difference < 0.0,
            Better::Higher => difference > 0.0,
        };
        Some(match interval.is_none_or(Interval::tells_apart) {
            false => Verdict::Unclear,
            true if self.agree => Verdict::Off,
            true if better => Verdict::Better,
            true => Verdict::Regression,
        })
    }
}

/// All figures that either of the two has, and how their intervals came about. The pairs are one, or one for each seed.
#[must_use]
pub fn compared(pairs: &[(&Told, &Told)], judge: &Judge) -> (Vec<Compared>, By) {
    let of = |metric: &Metric| {
        let first: Option<Vec<f64>> = pairs.iter().map(|(a, _)| metric.of(a)).collect();
        let second: Option<Vec<f64>> = pairs.iter().map(|(_, b)| metric.of(b)).collect();
        (first, second)
    };
    let (intervals, by) = match pairs {
        [(a, b)] => of_requests(a, b),
        _ => {
            let over_seeds = METRICS.iter().map(|metric| {
                let (a, b) = of(metric);
                over_seeds(&a?, &b?)
            });
            (over_seeds.collect(), By::Seeds { seeds: pairs.len() })
        }
    };
    let mean = |values: Option<Vec<f64>>| values.map(|values| values.iter().sum::<f64>() / values.len() as f64);
    let figures = METRICS.iter().zip(intervals).filter_map(|(metric, interval)| {
        let (a, b) = of(metric);
        let (a, b) = (mean(a), mean(b));
        (a.is_some() || b.is_some()).then(|| figure(metric, a, b, interval, judge))
    });
    (figures.collect(), by)
}

fn figure(metric: &Metric, a: Option<f64>, b: Option<f64>, interval: Option<Interval>, judge: &Judge) -> Compared {
    let both = a.zip(b);
    let difference = both.map(|(a, b)| b - a);
    let interval = interval.filter(|_| both.is_some());
    let verdict = both.and_then(|(a, b)| judge.verdict(metric, a, b - a, interval));
    Compared {
        key: metric.key.to_owned(),
        name: metric.name.to_owned(),
        unit: metric.unit,
        better: metric.better,
        a,
        b,
        difference,
        interval,
        relative: both.filter(|(a, _)| *a != 0.0).map(|(a, b)| (b - a) / a.abs()),
        tolerance: judge.tolerance.of(metric),
        verdict,
        pass: verdict.map(Verdict::passes),
    }
}

/// Seed by seed: what makes one seed slow makes it slow in both.
fn over_seeds(a: &[f64], b: &[f64]) -> Option<Interval> {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| b - a).collect();
    let mean = mean_of(&differences);
    let half = mean.half_width?;
    Some(Interval { low: mean.mean - half, high: mean.mean + half })
}

/// Of two runs whose requests are known.
fn of_requests(a: &Told, b: &Told) -> (Vec<Option<Interval>>, By) {
    let (ours, theirs): (Vec<&Request>, Vec<&Request>) = (a.measured().collect(), b.measured().collect());
    if ours.is_empty() || theirs.is_empty() {
        return (vec![None; METRICS.len()], By::None);
    }
    // Generated prompts of equal lengths are others with another seed.
    let other = ["workload", "seed"].iter().find(|name| a.was(name).zip(b.was(name)).is_some_and(|(a, b)| a != b));
    let equal = other.map_or(Ok(()), |name| Err(format!("another {name}")));
    match equal.and_then(|()| twins(&ours, &theirs)) {
        Ok(theirs) => {
            let by = By::Paired { requests: ours.len() };
            (bootstrap::intervals(&ours, &theirs, true, &METRICS), by)
        }
        Err(because) => {
            let by = By::Unpaired { requests: [ours.len(), theirs.len()], because };
            (bootstrap::intervals(&ours, &theirs, false, &METRICS), by)
        }
    }
}

/// Whether two requests ask for the same: what is unknown is not equal, but whoever failed has no reply to be as long.
fn are_equal(one: &Request, other: &Request) -> bool {
    let same = |a: Option<u64>, b: Option<u64>| a.is_some() && a == b;
    let replies = !(one.completed() && other.completed()) || same(one.output_tokens, other.output_tokens);
    same(one.prompt_tokens, other.prompt_tokens) && replies
}

/// The second run's requests in the order of the first's, where they are equal: the same number, prompt and reply.
///
/// # Errors
/// Why they are not.
pub fn twins<'a>(ours: &[&Request], theirs: &[&'a Request]) -> Result<Vec<&'a Request>, String> {
    if ours.len() != theirs.len() {
        return Err("they are not as many".to_owned());
    }
    let by_number: BTreeMap<u64, &Request> = theirs.iter().map(|request| (request.number, *request)).collect();
    let mut others = 0_usize;
    let mut twins = Vec::with_capacity(ours.len());
    for request in ours {
        let Some(twin) = by_number.get(&request.number) else {
            return Err("they are numbered otherwise".to_owned());
        };
        others += usize::from(!are_equal(request, twin));
        twins.push(*twin);
    }
    if others > 0 { Err(format!("{others} of {} have other lengths", ours.len())) } else { Ok(twins) }
}
