//! `podlab compare`.

use super::{print, warn};
use crate::compare::{self, Judge, Source, Tolerance};
use crate::failure::Failure;
use crate::{report, told};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  podlab compare runs/before runs/after
  podlab compare runs/simulated runs/production --agree --tolerance 'ttft=5%,tpot=3%,hit_rate=0.5pt' --explain
  podlab compare runs/base result-of-vllm.json --out runs/compared

Reads run folders (--out of simulate, bench, ..), folders of them, folders of sweeps, results of vllm bench serve
--save-result (--save-detailed gives intervals) and profile_export.jsonl of aiperf. The first is the one that the
others are held against. Exit code 99: a figure is worse than the tolerance allows, and the 95 % interval of the
difference leaves zero out.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompareArgs {
    /// The runs; the first is what the others are held against
    #[arg(value_name = "RUN", required = true, num_args = 2..=8)]
    runs: Vec<PathBuf>,
    /// How far figures may be off: 10%, of some ttft=5%,p99_ttft_ms=20%,hit_rate=0.5pt, or none [default: 10%]
    #[arg(long, value_parser = Tolerance::parse, value_name = "10%|ttft=5%,..")]
    tolerance: Option<Tolerance>,
    /// They should agree: what is better than the tolerance allows does not pass either
    #[arg(long)]
    agree: bool,
    /// Show which part a gap lies in: queue, prefill, cache load, decode, network, client
    #[arg(long)]
    explain: bool,
    /// Write comparison.json and report.html into a new folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How to print the comparison
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    format: CompareFormat,
}

/// How a comparison is printed.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum CompareFormat {
    /// For people
    #[default]
    Table,
    /// One object: {"sources": [..], "pairs": [..], "pass": ..}
    Json,
}

pub(super) fn run(args: &CompareArgs) -> Result<(), Failure> {
    if let Some(folder) = &args.out {
        report::folder::check(folder)?;
    }
    let read = |path: &PathBuf| {
        let runs = told::read(path)?;
        Ok::<_, Failure>(Source { path: path.display().to_string(), runs })
    };
    let sources: Vec<Source> = args.runs.iter().map(read).collect::<Result<_, _>>()?;
    let judge = Judge { tolerance: args.tolerance.clone().unwrap_or_default(), agree: args.agree };
    let mut comparison = compare::compare(&sources, judge, args.out.is_some())?;
    if let Some(folder) = &args.out {
        report::folder::write_comparison(folder, &comparison)?;
        warn(&format!("wrote {}", folder.display()));
    }
    for pair in &mut comparison.pairs {
        pair.curves = None;
    }
    print(&match args.format {
        CompareFormat::Table => compare::text::text(&comparison, args.explain),
        CompareFormat::Json => {
            let mut text = serde_json::to_string_pretty(&comparison).expect("figures are representable");
            text.push('\n');
            text
        }
    })?;
    comparison.verdict()
}
