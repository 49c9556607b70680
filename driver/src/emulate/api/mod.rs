//! The OpenAI-compatible wire, with vLLM's behaviour where that is known.

use super::executor::Prompt;
use super::progress::{Entrance, Submission};
use super::settings::Settings;
use super::tokens::{Content, Cutter};
use crate::http::door::{Phase, over};
use crate::http::error::{ApiError, with_refusals};
use crate::http::fields::Fields;
use crate::http::prompt::by_shape;
use crate::http::sagemaker::unix_seconds;
use crate::http::{body, decision, sagemaker, session};
use ask::Ask;
use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use kvcache::{SessionId, Tokens};
use reply::Reply;
use router::Api;
use sim::replica::EngineConfig;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::timeout;
use wire::Head;

mod ask; // what a body asks for
mod tokens; // a prompt's tokens, and nothing computed
mod reply; // what it gets
mod stream; // token by token
mod wire; // in which words

/// Tokens of a completion that does not say how many, as in vLLM.
const COMPLETION_TOKENS: Tokens = Tokens(16);

/// All that a handler needs.
#[derive(Debug)]
pub(super) struct Endpoint {
    settings: Settings,
    cutter: Cutter,
    max_model_len: Tokens,
    tiers_known: [bool; 3],
    entrance: Entrance,
    phase: watch::Receiver<Phase>,
    created: u64,
}

impl Endpoint {
    /// `tiers_known`: of which tiers the router knows what workers have there.
    pub(super) fn new(
        settings: &Settings,
        engine: &EngineConfig,
        tiers_known: [bool; 3],
        entrance: Entrance,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        let model = settings.models.first().map_or("", String::as_str);
        Self {
            cutter: Cutter::new(model, engine.cache.block, settings.chars_per_token),
            settings: settings.clone(),
            max_model_len: engine.max_model_len,
            tiers_known,
            entrance,
            phase,
            created: unix_seconds(),
        }
    }
}

/// The paths that are served; everything else is an error in the same words.
pub(super) fn routes(endpoint: Arc<Endpoint>) -> Router {
    let front = sagemaker::Front {
        callers: endpoint.settings.callers.clone(),
        endpoints: endpoint.settings.endpoints.clone(),
        body_timeout: endpoint.settings.body_timeout,
        phase: endpoint.phase.clone(),
    };
    let container = Router::new().route("/invocations", post(invocations)).with_state(endpoint.clone());
    let paths = Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route("/invocations", post(invocations))
        .route("/v1/models", get(models))
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/v1/chat/completions/render", post(tokens::render_chat))
        .route("/v1/completions/render", post(tokens::render_completions))
        .route("/tokenize", post(tokens::tokenize))
        .route("/ping", get(health).post(health));
    with_refusals(paths).with_state(endpoint).merge(sagemaker::routes(front, container))
}

async fn health(State(endpoint): State<Arc<Endpoint>>) -> Response {
    if endpoint.is_ready() { StatusCode::OK.into_response() } else { ApiError::stopping().into_response() }
}

