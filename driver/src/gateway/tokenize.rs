//! From prompts to the tokens that workers name their blocks by. Ids are taken as they are; text is put to a worker's `/tokenize`,
//! which knows its template and its vocabulary.

use super::forward::Gateway;
use crate::http::fields::Fields;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Method};
use http_body_util::{BodyExt, Limited};
use kvcache::{Piece, Tokens};
use router::{Api, TokenHasher};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::time::timeout;

/// A worker that takes longer is not waited for: the request goes by what else is known.
const PATIENCE: Duration = Duration::from_secs(1);
/// More bytes than the tokens of any prompt take.
const LIMIT: usize = 32 << 20;
/// Of a chat, what decides which text its template makes.
const CHAT: [&str; 7] = [
    "model",
    "messages",
    "tools",
    "chat_template",
    "chat_template_kwargs",
    "add_generation_prompt",
    "continue_final_message",
];

#[derive(Deserialize)]
struct Told {
    tokens: Vec<u32>,
}

/// The pieces of tokens: one for each full block, by which workers name it, and the rest, which nobody stores.
fn cut(tokens: &[u32], block: Tokens) -> Vec<Piece> {
    let mut pieces = TokenHasher::new(block, 0).pieces(tokens).to_vec();
    let end = Tokens(u32::try_from(tokens.len()).unwrap_or(u32::MAX));
    let last = pieces.last().copied();
    let before = last.map_or(Tokens::ZERO, |piece| piece.end);
    if before < end {
        let rest = TokenHasher::new(end - before, 0).pieces_after(last, &tokens[before.0 as usize..]).to_vec();
        pieces.extend(rest);
    }
    pieces
}

impl Gateway {
    /// The pieces of a prompt, as workers' events name them; none where its tokens cannot be had.
    pub(super) async fn pieces(&self, api: Api, fields: &Fields, block: Tokens) -> Vec<Piece> {
        let tokens = match (api, fields.get("prompt")) {
            (Api::Completions, Some(Value::Array(ids))) if ids.first().is_some_and(Value::is_number) => {
                ids.iter().map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok())).collect()
            }
            (Api::Completions, Some(Value::String(_))) => self.tokenize(fields, &["model", "prompt"]).await,
            (Api::Chat, _) => self.tokenize(fields, &CHAT).await,
            _ => None,
        };
        self.dispatch.meters.tokenized(tokens.is_some());
        // Whoever has a salt shares with nobody: engines name its blocks by it.
        match tokens {
            Some(tokens) if fields.get("cache_salt").is_none() => cut(&tokens, block),
            _ => Vec::new(),
        }
    }

    async fn tokenize(&self, fields: &Fields, names: &[&str]) -> Option<Vec<u32>> {
        let asked: Map<String, Value> =
            names.iter().filter_map(|name| Some(((*name).to_owned(), fields.get(name)?.clone()))).collect();
        let body = Bytes::from(serde_json::to_vec(&asked).ok()?);
        let worker = self.dispatch.anybody()?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let headers = self.upstream.passed_on(headers);
        let answer = async {
            let response = self.upstream.send(worker, Method::POST, "/tokenize", headers, body).await.ok()?;
            let is_good = response.status().is_success();
            let body = Limited::new(response.into_body(), LIMIT).collect().await.ok()?.to_bytes();
            is_good.then_some(body)
        };
        let body = timeout(PATIENCE, answer).await.ok()??;
        serde_json::from_slice::<Told>(&body).ok().map(|told| told.tokens)
    }
}
