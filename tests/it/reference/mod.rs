//! Is the simulator right? A reference that takes a turn per pass and an entry per block, written from the rules in
//! `sim::replica` alone, serves the same random workloads and must have the same outcome, to the picosecond and to the
//! block; stories say the rules by hand.

mod scenario; // random workloads on small clusters
mod cluster; // at each moment: ends, arrivals, starts
mod engine; // one worker, pass by pass
mod cache; // its blocks, one by one
mod differ; // the fast simulator against it
mod random; // a great many of them
mod trace; // and the real one
mod rules; // each rule as a story
