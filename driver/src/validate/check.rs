//! A figure, what it should be, and the verdict.

use serde::Serialize;

/// A figure of the simulator beside the one that it should have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Its name: of what, a dot, which one.
    pub name: String,
    /// What it should be; of a bound, the bound.
    pub expected: f64,
    /// What came.
    pub simulated: f64,
    /// By which part of the expected it is off; above 0 where it is too much. Of a bound, how far it is beyond, else 0.
    pub error: f64,
    /// How far off it may be.
    pub tolerance: f64,
    /// Whether it is no further.
    pub ok: bool,
}

/// How a figure and the one that it is held against belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They are the same.
    Equal,
    /// It is no more.
    AtMost,
    /// It is no less.
    AtLeast,
}

impl Check {
    /// Holds `simulated` against `expected`, which is not zero; `tolerance` is a part of the latter.
    #[must_use]
    pub fn new(name: &str, relation: Relation, expected: f64, simulated: f64, tolerance: f64) -> Self {
        let off = (simulated - expected) / expected.abs();
        let error = match relation {
            Relation::Equal => off,
            Relation::AtMost => off.max(0.0),
            Relation::AtLeast => off.min(0.0),
        };
        // What is no number is no agreement.
        let ok = error.abs() <= tolerance;
        Self { name: name.to_owned(), expected, simulated, error, tolerance, ok }
    }
}
