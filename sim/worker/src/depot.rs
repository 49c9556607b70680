//! Bytes of KV below the devices: the L1 of each worker, and the L2 of all.
//!
//! The core decides what is where; this keeps the bytes, and hears of every object that came or went. So what lies here is
//! what the core counts, and no more. What lies in two tiers lies in memory once.

use kvcache::{BlockKey, OpId, Shelved, WorkerId};
use sim::transport::{Carried, Move, Way};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The bytes of an object: its blocks, one after the other ([`crate::block`]). A clone is the same memory.
#[derive(Clone, Debug)]
pub struct Bytes(Arc<dyn Memory>);

/// Memory that holds an object: the heap's, or what a GPU can copy to and from by itself.
pub trait Memory: core::fmt::Debug + Send + Sync {
    /// All of it.
    fn bytes(&self) -> &[u8];
}

impl Memory for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Bytes {
    /// Bytes in memory of a kind.
    #[must_use]
    pub fn new(memory: impl Memory + 'static) -> Self {
        Self(Arc::new(memory))
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl core::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

/// An object on its way, and its bytes, where they are there.
pub type Parcel = (Carried, Option<Bytes>);

/// One tier's objects.
#[derive(Debug, Default)]
struct Shelf {
    objects: BTreeMap<BlockKey, Bytes>,
    bytes: u64,
}

impl Shelf {
    fn put(&mut self, key: BlockKey, bytes: Bytes) {
        self.bytes += bytes.len() as u64;
        self.take(key);
        self.objects.insert(key, bytes);
    }

    fn take(&mut self, key: BlockKey) {
        if let Some(bytes) = self.objects.remove(&key) {
            self.bytes -= bytes.len() as u64;
        }
    }
}

/// All of it.
#[derive(Debug, Default)]
pub struct Depot {
    hosts: Vec<Shelf>,
    pool: Shelf,
    under_way: BTreeMap<(WorkerId, OpId), Vec<Parcel>>,
}

impl Depot {
    /// Empty tiers of so many workers.
    #[must_use]
    pub fn new(workers: u16) -> Self {
        Self { hosts: (0..workers).map(|_| Shelf::default()).collect(), ..Self::default() }
    }

    /// A move begins: what is to be loaded, with its bytes; or what is to be stored, with the bytes of what lies in another
    /// tier already.
    pub fn begin(&mut self, asked: &Move) -> Vec<Parcel> {
        let (host, pool) = (&self.hosts[asked.worker.index()], &self.pool);
        let parcel = |carried: &Carried| {
            let [l1, l2] = [host, pool].map(|shelf| shelf.objects.get(&carried.key).cloned());
            let bytes = match asked.way {
                Way::Load if carried.host => l1,
                Way::Load => l2,
                Way::Store | Way::Put => l1.or(l2),
                Way::Probe => None,
            };
            (*carried, bytes)
        };
        let parcels: Vec<Parcel> = asked.objects.iter().map(parcel).collect();
        self.under_way.insert((asked.worker, asked.op), parcels.clone());
        parcels
    }

    /// The objects of a move under way that are in L2, or are to be, and have bytes.
    #[must_use]
    pub fn bound_for_pool(&self, worker: WorkerId, op: OpId) -> Vec<Parcel> {
        let parcels = self.under_way.get(&(worker, op)).into_iter().flatten();
        parcels.filter(|(carried, bytes)| carried.pool && bytes.is_some()).cloned().collect()
    }

    /// What was to be stored has left the device.
    pub fn left(&mut self, worker: WorkerId, op: OpId, parcels: Vec<Parcel>) {
        if let Some(known) = self.under_way.get_mut(&(worker, op)) {
            *known = parcels;
        }
    }

    /// A move is over.
    pub fn end(&mut self, worker: WorkerId, op: OpId) {
        self.under_way.remove(&(worker, op));
    }

    /// Objects came to the L1 of `worker`, or to L2, and went. Those that nobody carries are not there, which shows when they
    /// are to be loaded.
    pub fn hear(&mut self, worker: Option<WorkerId>, told: &[Shelved]) {
        for change in told {
            match *change {
                Shelved::Added(key) => {
                    let bytes = self.carried(worker, key);
                    if let Some(bytes) = bytes {
                        self.shelf(worker).put(key, bytes);
                    }
                }
                Shelved::Dropped(key) => self.shelf(worker).take(key),
            }
        }
    }

    fn carried(&self, worker: Option<WorkerId>, key: BlockKey) -> Option<Bytes> {
        let of = self.under_way.iter().filter(|((of, _), _)| worker.is_none_or(|worker| *of == worker));
        of.flat_map(|(_, parcels)| parcels).find(|(carried, _)| carried.key == key)?.1.clone()
    }

    fn shelf(&mut self, worker: Option<WorkerId>) -> &mut Shelf {
        match worker {
            Some(worker) => &mut self.hosts[worker.index()],
            None => &mut self.pool,
        }
    }

    /// Bytes in L1 of all workers.
    #[must_use]
    pub fn host_bytes(&self) -> u64 {
        self.hosts.iter().map(|host| host.bytes).sum()
    }

    /// Bytes in L2.
    #[must_use]
    pub fn pool_bytes(&self) -> u64 {
        self.pool.bytes
    }

    /// Objects in the L1 of a worker; `None`: in L2.
    #[must_use]
    pub fn objects(&self, worker: Option<WorkerId>) -> usize {
        worker.map_or(&self.pool, |worker| &self.hosts[worker.index()]).objects.len()
    }

    /// Flips a bit of every object in the L1 of a worker, or in L2: for tests of what becomes of that.
    pub fn spoil(&mut self, worker: Option<WorkerId>) {
        for bytes in self.shelf(worker).objects.values_mut() {
            let mut wrong = bytes.to_vec();
            if let Some(last) = wrong.last_mut() {
                *last ^= 1;
            }
            *bytes = wrong.into();
        }
    }
}
