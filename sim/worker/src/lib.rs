//! Workers that compute: a model, its paged KV cache, and the executor of the passes that `sim` plans.
//!
//! Law: a token's scores depend on the tokens before it and on nothing else, bit for bit: not on chunks, batches, pages,
//! caches, moves or threads ([`kernel`]).

pub mod kernel;
pub mod model;
pub mod pages;
