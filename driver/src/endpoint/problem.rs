//! What is wrong with an endpoint file (problems: it is refused) and what will bite later (warnings: it is accepted).

use crate::yaml::lines;
pub use crate::yaml::{Place, Problem};
use std::fmt;

/// Every problem found in one reading of a file. Its `Display` is one line for each, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointError {
    file: String,
    problems: Vec<Problem>,
}

impl EndpointError {
    /// A refusal of `file` for these reasons, which are put in the order of the file.
    pub(super) fn new(file: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| (a.place, &a.path).cmp(&(b.place, &b.path)));
        problems.dedup();
        Self { file: file.to_owned(), problems }
    }

    /// The problems in the order of the file; at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The name of the file as the caller gave it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&lines(&self.file, &self.problems))
    }
}

impl std::error::Error for EndpointError {}

/// The kinds of warning, for those who filter or test them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Fields are missing that Kubernetes requires and a simulation does not need.
    KubectlRejects,
    /// Routing over a single replica.
    RoutingOneReplica,
    /// `kvaware` with an API other than `/completions`.
    KvAwareApi,
    /// No `endpointName`, so no SageMaker endpoint.
    NoEndpointName,
    /// `redis`, which operator 3.2.0 ignores.
    RedisIgnored,
    /// A session-based strategy without `SESSION_KEY`.
    NoSessionKey,
    /// L2 without `PYTHONHASHSEED`.
    NoHashSeed,
    /// The metrics port is not the port of the model server.
    MetricsPort,
    /// L2 with prompts shorter than a chunk.
    ShortPrompts,
    /// L2 is on and no backend is named.
    L2BackendAssumed,
    /// An `l2CacheSpec` that is not switched on.
    L2Off,
    /// Another source of cache settings overrides those in the file.
    CacheConfigElsewhere,
    /// A name that makes the routing service's name too long.
    LongName,
    /// A flag, variable or field given twice: the last one counts.
    GivenTwice,
    /// Something that podlab does not simulate.
    NotSimulated,
    /// A field of a newer operator, whose schema podlab does not check.
    NotChecked,
    /// A field that has no effect any more.
    Deprecated,
    /// A whole command line as one item of `command`.
    CommandInOneItem,
    /// `dnsConfig` without a certificate of one's own.
    DnsWithoutCertificate,
    /// A document of another kind in the same file.
    OtherDocument,
}

impl Code {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KubectlRejects => "kubectl-rejects",
            Self::RoutingOneReplica => "routing-one-replica",
            Self::KvAwareApi => "kvaware-api",
            Self::NoEndpointName => "no-endpoint-name",
            Self::RedisIgnored => "redis-ignored",
            Self::NoSessionKey => "no-session-key",
            Self::NoHashSeed => "no-hash-seed",
            Self::MetricsPort => "metrics-port",
            Self::ShortPrompts => "short-prompts",
            Self::L2BackendAssumed => "l2-backend-assumed",
            Self::L2Off => "l2-off",
            Self::CacheConfigElsewhere => "cache-config-elsewhere",
            Self::LongName => "long-name",
            Self::GivenTwice => "given-twice",
            Self::NotSimulated => "not-simulated",
            Self::NotChecked => "not-checked",
            Self::Deprecated => "deprecated",
            Self::CommandInOneItem => "command-in-one-item",
            Self::DnsWithoutCertificate => "dns-without-certificate",
            Self::OtherDocument => "other-document",
        }
    }
}

/// One thing about an accepted file that is likely to cost its owner a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Its kind.
    pub code: Code,
    /// The field it is about, such as `spec.replicas`.
    pub path: String,
    /// The line of that field, or of what should contain it.
    pub line: u32,
    /// The consequence and the remedy. One line.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {} [{}]", self.line, self.path, self.message, self.code.as_str())
    }
}

/// Collects what the parts of the reader find, so that one reading reports everything.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
}

impl Findings {
    pub(super) fn problem(&mut self, place: Place, path: &str, message: impl Into<String>) {
        self.problems.push(Problem::at(place, path, message));
    }

    pub(super) fn warn(&mut self, code: Code, line: u32, path: &str, message: impl Into<String>) {
        self.warnings.push(Warning { code, path: path.to_owned(), line, message: message.into() });
    }
}
