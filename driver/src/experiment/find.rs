//! How far something can go: the smallest or the largest value that keeps a promise.
//!
//! Values are tried upwards, each about twice the one before, until what a value does flips; then the bracket is halved: to
//! neighbouring whole numbers, to 2 % elsewhere. Nobody says that the flip is the only one, so values around it are tried,
//! too. What is answered is what was seen: the *smallest* is the least value tried that holds, the *largest* one up to which
//! every value tried holds; values above that speak against a single flip are told.

use super::slo::Kept;
use super::{Case, Load};
use crate::lab::find::{Quantity, Scale};
use std::collections::BTreeMap;

/// Brackets of numbers that are not whole are halved down to this ratio.
const PRECISION: f64 = 1.02;
/// What promises do can be so ragged that a search walks on and on.
const MOST_TRIED: usize = 100;

/// Which of the values that hold is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extreme {
    /// The smallest: of what costs.
    Smallest,
    /// The largest: of what is asked for.
    Largest,
}

impl Extreme {
    /// As `--find` names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Smallest => "smallest",
            Self::Largest => "largest",
        }
    }
}

/// What is looked for, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// What is varied.
    pub quantity: Quantity,
    /// Which of its values that hold.
    pub extreme: Extreme,
    /// The least value that is tried.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

impl Goal {
    /// Reads `[smallest:|largest:]KEY[=LOW..HIGH]`.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (key, bounds) = match text.split_once('=') {
            Some((key, bounds)) => (key.trim(), Some(bounds)),
            None => (text.trim(), None),
        };
        let (asked, key) = match key.split_once(':') {
            None => (None, key),
            Some(("smallest", key)) => (Some(Extreme::Smallest), key),
            Some(("largest", key)) => (Some(Extreme::Largest), key),
            Some((other, _)) => return Err(format!("\"{other}:\" is neither smallest: nor largest:")),
        };
        let quantity = Quantity::named(key)?;
        let extreme = asked.unwrap_or(if quantity.is_load() { Extreme::Largest } else { Extreme::Smallest });
        let (low, high) = match bounds {
            Some(bounds) => read_bounds(quantity, bounds)?,
            None => quantity.bounds().ok_or_else(|| {
                let key = quantity.key();
                format!("{key}: nothing tells where to look; name bounds, such as --find {key}=0.5..4")
            })?,
        };
        Ok(Self { quantity, extreme, low, high })
    }

    /// The case with this value.
    #[must_use]
    pub fn at(&self, case: &Case, value: f64, seed: u64) -> Case {
        let mut case = Case { seed, ..case.clone() };
        match self.quantity {
            // Bounds are those of the command line: nothing is cut off.
            Quantity::Replicas => case.replicas = value as u16,
            Quantity::Rate => case.load = Load::Rate(value),
            Quantity::Concurrency => case.load = Load::Concurrency(value as u32),
            Quantity::Users => case.load = Load::Users(value as u32),
            Quantity::Speedup => case.load = Load::Trace { speedup: value },
            Quantity::Setting(key, scale) => drop(case.settings.insert(key.to_owned(), scale.text(value))),
        }
        case
    }
}

fn read_bounds(quantity: Quantity, bounds: &str) -> Result<(f64, f64), String> {
    let key = quantity.key();
    let form = || format!("{key}={bounds} is not of the form KEY=LOW..HIGH, such as {}", quantity.example());
    let (low, high) = bounds.split_once("..").ok_or_else(form)?;
    let read = |text: &str| {
        let such_as = || format!("write bounds such as {}", quantity.example());
        quantity.read(text.trim()).map_err(|problem| format!("{key}={bounds}: {problem}; {}", such_as()))
    };
    let (low, high) = (read(low)?, read(high)?);
    if low >= high {
        return Err(format!("{key}={bounds}: the first bound must be below the second"));
    }
    if low == 0.0 && quantity.scale() != Scale::Whole {
        return Err(format!("{key}={bounds}: values are doubled from the first bound on; begin above 0"));
    }
    Ok((low, high))
}

/// A value that was tried, and how the run of each seed keeps the promise.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The value.
    pub value: f64,
    /// One for each seed, in their order.
    pub kept: Vec<Kept>,
}

impl Point {
    /// A value holds where the run of every seed keeps every term.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.kept.iter().all(|kept| kept.holds)
    }

    /// How many seeds' runs keep it.
    #[must_use]
    pub fn seeds_kept(&self) -> usize {
        self.kept.iter().filter(|kept| kept.holds).count()
    }
}

/// What a search came to, for one combination of the other values.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The combination; of what is looked for it says nothing.
    pub case: Case,
    /// What was found.
    pub answer: Answer,
    /// Values that speak against a single flip ([`Search::exceptions`]).
    pub exceptions: Vec<f64>,
    /// All values tried, upwards.
    pub curve: Vec<Point>,
}

