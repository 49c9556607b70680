//! What theory says of systems that the simulator can be set up to be: pure formulas, each with its source.
//!
//! Nothing here simulates. `podlab validate theory` configures the real simulator as one of these systems and compares.
//! Times are in any one unit, rates in one over it; probabilities and hit rates are fractions.

pub mod moments; // of service times, as they are drawn: in whole tokens
pub mod queue; // one queue: one server, many, regular arrivals
pub mod balance; // many queues: how a choice of servers shortens them
pub mod closed; // users who wait for replies
pub mod cache; // hit rates
pub mod sample; // what a sample says, and how surely
