//! An operation under way, and the parts of it that are: transfers, and one wait at a time.

use super::TransportConfig;
use alloc::collections::VecDeque;
use core::ops::Range;
use kvcache::{Backend, Blocks, Contact, Failed, LeaseId, OpId, PutId, RequestId, Time, WorkerId};

/// A part of an operation. All parts of one stage are under way together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Between device and host: what L1 has, or what is stored.
    Host,
    /// Over the network of the worker's node.
    Network,
    /// In or out of the pool.
    Pool,
    /// What comes from the pool, onto the device.
    Onward,
    /// Pure latency.
    Wait,
    /// For its turn: a worker puts one store after the other.
    Turn,
    /// For whoever carries its bytes, where that is somebody else.
    Outside,
}

impl Part {
    /// Those that take a link.
    pub(super) const CARRIED: [Self; 4] = [Self::Host, Self::Network, Self::Pool, Self::Onward];

    pub(super) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

#[derive(Debug)]
pub(super) struct Transit {
    pub(super) worker: WorkerId,
    /// Parts under way, by [`Part::bit`].
    pub(super) under_way: u8,
    /// Tells the users of a number apart.
    pub(super) life: u32,
    pub(super) op: OpId,
    pub(super) began: Time,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Probe {
        upto: Blocks,
    },
    /// It will fail when its wait ends.
    Failed {
        failed: Failed,
    },
    Load(Load),
    Store(Store),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) from: Blocks,
    pub(super) host: Blocks,
    /// How far the lease reaches.
    pub(super) upto: Blocks,
    pub(super) lease: Option<LeaseId>,
    /// What is to be said of the pool, if the load ends by itself.
    pub(super) contact: Contact,
    /// Bytes of an object that is no tail.
    pub(super) object_bytes: u64,
    /// Bytes to come from L1.
    pub(super) host_bytes: u64,
    pub(super) pool: PoolBytes,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Store {
    pub(super) put: Put,
    pub(super) copied: bool,
    /// Bytes that come off the device.
    pub(super) host_bytes: u64,
    pub(super) pool: PoolBytes,
}

/// What moves to or from the pool.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PoolBytes {
    pub(super) all: u64,
    /// Those that cross the network.
    pub(super) elsewhere: u64,
}

/// The stores of a worker that are copied and go on to the pool, one after the other.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) busy: bool,
    pub(super) next: VecDeque<u32>,
}

/// What becomes of a store once it is in the host's memory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Put {
    /// It goes no further: there is no pool, or that has everything.
    None,
    /// It goes into the pool, up to this object.
    Begun(PutId, Blocks),
    /// The pool cannot be reached, which turns out then.
    Failed(Failed),
    /// It goes to a pool elsewhere.
    Elsewhere {
        /// For whom.
        request: RequestId,
        /// So many objects.
        objects: u32,
        /// What came of it, once that is known.
        outcome: Result<(), Failed>,
    },
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

    /// The link that a part of an operation of `worker` takes.
    pub(super) fn link(&self, worker: WorkerId, part: Part, stores: bool) -> u32 {
        match part {
            Part::Host if stores => self.out_links().start + u32::from(worker.0),
            Part::Host | Part::Onward | Part::Wait | Part::Turn | Part::Outside => {
                self.in_links().start + u32::from(worker.0)
            }
            Part::Network => self.nic_links().start + self.node(worker),
            Part::Pool if self.pool == PoolWays::Server => self.pool_links().start,
            Part::Pool => self.pool_links().start + self.node(worker),
        }
    }

    /// Whether what lies on `shard` has to cross the network to reach `worker`.
    pub(super) fn is_elsewhere(&self, worker: WorkerId, shard: u16) -> bool {
        self.pool == PoolWays::Server || u32::from(shard) != self.node(worker)
    }
}
