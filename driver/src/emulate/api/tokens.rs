//! A prompt's tokens, for routers that name blocks by them. Nothing is computed.

use super::Endpoint;
use crate::emulate::tokens::Content;
use crate::http::error::ApiError;
use crate::http::fields::Fields;
use crate::http::prompt::{self, by_shape};
use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use router::Api;
use serde_json::{Value, json};
use std::sync::Arc;

/// The tokens of a prompt or a chat, as vLLM's: `{"count", "max_model_len", "tokens"}`.
pub(super) async fn tokenize(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Result<Response, ApiError> {
    let (_, fields) = endpoint.read(request).await?;
    let tokens = endpoint.tokens(fields)?;
    let told = json!({"count": tokens.len(), "max_model_len": endpoint.max_model_len.0, "tokens": tokens});
    Ok(Json(told).into_response())
}

/// What would be computed for a completion: one for each prompt.
pub(super) async fn render_completions(
    State(endpoint): State<Arc<Endpoint>>,
    request: Request,
) -> Result<Response, ApiError> {
    Ok(Json(endpoint.render(Api::Completions, request).await?).into_response())
}

/// What would be computed for a chat.
pub(super) async fn render_chat(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Result<Response, ApiError> {
    let rendered = endpoint.render(Api::Chat, request).await?;
    Ok(Json(rendered.into_iter().next()).into_response())
}

impl Endpoint {
    fn tokens(&self, mut fields: Fields) -> Result<Vec<u32>, ApiError> {
        let language = self.settings.language.as_deref().unwrap_or(&self.cutter);
        match by_shape(&fields)? {
            Api::Chat => {
                let tokens = language.chat(&prompt::chat(fields.take("messages"))?);
                tokens.map_err(|error| ApiError::field("messages", error))
            }
            Api::Completions => match prompt::completions(fields.take("prompt"))?.as_slice() {
                [one] => language.prompt(one).map_err(|error| ApiError::field("prompt", error)),
                _ => Err(ApiError::field("prompt", "`prompt` must be one prompt.")),
            },
        }
    }

    /// A request as the engine would take it, with all that could be wrong with it: vLLM's `GenerateRequest` of each prompt, as
    /// far as podlab has its fields.
    async fn render(&self, api: Api, request: Request) -> Result<Vec<Value>, ApiError> {
        let (_, fields) = self.read(request).await?;
        let salt = fields.get("cache_salt").cloned();
        let ask = self.ask(api, fields)?;
        let output = self.checked(&ask)?;
        let model = self.settings.models.first();
        let one = |content: &Content| {
            json!({
                "token_ids": self.cutter.ids(content),
                "model": ask.model.as_ref().or(model),
                "stream": ask.stream,
                "cache_salt": salt,
                "sampling_params": {
                    "n": ask.n,
                    "max_tokens": output.0,
                    "temperature": ask.sampling.temperature,
                    "top_p": ask.sampling.top_p,
                    "seed": ask.sampling.seed,
                    "stop": ask.stops,
                },
            })
        };
        Ok(ask.prompts.iter().map(one).collect())
    }
}
