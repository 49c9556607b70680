//! Files that appear whole or not at all.

use crate::failure::Failure;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// That something stands where `name` is to be written.
pub(super) fn taken(name: &str) -> Failure {
    Failure::Usage(format!("{name}: it is there already, and is not replaced"))
}

/// Writes a file that appears whole or not at all, and replaces none; `name` is what messages call it.
pub(super) fn publish(file: &Path, text: &str, name: &str) -> Result<(), Failure> {
    let failed = |error: &std::io::Error| Failure::Failed(format!("{name}: cannot be written: {error}"));
    let mut part = file.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = Path::new(&part);
    let written = fs::File::create_new(part).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    // A link fails where the name was taken meanwhile; a rename would replace it.
    let published = written.and_then(|()| fs::hard_link(part, file));
    let _ = fs::remove_file(part);
    published.map_err(|error| if error.kind() == ErrorKind::AlreadyExists { taken(name) } else { failed(&error) })
}
