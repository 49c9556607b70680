//! Who looks at a run while it is under way.

use super::exchange::Observed;
use std::time::Duration;

/// Is told of each request, and asked now and then to show what it knows.
pub trait Watch: Send {
    /// One more was sent.
    fn sent(&mut self);
    /// One is over.
    fn ended(&mut self, observed: &Observed);
    /// How often it wants to show something.
    fn period(&self) -> Duration;
    /// It is time to.
    fn show(&mut self);
    /// The run is over.
    fn end(&mut self);
}

/// Nobody looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Watch for Nobody {
    fn sent(&mut self) {}
    fn ended(&mut self, _: &Observed) {}
    fn period(&self) -> Duration {
        Duration::from_secs(3600)
    }
    fn show(&mut self) {}
    fn end(&mut self) {}
}
