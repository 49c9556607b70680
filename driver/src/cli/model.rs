//! `podlab model`: what `serve --engine candle` can compute.

use super::{print, warn};
use crate::failure::Failure;
use crate::models::{KNOWN, Known};
use clap::Subcommand;
use std::fmt::Write;

#[derive(Debug, Subcommand)]
pub(super) enum ModelCommand {
    /// Download a model, unless it is there, and print where it is
    Pull {
        /// Its name, as `podlab model list` has it
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// The models that are known by name, and whether they are here
    List,
}

pub(super) fn run(command: &ModelCommand) -> Result<(), Failure> {
    match command {
        ModelCommand::Pull { name } => {
            let known = Known::named(name).ok_or_else(|| {
                let names = KNOWN.map(|known| known.name).join(", ");
                Failure::Usage(format!("{name}: not a model that is known by name ({names}); a path needs no pull"))
            })?;
            print(&format!("{}\n", known.pull(warn)?.display()))
        }
        ModelCommand::List => {
            let mut text = String::new();
            for known in KNOWN {
                let path = known.path()?;
                let place = if path.exists() { path.display().to_string() } else { "not here".to_owned() };
                // Writing to a text cannot fail.
                let _ =
                    writeln!(text, "{:<14} {:>4} MB  {}  ({place})", known.name, known.bytes / 1_000_000, known.about);
            }
            text.push_str("tiny              1 MB  random weights, made from the seed\n");
            print(&text)
        }
    }
}
