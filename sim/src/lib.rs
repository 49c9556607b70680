//! A serving cluster in virtual time: agenda, replica, cost, workloads, ledger, theory.
//!
//! This crate is *pure*: it is told the time and asks for nothing. The same replica code runs in virtual time
//! (`simulate`), in wall time with modelled passes (`emulate`) and in front of a real model.
#![no_std]

extern crate alloc;

pub mod workload; // what is sent
pub mod simulate; // virtual time: a workload through a cluster
mod pacer; // ... who sends next where replies decide
pub mod extent; // how a run begins, how long it is, which part of it is measured
pub mod cluster; // workers behind a router, told the time
pub mod fleet; // what befalls workers, and how many there should be
pub mod replica; // one worker's engine: continuous batching over a prefix cache
pub mod executor; // how long a stretch of passes takes
pub mod link; // transfers that share a link equally
pub mod transport; // the ways between the tiers
pub mod cost; // what a pass costs
pub mod ledger; // what became of every request
pub mod theory; // what should become of them, where that can be worked out
pub mod streams; // one seed, a stream of random numbers per purpose
