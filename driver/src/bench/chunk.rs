//! What an event of an OpenAI-compatible stream says, or a whole response: only what a measurement needs.
//!
//! Read without a tree: fields that nobody asks for are skipped, texts are borrowed where they have no escapes.

use crate::emulate::parts::Detail;
use serde::de::{Deserializer, IgnoredAny, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// The data of the event that ends a stream.
pub const DONE: &[u8] = b"[DONE]";

/// Tokens as the server counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: u64,
    /// Of the reply.
    pub completion_tokens: u64,
    /// Of the prompt, those found in a cache; `None`: the server does not say, which is not zero.
    pub cached_tokens: Option<u64>,
    /// What podlab's own servers tell beside it.
    pub detail: Detail,
}

/// An event, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chunk<'a> {
    /// The answer's text.
    pub answer: Cow<'a, str>,
    /// Whether there is any content: answer, reasoning or tool calls.
    pub has_content: bool,
    /// Whether a choice says why it ends.
    pub finished: bool,
    /// What was used.
    pub usage: Option<Usage>,
    /// The server's complaint.
    pub error: Option<String>,
}

impl<'a> Chunk<'a> {
    /// Reads an event's data, or a whole response.
    ///
    /// # Errors
    /// Where it is no JSON object of that shape.
    pub fn parse(data: &'a [u8]) -> Result<Self, serde_json::Error> {
        let body: Body<'a> = serde_json::from_slice(data)?;
        let mut chunk = Chunk {
            usage: body.usage.map(Usage::from),
            error: body.error.map(|error| error.said()).or_else(|| complaint(body.object, body.message)),
            ..Chunk::default()
        };
        for choice in body.choices.unwrap_or_default() {
            let delta = choice.delta.or(choice.message).unwrap_or_default();
            let reasoning = !delta.reasoning.0.is_empty() || !delta.reasoning_content.0.is_empty();
            let answer = if delta.content.0.is_empty() { choice.text.0 } else { delta.content.0 };
            chunk.has_content |= !answer.is_empty() || reasoning || delta.tool_calls.is_some_and(|calls| calls.0);
            chunk.finished |= choice.finish_reason.is_some();
            if chunk.answer.is_empty() {
                chunk.answer = answer;
            }
        }
        Ok(chunk)
    }
}

/// Errors of older servers: `{"object": "error", "message": ..}`.
fn complaint(object: Text<'_>, message: Text<'_>) -> Option<String> {
    (object.0 == "error").then(|| message.0.into_owned())
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<WireUsage>,
    #[serde(borrow)]
    error: Option<WireError<'a>>,
    #[serde(borrow, default)]
    object: Text<'a>,
    #[serde(borrow, default)]
    message: Text<'a>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    message: Option<Delta<'a>>,
    #[serde(borrow, default)]
    text: Text<'a>,
    finish_reason: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Text<'a>,
    #[serde(borrow, default)]
    reasoning: Text<'a>,
    #[serde(borrow, default)]
    reasoning_content: Text<'a>,
    tool_calls: Option<NotEmpty>,
}

#[derive(Deserialize)]
struct WireUsage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    prompt_tokens_details: Option<Details>,
    #[serde(default)]
    podlab: Option<Lenient>,
}

/// What others mean by that name is no error.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lenient {
    Detail(Detail),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            cached_tokens: usage.prompt_tokens_details.and_then(|details| details.cached_tokens),
            detail: match usage.podlab {
                Some(Lenient::Detail(detail)) => detail,
                _ => Detail::default(),
            },
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireError<'a> {
    Object {
        #[serde(borrow)]
        message: Text<'a>,
    },
    Text(#[serde(borrow)] Cow<'a, str>),
    Other(IgnoredAny),
}

impl WireError<'_> {
    fn said(self) -> String {
        match self {
            Self::Object { message } => message.0.into_owned(),
            Self::Text(text) => text.into_owned(),
            Self::Other(IgnoredAny) => "an error without a message".to_owned(),
        }
    }
}

/// A text, borrowed where it can be. Null is an empty one, and so is what is no text.
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
            fn visit_bool<E>(self, _: bool) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
            fn visit_i64<E>(self, _: i64) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
            fn visit_u64<E>(self, _: u64) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
            fn visit_f64<E>(self, _: f64) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Text<'de>, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Text::default())
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut entries: A) -> Result<Text<'de>, A::Error> {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Text::default())
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// Whether a list has anything in it.
struct NotEmpty(bool);

impl<'de> Deserialize<'de> for NotEmpty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = Vec::<IgnoredAny>::deserialize(deserializer)?;
        Ok(Self(!items.is_empty()))
    }
}
