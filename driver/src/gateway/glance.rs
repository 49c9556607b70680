//! What a body tells of where it should go. Whether it makes sense is the worker's to say.

use crate::emulate::tokens::{Content, Cutter};
use crate::http::error::ApiError;
use crate::http::fields::Fields;
use crate::http::{prompt, session};
use axum::http::HeaderMap;
use kvcache::{Piece, SessionId};
use router::{Api, Strategy};

/// What the router is told of a request.
#[derive(Debug)]
pub(super) struct Glance {
    pub(super) api: Api,
    pub(super) session: Option<SessionId>,
    /// Its prompt; nothing where the strategy reads none, or there is none that can be read.
    pub(super) pieces: Vec<Piece>,
    /// The body, where its tokens are wanted.
    pub(super) wanted: Option<Fields>,
}

/// How bodies are looked at.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) cutter: Cutter,
    pub(super) session_key: Option<String>,
    pub(super) strategy: Strategy,
    /// Whether prompts are cut by their tokens, which somebody else must be asked for.
    pub(super) by_tokens: bool,
}

impl Reader {
    /// Looks at a body that came to `api`; `None`: the body tells.
    ///
    /// # Errors
    /// It is no JSON object, has no prompt to tell the API by, or a salt that is none.
    pub(super) fn look(&self, api: Option<Api>, headers: &HeaderMap, body: &[u8]) -> Result<Glance, ApiError> {
        let mut fields = Fields::parse(body)?;
        let api = match api {
            Some(api) => api,
            None => prompt::by_shape(&fields)?,
        };
        let key = self.session_key.as_deref();
        let named = key.and_then(|key| fields.get(key)).and_then(session::in_body);
        let session = session::in_headers(key, headers).or(named.as_deref()).map(session::id);
        let salt = prompt::salt(&fields)?;
        // HyperPod's `kvaware` tokenises the prompt of a completion alone.
        let sees = api == Api::Completions || self.strategy != Strategy::KvAware;
        if self.by_tokens && self.reads_prompts() && sees {
            return Ok(Glance { api, session, pieces: Vec::new(), wanted: Some(fields) });
        }
        let pieces = if self.reads_prompts() && !self.by_tokens {
            first(api, &mut fields).map(|content| self.cutter.cut_for(&content, &salt)).unwrap_or_default()
        } else {
            Vec::new()
        };
        Ok(Glance { api, session, pieces, wanted: None })
    }

    const fn reads_prompts(&self) -> bool {
        match self.strategy {
            Strategy::RoundRobin
            | Strategy::Session
            | Strategy::SessionPlus
            | Strategy::Random
            | Strategy::LeastLoaded
            | Strategy::TwoChoices => false,
            Strategy::PrefixAware
            | Strategy::PrefixAwarePlus
            | Strategy::KvAware
            | Strategy::KvAwarePlus
            | Strategy::PredictedTtft => true,
        }
    }
}

/// The first prompt: where there are several, all go the same way.
fn first(api: Api, fields: &mut Fields) -> Option<Content> {
    match api {
        Api::Chat => {
            let messages = prompt::chat(fields.take("messages")).ok()?;
            Some(Content::Text(prompt::render(&messages)))
        }
        Api::Completions => prompt::completions(fields.take("prompt")).ok()?.into_iter().next(),
    }
}
