//! The prompt in a body.

use super::error::ApiError;
use super::fields::{Fields, must_be};
use crate::emulate::executor::Message;
use crate::emulate::tokens::Content;
use kvcache::Salt;
use router::Api;
use serde_json::{Map, Value};

/// Renders the messages of a chat with one fixed template: each begins with its role, and the reply's role ends the
/// prompt. Chats that begin with the same messages begin with the same text.
pub(crate) fn render(messages: &[Message]) -> String {
    let mut text: String =
        messages.iter().map(|message| format!("<|{}|>\n{}\n", message.role, message.content)).collect();
    text.push_str("<|assistant|>\n");
    text
}

/// SageMaker has one path for everything: the body tells which API it is meant for.
pub(crate) fn by_shape(fields: &Fields) -> Result<Api, ApiError> {
    match (fields.get("messages"), fields.get("prompt")) {
        (Some(_), None) => Ok(Api::Chat),
        (None, Some(_)) => Ok(Api::Completions),
        _ => Err(ApiError::bad("The request body must have either `messages` or `prompt`.")),
    }
}

/// Who shares with whom: the tenant's own space, or the part of it that `cache_salt` names.
pub(crate) fn salt(fields: &Fields) -> Result<Salt, ApiError> {
    let name = "cache_salt";
    Salt::for_tenant("", fields.text(name)?).map_err(|error| ApiError::field(name, format!("`{name}`: {error}.")))
}

/// The messages of a chat.
pub(crate) fn chat(messages: Option<Value>) -> Result<Vec<Message>, ApiError> {
    let messages = match messages {
        Some(Value::Array(messages)) if !messages.is_empty() => messages,
        Some(Value::Array(_)) => return Err(ApiError::field("messages", "`messages` must not be empty.")),
        Some(other) => return Err(must_be("messages", "an array of messages", &other)),
        None => return Err(ApiError::field("messages", "`messages` is required.")),
    };
    let mut all = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        let name = format!("messages[{index}]");
        let Value::Object(message) = message else { return Err(must_be(&name, "an object", message)) };
        let role = match message.get("role") {
            Some(Value::String(role)) if !role.is_empty() => role,
            _ => return Err(ApiError::field(&name, format!("`{name}.role` must be a string that is not empty."))),
        };
        let mut content = String::new();
        push_content(&mut content, &name, message)?;
        all.push(Message { role: role.clone(), content });
    }
    Ok(all)
}

fn push_content(text: &mut String, name: &str, message: &Map<String, Value>) -> Result<(), ApiError> {
    let name = format!("{name}.content");
    match message.get("content") {
        None | Some(Value::Null) => {}
        Some(Value::String(content)) => text.push_str(content),
        Some(Value::Array(parts)) => {
            for part in parts {
                match (part.get("type").and_then(Value::as_str), part.get("text").and_then(Value::as_str)) {
                    (Some("text"), Some(part)) => text.push_str(part),
                    _ => return Err(ApiError::field(&name, format!("`{name}` may have parts of type \"text\" only."))),
                }
            }
        }
        Some(other) => return Err(must_be(&name, "a string or an array of parts", other)),
    }
    Ok(())
}

/// The prompts of a completion: a text, a list of texts, ids of tokens, or a list of such.
pub(crate) fn completions(prompt: Option<Value>) -> Result<Vec<Content>, ApiError> {
    let prompts = match prompt {
        None => return Err(ApiError::field("prompt", "`prompt` is required.")),
        Some(Value::String(text)) => vec![Content::Text(text)],
        Some(Value::Array(items)) if items.first().is_some_and(Value::is_number) => vec![ids(&items)?],
        Some(Value::Array(items)) => items.into_iter().map(one).collect::<Result<_, _>>()?,
        Some(other) => return Err(must_be("prompt", "a string or an array", &other)),
    };
    let empty = |prompt: &Content| match prompt {
        Content::Text(text) => text.is_empty(),
        Content::Ids(ids) => ids.is_empty(),
    };
    if prompts.is_empty() || prompts.iter().any(empty) {
        return Err(ApiError::field("prompt", "`prompt` must not be empty."));
    }
    Ok(prompts)
}

fn one(item: Value) -> Result<Content, ApiError> {
    match item {
        Value::String(text) => Ok(Content::Text(text)),
        Value::Array(items) => ids(&items),
        other => Err(must_be("prompt", "an array of strings or of token ids", &other)),
    }
}

fn ids(items: &[Value]) -> Result<Content, ApiError> {
    let id = |item: &Value| item.as_u64().and_then(|id| u32::try_from(id).ok());
    let wrong = |item| must_be("prompt", "token ids, whole numbers from 0", item);
    items.iter().map(|item| id(item).ok_or_else(|| wrong(item))).collect::<Result<_, _>>().map(Content::Ids)
}
