//! Two curves over time, one upon the other.

use super::recorded::{Sample, Series};

/// The areas of a quantity over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Areas {
    /// Under the measured curve.
    pub measured: f64,
    /// Under the simulated one, at the same moments.
    pub simulated: f64,
    /// Between the two.
    pub between: f64,
}

impl Areas {
    /// What lies between the curves, over what lies under the measured one; 0 where both are nothing throughout.
    #[must_use]
    pub fn error(&self) -> f64 {
        if self.between > 0.0 { self.between / self.measured } else { 0.0 }
    }
}

/// The sample that tells the last pass before a moment of the series' clock; `None`: there was no pass.
pub(super) fn before(simulated: &[Sample], at: f64, lead: f64) -> Option<&Sample> {
    simulated.partition_point(|pass| pass.at < at - lead).checked_sub(1).map(|place| &simulated[place])
}

/// Over a measured series. A sample stands for the tick before it; ticks that it leaves out, and those after its end while the
/// simulation still runs, are ones in which nothing was going on.
pub(super) fn areas(measured: &Series, simulated: &[Sample], of: fn(&Sample) -> f64) -> Areas {
    let Series { samples, lead, tick } = measured;
    let mut areas = Areas::default();
    let mut add = |at: f64, measured: f64, weight: f64| {
        let simulated = before(simulated, at, *lead).map_or(0.0, of);
        areas.measured += measured * weight;
        areas.simulated += simulated * weight;
        areas.between += (measured - simulated).abs() * weight;
    };
    let mut told = 0.0;
    for sample in samples {
        while sample.at - told > 1.5 * tick {
            told += tick;
            add(told, 0.0, *tick);
        }
        add(sample.at, of(sample), sample.at - told);
        told = sample.at;
    }
    let end = simulated.last().map_or(0.0, |last| last.at + lead);
    while told + tick <= end {
        told += tick;
        add(told, 0.0, *tick);
    }
    areas
}
