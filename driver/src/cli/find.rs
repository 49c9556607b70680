//! `--find`: one value is varied until a promise is broken, for each combination of the others.

use super::settings::assemble;
use super::simulate::threads;
use super::threads::in_order;
use super::{Format, SimulateArgs, print, warn};
use crate::experiment::find::{Answer, Finding, Goal, Point, Search};
use crate::experiment::slo::{Kept, Slo};
use crate::experiment::{Case, Experiment, Matrix};
use crate::failure::Failure;
use crate::lab::Origin;
use crate::lab::find::Quantity;
use crate::process::Usage;
use crate::report::find as report;
use std::time::Instant;

/// Refuses values given for what is looked for.
pub(super) fn check(goal: &Goal, args: &SimulateArgs) -> Result<(), Failure> {
    let loads = [
        ("--rate", Quantity::Rate, !args.rate.is_empty()),
        ("--concurrency", Quantity::Concurrency, !args.concurrency.is_empty()),
        ("--users", Quantity::Users, !args.users.is_empty()),
        ("--speedup", Quantity::Speedup, args.speedup.is_some()),
    ];
    let replicas = goal.quantity == Quantity::Replicas && !args.replicas.is_empty();
    let given = replicas.then_some("--replicas");
    let load = loads.iter().find(|(_, _, given)| goal.quantity.is_load() && *given).map(|(flag, ..)| *flag);
    match given.or(load) {
        Some(flag) => {
            let key = goal.quantity.key();
            Err(Failure::Usage(format!(
                "--find {key}: {flag} says it already; leave {flag} away, or look for something else"
            )))
        }
        None => Ok(()),
    }
}

pub(super) fn run(
    args: &SimulateArgs,
    goal: &Goal,
    experiment: &Experiment,
    mut matrix: Matrix,
    began: Instant,
) -> Result<(), Failure> {
    let slo = args.slo.as_ref().expect("--find needs --slo");
    let key = goal.quantity.key();
    if matrix.axes.iter().any(|axis| axis.key == key && axis.origin == Origin::Flag) {
        return Err(Failure::Usage(format!("--find {key}: --set {key} says it already; keep one of them")));
    }
    matrix.axes.retain(|axis| axis.key != key);
    let seeds = std::mem::replace(&mut matrix.seeds, vec![0]);
    let cases = matrix.cases();
    // What cannot run whatever the value is not the value's fault.
    for case in &cases {
        assemble(experiment, case, &matrix.axes)?;
    }
    let search = Varied { goal, experiment, slo, seeds: &seeds, threads: threads(args) };
    let findings = search.all(cases)?;
    let asked = report::Asked { goal, slo, seeds: seeds.len(), requests: experiment.source.requests() };
    print(&match args.format {
        Format::Table => report::text(&findings, &asked, &args.workload),
        Format::Json => report::json(&findings, &asked, &args.workload, Usage::since(began)),
        Format::Csv => report::csv(&findings, &asked, &args.workload),
    })?;
    if findings.iter().all(|finding| finding.answer == Answer::Never) {
        return Err(Failure::NotMet(report::never(&asked)));
    }
    Ok(())
}

/// What all runs of a search share.
struct Varied<'a> {
    goal: &'a Goal,
    experiment: &'a Experiment,
    slo: &'a Slo,
    seeds: &'a [u64],
    threads: usize,
}

impl Varied<'_> {
    /// Searches for all cases at once, in rounds: what is tried next depends on what came of the rounds before, and never on
    /// which of a round's runs ended first.
    fn all(&self, cases: Vec<Case>) -> Result<Vec<Finding>, Failure> {
        let mut searches: Vec<(Case, Search<'_>, Vec<Point>)> =
            cases.into_iter().map(|case| (case, Search::new(self.goal), Vec::new())).collect();
        let mut said: Vec<String> = Vec::new();
        loop {
            let next = searches
                .iter()
                .enumerate()
                .flat_map(|(at, (_, search, _))| search.next().into_iter().map(move |value| (at, value)));
            let tried: Vec<(usize, f64)> = next.collect();
            if tried.is_empty() {
                break;
            }
            let runs: Vec<(Case, f64)> = tried
                .iter()
                .flat_map(|(at, value)| {
                    let case = &searches[*at].0;
                    self.seeds.iter().map(|seed| (self.goal.at(case, *value, *seed), *value))
                })
                .collect();
            let tell = |(_, warnings): &(Kept, Vec<String>)| {
                for warning in warnings {
                    if !said.contains(warning) {
                        warn(&format!("warning: {warning}"));
                        said.push(warning.clone());
                    }
                }
            };
            let kept = in_order(&runs, self.threads, |(case, value)| self.run(case, *value), tell)?;
            let kept: Vec<Kept> = kept.into_iter().map(|(kept, _)| kept).collect();
            for ((at, value), kept) in tried.into_iter().zip(kept.chunks(self.seeds.len())) {
                let point = Point { value, kept: kept.to_vec() };
                let (_, search, curve) = &mut searches[at];
                search.tell(value, point.holds());
                curve.push(point);
            }
        }
        let found = |(case, search, mut curve): (Case, Search<'_>, Vec<Point>)| {
            curve.sort_by(|a, b| a.value.total_cmp(&b.value));
            Finding { case, answer: search.answer(), exceptions: search.exceptions(), curve }
        };
        Ok(searches.into_iter().map(found).collect())
    }

    fn run(&self, case: &Case, value: f64) -> Result<(Kept, Vec<String>), Failure> {
        let cannot = |failure: Failure| {
            let (key, text) = (self.goal.quantity.key(), self.goal.quantity.scale().text(value));
            Failure::Usage(format!(
                "--find {key}: {text} cannot be tried: {failure}; name bounds without it: --find {key}=LOW..HIGH"
            ))
        };
        let assembled = self.experiment.assemble(case).map_err(cannot)?;
        let outcome = self.experiment.run(case.clone(), &assembled).map_err(cannot)?;
        Ok((self.slo.kept(outcome.measured(), outcome.summary.makespan_s), assembled.warnings))
    }
}
