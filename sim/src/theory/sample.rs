//! What a sample says, and how surely.
//!
//! Waits of one run depend on each other, so their own spread says too little. Whole runs with independent seeds do not: a
//! figure of each run is one observation (independent replications; Law, Simulation Modeling and Analysis, 9.5).

/// A mean and how far it may be off by chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean of the observations.
    pub mean: f64,
    /// Its standard error: their deviation (over n - 1) by the square root of their number. 0 for one observation.
    pub standard_error: f64,
}

impl Estimate {
    /// Of independent observations.
    #[must_use]
    pub fn of(observations: &[f64]) -> Self {
        let count = observations.len() as f64;
        let mean = observations.iter().sum::<f64>() / count;
        let squares: f64 = observations.iter().map(|one| (one - mean) * (one - mean)).sum();
        let variance = if count > 1.0 { squares / (count - 1.0) } else { 0.0 };
        Self { mean, standard_error: libm::sqrt(variance / count) }
    }
}
