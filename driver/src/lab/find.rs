//! What can be looked for: numbers that a run is made with, how they are written, and where to look.

use super::Lab;
use super::settings::SETTINGS;
use super::units;
use crate::suggest;
use kvcache::Span;

/// A number of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Workers.
    Replicas,
    /// Requests per second.
    Rate,
    /// Requests in flight.
    Concurrency,
    /// Users who think between their requests.
    Users,
    /// How much faster than the trace.
    Speedup,
    /// A setting of the lab.
    Setting(&'static str, Scale),
}

/// How values are written and how finely they are told apart: whole numbers, or three digits in a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Whole numbers.
    Whole,
    /// Numbers without a unit.
    Real,
    /// Thousandths.
    Thousandths,
    /// Seconds.
    Time,
    /// Bytes.
    Size,
    /// Bytes per second.
    Bandwidth,
}

/// Flags that are a number.
const FLAGS: [(&str, Quantity); 5] = [
    ("replicas", Quantity::Replicas),
    ("rate", Quantity::Rate),
    ("concurrency", Quantity::Concurrency),
    ("users", Quantity::Users),
    ("speedup", Quantity::Speedup),
];

/// Units that values are written in, largest first.
const TIMES: [(&str, f64); 4] = [("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)];
const SIZES: [(&str, f64); 5] =
    [("TiB", 1_099_511_627_776.0), ("GiB", 1_073_741_824.0), ("MiB", 1_048_576.0), ("KiB", 1024.0), ("B", 1.0)];
const BANDWIDTHS: [(&str, f64); 3] = [("TB/s", 1e12), ("GB/s", 1e9), ("MB/s", 1e6)];
const PLAIN: [(&str, f64); 1] = [("", 1.0)];

impl Scale {
    /// That of a setting which takes this; `None`: it takes no number.
    fn of(takes: &str) -> Option<Self> {
        Some(match takes.split(' ').next()? {
            "count" | "tokens" | "blocks" => Self::Whole,
            "number" => Self::Real,
            "fraction" => Self::Thousandths,
            "time" => Self::Time,
            "size" => Self::Size,
            "bandwidth" => Self::Bandwidth,
            _ => return None,
        })
    }

    /// The largest unit that a value has one of, with its size; for smaller values the smallest.
    fn unit(self, value: f64) -> (&'static str, f64) {
        let units: &[(&'static str, f64)] = match self {
            Self::Time => &TIMES,
            Self::Size => &SIZES,
            Self::Bandwidth => &BANDWIDTHS,
            Self::Whole | Self::Real | Self::Thousandths => &PLAIN,
        };
        *units.iter().find(|(_, size)| value >= *size).unwrap_or(&units[units.len() - 1])
    }

    /// The nearest value that can be written in three digits; whole numbers as they are.
    #[must_use]
    pub fn round(self, value: f64) -> f64 {
        if self == Self::Whole {
            return value.round();
        }
        // What is written is what is meant.
        self.read(&self.text(value)).unwrap_or(value)
    }

    /// A value as `--set` takes it.
    #[must_use]
    pub fn text(self, value: f64) -> String {
        let (unit, size) = self.unit(value);
        let number = value / size;
        let decimals = match self {
            Self::Whole => 0,
            Self::Thousandths => 3,
            _ if number > 0.0 => usize::try_from(2 - number.log10().floor() as i32).unwrap_or_default(),
            _ => 0,
        };
        let text = format!("{number:.decimals$}");
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        format!("{text}{unit}")
    }

    fn read(self, text: &str) -> Result<f64, String> {
        match self {
            Self::Whole => units::count(text, 0).map(f64::from),
            Self::Real => units::number(text, (0.0, 1e9)),
            Self::Thousandths => units::permille(text, 0).map(|share| f64::from(share) / 1000.0),
            Self::Time => units::span(text).map(Span::as_secs_f64),
            Self::Size => units::bytes(text).map(|bytes| bytes as f64),
            Self::Bandwidth => units::bandwidth(text, (1.0, 1e15)),
        }
    }
}

impl Quantity {
    /// The number of this name.
    ///
    /// # Errors
    /// What would be one.
    pub fn named(key: &str) -> Result<Self, String> {
        if let Some((_, flag)) = FLAGS.iter().find(|(name, _)| *name == key) {
            return Ok(*flag);
        }
        let flags = FLAGS.map(|(name, _)| name);
        let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else {
            let numbers = SETTINGS.iter().filter(|setting| Scale::of(setting.takes).is_some());
            let near = suggest::clause(key, flags.into_iter().chain(numbers.map(|setting| setting.key)));
            return Err(format!(
                "\"{key}\" is no number of a run{near}; there is {}, and every number that --set help lists",
                flags.join(", ")
            ));
        };
        let scale = Scale::of(setting.takes);
        scale.map(|scale| Self::Setting(setting.key, scale)).ok_or_else(|| {
            format!("{key} is no number: it takes {}; list its values instead: --set {key}=V1,V2", setting.takes)
        })
    }

    /// What it is called.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Setting(key, _) => key,
            flag => FLAGS.iter().find(|(_, known)| *known == flag).map_or("", |(name, _)| *name),
        }
    }

    /// How its values are written.
    #[must_use]
    pub const fn scale(self) -> Scale {
        match self {
            Self::Replicas | Self::Concurrency | Self::Users => Scale::Whole,
            Self::Rate | Self::Speedup => Scale::Real,
            Self::Setting(_, scale) => scale,
        }
    }

    /// Whether it is what users ask for: of that, more is harder.
    #[must_use]
    pub const fn is_load(self) -> bool {
        matches!(self, Self::Rate | Self::Concurrency | Self::Users | Self::Speedup)
    }

    /// Where to look if nobody says.
    pub(crate) fn bounds(self) -> Option<(f64, f64)> {
        Some(match self {
            Self::Replicas => (1.0, 256.0),
            Self::Rate => (0.1, 10_000.0),
            Self::Concurrency | Self::Users => (1.0, 4096.0),
            Self::Speedup => (0.01, 1000.0),
            Self::Setting(key, scale) => {
                let (low, high) = match scale {
                    Scale::Whole => (1.0, f64::from(1 << 20)),
                    Scale::Thousandths => (0.001, 1.0),
                    Scale::Time => (1e-6, 3600.0),
                    Scale::Size => (f64::from(1 << 24), f64::from(1 << 20) * f64::from(1 << 24)),
                    Scale::Bandwidth => (1e6, 1e12),
                    Scale::Real => return None,
                };
                let takes = |value: f64| Lab::default().set(key, &scale.text(value)).is_ok();
                // The upper bound of some is lower: the setting itself says so.
                let high = std::iter::successors(Some(high), |high| Some(scale.round(high / 2.0)))
                    .take_while(|high| *high > low)
                    .find(|high| takes(*high))?;
                (low, high)
            }
        })
    }

    /// Reads a value within what the command line takes.
    pub(crate) fn read(self, text: &str) -> Result<f64, String> {
        let value = self.scale().read(text)?;
        let (low, high) = match self {
            Self::Replicas => (1.0, 4096.0),
            Self::Concurrency | Self::Users => (1.0, 1e6),
            Self::Rate | Self::Speedup => (0.0, 1e9),
            Self::Setting(key, _) => {
                Lab::default().set(key, text)?;
                (0.0, f64::INFINITY)
            }
        };
        if (low..=high).contains(&value) { Ok(value) } else { Err(format!("{text} lies outside {low} to {high}")) }
    }

    /// Bounds as they are written.
    pub(crate) fn example(self) -> String {
        let (low, high) = self.bounds().unwrap_or((0.5, 4.0));
        format!("{}={}..{}", self.key(), self.scale().text(low), self.scale().text(high))
    }
}
