//! Logs of requests and responses in OpenAI's format, one JSON object per line: `{"timestamp": .., "request": {..},
//! "response": {..}}`, both in one object, or as the batch API has them (`body`).

use super::content::{Content, words};
use super::{Seen, time};
use serde_json::Value;

/// Where a line may keep the request's body, and the response's.
const REQUESTS: [&str; 5] = ["request", "request_body", "body", "input", "kwargs"];
const RESPONSES: [&str; 4] = ["response", "response_body", "output", "completion"];
/// Fields of a response, where it has no place of its own.
const RESPONSE_FIELDS: [&str; 2] = ["choices", "generated_text"];
/// Of a prompt or a reply: no model takes more, and a trace has a number for each block.
const MOST_TOKENS: u32 = 16_000_000;
/// Fields that name a session.
const SESSIONS: [&str; 6] = ["session_id", "conversation_id", "session", "thread_id", "user_id", "user"];

/// The request of a line; `None` where the line is about something else.
pub(super) fn request(line: &Value, session: Option<&str>) -> Result<Option<Seen>, String> {
    let request = body(line, &REQUESTS).unwrap_or_else(|| line.clone());
    let response = body(line, &RESPONSES)
        .or_else(|| RESPONSE_FIELDS.iter().any(|name| line.get(*name).is_some()).then(|| line.clone()));
    let Some(at) = when(line, &request, response.as_ref())? else {
        return Err(format!("no field tells when the request came; podlab looks for {}", time::fields()));
    };
    seen(at, &request, response.as_ref(), line, session)
}

