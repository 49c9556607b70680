//! Where TTFT goes: its parts, hits and misses apart, and what the slowest requests are made of. Of completed requests.

use super::quantile::Ascending;
use super::{Distribution, Record};
use alloc::vec::Vec;
use kvcache::Span;
use serde::{Deserialize, Serialize};

/// One value for each part of a TTFT. The parts of a request add up to its TTFT exactly ([`Ledger::check`](super::Ledger::check)); what they are
/// is told by [`Spent`](crate::replica::Spent).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByPart<T> {
    /// Pure latency between client and router.
    pub api: T,
    /// Kept from the engine that serves it: in line at a worker's proxy (`requestLimits`), at a worker that died.
    pub line: T,
    /// Waiting for KV room.
    pub kv_wait: T,
    /// Waiting for its turn: token budget, seat, a pass under way.
    pub budget_wait: T,
    /// Waiting for the lower tiers.
    pub tiers: T,
    /// Being computed.
    pub compute: T,
}

impl<T> ByPart<T> {
    /// What `make` makes of each part.
    pub fn map<U>(self, mut make: impl FnMut(T) -> U) -> ByPart<U> {
        ByPart {
            api: make(self.api),
            line: make(self.line),
            kv_wait: make(self.kv_wait),
            budget_wait: make(self.budget_wait),
            tiers: make(self.tiers),
            compute: make(self.compute),
        }
    }

    /// Each part where it is.
    const fn each(&self) -> ByPart<&T> {
        let Self { api, line, kv_wait, budget_wait, tiers, compute } = self;
        ByPart { api, line, kv_wait, budget_wait, tiers, compute }
    }

    /// Each part under its name, in order.
    pub fn named(self) -> [(&'static str, T); 6] {
        let Self { api, line, kv_wait, budget_wait, tiers, compute } = self;
        [
            ("api", api),
            ("line", line),
            ("kv_wait", kv_wait),
            ("budget_wait", budget_wait),
            ("tiers", tiers),
            ("compute", compute),
        ]
    }
}

/// How much of a prompt was found in any tier when its request was first admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// At least four fifths: little is left to compute. (Not all: a question behind a cached document is new.)
    Hit,
    /// Anything between.
    Partial,
    /// Less than one fifth: a shared system prompt alone makes no hit.
    Miss,
}

impl Class {
    /// Of a prompt of which so much was found.
    #[must_use]
    pub fn of(found: u64, prompt: u64) -> Self {
        if found * 5 >= prompt * 4 {
            Self::Hit
        } else if found * 5 >= prompt {
            Self::Partial
        } else {
            Self::Miss
        }
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Partial => "partial",
            Self::Miss => "miss",
        }
    }
}

/// One value for each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByClass<T> {
    /// Of hits.
    pub hit: T,
    /// Of partial hits.
    pub partial: T,
    /// Of misses.
    pub miss: T,
}

impl<T> ByClass<T> {
    fn made(mut make: impl FnMut(Class) -> T) -> Self {
        Self { hit: make(Class::Hit), partial: make(Class::Partial), miss: make(Class::Miss) }
    }

    const fn of(&self, class: Class) -> &T {
        match class {
            Class::Hit => &self.hit,
            Class::Partial => &self.partial,
            Class::Miss => &self.miss,
        }
    }

    /// Each class under its name, in order.
    pub fn named(self) -> [(&'static str, T); 3] {
        [("hit", self.hit), ("partial", self.partial), ("miss", self.miss)]
    }
}

/// A part of the TTFTs of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PartFigures {
    /// Its mean, ms: the means of all parts add up to that of the TTFT.
    pub mean_ms: Option<f64>,
    /// Its share of all time to first tokens together.
    pub share: Option<f64>,
    /// Its median, ms.
    pub p50_ms: Option<f64>,
    /// Its 90th percentile, ms.
    pub p90_ms: Option<f64>,
}

/// The requests of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OfClass {
    /// How many there are.
    pub requests: u64,
    /// Mean TTFT, ms.
    pub mean_ttft_ms: Option<f64>,
    /// Its median.
    pub p50_ttft_ms: Option<f64>,
    /// Its 90th percentile.
    pub p90_ttft_ms: Option<f64>,
    /// Its 99th percentile.
    pub p99_ttft_ms: Option<f64>,
    /// What share of their TTFT each part is; null where there is no request.
    pub shares: Option<ByPart<f64>>,
}

/// Those of the slowest tenth that are of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OfSlowest {
    /// How many there are.
    pub requests: u64,
    /// What share of their TTFT each part is; null where there is no request.
    pub shares: Option<ByPart<f64>>,
}

/// The tenth of the requests, rounded up, whose first token took longest: what a P90 is the lower end of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SlowestTenth {
    /// How many there are.
    pub requests: u64,
    /// The least TTFT among them, ms.
    pub from_ms: Option<f64>,
    /// Who they are.
    #[serde(flatten)]
    pub classes: ByClass<OfSlowest>,
}

/// Where the TTFT of a run goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Breakdown {
    /// Its parts.
    pub parts: ByPart<PartFigures>,
    /// Hits and misses apart.
    pub classes: ByClass<OfClass>,
    /// What the slowest are made of.
    pub slowest: SlowestTenth,
}

