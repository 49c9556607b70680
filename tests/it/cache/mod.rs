//! Is `kvcache` right? A naive model and the crate live through the same random histories and must agree on every
//! answer; a mirror fed by events alone must know what the cache knows; stories say the rules by hand; vectors and
//! attacks test identity.

mod model; // what one worker's cache should do, block by block
mod mirror; // what an index can know from events alone
mod prompts; // what the histories are about
mod histories; // what they have in common
mod worlds; // random histories, checked after every step
mod stories; // the rules, one short story each
mod host; // L1: against naive stores of objects
mod theory; // hit rates that can be computed
mod identity; // when are two blocks the same?
mod breaker; // when to stop calling what cannot be reached
mod pool; // the shared pool against a naive one, and against theory
mod node; // a node's daemon: against a naive store with real bytes
mod tiered; // all tiers against a naive model, and stories
