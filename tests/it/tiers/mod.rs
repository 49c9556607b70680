//! Lower tiers in the simulator: laws of whole runs, golden numbers, and what each setting does.

pub(crate) mod world; // clusters with tiers
mod trace; // the conversation trace with L1 and L2
pub(crate) mod fuzz; // random clusters in which everything goes wrong
mod golden; // numbers to follow by hand, and AWS's beside ours
mod slow; // a slow L2 hurts who always loads, and never who may choose
mod transport; // the ways between the tiers alone
mod cancel; // who leaves, or is preempted
mod restarts; // whose worker dies
mod stories; // times worked out by hand
