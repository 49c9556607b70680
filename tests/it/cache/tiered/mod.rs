//! Is the tiered cache right? A naive model of all tiers lives through the same histories, object by object; without
//! lower tiers it must be the worker's cache and nothing else; stories say the rules by hand.

mod model; // all tiers, with lists where the cache has trees
mod choice; // load, or compute again: every end is weighed
mod settings; // which caches
mod worlds; // random histories, checked after every step
mod requests; // what can befall a request
mod operations; // what can become of an operation
mod alone; // where nothing moves, it is the worker's cache
mod stage; // where short stories are played
mod stories; // the rules, one short story each
mod outages; // stories of a pool that is short, refuses, or says nothing
