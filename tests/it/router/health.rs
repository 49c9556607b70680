//! Health of workers, retries and reservations: each rule by hand, each machine against a naive one.

mod stories; // breakers, by hand
mod model; // breakers of random fleets against naive ones
mod budget; // how many retries there are
mod reservations; // what is reserved where, against sums over a list
mod together; // routers, health, retries and reservations as a gateway uses them

use super::Chance;
use kvcache::{Span, Time};

fn at(seconds: f64) -> Time {
    Time::ZERO + Span::from_secs_f64(seconds)
}
