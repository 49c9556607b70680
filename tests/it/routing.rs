//! Routing as science: which strategy serves which workload best, and what breaks which. Figures are those of simulated
//! fleets; `cargo test -p podlab-tests routing:: -- --nocapture` prints them.

mod bench; // many runs, and what they tell on average
mod best; // the least time to first token
mod sharing; // what all prompts share, and what half of them do
mod load; // overload, and steady load
mod lag; // what is known late
mod restart; // a worker that comes back cold
