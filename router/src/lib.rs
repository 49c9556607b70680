//! Where should this request go? Routing strategies as pure machines.
//!
//! A [`Router`] is told the time, the prompts and what workers say of themselves, and answers with a worker and the
//! reason. It owns no clock, socket or thread; its randomness comes from the seed. The four strategies are those of
//! Amazon SageMaker HyperPod by name and, as far as can be known, those of vLLM's production-stack by behaviour.
//!
//! Law: the same configuration and the same sequence of calls give the same decisions, on every machine.
#![no_std]

extern crate alloc;

mod config; // which strategy, with which numbers
mod request; // what goes in, and what comes out
mod router; // the machine
mod available; // who may be chosen
mod turns; // roundrobin
mod prefixes; // prefixaware
mod exact; // kvaware
mod sessions; // session, and where kvaware goes when it finds nothing
mod holders; // which worker holds how much of which piece
mod search; // how deep a prompt is held
mod feed; // cache events, in order
mod ring; // consistent hashing
mod recent; // requests of the last minute
mod draws; // seeded randomness
mod health; // who is fit, how often to try again, what is reserved

pub use config::{RouterConfig, Strategy, UnknownStrategy};
pub use feed::FeedCount;
pub use health::{
    CircuitState, Health, HealthConfig, HealthCounts, Outcome, ReservationCounts, Reservations, Reserved, Retries,
    RetryBudget, RetryConfig, Sent, Stop, WorkerLoad,
};
pub use holders::Holders;
pub use request::{Api, Decision, Missed, NoWorker, Reason, RouteRequest, Signal};
pub use router::Router;
pub use search::Matches;
