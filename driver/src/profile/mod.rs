//! A folder of kernels measured layer by layer: `dense.csv`, `attention.csv`, `per_sequence.csv` and `meta.yaml`, as
//! LLMServingSim's profiler writes them (its documentation, "Output bundle"). Times are microseconds.

pub(crate) mod csv; // tables of numbers under names
mod meta; // what was measured

use crate::bounded;
use crate::report::hex_sha256;
use crate::suggest;
use csv::Table;
pub use meta::Meta;
use sim::cost::geometry::{self, Model};
use sim::cost::table::{Attention, Layers, Profile, Running, StepTable};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// No table of a profile is larger.
const MOST_BYTES: u64 = 64 << 20;

/// A profile, and what it is of.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// What `meta.yaml` says.
    pub meta: Meta,
    /// The model that was measured.
    pub model: Model,
    /// The rows.
    pub profile: Profile,
    /// SHA-256 of each table, by its name.
    pub sha256: BTreeMap<&'static str, String>,
}

impl Folder {
    /// Whether there is such a folder at `path`.
    #[must_use]
    pub fn is_at(path: &Path) -> bool {
        path.join("attention.csv").is_file()
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is missing or wrong, with file and line.
    pub fn read(path: &Path) -> Result<Self, String> {
        let meta = Meta::read(&path.join("meta.yaml"))?;
        let model = geometry::find(&meta.model).ok_or_else(|| {
            let near = suggest::clause(&meta.model, geometry::names());
            let known: Vec<&str> = geometry::names().collect();
            format!(
                "{}: model: \"{}\" is not known{near}; there is {}",
                path.join("meta.yaml").display(),
                meta.model,
                known.join(", ")
            )
        })?;
        if meta.tp != 1 {
            return Err(format!(
                "{}: tp_degrees: a profile of {} ranks lacks the all-reduces between them; give one of a single rank",
                path.join("meta.yaml").display(),
                meta.tp
            ));
        }
        let mut sha256 = BTreeMap::new();
        let profile = Profile {
            dense: rows(path, "dense.csv", &mut sha256, |table| named(table, "tokens"))?,
            per_sequence: rows(path, "per_sequence.csv", &mut sha256, |table| named(table, "sequences"))?,
            attention: rows(path, "attention.csv", &mut sha256, attention)?,
        };
        Ok(Self { path: path.to_owned(), meta, model, profile, sha256 })
    }

    /// The cost of passes that are run so.
    ///
    /// # Errors
    /// What the tables lack.
    pub fn cost(&self, running: Running) -> Result<StepTable, String> {
        let shard = self.model.shard(1);
        let layers = Layers { count: self.model.layers, heads: shard.heads, kv_heads: shard.kv_heads };
        StepTable::new(&self.profile, layers, running).map_err(|problem| format!("{}: {problem}", self.path.display()))
    }
}

/// The rows of a table in a folder.
fn rows<T>(
    path: &Path,
    name: &'static str,
    sha256: &mut BTreeMap<&'static str, String>,
    of: impl FnOnce(&Table<'_>) -> Result<T, String>,
) -> Result<T, String> {
    let file = path.join(name);
    let text = bounded::read_text(&file, MOST_BYTES)?;
    sha256.insert(name, hex_sha256(text.as_bytes()));
    of(&Table::parse(&file, &text)?)
}

/// `layer,tokens,time_us`, or by sequences.
fn named(table: &Table<'_>, by: &str) -> Result<Vec<(String, u64, f64)>, String> {
    let [layer, by, time] = [table.column("layer")?, table.column(by)?, table.column("time_us")?];
    table.rows().map(|row| Ok((row.text(layer).to_owned(), row.whole(by)?, row.real(time)?))).collect()
}

/// `prefill_chunk,kv_prefill,n_decode,kv_decode,time_us`. Later profilers write `prefill_key`, the mean number of keys that a
/// token of the chunk sees, for `kv_prefill`, and rows of several kernels and of speculative decoding.
fn attention(table: &Table<'_>) -> Result<Vec<Attention>, String> {
    let [chunk, decoders, context, time] = [
        table.column("prefill_chunk")?,
        table.column("n_decode")?,
        table.column("kv_decode")?,
        table.column("time_us")?,
    ];
    let (key, cached) = (table.find("prefill_key"), table.find("kv_prefill"));
    if key.is_none() && cached.is_none() {
        table.column("kv_prefill")?;
    }
    let (layer, queries) = (table.find("layer"), table.find("decode_q_len"));
    let mut rows = Vec::new();
    for row in table.rows() {
        let is_other = layer.is_some_and(|layer| row.text(layer) != "attention");
        let speculates = match queries {
            Some(queries) => row.whole(queries)? > 1,
            None => false,
        };
        if is_other || speculates {
            continue;
        }
        let chunk = row.whole(chunk)?;
        let cached = match (cached, key) {
            (Some(cached), _) => row.whole(cached)?,
            (None, Some(key)) => (row.real(key)? - chunk as f64 / 2.0).max(0.0).round() as u64,
            (None, None) => 0,
        };
        let (decoders, context) = (row.whole(decoders)?, row.whole(context)?);
        rows.push(Attention { chunk, cached, decoders, context, time: row.real(time)? });
    }
    Ok(rows)
}
