//! From measurements to a hardware profile: the factors of the roofline under which simulation says what was measured.
//!
//! The model that is fitted is the one that simulates: every figure is compared with what the same requests do in the
//! simulator. Nothing knows a row, a name or a GPU: what differs between profiles is the factors alone, and their published
//! values are where every fit begins and what it is held near.

pub mod factors; // what is fitted
pub mod fit; // ... by damped least squares in logarithms
pub mod judge; // ... how well, and how surely
pub mod closed; // a closed loop against one worker
pub mod table; // a table of measured ones
pub mod folder; // what the requests of a run took
pub mod layers; // kernels of a layer, one by one
pub mod passes; // whole passes that were timed
pub mod timed; // ... of a run's folder
