//! Seeds of a command line.

use super::whole::from_zero;
use std::ops::RangeInclusive;

/// One seed, or a range of them, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seeds(RangeInclusive<u64>);

/// The most seeds of a range: each is a run.
const MOST: u64 = 10_000;

impl Seeds {
    /// Reads `7` or `1..10`.
    ///
    /// # Errors
    /// What would be right.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some((first, last)) = text.split_once("..") else { return from_zero(text).map(|seed| Self(seed..=seed)) };
        let range = |problem: String| format!("{problem}; a range has a first and a last seed, such as 1..10");
        let (first, last) = (from_zero(first).map_err(range)?, from_zero(last).map_err(range)?);
        if last < first {
            return Err(format!("{text} has no seed; write {last}..{first}"));
        }
        if last - first >= MOST {
            return Err(format!("{text} has more than {MOST} seeds, and each is a run"));
        }
        Ok(Self(first..=last))
    }

    /// Each of them.
    pub(super) fn all(&self) -> RangeInclusive<u64> {
        self.0.clone()
    }
}
