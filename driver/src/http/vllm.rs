//! Metrics by vLLM's names, edges and labels, so that dashboards made for vLLM show podlab's servers.
//!
//! `podlab serve` has them of its own engines. Its gateway has what can be seen from outside: lengths and hits are those that answers
//! tell of themselves, a token is a piece of a stream, and an answer that is no stream has no first token.

use super::histogram::{BETWEEN_TOKENS, FIRST_TOKEN, Histogram, WHOLE_REQUEST};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Why a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// The model, or a text that was to end it.
    Stop,
    /// It had all tokens that it might.
    Length,
    /// Its client went away.
    Abort,
}

const REASONS: [(&str, Finish); 3] = [("stop", Finish::Stop), ("length", Finish::Length), ("abort", Finish::Abort)];

impl Finish {
    /// By OpenAI's `finish_reason`; whatever else the model ended by is a stop.
    pub(crate) fn named(reason: &str) -> Self {
        REASONS.iter().find(|(name, _)| *name == reason).map_or(Self::Stop, |(_, finish)| *finish)
    }
}

/// What is counted.
#[derive(Debug)]
pub(crate) struct Vllm {
    first_token: Histogram,
    between_tokens: Histogram,
    whole: Histogram,
    prompts: Histogram,
    replies: Histogram,
    finished: [AtomicU64; 3],
}

impl Vllm {
    /// For prompts and replies of up to so many tokens.
    pub(crate) fn new(max_model_len: u64) -> Self {
        Self {
            first_token: Histogram::of_times(&FIRST_TOKEN),
            between_tokens: Histogram::of_times(&BETWEEN_TOKENS),
            whole: Histogram::of_times(&WHOLE_REQUEST),
            prompts: Histogram::of_tokens(max_model_len),
            replies: Histogram::of_tokens(max_model_len),
            finished: Default::default(),
        }
    }

    /// A first token came out so long after its request came in.
    pub(crate) fn first_token(&self, after: Duration) {
        self.first_token.count_time(after);
    }

    /// A later token, so long after the one before.
    pub(crate) fn next_token(&self, after: Duration) {
        self.between_tokens.count_time(after);
    }

    /// A request ended well, so long after it came in.
    pub(crate) fn finished(&self, why: Finish, after: Duration) {
        self.finished[why as usize].fetch_add(1, Ordering::Relaxed);
        if why != Finish::Abort {
            self.whole.count_time(after);
        }
    }

    /// It had so many tokens.
    pub(crate) fn lengths(&self, prompt: u64, reply: u64) {
        self.prompts.count(prompt);
        self.replies.count(reply);
    }

    /// `labels` is what all samples carry: the model's name, at least.
    pub(crate) fn write(&self, text: &mut String, labels: &str) {
        let name = "vllm:time_to_first_token_seconds";
        self.first_token.write(text, name, "Time to first token in seconds.", labels);
        // Which of the two a dashboard asks for depends on its age.
        let help = "Time between two tokens in seconds.";
        self.between_tokens.write(text, "vllm:inter_token_latency_seconds", help, labels);
        self.between_tokens.write(text, "vllm:time_per_output_token_seconds", help, labels);
        self.whole.write(text, "vllm:e2e_request_latency_seconds", "Time of a whole request in seconds.", labels);
        self.prompts.write(text, "vllm:request_prompt_tokens", "Tokens of prompts.", labels);
        self.replies.write(text, "vllm:request_generation_tokens", "Tokens of replies.", labels);
        let name = "vllm:request_success_total";
        let _ = writeln!(text, "# HELP {name} Requests that ended, and why.\n# TYPE {name} counter");
        for ((reason, _), count) in REASONS.iter().zip(&self.finished) {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}{{{labels},finished_reason=\"{reason}\"}} {count}");
        }
    }
}

/// A sample of a gauge or counter, with its family.
pub(crate) fn write_one(text: &mut String, name: &str, kind: &str, help: &str, labels: &str, value: f64) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{{{labels}}} {value}");
}

/// A label that names a model, its value escaped.
pub(crate) fn model_label(model: &str) -> String {
    let model = model.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("model_name=\"{model}\"")
}
