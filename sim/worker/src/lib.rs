//! Workers that compute: a model, its paged KV cache, and the executor of the passes that `sim` plans.
//!
//! Law: a token's scores depend on the tokens before it and on nothing else, bit for bit: not on chunks, batches, pages,
//! caches, moves or threads ([`kernel`]).

pub mod kernel; // arithmetic
pub mod model; // layers, and where they are read from
pub mod pages; // the KV cache
pub mod tensor; // the same model in tensors, as a GPU takes it
mod hardware; // either of both
pub mod engine; // the executor of passes
pub mod tables; // which page holds which block
pub mod language; // text to tokens and back
mod vocabulary; // ... tokens from GGUF files
mod template; // ... a chat as a prompt
pub mod station; // a worker in a thread of its own
pub mod block; // a block of KV as bytes
mod carry; // ... to and from a worker's pages
pub mod aside; // ... of a device, while it computes
pub mod depot; // ... in the tiers below
