//! What users were promised, and how much of the load gets it.
//!
//! A promise is a list of terms such as `p90_ttft<2s`. A run keeps a term where at least that part of *all* requests was
//! below the bound: who failed was not. *Goodput* is how many requests per second were below every bound, each by itself
//! (Zhong et al., DistServe, OSDI 2024).

use crate::lab::units;
use crate::suggest;
use kvcache::Span;
use serde::{Deserialize, Serialize};
use sim::ledger::{Record, Status};
use std::fmt;

/// What a term is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    Ttft,
    Tpot,
    E2el,
}

impl Metric {
    const NAMES: [(&'static str, Self); 3] = [("ttft", Self::Ttft), ("tpot", Self::Tpot), ("e2el", Self::E2el)];

    fn of(self, record: &Record) -> Option<Span> {
        match self {
            Self::Ttft => record.ttft(),
            Self::Tpot => record.tpot(),
            Self::E2el => record.e2el(),
        }
    }

    /// A reply of one token has no time per further token: nobody waited for any.
    fn below(self, record: &Record, bound: Span) -> bool {
        record.status == Status::Completed
            && match self.of(record) {
                Some(span) => span < bound,
                None => self == Self::Tpot,
            }
    }
}

/// Which part of the requests a term is about, in thousandths.
const PARTS: [(&str, u64); 5] = [("p50", 500), ("p90", 900), ("p95", 950), ("p99", 990), ("p100", 1000)];

/// One term.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    text: String,
    part: u64,
    metric: Metric,
    bound: Span,
}

/// A promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slo {
    terms: Vec<Term>,
}

/// How a run keeps a promise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Whether it keeps every term.
    pub holds: bool,
    /// Each term: the part of all requests that was below its bound, and whether that is enough.
    pub terms: Vec<KeptTerm>,
    /// The part of all requests that was below every bound.
    pub good_share: f64,
    /// Those, per second of the run; null where there is no run to speak of.
    pub goodput: Option<f64>,
}

/// How a run keeps one term.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptTerm {
    /// As it was asked for.
    pub term: String,
    /// The part of all requests that was below the bound.
    pub share: f64,
    /// Whether that is enough.
    pub holds: bool,
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.terms().join(","))
    }
}

impl Slo {
    /// Reads terms such as `p90_ttft<2s,p99_tpot<60ms`.
    ///
    /// # Errors
    /// The first that is none, with what would be one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let terms: Vec<Term> = text.split(',').map(|term| Self::term(term.trim())).collect::<Result<_, _>>()?;
        for (index, term) in terms.iter().enumerate() {
            if terms[..index].iter().any(|other| (other.metric, other.part) == (term.metric, term.part)) {
                return Err(format!("{}: the same is bounded twice", term.text));
            }
        }
        Ok(Self { terms })
    }

    /// Its terms, as they were asked for.
    #[must_use]
    pub fn terms(&self) -> Vec<&str> {
        self.terms.iter().map(|term| term.text.as_str()).collect()
    }

    /// Of which terms one request alone is more than the part that may miss the bound, where there are so many requests.
    #[must_use]
    pub fn too_few(&self, requests: u64) -> Vec<String> {
        let needs =
            |term: &Term| 1000_u64.checked_div(1000 - term.part).filter(|needs| (1..*needs).contains(&requests));
        let tell = |term: &Term| {
            needs(term).map(|needs| {
                format!(
                    "{}: with {requests} requests each must be below the bound, since one is more than {} % of them; use {needs} or more",
                    term.text,
                    (1000 - term.part) as f64 / 10.0
                )
            })
        };
        self.terms.iter().filter_map(tell).collect()
    }

    fn term(text: &str) -> Result<Term, String> {
        let form = || format!("\"{text}\" is no promise such as p90_ttft<2s");
        let (what, bound) = text.split_once('<').ok_or_else(form)?;
        if bound.starts_with('=') {
            return Err(format!("{text}: a bound is to be stayed below; write <"));
        }
        let (part, metric) = what.trim().split_once('_').ok_or_else(form)?;
        let known = PARTS.map(|(name, _)| name);
        let part = PARTS
            .iter()
            .find(|(name, _)| *name == part)
            .ok_or_else(|| format!("{text}: there is {}{}", known.join(", "), suggest::clause(part, known)))?;
        let known = Metric::NAMES.map(|(name, _)| name);
        let metric = Metric::NAMES
            .iter()
            .find(|(name, _)| *name == metric)
            .ok_or_else(|| format!("{text}: there is {}{}", known.join(", "), suggest::clause(metric, known)))?;
        let bound = units::span(bound.trim())
            .map_err(|problem| format!("{text}: {problem}; a bound is a time such as 2s or 60ms"))?;
        Ok(Term { text: text.to_owned(), part: part.1, metric: metric.1, bound })
    }

    /// How a run of these requests, which took so many seconds, keeps it. O(requests * terms).
    #[must_use]
    pub fn kept(&self, records: &[Record], seconds: Option<f64>) -> Kept {
        let all = records.len();
        let count = |below: &dyn Fn(&Record) -> bool| records.iter().filter(|record| below(record)).count();
        let share = |count: usize| count as f64 / all.max(1) as f64;
        let kept = |term: &Term| {
            let count = count(&|record| term.metric.below(record, term.bound));
            let holds = count as u64 * 1000 >= term.part * all as u64;
            KeptTerm { term: term.text.clone(), share: share(count), holds }
        };
        let terms: Vec<KeptTerm> = self.terms.iter().map(kept).collect();
        let good = count(&|record| self.terms.iter().all(|term| term.metric.below(record, term.bound)));
        let goodput = seconds.filter(|seconds| *seconds > 0.0).map(|seconds| good as f64 / seconds);
        Kept { holds: terms.iter().all(|term| term.holds), terms, good_share: share(good), goodput }
    }
}
