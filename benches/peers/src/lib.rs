//! podlab's router index beside those of two other projects: what each answers, and how fast.
//!
//! All are driven through one small trait, [`Contender`], each with its own hash of tokens and its own best public
//! interface. `tests/differential.rs` holds them to a [literal index](Literal), and the binary times them side by side.

mod contender; // what an index must do to take part
mod literal; // the index that is obviously right
mod podlab; // podlab's
mod dynamo; // Dynamo's, single-threaded
mod dynamo_shared; // Dynamo's, for many threads
mod smg; // smg's
mod script; // random histories of holdings, with the right answers
mod workload; // what is held, and what is asked
mod stream; // what engines tell while requests are routed
mod clock; // time that this thread computes
mod race; // one index at its operations, timed
mod measure; // all of them in turn, and their answers compared
mod report; // what came out

pub use contender::{BLOCK, Contender, choose};
pub use dynamo::{Dynamo, Radix};
pub use dynamo_shared::{Concurrent, Positional};
pub use literal::Literal;
pub use measure::{Cell, Disagreement, Row, Setting, measure, measure_events};
pub use podlab::Podlab;
pub use report::{Machine, Samples, print};
pub use script::{Action, Holes, Script, Size};
pub use smg::Smg;
