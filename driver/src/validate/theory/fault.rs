//! What the checks must catch: a simulator that is wrong on purpose, to show that a check can fail.
//!
//! A fault changes how the real simulator is set up, or what reaches it, while theory goes on expecting what was asked for.

use std::fmt;
use std::str::FromStr;

/// One thing that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Passes and transfers take 5 % longer than they should.
    Slow,
    /// ... or 5 % less.
    Fast,
    /// The gateway hands requests on only at ticks, so that workers idle while work waits.
    Idle,
    /// The latency of the API, which takes no capacity, occupies the worker instead.
    Latency,
    /// What becomes of one request in 10,000 is never heard.
    Lost,
    /// Caches hold 5 % less.
    Capacity,
    /// Objects live 5 % longer.
    Ttl,
    /// What should be dropped least recently used first goes first in, first out, and the other way round.
    Eviction,
    /// `least-loaded` and `random`, `roundrobin` and `prefixaware` have changed places, and `p2c` takes workers in turn.
    Routing,
    /// Users think 5 % longer than they say.
    Think,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Slow,
        Self::Fast,
        Self::Idle,
        Self::Latency,
        Self::Lost,
        Self::Capacity,
        Self::Ttl,
        Self::Eviction,
        Self::Routing,
        Self::Think,
    ];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "service+5%",
            Self::Fast => "service-5%",
            Self::Idle => "idle",
            Self::Latency => "latency",
            Self::Lost => "lost",
            Self::Capacity => "capacity-5%",
            Self::Ttl => "ttl+5%",
            Self::Eviction => "eviction",
            Self::Routing => "routing",
            Self::Think => "think+5%",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|fault| fault.as_str() == name)
            .ok_or_else(|| format!("there are {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}
