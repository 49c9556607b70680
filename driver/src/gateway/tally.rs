//! What an answer tells of itself on its way back: when its tokens came, why it ended, how long it and its prompt were.
//!
//! Pieces are searched for two names and not read: what is looked for cannot be in a text, where quotes are escaped. The one JSON
//! object that is read is the last that tells of usage, once per answer.

use super::meters::Meters;
use crate::http::vllm::Finish;
use axum::body::Bytes;
use memchr::memmem::Finder;
use router::Outcome;
use serde::Deserialize;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

static FINISH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"finish_reason\""));
static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));

/// What is known of an answer so far.
#[derive(Debug)]
pub(super) struct Tally {
    came: Instant, // its request
    latest: Option<Instant>,
    finish: Option<Finish>,
    usage: Option<Bytes>,
}

/// Lengths that an answer tells.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Usage {
    pub(super) prompt_tokens: u64,
    #[serde(default)]
    pub(super) completion_tokens: u64,
    #[serde(default)]
    pub(super) prompt_tokens_details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Details {
    #[serde(default)]
    pub(super) cached_tokens: Option<u64>,
}

impl Tally {
    /// Of an answer to a request that came at `came`.
    pub(super) const fn new(came: Instant) -> Self {
        Self { came, latest: None, finish: None, usage: None }
    }

    /// A piece of a stream, which came at `now`.
    pub(super) fn piece(&mut self, piece: &Bytes, now: Instant, meters: &Meters) {
        let is_token = self.look(piece);
        match self.latest.replace(now) {
            None => meters.vllm.first_token(now.saturating_duration_since(self.came)),
            Some(before) if is_token => meters.vllm.next_token(now.saturating_duration_since(before)),
            // Usage, or `[DONE]`: it comes with the last token.
            Some(_) => {}
        }
    }

    /// Looks for what it tells; whether there is a token in it.
    pub(super) fn look(&mut self, piece: &Bytes) -> bool {
        let (mut is_token, mut has_ended) = (false, false);
        for at in FINISH.find_iter(piece) {
            is_token = true;
            if let Some(reason) = text(&piece[at + FINISH.needle().len()..]) {
                self.finish = Some(Finish::named(&String::from_utf8_lossy(reason)));
                has_ended = true;
            }
        }
        // With every token it may be told how many there were: the last word counts.
        if (has_ended || !is_token) && USAGE.find(piece).is_some() {
            self.usage = Some(piece.clone());
        }
        is_token
    }

    /// The answer ended so.
    pub(super) fn end(&mut self, outcome: Outcome, meters: &Meters) {
        let took = |came: Instant| -> Duration { came.elapsed() };
        match outcome {
            Outcome::Answered => meters.vllm.finished(self.finish.unwrap_or(Finish::Stop), took(self.came)),
            Outcome::Cancelled => meters.vllm.finished(Finish::Abort, took(self.came)),
            Outcome::ClientError | Outcome::Busy | Outcome::Failed => return,
        }
        if let Some(usage) = self.usage.take().as_deref().and_then(usage) {
            meters.used(&usage);
        }
    }
}

/// The string that follows a name, behind its colon; `None`: it is none.
fn text(rest: &[u8]) -> Option<&[u8]> {
    let rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    Some(&rest[..end])
}

/// The last object of that name which tells of a prompt.
fn usage(piece: &[u8]) -> Option<Usage> {
    let objects = USAGE.find_iter(piece).filter_map(|at| {
        let rest = piece[at + USAGE.needle().len()..].trim_ascii_start().strip_prefix(b":")?;
        serde_json::Deserializer::from_slice(rest).into_iter::<Usage>().next()?.ok()
    });
    objects.last()
}
