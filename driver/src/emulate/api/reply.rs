//! The replies to one HTTP request: which requests of the engine they are, and what is said of them.

use super::wire::{Finish, Head, Usage};
use crate::emulate::executor::Ending;
use crate::emulate::parts::Detail;
use crate::emulate::progress::{End, Progress, Ticket};
use crate::emulate::reply;
use crate::http::error::ApiError;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use kvcache::Tokens;
use sim::cluster::Refusal;
use sim::replica::Refused;

/// What is known of a response from its beginning.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) head: Head,
    pub(super) ticket: Ticket,
    /// Replies to each prompt; the engine's requests are in order of prompts.
    pub(super) n: usize,
    /// Tokens of each prompt.
    pub(super) prompts: Vec<Tokens>,
    /// Tokens of each reply.
    pub(super) output: Tokens,
    pub(super) include_usage: bool,
    pub(super) seed: u64,
}

impl Reply {
    pub(super) fn choices(&self) -> usize {
        self.prompts.len() * self.n
    }

    pub(super) fn push_word(&self, text: &mut String, choice: usize, index: u32) {
        reply::push_word(text, self.seed, self.ticket.numbers().start + choice as u64, index);
    }

    /// What was used. Prompt tokens count once however many replies there are; cached ones are those of a prompt's
    /// first reply, since the later ones find what that one computed.
    pub(super) fn usage(&self, all: &[Progress]) -> Usage {
        let prompt = self.prompts.iter().map(|tokens| u64::from(tokens.0)).sum();
        let emitted = all.iter().map(|progress| u64::from(progress.tokens.0)).sum();
        let firsts = all.iter().step_by(self.n);
        let usage =
            Usage::new(prompt, emitted, firsts.map(|first| u64::from(first.cached.unwrap_or_default().0)).sum());
        // Of several requests there is no one time to first token.
        let detail = match all {
            [one] => one.parts.map(|parts| Detail::new(one.found, parts)),
            _ => None,
        };
        usage.with_detail(detail)
    }

    /// The response that tells all at once.
    pub(super) async fn whole(mut self) -> Result<Response, ApiError> {
        let all = self.ticket.until(|one| one.end.is_some()).await.map_err(|_| ApiError::stopping())?;
        if let Some(error) = all.iter().find_map(refusal) {
            return Err(error);
        }
        let told = self.ticket.numbers().zip(&all);
        let texts: Vec<_> = told
            .map(|(number, progress)| match &progress.speech {
                Some(speech) => (speech.text.clone(), finish(progress)),
                None => (reply::text(self.seed, number, self.output), finish(progress)),
            })
            .collect();
        let mut response = Response::new(Body::from(self.head.whole(&texts, self.usage(&all))));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        add_cached(response.headers_mut(), &all);
        Ok(response)
    }
}

/// Why a reply ended.
pub(super) fn finish(progress: &Progress) -> Finish {
    match progress.speech.as_ref().and_then(|speech| speech.end.as_ref()) {
        None => Finish::LENGTH,
        Some(Ending::Model) => Finish::stop(None),
        Some(Ending::Stop(text)) => Finish::stop(Some(text.clone())),
    }
}

/// Why a request that ended did not end well.
pub(super) fn refusal(progress: &Progress) -> Option<ApiError> {
    Some(match progress.end? {
        End::Finished => return None,
        End::Stopped => ApiError::stopping(),
        End::Lost => ApiError::lost(),
        End::Refused(Refusal::NoWorker) => ApiError::no_worker(),
        End::Refused(Refusal::Overflow { status }) => ApiError::overflow(status),
        End::Refused(Refusal::Worker(Refused::TooLong { tokens, max_model_len })) => {
            too_long(u64::from(max_model_len.0), tokens)
        }
        End::Refused(Refusal::Worker(Refused::Empty)) => ApiError::bad("The prompt must not be empty."),
    })
}

/// The error for a request beyond the context length, with both numbers.
pub(super) fn too_long(max_model_len: u64, tokens: u64) -> ApiError {
    ApiError::bad(format!(
        "This model's maximum context length is {max_model_len} tokens. However, you requested {tokens} tokens (prompt and completion together). Please reduce the length of the prompt or completion."
    ))
}

/// Says what the first reply found in the cache, where that is known.
pub(super) fn add_cached(headers: &mut HeaderMap, all: &[Progress]) {
    if let Some(cached) = all.first().and_then(|first| first.cached) {
        headers.insert(HeaderName::from_static("x-podlab-cached-tokens"), HeaderValue::from(cached.0));
    }
}
