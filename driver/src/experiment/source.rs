//! Where requests come from.

use super::case::Load;
use super::replay::read_trace;
use crate::failure::Failure;
use crate::lab::{Lab, Turns};
use crate::suggest;
use kvcache::Tokens;
use sim::streams::Streams;
use sim::workload::chat::Chat;
use sim::workload::code_review::CodeReview;
use sim::workload::document_qa::DocumentQa;
use sim::workload::mixed::Mixed;
use sim::workload::multi_round_qa::MultiRoundQa;
use sim::workload::shared_system::SharedSystem;
use sim::workload::trace::Replay;
use sim::workload::unrelated::Unrelated;
use sim::workload::{Arrivals, Pacing, Workload};
use std::path::Path;

/// Names of generated workloads.
const NAMES: [&str; 7] = ["docqa", "chat", "shared-system", "mixed", "unrelated", "code-review", "multi-round-qa"];

/// How much gaps vary that are independent of each other.
const POISSON: f64 = 1.0;

/// Documents whose unequal shares are worked out.
const MOST_SKEWED: u32 = 1_000_000;

/// The most requests of a workload: what is kept of each takes a few gigabytes then.
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
    /// Prompts that share nothing.
    Unrelated {
        /// Prompts in all.
        requests: u32,
    },
    /// Reviews of pull requests to a few repositories.
    CodeReview {
        /// Requests in all.
        requests: u32,
    },
    /// Users with a history each, as production-stack's benchmark has them.
    MultiRoundQa {
        /// Requests in all.
        requests: u32,
    },
    /// A trace, read once.
    Trace(Box<Workload>),
    /// Sizes from a file that tells nothing of what prompts share.
    Sizes {
        /// The requests.
        workload: Box<Workload>,
        /// Whether it tells when they came.
        timed: bool,
    },
}

impl Source {
    /// Reads the name of a generated workload, or `trace:FILE`.
    ///
    /// # Errors
    /// [`Failure::Usage`] for an unknown name, [`Failure::Invalid`] for a trace that cannot be read.
    pub fn read(name: &str, requests: Option<u32>) -> Result<Self, Failure> {
        Self::read_and_show(name, requests, 1, |_, _| ())
    }

