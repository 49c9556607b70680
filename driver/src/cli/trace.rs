//! `podlab trace import`: a platform's own logs as a trace.

use super::publish::{publish, taken};
use super::{ImportArgs, TraceCommand, print, warn};
use crate::bounded;
use crate::failure::Failure;
use crate::import::trace::{Imported, Settings, write};
use crate::import::{Format, Reader, Seen, TIME_UNITS, read_next};
use crate::report::describe;
use sim::workload::description::Description;
use sim::workload::{TraceError, mooncake};
use std::path::Path;

/// Of each log.
const MOST_BYTES: u64 = 4 << 30;

pub(super) fn run(command: &TraceCommand) -> Result<(), Failure> {
    let TraceCommand::Import(args) = command;
    if args.out.exists() {
        return Err(taken(&format!("--out {}", args.out.display())));
    }
    let format = args.format.as_deref().map(Format::named).transpose();
    let format = format.map_err(|problem| Failure::Usage(format!("--format {problem}")))?;
    let mut seen: Vec<Seen> = Vec::new();
    let unit = args.time_unit.as_deref();
    let unit = unit.and_then(|unit| TIME_UNITS.iter().find(|(name, _)| *name == unit)).map(|(_, seconds)| *seconds);
    let mut reader = Reader::with_unit(unit);
    for file in &args.logs {
        seen.extend(log(file, format, args.session.as_deref(), &mut reader)?);
    }
    let settings = Settings { salt: salt(args)?, block: args.block };
    let imported = write(seen, &settings).map_err(|error| Failure::Invalid(error.to_string()))?;
    let name = args.out.display();
    // What could not be simulated is not written.
    let workload = mooncake::parse(&imported.text).map_err(|error| Failure::Failed(format!("{name}: {error}")))?;
    publish(&args.out, &imported.text, &format!("--out {name}"))?;
    for odd in odd(&imported) {
        warn(&format!("warning: {odd}"));
    }
    let trace = format!("trace:{name}");
    let text = describe::text(&trace, &Description::of(&workload));
    print(&format!("{text}\nNo text is in it. Next: podlab simulate ENDPOINT.yaml --workload {trace} --strategy all\n"))
}

fn log(file: &Path, format: Option<Format>, session: Option<&str>, reader: &mut Reader) -> Result<Vec<Seen>, Failure> {
    let name = file.display();
    let bytes = bounded::read(file, MOST_BYTES)
        .map_err(|error| Failure::Invalid(format!("{name}: cannot be read: {error}")))?;
    // A word cut in two by a log's own limits is no reason to refuse the rest.
    let text = String::from_utf8_lossy(&bytes);
    let of = |error: TraceError| Failure::Invalid(format!("{name}: {error}"));
    read_next(text.trim_start_matches('\u{feff}'), format, session, reader).map_err(of)
}

fn salt(args: &ImportArgs) -> Result<Vec<u8>, Failure> {
    if let Some(salt) = &args.salt {
        if salt.is_empty() {
            return Err(Failure::Usage(
                "--salt is empty, so that anybody could ask who wrote what; leave it away for a random one".to_owned(),
            ));
        }
        return Ok(salt.as_bytes().to_vec());
    }
    let mut salt = vec![0; 32];
    getrandom::fill(&mut salt)
        .map_err(|error| Failure::Failed(format!("the system gives no random salt ({error}); name one by --salt")))?;
    Ok(salt)
}

/// What the log did not say.
fn odd(imported: &Imported) -> Vec<String> {
    let Imported { requests, counted, estimated, unseen, limited, guessed, chars_per_token, .. } = imported;
    let mut odd = Vec::new();
    if counted < requests {
        odd.push(format!(
            "{} of {requests} prompts are as long as {chars_per_token:.2} characters a token make them: their usage was not logged",
            requests - counted
        ));
    }
    if *unseen > 0 {
        odd.push(format!("{unseen} of {requests} prompts have far more tokens than their text: what is not in the log counts as shared with nobody"));
    }
    if *estimated > 0 {
        odd.push(format!(
            "{estimated} of {requests} replies are as long as their text makes them: their usage was not logged"
        ));
    }
    if *limited > 0 {
        odd.push(format!(
            "{limited} of {requests} replies are as long as max_tokens allows: neither usage nor response was logged"
        ));
    }
    if *guessed > 0 {
        odd.push(format!("{guessed} of {requests} replies have the median length of the others: nothing tells theirs"));
    }
    odd
}
