//! `podlab tierd`: L2 `tieredstorage` as a daemon, by the published wire contract of HyperPod's node daemon.
//!
//! Control goes over HTTP; objects lie in a POSIX shared-memory segment that clients of the same machine map and copy from
//! under a lease. What goes where, and when, is [`kvcache::NodeStore`]'s to say; here are the bytes, the sockets and the clock.
//! Several daemons share their objects: each belongs to one of them, and the others fetch it and keep a copy.

mod settings; // what a daemon is like
mod segment; // the bytes
mod spread; // an object's bytes, in its fragments
mod store; // who has which lease, on the clock
mod path; // what a request asks for
mod body; // what is answered
mod peers; // other daemons
mod fetch; // objects that are theirs
mod link; // connections to them
mod meters; // what is counted
mod api; // the wire
mod put; // ... objects coming in
mod life; // how long a connection may be silent
mod server; // sockets, and stopping gracefully

use std::io::Write;

pub use peers::{InvalidPeer, PeerAddress};
pub use segment::{Segment, SegmentError};
pub use server::{Daemon, Ended};
pub use settings::Settings;

/// A line for whoever operates it.
fn say(line: &str) {
    // Nobody may be listening on stderr; that is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{line}");
}
