//! Passes that are computed with a small model on this machine's CPU, in the wall's time (`serve`) or in virtual time
//! (`simulate`: *hybrid*): what such a model asks of an endpoint's engine, and what its passes took.

mod fit; // an endpoint's engine, cut down to a model and a CPU
mod pass; // a pass that was timed
mod timed; // all that a run computed
#[cfg(feature = "candle")]
pub mod hybrid; // real computation in virtual time

pub use fit::{Fit, Ways};
pub use pass::Pass;
pub use timed::{Compute, Computes, Timed};
