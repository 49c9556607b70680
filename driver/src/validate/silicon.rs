//! The simulator against a table of measured closed loops ([`table`]).
//!
//! Twice: with factors that are published and were fixed beforehand ([`Setup::served`]), and with factors fitted per profile
//! (engine and version, GPU, precision), where each configuration group is judged by what was fitted to others. vLLM's rows are
//! judged, since it is vLLM's scheduler that is simulated; other engines' rows are simulated the same way and told in the notes.

use super::{Check, Report};
use crate::calibrate::factors::{Factor, Setup};
use crate::calibrate::fit::{Bench, Kind, Limits, median};
use crate::calibrate::judge::{Effort, held_out};
use crate::calibrate::table::{self, Row, Rows};
use crate::failure::Failure;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;

/// How far the median of the sizes of relative errors may be from zero: TTFT, TPOT.
const UNCALIBRATED: [f64; 2] = [0.30, 0.20];
/// The same on groups that were left out.
const HELD_OUT: [f64; 2] = [0.10, 0.06];

/// The engine whose rows are judged.
const JUDGED: &str = "vllm";

/// Two halves and few steps: of what is not judged, or must be quick.
const BRIEF: Effort = Effort { folds: 2, limits: Limits { rounds: 2, steps: 5 }, seed: 0 };

/// A row, simulated twice.
struct Judged<'a> {
    row: &'a Row,
    /// TTFT and TPOT with published factors, ms.
    published: [f64; 2],
    /// The same with factors fitted to other groups; `None`: there are none.
    held_out: Option<[f64; 2]>,
}

/// Plays every row of the table. `quick` leaves groups out in two halves instead of five parts, of vLLM's rows alone; of other
/// engines' rows that is done in any case.
///
/// # Errors
/// [`Failure::Invalid`] where the table cannot be read, or has no rows that are judged.
pub fn run(path: &Path, quick: bool) -> Result<Report, Failure> {
    let rows = table::read(path)?;
    if !rows.iter().any(|row| row.backend == JUDGED) {
        return Err(Failure::Invalid(format!(
            "{}: none of its rows is of {JUDGED}, which is what is judged",
            path.display()
        )));
    }
    let mut profiles: Vec<&str> = rows.iter().map(|row| row.profile.as_str()).collect();
    profiles.sort_unstable();
    profiles.dedup();
    let mut judged = Vec::new();
    for profile in profiles {
        let of_it: Vec<&Row> = rows.iter().filter(|row| row.profile == profile).collect();
        let fits = !quick || of_it[0].backend == JUDGED;
        let effort = if quick || of_it[0].backend != JUDGED { BRIEF } else { Effort::default() };
        judged.extend(judge(of_it, fits.then_some(effort)));
    }
    Ok(report(&judged, path, quick))
}

fn judge(rows: Vec<&Row>, effort: Option<Effort>) -> Vec<Judged<'_>> {
    let bench = Rows::new(rows);
    let published = bench.simulate(&Setup::served(), &|_| true);
    let held = effort.and_then(|effort| held_out(&bench, &Factor::ALL, Setup::served(), effort));
    let pair = |figures: &[f64], row: usize| [figures[2 * row], figures[2 * row + 1]];
    let rows = bench.rows().iter().enumerate();
    rows.map(|(place, row)| Judged {
        row,
        published: pair(&published, place),
        held_out: held.as_ref().map(|held| pair(&held.simulated, place)),
    })
    .collect()
}

const KINDS: [Kind; 2] = [Kind::Ttft, Kind::Tpot];

/// The median of the sizes of relative errors of TTFT and TPOT; `None` of no rows.
fn medians(rows: &[&Judged<'_>], of: impl Fn(&Judged<'_>) -> Option<[f64; 2]>) -> Option<[f64; 2]> {
    let size = |which: usize| {
        let errors = rows.iter().filter_map(|it| {
            let measured = [it.row.ttft, it.row.tpot];
            Some((of(it)?[which] / measured[which] - 1.0).abs())
        });
        median(errors.collect())
    };
    Some([size(0)?, size(1)?])
}

fn report(judged: &[Judged<'_>], path: &Path, quick: bool) -> Report {
    let ours: Vec<&Judged<'_>> = judged.iter().filter(|it| it.row.backend == JUDGED).collect();
    let mut checks = Vec::new();
    let ways = [
        ("", UNCALIBRATED, medians(&ours, |it| Some(it.published))),
        ("heldout_", HELD_OUT, medians(&ours, |it| it.held_out)),
    ];
    for (prefix, tolerances, found) in ways {
        for (which, kind) in KINDS.into_iter().enumerate() {
            // What could not be judged is no agreement.
            let error = found.map_or(f64::MAX, |found| found[which]);
            let tolerance = tolerances[which];
            checks.push(Check {
                name: format!("silicon.{JUDGED}.{prefix}{}_median_abs_error", kind.name()),
                expected: 0.0,
                simulated: error,
                error,
                tolerance,
                ok: error <= tolerance,
            });
        }
    }
    Report {
        checks,
        notes: notes(judged),
        settings: json!({ "table": path.display().to_string(), "quick": quick }),
        observations: judged.iter().map(observation).collect(),
    }
}

fn observation(it: &Judged<'_>) -> Value {
    let closed = &it.row.closed;
    json!({
        "profile": it.row.profile,
        "group": it.row.group,
        "concurrency": closed.concurrency,
        "ttft_ms": { "measured": it.row.ttft, "published": it.published[0], "held_out": it.held_out.map(|held| held[0]) },
        "tpot_ms": { "measured": it.row.tpot, "published": it.published[1], "held_out": it.held_out.map(|held| held[1]) },
    })
}

fn notes(judged: &[Judged<'_>]) -> String {
    let mut text = String::from(
        "Medians of |simulated / measured - 1| over rows.\nPublished factors were fixed beforehand; held out: factors fitted per profile to other configuration groups.\n\n\
         profile                        rows   published TTFT  TPOT   held out TTFT  TPOT\n",
    );
    let mut profiles: Vec<&str> = judged.iter().map(|it| it.row.profile.as_str()).collect();
    profiles.dedup();
    for profile in profiles {
        let rows: Vec<&Judged<'_>> = judged.iter().filter(|it| it.row.profile == profile).collect();
        let percent = |error: Option<f64>| error.map_or("-".to_owned(), |error| format!("{:.1} %", 100.0 * error));
        let [published, held] = [medians(&rows, |it| Some(it.published)), medians(&rows, |it| it.held_out)]
            .map(|found| [0, 1].map(|which| percent(found.map(|found| found[which]))));
        let mark = if rows[0].row.backend == JUDGED { "" } else { "  (not judged)" };
        writeln!(
            text,
            "{profile:30} {:4}   {:>14} {:>7} {:>14} {:>7}{mark}",
            rows.len(),
            published[0],
            published[1],
            held[0],
            held[1]
        )
        .expect("a string takes every character");
    }
    text
}
