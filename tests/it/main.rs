//! Every test of podlab, a module per theme.

mod support; // the real data, the release binary, folders that go away
mod purity; // the law of the core
mod cache; // the cache of one worker against a naive model
mod router; // each strategy by hand, the index of holders against a literal one
mod cost; // what a pass costs, what fits on a GPU
mod reference; // the simulator against a step-by-step reference
mod quantiles; // percentiles and histograms
mod ledger; // every figure, worked out by hand
mod link; // a shared link against a naive fluid, and against theory
mod seeds; // what several seeds say together
mod slo; // what users are promised
mod breakdown; // where TTFT goes, and which part of a run is measured
mod find; // how far something can go and keep it
mod sweep; // grids that outlive a process
mod import; // logs as traces
mod trace; // reading traces
mod tiers; // lower tiers: runs, laws, golden numbers
mod fleet; // workers that come and go
mod workloads; // generated ones: sharing, lengths, times, streams
mod simulation; // laws on a real trace, and against theory
mod endpoint; // the endpoint file: refusals, warnings, what is read
mod bench; // any endpoint, measured from outside
mod emulate; // the same cluster in wall time, over HTTP
mod gateway; // the router before real workers
mod worker; // real computation of passes
mod tierd; // L2 as a daemon
mod clients; // real clients against the served endpoint
mod cli; // the command line as a stranger meets it
mod lab; // settings: the lab file, --set, annotations
mod routing; // which strategy serves which workload best
mod folder; // a run as a folder
mod fuzz; // what is read, mutated
mod silicon; // closed loops measured on GPUs
mod calibrate; // from measurements to hardware profiles
mod validate; // laws of theory, and faults that they catch
mod compare; // runs side by side
mod report_html; // runs as pages
mod explain; // why a request went where it did
