//! The lab: the settings that decide the physics and are not in the endpoint file.
//!
//! From weakest to strongest: built-in defaults, `podlab.dev/...` annotations of the endpoint file, the lab file, and
//! `--set`. Every value is typed and carries its unit; a name that does not exist is refused with the nearest one that
//! does.

use crate::suggest;
use kvcache::{Duplicates, Span, Tokens};
use serde_json::Value;
use sim::workload::document_qa::DocumentQa;
use std::path::Path;

pub mod settings; // every setting there is
pub mod units; // values with units

use settings::SETTINGS;

/// All settings, checked one by one. `None`: the endpoint file or the hardware decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Lab {
    /// Pure latency between client and router.
    pub api_latency: Span,
    /// The model whose geometry is simulated.
    pub model: Option<String>,
    /// Time per pass in which the host keeps the GPUs waiting.
    pub host_overhead: Span,
    /// Most sequences running at once.
    pub max_num_seqs: Option<u32>,
    /// Most new tokens in a pass.
    pub max_num_batched_tokens: Option<Tokens>,
    /// Most tokens of prompt and reply.
    pub max_model_len: Option<Tokens>,
    /// KV blocks per worker.
    pub num_gpu_blocks: Option<u32>,
    /// Tokens in a KV block.
    pub block_size: Option<Tokens>,
    /// Share of a GPU's memory that the engine takes.
    pub gpu_memory_utilization: Option<f64>,
    /// Whether a prompt may be computed in parts.
    pub chunked_prefill: Option<bool>,
    /// Most tokens of one chunk; zero: off.
    pub long_prefill_token_threshold: Option<Tokens>,
    /// Above 1: caps chunks at 4 % of `max_model_len`.
    pub max_num_partial_prefills: Option<u32>,
    /// Admit a prompt only where all of it fits.
    pub reserve_full_isl: Option<bool>,
    /// Plan a pass while the one before it runs.
    pub async_scheduling: Option<bool>,
    /// What becomes of a block computed twice at once.
    pub duplicates: Duplicates,
    /// How long a token is for `prefixaware`.
    pub chars_per_token: f64,
    /// How much may be missing for `kvaware` to follow its index.
    pub kv_aware_threshold: Tokens,
    /// How long a request counts for its worker's rate.
    pub qps_window: Span,
    /// The workload `docqa`.
    pub docqa: DocumentQa,
    /// Price of one instance.
    pub usd_per_hour: Option<f64>,
}

impl Default for Lab {
    fn default() -> Self {
        Self {
            api_latency: Span::from_millis(5),
            model: None,
            host_overhead: Span::from_millis(1),
            max_num_seqs: None,
            max_num_batched_tokens: None,
            max_model_len: None,
            num_gpu_blocks: None,
            block_size: None,
            gpu_memory_utilization: None,
            chunked_prefill: None,
            long_prefill_token_threshold: None,
            max_num_partial_prefills: None,
            reserve_full_isl: None,
            async_scheduling: None,
            duplicates: Duplicates::Keep,
            chars_per_token: 4.0,
            kv_aware_threshold: Tokens(2000),
            qps_window: Span::from_secs(60),
            docqa: DocumentQa {
                requests: 0,
                documents: 35,
                document: Tokens(8192),
                question: Tokens(64),
                answer: Tokens(200),
                instruction: Tokens(0),
            },
            usd_per_hour: None,
        }
    }
}

impl Lab {
    /// Sets one value.
    ///
    /// # Errors
    /// An unknown name, with the nearest known one; a value that does not fit, with what would.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else {
            // A name without its section, or with the wrong one, is best told by its last part.
            let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
            let same_end = SETTINGS.iter().map(|setting| setting.key).find(|known| last(known) == last(key));
            let meant = match same_end {
                Some(name) => format!("; did you mean {name:?}?"),
                None => suggest::clause(key, SETTINGS.iter().map(|setting| setting.key)),
            };
            return Err(format!("there is no setting {key:?}{meant}; --set help lists all"));
        };
        (setting.set)(self, value).map_err(|problem| format!("{key}: {problem}; it takes a {}", setting.takes))
    }

    /// Sets what a lab file says: YAML, sections as maps, or dotted names. Gives the values that are lists, which
    /// stand for one run each.
    ///
    /// # Errors
    /// One line per problem, with the file's name.
    pub fn read(&mut self, path: &Path) -> Result<Vec<Axis>, String> {
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: cannot be read: {error}"))?;
        let value: Value = serde_saphyr::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
        let mut flat = Vec::new();
        flatten("", &value, &mut flat).map_err(|problem| format!("{name}: {problem}"))?;
        let (mut axes, mut problems) = (Vec::new(), Vec::new());
        for (key, values) in flat {
            for value in &values {
                if let Err(problem) = self.clone().set(&key, value) {
                    problems.push(format!("{name}: {problem}"));
                }
            }
            axes.push(Axis { key, values });
        }
        if problems.is_empty() { Ok(axes) } else { Err(problems.join("\n")) }
    }
}

/// A setting and the values it is to take, one run each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Which setting.
    pub key: String,
    /// Its values, in order; at least one.
    pub values: Vec<String>,
}

impl Axis {
    /// Reads `key=value[,value...]`.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (key, values) = text
            .split_once('=')
            .ok_or_else(|| format!("\"{text}\" is not of the form key=value, such as api.latency=5ms"))?;
        let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
        let axis = Self { key: key.trim().to_owned(), values };
        for value in &axis.values {
            Lab::default().set(&axis.key, value)?;
        }
        Ok(axis)
    }
}

fn flatten(prefix: &str, value: &Value, into: &mut Vec<(String, Vec<String>)>) -> Result<(), String> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(format!("{prefix}: a value, or a list of values, is expected")),
    };
    match value {
        Value::Null if prefix.is_empty() => {}
        Value::Object(map) => {
            for (key, value) in map {
                let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&key, value, into)?;
            }
        }
        _ if prefix.is_empty() => return Err("a lab file is a map of settings".to_owned()),
        Value::Array(values) if !values.is_empty() => {
            into.push((prefix.to_owned(), values.iter().map(scalar).collect::<Result<_, _>>()?));
        }
        _ => into.push((prefix.to_owned(), vec![scalar(value)?])),
    }
    Ok(())
}
