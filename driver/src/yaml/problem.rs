//! What is wrong with a file, and where.

use std::fmt::{self, Write};

/// A position in a file, both counted from 1; a column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The character in the line.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One reason why a file is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, or `None` if the file could not be read at all.
    pub place: Option<Place>,
    /// The field, such as `spec.worker.args[3]`; empty if it is about the file as a whole.
    pub path: String,
    /// What is wrong, what is allowed, and what was probably meant. One line.
    pub message: String,
}

impl Problem {
    pub(crate) fn at(place: Place, path: &str, message: impl Into<String>) -> Self {
        Self { place: Some(place), path: path.to_owned(), message: message.into() }
    }
}

/// The problems as `file:line:column: path: message`, one line each.
pub(crate) fn lines(file: &str, problems: &[Problem]) -> String {
    let mut text = String::new();
    for (index, problem) in problems.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        text.push_str(file);
        if let Some(place) = problem.place {
            write!(text, ":{place}").expect("a string takes every character");
        }
        text.push_str(": ");
        if !problem.path.is_empty() {
            text.push_str(&problem.path);
            text.push_str(": ");
        }
        text.push_str(&problem.message);
    }
    text
}
