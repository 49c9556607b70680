//! `podlab lab`: the lab file's schema, and one to begin with.

use super::{LabCommand, print, publish, warn};
use crate::failure::Failure;
use crate::lab::{init, schema};

pub(super) fn run(command: &LabCommand) -> Result<(), Failure> {
    match command {
        LabCommand::Schema => print(&format!("{:#}\n", schema::schema())),
        LabCommand::Init { file: None } => print(&init::text()),
        LabCommand::Init { file: Some(file) } => {
            publish(file, &init::text(), &file.display().to_string())?;
            warn(&format!("wrote {}: every setting, commented out", file.display()));
            Ok(())
        }
    }
}
