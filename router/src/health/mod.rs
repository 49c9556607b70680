//! Who is fit to be sent a request, how often one may be tried again, and what each worker has been given.
//!
//! Four machines, each told the time and used by whoever sends requests. None knows the others, but for [`Retries`], which
//! asks two of them:
//!
//! ```text
//! budget.deposit(now);                                         // once per request
//! health.excluded(now, &mut excluded); retries.exclude(&mut excluded);
//! let worker = router.route(&request, &excluded, now)?.worker;
//! let sent = health.sent(worker, request, now);                // once per attempt
//! reservations.reserve(request, worker, reserved);
//! reservations.first_token(request);
//! reservations.release(request); health.ended(sent, outcome, now);
//! retries.again(worker, outcome, &health, &mut budget, now)?;  // and from the second line on
//! ```

mod outcome; // how an attempt ended
mod circuit; // the breaker of one worker
mod fleet; // the breakers of all, and how many may be out at once
mod budget; // how many retries there may be
mod retries; // where a request has been, and whether it goes on
mod reservations; // what requests in flight have reserved

pub use budget::{RetryBudget, RetryConfig};
pub use circuit::CircuitState;
pub use fleet::{Health, HealthConfig, HealthCounts, Sent};
pub use outcome::Outcome;
pub use reservations::{ReservationCounts, Reservations, Reserved, WorkerLoad};
pub use retries::{Retries, Stop};
