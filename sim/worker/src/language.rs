//! Text to tokens and back, from the model's own files.

use crate::model::Unreadable;
use crate::template::Template;
use crate::vocabulary;
use candle_core::quantized::gguf_file::{Content, Value};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tokenizers::{Tokenizer, step_decode_stream};

pub use crate::template::{Message, Next, Unrenderable};

/// The token of the model without files that ends a text: the one behind 256 bytes.
const END_OF_BYTES: u32 = 256;

/// A tokenizer, the tokens that end a reply, and how a chat becomes a prompt.
#[derive(Clone, Debug)]
pub struct Language {
    kind: Kind,
    ends: BTreeSet<u32>,
    template: Template,
}

#[derive(Clone, Debug)]
enum Kind {
    /// A token is a byte.
    Bytes,
    Tokenizer(Arc<Tokenizer>),
}

impl Language {
    /// A token per byte.
    #[must_use]
    pub fn bytes() -> Self {
        let ends = BTreeSet::from([END_OF_BYTES]);
        Self { kind: Kind::Bytes, ends, template: Template::default() }
    }

    /// What a GGUF file says.
    ///
    /// # Errors
    /// Where it has no tokenizer, or one that is not known.
    pub fn from_gguf(content: &Content) -> Result<Self, Unreadable> {
        let tokenizer = vocabulary::tokenizer(content)?;
        let text = |key: &str| content.metadata.get(key).and_then(|value| value.to_string().ok().cloned());
        let id = |key: &str| content.metadata.get(key).and_then(|value: &Value| value.to_u32().ok());
        let spoken = |id: Option<u32>| id.and_then(|id| tokenizer.id_to_token(id)).unwrap_or_default();
        let (bos, eos) = (id("tokenizer.ggml.bos_token_id"), id("tokenizer.ggml.eos_token_id"));
        let mut ends = vocabulary::ends(&tokenizer);
        ends.extend([eos, id("tokenizer.ggml.eot_token_id")].into_iter().flatten());
        let template = Template { source: text("tokenizer.chat_template"), bos: spoken(bos), eos: spoken(eos) };
        Ok(Self { kind: Kind::Tokenizer(Arc::new(tokenizer)), ends, template })
    }

    /// What `tokenizer.json` and the files beside it say.
    ///
    /// # Errors
    /// Where that is not there or not understood.
    pub fn from_folder(folder: &Path) -> Result<Self, Unreadable> {
        let path = folder.join("tokenizer.json");
        let bytes = std::fs::read(&path).map_err(|error| Unreadable::File { path: path.clone(), error })?;
        let tokenizer = Tokenizer::from_bytes(bytes)
            .map_err(|error| Unreadable::Unsupported(format!("{}: {error}", path.display())))?;
        let json = |name: &str| -> Result<serde_json::Value, Unreadable> {
            let path = folder.join(name);
            let text = match std::fs::read(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(serde_json::Value::Null),
                Err(error) => return Err(Unreadable::File { path, error }),
            };
            serde_json::from_slice(&text)
                .map_err(|error| Unreadable::Unsupported(format!("{}: {error}", path.display())))
        };
        let mut ends = BTreeSet::new();
        for file in ["generation_config.json", "config.json"] {
            match &json(file)?["eos_token_id"] {
                serde_json::Value::Array(ids) => {
                    ends.extend(ids.iter().filter_map(serde_json::Value::as_u64).map(|id| id as u32));
                }
                id => ends.extend(id.as_u64().map(|id| id as u32)),
            }
        }
        let config = json("tokenizer_config.json")?;
        let named = |key: &str| match &config[key] {
            serde_json::Value::String(name) => name.clone(),
            other => other["content"].as_str().unwrap_or_default().to_owned(),
        };
        let (bos, eos) = (named("bos_token"), named("eos_token"));
        ends.extend(tokenizer.token_to_id(&eos));
        let beside = std::fs::read_to_string(folder.join("chat_template.jinja")).ok();
        let source = beside.or_else(|| chat_template(&config["chat_template"]));
        Ok(Self { kind: Kind::Tokenizer(Arc::new(tokenizer)), ends, template: Template { source, bos, eos } })
    }

    /// The tokens of a text. `begin`: with what the model wants before a text; a chat's template has put that there.
    #[must_use]
    pub fn encode(&self, text: &str, begin: bool) -> Vec<u32> {
        match &self.kind {
            Kind::Bytes => text.bytes().map(u32::from).collect(),
            Kind::Tokenizer(tokenizer) => {
                // Byte-level vocabularies have a token for every byte: nothing cannot be said.
                tokenizer.encode(text, begin).map(|encoding| encoding.get_ids().to_vec()).unwrap_or_default()
            }
        }
    }

