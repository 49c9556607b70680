//! `podlab calibrate`.

use super::publish::{publish, taken};
use super::{CalibrateArgs, CheckFormat, print, warn};
use crate::calibrate::factors::{Factor, Setup};
use crate::calibrate::fit::Limits;
use crate::calibrate::folder::Folder;
use crate::calibrate::judge::{self, Calibrated, Effort, calibrate};
use crate::calibrate::layers::Layers;
use crate::calibrate::table::{self, Row, Rows};
use crate::calibrate::timed;
use crate::failure::Failure;
use crate::hardware::grid::{Grid, Seen};
use crate::hardware::{Base, Error, FORMAT, Hardware, Source, Value};
use crate::report::{calibrated, hex_sha256};
use crate::told::RunFiles;
use sim::cost::catalogue::Gpu;
use std::path::{Path, PathBuf};

pub(super) fn run(args: &CalibrateArgs) -> Result<(), Failure> {
    if let Some(out) = args.out.as_ref().filter(|out| out.exists()) {
        return Err(taken(&out.display().to_string()));
    }
    let effort = Effort { seed: args.seed, ..Effort::default() };
    let from = &args.from;
    if args.profile.is_some() && from.is_dir() {
        return Err(Failure::Usage(
            "--profile chooses rows of a table, and this is a folder; leave it away".to_owned(),
        ));
    }
    let profile = match kind(from)? {
        Kind::Table => of_table(from, args.profile.as_deref(), effort)?.profile(from)?,
        Kind::Run => of_run(from, effort)?.profile(from)?,
        Kind::Layers => of_layers(from, effort)?.profile(from)?,
        Kind::Passes => timed::profile(from)?,
    };
    if let Some(out) = &args.out {
        publish(out, &profile.text(), &out.display().to_string())?;
        warn(&format!("wrote {}", out.display()));
    }
    print(&match args.format {
        CheckFormat::Table => calibrated::table(&profile),
        CheckFormat::Json => calibrated::json(&profile),
    })
}

/// What figures are read from.
enum Kind {
    Table,
    Run,
    Layers,
    Passes,
}

fn kind(from: &Path) -> Result<Kind, Failure> {
    if from.is_file() {
        return Ok(Kind::Table);
    }
    if from.join(RunFiles::PASSES).is_file() {
        return Ok(Kind::Passes);
    }
    match ["requests.jsonl", "dense.csv"].map(|name| from.join(name).is_file()) {
        // A layer profile may have come with the run that it is to be checked by.
        [_, true] => Ok(Kind::Layers),
        [true, false] => Ok(Kind::Run),
        [false, false] => Err(Failure::Invalid(format!(
            "{}: neither a table (FILE.csv), nor a run folder (requests.jsonl; passes.jsonl where passes were computed), nor a layer profile (dense.csv)",
            from.display()
        ))),
    }
}

/// A calibration, and what it is of.
struct Found {
    kind: &'static str,
    /// The file whose bytes tell which figures these were.
    figures: PathBuf,
    name: String,
    gpu: Gpu,
    grid: Grid,
    calibrated: Calibrated,
    /// Figures of passes that nothing was fitted to, and the median size of the errors on them.
    mixed: Option<(usize, f64)>,
}

/// On the row that tells most: where no profile is named, the table must have one only.
fn of_table(path: &Path, profile: Option<&str>, effort: Effort) -> Result<Found, Failure> {
    let rows = table::read(path)?;
    let mut known: Vec<&str> = rows.iter().map(|row| row.profile.as_str()).collect();
    known.sort_unstable();
    known.dedup();
    let chosen = match (profile, known.as_slice()) {
        (Some(profile), _) if known.contains(&profile) => profile,
        (None, [only]) => only,
        (asked, _) => {
            let what =
                asked.map_or("which rows?".to_owned(), |asked| format!("--profile \"{asked}\": no row is of it;"));
            return Err(Failure::Usage(format!("{what} --profile takes one of \"{}\"", known.join("\", \""))));
        }
    };
    let rows: Vec<&Row> = rows.iter().filter(|row| row.profile == chosen).collect();
    let bench = Rows::new(rows.clone());
    let calibrated = calibrate(&bench, &Factor::ALL, Setup::served(), effort);
    let seen = Seen::default();
    for row in &rows {
        row.closed.play_on(&calibrated.setup, |model| seen.around(model));
    }
    Ok(Found {
        kind: "table",
        figures: path.to_owned(),
        name: chosen.to_owned(),
        gpu: rows[0].closed.deployment.instance.gpu,
        grid: seen.grid(rows.iter().map(|row| &row.closed.deployment)),
        calibrated,
        mixed: None,
    })
}

