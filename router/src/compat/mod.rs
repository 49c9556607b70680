//! HyperPod's four strategies, as vLLM's production-stack decides them.

pub(crate) mod turns; // roundrobin
pub(crate) mod prefixes; // prefixaware
pub(crate) mod controller; // kvaware
pub(crate) mod sessions; // session, and where kvaware goes when it finds nothing
pub(crate) mod ring; // consistent hashing
pub(crate) mod recent; // requests of the last minute
