//! What an autoscaler looks at.

use crate::cluster::Cluster;
use kvcache::Span;

/// A figure of the whole fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Requests that reached the router within the last so long (CloudWatch's `Invocations`, as a sum).
    Invocations {
        /// How long.
        period: Span,
    },
    /// Requests per second, on average over the last so long.
    Rate {
        /// How long.
        period: Span,
    },
    /// Requests that are at the workers, or in line before them.
    InFlight,
    /// Of those, the ones that the engines have not admitted (`vllm:num_requests_waiting`), those in line included.
    Waiting,
    /// Of those, the ones that run (`vllm:num_requests_running`).
    Running,
    /// KV blocks in use over all blocks, of the workers that are there (`vllm:kv_cache_usage_perc`), in percent.
    KvUsage,
}

/// What can be counted in a cluster at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that have reached the router so far, each attempt.
    pub arrivals: u64,
    /// Requests at the workers that run.
    pub running: u64,
    /// Those that wait there, or in line before them.
    pub waiting: u64,
    /// Workers that are there.
    pub there: u16,
    /// KV blocks in use.
    pub used_blocks: u64,
    /// KV blocks of the workers that are there.
    pub blocks: u64,
}

impl Counts {
    /// Of a cluster, now. O(workers).
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        let mut counts = Self { arrivals: cluster.arrivals(), waiting: cluster.in_line(), ..Self::default() };
        for replica in cluster.replicas_there() {
            counts.there += 1;
            let running = replica.running() as u64;
            counts.running += running;
            counts.waiting += replica.live() as u64 - running;
            let usage = replica.cache().usage();
            let used = u64::from((usage.private + usage.held).0);
            counts.used_blocks += used;
            counts.blocks += used + u64::from((usage.free + usage.idle).0);
        }
        counts
    }

    /// The value of a metric that needs no history. `None`: it does.
    #[must_use]
    pub fn value(&self, metric: Metric) -> Option<f64> {
        Some(match metric {
            Metric::InFlight => (self.running + self.waiting) as f64,
            Metric::Waiting => self.waiting as f64,
            Metric::Running => self.running as f64,
            Metric::KvUsage if self.blocks == 0 => 0.0,
            Metric::KvUsage => 100.0 * self.used_blocks as f64 / self.blocks as f64,
            Metric::Invocations { .. } | Metric::Rate { .. } => return None,
        })
    }
}
