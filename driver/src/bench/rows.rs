//! Requests as rows: what each was, when it happened, and which of them had a chance to find its prefix.

use super::exchange::Observed;
use super::run::Phase;
use super::script::Script;
use crate::emulate::parts::Detail;
use serde::Serialize;
use sim::ledger::Class;
use std::collections::HashMap;

/// Whether the prefix of a prompt had been seen when it was sent (`DESIGN.md`, vocabulary).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Prefix {
    /// No earlier request had it: less than a fifth of the prompt was in any.
    Cold,
    /// An earlier one had it, and no first token yet.
    Concurrent,
    /// An earlier one with it had its first token before this one was sent.
    Warm,
}

/// Where in a run a request lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Left out of all figures.
    Warmup,
    /// Of those that were sent before any was over.
    Burst,
    /// Neither.
    Steady,
    /// Over after the last one was sent.
    Drain,
}

/// One request of a run.
#[derive(Debug)]
pub struct Row<'a> {
    /// Its number in the run.
    pub number: u64,
    /// The phase's name.
    pub phase: &'a str,
    /// When it was scheduled, nanoseconds.
    pub scheduled: u64,
    /// What came of it; `None`: it was in flight when the run was stopped.
    pub observed: Option<&'a Observed>,
    /// Tokens of its prompt: as the server counted them, else as they were meant to be.
    pub prompt: u64,
    /// Tokens of its reply: as the server counted them, else events with content.
    pub output: u64,
    /// Whether the server counted.
    pub counted: bool,
    /// Whether its prefix had been seen.
    pub prefix: Prefix,
    /// Where in the run it lies.
    pub part: Part,
    /// The id of the prompt's first segment.
    pub head: u64,
}

impl Row<'_> {
    /// Whether it is in the figures.
    #[must_use]
    pub fn measured(&self) -> bool {
        self.part != Part::Warmup
    }

    /// The observation of a request that was answered completely.
    #[must_use]
    pub fn completed(&self) -> Option<&Observed> {
        self.observed.filter(|observed| observed.result.is_ok())
    }

    /// Time to first token, nanoseconds.
    #[must_use]
    pub fn ttft(&self) -> Option<u64> {
        let observed = self.completed()?;
        // A response that is no stream has no first token.
        Some(observed.seen.first_content?.saturating_sub(observed.dispatched)).filter(|_| observed.streamed)
    }

    /// Time per output token after the first, nanoseconds.
    #[must_use]
    pub fn tpot(&self) -> Option<u64> {
        let seen = &self.completed()?.seen;
        let gaps = self.output.checked_sub(1).filter(|gaps| *gaps > 0 && seen.events > 1)?;
        Some((seen.last_content? - seen.first_content?) / gaps)
    }

    /// From the first byte sent to the last content, nanoseconds.
    #[must_use]
    pub fn e2el(&self) -> Option<u64> {
        let observed = self.completed()?;
        Some(observed.seen.last_content?.saturating_sub(observed.dispatched))
    }

    /// How much later than scheduled it was sent, but for the time its connection took to open.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        let observed = self.observed?;
        Some(observed.dispatched.saturating_sub(observed.scheduled + observed.connect_ns))
    }

    /// How much of its prompt was found, by the simulator's classes.
    #[must_use]
    pub fn class(&self) -> Option<&'static str> {
        Some(Class::of(self.cached()?, self.prompt).as_str())
    }

    /// What podlab's own servers tell of it.
    #[must_use]
    pub fn detail(&self) -> Detail {
        self.completed().and_then(|done| done.seen.usage).map(|usage| usage.detail).unwrap_or_default()
    }

    /// Of its TTFT, what the server does not tell as its own, ms: the way to and fro, and the lateness of both ends.
    #[must_use]
    pub fn on_the_way(&self) -> Option<f64> {
        Some(self.ttft()? as f64 / 1e6 - self.detail().served_ms()?)
    }

    /// Tokens found in a cache, where the server says so.
    #[must_use]
    pub fn cached(&self) -> Option<u64> {
        self.completed()?.seen.usage?.cached_tokens
    }
}

/// A phase with its name and what it was to send.
#[derive(Debug)]
pub struct Played {
    /// Its name.
    pub name: &'static str,
    /// What was sent.
    pub script: Script,
    /// What came of it.
    pub phase: Phase,
}

