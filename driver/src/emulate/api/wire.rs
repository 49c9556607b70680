//! The bodies and events of the wire, field by field as vLLM's are.

use crate::emulate::parts::Detail;
use crate::http::error::event;
use axum::body::Bytes;
use kvcache::Tokens;
use router::Api;
use serde::Serialize;

/// The event that ends a stream which told all.
pub(super) const DONE: &str = "data: [DONE]\n\n";

/// Why a reply ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finish {
    reason: &'static str,
    stop: Option<String>,
}

impl Finish {
    /// It has as many tokens as were asked for: so each ends where no model speaks.
    pub(super) const LENGTH: Self = Self { reason: "length", stop: None };

    /// It ended by itself, perhaps at a text that was to end it.
    pub(super) const fn stop(at: Option<String>) -> Self {
        Self { reason: "stop", stop: at }
    }
}

/// What all bodies of one response have in common.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) api: Api,
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
    completion_tokens: u64,
    prompt_tokens_details: Details,
    #[serde(skip_serializing_if = "Option::is_none")]
    podlab: Option<Detail>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Details {
    cached_tokens: u64,
}

impl Usage {
    pub(super) fn new(prompt: u64, completion: u64, cached: u64) -> Self {
        Self {
            prompt_tokens: prompt,
            total_tokens: prompt + completion,
            completion_tokens: completion,
            prompt_tokens_details: Details { cached_tokens: cached },
            podlab: None,
        }
    }

    /// The same, with what podlab has to tell beside it.
    pub(super) fn with_detail(self, podlab: Option<Detail>) -> Self {
        Self { podlab, ..self }
    }
}

#[derive(Serialize)]
struct Body<'a, C> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [C],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
struct ChatChunk<'a> {
    index: usize,
    delta: Delta<'a>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    content: &'a str,
}

#[derive(Serialize)]
struct ChatChoice<'a> {
    index: usize,
    message: Message<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
    stop_reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct TextChoice<'a> {
    index: usize,
    text: &'a str,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
    stop_reason: Option<&'a str>,
}

impl Head {
    fn body<'a, C>(&'a self, object: &'static str, choices: &'a [C], usage: Option<Usage>) -> Body<'a, C> {
        Body { id: &self.id, object, created: self.created, model: &self.model, choices, usage }
    }

    const fn chunk_object(&self) -> &'static str {
        match self.api {
            Api::Chat => "chat.completion.chunk",
            Api::Completions => "text_completion",
        }
    }

    /// The event with which a choice of a chat begins; completions have none.
    pub(super) fn role_event(&self, index: usize) -> Option<String> {
        let delta = Delta { role: Some("assistant"), content: "" };
        let choice = ChatChunk { index, delta, logprobs: None, finish_reason: None, stop_reason: None };
        (self.api == Api::Chat).then(|| event(&self.body(self.chunk_object(), &[choice], None)))
    }

    /// The event of one token; `finish` says why the choice ends with it, if it does.
    pub(super) fn token_event(&self, index: usize, text: &str, finish: Option<&Finish>) -> String {
        let (object, finish_reason) = (self.chunk_object(), finish.map(|finish| finish.reason));
        let stop_reason = finish.and_then(|finish| finish.stop.as_deref());
        match self.api {
            Api::Chat => {
                let delta = Delta { role: None, content: text };
                event(&self.body(
                    object,
                    &[ChatChunk { index, delta, logprobs: None, finish_reason, stop_reason }],
                    None,
                ))
            }
            Api::Completions => {
                let choice = TextChoice { index, text, logprobs: None, finish_reason, stop_reason };
                event(&self.body(object, &[choice], None))
            }
        }
    }

    /// The event that tells what was used, with no choice in it.
    pub(super) fn usage_event(&self, usage: Usage) -> String {
        event(&self.body::<ChatChunk<'_>>(self.chunk_object(), &[], Some(usage)))
    }

    /// The whole response: the text of each choice, and why it ended.
    pub(super) fn whole(&self, texts: &[(String, Finish)], usage: Usage) -> Bytes {
        let texts = texts.iter().enumerate();
        let json = match self.api {
            Api::Chat => {
                let choices: Vec<_> = texts
                    .map(|(index, (content, finish))| ChatChoice {
                        index,
                        message: Message { role: "assistant", content },
                        logprobs: None,
                        finish_reason: finish.reason,
                        stop_reason: finish.stop.as_deref(),
                    })
                    .collect();
                serde_json::to_vec(&self.body("chat.completion", &choices, Some(usage)))
            }
            Api::Completions => {
                let choices: Vec<_> = texts
                    .map(|(index, (text, finish))| TextChoice {
                        index,
                        text,
                        logprobs: None,
                        finish_reason: Some(finish.reason),
                        stop_reason: finish.stop.as_deref(),
                    })
                    .collect();
                serde_json::to_vec(&self.body("text_completion", &choices, Some(usage)))
            }
        };
        Bytes::from(json.unwrap_or_default())
    }
}

/// What `/v1/models` lists.
pub(super) fn models(names: &[String], created: u64, max_model_len: Tokens) -> serde_json::Value {
    let card = |name: &String| {
        serde_json::json!({
            "id": name, "object": "model", "created": created, "owned_by": "podlab", "root": names.first(),
            "parent": null, "max_model_len": max_model_len.0,
        })
    };
    serde_json::json!({ "object": "list", "data": names.iter().map(card).collect::<Vec<_>>() })
}
