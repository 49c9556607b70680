//! What this process has used so far.

use nix::sys::resource::{UsageWho, getrusage};
use serde::Serialize;
use std::time::Instant;

/// CPU time, memory and wall time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Usage {
    /// User and system time of all threads, seconds.
    pub cpu_seconds: f64,
    /// Most memory resident at once, bytes.
    pub peak_rss_bytes: u64,
    /// Since the command began, seconds.
    pub wall_seconds: f64,
}

impl Usage {
    /// Since the process started; wall time since `began`.
    #[must_use]
    pub fn since(began: Instant) -> Self {
        let wall_seconds = began.elapsed().as_secs_f64();
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
            return Self { cpu_seconds: 0.0, peak_rss_bytes: 0, wall_seconds };
        };
        let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        Self {
            cpu_seconds: seconds(usage.user_time()) + seconds(usage.system_time()),
            // Linux counts in KiB.
            peak_rss_bytes: u64::try_from(usage.max_rss()).unwrap_or_default() * 1024,
            wall_seconds,
        }
    }
}