/// The rows of all phases, in order; those never sent have none. `warmup` are left out: the first so many sent, or those sent
/// before a moment (ns).
#[must_use]
pub fn rows(played: &[Played], warmup: impl Fn(usize, u64) -> bool) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    let mut offset = 0;
    for Played { name, script, phase } in played {
        let first_over = phase.observed.iter().flatten().map(|observed| observed.ended).min();
        let sent = phase.observed.iter().flatten().map(|observed| observed.dispatched);
        let last_sent = sent.max().unwrap_or(u64::MAX);
        let mut order: Vec<(u64, usize)> = phase.unfinished.iter().map(|(place, at)| (*at, *place)).collect();
        let placed = phase.observed.iter().enumerate();
        order.extend(placed.filter_map(|(place, observed)| Some((observed.as_ref()?.dispatched, place))));
        order.sort_unstable();
        for (at, place) in order {
            let observed = phase.observed[place].as_ref();
            let usage = observed.and_then(|observed| observed.seen.usage);
            let request = &script.workload().requests()[place];
            let planned = request.prompt.0;
            let part = match observed {
                _ if warmup(rows.len(), at - phase.began.min(at)) => Part::Warmup,
                _ if first_over.is_none_or(|over| at <= over) => Part::Burst,
                Some(observed) if observed.ended <= last_sent => Part::Steady,
                _ => Part::Drain,
            };
            rows.push(Row {
                number: (offset + place) as u64,
                phase: name,
                scheduled: observed.map_or(at, |observed| observed.scheduled),
                observed,
                prompt: usage.map_or(u64::from(planned), |usage| usage.prompt_tokens),
                output: usage
                    .map(|usage| usage.completion_tokens)
                    .or_else(|| observed.map(|observed| observed.seen.events))
                    .unwrap_or_default(),
                counted: usage.is_some(),
                prefix: Prefix::Cold,
                part,
                head: script.workload().segments(request).first().map_or(0, |segment| segment.id ^ request.round_key()),
            });
        }
        offset += phase.observed.len();
    }
    tell_prefixes(played, &mut rows);
    rows
}

/// Less of a prompt than that is no prefix worth the name: the border of the simulator's misses.
const SHARE: u64 = 5;

/// Says of each row whether its prefix had been seen, in the order of sending.
fn tell_prefixes(played: &[Played], rows: &mut [Row<'_>]) {
    // By the hash of a beginning: when the first request with it had its first token.
    let mut known: HashMap<u64, u64> = HashMap::new();
    let mut bounds = Vec::new();
    for row in rows {
        let (script, place) = script_of(played, row.number);
        let request = &script.workload().requests()[place];
        bounds.clear();
        let (mut hash, mut end) = (script.words().salt ^ request.round_key(), 0);
        for segment in script.workload().segments(request) {
            hash =
                (hash ^ segment.id).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ u64::from(segment.tokens.0);
            end += u64::from(segment.tokens.0);
            bounds.push((hash, end));
        }
        let found = bounds.iter().rev().find_map(|(hash, end)| Some((*known.get(hash)?, *end)));
        let sent = row.observed.map_or(row.scheduled, |observed| observed.dispatched);
        row.prefix = match found.filter(|(_, end)| *end * SHARE >= u64::from(request.prompt.0)) {
            None => Prefix::Cold,
            Some((first_token, _)) if first_token <= sent => Prefix::Warm,
            Some(_) => Prefix::Concurrent,
        };
        hash = (hash ^ request.reply).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ u64::from(request.output.0);
        bounds.push((hash, 0));
        let first_token = row.completed().and_then(|observed| observed.seen.first_content).unwrap_or(u64::MAX);
        for (hash, _) in &bounds {
            let earliest = known.entry(*hash).or_insert(u64::MAX);
            *earliest = (*earliest).min(first_token);
        }
    }
}

fn script_of(played: &[Played], number: u64) -> (&Script, usize) {
    let mut place = number as usize;
    for one in played {
        if place < one.phase.observed.len() {
            return (&one.script, place);
        }
        place -= one.phase.observed.len();
    }
    unreachable!("a row is of a request that some phase has")
}
