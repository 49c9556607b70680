//! What is left of a run when its engine has ended.

use super::record::Recording;

/// What became of all requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests taken in: completed, refused and stopped ones together.
    pub requests: u64,
    /// All tokens came out.
    pub completed: u64,
    /// Nobody would serve it.
    pub refused: u64,
    /// Taken back by their clients, or given up when the engine stopped.
    pub stopped: u64,
    /// Tokens emitted.
    pub output_tokens: u64,
    /// Passes that all workers ran.
    pub passes: u64,
    /// Requests that workers still held at the end: always 0.
    pub left: u64,
    /// The run, where it was recorded.
    pub recording: Option<Recording>,
}
