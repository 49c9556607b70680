//! How a command fails: what it says, and the exit code that goes with it.

use std::fmt;
use std::process::ExitCode;

/// Why a command did not do what it was asked. The text names the place and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It tried and failed: exit code 1.
    Failed(String),
    /// The command line contradicts itself or asks for what there is not: exit code 2.
    Usage(String),
    /// A configuration or input file is wrong: exit code 3.
    Invalid(String),
    /// A remote server cannot be reached or refuses: exit code 4.
    Remote(String),
    /// Nothing that was tried keeps the promise: exit code 99.
    NotMet(String),
    /// Somebody stopped it; what there was is kept: exit code 130.
    Interrupted(String),
}

impl Failure {
    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Invalid(_) => 3,
            Self::Remote(_) => 4,
            Self::NotMet(_) => 99,
            Self::Interrupted(_) => 130,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text)
            | Self::Usage(text)
            | Self::Invalid(text)
            | Self::Remote(text)
            | Self::NotMet(text)
            | Self::Interrupted(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Failure {}
