//! The log of decisions: what a gateway's desk was told, when, and what it answered; and the same once more.
//!
//! Lines of JSON. The first holds the set-up; each other one a call of the desk, in the order in which they were made, behind the
//! desk's lock. Prompts are in it as the hashes that the router knows them by, and nothing else of them. The replay law: a fresh desk
//! of the same set-up that is told the same answers the same, scores, ages and retries included.

mod set_up; // the first line
mod line; // the others
mod write; // into a file, while requests are served
mod replay; // and back

pub(super) use line::{Said, Told};
pub use replay::{Replayed, replay};
pub(super) use write::Log;
