//! What the server is like, beside the cluster behind it.

use super::clock::TimeScale;
use super::executor::Language;
use super::feed::Feed;
use super::tokens::CharsPerToken;
use crate::growth::Growth;
use crate::http::{ApiKey, Callers};
use kvcache::{Span, Tokens};
use router::Strategy;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

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
    /// What everybody else has to show; `None`: nothing.
    pub api_key: Option<ApiKey>,
    /// `None`: in the clear.
    pub tls: Option<Tls>,
    /// Most bytes of a request's body.
    pub body_limit: usize,
    /// How long a client may take to send a request's head. Idle connections are closed after it, too.
    pub head_timeout: Duration,
    /// How long a client may take nothing of what it is sent: then its connection is closed, and its request is over.
    pub reader_timeout: Duration,
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
    /// Where the world is told what workers hold; `None`: nowhere.
    pub feed: Option<Feed>,
    /// The model's language, where workers compute.
    pub language: Option<Arc<dyn Language>>,
}

/// How TLS is spoken.
#[derive(Clone)]
pub struct Tls(pub TlsAcceptor);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
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
            api_key: None,
            tls: None,
            body_limit: 4 << 20,
            head_timeout: Duration::from_secs(10),
            reader_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            seed: 0,
            record: false,
            growth: None,
            feed: None,
            language: None,
        }
    }
}
