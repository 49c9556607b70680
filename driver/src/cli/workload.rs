//! `podlab workload describe`: what would be sent, before anything is simulated.

use super::settings::{asks_for_help, list_settings};
use super::simulate::loads;
use super::{Format, LabArgs, WorkloadCommand, print, warn};
use crate::experiment::{Case, Experiment, Matrix, Source};
use crate::failure::Failure;
use crate::lab::{Axis, Lab, Origin};
use crate::report::{describe, show};
use sim::workload::Workload;
use sim::workload::description::Description;

pub(super) fn run(command: &WorkloadCommand) -> Result<(), Failure> {
    let (WorkloadCommand::Describe(args) | WorkloadCommand::Show(args)) = command;
    if asks_for_help(&args.lab) {
        return print(&list_settings());
    }
    let lab = lab(&args.lab, "describe")?;
    let source = Source::read_and_show(&args.workload, args.requests, args.repeat, |_, _| ())?;
    source.check(&lab)?;
    let asked = (args.rate.as_slice(), args.concurrency.as_slice(), args.users.as_slice(), args.speedup);
    let load = loads(asked, &args.workload, &source)?[0];
    if let Some(odd) = source.warning(&lab, load) {
        warn(&format!("warning: {odd}"));
    }
    let workload = source.workload(&lab, load, args.seed);
    if matches!(command, WorkloadCommand::Show(_)) {
        tell_length(&source, args.requests);
        return show(&workload, args.format);
    }
    let description = Description::of(&workload);
    match args.format {
        Format::Table => print(&describe::text(&args.workload, &description)),
        Format::Json => print(&format!("{:#}\n", describe::json(&description))),
        Format::Csv => Err(Failure::Usage("-o csv: a description is no line; use table or json".to_owned())),
    }
}

pub(super) fn show(workload: &Workload, format: Format) -> Result<(), Failure> {
    match format {
        Format::Table => print(&show::text(workload)),
        Format::Json => print(&show::json(workload)),
        Format::Csv => {
            Err(Failure::Usage("-o csv: prompts have parts, which are no cells; use table or json".to_owned()))
        }
    }
}

/// What a command's runs would send. Those that differ in strategy, cache or workers alone send the same; of others one must be
/// chosen.
pub(super) fn dry_run(
    experiment: &Experiment,
    matrix: &Matrix,
    requests: Option<u32>,
    format: Format,
) -> Result<(), Failure> {
    let cases = matrix.cases();
    let sent = |case: &Case| -> Result<Workload, Failure> {
        let assembled = experiment.assemble(case)?;
        Ok(experiment.source.workload(&assembled.lab, case.load, case.seed))
    };
    let first = sent(&cases[0])?;
    if let Some(other) = cases[1..].iter().find(|case| {
        let first = &cases[0];
        (case.load, case.seed, &case.settings) != (first.load, first.seed, &first.settings)
    }) {
        return Err(Failure::Usage(format!(
            "--dry-run: {} and {} send different requests; give each setting, load and seed one value",
            cases[0].label(),
            other.label()
        )));
    }
    tell_length(&experiment.source, requests);
    show(&first, format)
}

/// Fewer requests are the beginning of more, but for shares that are kept to within one request.
fn tell_length(source: &Source, requests: Option<u32>) {
    if let (Source::DocumentQa { .. }, Some(requests)) = (source, requests) {
        warn(&format!(
            "note: docqa asks about each document as often as its share says, so their order depends on --requests: this is all of a run of {requests}, not the beginning of a longer one"
        ));
    }
}

/// What `--lab` and `--set` say; a description is of one workload, so no setting has two values.
pub(super) fn lab(args: &LabArgs, command: &str) -> Result<Lab, Failure> {
    let mut lab = Lab::default();
    let mut take = |axis: &Axis| -> Result<(), String> {
        match axis.values.as_slice() {
            [value] => lab.set(&axis.key, value),
            values => Err(format!("{}: {command} takes one value, not {}", axis.key, values.len())),
        }
    };
    if let (Some(path), Some(text)) = (&args.lab, super::settings::lab_text(args)?) {
        let name = path.display().to_string();
        for axis in crate::lab::file::parse(&text, &name).map_err(Failure::Invalid)? {
            take(&axis).map_err(|problem| Failure::Invalid(format!("{name}: {problem}")))?;
        }
    }
    for text in &args.settings {
        let axis = Axis::parse(text, Origin::Flag).and_then(|axis| take(&axis));
        axis.map_err(|problem| Failure::Usage(format!("--set {text}: {problem}")))?;
    }
    Ok(lab)
}
