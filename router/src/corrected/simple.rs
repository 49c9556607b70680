//! `random`, `least-loaded` and `p2c`: what needs no index.

use crate::config::RouterConfig;
use crate::draws::Draws;
use crate::request::{Decision, Reason};
use crate::router::{Asked, Choose};
use kvcache::WorkerId;

/// `random`: any available worker.
#[derive(Debug)]
pub(crate) struct Random(Draws);

impl Random {
    pub(crate) fn new(config: &RouterConfig) -> Self {
        Self(Draws::named(config.seed, "random worker"))
    }
}

impl Choose for Random {
    fn choose(&mut self, asked: &Asked<'_>) -> Decision {
        let drawn = usize::from(self.0.below(asked.available.count()));
        let worker = asked.available.iter().nth(drawn).expect("below the number of those available");
        Decision::blind(worker, Reason::Drawn)
    }
}

/// `least-loaded`: the fewest requests in flight, of those the fewest tokens to compute, of those the lowest number.
#[derive(Debug)]
pub(crate) struct LeastLoaded;

impl Choose for LeastLoaded {
    fn choose(&mut self, asked: &Asked<'_>) -> Decision {
        let worker = asked.least_loaded(|_| true).expect("somebody is available");
        asked.by_load(worker, Reason::LeastLoaded)
    }
}

/// `p2c`: of two different workers that are drawn, the one with fewer requests in flight; of equals the first drawn.
/// Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001).
#[derive(Debug)]
pub(crate) struct TwoChoices(Draws);

impl TwoChoices {
    pub(crate) fn new(config: &RouterConfig) -> Self {
        Self(Draws::named(config.seed, "two choices"))
    }
}

impl Choose for TwoChoices {
    fn choose(&mut self, asked: &Asked<'_>) -> Decision {
        let count = asked.available.count();
        let nth = |place: u16| asked.available.iter().nth(usize::from(place)).expect("below the number of available");
        let first = self.0.below(count);
        let second = if count == 1 { first } else { (first + 1 + self.0.below(count - 1)) % count };
        let (a, b) = (nth(first), nth(second));
        let load = |worker: WorkerId| asked.loads.load(worker).requests;
        let (worker, other) = if load(b) < load(a) { (b, a) } else { (a, b) };
        asked.by_load(worker, Reason::LessLoadedOfTwo { other })
    }
}
