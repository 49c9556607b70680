//! Where requests come from.

use super::case::Load;
use crate::bounded;
use crate::failure::Failure;
use crate::lab::Lab;
use crate::suggest;
use kvcache::Tokens;
use sim::streams::Streams;
use sim::workload::chat::Chat;
use sim::workload::document_qa::DocumentQa;
use sim::workload::mixed::Mixed;
use sim::workload::shared_system::SharedSystem;
use sim::workload::{Arrivals, Pacing, Workload, mooncake};
use std::path::Path;

/// Names of generated workloads.
const NAMES: [&str; 4] = ["docqa", "chat", "shared-system", "mixed"];

/// ... that are not there yet.
const LATER: [&str; 3] = ["code-review", "unrelated", "multi-round-qa"];

/// Of a trace: some eight million requests.
const MOST_BYTES: u64 = 2 << 30;

/// How much gaps vary that are independent of each other.
const POISSON: f64 = 1.0;

/// Documents whose unequal shares are worked out.
const MOST_SKEWED: u32 = 1_000_000;

/// The most requests of a generated workload.
const MOST_REQUESTS: u32 = 20_000_000;

/// Requests of a generated workload where none are asked for.
const REQUESTS: u32 = 700;

/// A workload, before it is known when it is sent.
#[derive(Clone, Debug)]
pub enum Source {
    /// One long document, many questions.
    DocumentQa {
        /// Questions in all.
        requests: u32,
    },
    /// Conversations of several turns.
    Chat {
        /// Turns in all.
        requests: u32,
    },
    /// Unrelated questions behind one system prompt.
    SharedSystem {
        /// Questions in all.
        requests: u32,
    },
    /// Prompts of very different lengths.
    Mixed {
        /// Prompts in all.
        requests: u32,
    },
    /// A trace, read once.
    Trace(Box<Workload>),
}

impl Source {
    /// Reads the name of a generated workload, or `trace:FILE`.
    ///
    /// # Errors
    /// [`Failure::Usage`] for an unknown name, [`Failure::Invalid`] for a trace that cannot be read.
    pub fn read(name: &str, requests: Option<u32>) -> Result<Self, Failure> {
        Self::read_and_show(name, requests, |_, _| ())
    }

