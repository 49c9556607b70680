//! Everything with a socket, a clock, a thread or an argv; the binary `podlab`.

pub mod cli; // the command line
pub mod endpoint; // the endpoint file that kubectl takes
mod yaml; // YAML with places
pub mod lab; // the settings that are not in it
pub mod experiment; // one experiment, and a run of it for each combination of values
pub mod sweep; // a grid of runs that outlives its process
pub mod validate; // the simulator against what is known otherwise
pub mod calibrate; // from measurements to the factors that simulate them
pub mod hardware; // ... as a file
pub mod report; // results for people and for programs
pub mod profile; // kernels that were measured, layer by layer
pub mod told; // runs as their files tell of them, whoever wrote those
pub mod compare; // runs side by side
pub mod page; // a run, a grid or a comparison as one HTML file
pub mod import; // a platform's own logs as a trace
pub mod aws; // what AWS's services speak
pub mod bench; // any endpoint, measured from outside
pub mod http; // what every HTTP server of podlab has in common
pub mod emulate; // the same cluster in wall time, over HTTP
pub mod gateway; // the router before real workers
pub mod computed; // passes that a small model computes
pub mod models; // models that are known by name
pub mod growth; // an index that nothing is taken from
pub mod tierd; // L2 as a daemon
#[cfg(feature = "redis")]
pub mod l2; // L2 in a Redis
mod alarm; // waking up on time
mod threads; // runs on all cores, told in order
mod bounded; // files read up to a size
mod suggest; // what was probably meant
pub mod failure; // how a command fails
pub mod process; // what this process has used
