//! What one run of a matrix is.

use crate::lab::{Origin, canonical};
use router::Strategy;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// Which tiers of the cache are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tiers {
    /// None: every prompt is computed whole.
    None,
    /// The device's (vLLM's automatic prefix caching).
    L0,
    /// ... and the worker's host memory.
    L0L1,
    /// The device's, and the pool that all share: LMCache with `local_cpu` off.
    L0L2,
    /// All three.
    L0L1L2,
}

impl Tiers {
    /// All combinations there are.
    pub const ALL: [Self; 5] = [Self::None, Self::L0, Self::L0L1, Self::L0L1L2, Self::L0L2];

    /// The device's cache with these tiers below.
    #[must_use]
    pub const fn with(l1: bool, l2: bool) -> Self {
        match (l1, l2) {
            (false, false) => Self::L0,
            (true, false) => Self::L0L1,
            (false, true) => Self::L0L2,
            (true, true) => Self::L0L1L2,
        }
    }

    /// As `--cache` names them.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::L0 => "l0",
            Self::L0L1 => "l0+l1",
            Self::L0L2 => "l0+l2",
            Self::L0L1L2 => "l0+l1+l2",
        }
    }

    /// Whether workers keep KV in their host's memory.
    #[must_use]
    pub const fn l1(self) -> bool {
        matches!(self, Self::L0L1 | Self::L0L1L2)
    }

    /// Whether workers share a pool.
    #[must_use]
    pub const fn l2(self) -> bool {
        matches!(self, Self::L0L2 | Self::L0L1L2)
    }
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// So many per second, as a Poisson process.
    Rate(f64),
    /// So many always in flight.
    Concurrency(u32),
    /// So many users, who think between a reply and their next request.
    Users(u32),
    /// At the times of the trace.
    Trace {
        /// So many times as fast.
        speedup: f64,
    },
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(rate) => write!(f, "{rate}/s"),
            Self::Concurrency(concurrency) => write!(f, "{concurrency} in flight"),
            Self::Users(1) => f.write_str("1 user"),
            Self::Users(users) => write!(f, "{users} users"),
            Self::Trace { speedup } => write!(f, "trace x{speedup}"),
        }
    }
}

impl Load {
    /// Requests per second, where that was asked for.
    #[must_use]
    pub const fn rate(self) -> Option<f64> {
        if let Self::Rate(rate) = self { Some(rate) } else { None }
    }

    /// Requests in flight, where that was asked for.
    #[must_use]
    pub const fn concurrency(self) -> Option<u32> {
        if let Self::Concurrency(concurrency) = self { Some(concurrency) } else { None }
    }

    /// Users, where that was asked for.
    #[must_use]
    pub const fn users(self) -> Option<u32> {
        if let Self::Users(users) = self { Some(users) } else { None }
    }

    /// So many times as fast as the trace, where its times are followed.
    #[must_use]
    pub const fn speedup(self) -> Option<f64> {
        if let Self::Trace { speedup } = self { Some(speedup) } else { None }
    }
}

/// One combination of values.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// How workers are chosen.
    pub strategy: Strategy,
    /// Which tiers are on.
    pub cache: Tiers,
    /// How many workers.
    pub replicas: u16,
    /// When requests are sent.
    pub load: Load,
    /// Where randomness starts.
    pub seed: u64,
    /// Settings of the lab that were given.
    pub settings: BTreeMap<String, String>,
}

impl Case {
    /// A name for a folder.
    #[must_use]
    pub fn label(&self) -> String {
        let mut label = format!("{}-{}-{}x", self.strategy, self.cache.as_str(), self.replicas);
        match self.load {
            Load::Rate(rate) => write!(label, "-rate{rate}"),
            Load::Concurrency(concurrency) => write!(label, "-c{concurrency}"),
            Load::Users(users) => write!(label, "-u{users}"),
            Load::Trace { speedup } => write!(label, "-x{speedup}"),
        }
        .expect("a string takes every character");
        label.push_str(&format!("-seed{}", self.seed));
        label
    }
}

/// The values to combine. Every list holds at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Strategies.
    pub strategies: Vec<Strategy>,
    /// Tiers.
    pub caches: Vec<Tiers>,
    /// Numbers of workers.
    pub replicas: Vec<u16>,
    /// Loads.
    pub loads: Vec<Load>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Settings of the lab.
    pub axes: Vec<crate::lab::Axis>,
}

impl Matrix {
    /// Every combination; the strategy varies faster than all but the seed, so that rows to compare stand together.
    #[must_use]
    pub fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for settings in self.settings() {
            for &replicas in &self.replicas {
                for &load in &self.loads {
                    for &cache in &self.caches {
                        for &strategy in &self.strategies {
                            cases.extend(self.seeds.iter().map(|&seed| Case {
                                strategy,
                                cache,
                                replicas,
                                load,
                                seed,
                                settings: settings.clone(),
                            }));
                        }
                    }
                }
            }
        }
        cases
    }

    /// Settings by how a lab says them, so that one experiment has one name whoever wrote it how. What is so without being
    /// set is not told, unless it is one of several values.
    fn settings(&self) -> Vec<BTreeMap<String, String>> {
        self.axes.iter().fold(vec![BTreeMap::new()], |rows, axis| {
            let told: Vec<(String, bool)> = axis.values.iter().map(|value| canonical(&axis.key, value)).collect();
            if let ([(_, true)], true) = (told.as_slice(), axis.origin != Origin::BuiltIn) {
                return rows;
            }
            let with = |row: &BTreeMap<String, String>, value: &String| {
                let mut row = row.clone();
                row.insert(axis.key.clone(), value.clone());
                row
            };
            rows.iter().flat_map(|row| told.iter().map(move |(value, _)| with(row, value))).collect()
        })
    }
}
