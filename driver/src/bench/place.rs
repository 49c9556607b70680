//! Where a measurement goes, and what is known of it.

use super::summary::Price;
use super::target::{Target, Wire};
use crate::emulate::Emulator;
use crate::lab::Lab;
use nix::sys::resource::{UsageWho, getrusage};
use router::Api;
use serde_json::Value;
use std::collections::BTreeMap;

/// A place to measure.
#[derive(Debug)]
pub struct Place {
    /// As it was named.
    pub target_name: String,
    /// Where it is.
    pub target: Target,
    /// The API that is spoken.
    pub api: Api,
    /// The model's name, where it is known.
    pub model: Option<String>,
    /// What names the session.
    pub session_key: Option<String>,
    /// What it costs.
    pub price: Option<Price>,
    /// The settings of workloads and, of an emulated place, of the physics.
    pub lab: Lab,
    /// Those that were given.
    pub settings: BTreeMap<String, String>,
    /// Its routing strategy, where it is known.
    pub strategy: Option<String>,
    /// Its cache tiers, where they are known.
    pub cache: Option<String>,
    /// Its workers, where they are known.
    pub replicas: Option<u16>,
    /// All that was resolved, for the record.
    pub resolved: Value,
    /// Words for a token and tokens that are added to a prompt, where both are known: then nobody need be asked, and the run's
    /// first request is the first that its cluster gets.
    pub sizes: Option<(f64, u32)>,
    /// The server in this process, which goes when this does.
    pub emulator: Option<Emulator>,
}

impl Place {
    /// Whether it may have a path `/metrics`.
    #[must_use]
    pub fn has_metrics(&self) -> bool {
        self.target.wire == Wire::OpenAi
    }

    /// CPU seconds of the client so far: of its own thread where the server is in the same process.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        let who = if self.emulator.is_some() { UsageWho::RUSAGE_THREAD } else { UsageWho::RUSAGE_SELF };
        let Ok(usage) = getrusage(who) else { return 0.0 };
        let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        seconds(usage.user_time()) + seconds(usage.system_time())
    }
}
