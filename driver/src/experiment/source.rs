//! Where requests come from.

use super::case::Load;
use crate::bounded;
use crate::failure::Failure;
use crate::lab::Lab;
use crate::suggest;
use kvcache::Tokens;
use sim::streams::Streams;
use sim::workload::document_qa::Arrivals;
use sim::workload::{Pacing, Workload, mooncake};
use std::path::Path;

/// Names of workloads, and the release that brings those that are not there.
const NAMES: [&str; 7] = ["docqa", "code-review", "chat", "unrelated", "shared-system", "multi-round-qa", "mixed"];

/// Of a trace: some eight million requests.
const MOST_BYTES: u64 = 2 << 30;

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
    /// A trace, read once.
    Trace(Box<Workload>),
}

impl Source {
    /// Reads `docqa` or `trace:FILE`.
    ///
    /// # Errors
    /// [`Failure::Usage`] for an unknown name, [`Failure::Invalid`] for a trace that cannot be read.
    pub fn read(name: &str, requests: Option<u32>) -> Result<Self, Failure> {
        Self::read_and_show(name, requests, |_, _| ())
    }

    /// Reads `docqa` or `trace:FILE`, and shows the file and its bytes: a pipe cannot be read twice.
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
        match name {
            "docqa" => Ok(Self::DocumentQa { requests: requests.unwrap_or(REQUESTS) }),
            known if NAMES.contains(&known) => {
                Err(Failure::Usage(format!("--workload {known}: not there yet; docqa and trace:FILE are")))
            }
            _ => {
                let near = suggest::clause(name, NAMES);
                Err(Failure::Usage(format!("--workload {name}: there is docqa, and trace:FILE{near}")))
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
            Self::DocumentQa { requests } => u64::from(*requests),
            Self::Trace(trace) => trace.requests().len() as u64,
        }
    }

    /// The longest prompt.
    ///
    /// # Errors
    /// [`Failure::Usage`] where prompt and reply exceed what a request can be.
    pub fn longest_prompt(&self, lab: &Lab) -> Result<Tokens, Failure> {
        match self {
            Self::DocumentQa { .. } => {
                let parts = [lab.docqa.instruction, lab.docqa.document, lab.docqa.question];
                let prompt: u64 = parts.iter().map(|tokens| u64::from(tokens.0)).sum();
                if prompt + u64::from(lab.docqa.answer.0) > u64::from(u32::MAX) {
                    return Err(Failure::Usage(format!(
                        "docqa: instruction, document, question and answer are {} tokens together, more than the {} of a request; lower docqa.document_tokens",
                        prompt + u64::from(lab.docqa.answer.0),
                        u32::MAX
                    )));
                }
                Ok(Tokens(prompt as u32))
            }
            Self::Trace(trace) => Ok(trace.longest_prompt()),
        }
    }

    /// The requests, sent as `load` says.
    #[must_use]
    pub fn workload(&self, lab: &Lab, load: Load, seed: u64) -> Workload {
        match (self, load) {
            (Self::DocumentQa { requests }, load) => {
                let arrivals = match load {
                    Load::Rate(rate) => Arrivals::Poisson { rate },
                    Load::Concurrency(concurrency) => Arrivals::Closed { concurrency },
                    Load::Trace { .. } => unreachable!("a generated workload has a rate or a concurrency"),
                };
                let mut docqa = lab.docqa;
                docqa.requests = *requests;
                docqa.generate(arrivals, Streams::new(seed))
            }
            (Self::Trace(trace), Load::Concurrency(concurrency)) => {
                trace.as_ref().clone().paced(Pacing::Closed { concurrency })
            }
            (Self::Trace(trace), Load::Trace { speedup }) => trace.as_ref().clone().sped_up(speedup),
            (Self::Trace(_), Load::Rate(_)) => unreachable!("a trace brings its own times"),
        }
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
