//! Is the tiered cache right? A naive model of all tiers lives through the same histories, object by object; without
//! lower tiers it must be the worker's cache and nothing else; stories say the rules by hand.

mod model; // all tiers, with lists where the cache has trees
mod settings; // which caches, and what must happen to them
mod worlds; // random histories, checked after every step
mod requests; // what can befall a request, and an operation
mod alone; // where nothing moves, it is the worker's cache
mod stories; // the rules, one short story each
