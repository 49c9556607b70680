//! Users who each wait for a reply, think, and send again.

/// Requests per time that `users` get through one server (M/M/1//N, the machine repairman), with exponential service and
/// think times of these means: `(1 - p0) / service`. O(users).
///
/// Palm 1947; Kleinrock, Queueing Systems I (1975), 3.8. By mean value analysis (Reiser and Lavenberg 1980), which is exact
/// here: with n users a request finds the queue that n - 1 leave.
#[must_use]
pub fn throughput(users: u32, service: f64, think: f64) -> f64 {
    let (mut queue, mut rate) = (0.0, 0.0);
    for user in 1..=users {
        let response = service * (1.0 + queue);
        rate = f64::from(user) / (response + think);
        queue = rate * response;
    }
    rate
}

/// No system of one server gives more: `min(users / (demand + think), 1 / demand)`, where `demand` is what a request takes of
/// it on average.
///
/// Denning and Buzen 1978 ("The Operational Analysis of Queueing Network Models"), section 5: it rests on no distribution.
#[must_use]
pub fn bound(users: u32, demand: f64, think: f64) -> f64 {
    (f64::from(users) / (demand + think)).min(1.0 / demand)
}
