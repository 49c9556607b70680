//! The store of a node's daemon.

mod model; // what it should do, in lists
mod worlds; // random histories, checked after every step
mod stories; // the rules, one short story each
