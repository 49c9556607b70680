//! What the gateway is like.

use super::feed::Place;
use crate::bench::target::Origin;
use crate::emulate::Tls;
use crate::emulate::tokens::CharsPerToken;
use crate::http::{ApiKey, Callers};
use router::{DeskConfig, Forecast, HealthConfig, RetryConfig, RouterConfig};
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a gateway.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The workers, in the order of their numbers. Not empty.
    pub workers: Vec<Origin>,
    /// Where each tells what it holds, in the same order; empty: nobody does.
    pub feeds: Vec<Place>,
    /// After so long without a word of its cache a worker is asked whether it is there.
    pub feed_silence: Duration,
    /// How one is chosen; it knows as many workers as there are.
    pub router: RouterConfig,
    /// What workers' work takes, as far as is known beforehand; first tokens correct it.
    pub forecast: Option<Forecast>,
    /// A new file that is told all that decides, and what was decided; `None`: nobody is.
    pub decision_log: Option<PathBuf>,
    /// When one is left alone for a while.
    pub health: HealthConfig,
    /// How often a request is tried again.
    pub retries: RetryConfig,
    /// The model that blocks are named for.
    pub model: String,
    /// How text becomes tokens where nobody tokenises.
    pub chars_per_token: CharsPerToken,
    /// The field of a body, or the header, that names the user's session: `SESSION_KEY` of the endpoint file.
    pub session_key: Option<String>,
    /// The SageMaker endpoints that it is.
    pub endpoints: Vec<String>,
    /// Who may ask for them.
    pub callers: Callers,
    /// What everybody else has to show; `None`: nothing, and what a client shows is passed on to the worker.
    pub api_key: Option<ApiKey>,
    /// What workers are shown.
    pub worker_key: Option<ApiKey>,
    /// A file of certificates to trust beside the system's, for workers behind TLS.
    pub worker_certificates: Option<PathBuf>,
    /// `None`: in the clear.
    pub tls: Option<Tls>,
    /// Requests in flight beyond which further ones are refused with 429.
    pub most_in_flight: usize,
    /// Most bytes of a request's body.
    pub body_limit: usize,
    /// Most bytes of an answer that is no stream.
    pub answer_limit: usize,
    /// How long a client may take to send a request's head. Idle connections are closed after it, too.
    pub head_timeout: Duration,
    /// How long a client may take nothing of what it is sent: then its connection is closed, and its request is over.
    pub reader_timeout: Duration,
    /// How long a client may take to send a request's body.
    pub body_timeout: Duration,
    /// How long a connection to a worker may take.
    pub connect_timeout: Duration,
    /// How long a worker may say nothing: before its answer begins, and between two pieces of it.
    pub silence: Duration,
    /// How long requests in flight may take to end once the gateway is told to stop.
    pub drain: Duration,
}

impl Settings {
    /// Who decides.
    pub(super) const fn desk(&self) -> DeskConfig {
        let Self { router, health, retries, forecast, .. } = self;
        DeskConfig { router: *router, health: *health, retries: *retries, forecast: *forecast, learns: true }
    }

    /// 4,096 requests in flight, bodies of up to 4 MiB and answers of up to 16 MiB, 10 s for a head and 30 s for a body, 1 s for a
    /// connection, 300 s of silence, 30 s to drain.
    #[must_use]
    pub fn new(workers: Vec<Origin>, router: RouterConfig) -> Self {
        Self {
            workers,
            feeds: Vec::new(),
            feed_silence: Duration::from_secs(5),
            router,
            forecast: None,
            decision_log: None,
            health: HealthConfig::default(),
            retries: RetryConfig::default(),
            model: String::new(),
            chars_per_token: CharsPerToken::default(),
            session_key: None,
            endpoints: Vec::new(),
            callers: Callers::Anybody,
            api_key: None,
            worker_key: None,
            worker_certificates: None,
            tls: None,
            most_in_flight: 4096,
            body_limit: 4 << 20,
            answer_limit: 16 << 20,
            head_timeout: Duration::from_secs(10),
            reader_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(1),
            silence: Duration::from_secs(300),
            drain: Duration::from_secs(30),
        }
    }
}