    /// The text of tokens, special ones left out.
    #[must_use]
    pub fn decode(&self, tokens: &[u32]) -> String {
        match &self.kind {
            Kind::Bytes => {
                let bytes: Vec<u8> = tokens.iter().filter_map(|token| u8::try_from(*token).ok()).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            Kind::Tokenizer(tokenizer) => tokenizer.decode(tokens, true).unwrap_or_default(),
        }
    }

    /// Whether a token ends a reply.
    #[must_use]
    pub fn ends(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// The prompt that a chat is, by the model's own template.
    ///
    /// # Errors
    /// Where the template cannot be read, or refuses the chat.
    pub fn chat(&self, messages: &[Message], next: Next) -> Result<String, Unrenderable> {
        self.template.render(messages, next)
    }
}

/// The template for chats: the only one, or of several by name the one called `default`.
fn chat_template(value: &serde_json::Value) -> Option<String> {
    let of_several = || value.as_array()?.iter().find(|one| one["name"] == "default")?["template"].as_str();
    value.as_str().or_else(of_several).map(str::to_owned)
}

/// A reply as it is spoken: tokens become text as soon as that is whole, and end where a text says so.
#[derive(Clone, Debug)]
pub struct Speech {
    language: Language,
    stops: Vec<String>,
    /// Bytes of a character that is not whole.
    bytes: Vec<u8>,
    ids: Vec<u32>,
    prefix: String,
    prefix_index: usize,
    /// Text that may turn out to begin a stop.
    held: String,
}

/// What a token adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    /// Text; may be empty.
    pub text: String,
    /// Why the reply ends with it.
    pub end: Option<Ending>,
}

/// Why a reply ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The model ended it.
    Model,
    /// This text was to end it.
    Stop(String),
}

impl Speech {
    /// Nothing said yet. Empty stops stop nothing.
    #[must_use]
    pub fn new(language: Language, mut stops: Vec<String>) -> Self {
        stops.retain(|stop| !stop.is_empty());
        Self {
            language,
            stops,
            bytes: Vec::new(),
            ids: Vec::new(),
            prefix: String::new(),
            prefix_index: 0,
            held: String::new(),
        }
    }

    /// A further token.
    pub fn say(&mut self, token: u32) -> Spoken {
        if self.language.ends(token) {
            return Spoken { text: self.rest(), end: Some(Ending::Model) };
        }
        let text = self.whole(token);
        self.held.push_str(&text);
        let first = self.stops.iter().filter_map(|stop| Some((self.held.find(stop)?, stop))).min_by_key(|(at, _)| *at);
        if let Some((at, stop)) = first {
            let stop = stop.clone();
            self.held.truncate(at);
            return Spoken { text: std::mem::take(&mut self.held), end: Some(Ending::Stop(stop)) };
        }
        let may_begin = |at: usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[at..]));
        let kept = (0..self.held.len()).find(|at| self.held.is_char_boundary(*at) && may_begin(*at));
        let held = self.held.split_off(kept.unwrap_or(self.held.len()));
        Spoken { text: std::mem::replace(&mut self.held, held), end: None }
    }

    /// What was held back: the reply ends.
    pub fn rest(&mut self) -> String {
        let mut text = std::mem::take(&mut self.held);
        match self.language.kind {
            Kind::Bytes => text.push_str(&String::from_utf8_lossy(&std::mem::take(&mut self.bytes))),
            Kind::Tokenizer(_) => {
                let ids = std::mem::take(&mut self.ids);
                let all = self.language.decode(&ids);
                text.push_str(all.get(self.prefix.len()..).unwrap_or_default());
                (self.prefix, self.prefix_index) = (String::new(), 0);
            }
        }
        text
    }

    /// Characters that a token completes.
    fn whole(&mut self, token: u32) -> String {
        let tokenizer = match &self.language.kind {
            Kind::Tokenizer(tokenizer) => Arc::clone(tokenizer),
            Kind::Bytes => {
                self.bytes.extend(u8::try_from(token).ok());
                return whole_characters(&mut self.bytes);
            }
        };
        let Self { ids, prefix, prefix_index, .. } = self;
        let step = step_decode_stream(&tokenizer, vec![token], true, ids, prefix, prefix_index);
        step.ok().flatten().unwrap_or_default()
    }
}

/// Takes what is whole from the front; what can never become whole is replaced.
fn whole_characters(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    loop {
        match std::str::from_utf8(bytes) {
            Ok(all) => {
                text.push_str(all);
                bytes.clear();
                return text;
            }
            Err(error) => {
                let valid = error.valid_up_to();
                text.push_str(&String::from_utf8_lossy(&bytes[..valid]));
                let Some(wrong) = error.error_len() else {
                    bytes.drain(..valid);
                    return text;
                };
                text.push(char::REPLACEMENT_CHARACTER);
                bytes.drain(..valid + wrong);
            }
        }
    }
}
