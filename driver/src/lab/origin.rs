//! Where the value of a setting came from, and what it is told by.

use crate::yaml::Place;

/// Where the value of a setting came from, from weakest to strongest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The program itself.
    BuiltIn,
    /// A `podlab.dev/...` annotation of the endpoint file.
    Annotation {
        /// The file.
        file: String,
        /// The line of the annotation.
        line: u32,
    },
    /// The lab file.
    LabFile {
        /// The file.
        file: String,
        /// Where in it.
        place: Place,
    },
    /// `--set`.
    Flag,
}

impl Origin {
    /// What a message begins with that is about `key` from here.
    #[must_use]
    pub fn names(&self, key: &str) -> String {
        match self {
            Self::BuiltIn => key.to_owned(),
            Self::Annotation { file, line } => format!("{file}:{line}: metadata.annotations[\"podlab.dev/{key}\"]"),
            Self::LabFile { file, place } => format!("{file}:{place}: {key}"),
            Self::Flag => format!("--set {key}"),
        }
    }
}
