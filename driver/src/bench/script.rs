//! The requests of a workload as bodies: which text, in which roles, how many tokens to answer.

use super::words::Words;
use router::Api;
use serde_json::json;
use sim::workload::{Request, Segment, Workload};
use std::collections::HashMap;

/// How bodies are made.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The API.
    pub api: Api,
    /// The model's name; `None`: the server knows it.
    pub model: Option<String>,
    /// Tokens of each answer; `None`: as the workload says.
    pub max_tokens: Option<u32>,
    /// Whether tokens are streamed.
    pub streamed: bool,
    /// Tells the server to go on until `max_tokens`: vLLM's and SGLang's `ignore_eos`.
    pub ignore_eos: bool,
    /// The field that names the session.
    pub session_key: Option<String>,
}

/// A workload with its texts.
#[derive(Clone, Debug)]
pub struct Script {
    workload: Workload,
    words: Words,
    shape: Shape,
    /// Whose reply each id of a segment is, by place.
    replies: HashMap<u64, usize>,
}

/// The parts of a prompt, in their roles.
enum Part {
    User(Vec<u8>),
    /// What the model itself said.
    Reply(String),
}

impl Script {
    /// Of `workload`.
    #[must_use]
    pub fn new(workload: Workload, words: Words, shape: Shape) -> Self {
        let replies = workload.requests().iter().enumerate().map(|(place, request)| (request.reply, place)).collect();
        Self { workload, words, shape, replies }
    }

    /// Its requests.
    #[must_use]
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// How it makes text.
    #[must_use]
    pub const fn words(&self) -> Words {
        self.words
    }

    /// Whether the request at `place` has a reply that a later prompt contains.
    #[must_use]
    pub fn replies_of(&self, place: usize) -> Vec<usize> {
        let request = &self.workload.requests()[place];
        let segments = self.workload.segments(request);
        segments.iter().filter_map(|segment| self.replies.get(&segment.id).copied()).collect()
    }

    /// The name of the session of the request at `place`.
    #[must_use]
    pub fn session(&self, place: usize) -> Option<String> {
        self.workload.requests()[place].session.map(|session| format!("s{:x}", session.0))
    }

    /// A name for what the prompt at `place` begins with: its first segment.
    #[must_use]
    pub fn prefix(&self, place: usize) -> Option<String> {
        let first = self.workload.segments(&self.workload.requests()[place]).first()?.id;
        let round = self.workload.requests()[place].round_key();
        Some(format!("p{:x}", first ^ round ^ self.words.salt))
    }

    /// How many tokens the request at `place` asks for.
    #[must_use]
    pub fn max_tokens(&self, place: usize) -> u32 {
        self.shape.max_tokens.unwrap_or(self.workload.requests()[place].output.0).max(1)
    }

    /// The body of the request at `place`. `said` gives the real reply of a request, where there is one. O(prompt).
    #[must_use]
    pub fn body(&self, place: usize, said: impl Fn(usize) -> Option<String>) -> Vec<u8> {
        let request = &self.workload.requests()[place];
        let mut parts: Vec<Part> = Vec::new();
        let segments = self.sized(request);
        for segment in segments {
            let reply = self.replies.get(&segment.id).filter(|before| **before < place);
            if let Some(reply) = reply.and_then(|before| said(*before)) {
                parts.push(Part::Reply(reply));
                continue;
            }
            match parts.last_mut() {
                Some(Part::User(text)) => self.words.push(text, segment.id, segment.tokens.0),
                _ => {
                    let mut text = Vec::new();
                    self.words.push(&mut text, segment.id, segment.tokens.0);
                    parts.push(Part::User(text));
                }
            }
        }
        self.written(place, &parts)
    }

    /// The segments of a prompt, the last of them shorter by what the server adds: it is the one that nobody shares.
    fn sized(&self, request: &Request) -> Vec<Segment> {
        let mut segments = self.workload.segments(request).to_vec();
        if let Some(first) = segments.first_mut() {
            first.id ^= request.round_key();
        }
        if let Some(last) = segments.last_mut() {
            last.tokens.0 = last.tokens.0.saturating_sub(self.words.added).max(1);
        }
        segments
    }

    fn written(&self, place: usize, parts: &[Part]) -> Vec<u8> {
        let shape = &self.shape;
        let length: usize = parts.iter().map(|part| part.text().len()).sum();
        let mut body = Vec::with_capacity(length + 512);
        match shape.api {
            Api::Chat => {
                body.extend_from_slice(b"{\"messages\":[");
                for (index, part) in parts.iter().enumerate() {
                    let role = if matches!(part, Part::User(_)) { "user" } else { "assistant" };
                    let comma = if index == 0 { "" } else { "," };
                    body.extend_from_slice(format!("{comma}{{\"role\":\"{role}\",\"content\":\"").as_bytes());
                    part.escaped(&mut body);
                    body.extend_from_slice(b"\"}");
                }
                body.extend_from_slice(b"]");
            }
            Api::Completions => {
                body.extend_from_slice(b"{\"prompt\":\"");
                for part in parts {
                    part.escaped(&mut body);
                }
                body.extend_from_slice(b"\"");
            }
        }
        let mut rest = json!({ "max_tokens": self.max_tokens(place), "temperature": 0.0 });
        if let Some(model) = &shape.model {
            rest["model"] = json!(model);
        }
        if shape.streamed {
            rest["stream"] = json!(true);
            rest["stream_options"] = json!({ "include_usage": true });
        }
        if shape.ignore_eos {
            rest["ignore_eos"] = json!(true);
        }
        if let (Some(key), Some(session)) = (&shape.session_key, self.session(place)) {
            rest[key.as_str()] = json!(session);
        }
        body.push(b',');
        body.extend_from_slice(&rest.to_string().as_bytes()[1..]);
        body
    }
}

impl Part {
    fn text(&self) -> &[u8] {
        match self {
            Self::User(text) => text,
            Self::Reply(text) => text.as_bytes(),
        }
    }

    /// As it stands in a JSON string. Words need no escapes.
    fn escaped(&self, body: &mut Vec<u8>) {
        match self {
            Self::User(text) => body.extend_from_slice(text),
            Self::Reply(text) => {
                let quoted = json!(text).to_string();
                body.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
            }
        }
    }
}
