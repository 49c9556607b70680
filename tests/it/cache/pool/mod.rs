//! Is the shared pool right? A naive store and the pool live through the same random histories; placement and expiry
//! obey their theory; stories say the rules by hand.

mod placement; // rendezvous hashing
mod model; // what a pool should do, object by object
mod worlds; // random histories, checked after every step
mod stories; // the rules, one short story each
mod theory; // hit rates of a cache with a time to live; frequency against a scan
