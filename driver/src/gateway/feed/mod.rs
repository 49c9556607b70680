//! What workers hold, by their own account: vLLM's KV-event stream, as the router's cache events.

pub(super) mod decode; // a batch's bytes, in four layouts
pub(super) mod follow; // batches in order, as events of a cache
pub(super) mod subscribe; // the socket

pub use decode::{Event, Malformed, Name, batch};
pub use follow::{FeedCounts, Follower, Heard};
pub use subscribe::Place;