impl Finding {
    /// What was seen at a value that was tried.
    #[must_use]
    pub fn at(&self, value: f64) -> Option<&Point> {
        self.curve.iter().find(|point| point.value.to_bits() == value.to_bits())
    }
}

/// What came of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// This value, and where there is one, the nearest tried beyond it, which does not hold.
    Value {
        /// The value.
        value: f64,
        /// The next one tried, which fails. `None`: the value is the bound.
        beyond: Option<f64>,
    },
    /// No value tried holds.
    Never,
}

/// A search: what was tried so far.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    goal: &'a Goal,
    /// Values and whether they hold. Positive floats are in the order of their bits.
    tried: BTreeMap<u64, bool>,
}

impl<'a> Search<'a> {
    /// Nothing was tried yet.
    #[must_use]
    pub const fn new(goal: &'a Goal) -> Self {
        Self { goal, tried: BTreeMap::new() }
    }

    /// A value was tried.
    pub fn tell(&mut self, value: f64, holds: bool) {
        self.tried.insert(value.to_bits(), holds);
    }

    /// Values to try now, none of them tried before; empty: all is known.
    #[must_use]
    pub fn next(&self) -> Vec<f64> {
        let scale = self.goal.quantity.scale();
        let Some((highest, _)) = self.tried.last_key_value() else { return vec![self.goal.low] };
        if self.tried.len() >= MOST_TRIED {
            return Vec::new();
        }
        let (below, flipped) = self.bracket();
        match (below, flipped) {
            (Some(_), None) => {
                let highest = f64::from_bits(*highest);
                if highest >= self.goal.high {
                    return Vec::new();
                }
                let twice = if highest == 0.0 { 1.0 } else { scale.round(highest * 2.0) };
                vec![twice.min(self.goal.high)]
            }
            (Some(below), Some(flipped)) => match between(scale, below, flipped) {
                Some(middle) => vec![middle],
                None => self.around(below, flipped),
            },
            (None, Some(flipped)) => self.around(flipped, flipped),
            (None, None) => unreachable!("something was tried"),
        }
    }

    /// What was found.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match (self.goal.extreme, self.bracket()) {
            (Extreme::Smallest, (beyond, Some(value))) => Answer::Value { value, beyond },
            (Extreme::Largest, (Some(value), beyond)) => Answer::Value { value, beyond },
            (Extreme::Smallest, (_, None)) | (Extreme::Largest, (None, _)) => Answer::Never,
        }
    }

    /// Values above the flip that do as those below it: it is not the only one.
    #[must_use]
    pub fn exceptions(&self) -> Vec<f64> {
        let Some(flipped) = self.bracket().1 else { return Vec::new() };
        let above = self.tried.range(flipped.to_bits()..);
        above.filter(|(_, holds)| self.is_early(**holds)).map(|(value, _)| f64::from_bits(*value)).collect()
    }

    /// Whether a value does what small ones do: fail where the smallest is looked for, hold where the largest is.
    fn is_early(&self, holds: bool) -> bool {
        holds == (self.goal.extreme == Extreme::Largest)
    }

    /// The least value that does not do what small ones do, and the one tried before it.
    fn bracket(&self) -> (Option<f64>, Option<f64>) {
        let mut below = None;
        for (value, holds) in &self.tried {
            let value = f64::from_bits(*value);
            if !self.is_early(*holds) {
                return (below, Some(value));
            }
            below = Some(value);
        }
        (below, None)
    }

    /// Values around the flip that were not tried yet.
    fn around(&self, below: f64, flipped: f64) -> Vec<f64> {
        let scale = self.goal.quantity.scale();
        let mut values = match scale {
            Scale::Whole => vec![below - 2.0, below - 1.0, flipped + 1.0, flipped + 2.0, flipped * 2.0],
            _ => [below / 1.25, below / 1.1, flipped * 1.1, flipped * 1.25, flipped * 2.0]
                .map(|v| scale.round(v))
                .to_vec(),
        };
        let new = |value: &f64| {
            (self.goal.low..=self.goal.high).contains(value) && !self.tried.contains_key(&value.to_bits())
        };
        values.retain(new);
        values.sort_by(f64::total_cmp);
        values.dedup();
        values
    }
}

/// A value that halves what lies between two; `None`: nothing lies between, or too little to matter.
fn between(scale: Scale, low: f64, high: f64) -> Option<f64> {
    let middle = match scale {
        Scale::Whole => ((low + high) / 2.0).floor(),
        _ if high / low <= PRECISION => return None,
        _ => scale.round((low * high).sqrt()),
    };
    (low < middle && middle < high).then_some(middle)
}
