//! What a law is, and what its replications say together.

use super::super::check::{Check, Relation};
use super::fault::Fault;
use sim::streams::Streams;
use sim::theory::sample::Estimate;

/// How far figures may be off of which nothing is left to chance: what is lost in adding floats.
const EXACT: f64 = 1e-9;

/// Replications unless a law says otherwise. With as many, three standard errors are passed by chance nearly as rarely as by a
/// normal distribution: once in 260 times.
pub(super) const REPLICATIONS: u32 = 64;

/// What a replication is run with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bench {
    pub(super) seed: u64,
    pub(super) quick: bool,
    pub(super) fault: Option<Fault>,
}

impl Bench {
    /// The streams of its randomness.
    pub(super) const fn streams(&self) -> Streams {
        Streams::new(self.seed)
    }

    /// So many requests, or with `--quick` an eighth.
    pub(super) const fn requests(&self, count: u32) -> u32 {
        if self.quick { count / 8 } else { count }
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// A capacity, as it really is.
    pub(super) fn capacity(&self, objects: u32) -> u32 {
        if self.has(Fault::Capacity) { objects * 95 / 100 } else { objects }
    }

    /// What durations really are, as a part of what they should be.
    pub(super) fn pace(&self) -> f64 {
        match self.fault {
            Some(Fault::Slow) => 1.05,
            Some(Fault::Fast) => 0.95,
            _ => 1.0,
        }
    }
}

/// One figure of one replication: what theory says of it, and what came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) expected: f64,
    pub(super) simulated: f64,
}

/// A figure that a law is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) relation: Relation,
    pub(super) is_exact: bool,
}

/// A figure that may be off by three standard errors.
pub(super) const fn by_chance(name: &'static str) -> Subject {
    Subject { name, relation: Relation::Equal, is_exact: false }
}

/// A figure that is exactly what it should be.
pub(super) const fn exact(name: &'static str) -> Subject {
    Subject { name, relation: Relation::Equal, is_exact: true }
}

/// A system, and what theory says of some of its figures.
pub(super) struct Law {
    pub(super) subjects: Vec<Subject>,
    pub(super) replications: u32,
    /// Runs one replication and gives what it saw of each subject.
    #[expect(clippy::type_complexity, reason = "a name would say no more")]
    pub(super) run: Box<dyn Fn(&Bench) -> Vec<Seen> + Send + Sync>,
}

impl Law {
    /// A law of [`REPLICATIONS`] replications.
    pub(super) fn new(
        subjects: impl Into<Vec<Subject>>,
        run: impl Fn(&Bench) -> Vec<Seen> + Send + Sync + 'static,
    ) -> Self {
        Self { subjects: subjects.into(), replications: REPLICATIONS, run: Box::new(run) }
    }

    /// The same, run so often.
    pub(super) fn times(mut self, replications: u32) -> Self {
        self.replications = replications;
        self
    }

    /// What its replications say together. Expected and simulated are compared replication by replication, since both may
    /// depend on what was drawn.
    pub(super) fn checks(&self, replications: &[&[Seen]]) -> Vec<Check> {
        let check = |(place, subject): (usize, &Subject)| {
            let of = |figure: fn(&Seen) -> f64| -> Estimate {
                Estimate::of(&replications.iter().map(|seen| figure(&seen[place])).collect::<Vec<_>>())
            };
            let (expected, simulated) = (of(|seen| seen.expected).mean, of(|seen| seen.simulated).mean);
            let by_chance = 3.0 * of(|seen| seen.simulated - seen.expected).standard_error / expected.abs();
            let tolerance = if subject.is_exact { EXACT } else { by_chance };
            Check::new(subject.name, subject.relation, expected, simulated, tolerance)
        };
        self.subjects.iter().enumerate().map(check).collect()
    }

    /// What one replication saw, a line for each subject.
    pub(super) fn observations(&self, seed: u64, seen: &[Seen]) -> impl Iterator<Item = serde_json::Value> {
        self.subjects.iter().zip(seen).map(move |(subject, seen)| {
            serde_json::json!({
                "name": subject.name,
                "seed": seed,
                "expected": seen.expected,
                "simulated": seen.simulated,
            })
        })
    }
}
