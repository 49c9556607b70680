//! One request's attempts: where it has been, and whether it goes on.

use super::budget::RetryBudget;
use super::fleet::Health;
use super::outcome::Outcome;
use alloc::vec::Vec;
use core::fmt;
use kvcache::{Time, WorkerId};

/// The workers that a request was sent to in vain. A retry excludes them: affinity would choose the same dead worker
/// until its breaker opens (NVIDIA-NeMo/RL #3613). Allocates nothing before the first failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    tried: Vec<WorkerId>,
}

/// Why a request is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Another worker would do no better, or nobody waits.
    Settled,
    /// It was sent as often as it may be.
    Attempts,
    /// It was sent to everyone who may be sent requests now.
    AllTried,
    /// Too many others are tried again already.
    Budget,
}

impl Retries {
    /// Of a request that was not sent yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { tried: Vec::new() }
    }

    /// An attempt ended at `worker`. `Ok`: the request is to be sent once more, and one retry of the budget is used.
    /// O(workers).
    ///
    /// # Errors
    /// Why it is not tried again. The budget is touched last, so that nothing of it is used in vain.
    pub fn again(
        &mut self,
        worker: WorkerId,
        outcome: Outcome,
        health: &Health,
        budget: &mut RetryBudget,
        now: Time,
    ) -> Result<(), Stop> {
        if !outcome.is_retriable() {
            return Err(Stop::Settled);
        }
        self.tried.push(worker);
        if self.tried.len() as u64 >= u64::from(budget.config().attempts) {
            return Err(Stop::Attempts);
        }
        if health.available(now).all(|worker| self.tried.contains(&worker)) {
            return Err(Stop::AllTried);
        }
        if budget.try_withdraw(now) { Ok(()) } else { Err(Stop::Budget) }
    }

    /// Appends to `excluded` whom the request was sent to in vain.
    pub fn exclude(&self, excluded: &mut Vec<WorkerId>) {
        excluded.extend_from_slice(&self.tried);
    }

    /// Whom it was sent to in vain, in that order.
    #[must_use]
    pub fn tried(&self) -> &[WorkerId] {
        &self.tried
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Settled => "another worker would do no better",
            Self::Attempts => "it was sent as often as it may be",
            Self::AllTried => "it was sent to every available worker",
            Self::Budget => "too many requests are tried again already",
        })
    }
}

impl core::error::Error for Stop {}
