//! podlab's strategies: HyperPod's corrected, the classics, and the least expected time to first token.

pub(crate) mod simple; // random, least-loaded, p2c
pub(crate) mod bounded_ring; // session+
pub(crate) mod prefix; // prefixaware+
pub(crate) mod heat; // what many ask for
pub(crate) mod cheapest; // kvaware+
pub(crate) mod predicted; // predicted-ttft
pub(crate) mod backlog; // what a worker has still to compute
