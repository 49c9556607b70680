//! A decoder of the Llama family: what it is made of, where it is read from, and a pass of it.

mod shape; // sizes, angles
mod weights; // layers, identity
mod stored; // one tensor as a file has it, packed
mod gguf;
mod hub; // safetensors beside config.json
mod tiny; // random weights, from a seed
mod forward;

pub use forward::{Compute, Part, Want};
pub use gguf::read_gguf;
pub use hub::read_folder;
pub use shape::{Rope, Shape};
pub use tiny::{random, tiny};
pub use weights::{Identity, Layer, Linear, Model};

/// Why a model cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A file is not there, or cannot be read.
    #[error("read {path}: {error}")]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// candle cannot make sense of it.
    #[error("{0}")]
    Format(#[from] candle_core::Error),
    /// It lacks something.
    #[error("the model has no {0}")]
    Lacks(String),
    /// It is something that this crate does not compute.
    #[error("{0}")]
    Unsupported(String),
}
