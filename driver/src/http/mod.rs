//! What every HTTP server of podlab has in common: sockets, errors in OpenAI's words, bodies within bounds, who may ask.

pub(crate) mod door; // sockets, and stopping gracefully
pub(crate) mod key; // who has the API key
pub(crate) mod tls; // ... over TLS
pub(crate) mod body; // the bytes of a body, within bounds
pub(crate) mod fields; // its fields, one by one
pub(crate) mod prompt; // the prompt in it
pub(crate) mod error; // or why not
pub(crate) mod sagemaker; // the same behind SageMaker's runtime
pub(crate) mod decision; // where a request went, in the head of its response
pub(crate) mod histogram; // how often how much
pub(crate) mod vllm; // metrics by vLLM's names
pub(crate) mod session; // the session that a request names

pub use key::{ApiKey, NoKey};
pub use sagemaker::Callers;
pub use tls::acceptor;
