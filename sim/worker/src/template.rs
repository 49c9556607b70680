//! A model's own chat template: how a chat becomes a prompt.
//!
//! Rendered as Hugging Face's `apply_chat_template` renders it for a chat without tools: blocks trimmed, `tools` and
//! `documents` none, `raise_exception` there. `strftime_now` is not: templates that would tell today's date fall back on
//! the one that they were written with, so that a chat is the same prompt, and finds its blocks, on any day.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;

/// A message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Whose.
    pub role: String,
    /// What.
    pub content: String,
}

/// A chat that the model's template refuses.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unrenderable(String);

/// What follows the last message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The beginning of a reply (`add_generation_prompt`).
    Reply,
    /// Nothing.
    Nothing,
}

/// How a model puts chats.
#[derive(Clone, Debug, Default)]
pub(crate) struct Template {
    /// In Jinja. `None`: a plain one, for a model that has none.
    pub(crate) source: Option<String>,
    /// The token that begins a text, as text.
    pub(crate) bos: String,
    /// The token that ends one.
    pub(crate) eos: String,
}

impl Template {
    /// The prompt that a chat is.
    ///
    /// # Errors
    /// Where the template cannot be read, or refuses the chat: one line that says so.
    pub(crate) fn render(&self, messages: &[Message], next: Next) -> Result<String, Unrenderable> {
        let Some(source) = &self.source else { return Ok(plain(messages, next)) };
        // Errors may quote lines of the template.
        let refused = |error: Error| Unrenderable(format!("the model's chat template: {error}").replace('\n', " "));
        let rendered = environment().map_err(refused)?.render_str(
            source,
            context! {
                messages => Serde(messages),
                add_generation_prompt => next == Next::Reply,
                tools => (),
                documents => (),
                bos_token => self.bos.as_str(),
                eos_token => self.eos.as_str(),
            },
        );
        rendered.map_err(refused)
    }
}

fn plain(messages: &[Message], next: Next) -> String {
    let mut text: String =
        messages.iter().map(|message| format!("<|{}|>\n{}\n", message.role, message.content)).collect();
    if next == Next::Reply {
        text.push_str("<|assistant|>\n");
    }
    text
}

fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |text: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, text))
    });
    Ok(environment)
}
