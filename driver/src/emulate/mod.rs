//! `podlab serve --engine sim`: the simulator's cluster in wall time, behind an OpenAI-compatible server.
//!
//! Replica, cache and router are the very code of the simulator; a pass sleeps for its modelled duration. The shell
//! adds a clock, sockets and words. What is true here and in the simulator alike (which passes, which decisions) is
//! decided by the core; what a client measures adds the machine's own lateness.

pub mod clock; // wall time to core time
pub mod engine; // the actor that owns the cluster
pub mod progress; // what a request's client may know, and how it is told
pub mod record; // what is kept for a replay
pub mod tokens; // prompts without a tokenizer
pub mod reply; // words without meaning
pub mod executor; // whoever executes passes for real
#[cfg(feature = "candle")]
pub mod candle; // workers that compute
#[cfg(feature = "candle")]
mod candle_remote; // ... over an L2 elsewhere
pub mod feed; // what workers hold, told to the world
pub mod parts; // where a time to first token went
pub mod names; // what a reply is called while it is said
mod live; // a request that has not ended
mod meters; // what is counted for /metrics
mod stats; // what became of all requests
mod settings; // what the server is like
mod api; // the OpenAI-compatible wire
mod server; // sockets, and stopping gracefully
mod emulator; // a server in a thread of its own

pub use crate::http::Callers;
pub use crate::http::door::stop_signal;
pub use emulator::Emulator;
pub use server::{ServeError, serve, serve_computed};
pub use settings::{Settings, Tls, Watch};
pub use stats::Stats;
