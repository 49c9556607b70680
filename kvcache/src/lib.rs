//! The tiered prefix cache of one worker, and the vocabulary that all podlab crates share.
//!
//! This crate is *pure*: it is told the time and asks for nothing. No clock, no thread, no socket, no ambient
//! randomness; work that must be done outside comes out as values.
#![no_std]

extern crate alloc;

mod units; // how much
mod time; // when
mod identity; // what a block is: collision-resistant hashes of real tokens
mod chain; // what a prompt is: pieces, and the keys of its blocks
mod keyed; // maps from such keys
mod event; // what others may know about a cache
mod news; // ... that nobody was told of yet
mod label; // whose identity a cached run carries
mod runs; // the tree of runs
mod worker; // the cache of one worker, by vLLM's rules
mod shelf; // a flat store of objects, kept by strips
mod host; // L1: host memory of a worker
mod breaker; // when to stop calling the shared pool
mod pool; // the pool that all workers share
mod node; // a node's daemon: objects in a segment
mod tiered; // a worker's cache over all tiers, and what moves between them

pub use breaker::{Breaker, BreakerConfig, BreakerState};
pub use chain::{BlockKey, Chain, ChainBuilder, Piece, PieceKey};
pub use event::{CacheEvent, CacheSnapshot, Change, Epoch, Strand, StrandId};
pub use host::{HostCache, HostConfig, HostPin, HostUsage, HostWrite};
pub use identity::{BlockHash, Identity, InvalidSalt, Salt};
pub use keyed::{KeyMap, OwnHash};
pub use node::{
    Asked, Fragment, Grant, GrantId, Hold, NodeConfig, NodeCounts, NodeStore, NodeUsage, ObjectName, Owners,
    PutRefusal, WaitId, Write, WriteId,
};
pub use pool::{Backend, Begun, LeaseId, Leased, Pool, PoolConfig, PoolCounts, PoolUsage, PutId, Unknown};
pub use shelf::{Eviction, Shelved, UnknownEviction};
pub use tiered::{
    Admission, Choice, Contact, Costs, Deadline, Done, Failed, Inquiry, LoadEnd, LoadMode, Looked, Offer, Op, OpId,
    StoreMode, Task, TierConfig, TierCost, TierCounts, TieredCache, Wanted, Woken,
};
pub use time::{Span, Time};
pub use units::{Blocks, RequestId, SessionId, Tokens, WorkerId};
pub use worker::{CacheConfig, Duplicates, Found, HoldId, NoRoom, Usage, WorkerCache};
