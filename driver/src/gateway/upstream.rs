//! Connections to workers: opened when there is none idle, kept alive, closed when an answer is given up.

use super::settings::Settings;
use crate::bench::target::Origin;
use crate::bench::tls;
use crate::failure::Failure;
use axum::body::Bytes;
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kvcache::WorkerId;
use std::time::Duration;
use tokio::time::timeout;

/// vLLM's server closes what is idle for 5 s, and a request that crosses with that fails. So connections are left earlier.
const IDLE: Duration = Duration::from_secs(4);

/// Headers that concern one connection, not what is said on it (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No connection, or it broke.
    Broken,
    /// Nothing was heard for too long.
    Silent,
}

/// The way to the workers.
#[derive(Debug)]
pub(super) struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    workers: Vec<String>,
    key: Option<HeaderValue>,
    /// Whether clients' keys are for the gateway, and go no further.
    keeps_keys: bool,
    silence: Duration,
}

impl Upstream {
    /// # Errors
    /// Where certificates cannot be read.
    pub(super) fn new(settings: &Settings) -> Result<Self, Failure> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        // A request shall not wait for the acknowledgement of what was sent before it.
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        let tls =
            tls::configuration(settings.worker_certificates.as_deref(), settings.workers.iter().any(|one| one.https))?;
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(https);
        Ok(Self {
            client,
            workers: settings.workers.iter().map(Origin::to_string).collect(),
            key: settings.worker_key.as_ref().and_then(|key| secret(&key.bearer())),
            keeps_keys: settings.api_key.is_some(),
            silence: settings.silence,
        })
    }

    /// The headers that a worker gets of a client's.
    pub(super) fn passed_on(&self, mut headers: HeaderMap) -> HeaderMap {
        strip(&mut headers);
        // Compressed, a stream could not be cut where an event ends.
        for name in [header::HOST, header::CONTENT_LENGTH, header::EXPECT, header::ACCEPT_ENCODING] {
            headers.remove(name);
        }
        if self.keeps_keys || self.key.is_some() {
            headers.remove(header::AUTHORIZATION);
            headers.remove("x-api-key");
        }
        headers.extend(self.key.clone().map(|key| (header::AUTHORIZATION, key)));
        headers
    }

    /// Sends a request, and waits for the head of the answer.
    pub(super) async fn send(
        &self,
        worker: WorkerId,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, Trouble> {
        let uri: Uri = format!("{}{path}", self.workers[worker.index()]).parse().map_err(|_| Trouble::Broken)?;
        let mut request = Request::new(Full::new(body));
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
        match timeout(self.silence, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(_)) => Err(Trouble::Broken),
            Err(_) => Err(Trouble::Silent),
        }
    }
}

/// A header's value that is not shown where headers are.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Takes away what concerns the connection alone: the headers that are known to, and those that `Connection` names.
pub(super) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}
