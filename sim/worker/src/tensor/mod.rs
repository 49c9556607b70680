//! The same model in candle's tensors, on any of candle's devices: what a GPU runs, and what tests run on the CPU.
//!
//! Weights have the values that the CPU's kernels take, rounded to the device's type; activations are floats between layers.
//! KV is rounded to halves once, when it is written, and pages leave and enter in the layout of [`crate::pages`]. The law of
//! bits does not hold here: how a matrix product is summed is the device's affair, and depends on how many rows there are.
//! What holds is a tolerance, which tests state.

mod weights; // the model, on a device
mod pages; // its KV cache
mod forward; // a pass
mod lane; // bytes to and from the device
#[cfg(feature = "cuda")]
pub mod cuda; // ... of a GPU

pub(crate) use lane::{Lane, Mark};
pub use pages::TensorPages;
pub use weights::TensorModel;

// What a device is, and of which type its numbers are, is candle's to say.
pub use candle_core::{DType, Device};
