//! Health of workers, retries and reservations: each rule by hand, each machine against a naive one.

mod stories; // breakers, by hand
mod model; // breakers of random fleets against naive ones
mod budget; // how many retries there are
mod reservations; // what is reserved where, against sums over a list
mod together; // routers, health, retries and reservations as a gateway uses them

use kvcache::{Span, Time};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

fn at(seconds: f64) -> Time {
    Time::ZERO + Span::from_secs_f64(seconds)
}

/// Random choices of one seed, which is named where a test of it fails.
struct Chance {
    draws: ChaCha8Rng,
    seed: u64,
}

impl Chance {
    fn new(seed: u64) -> Self {
        Self { draws: ChaCha8Rng::seed_from_u64(seed), seed }
    }

    /// A number below `bound`. Which are a little more likely than others does not matter here.
    fn below(&mut self, bound: u64) -> u64 {
        self.draws.next_u64() % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl Drop for Chance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with seed {}", self.seed);
        }
    }
}
