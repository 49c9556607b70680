//! Where should this request go? Routing strategies as pure machines.
//!
//! A [`Router`] is told the time, the prompts and what workers say of themselves, and answers with a worker, the reason
//! and the evidence. It owns no clock, socket or thread; its randomness comes from the seed. Four strategies are those of
//! Amazon SageMaker HyperPod by name and, as far as can be known, those of vLLM's production-stack by behaviour; the others
//! are those with their defects corrected, the classics, and the least expected time to first token.
//!
//! Law: the same configuration and the same sequence of calls give the same decisions, on every machine.
#![no_std]

extern crate alloc;

mod config; // which strategy, with which numbers
mod request; // what goes in, and what comes out
mod score; // the evidence
mod router; // the machine
mod weigh; // what all rules share
mod available; // who may be chosen
mod compat; // HyperPod's strategies
mod corrected; // podlab's
mod knowledge; // what is known of who holds what
mod forecast; // what work takes
mod index; // who holds which prefix
mod tokens; // from tokens to keys
mod draws; // seeded randomness
mod health; // who is fit, how often to try again, what is reserved
mod learn; // what work takes, learned from first tokens
mod desk; // all of it as one machine

pub use config::{RouterConfig, Strategy, TierCredits, UnknownStrategy};
pub use desk::{Desk, DeskConfig};
pub use forecast::{Forecast, Loading};
pub use health::{
    CircuitState, Health, HealthConfig, HealthCounts, Outcome, ReservationCounts, Reservations, Reserved, Retries,
    RetryBudget, RetryConfig, Sent, Stop, WorkerLoad,
};
pub use index::{Index, IndexConfig, IndexCounts, Matches};
pub use knowledge::{FeedCount, Kept, LowerTiers, Snapshot, Wanted};
pub use learn::Learner;
pub use request::{Api, Decision, Missed, NoWorker, Reason, RouteRequest, Signal};
pub use router::Router;
pub use score::{CostUnit, Score, TierTokens};
pub use tokens::TokenHasher;
