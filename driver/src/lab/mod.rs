//! The lab: the settings that decide the physics and are not in the endpoint file.
//!
//! From weakest to strongest: built-in defaults, the fields and variables of the endpoint file, its `podlab.dev/...`
//! annotations, the lab file, and `--set`. Every value is typed and carries its unit; a name that does not exist is refused with the nearest one that
//! does.

use crate::suggest;
use kvcache::{Duplicates, Span, Tokens};
use sim::workload::chat::Chat;
use sim::workload::code_review::CodeReview;
use sim::workload::document_qa::DocumentQa;
use sim::workload::mixed::Mixed;
use sim::workload::multi_round_qa::MultiRoundQa;
use sim::workload::shared_system::SharedSystem;
use sim::workload::unrelated::Unrelated;

pub mod settings; // every setting there is
mod joined; // ... in one table
pub mod units; // values with units
pub mod file; // the lab file
pub mod find; // numbers that can be looked for
pub mod schema; // what editors check it by
pub mod init; // ... and one to begin with
mod tiers; // the tiers below the device
mod router; // how workers are chosen
mod fleet; // workers that come and go
mod schedule; // ... when
mod arrivals; // when requests arrive
mod workloads; // what is sent
mod generators; // ... more of it
pub mod run; // how a run begins, how long it is, what of it is measured
mod origin; // where a value came from
mod describe; // a lab as a lab file would say it
mod unread; // settings that make no difference

pub(crate) use describe::{duplicates_name, eviction_name, fraction, load_name, probe_name, store_name};

pub use arrivals::{ArrivalsLab, Turns};
pub use fleet::{FleetLab, ScalingLab, ScalingMetric};
pub use origin::Origin;
pub use router::RouterLab;
pub(crate) use schedule::write_event;
use settings::{SETTINGS, Setting};
pub use tiers::{L1Lab, L2Lab, Preference, Scope, TiersLab};
pub(crate) use unread::{unread, unread_arrivals};

/// All settings, checked one by one. `None`: the endpoint file or the hardware decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Lab {
    /// Pure latency between client and router.
    pub api_latency: Option<Span>,
    /// The hardware profile, by the name of its file.
    pub hardware: Option<String>,
    /// The model whose geometry is simulated.
    pub model: Option<String>,
    /// Time per pass in which the host keeps the GPUs waiting.
    pub host_overhead: Option<Span>,
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
    /// How workers use what lies below the device.
    pub tiers: TiersLab,
    /// The host memory of a worker.
    pub l1: L1Lab,
    /// The pool that all workers share.
    pub l2: L2Lab,
    /// How workers are chosen, and what is known of them.
    pub router: RouterLab,
    /// What befalls the fleet.
    pub fleet: FleetLab,
    /// How many workers there should be.
    pub autoscaling: ScalingLab,
    /// How requests arrive.
    pub arrivals: ArrivalsLab,
    /// The workload `docqa`.
    pub docqa: DocumentQa,
    /// The workload `chat`.
    pub chat: Chat,
    /// The workload `shared-system`.
    pub shared_system: SharedSystem,
    /// The workload `mixed`.
    pub mixed: Mixed,
    /// The workload `unrelated`.
    pub unrelated: Unrelated,
    /// The workload `code-review`.
    pub code_review: CodeReview,
    /// The workload `multi-round-qa`.
    pub multi_round_qa: MultiRoundQa,
    /// How a run begins, how long it is, which part of it is measured.
    pub run: run::RunLab,
    /// Price of one instance.
    pub usd_per_hour: Option<f64>,
}

