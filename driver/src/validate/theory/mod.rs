//! The simulator against theory: the real workloads, router, engines, caches and links, set up as systems whose figures can be
//! worked out (`sim::theory`). No law has a model of its own: each says how a cluster is set up and what is to come of it.
//!
//! A figure that chance decides is the mean over independent replications, each a whole run with a seed of its own, begun before
//! what is measured so that the empty start is forgotten. It may be off by three standard errors of that mean, which the spread
//! of the replications tells, whatever the requests of one run have to do with each other. Other figures are exact.
//!
//! With forty figures that may be off by three standard errors, one in some nine seeds has a false alarm somewhere. The default
//! seed is 0 and was not looked for.

use super::Report;
use crate::failure::Failure;
use crate::suggest;
use crate::threads;
use sim::streams::Streams;
use std::convert::Infallible;

pub mod fault; // what the checks must catch
mod law; // what a law is, and what its replications say together
mod stage; // a cluster set up as a system of theory
mod input; // what is sent to it
mod queues; // one queue
mod routing; // a queue at each worker
mod closed; // users who wait
mod books; // what is in it, counted twice
mod links; // transfers that share
mod caches; // least recently used
mod lifetimes; // ... and what is too old

use fault::Fault;
use law::{Bench, Law, Seen};

/// What is to be checked.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Shorter runs: the same laws and replications, with less of each, so wider tolerances.
    pub quick: bool,
    /// Where randomness starts.
    pub seed: u64,
    /// Only the checks of these names, or whose names begin with one and a dot. Empty: all.
    pub only: Vec<String>,
    /// What is wrong with the simulator, on purpose.
    pub fault: Option<Fault>,
}

fn laws() -> Vec<Law> {
    let themes = [queues::laws, routing::laws, closed::laws, books::laws, links::laws, caches::laws, lifetimes::laws];
    themes.into_iter().flat_map(|laws| laws()).collect()
}

/// The names of all checks.
#[must_use]
pub fn names() -> Vec<&'static str> {
    laws().iter().flat_map(|law| law.subjects.iter().map(|subject| subject.name)).collect()
}

/// Runs the checks on up to `threads` threads, which makes no difference but in time.
///
/// # Errors
/// [`Failure::Usage`] where no check has the name asked for.
pub fn run(options: &Options, threads: usize) -> Result<Report, Failure> {
    let is_asked_for = |name: &str| options.only.is_empty() || options.only.iter().any(|only| is_of(name, only));
    let names = names();
    if let Some(unknown) = options.only.iter().find(|only| !names.iter().any(|name| is_of(name, only))) {
        let near = suggest::clause(unknown, names.iter().copied());
        let all = names.join(", ");
        return Err(Failure::Usage(format!("--only {unknown}: no check is called so{near}; there are {all}")));
    }
    let mut laws = laws();
    laws.retain(|law| law.subjects.iter().any(|subject| is_asked_for(subject.name)));
    let jobs: Vec<(usize, u64)> =
        laws.iter().enumerate().flat_map(|(law, it)| seeds(it, options.seed).map(move |seed| (law, seed))).collect();
    let replicate = |&(law, seed): &(usize, u64)| -> Result<(usize, u64, Vec<Seen>), Infallible> {
        let bench = Bench { seed, quick: options.quick, fault: options.fault };
        Ok((law, seed, (laws[law].run)(&bench)))
    };
    let Ok(replications) = threads::in_order(&jobs, threads, replicate, |_| ());
    let mut report =
        Report { checks: Vec::new(), notes: NOTES.to_owned(), settings: settings(options), observations: Vec::new() };
    for (number, law) in laws.iter().enumerate() {
        let of_law: Vec<&[Seen]> =
            replications.iter().filter(|(law, ..)| *law == number).map(|(.., seen)| seen.as_slice()).collect();
        report.checks.extend(law.checks(&of_law).into_iter().filter(|check| is_asked_for(&check.name)));
    }
    for (law, seed, seen) in &replications {
        report.observations.extend(
            laws[*law].observations(*seed, seen).filter(|line| line["name"].as_str().is_some_and(is_asked_for)),
        );
    }
    Ok(report)
}

const NOTES: &str = "All simulated. A tolerance is three standard errors of the mean over independent replications
(64 unless a law says otherwise), or 1e-9 where nothing is left to chance. Of bounds (at_most, at_least) the error is how far they are passed.";

/// Whether a check is the one called `asked`, or one of those.
fn is_of(name: &str, asked: &str) -> bool {
    name.strip_prefix(asked).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Seeds of a law's replications: its own, so that no two laws have the same luck.
fn seeds(law: &Law, seed: u64) -> impl Iterator<Item = u64> {
    let mut stream = Streams::new(seed).named(law.subjects[0].name);
    (0..law.replications).map(move |_| stream.word())
}

fn settings(options: &Options) -> serde_json::Value {
    serde_json::json!({
        "quick": options.quick,
        "seed": options.seed,
        "only": options.only,
        "fault": options.fault.map(Fault::as_str),
    })
}

/// Which faults each check catches, of the checks that `options` ask for, whose own fault does not count.
///
/// # Errors
/// As [`run`].
pub fn faults_caught(options: &Options, threads: usize) -> Result<Vec<(&'static str, Vec<Fault>)>, Failure> {
    let mut caught: Vec<(&'static str, Vec<Fault>)> = names().into_iter().map(|name| (name, Vec::new())).collect();
    for fault in Fault::ALL {
        let report = run(&Options { fault: Some(fault), ..options.clone() }, threads)?;
        for (name, faults) in &mut caught {
            if report.short().any(|short| short == *name) {
                faults.push(fault);
            }
        }
    }
    if !options.only.is_empty() {
        caught.retain(|(name, _)| options.only.iter().any(|only| is_of(name, only)));
    }
    Ok(caught)
}
