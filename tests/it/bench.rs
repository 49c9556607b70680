//! `podlab bench` and `podlab invoke`: parsers cut anywhere, figures against a server of known truth, failures by class.

mod events; // server-sent events
mod frames; // Amazon's event stream
mod pace; // who sends when
mod wire; // HTTP/1.1, HTTP/2, TLS, several servers
mod counters; // what servers count
mod openai; // the real client before the same server
mod strict; // a late client
mod texts; // prompts without a tokenizer
mod mock; // the server of known truth
mod truth; // what is measured against it
mod failures; // what goes wrong
mod explained; // where a measured time went
mod agreement; // the same experiment in virtual time and measured
mod verify; // who may ask
mod sagemaker; // signatures, recomputed by botocore
