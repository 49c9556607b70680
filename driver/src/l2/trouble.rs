//! What goes wrong with a Redis: what the core is told, and what people are.

use kvcache::Contact;
use redis::{ErrorKind, RedisError, ServerErrorKind};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The same trouble is told again after so long.
const AGAIN: Duration = Duration::from_secs(10);

/// Why an operation ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// Nothing was heard in time.
    Silent,
    /// There is no connection to be had.
    Unreachable,
    /// The connection was lost.
    Dropped,
    /// User or password are wrong, or may not do this.
    Forbidden,
    /// What answers is no Redis.
    Garbage,
    /// It is there, and serves nobody just now.
    NotServing,
    /// A value is of no use: a wrong type, or another length.
    WrongValue,
    /// It takes nothing more.
    Full,
    /// It does not do what it was asked.
    Refuses,
}

impl Trouble {
    /// What the core is told.
    pub(super) const fn contact(self) -> Contact {
        match self {
            Self::Silent => Contact::Silent,
            // It answered: that is about a value, not about the server.
            Self::WrongValue | Self::Full => Contact::Answered,
            Self::Unreachable | Self::Dropped | Self::Forbidden | Self::Garbage | Self::NotServing | Self::Refuses => {
                Contact::Refused
            }
        }
    }

    /// What is wrong, and what to do about it.
    const fn words(self) -> &'static str {
        match self {
            Self::Silent => "says nothing within l2.silence; it may be paused, overloaded, or behind a slow network",
            Self::Unreachable => "cannot be reached; is it running, and are host and port right?",
            Self::Dropped => "hung up",
            Self::Forbidden => {
                "refuses the user or the password, or they may not do this; say them in REDIS_URL \
                 (redis://USER:PASSWORD@HOST:PORT), and allow INFO, STRLEN, GET, GETEX, SET and UNLINK"
            }
            Self::Garbage => "answers, but not as a Redis does; is that another server's port?",
            Self::NotServing => {
                "does not serve just now (it loads, follows a primary that is away, or its cluster is down)"
            }
            Self::WrongValue => "had something else under a block's name, which was removed; who else writes there?",
            Self::Full => {
                "has no room, and evicts nothing; set its maxmemory-policy to allkeys-lru or allkeys-lfu (redis.conf)"
            }
            Self::Refuses => "refuses what it is asked; Redis 6.2 or Valkey are needed",
        }
    }
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        use ServerErrorKind as Server;
        match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed | ErrorKind::Server(Server::NoPerm), _)
            | (_, Some("NOAUTH" | "WRONGPASS")) => Self::Forbidden,
            (_, Some("WRONGTYPE")) => Self::WrongValue,
            (_, Some("OOM")) => Self::Full,
            (ErrorKind::Parse | ErrorKind::UnexpectedReturnType, _) => Self::Garbage,
            (
                ErrorKind::Server(Server::BusyLoading | Server::ClusterDown | Server::MasterDown | Server::ReadOnly),
                _,
            ) => Self::NotServing,
            (ErrorKind::Server(_) | ErrorKind::Extension, _) => Self::Refuses,
            _ if error.is_timeout() => Self::Silent,
            _ if error.is_connection_refusal() => Self::Unreachable,
            _ if error.is_connection_dropped() => Self::Dropped,
            _ => Self::Unreachable,
        }
    }
}

/// Who is told: of each trouble once in a while, and that it is over.
pub(super) struct Voice {
    tell: Box<dyn Fn(&str) + Send + Sync>,
    of: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    told: BTreeMap<Trouble, Instant>,
    in_trouble: bool,
}

impl Voice {
    pub(super) fn new(of: String, tell: Box<dyn Fn(&str) + Send + Sync>) -> Self {
        Self { tell, of, state: Mutex::default() }
    }

    pub(super) fn trouble(&self, trouble: Trouble) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.told.get(&trouble).is_some_and(|at| at.elapsed() < AGAIN) {
            return;
        }
        state.told.insert(trouble, Instant::now());
        state.in_trouble |= trouble.contact() != Contact::Answered;
        let goes_on =
            if trouble.contact() == Contact::Answered { "" } else { "; serving goes on without L2 until it answers" };
        (self.tell)(&format!("warning: L2 at {}: it {}{goes_on}", self.of, trouble.words()));
    }

    /// All is well.
    pub(super) fn well(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut state.in_trouble) {
            (self.tell)(&format!("L2 at {}: it answers again", self.of));
        }
    }
}
