//! `podlab sweep`.

use super::settings::{asks_for_help, endpoint_file, list_settings};
use super::simulate::{Asked, RunOptions, ask, assemble_all, odd, refuse_computing, run_one, threads};
use super::threads::in_order;
use super::{Format, SweepArgs, SweepCommand, print, warn};
use crate::emulate::stop_signal;
use crate::experiment::{Assembled, Case};
use crate::failure::Failure;
use crate::page;
use crate::process::Usage;
use crate::report::{self, hex_sha256};
use crate::sweep::{self, Origin, Plan, Planned, Shard, Store};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

pub(super) fn run(args: &SweepArgs) -> Result<(), Failure> {
    let began = Instant::now();
    match &args.command {
        Some(SweepCommand::Merge { parts, out, format }) => {
            let count = sweep::merge(parts, out)?;
            warn(&format!("wrote {}: {count} runs", out.display()));
            tell(out, *format, false, began)
        }
        Some(SweepCommand::Report { folder, format }) => tell(folder, *format, false, began),
        None => grid(args, began),
    }
}

fn grid(args: &SweepArgs, began: Instant) -> Result<(), Failure> {
    let asked = &args.grid;
    if asks_for_help(&asked.lab) {
        return print(&list_settings());
    }
    let file = endpoint_file(asked.endpoint.as_deref())?;
    let Some(out) = &asked.out else {
        return Err(Failure::Usage("--out DIR is missing: a sweep keeps its runs in a folder".to_owned()));
    };
    if asked.find.is_some() || !asked.explain_request.is_empty() {
        let flag = if asked.find.is_some() { "--find" } else { "--explain-request" };
        return Err(Failure::Usage(format!("{flag} is of podlab simulate: a sweep runs all values that it is given")));
    }
    refuse_computing(&asked.computing, "a sweep can be gone on with, and no two computed runs are the same")?;
    let Asked { experiment, matrix, inputs } = ask(asked, file, || Ok(()))?;
    for odd in odd(asked, &experiment, &matrix) {
        warn(&format!("warning: {odd}"));
    }
    let runs = assemble_all(&experiment, &matrix, false)?;
    let origin = Origin {
        endpoint: inputs.endpoint.map_or_else(|| hex_sha256(b""), |input| input.sha256().to_owned()),
        trace: inputs.trace.map(|input| input.sha256().to_owned()),
        slo: asked.slo.as_ref().map(ToString::to_string),
    };
    let plan = Plan::of(&experiment, origin, &runs);
    let shard = args.shard.unwrap_or(Shard::ALL);
    if asked.dry_run {
        return dry_run(out, &plan, shard, asked.format);
    }
    let store = Store::open(out, &plan)?;
    let part = plan.runs.iter().zip(&runs).enumerate().filter(|(place, _)| shard.has(*place));
    let part: Vec<(&Planned, &(Case, Assembled))> = part.map(|(_, run)| run).collect();
    let all = part.len();
    let left: Vec<_> = part.into_iter().filter(|(planned, _)| !store.has(planned)).collect();
    let there = all - left.len();
    if there > 0 {
        warn(&format!("{there} of {all} runs are there"));
    }
    let done = Arc::new(AtomicUsize::new(there));
    keep_on_interrupt(done.clone(), all);
    let options = RunOptions {
        records: false,
        explain: &[],
        threads: threads(asked),
        slo: asked.slo.as_ref(),
        quiet: false,
        computes: None,
    };
    let run = |(planned, (case, assembled)): &(&Planned, &(Case, Assembled))| {
        let (outcome, odd) = run_one(&experiment, case, assembled, options)?;
        store.keep(planned, &outcome, &odd)?;
        done.fetch_add(1, Ordering::Relaxed);
        Ok::<(), Failure>(())
    };
    in_order(&left, options.threads, run, |()| ())?;
    if shard != Shard::ALL {
        warn(&format!(
            "wrote {}: {all} of {} runs, the part {shard}; podlab sweep merge puts the parts together",
            out.display(),
            plan.runs.len()
        ));
        return Ok(());
    }
    page::write::again(out)?;
    warn(&format!("wrote {}: {all} runs", out.display()));
    tell(out, asked.format, asked.breakdown, began)
}

/// The runs of a grid, or of a part of it, and which of them are there.
fn dry_run(out: &Path, plan: &Plan, shard: Shard, format: Format) -> Result<(), Failure> {
    let there = sweep::there(out, plan)?;
    let part: Vec<(&Planned, bool)> = plan.runs.iter().zip(there).collect();
    let part = part.into_iter().enumerate().filter(|(place, _)| shard.has(*place)).map(|(_, run)| run);
    let text: String = match format {
        Format::Table => part
            .map(|(planned, there)| format!("{}  {}\n", if there { "is there" } else { "to do   " }, planned.run))
            .collect(),
        Format::Json => part
            .map(|(Planned { digest, run }, there)| {
                format!("{}\n", serde_json::json!({ "run": run, "digest": digest, "there": there }))
            })
            .collect(),
        Format::Csv => {
            return Err(Failure::Usage("-o csv: a dry run has no figures; use table or json".to_owned()));
        }
    };
    print(&text)
}

/// Ends the process at the first signal: each finished run is in its file, and the others have none.
fn keep_on_interrupt(done: Arc<AtomicUsize>, all: usize) {
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        // Without signals the system ends the process, and no file is the worse for it.
        if runtime.block_on(stop_signal()).is_ok() {
            let done = done.load(Ordering::Relaxed);
            warn(&format!("interrupted: {done} of {all} runs are kept; the same command goes on with the others"));
            std::process::exit(130);
        }
    });
}

/// The report of a finished sweep, as `podlab simulate` would print it.
fn tell(folder: &Path, format: Format, breakdown: bool, began: Instant) -> Result<(), Failure> {
    let runs = sweep::read(folder)?;
    for warning in runs.iter().flat_map(|done| &done.warnings) {
        warn(&format!("warning: {warning}"));
    }
    let outcomes: Vec<_> = runs.into_iter().map(|done| done.outcome).collect();
    print(&match format {
        Format::Table => report::table(&outcomes) + &report::breakdown::shown(&outcomes, breakdown),
        Format::Json => report::json(&outcomes, Usage::since(began)),
        Format::Csv => report::csv(&outcomes),
    })
}
