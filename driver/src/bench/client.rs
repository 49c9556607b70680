//! The client of one target: its connections, what it adds to requests.

use super::clock::Clock;
use super::fetch;
use super::net::Pool;
use super::problem::Problem;
use super::sagemaker::Signer;
use super::target::{Target, Wire};
use super::tls;
use crate::failure::Failure;
use hyper::header::HeaderValue;
use router::Api;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How requests are sent.
#[derive(Clone, Debug)]
pub struct Options {
    /// The API.
    pub api: Api,
    /// Whether tokens are streamed.
    pub streamed: bool,
    /// How long a request may take.
    pub timeout: Duration,
    /// HTTP/2 without TLS; with TLS the server decides.
    pub http2: bool,
    /// A PEM file of certificates to trust beside the system's.
    pub cacert: Option<PathBuf>,
    /// The bearer token.
    pub key: Option<String>,
    /// The header, and field of the body, that names the session.
    pub session_key: Option<String>,
    /// Whether SageMaker's own header names the session, too.
    pub sagemaker_session: bool,
    /// The inference component of a SageMaker endpoint.
    pub inference_component: Option<String>,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    pub(super) target: Target,
    pub(super) options: Options,
    pub(super) clock: Clock,
    pub(super) pools: Vec<Arc<Pool>>,
    pub(super) key: Option<HeaderValue>,
    pub(super) signer: Option<Signer>,
}

impl Client {
    /// Connects to nothing yet; finds credentials where the target needs them.
    ///
    /// # Errors
    /// Certificates, a key or credentials that cannot be used.
    pub async fn new(target: Target, options: Options, clock: Clock) -> Result<Self, Failure> {
        let signer = match &target.wire {
            Wire::OpenAi => None,
            Wire::SageMaker { region, .. } => Some(Signer::find(region).await.map_err(Failure::Invalid)?),
        };
        let needed = target.origins.iter().any(|origin| origin.https);
        let tls = if needed { Some(tls::connector(options.cacert.as_deref())?) } else { None };
        let key = options.key.as_ref().map(|key| HeaderValue::try_from(format!("Bearer {key}"))).transpose();
        let mut key =
            key.map_err(|_| Failure::Invalid("OPENAI_API_KEY: it is no text that a header can hold".to_owned()))?;
        if let Some(key) = &mut key {
            key.set_sensitive(true);
        }
        let pools = target
            .origins
            .iter()
            .map(|origin| Pool::new(origin.clone(), tls.clone().filter(|_| origin.https), options.http2, clock))
            .map(Arc::new)
            .collect();
        Ok(Self { target, options, clock, pools, key, signer })
    }

    /// The clock that all its moments are of.
    #[must_use]
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// How it sends requests.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The target.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Opens connections for so many requests at a time.
    pub async fn open_ahead(&self, requests: usize) {
        let each = requests.div_ceil(self.pools.len());
        for pool in &self.pools {
            pool.open_ahead(each).await;
        }
    }

    /// Connections opened so far.
    #[must_use]
    pub fn opened(&self) -> usize {
        self.pools.iter().map(|pool| pool.opened()).sum()
    }

    /// The first model that the server lists.
    ///
    /// # Errors
    /// Where it lists none.
    pub async fn model(&self) -> Result<String, Problem> {
        let pool = &self.pools[0];
        let path = format!("{}/models", pool.origin().base);
        let body = fetch::answer(pool, "GET", &path, &self.headers()).await?;
        let list: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let named = list["data"][0]["id"].as_str().map(str::to_owned);
        named.ok_or_else(|| Problem::new("no_model", format!("{path} lists no model")))
    }

    /// What each of its servers tells of itself under `/metrics`, or at `url`.
    pub async fn metrics(&self) -> Vec<Option<String>> {
        let mut told = Vec::new();
        for pool in &self.pools {
            let base = pool.origin().base.strip_suffix("/v1").unwrap_or(&pool.origin().base);
            let body = fetch::answer(pool, "GET", &format!("{base}/metrics"), &self.headers()).await;
            told.push(body.ok().and_then(|body| String::from_utf8(body).ok()));
        }
        told
    }

    /// Credentials that expire soon are found again.
    pub async fn refresh(&self) {
        if let Some(signer) = &self.signer {
            signer.refresh().await;
        }
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        self.options.key.iter().map(|key| ("authorization", format!("Bearer {key}"))).collect()
    }
}
