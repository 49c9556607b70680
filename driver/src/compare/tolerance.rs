//! How far figures may be apart: `10%`, `ttft=5%,tpot=3%`, `10%,hit_rate=0.5pt`.

use super::metric::{METRICS, Metric};
use crate::suggest;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How far a figure may be off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Allowed {
    /// A part of what it is held against.
    Relative(f64),
    /// An absolute part of one: percentage points over 100.
    Points(f64),
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A hundred times a hundredth may be off in its last digit.
        let percent = |part: f64| (part * 1e8).round() / 1e6;
        match self {
            Self::Relative(part) => write!(f, "{} %", percent(*part)),
            Self::Points(part) => write!(f, "{} points", percent(*part)),
        }
    }
}

impl Allowed {
    /// Whether `difference` is more than that, of a figure that was `base`. Of nothing, any difference is.
    #[must_use]
    pub fn is_less_than(self, difference: f64, base: f64) -> bool {
        match self {
            Self::Relative(part) => difference.abs() > part * base.abs(),
            Self::Points(part) => difference.abs() > part,
        }
    }
}

/// What all figures may be off by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Where nothing else is said; `None`: those are not judged.
    pub default: Option<Allowed>,
    /// Figures or families of figures by name, later ones first to count.
    pub named: Vec<(String, Allowed)>,
}

/// What figures may be off by where nothing is said.
const DEFAULT: Allowed = Allowed::Relative(0.1);

impl Default for Tolerance {
    fn default() -> Self {
        Self { default: Some(DEFAULT), named: Vec::new() }
    }
}

impl Tolerance {
    /// Reads `10%`, `ttft=5%,p99_ttft_ms=20%`, `none`. Where only names are given, nothing else is judged.
    ///
    /// # Errors
    /// The first item that is none, with what would be one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tolerance = Self { default: None, named: Vec::new() };
        let mut default_given = false;
        for item in text.split(',').map(str::trim) {
            match item.split_once('=') {
                None if default_given => return Err(format!("{item}: a tolerance of all figures is given twice")),
                None => {
                    default_given = true;
                    tolerance.default = if item == "none" { None } else { Some(allowed(item)?) };
                }
                Some((name, value)) => {
                    let name = known(name.trim())?;
                    if tolerance.named.iter().any(|(other, _)| *other == name) {
                        return Err(format!("{name} is given twice; keep one of them"));
                    }
                    let allowed = allowed(value.trim())?;
                    let share = METRICS.iter().any(|metric| is(metric, &name) && metric.unit == super::Unit::Share);
                    if matches!(allowed, Allowed::Points(_)) && !share {
                        return Err(format!(
                            "{item}: points are of rates in per cent; {name} takes per cent, as {name}=5%"
                        ));
                    }
                    tolerance.named.push((name, allowed));
                }
            }
        }
        Ok(tolerance)
    }

    /// What a figure may be off by. `None`: it is not judged.
    #[must_use]
    pub fn of(&self, metric: &Metric) -> Option<Allowed> {
        metric.better?;
        // A figure by its own name before its family.
        let by_key = self.named.iter().find(|(name, _)| name == metric.key);
        let named = by_key.or_else(|| self.named.iter().find(|(name, _)| is(metric, name)));
        named.map(|(_, allowed)| *allowed).or(self.default)
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.named.iter().map(|(name, allowed)| format!("{name} {allowed}"));
        let all: Vec<String> = self.default.iter().map(ToString::to_string).chain(named).collect();
        f.write_str(&if all.is_empty() { "none".to_owned() } else { all.join(", ") })
    }
}

fn is(metric: &Metric, name: &str) -> bool {
    metric.better.is_some() && (metric.key == name || metric.family == name)
}

/// The name, if figures have it; without its unit it will do.
fn known(name: &str) -> Result<String, String> {
    let with_unit = format!("{name}_ms");
    if METRICS.iter().any(|metric| is(metric, name)) {
        return Ok(name.to_owned());
    }
    if METRICS.iter().any(|metric| metric.key == with_unit) {
        return Ok(with_unit);
    }
    let judged = || METRICS.iter().filter(|metric| metric.better.is_some());
    let mut families: Vec<&str> = judged().map(|metric| metric.family).collect();
    families.dedup();
    let near = suggest::clause(name, families.iter().copied().chain(judged().map(|metric| metric.key)));
    Err(format!(
        "{name}: no such figure{near}; there is {}, and any key of summary.json as p99_ttft_ms",
        families.join(", ")
    ))
}

fn allowed(text: &str) -> Result<Allowed, String> {
    let wrong = || format!("{text}: a tolerance such as 10% is expected, or 0.5pt of a rate, or none");
    let number = |text: &str| -> Result<f64, String> {
        let number: f64 = text.trim().parse().map_err(|_| wrong())?;
        if (0.0..=1e6).contains(&number) { Ok(number / 100.0) } else { Err(wrong()) }
    };
    if let Some(percent) = text.strip_suffix('%') {
        return number(percent).map(Allowed::Relative);
    }
    match text.strip_suffix("pt") {
        Some(points) => number(points).map(Allowed::Points),
        None => Err(wrong()),
    }
}
