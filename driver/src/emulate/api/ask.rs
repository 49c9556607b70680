//! What a body asks for. Unknown fields are ignored, as vLLM ignores them; a known field that asks for something which
//! an emulated model cannot give is refused, since silence would be a wrong answer.

use crate::emulate::executor::{Language, Sampling};
use crate::emulate::reply;
use crate::emulate::tokens::Content;
use crate::http::error::ApiError;
use crate::http::fields::{Fields, must_be};
use crate::http::{prompt, session};
use kvcache::{Salt, Tokens};
use router::Api;
use serde_json::Value;

/// Most replies to one request.
const MOST_CHOICES: u32 = 128;

/// A valid request.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) api: Api,
    pub(super) model: Option<String>,
    /// At least one; only completions can have more.
    pub(super) prompts: Vec<Content>,
    /// Replies to each prompt.
    pub(super) n: u32,
    pub(super) max_tokens: Option<Tokens>,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    /// The user's session, where the body names one.
    pub(super) session: Option<String>,
    /// With whom it shares blocks.
    pub(super) salt: Salt,
    /// Whether the client chose that.
    pub(super) is_salted: bool,
    pub(super) sampling: Sampling,
    /// Texts at which a reply ends; none where no model speaks.
    pub(super) stops: Vec<String>,
}

/// Most texts at which a reply ends.
const MOST_STOPS: usize = 16;

impl Ask {
    /// `language`: that of the model, where one computes replies.
    pub(super) fn parse(
        api: Api,
        mut fields: Fields,
        session_key: Option<&str>,
        language: Option<&dyn Language>,
    ) -> Result<Self, ApiError> {
        let prompts = match (api, language) {
            (Api::Chat, None) => vec![Content::Text(prompt::render(&prompt::chat(fields.take("messages"))?))],
            (Api::Chat, Some(language)) => {
                let tokens = language.chat(&prompt::chat(fields.take("messages"))?);
                vec![Content::Ids(tokens.map_err(|error| ApiError::field("messages", error))?)]
            }
            (Api::Completions, None) => prompt::completions(fields.take("prompt"))?,
            (Api::Completions, Some(language)) => {
                let prompts = prompt::completions(fields.take("prompt"))?;
                let tokens = prompts.iter().map(|prompt| language.prompt(prompt).map(Content::Ids));
                tokens.collect::<Result<_, _>>().map_err(|error| ApiError::field("prompt", error))?
            }
        };
        let stream = fields.flag("stream")?;
        let stops = if language.is_some() { stops(fields.take("stop"))? } else { Vec::new() };
        refuse_unsupported(&fields)?;
        let sampling = sampling(&fields)?;
        let n = fields.whole("n", 1, MOST_CHOICES)?.unwrap_or(1);
        if prompts.len() as u64 * u64::from(n) > u64::from(MOST_CHOICES) {
            return Err(ApiError::field("n", format!("At most {MOST_CHOICES} replies to one request are supported.")));
        }
        Ok(Self {
            api,
            model: fields.text("model")?.map(str::to_owned),
            prompts,
            n,
            max_tokens: max_tokens(api, &fields)?,
            stream,
            include_usage: include_usage(&fields, stream)?,
            salt: prompt::salt(&fields)?,
            is_salted: fields.get("cache_salt").is_some(),
            session: session_key.and_then(|key| fields.get(key)).and_then(session::in_body),
            sampling,
            stops,
        })
    }
}

fn max_tokens(api: Api, fields: &Fields) -> Result<Option<Tokens>, ApiError> {
    let newer = match api {
        Api::Chat => fields.whole("max_completion_tokens", 1, u32::MAX)?,
        Api::Completions => None,
    };
    Ok(newer.or(fields.whole("max_tokens", 1, u32::MAX)?).map(Tokens))
}

