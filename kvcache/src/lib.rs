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
mod label; // whose identity a cached run carries
mod runs; // the tree of runs
mod worker; // the cache of one worker, by vLLM's rules

pub use chain::{BlockKey, Chain, ChainBuilder, Piece, PieceKey};
pub use event::{CacheEvent, Change, Epoch};
pub use identity::{BlockHash, Identity};
pub use keyed::{KeyMap, OwnHash};
pub use time::{Span, Time};
pub use units::{Blocks, RequestId, SessionId, Tokens, WorkerId};
pub use worker::{CacheConfig, Duplicates, Found, HoldId, NoRoom, Usage, WorkerCache};