async fn metrics(State(endpoint): State<Arc<Endpoint>>) -> Response {
    let model = endpoint.settings.models.first().map_or("", String::as_str);
    let kind = (CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    ([kind], endpoint.entrance.metrics(model)).into_response()
}

async fn models(State(endpoint): State<Arc<Endpoint>>) -> Response {
    Json(wire::models(&endpoint.settings.models, endpoint.created, endpoint.max_model_len)).into_response()
}

async fn chat(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Result<Response, ApiError> {
    endpoint.answer(request, |_| Ok(Api::Chat)).await
}

async fn completions(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Result<Response, ApiError> {
    endpoint.answer(request, |_| Ok(Api::Completions)).await
}

/// SageMaker's one path for everything: the body tells which API it is meant for.
async fn invocations(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Result<Response, ApiError> {
    endpoint.answer(request, by_shape).await
}

impl Endpoint {
    fn is_ready(&self) -> bool {
        *self.phase.borrow() == Phase::Serving
    }

    async fn answer(
        &self,
        request: Request,
        api: impl FnOnce(&Fields) -> Result<Api, ApiError>,
    ) -> Result<Response, ApiError> {
        if !self.is_ready() {
            return Err(ApiError::stopping());
        }
        let (headers, fields) = self.read(request).await?;
        let ask = self.ask(api(&fields)?, fields)?;
        let key = self.settings.session_key.as_deref();
        let session = session::in_headers(key, &headers).or(ask.session.as_deref()).map(session::id);
        let submissions = self.submissions(&ask, session)?;
        let (stream, reply) = (ask.stream, self.submit(ask, submissions)?);
        let mut phase = self.phase.clone();
        tokio::select! {
            response = self.respond(reply, stream) => response,
            () = over(&mut phase) => Err(ApiError::stopping()),
        }
    }

    /// The head of a request, and the fields of its body.
    async fn read(&self, request: Request) -> Result<(HeaderMap, Fields), ApiError> {
        let (parts, body) = request.into_parts();
        let (limit, patience) = (self.settings.body_limit, self.settings.body_timeout);
        let body = timeout(patience, body::read(&parts.headers, body, limit)).await;
        let fields = Fields::parse(&body.map_err(|_| ApiError::too_slow())??)?;
        Ok((parts.headers, fields))
    }

    fn ask(&self, api: Api, fields: Fields) -> Result<Ask, ApiError> {
        Ask::parse(api, fields, self.settings.session_key.as_deref(), self.settings.language.as_deref())
    }

    /// The engine's requests: `n` for each prompt.
    fn submissions(&self, ask: &Ask, session: Option<SessionId>) -> Result<Vec<Submission>, ApiError> {
        let output = self.checked(ask)?;
        let mut submissions = Vec::with_capacity(ask.prompts.len() * ask.n as usize);
        for prompt in &ask.prompts {
            let pieces = self.cutter.cut_for(prompt, &ask.salt);
            // Nobody else finds what is salted, and what names its blocks to others is their tokens alone.
            let is_told = self.settings.feed.is_some() && !ask.is_salted;
            let tokens = is_told.then(|| Arc::from(self.cutter.ids(prompt)));
            let submission = Submission { pieces, output, session, api: ask.api, asked: None, tokens };
            let asked = self.asked(ask, prompt);
            submissions.extend((0..ask.n).map(|choice| {
                let asked = asked.clone().map(|asked| asked.choice(choice));
                Submission { asked, ..submission.clone() }
            }));
        }
        Ok(submissions)
    }

    /// What workers are to compute for the first reply to a prompt, where they do.
    fn asked(&self, ask: &Ask, prompt: &Content) -> Option<Prompt> {
        let (Some(_), Content::Ids(tokens)) = (&self.settings.language, prompt) else { return None };
        let names = Some(self.cutter.names(tokens, &ask.salt));
        Some(Prompt { tokens: tokens.clone(), sampling: ask.sampling, stops: ask.stops.clone(), names })
    }

    /// How many tokens to emit for a request that this endpoint takes.
    fn checked(&self, ask: &Ask) -> Result<Tokens, ApiError> {
        match ask.model.as_ref().filter(|name| !self.settings.models.contains(name)) {
            Some(name) => Err(ApiError::no_model(name)),
            None => self.output(ask),
        }
    }

    /// How many tokens to emit. A default gives way to the context length; a wish beyond it is refused.
    fn output(&self, ask: &Ask) -> Result<Tokens, ApiError> {
        let longest = ask.prompts.iter().map(|prompt| self.cutter.count(prompt)).max().unwrap_or_default();
        let room = self.max_model_len.saturating_sub(longest);
        let default = match ask.api {
            Api::Chat => self.settings.chat_max_tokens,
            Api::Completions => COMPLETION_TOKENS,
        };
        let output = ask.max_tokens.unwrap_or(default.min(room).max(Tokens(1)));
        if output > room {
            let (limit, asked) = (u64::from(self.max_model_len.0), u64::from(longest.0) + u64::from(output.0));
            return Err(reply::too_long(limit, asked));
        }
        Ok(output)
    }

    fn submit(&self, ask: Ask, submissions: Vec<Submission>) -> Result<Reply, ApiError> {
        let n = ask.n as usize;
        let prompts = submissions.iter().step_by(n).map(Submission::prompt).collect();
        let output = submissions.first().map_or(Tokens::ZERO, |first| first.output);
        let ticket = self.entrance.submit(submissions).map_err(|_| ApiError::stopping())?;
        let kind = match ask.api {
            Api::Chat => "chatcmpl",
            Api::Completions => "cmpl",
        };
        let head = Head {
            api: ask.api,
            // Ours, whatever the client calls its request: the number by which the engine knows its first reply.
            id: format!("{kind}-{}", ticket.numbers().start),
            created: unix_seconds(),
            model: self.settings.models.first().cloned().unwrap_or_default(),
        };
        let (include_usage, seed) = (ask.include_usage, self.settings.seed);
        Ok(Reply { head, ticket, n, prompts, output, include_usage, seed })
    }

    async fn respond(&self, mut reply: Reply, stream: bool) -> Result<Response, ApiError> {
        // The head can say where the request went, so it waits for that.
        let routed = reply.ticket.until(|one| one.decision.is_some() || one.end.is_some()).await;
        let all = routed.map_err(|_| ApiError::stopping())?;
        if let Some(error) = all.iter().find_map(reply::refusal) {
            return Err(error);
        }
        let id = HeaderValue::from_str(&reply.head.id).ok();
        let mut response = if stream { stream::respond(reply, self.phase.clone()) } else { reply.whole().await? };
        let headers = response.headers_mut();
        headers.extend(id.map(|id| (HeaderName::from_static("x-request-id"), id)));
        // Of several replies it tells about the first.
        let first = all.first().and_then(|first| first.decision.as_ref());
        decision::add(headers, self.settings.strategy, self.tiers_known, first);
        if stream {
            reply::add_cached(headers, &all);
        }
        Ok(response)
    }
}