    /// Reads a workload's name, and shows a trace's file and its bytes: a pipe cannot be read twice.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn read_and_show(name: &str, requests: Option<u32>, show: impl FnOnce(&Path, &[u8])) -> Result<Self, Failure> {
        if let Some(file) = name.strip_prefix("trace:") {
            if file.is_empty() {
                return Err(Failure::Usage("--workload trace: names no file; write trace:FILE".to_owned()));
            }
            let workload = read_trace(Path::new(file), show)?;
            let workload = match requests {
                Some(count) => workload.first(count as usize),
                None => workload,
            };
            return Ok(Self::Trace(Box::new(workload)));
        }
        let requests = requests.unwrap_or(REQUESTS);
        match name {
            "docqa" => Ok(Self::DocumentQa { requests }),
            "chat" => Ok(Self::Chat { requests }),
            "shared-system" => Ok(Self::SharedSystem { requests }),
            "mixed" => Ok(Self::Mixed { requests }),
            _ => {
                let what = if LATER.contains(&name) { "not there yet; " } else { "" };
                let near = suggest::clause(name, NAMES);
                let names = NAMES.join(", ");
                Err(Failure::Usage(format!("--workload {name}: {what}there is {names}, and trace:FILE{near}")))
            }
        }
    }

    /// Whether it brings its own times.
    #[must_use]
    pub const fn is_trace(&self) -> bool {
        matches!(self, Self::Trace(_))
    }

    /// How many requests it is.
    #[must_use]
    pub fn requests(&self) -> u64 {
        match self {
            Self::DocumentQa { requests }
            | Self::Chat { requests }
            | Self::SharedSystem { requests }
            | Self::Mixed { requests } => u64::from(*requests),
            Self::Trace(trace) => trace.requests().len() as u64,
        }
    }

    /// Checks what settings mean together.
    ///
    /// # Errors
    /// [`Failure::Usage`] where a prompt and its reply could exceed what a request can be, or shares the whole.
    pub fn check(&self, lab: &Lab) -> Result<(), Failure> {
        let (parts, most, remedy) = match self {
            Self::DocumentQa { .. } => {
                ("docqa: instruction, document, question and answer", lab.docqa.most_tokens(), "docqa.document_tokens")
            }
            Self::Chat { .. } => (
                "chat: the system prompt and all turns of a conversation",
                lab.chat.most_tokens(),
                "chat.turns or the mean lengths, which chance exceeds up to 37 times",
            ),
            Self::SharedSystem { .. } => (
                "shared-system: system prompt, question and answer",
                lab.shared_system.most_tokens(),
                "shared_system.system_tokens or the mean lengths, which chance exceeds up to 37 times",
            ),
            Self::Mixed { .. } => (
                "mixed: document, question and answer",
                lab.mixed.most_tokens(),
                "mixed.document_tokens or mixed.answer_tokens, which chance exceeds up to 37 times",
            ),
            Self::Trace(_) => return Ok(()),
        };
        if most > u64::from(u32::MAX) {
            let limit = u32::MAX;
            return Err(Failure::Usage(format!(
                "{parts} can have {most} tokens together, more than the {limit} of a request; lower {remedy}"
            )));
        }
        let shares = lab.mixed.long_share + lab.mixed.medium_share;
        if matches!(self, Self::Mixed { .. }) && shares > 1000 {
            return Err(Failure::Usage(format!(
                "mixed.long_share and mixed.medium_share are {} together; they are parts of one whole, at most 1",
                f64::from(shares) / 1000.0
            )));
        }
        let documents = lab.docqa.documents;
        if matches!(self, Self::DocumentQa { .. }) && lab.docqa.skew > 0.0 && documents > MOST_SKEWED {
            return Err(Failure::Usage(format!(
                "docqa.skew: the shares of {documents} documents are not worked out one by one; set docqa.documents to at most {MOST_SKEWED}, or docqa.skew to 0"
            )));
        }
        Ok(())
    }

    /// What is odd about sending it so.
    #[must_use]
    pub fn warning(&self, lab: &Lab, load: Load) -> Option<String> {
        let (Self::Chat { .. }, Load::Concurrency(concurrency)) = (self, load) else { return None };
        let (users, turns) = (lab.chat.users, lab.chat.turns);
        (turns > 1 && concurrency >= users).then(|| {
            format!(
                "chat: {concurrency} requests are always in flight, and there are {users} users: turns are sent before the reply that they contain is complete; raise chat.users above --concurrency"
            )
        })
    }

    /// The longest prompt, for settings that [`Source::check`] accepts. Drawn lengths are drawn for this.
    #[must_use]
    pub fn longest_prompt(&self, lab: &Lab, load: Load, seed: u64) -> Tokens {
        match self {
            Self::DocumentQa { .. } => lab.docqa.instruction + lab.docqa.document + lab.docqa.question,
            Self::Trace(trace) => trace.longest_prompt(),
            _ => self.workload(lab, load, seed).longest_prompt(),
        }
    }

    /// The same, generated with so many requests. A trace has those it has.
    #[must_use]
    pub fn with_requests(&self, requests: u32) -> Self {
        match self {
            Self::DocumentQa { .. } => Self::DocumentQa { requests },
            Self::Chat { .. } => Self::Chat { requests },
            Self::SharedSystem { .. } => Self::SharedSystem { requests },
            Self::Mixed { .. } => Self::Mixed { requests },
            Self::Trace(trace) => Self::Trace(trace.clone()),
        }
    }

    /// The same with twice as many requests; `None`: that would be too many.
    #[must_use]
    pub fn doubled(&self) -> Option<Self> {
        let requests =
            u32::try_from(self.requests()).ok()?.checked_mul(2).filter(|requests| *requests <= MOST_REQUESTS);
        requests.map(|requests| self.with_requests(requests))
    }

    /// The requests, sent as `load` says: where the clock decides, up to the end of the run.
    #[must_use]
    pub fn workload(&self, lab: &Lab, load: Load, seed: u64) -> Workload {
        let workload = self.generate(lab, load, seed);
        let (Some(duration), None) = (lab.run.duration, load.concurrency()) else { return workload };
        let reaches = |workload: &Workload| workload.requests().last().is_some_and(|last| last.at.0 >= duration.0);
        match self.doubled().filter(|_| !self.is_trace() && !reaches(&workload)) {
            Some(longer) => longer.workload(lab, load, seed),
            None => {
                let count = workload.requests().partition_point(|request| request.at.0 < duration.0);
                workload.first(count)
            }
        }
    }

    fn generate(&self, lab: &Lab, load: Load, seed: u64) -> Workload {
        let streams = Streams::new(seed);
        match *self {
            Self::DocumentQa { requests } => {
                DocumentQa { requests, ..lab.docqa }.generate(arrivals(load, lab), streams)
            }
            Self::Chat { requests } => Chat { requests, ..lab.chat }.generate(arrivals(load, lab), streams),
            Self::SharedSystem { requests } => {
                SharedSystem { requests, ..lab.shared_system }.generate(arrivals(load, lab), streams)
            }
            Self::Mixed { requests } => Mixed { requests, ..lab.mixed }.generate(arrivals(load, lab), streams),
            Self::Trace(ref trace) => match load {
                Load::Concurrency(concurrency) => trace.as_ref().clone().paced(Pacing::Closed { concurrency }),
                Load::Trace { speedup } => trace.as_ref().clone().sped_up(speedup),
                Load::Rate(_) => unreachable!("a trace brings its own times"),
            },
        }
    }
}

fn arrivals(load: Load, lab: &Lab) -> Arrivals {
    match load {
        Load::Rate(rate) if lab.burstiness == POISSON => Arrivals::Poisson { rate },
        Load::Rate(rate) => Arrivals::Renewal { rate, burstiness: lab.burstiness },
        Load::Concurrency(concurrency) => Arrivals::Closed { concurrency },
        Load::Trace { .. } => unreachable!("a generated workload has a rate or a concurrency"),
    }
}

fn read_trace(file: &Path, show: impl FnOnce(&Path, &[u8])) -> Result<Workload, Failure> {
    let name = file.display();
    let bytes = bounded::read(file, MOST_BYTES)
        .map_err(|error| Failure::Invalid(format!("{name}: cannot be read: {error}")))?;
    show(file, &bytes);
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        Failure::Invalid(format!("{name}: line {line}: not UTF-8 text"))
    })?;
    // Some editors put a byte order mark first.
    let text = text.trim_start_matches('\u{feff}');
    if !mooncake::is_mooncake(text) {
        return Err(Failure::Invalid(format!(
            "{name}: not a trace that podlab knows: its first line should be a JSON object with timestamp, input_length, output_length and hash_ids (Mooncake JSONL)"
        )));
    }
    mooncake::parse(text).map_err(|error| Failure::Invalid(format!("{name}: {error}")))
}
