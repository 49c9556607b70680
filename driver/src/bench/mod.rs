//! `podlab bench` and `podlab invoke`: any endpoint, measured from outside, by the definitions of the field.
//!
//! Every moment is of one monotonic clock, and stamped when bytes leave the socket, before anything is parsed. A request is
//! sent once; what fails is counted by class and is in no latency.

pub mod sse; // server-sent events, cut anywhere
pub mod chunk; // what an event says
pub mod reader; // a response as it comes
pub mod problem; // why a request failed
pub mod clock; // one clock for all stamps
pub mod target; // where requests go
mod net; // connections
pub(crate) mod tls; // ... that nobody else reads
mod fetch; // what is asked for once
pub mod credentials; // ... with which keys
pub mod sagemaker; // what SageMaker adds
pub mod client; // the client of a target
pub mod exchange; // one request, measured
pub mod words; // texts without a tokenizer
pub mod script; // a workload as bodies
pub mod calibrate; // ... of the right lengths
pub mod pace; // who sends when
pub mod watch; // who looks at it
pub mod run; // a phase of a run
pub mod rows; // requests as rows
pub mod figures; // means, intervals, percentiles
pub mod metrics; // what servers count
pub mod client_health; // how the client itself did
mod breakdown; // where times to first token went
mod cache; // what prefix caching did
pub mod summary; // the figures
pub mod phases; // cold and warm, the same and different
pub mod place; // where it goes
pub mod live; // progress
pub mod folder; // a run as a folder
pub mod table; // for people
