//! An operation under way, in legs of a few hops each.

use super::TransportConfig;
use core::ops::Range;
use kvcache::{Backend, Blocks, Failed, LeaseId, OpId, PutId, Span, WorkerId};

/// One step of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// Pure latency.
    Wait(Span),
    /// A transfer on a shared link.
    Carry { link: u32, bytes: u64 },
}

/// Hops one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leg {
    pub(super) transit: u32,
    pub(super) hops: [Option<Hop>; 4],
    pub(super) at: u8,
    /// Tells the users of a number apart.
    pub(super) life: u32,
}

#[derive(Debug)]
pub(super) struct Transit {
    pub(super) worker: WorkerId,
    pub(super) op: OpId,
    pub(super) what: What,
    /// Legs under way.
    pub(super) left: u8,
    pub(super) life: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Probe {
        upto: Blocks,
    },
    /// It will fail when its leg ends.
    Failed {
        failed: Failed,
    },
    Load {
        from: Blocks,
        host: Blocks,
        /// How far the lease reaches.
        upto: Blocks,
        lease: Option<LeaseId>,
        /// From L1, and from L2.
        legs: [Option<u32>; 2],
        object_bytes: u64,
    },
    Store {
        put: Put,
        /// The way from the host to the pool.
        hops: [Option<Hop>; 4],
        copied: bool,
    },
}

/// What becomes of a store once it is in the host's memory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Put {
    /// It goes no further: there is no pool, or that has everything.
    None,
    /// It goes into the pool, up to this object.
    Begun(PutId, Blocks),
    /// The pool cannot be reached.
    Refused,
}

/// Which link is which.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ways {
    workers: u32,
    workers_per_node: u32,
    nodes: u32,
    pool: PoolWays,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PoolWays {
    None,
    /// A daemon on every node.
    Daemons,
    /// One server, away from all nodes.
    Server,
}

impl Ways {
    pub(super) fn new(config: &TransportConfig, workers: u16) -> Self {
        let workers_per_node = u32::from(config.workers_per_node.max(1));
        let pool = match config.pool.map(|access| access.pool.backend) {
            None => PoolWays::None,
            Some(Backend::TieredStorage { .. }) => PoolWays::Daemons,
            Some(Backend::Redis) => PoolWays::Server,
        };
        let workers = u32::from(workers);
        Self { workers, workers_per_node, nodes: workers.div_ceil(workers_per_node), pool }
    }

    pub(super) fn node(&self, worker: WorkerId) -> u32 {
        u32::from(worker.0) / self.workers_per_node
    }

    /// Bytes per second of each link, in order.
    pub(super) fn rates(&self, config: &TransportConfig) -> impl Iterator<Item = f64> {
        let (host, nic) = (config.host_bytes_per_s, config.nic_bytes_per_s);
        let pool = config.pool.map_or(1e9, |access| access.bytes_per_s);
        let (hosts, nics) = (self.out_links().end, self.nic_links().end);
        (0..self.pool_links().end).map(move |link| match link {
            link if link < hosts => host,
            link if link < nics => nic,
            _ => pool,
        })
    }

    pub(super) const fn in_links(&self) -> Range<u32> {
        0..self.workers
    }

    pub(super) const fn out_links(&self) -> Range<u32> {
        self.workers..2 * self.workers
    }

    pub(super) const fn nic_links(&self) -> Range<u32> {
        let start = 2 * self.workers;
        start..start + self.nodes
    }

    pub(super) const fn pool_links(&self) -> Range<u32> {
        let start = 2 * self.workers + self.nodes;
        let count = match self.pool {
            PoolWays::None => 0,
            PoolWays::Daemons => self.nodes,
            PoolWays::Server => 1,
        };
        start..start + count
    }

    pub(super) fn onto_device(&self, worker: WorkerId, bytes: u64) -> Hop {
        Hop::Carry { link: self.in_links().start + u32::from(worker.0), bytes }
    }

    pub(super) fn off_device(&self, worker: WorkerId, bytes: u64) -> Hop {
        Hop::Carry { link: self.out_links().start + u32::from(worker.0), bytes }
    }

    pub(super) fn network(&self, worker: WorkerId, bytes: u64) -> Hop {
        Hop::Carry { link: self.nic_links().start + self.node(worker), bytes }
    }

    pub(super) fn pool(&self, worker: WorkerId, bytes: u64) -> Hop {
        let server = if self.pool == PoolWays::Server { 0 } else { self.node(worker) };
        Hop::Carry { link: self.pool_links().start + server, bytes }
    }

    /// Whether what lies on `shard` has to cross the network to reach `worker`.
    pub(super) fn is_elsewhere(&self, worker: WorkerId, shard: u16) -> bool {
        self.pool == PoolWays::Server || u32::from(shard) != self.node(worker)
    }
}
