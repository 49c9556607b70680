//! `podlab serve --worker URL`: the very router of the simulator before servers that speak OpenAI's API (vLLM, SGLang, llama.cpp, podlab's own).
//!
//! A request's body is read once, to see what the strategy asks for, and forwarded byte for byte; an answer's body is passed on as
//! it comes, event by event where it is a stream. A worker that fails before the client has seen anything of the answer is
//! replaced by another; one that fails later ends the stream in an error event, never in silence.

mod settings; // what the gateway is like
mod place; // where a worker may be
mod glance; // what a body tells of where it should go
mod dispatch; // who decides, behind one lock
mod log; // what was told and decided, to be played once more
mod upstream; // connections to workers
mod forward; // a request's way, attempt by attempt
mod relay; // an answer's way back
mod tally; // what it tells of itself
pub mod feed; // what workers hold, by their own account
mod tokenize; // prompts as workers' tokens
mod events; // streams cut where an event ends
mod meters; // what is counted for /metrics
mod api; // the paths there are
mod server; // a gateway and its life

pub use log::{Replayed, replay};
pub use place::{NoPlace, worker};
pub use server::serve;
pub use settings::Settings;
