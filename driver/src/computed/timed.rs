//! What a run computed: its passes, which were timed and are no two times the same.

use super::{Fit, Pass};
use crate::calibrate::passes::{Spread, fit, spread};
use crate::experiment::Assembled;
use crate::failure::Failure;
use serde_json::{Value, json};
use sim::simulate::Shell;
use std::fmt;

/// What the workers of a run in virtual time computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    /// The model.
    pub fit: Fit,
    /// Its name and weights, as its files have them.
    pub weights: String,
    /// Every pass, in order of beginning.
    pub passes: Vec<Pass>,
}

/// Workers that compute what a cluster in virtual time hands out.
pub trait Compute: Shell + fmt::Debug {
    /// All that they computed.
    fn timed(self: Box<Self>) -> Timed;
}

/// Where workers come from: a set for each run.
pub trait Computes: fmt::Debug + Sync {
    /// What the model asks of an engine.
    fn fit(&self) -> &Fit;

    /// Idle workers for a cold cluster.
    ///
    /// # Errors
    /// Where they cannot be made.
    fn workers(&self, assembled: &Assembled) -> Result<Box<dyn Compute>, Failure>;
}

impl Timed {
    /// Seconds of CPU that all passes took.
    #[must_use]
    pub fn cpu_s(&self) -> f64 {
        self.passes.iter().map(|pass| pass.cpu_us).sum::<f64>() / 1e6
    }

    /// How far its passes are from the durations fitted to them; `None`: there are none.
    #[must_use]
    pub fn spread(&self) -> Option<Spread> {
        spread(&self.passes, &fit(&self.passes)?)
    }

    /// How it is told beside a run's figures.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "fit": self.fit,
            "weights": self.weights,
            "deterministic": false,
            "passes": self.passes.len(),
            "cpu_s": self.cpu_s(),
            "pass_error_p50": self.spread().map(|spread| spread.p50),
            "pass_error_p90": self.spread().map(|spread| spread.p90),
        })
    }
}
