//! The settings of a command: where they come from, and which of them a refusal is due to.

use super::LabArgs;
use crate::endpoint::Endpoint;
use crate::experiment::{Assembled, Case, Experiment};
use crate::failure::Failure;
use crate::lab::settings::SETTINGS;
use crate::lab::{Axis, Origin, canonical, file};
use std::path::Path;

/// The settings given, weakest first: annotations, lab file, `--set`. A stronger one replaces a weaker one's values.
///
/// `name` is the endpoint file, `lab` the text of the lab file.
pub(super) fn axes(args: &LabArgs, endpoint: &Endpoint, name: &Path, lab: Option<&str>) -> Result<Vec<Axis>, Failure> {
    let mut axes: Vec<Axis> = Vec::new();
    for annotation in &endpoint.annotations {
        let origin = Origin::Annotation { file: name.display().to_string(), line: annotation.line };
        let place = origin.names(&annotation.key);
        let axis = Axis::parse(&format!("{}={}", annotation.key, annotation.value), origin);
        put(&mut axes, axis.map_err(|problem| Failure::Invalid(format!("{place}: {problem}")))?);
    }
    if let (Some(path), Some(text)) = (&args.lab, lab) {
        let given = file::parse(text, &path.display().to_string()).map_err(Failure::Invalid)?;
        given.into_iter().for_each(|axis| put(&mut axes, axis));
    }
    let mut seen: Vec<String> = Vec::new();
    let hardware = args.hardware.as_ref().map(|files| format!("hardware.profile={files}"));
    for text in args.settings.iter().chain(&hardware) {
        let usage = |problem: String| Failure::Usage(format!("--set {text}: {problem}"));
        let axis = Axis::parse(text, Origin::Flag).map_err(usage)?;
        if seen.contains(&axis.key) {
            let key = &axis.key;
            return Err(usage(format!("{key} is given twice; keep one, or list its values: --set {key}=V1,V2")));
        }
        seen.push(axis.key.clone());
        put(&mut axes, axis);
    }
    Ok(axes)
}

fn put(axes: &mut Vec<Axis>, axis: Axis) {
    match axes.iter_mut().find(|known| known.key == axis.key) {
        Some(known) => *known = axis,
        None => axes.push(axis),
    }
}

/// The text of the lab file, if there is one.
pub(super) fn lab_text(args: &LabArgs) -> Result<Option<String>, Failure> {
    args.lab.as_deref().map(file::text).transpose().map_err(Failure::Invalid)
}

/// Resolves and checks a case. A refusal that settings lead to names them, and is the fault of the strongest: of the
/// command line where one is from `--set`, else of a file.
pub(super) fn assemble(experiment: &Experiment, case: &Case, axes: &[Axis]) -> Result<Assembled, Failure> {
    experiment.assemble(case).map_err(|failure| {
        let guilty = guilty(experiment, case, axes, &failure);
        let Some(strongest) = guilty.iter().map(|axis| &axis.origin).max() else { return failure };
        let named: Vec<String> = guilty
            .iter()
            .map(|axis| match &axis.origin {
                Origin::Flag => format!("{}={}", axis.origin.names(&axis.key), given(axis, &case.settings[&axis.key])),
                origin => origin.names(&axis.key),
            })
            .collect();
        let text = failure.to_string();
        let text = format!("{}: {}", named.join(", "), without_place(&text, &experiment.file));
        if *strongest == Origin::Flag { Failure::Usage(text) } else { Failure::Invalid(text) }
    })
}

/// A value as it was written.
fn given<'a>(axis: &'a Axis, value: &'a str) -> &'a str {
    axis.values.iter().find(|given| canonical(&axis.key, given).0 == value).map_or(value, String::as_str)
}

/// The fewest settings that lead to this very refusal: each is left out in turn, for good where that changes nothing.
fn guilty<'a>(experiment: &Experiment, case: &Case, axes: &'a [Axis], failure: &Failure) -> Vec<&'a Axis> {
    let mut case = case.clone();
    let mut guilty = Vec::new();
    for axis in axes.iter().filter(|axis| axis.origin != Origin::BuiltIn) {
        let Some(value) = case.settings.remove(&axis.key) else { continue };
        if experiment.assemble(&case).err().as_ref() != Some(failure) {
            case.settings.insert(axis.key.clone(), value);
            guilty.push(axis);
        }
    }
    guilty
}

/// A message without the place in the endpoint file, which is not to blame.
fn without_place<'a>(text: &'a str, file: &str) -> &'a str {
    let Some(rest) = text.strip_prefix(file) else { return text };
    rest.trim_start_matches(|c: char| c == ':' || c.is_ascii_digit()).strip_prefix(' ').unwrap_or(text)
}

pub(super) fn asks_for_help(args: &LabArgs) -> bool {
    args.settings.iter().any(|text| text == "help")
}

/// The endpoint file, which only `--set help` does without.
pub(super) fn endpoint_file(given: Option<&Path>) -> Result<&Path, Failure> {
    given.ok_or_else(|| Failure::Usage("ENDPOINT.yaml is missing; only --set help does without it".to_owned()))
}

pub(super) fn list_settings() -> String {
    let width = SETTINGS.iter().map(|setting| setting.key.len()).max().unwrap_or_default();
    let mut text =
        String::from("Settings for --set KEY=VALUE, for a lab file, and for podlab.dev/KEY annotations:\n\n");
    for setting in SETTINGS {
        text.push_str(&format!(
            "  {:width$}  {}\n  {:width$}  takes: {}; default: {}\n",
            setting.key, setting.means, "", setting.takes, setting.default
        ));
    }
    text
}