fn include_usage(fields: &Fields, stream: bool) -> Result<bool, ApiError> {
    let name = "stream_options";
    let options = match fields.get(name) {
        None => return Ok(false),
        Some(Value::Object(options)) => options,
        Some(other) => return Err(must_be(name, "an object", other)),
    };
    if !stream {
        return Err(ApiError::field(name, "Stream options can only be defined when `stream=True`."));
    }
    if options.get("continuous_usage_stats").is_some_and(|value| *value == Value::Bool(true)) {
        return Err(unsupported("stream_options.continuous_usage_stats"));
    }
    match options.get("include_usage") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(include)) => Ok(*include),
        Some(other) => Err(must_be("stream_options.include_usage", "true or false", other)),
    }
}

fn unsupported(name: &str) -> ApiError {
    ApiError::field(name, format!("`{name}` is not supported by an emulated model."))
}

fn refuse_unsupported(fields: &Fields) -> Result<(), ApiError> {
    const NAMES: [&str; 22] = [
        "audio",
        "best_of",
        "echo",
        "function_call",
        "functions",
        "guided_choice",
        "guided_grammar",
        "guided_json",
        "guided_regex",
        "logprobs",
        "modalities",
        "prompt_embeds",
        "prompt_logprobs",
        "response_format",
        "stop",
        "stop_token_ids",
        "structured_outputs",
        "suffix",
        "tool_choice",
        "tools",
        "top_logprobs",
        "use_beam_search",
    ];
    for name in NAMES {
        if fields.get(name).is_some_and(|value| !changes_nothing(name, value)) {
            return Err(unsupported(name));
        }
    }
    Ok(())
}

/// Whether `value` asks for no more than leaving the field out would.
fn changes_nothing(name: &str, value: &Value) -> bool {
    match (name, value) {
        ("logprobs", Value::Number(_)) => false, // 0 asks for the token's own
        (_, Value::Bool(false)) => true,
        (_, Value::Array(items)) if items.is_empty() => true,
        ("best_of", value) => value.as_u64() == Some(1),
        ("top_logprobs", value) => value.as_u64() == Some(0),
        ("response_format", value) => value.get("type").is_some_and(|kind| kind == "text"),
        ("tool_choice" | "function_call", value) => value == "none" || value == "auto",
        ("modalities", Value::Array(items)) => items.iter().all(|item| item == "text"),
        ("suffix", Value::String(suffix)) => suffix.is_empty(),
        // A text that no reply contains never stops one.
        ("stop", Value::String(stop)) => !reply::could_contain(stop),
        ("stop", Value::Array(stops)) => {
            stops.iter().all(|stop| stop.as_str().is_some_and(|s| !reply::could_contain(s)))
        }
        _ => false,
    }
}

fn stops(stop: Option<Value>) -> Result<Vec<String>, ApiError> {
    let stops = match stop {
        None => Vec::new(),
        Some(Value::String(stop)) => vec![stop],
        Some(Value::Array(stops)) => {
            let text = |stop: Value| match stop {
                Value::String(stop) => Ok(stop),
                other => Err(must_be("stop", "a string or an array of strings", &other)),
            };
            stops.into_iter().map(text).collect::<Result<_, _>>()?
        }
        Some(other) => return Err(must_be("stop", "a string or an array of strings", &other)),
    };
    if stops.len() > MOST_STOPS {
        return Err(ApiError::field("stop", format!("At most {MOST_STOPS} stops are supported.")));
    }
    Ok(stops)
}

/// Parameters of sampling change nothing where no model speaks, but a wrong one is an error in the client that should come
/// to light.
fn sampling(fields: &Fields) -> Result<Sampling, ApiError> {
    let temperature = fields.number("temperature", 0.0, 100.0)?.unwrap_or(1.0);
    let top_p = fields.number("top_p", 0.0, 1.0)?.unwrap_or(1.0);
    fields.number("frequency_penalty", -2.0, 2.0)?;
    fields.number("presence_penalty", -2.0, 2.0)?;
    if let Some(seed) = fields.get("seed").filter(|seed| !seed.is_i64() && !seed.is_u64()) {
        return Err(must_be("seed", "a whole number", seed));
    }
    let seed = fields.get("seed").and_then(|seed| seed.as_u64().or(seed.as_i64().map(i64::cast_unsigned)));
    Ok(Sampling { seed, temperature, top_p })
}
