//! What a daemon is like.

use super::peers::PeerAddress;
use kvcache::NodeConfig;
use std::time::Duration;

/// What a daemon is like, besides its socket and its segment.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How room is given and taken.
    pub node: NodeConfig,
    /// How long before its client's patience is over a held miss is answered.
    pub margin: Duration,
    /// The longest that a miss is held, whatever the client's patience.
    pub longest_hold: Duration,
    /// The longest lease that is given; who asks for a longer one is refused, not given less.
    pub longest_lease: Duration,
    /// This daemon, as the others call it, and the others; empty: it is alone.
    pub members: Vec<PeerAddress>,
    /// Which of them it is.
    pub own: usize,
    /// Connections at a time; more wait to be accepted.
    pub connections: usize,
    /// How long a request's head may take from its first byte on, and a body between two pieces.
    pub patience: Duration,
    /// How long a connection may stay open with nothing on it: longer than clients keep theirs, so that they close first.
    pub idle: Duration,
    /// How long requests in flight may go on once the daemon is told to stop.
    pub drain: Duration,
    /// How often it is looked whether the segment is still where clients look for it.
    pub watch: Duration,
    /// A line on stderr for each request, with a hash for its key.
    pub access_log: bool,
    /// A path that, for tests, replaces the segment as a restart would.
    pub test_hook: Option<String>,
}

impl Settings {
    /// A daemon of its own over `bytes`.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self {
            node: NodeConfig::new(bytes),
            margin: Duration::from_millis(50),
            longest_hold: Duration::from_secs(60),
            longest_lease: Duration::from_secs(600),
            members: Vec::new(),
            own: 0,
            connections: 4096,
            patience: Duration::from_secs(9),
            idle: Duration::from_secs(75),
            drain: Duration::from_secs(30),
            watch: Duration::from_millis(100),
            access_log: false,
            test_hook: None,
        }
    }
}
