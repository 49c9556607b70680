//! What the server is like, beside the cluster behind it.

use super::clock::TimeScale;
use super::executor::Language;
use super::tokens::CharsPerToken;
use crate::aws::sigv4::Credentials;
use crate::growth::Growth;
use kvcache::{Span, Tokens};
use router::Strategy;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Settings of an emulated endpoint.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names that requests may call the model by; the first is the one that replies carry. Not empty.
    pub models: Vec<String>,
    /// The cluster's routing strategy, as responses name it.
    pub strategy: Strategy,
    /// Modelled seconds per wall second.
    pub time_scale: TimeScale,
    /// Pure latency between client and router, both ways together, in modelled time. A request reaches the router this
    /// much after the server has read it, as in the simulator; the wire's own latency comes on top.
    pub latency: Span,
    /// How text becomes tokens.
    pub chars_per_token: CharsPerToken,
    /// Tokens that a chat emits where it does not say how many. vLLM would go on to the end of the context, which no
    /// emulated model ever cuts short.
    pub chat_max_tokens: Tokens,
    /// The field of a body, or the header, that names the user's session: `SESSION_KEY` of the endpoint file.
    pub session_key: Option<String>,
    /// The SageMaker endpoints that it is.
    pub endpoints: Vec<String>,
    /// Who may ask for them.
    pub callers: Callers,
    /// Most bytes of a request's body.
    pub body_limit: usize,
    /// How long a client may take to send a request's head. Idle connections are closed after it, too.
    pub head_timeout: Duration,
    /// How long a client may take to send a request's body.
    pub body_timeout: Duration,
    /// How long requests in flight may take to end once the server is told to stop.
    pub drain: Duration,
    /// Where the words of replies come from.
    pub seed: u64,
    /// Whether to keep the run for a replay; memory then grows with it.
    pub record: bool,
    /// Who is told, once, that the router's index has passed so many bytes and goes on growing; `None`: nobody.
    pub growth: Option<Watch>,
    /// The model's language, where workers compute.
    pub language: Option<Arc<dyn Language>>,
}

/// Who may ask for a SageMaker endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Any signature is taken, and none too.
    Anybody,
    /// None is: the server can be reached from elsewhere, and has no keys to check them with.
    Nobody,
    /// Whoever signs with these.
    Signed(Credentials),
}

/// Somebody who wants to know how an index grows that nothing is taken from.
#[derive(Clone, Debug)]
pub struct Watch {
    /// From how many bytes on.
    pub beyond: u64,
    /// Where it is told.
    pub teller: mpsc::UnboundedSender<Growth>,
}

impl Settings {
    /// Real time, no modelled latency, 4 characters per token, chats of 128 tokens, bodies of up to 4 MiB.
    #[must_use]
    pub fn new(model: &str, strategy: Strategy) -> Self {
        Self {
            models: vec![model.to_owned()],
            strategy,
            time_scale: TimeScale::REAL,
            latency: Span::ZERO,
            chars_per_token: CharsPerToken::default(),
            chat_max_tokens: Tokens(128),
            session_key: None,
            endpoints: Vec::new(),
            callers: Callers::Anybody,
            body_limit: 4 << 20,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            seed: 0,
            record: false,
            growth: None,
            language: None,
        }
    }
}
