//! The part of the lab that is about a run: how it begins, how long it is, which part of it is measured. `run.*`.

use super::describe::span;
use super::settings::{Setting, setting};
use super::units;
use kvcache::{Span, Time};
use serde_json::{Value, json};
use sim::extent::Extent;
use sim::ledger::Warmup;

/// What is left out of a run's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum WarmupLab {
    /// Nothing.
    #[default]
    Nothing,
    /// So many requests.
    Requests(u32),
    /// Those sent within this of the first.
    Time(Span),
    /// So many hundredths of the run: of its duration where it has one, else of its requests.
    Percent(f64),
}

/// The extent of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunLab {
    /// Left out of the figures.
    pub warmup: WarmupLab,
    /// Nobody sends from then on.
    pub duration: Option<Span>,
    /// Over which users start.
    pub ramp: Span,
}

impl WarmupLab {
    /// Reads `200`, `30s` or `10%`.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(percent) = text.strip_suffix('%') {
            let percent = units::number(percent.trim(), (0.0, 100.0))?;
            return if percent < 100.0 {
                Ok(Self::Percent(percent))
            } else {
                Err("100% would leave nothing to measure".to_owned())
            };
        }
        if text == "0" {
            return Ok(Self::Nothing);
        }
        if text.ends_with(|c: char| c.is_ascii_digit()) {
            return Ok(Self::Requests(units::count(text, 0)?));
        }
        Ok(Self::Time(units::span(text)?))
    }

    fn describe(self) -> Value {
        match self {
            Self::Nothing => json!("0"),
            Self::Requests(count) => json!(count.to_string()),
            Self::Time(time) => json!(span(time)),
            Self::Percent(percent) => json!(format!("{percent}%")),
        }
    }
}

/// Reads how long a run is to be.
///
/// # Errors
/// What would be right.
pub fn duration(text: &str) -> Result<Span, String> {
    let duration = units::span(text)?;
    if duration == Span::ZERO { Err("it must be above 0".to_owned()) } else { Ok(duration) }
}

impl RunLab {
    /// The extent of a run of so many requests; how long whoever is turned away waits is no part of it.
    #[must_use]
    pub fn extent(&self, requests: u64) -> Extent {
        let warmup = match (self.warmup, self.duration) {
            (WarmupLab::Nothing | WarmupLab::Requests(0), _) => Warmup::Nothing,
            (WarmupLab::Requests(count), _) => Warmup::Requests(u64::from(count)),
            (WarmupLab::Time(span), _) => Warmup::Time(span),
            (WarmupLab::Percent(percent), Some(duration)) => {
                Warmup::Time(Span::from_secs_f64(duration.as_secs_f64() * percent / 100.0))
            }
            (WarmupLab::Percent(percent), None) => Warmup::Requests((requests as f64 * percent / 100.0).ceil() as u64),
        };
        Extent { ramp: self.ramp, until: self.duration.map(|duration| Time(duration.0)), warmup, ..Extent::default() }
    }
}

pub(super) const SETTINGS: &[Setting] = &[
    setting!(
        "run.warmup",
        "count, time or percentage, such as 200, 30s or 10%",
        "0",
        "requests sent first that are in no figure; a percentage is of run.duration where that is set, else of all requests",
        |lab, text| { lab.run.warmup = WarmupLab::parse(text)? }
    ),
    setting!(
        "run.duration",
        "time",
        "none (all requests are sent)",
        "nothing is sent from then on; generated workloads then have as many requests as that takes",
        |lab, text| { lab.run.duration = if text == "none" { None } else { Some(duration(text)?) } }
    ),
    setting!(
        "run.ramp",
        "time",
        "0",
        "with --concurrency: users start one after the other, evenly over so long, and not all at once",
        |lab, text| { lab.run.ramp = units::span(text)? }
    ),
];

pub(super) fn describe(run: &RunLab) -> Value {
    let RunLab { warmup, duration, ramp } = run;
    json!({
        "run.warmup": warmup.describe(),
        "run.duration": duration.map(span),
        "run.ramp": span(*ramp),
    })
}
