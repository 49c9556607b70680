//! Many servers with a queue each, exponential service, Poisson arrivals at `load` per server and mean service, and arrivals
//! that join the shortest of `choices` queues drawn at random: the limit of infinitely many servers.
//!
//! Vvedenskaya, Dobrushin and Karpelevich 1996; Mitzenmacher 1996, "The Power of Two Choices in Randomized Load Balancing"
//! (IEEE TPDS 2001), section 2. N servers are off by O(1/N).

/// The share of servers with at least `jobs` jobs: `load^((d^jobs - 1) / (d - 1))`.
#[must_use]
pub fn tail(load: f64, choices: u32, jobs: u32) -> f64 {
    // (d^i - 1) / (d - 1) = 1 + d + ... + d^(i-1)
    let exponent: f64 = (0..jobs).map(|power| libm::pow(f64::from(choices), f64::from(power))).sum();
    libm::pow(load, exponent)
}

/// Mean time in the system, in mean services, by Little's law: the sum of all tails over the load.
#[must_use]
pub fn response(load: f64, choices: u32) -> f64 {
    let tails = (1..).map(|jobs| tail(load, choices, jobs)).take_while(|share| *share > 1e-18);
    tails.sum::<f64>() / load
}
