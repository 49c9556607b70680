//! The emulated endpoint: the simulator's cluster in wall time, and the wire in front of it.

pub(crate) mod world; // clusters and servers to test with
pub(crate) mod raw; // an HTTP client that hides nothing
mod shells; // one script, two shells
mod replay; // what a live run recorded, fed to a fresh cluster
mod streams; // the events of a stream
mod errors; // every wrong request has its answer
mod life; // clients that leave, servers that stop
mod cutting; // prompts without a tokenizer