impl Default for Lab {
    fn default() -> Self {
        Self {
            api_latency: None,
            hardware: None,
            model: None,
            host_overhead: None,
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
            tiers: TiersLab::default(),
            l1: L1Lab::default(),
            l2: L2Lab::default(),
            router: RouterLab::default(),
            fleet: FleetLab::default(),
            autoscaling: ScalingLab::default(),
            arrivals: ArrivalsLab::default(),
            docqa: workloads::DOCQA,
            chat: workloads::CHAT,
            shared_system: workloads::SHARED_SYSTEM,
            mixed: workloads::MIXED,
            unrelated: generators::UNRELATED,
            code_review: generators::CODE_REVIEW,
            multi_round_qa: generators::MULTI_ROUND_QA,
            run: run::RunLab::default(),
            usd_per_hour: None,
        }
    }
}

impl Lab {
    /// Sets one value.
    ///
    /// # Errors
    /// The name, and what is wrong: an unknown one, with the nearest known; a value that does not fit, with what would.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let setting = Self::find(key).map_err(|problem| format!("{key}: {problem}"))?;
        self.take(setting, value).map_err(|problem| format!("{key}: {problem}"))
    }

    /// The setting of this name; what is wrong with a name that none has.
    fn find(key: &str) -> Result<&'static Setting, String> {
        SETTINGS.iter().find(|setting| setting.key == key).ok_or_else(|| {
            // A name without its section, or with the wrong one, is best told by its last part.
            let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
            let same_end = SETTINGS.iter().map(|setting| setting.key).find(|known| last(known) == last(key));
            let meant = match same_end {
                Some(name) => format!("; did you mean {name:?}?"),
                None => suggest::clause(key, SETTINGS.iter().map(|setting| setting.key)),
            };
            format!("there is no such setting{meant}; --set help lists all")
        })
    }

    fn take(&mut self, setting: &Setting, value: &str) -> Result<(), String> {
        if value.is_empty() {
            return Err(format!("a value is missing; it takes {}", takes(setting)));
        }
        (setting.set)(self, value).map_err(|problem| format!("{problem}; it takes {}", takes(setting)))
    }
}

/// A value as a lab says it, whoever wrote it how, and whether it is what holds without it; as it is where a lab says nothing.
pub(crate) fn canonical(key: &str, value: &str) -> (String, bool) {
    let mut lab = Lab::default();
    if lab.set(key, value).is_err() {
        return (value.to_owned(), false);
    }
    let text = match &lab.describe()[key] {
        serde_json::Value::Null => value.to_owned(),
        serde_json::Value::String(text) => text.clone(),
        number => number.to_string().trim_end_matches(".0").to_owned(),
    };
    (text, lab == Lab::default())
}

/// What a value of it looks like, in a sentence.
fn takes(setting: &Setting) -> String {
    if setting.takes == "tokens" { "a number of tokens".to_owned() } else { format!("a {}", setting.takes) }
}

/// A setting and the values it is to take, one run each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Which setting.
    pub key: String,
    /// Its values, in order; at least one, and no two that mean the same.
    pub values: Vec<String>,
    /// Where they came from.
    pub origin: Origin,
}

impl Axis {
    /// Reads `key=value[,value...]`.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str, origin: Origin) -> Result<Self, String> {
        let (key, values) = text
            .split_once('=')
            .ok_or_else(|| format!("\"{text}\" is not of the form key=value, such as api.latency=5ms"))?;
        let mut axis = Self { key: key.trim().to_owned(), values: Vec::new(), origin };
        for value in values.split(',') {
            axis.add(value.trim())?;
        }
        Ok(axis)
    }

    /// Adds a value: one that the setting takes, and that does not mean the same as one before it.
    fn add(&mut self, value: &str) -> Result<(), String> {
        let setting = Lab::find(&self.key)?;
        let with = |value: &str| {
            let mut lab = Lab::default();
            lab.take(setting, value).map(|()| lab)
        };
        let lab = with(value)?;
        if let Some(same) = self.values.iter().find(|known| with(known).as_ref() == Ok(&lab)) {
            let again = if same == value { "given twice".to_owned() } else { format!("the same as {same}") };
            return Err(format!("{value} is {again}; each value is one run, keep one of them"));
        }
        self.values.push(value.to_owned());
        Ok(())
    }
}