    /// Reads a workload's name, and shows a trace's file and its bytes: a pipe cannot be read twice. A trace is played `rounds`
    /// times.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn read_and_show(
        name: &str,
        requests: Option<u32>,
        rounds: u32,
        show: impl FnOnce(&Path, &[u8]),
    ) -> Result<Self, Failure> {
        if let Some(file) = name.strip_prefix("trace:") {
            if file.is_empty() {
                return Err(Failure::Usage("--workload trace: names no file; write trace:FILE".to_owned()));
            }
            let Replay { workload, timed, shares } = read_trace(Path::new(file), show)?;
            let workload = workload.repeated(rounds, requests.unwrap_or(MOST_REQUESTS) as usize);
            let workload = Box::new(workload);
            return Ok(if shares { Self::Trace(workload) } else { Self::Sizes { workload, timed } });
        }
        if rounds > 1 {
            return Err(Failure::Usage(format!(
                "--repeat plays a trace again, and --workload {name} is none; use --requests for more of it"
            )));
        }
        let requests = requests.unwrap_or(REQUESTS);
        match name {
            "docqa" => Ok(Self::DocumentQa { requests }),
            "chat" => Ok(Self::Chat { requests }),
            "shared-system" => Ok(Self::SharedSystem { requests }),
            "mixed" => Ok(Self::Mixed { requests }),
            "unrelated" => Ok(Self::Unrelated { requests }),
            "code-review" => Ok(Self::CodeReview { requests }),
            "multi-round-qa" => Ok(Self::MultiRoundQa { requests }),
            _ => {
                let near = suggest::clause(name, NAMES);
                let names = NAMES.join(", ");
                Err(Failure::Usage(format!("--workload {name}: there is {names}, and trace:FILE{near}")))
            }
        }
    }

    /// Whether it brings its own times.
    #[must_use]
    pub const fn is_trace(&self) -> bool {
        matches!(self, Self::Trace(_) | Self::Sizes { timed: true, .. })
    }

    /// How many requests it is.
    #[must_use]
    pub fn requests(&self) -> u64 {
        match self {
            Self::DocumentQa { requests }
            | Self::Chat { requests }
            | Self::SharedSystem { requests }
            | Self::Mixed { requests }
            | Self::Unrelated { requests }
            | Self::CodeReview { requests }
            | Self::MultiRoundQa { requests } => u64::from(*requests),
            Self::Trace(trace) | Self::Sizes { workload: trace, .. } => trace.requests().len() as u64,
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
            Self::Unrelated { .. } => (
                "unrelated: prompt and answer",
                lab.unrelated.most_tokens(),
                "unrelated.answer_tokens, which chance exceeds up to 37 times",
            ),
            Self::CodeReview { .. } => (
                "code-review: all that is shared, the diff and all turns of a review",
                lab.code_review.most_tokens(),
                "code_review.turns or the mean lengths, which chance exceeds up to 37 times",
            ),
            Self::MultiRoundQa { .. } => (
                "multi-round-qa: both prompts and all rounds",
                lab.multi_round_qa.most_tokens(),
                "multi_round_qa.num_rounds or the lengths",
            ),
            Self::Trace(_) | Self::Sizes { .. } => return lab.arrivals.check().map_err(Failure::Usage),
        };
        if most > u64::from(u32::MAX) {
            let limit = u32::MAX;
            return Err(Failure::Usage(format!(
                "{parts} can have {most} tokens together, more than the {limit} of a request; lower {remedy}"
            )));
        }
        lab.arrivals.check().map_err(Failure::Usage)?;
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
        if matches!(self, Self::Sizes { .. }) {
            let text =
                "the trace tells sizes, and nothing of what prompts share: none of them finds anything in a cache";
            return Some(text.to_owned());
        }
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
            Self::Trace(trace) | Self::Sizes { workload: trace, .. } => trace.longest_prompt(),
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
            Self::Unrelated { .. } => Self::Unrelated { requests },
            Self::CodeReview { .. } => Self::CodeReview { requests },
            Self::MultiRoundQa { .. } => Self::MultiRoundQa { requests },
            Self::Trace(_) | Self::Sizes { .. } => self.clone(),
        }
    }

    /// Whether it can have as many requests as anybody wants.
    #[must_use]
    pub const fn is_generated(&self) -> bool {
        !matches!(self, Self::Trace(_) | Self::Sizes { .. })
    }

    /// The same with twice as many requests; `None`: that would be too many, or it has those it has.
    #[must_use]
    pub fn doubled(&self) -> Option<Self> {
        if !self.is_generated() {
            return None;
        }
        let requests =
            u32::try_from(self.requests()).ok()?.checked_mul(2).filter(|requests| *requests <= MOST_REQUESTS);
        requests.map(|requests| self.with_requests(requests))
    }

    /// The requests, sent as `load` says: where the clock decides, up to the end of the run.
    #[must_use]
    pub fn workload(&self, lab: &Lab, load: Load, seed: u64) -> Workload {
        let workload = self.generate(lab, load, seed);
        let replies_decide = load.concurrency().is_some() || load.users().is_some();
        let Some(duration) = lab.run.duration.filter(|_| !replies_decide) else { return workload };
        let reaches = |workload: &Workload| workload.requests().last().is_some_and(|last| last.at.0 >= duration.0);
        match self.doubled().filter(|_| !reaches(&workload)) {
            Some(longer) => longer.workload(lab, load, seed),
            // Whoever waits for replies stops by itself.
            None if workload.pacing() != Pacing::Open => workload,
            None => {
                let count = workload.requests().partition_point(|request| request.at.0 < duration.0);
                workload.first(count)
            }
        }
    }

    fn generate(&self, lab: &Lab, load: Load, seed: u64) -> Workload {
        let streams = Streams::new(seed);
        let workload = match *self {
            Self::DocumentQa { requests } => {
                DocumentQa { requests, ..lab.docqa }.generate(arrivals(load, lab), streams)
            }
            Self::Chat { requests } => Chat { requests, ..lab.chat }.generate(arrivals(load, lab), streams),
            Self::SharedSystem { requests } => {
                SharedSystem { requests, ..lab.shared_system }.generate(arrivals(load, lab), streams)
            }
            Self::Mixed { requests } => Mixed { requests, ..lab.mixed }.generate(arrivals(load, lab), streams),
            Self::Unrelated { requests } => {
                Unrelated { requests, ..lab.unrelated }.generate(arrivals(load, lab), streams)
            }
            Self::CodeReview { requests } => {
                CodeReview { requests, ..lab.code_review }.generate(arrivals(load, lab), streams)
            }
            Self::MultiRoundQa { requests } => {
                let qa = MultiRoundQa { requests, ..lab.multi_round_qa };
                return match load {
                    Load::Concurrency(concurrency) => qa.generate(1.0).paced(Pacing::Closed { concurrency }),
                    load => qa.generate(load.rate().unwrap_or(1.0)),
                };
            }
            Self::Trace(ref trace) | Self::Sizes { workload: ref trace, .. } => match load {
                Load::Concurrency(concurrency) => trace.as_ref().clone().paced(Pacing::Closed { concurrency }),
                Load::Trace { speedup } => trace.as_ref().clone().sped_up(speedup),
                Load::Rate(_) | Load::Users(_) => trace.as_ref().clone().arriving(arrivals(load, lab), streams),
            },
        };
        match (workload.pacing(), lab.arrivals.turns) {
            (Pacing::Open, Turns::Closed) => workload.waiting(),
            _ => workload,
        }
    }
}

fn arrivals(load: Load, lab: &Lab) -> Arrivals {
    let (burstiness, shape) = (lab.arrivals.burstiness, lab.arrivals.shape());
    match load {
        Load::Rate(rate) if !shape.is_flat() => Arrivals::Shaped { rate, burstiness, shape },
        Load::Rate(rate) if burstiness == POISSON => Arrivals::Poisson { rate },
        Load::Rate(rate) => Arrivals::Renewal { rate, burstiness },
        Load::Concurrency(concurrency) => Arrivals::Closed { concurrency },
        Load::Users(users) => Arrivals::Users { users, think: lab.arrivals.think },
        Load::Trace { .. } => unreachable!("a generated workload has a rate, a concurrency or users"),
    }
}
