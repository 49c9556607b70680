//! `podlab report`.

use super::warn;
use crate::failure::Failure;
use crate::page;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// A folder that --out of simulate, bench, sweep, validate or compare made
    #[arg(value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,
}

pub(super) fn run(args: &ReportArgs) -> Result<(), Failure> {
    for folder in &args.folders {
        let page = page::write::again(folder)?;
        warn(&format!("wrote {}", page.display()));
    }
    Ok(())
}
