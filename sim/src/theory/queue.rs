//! One queue, first come, first served.

use super::moments::Moments;

/// Mean wait before one server with Poisson arrivals at `rate` and independent service times: `rate E[S^2] / (2 (1 - rho))`,
/// where `rho = rate E[S]` is below 1.
///
/// Pollaczek 1930 and Khinchine 1932; Kleinrock, Queueing Systems I (1975), 5.64. M/M/1 and M/D/1 are special cases.
#[must_use]
pub fn wait_m_g_1(rate: f64, service: Moments) -> f64 {
    rate * service.square / (2.0 * (1.0 - rate * service.mean))
}

/// The probability that an arrival must wait for one of `servers` that serve one queue, with Poisson arrivals and exponential
/// service; `load` is arrival rate x mean service, below `servers`. O(servers).
///
/// Erlang 1917, his second formula (C), here by the recursion of the first (B), which is stable:
/// `1/B_k = 1 + k / (load B_{k-1})`, then `C = B / (1 - rho (1 - B))`.
#[must_use]
pub fn erlang_c(servers: u32, load: f64) -> f64 {
    let inverse = (1..=servers).fold(1.0, |inverse, server| 1.0 + f64::from(server) / load * inverse);
    let lost = 1.0 / inverse;
    lost / (1.0 - load / f64::from(servers) * (1.0 - lost))
}

/// Mean wait for one of `servers` that serve one queue (M/M/k): `C / (k mu - rate)`. O(servers).
#[must_use]
pub fn wait_m_m_k(servers: u32, rate: f64, service: f64) -> f64 {
    erlang_c(servers, rate * service) / (f64::from(servers) / service - rate)
}

/// Mean wait before one server with exponential service of which every `phases`-th arrival of a Poisson process comes
/// (E_k/M/1); `rate` is that of the server's own arrivals, and `rate x service` below 1.
///
/// GI/M/1: `sigma / (mu (1 - sigma))`, where sigma is the root below 1 of `sigma = A(mu - mu sigma)`, A the Laplace transform
/// of the gaps: `(k rate / (k rate + s))^k` here. Kleinrock, Queueing Systems I (1975), 6.4. The map rises and is convex, so
/// the iteration from 0 climbs to the root.
#[must_use]
pub fn wait_e_k_m_1(phases: u32, rate: f64, service: f64) -> f64 {
    let phase_rate = f64::from(phases) * rate * service; // in services
    let mut sigma = 0.0;
    for _ in 0..10_000 {
        let next = libm::pow(phase_rate / (phase_rate + 1.0 - sigma), f64::from(phases));
        if next - sigma < 1e-15 {
            break;
        }
        sigma = next;
    }
    service * sigma / (1.0 - sigma)
}

/// Mean time in an M/G/1 queue whose server is shared equally by all present, of a job that takes `alone` by itself:
/// `alone / (1 - rho)`, whatever the distribution of the others.
///
/// Kleinrock 1967 ("Time-shared systems: a theoretical treatment"), Queueing Systems II (1976), 4.17; insensitive by Sakata,
/// Noguchi and Oizumi 1971.
#[must_use]
pub fn time_shared(alone: f64, rho: f64) -> f64 {
    alone / (1.0 - rho)
}
