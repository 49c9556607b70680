//! What a prompt or a reply is, as far as a log tells.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Text, or the tokens themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// As it was sent.
    Text(String),
    /// As the engine saw it.
    Tokens(Vec<u32>),
}

impl Content {
    /// How long it is: characters or tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.chars().count(),
            Self::Tokens(tokens) => tokens.len(),
        }
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `prompt` of a completion: a string, or tokens. Of a list of prompts, which are as many requests, `None`.
    pub(super) fn of_prompt(prompt: &Value) -> Option<Self> {
        match prompt {
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Array(parts) => match parts.as_slice() {
                [Value::String(text)] => Some(Self::Text(text.clone())),
                [Value::Array(tokens)] => Self::of_tokens(tokens),
                tokens => Self::of_tokens(tokens),
            },
            _ => None,
        }
    }

    fn of_tokens(tokens: &[Value]) -> Option<Self> {
        let token = |value: &Value| value.as_u64().and_then(|token| u32::try_from(token).ok());
        tokens.iter().map(token).collect::<Option<Vec<_>>>().map(Self::Tokens)
    }

    /// The messages of a chat, one behind the other, so that the next turn begins with all of it; tools come first, as in
    /// templates.
    pub(super) fn of_chat(messages: &[Value], tools: Option<&Value>) -> Self {
        let mut text = String::new();
        if let Some(tools) = tools.filter(|tools| !tools.is_null()) {
            text.push_str(&tools.to_string());
        }
        for message in messages {
            let role = message["role"].as_str().unwrap_or_default();
            text.push_str(&format!("\n<{role}>\n"));
            text.push_str(&words(&message["content"]));
            for extra in ["tool_calls", "tool_call_id", "name"] {
                if let Some(value) = message.get(extra).filter(|value| !value.is_null()) {
                    text.push_str(&value.to_string());
                }
            }
        }
        Self::Text(text)
    }
}

/// The text of a message: a string, or parts, of which some may be no text.
pub(super) fn words(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().map(|part| part["text"].as_str().map_or_else(|| digest(part), str::to_owned)).collect()
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// What stands for an image or the like, which may take megabytes as text and few tokens.
fn digest(part: &Value) -> String {
    let hash = Sha256::digest(part.to_string());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
