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

/// A request that is told of.
pub(super) struct Told {
    ttft: u64,
    parts: ByPart<u64>,
    class: Class,
}

impl Told {
    /// `None`: it has no token, and nothing to tell.
    pub(super) fn of(record: &Record) -> Option<Self> {
        let parts = record.parts()?.map(|part| part.0);
        Some(Self { ttft: record.ttft()?.0, parts, class: record.class()? })
    }
}

impl Breakdown {
    /// Of completed requests.
    pub(super) fn of(told: &[Told]) -> Self {
        let classes = ByClass::made(|class| of_class(told, class));
        Self { parts: parts(told), classes, slowest: slowest(told) }
    }
}

const NANOS: f64 = 1e9; // picoseconds in a millisecond

fn parts(told: &[Told]) -> ByPart<PartFigures> {
    let all: u128 = told.iter().map(|told| u128::from(told.ttft)).sum();
    let mut spans = Vec::with_capacity(told.len());
    let mut figures = |of: fn(&ByPart<u64>) -> u64| {
        spans.clear();
        spans.extend(told.iter().map(|told| of(&told.parts)));
        let sum: u128 = spans.iter().map(|span| u128::from(*span)).sum();
        let mean = (!spans.is_empty()).then(|| sum as f64 / spans.len() as f64 / NANOS);
        let share = (all > 0).then(|| sum as f64 / all as f64);
        let mut ascending = Ascending::new(&mut spans);
        let mut at = |q| ascending.quantile(q).map(|at| at / NANOS);
        PartFigures { mean_ms: mean, share, p50_ms: at(0.5), p90_ms: at(0.9) }
    };
    ByPart {
        api: figures(|parts| parts.api),
        line: figures(|parts| parts.line),
        kv_wait: figures(|parts| parts.kv_wait),
        budget_wait: figures(|parts| parts.budget_wait),
        tiers: figures(|parts| parts.tiers),
        compute: figures(|parts| parts.compute),
    }
}

fn of_class(told: &[Told], class: Class) -> OfClass {
    let those = || told.iter().filter(|told| told.class == class);
    let Distribution { mean, p50, p90, p99, .. } = Distribution::of(those().map(|told| told.ttft).collect());
    OfClass {
        requests: those().count() as u64,
        mean_ttft_ms: mean,
        p50_ttft_ms: p50,
        p90_ttft_ms: p90,
        p99_ttft_ms: p99,
        shares: shares(those()),
    }
}

fn shares<'a>(told: impl Iterator<Item = &'a Told>) -> Option<ByPart<f64>> {
    let (mut all, mut sums) = (0_u128, ByPart::<u128>::default());
    for Told { ttft, parts, .. } in told {
        all += u128::from(*ttft);
        sums.api += u128::from(parts.api);
        sums.line += u128::from(parts.line);
        sums.kv_wait += u128::from(parts.kv_wait);
        sums.budget_wait += u128::from(parts.budget_wait);
        sums.tiers += u128::from(parts.tiers);
        sums.compute += u128::from(parts.compute);
    }
    (all > 0).then(|| sums.map(|sum| sum as f64 / all as f64))
}

/// Of requests that are equally slow, those sent first. O(n).
fn slowest(told: &[Told]) -> SlowestTenth {
    let count = told.len().div_ceil(10);
    let mut order: Vec<(u64, u32)> =
        told.iter().enumerate().map(|(number, told)| (u64::MAX - told.ttft, number as u32)).collect();
    if let Some(last) = count.checked_sub(1) {
        order.select_nth_unstable(last);
    }
    let slowest = || order[..count].iter().map(|(_, number)| &told[*number as usize]);
    SlowestTenth {
        requests: count as u64,
        from_ms: slowest().map(|told| told.ttft).min().map(|least| least as f64 / NANOS),
        classes: ByClass::made(|class| {
            let those = || slowest().filter(|told| told.class == class);
            OfSlowest { requests: those().count() as u64, shares: shares(those()) }
        }),
    }
}