fn when(line: &Value, request: &Value, response: Option<&Value>) -> Result<Option<f64>, String> {
    for value in [Some(line), Some(request), response].into_iter().flatten() {
        if let Some(at) = time::of(value)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// A body, which may be a string of JSON, and may lie in a `body` of its own.
fn body(line: &Value, names: &[&str]) -> Option<Value> {
    let value = names.iter().find_map(|name| line.get(*name)).filter(|value| !value.is_null())?;
    let value = match value {
        // A reply in plain words may look like a number.
        Value::String(text) => serde_json::from_str(text).ok().filter(is_body).unwrap_or_else(|| value.clone()),
        value => value.clone(),
    };
    match value.get("body") {
        Some(inner) if inner.is_object() => Some(inner.clone()),
        _ => Some(value),
    }
}

/// An object, or a list of them.
fn is_body(value: &Value) -> bool {
    value.is_object() || value.get(0).is_some_and(Value::is_object)
}

/// What a request and its response tell.
pub(super) fn seen(
    at: f64,
    request: &Value,
    response: Option<&Value>,
    line: &Value,
    session: Option<&str>,
) -> Result<Option<Seen>, String> {
    let prompt = match (request.get("messages"), request.get("prompt").or_else(|| request.get("inputs"))) {
        (Some(Value::Array(messages)), _) => Content::of_chat(messages, request.get("tools")),
        (_, Some(prompt)) => Content::of_prompt(prompt)
            .ok_or("prompt holds several prompts, which are as many requests: write a line for each")?,
        _ => return Err("no messages, prompt or inputs: not an OpenAI-style request".to_owned()),
    };
    let events: Vec<Value> = response.map(streamed).unwrap_or_default();
    let mut places = response.into_iter().chain(events.iter().rev()).chain([line]);
    let usage = places.find_map(|value| value.get("usage").filter(|usage| usage.is_object()));
    let count = |names: [&str; 2]| -> Result<Option<u32>, String> {
        let found = usage.and_then(|usage| names.iter().find_map(|name| usage[*name].as_u64()));
        let counted = |count: u64| u32::try_from(count).ok().filter(|count| *count <= MOST_TOKENS);
        found
            .map(|count| counted(count).ok_or_else(|| format!("usage counts {count} tokens: {MOST_TOKENS} at most")))
            .transpose()
    };
    let most = ["max_tokens", "max_completion_tokens", "max_new_tokens"];
    let most = most.iter().find_map(|name| request[*name].as_u64().or_else(|| request["parameters"][*name].as_u64()));
    Ok(Some(Seen {
        at,
        prompt,
        input: count(["prompt_tokens", "input_tokens"])?,
        output: count(["completion_tokens", "output_tokens"])?,
        reply: response.and_then(|response| reply(response, &events)),
        said: response.and_then(|response| said(request, response, &events)),
        most: most.and_then(|most| u32::try_from(most).ok()),
        session: whose(&[line, request], session),
    }))
}

/// The reply's text: of choices, of a stream of events, or plain.
fn reply(response: &Value, events: &[Value]) -> Option<Content> {
    if !events.is_empty() {
        return Some(Content::Text(events.iter().map(piece).collect()));
    }
    let response = if let Value::Array(several) = response { several.first()? } else { response };
    let text = match (response, response.get("choices").and_then(|choices| choices.get(0))) {
        (Value::String(text), _) => text.clone(),
        (_, Some(choice)) => match choice.get("message") {
            Some(message) => {
                words(&message["reasoning_content"]) + &words(&message["content"]) + &words(&message["tool_calls"])
            }
            None => words(&choice["text"]),
        },
        _ => {
            words(response.get("generated_text").or_else(|| response.get("text")).or_else(|| response.get("content"))?)
        }
    };
    Some(Content::Text(text))
}

/// Prompt and reply as the next turn would begin: the conversation with the assistant's message behind it, a completion's prompt
/// with its text. What a model thought before it spoke is not repeated, so nothing behind that is known again.
fn said(request: &Value, response: &Value, events: &[Value]) -> Option<Content> {
    let response = if let Value::Array(several) = response { several.first()? } else { response };
    let choice = response.get("choices").and_then(|choices| choices.get(0));
    let Some(messages) = request["messages"].as_array() else {
        let Content::Text(prompt) = Content::of_prompt(request.get("prompt").or_else(|| request.get("inputs"))?)?
        else {
            return None;
        };
        let Some(Content::Text(reply)) = reply(response, events) else { return None };
        return Some(Content::Text(prompt + &reply));
    };
    let message = if let (Value::String(text), true) = (response, events.is_empty()) {
        serde_json::json!({ "role": "assistant", "content": text })
    } else if events.is_empty() {
        choice?.get("message")?.clone()
    } else {
        let of = |name: &str| events.iter().map(|event| words(&event["choices"][0]["delta"][name])).collect::<String>();
        let calls = events.iter().any(|event| !event["choices"][0]["delta"]["tool_calls"].is_null());
        if calls || !of("reasoning_content").is_empty() {
            return None;
        }
        serde_json::json!({ "role": "assistant", "content": of("content") })
    };
    if !words(&message["reasoning_content"]).is_empty() {
        return None;
    }
    let mut messages = messages.clone();
    messages.push(message);
    Some(Content::of_chat(&messages, request.get("tools")))
}

/// What one event adds to a reply.
fn piece(event: &Value) -> String {
    let choice = &event["choices"][0];
    let delta = &choice["delta"];
    let calls = delta["tool_calls"].as_array().into_iter().flatten();
    let arguments: String = calls.map(|call| words(&call["function"]["arguments"])).collect();
    words(&delta["reasoning_content"]) + &words(&delta["content"]) + &arguments + &words(&choice["text"])
}

/// The events of a reply that was streamed: lines that begin with `data:`; of anything else none.
fn streamed(response: &Value) -> Vec<Value> {
    let lines = response.as_str().into_iter().flat_map(str::lines);
    let data = lines.filter_map(|line| line.strip_prefix("data:")).map(str::trim);
    data.filter_map(|data| serde_json::from_str(data).ok()).filter(Value::is_object).collect()
}

fn whose(values: &[&Value], session: Option<&str>) -> Option<String> {
    let named =
        |name: &str| values.iter().find_map(|value| value.get(name).or_else(|| value.get("metadata")?.get(name)));
    let value = match session {
        Some(name) => named(name),
        None => SESSIONS.iter().find_map(|name| named(name)),
    };
    match value? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