/// A run has one model on one number of ranks: its weights, its all-reduces and the gaps between its kernels all take so long
/// per pass, the launch of a prompt's kernels and the way to the engine so long per prompt, and what the host does for a
/// sequence is little beside the KV that is read for it. Of such factors one each is fitted, and takes the others' part.
const TOLD_BY_RUNS: [Factor; 5] =
    [Factor::Gemm, Factor::KvRead, Factor::PrefillAttention, Factor::PerLayer, Factor::ApiLatency];

/// A run's queue makes the way to the minimum rough, and a run is soon played.
const RUNS: Limits = Limits { rounds: 10, steps: 40 };

fn of_run(path: &Path, effort: Effort) -> Result<Found, Failure> {
    let bench = Folder::read(path)?;
    let mut calibrated = calibrate(&bench, &TOLD_BY_RUNS, Setup::served(), Effort { limits: RUNS, ..effort });
    let others = Factor::ALL.into_iter().filter(|factor| !TOLD_BY_RUNS.contains(factor));
    let untold = others.map(|factor| judge::Found { factor, value: factor.of(&calibrated.setup), interval: None });
    calibrated.found.extend(untold);
    let seen = Seen::default();
    bench.note(&calibrated.setup, &seen);
    let deployment = bench.deployment();
    Ok(Found {
        kind: "run",
        figures: path.join("requests.jsonl"),
        name: format!("{} on {}", deployment.model.name, deployment.instance.gpu.name),
        gpu: deployment.instance.gpu,
        grid: seen.grid([deployment].into_iter()),
        calibrated,
        mixed: None,
    })
}

fn of_layers(path: &Path, effort: Effort) -> Result<Found, Failure> {
    // Kernels have no way to them and no all-reduce, and the launch of a prompt's is in none of them.
    const TOLD: [Factor; 6] = [
        Factor::Gemm,
        Factor::WeightRead,
        Factor::KvRead,
        Factor::PrefillAttention,
        Factor::PerLayer,
        Factor::PerSequence,
    ];
    let bench = Layers::read(path)?;
    let calibrated = calibrate(&bench, &TOLD, Setup::served(), effort);
    let seen = Seen::default();
    bench.note(&seen);
    let deployment = bench.deployment();
    Ok(Found {
        kind: "layers",
        figures: path.join("attention.csv"),
        name: format!("kernels of {} on {}", deployment.model.name, deployment.instance.gpu.name),
        gpu: deployment.instance.gpu,
        grid: seen.grid([deployment].into_iter()),
        mixed: bench.mixed(&calibrated.setup),
        calibrated,
    })
}

impl Found {
    fn profile(self, from: &Path) -> Result<Hardware, Failure> {
        let said = |error: std::io::Error| Failure::Failed(format!("{}: {error}", self.figures.display()));
        let bytes = std::fs::read(&self.figures).map_err(said)?;
        let Calibrated { found, training, held_out, groups, .. } = self.calibrated;
        let value = |of: &judge::Found| Value {
            value: of.value,
            low: of.interval.map(|(low, _)| low),
            high: of.interval.map(|(_, high)| high),
        };
        let errors = training.iter().filter_map(|trained| {
            let held = held_out.as_ref().and_then(|held| held.iter().find(|held| held.kind == trained.kind));
            let error = Error {
                figures: trained.all.len(),
                training: Some(trained.median_size()?),
                held_out: held.and_then(judge::Errors::median_size),
            };
            Some((trained.kind.name().to_owned(), error))
        });
        let mixed = self
            .mixed
            .map(|(figures, held)| ("mixed_pass".to_owned(), Error { figures, training: None, held_out: Some(held) }));
        Ok(Hardware {
            format: FORMAT.to_owned(),
            name: self.name,
            gpu: self.gpu.name.to_owned(),
            base: Base::Served,
            source: Some(Source {
                kind: self.kind.to_owned(),
                path: from.display().to_string(),
                sha256: hex_sha256(&bytes),
                date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
                groups,
            }),
            factors: found.iter().map(|of| (of.factor.name().to_owned(), value(of))).collect(),
            passes: None,
            grid: Some(self.grid),
            errors: errors.chain(mixed).collect(),
        })
    }
}