impl Record {
    /// The parts of its TTFT. `None`: no token came out.
    #[must_use]
    pub fn parts(&self) -> Option<ByPart<Span>> {
        let spent = self.spent?;
        Some(ByPart {
            api: self.api(),
            line: self.outside,
            kv_wait: spent.kv_wait,
            budget_wait: spent.budget_wait,
            tiers: spent.tiers,
            compute: spent.compute,
        })
    }

    /// How much of its prompt was found. `None`: it never was admitted.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        Some(Class::of(u64::from(self.found()?.0), u64::from(self.prompt.0)))
    }
}

/// The requests that are told of: a list for each figure, since what is asked of one is mostly asked of all.
#[derive(Default)]
pub(super) struct Told {
    ttft: Vec<u64>,
    parts: ByPart<Vec<u64>>,
    class: Vec<Class>,
}

impl Told {
    /// Nobody yet, with room for so many.
    pub(super) fn with_capacity(room: usize) -> Self {
        let list = || Vec::with_capacity(room);
        Self { ttft: list(), parts: ByPart::<()>::default().map(|()| list()), class: Vec::with_capacity(room) }
    }

    /// One more, unless it has no token, and nothing to tell.
    pub(super) fn add(&mut self, record: &Record) {
        let (Some(ttft), Some(parts), Some(class)) = (record.ttft(), record.parts(), record.class()) else { return };
        self.ttft.push(ttft.0);
        self.parts.api.push(parts.api.0);
        self.parts.line.push(parts.line.0);
        self.parts.kv_wait.push(parts.kv_wait.0);
        self.parts.budget_wait.push(parts.budget_wait.0);
        self.parts.tiers.push(parts.tiers.0);
        self.parts.compute.push(parts.compute.0);
        self.class.push(class);
    }

    /// The sum of `list` over those of each class, of the requests `which`.
    fn sums(&self, list: &[u64], which: impl Iterator<Item = usize>) -> [u128; 3] {
        let mut sums = [0; 3];
        for place in which {
            sums[self.class[place] as usize] += u128::from(list[place]);
        }
        sums
    }

    /// What share of the TTFTs of each class each part is, of the requests `which`; `None` where there is no request.
    fn shares(&self, which: impl Iterator<Item = usize> + Clone) -> ByClass<Option<ByPart<f64>>> {
        let all = self.sums(&self.ttft, which.clone());
        let parts = self.parts.each().map(|list| self.sums(list, which.clone()));
        ByClass::made(|class| {
            let class = class as usize;
            (all[class] > 0).then(|| parts.map(|sums| sums[class] as f64 / all[class] as f64))
        })
    }
}

impl Breakdown {
    /// Of completed requests.
    pub(super) fn of(told: &Told) -> Self {
        Self { parts: parts(told), classes: classes(told), slowest: slowest(told) }
    }
}

const NANOS: f64 = 1e9; // picoseconds in a millisecond

fn parts(told: &Told) -> ByPart<PartFigures> {
    let all: u128 = told.ttft.iter().map(|ttft| u128::from(*ttft)).sum();
    let mut spans = Vec::with_capacity(told.ttft.len());
    told.parts.each().map(|list| {
        spans.clone_from(list);
        let sum: u128 = spans.iter().map(|span| u128::from(*span)).sum();
        let mean = (!spans.is_empty()).then(|| sum as f64 / spans.len() as f64 / NANOS);
        let share = (all > 0).then(|| sum as f64 / all as f64);
        let mut ascending = Ascending::new(&mut spans);
        let mut at = |q| ascending.quantile(q).map(|at| at / NANOS);
        PartFigures { mean_ms: mean, share, p50_ms: at(0.5), p90_ms: at(0.9) }
    })
}

fn classes(told: &Told) -> ByClass<OfClass> {
    let shares = told.shares(0..told.ttft.len());
    ByClass::made(|class| {
        let those = told.ttft.iter().zip(&told.class).filter(|(_, other)| **other == class);
        let ttfts: Vec<u64> = those.map(|(ttft, _)| *ttft).collect();
        let requests = ttfts.len() as u64;
        let Distribution { mean, p50, p90, p99, .. } = Distribution::of(ttfts);
        OfClass {
            requests,
            mean_ttft_ms: mean,
            p50_ttft_ms: p50,
            p90_ttft_ms: p90,
            p99_ttft_ms: p99,
            shares: *shares.of(class),
        }
    })
}

/// Of requests that are equally slow, those sent first. O(n).
fn slowest(told: &Told) -> SlowestTenth {
    let count = told.ttft.len().div_ceil(10);
    let mut order: Vec<(u64, u32)> =
        told.ttft.iter().zip(0..).map(|(ttft, number)| (u64::MAX - ttft, number)).collect();
    if let Some(last) = count.checked_sub(1) {
        order.select_nth_unstable(last);
    }
    let slowest = order[..count].iter().map(|(_, number)| *number as usize);
    let shares = told.shares(slowest.clone());
    SlowestTenth {
        requests: count as u64,
        from_ms: slowest.clone().map(|place| told.ttft[place]).min().map(|least| least as f64 / NANOS),
        classes: ByClass::made(|class| OfSlowest {
            requests: slowest.clone().filter(|place| told.class[*place] == class).count() as u64,
            shares: *shares.of(class),
        }),
    }
}
