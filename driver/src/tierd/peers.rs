//! Other daemons: whose an object is, and whether its owner can be called.

use super::link::Link;
use hyper::Uri;
use kvcache::{Breaker, BreakerConfig, ObjectName, Owners, Span, Time};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thiserror::Error;

/// How often a daemon that does not answer is tried again.
const PROBE: Span = Span::from_secs(2);

/// Where a daemon is called: `http://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerAddress {
    authority: String,
}

/// A text that says where no daemon is called.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{0}\" is no address of a daemon: write it as http://HOST:PORT")]
pub struct InvalidPeer(pub String);

impl FromStr for PeerAddress {
    type Err = InvalidPeer;

    fn from_str(text: &str) -> Result<Self, InvalidPeer> {
        let invalid = || InvalidPeer(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| invalid())?;
        let authority = uri.authority().ok_or_else(invalid)?;
        let plain = uri.scheme_str() == Some("http") && uri.path() == "/" && uri.query().is_none();
        if !plain || authority.port_u16().is_none_or(|port| port == 0) || authority.as_str().contains('@') {
            return Err(invalid());
        }
        Ok(Self { authority: authority.as_str().to_ascii_lowercase() })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

/// A daemon that is not this one.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: PeerAddress,
    pub(super) link: Link,
    breaker: Mutex<Breaker>,
}

impl Peer {
    fn new(address: PeerAddress) -> Self {
        let config = BreakerConfig { probe_every: PROBE, ..BreakerConfig::default() };
        let link = Link::new(address.authority.clone());
        Self { address, link, breaker: Mutex::new(Breaker::new(config)) }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it may be called now; who is told so does.
    pub(super) fn may_call(&self, now: Time) -> bool {
        self.breaker().may_call(now)
    }

    /// It answered, whatever.
    pub(super) fn answered(&self, now: Time) {
        self.breaker().succeeded(now);
    }

    /// It did not.
    pub(super) fn failed(&self, now: Time) {
        self.breaker().failed(now);
    }

    /// The address and key part of a request to it.
    pub(super) fn uri(&self, raw: &str, query: &str) -> String {
        format!("/v1/peer/{raw}{query}")
    }

    /// For the header that HTTP/1.1 asks for.
    pub(super) fn host(&self) -> &str {
        &self.address.authority
    }

    pub(super) fn is_up(&self) -> bool {
        self.breaker().is_closed()
    }
}

/// All daemons that share their objects.
#[derive(Debug)]
pub(super) struct Peers {
    owners: Option<Owners>,
    members: Vec<Option<Arc<Peer>>>, // none is this one
}

impl Peers {
    /// The daemons at these addresses, of which `own` is this one; none: it is alone.
    pub(super) fn new(members: &[PeerAddress], own: usize) -> Self {
        let names: Vec<String> = members.iter().map(PeerAddress::to_string).collect();
        let peer =
            |(place, address): (usize, &PeerAddress)| (place != own).then(|| Arc::new(Peer::new(address.clone())));
        Self {
            owners: (!names.is_empty()).then(|| Owners::new(names.iter().map(String::as_str))),
            members: members.iter().enumerate().map(peer).collect(),
        }
    }

    /// Whose an object is, if it is another daemon's.
    pub(super) fn owner(&self, name: &ObjectName) -> Option<&Arc<Peer>> {
        self.members.get(self.owners.as_ref()?.of(name))?.as_ref()
    }

    pub(super) fn others(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.members.iter().flatten()
    }

    /// Whether objects leave this daemon, so that they need a seal.
    pub(super) fn any(&self) -> bool {
        self.others().next().is_some()
    }
}
