//! Two curves over time, one upon the other.

use super::recorded::Sample;

/// The areas of a quantity over the samples of a run, each sample standing for the time since the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Areas {
    /// Under the measured curve.
    pub(super) measured: f64,
    /// Under the simulated one, at the same moments.
    pub(super) simulated: f64,
    /// Between the two.
    pub(super) between: f64,
}

/// Of `measured`, whose clock began `lead` seconds before the simulated one. A sample tells the last pass before it.
pub(super) fn areas(measured: &[Sample], simulated: &[Sample], lead: f64, of: fn(&Sample) -> f64) -> Areas {
    let mut areas = Areas::default();
    let mut before = 0.0;
    for sample in measured {
        let place = simulated.partition_point(|pass| pass.at < sample.at - lead);
        let now = place.checked_sub(1).map_or(0.0, |place| of(&simulated[place]));
        let weight = sample.at - before;
        areas.measured += of(sample) * weight;
        areas.simulated += now * weight;
        areas.between += (of(sample) - now).abs() * weight;
        before = sample.at;
    }
    areas
}
