//! What workers hold, told to the world as vLLM tells it: its KV-event stream over ZeroMQ.
//!
//! A worker is told of as one of vLLM's data-parallel ranks: it publishes on the first one's port plus its number, and so it
//! repeats. Told are the blocks of the device that a later prompt can find: whole blocks of requests without a
//! `cache_salt`, which are nobody else's. What an emulated worker replies is like nothing that a prompt could hold.
//!
//! Laws: a block is told stored with its parent stored before it, and told removed only after that; what is told and not
//! removed is what the caches hold of such blocks.

mod publisher; // from what the engine hears to what is published
mod names; // the tokens of blocks, while somebody may store them
mod tell; // a cache's changes as vLLM's events
mod batch; // ... as bytes
mod publish; // the sockets, and what is told again

pub use publish::{Feed, NoFeed, Ports, open};

pub(super) use publisher::Publisher;
