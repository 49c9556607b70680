//! Why requests went where they did, for people and for programs.

use crate::experiment::Outcome;

mod words; // a reason in words
mod figures; // what may be known of workers
mod text; // for people
mod json; // for programs

/// What each run has to explain, one after the other, and what the columns mean.
#[must_use]
pub fn text(outcomes: &[Outcome]) -> String {
    text::of(outcomes)
}

/// The same as one object, `{"explanations": [...]}`: one for each run and request, in that order.
#[must_use]
pub fn json(outcomes: &[Outcome]) -> String {
    json::of(outcomes)
}
