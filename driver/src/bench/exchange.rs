//! One request and its response, measured.

use super::client::Client;
use super::net::{Connection, Pool};
use super::problem::Problem;
use super::reader::{Form, Listener, Reader, Seen};
use super::sagemaker;
use super::target::Wire;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, Version};
use tokio::time::timeout;

/// What is to be sent.
pub struct Ask {
    /// Its place in the list; places take turns at the target's URLs.
    pub place: usize,
    /// The moment it should be sent, nanoseconds.
    pub scheduled: u64,
    /// The body.
    pub body: Bytes,
    /// The user's session, where headers shall name it.
    pub session: Option<String>,
    /// What the prompt begins with, by a name, where headers shall tell.
    pub prefix: Option<String>,
    /// Whether the answer's text is needed.
    pub keep: bool,
    /// Who hears it as it comes.
    pub listener: Option<Listener>,
}

/// What came of it. Moments are nanoseconds of the measurement's clock.
#[derive(Debug)]
pub struct Observed {
    /// When it should have been sent.
    pub scheduled: u64,
    /// Just before its first byte was written; where there was no connection, when one had opened or not.
    pub dispatched: u64,
    /// How long its connection took to open, nanoseconds; 0: there was one.
    pub connect_ns: u64,
    /// When the response's head came.
    pub head: Option<u64>,
    /// When the first byte of the body came.
    pub first_byte: Option<u64>,
    /// When it was over.
    pub ended: u64,
    /// What the response said.
    pub seen: Seen,
    /// Whether the response was a stream.
    pub streamed: bool,
    /// Who answered, as the response names it.
    pub worker: Option<String>,
    /// Why it did, and why its router did not do what it is named for, as podlab's servers tell.
    pub routed: [Option<String>; 2],
    /// What went wrong.
    pub result: Result<(), Problem>,
}

/// Headers in which servers say who answered.
const WORKER_HEADERS: [&str; 4] =
    ["x-podlab-worker", "x-worker-id", "x-served-by", "x-amzn-invoked-production-variant"];

/// Headers in which podlab's servers tell how a request was routed.
const ROUTED_HEADERS: [&str; 2] = ["x-podlab-reason", "x-podlab-fallback"];

impl Client {
    /// Sends a request, once, and reads the response to its end.
    pub async fn exchange(&self, ask: Ask) -> Observed {
        let mut observed = Observed {
            scheduled: ask.scheduled,
            dispatched: self.clock.now(),
            connect_ns: 0,
            head: None,
            first_byte: None,
            ended: 0,
            seen: Seen::default(),
            streamed: self.options.streamed,
            worker: None,
            routed: [None, None],
            result: Ok(()),
        };
        let patience = self.options.timeout;
        let result = match timeout(patience, self.attempt(ask, &mut observed)).await {
            Ok(result) => result,
            Err(_) => Err(Problem::new("timeout", format!("no complete response in {} s", patience.as_secs_f64()))),
        };
        observed.result = result;
        observed.ended = self.clock.now();
        observed
    }

    async fn attempt(&self, ask: Ask, observed: &mut Observed) -> Result<(), Problem> {
        let pool = &self.pools[ask.place % self.pools.len()];
        let mut connection = pool.take().await?;
        observed.connect_ns = connection.opened_ns;
        let request = self.request(pool, &ask, &connection)?;
        observed.dispatched = self.clock.now();
        let response = connection.send(request).await.map_err(|error| broken(&error))?;
        observed.head = Some(connection.last_read().max(observed.dispatched));
        observed.worker = worker(response.headers());
        observed.routed = ROUTED_HEADERS.map(|name| response.headers().get(name)?.to_str().ok().map(str::to_owned));
        if !response.status().is_success() {
            return Err(self.refusal(pool, connection, response).await);
        }
        let form = self.form(response.headers())?;
        let mut reader = Reader::new(form, ask.keep, ask.listener);
        let mut body = response.into_body();
        let cut = loop {
            match connection.wait(body.frame()).await {
                None => break None,
                Some(Err(error)) => break Some(Problem::new("cut", cause(&error))),
                Some(Ok(frame)) => {
                    let now = connection.last_read().max(observed.dispatched);
                    if let Some(bytes) = frame.data_ref().filter(|bytes| !bytes.is_empty()) {
                        observed.first_byte.get_or_insert(now);
                        reader.push(bytes, now);
                    }
                }
            }
        };
        if cut.is_none() {
            pool.give_back(connection);
        }
        let (seen, result) = reader.end(cut, self.clock.now());
        observed.seen = seen;
        result
    }

    fn request(&self, pool: &Pool, ask: &Ask, connection: &Connection) -> Result<Request<Full<Bytes>>, Problem> {
        let odd = |error: &dyn std::fmt::Display| Problem::new("client", error);
        let (origin, options) = (pool.origin(), &self.options);
        let path = self.target.path(origin, options.api, options.streamed);
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("podlab/", env!("CARGO_PKG_VERSION"))));
        let host = HeaderValue::try_from(origin.authority()).map_err(|error| odd(&error))?;
        headers.insert(header::HOST, host);
        match (&self.target.wire, &self.signer) {
            (Wire::SageMaker { .. }, Some(signer)) => {
                sagemaker::describe(&mut headers, ask, options);
                signer.sign(&mut headers, &path, &ask.body).map_err(|why| Problem::new("credentials", why))?;
            }
            _ => {
                headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream, application/json"));
                headers.extend(self.key.clone().map(|key| (header::AUTHORIZATION, key)));
                let named = options.session_key.as_deref().zip(ask.session.as_deref());
                headers.extend(named.and_then(|(name, session)| {
                    let name = HeaderName::try_from(name.to_ascii_lowercase()).ok()?;
                    Some((name, HeaderValue::try_from(session).ok()?))
                }));
            }
        }
        let mut request = Request::builder().method(Method::POST);
        if connection.is_http2() {
            let scheme = if origin.https { "https" } else { "http" };
            request = request.uri(format!("{scheme}://{}{path}", origin.authority())).version(Version::HTTP_2);
            headers.remove(header::HOST);
        } else {
            request = request.uri(path);
        }
        let mut request = request.body(Full::new(ask.body.clone())).map_err(|error| odd(&error))?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// What a response that is no success says.
    async fn refusal(&self, pool: &Pool, mut connection: Connection, response: Response<Incoming>) -> Problem {
        let status = response.status().as_u16();
        let kind = response.headers().get("x-amzn-errortype").and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        let mut bytes = Vec::new();
        let mut body = response.into_body();
        while let Some(frame) = connection.wait(body.frame()).await {
            let Ok(frame) = frame else { break };
            if let Some(data) = frame.data_ref().filter(|_| bytes.len() < 64 << 10) {
                bytes.extend_from_slice(data);
            }
        }
        pool.give_back(connection);
        if let Wire::SageMaker { .. } = self.target.wire {
            return sagemaker::refusal(status, kind.as_deref(), &bytes);
        }
        let said = super::chunk::Chunk::parse(&bytes).ok().and_then(|chunk| chunk.error);
        Problem::status(status, &said.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn form(&self, headers: &HeaderMap) -> Result<Form, Problem> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        match (&self.target.wire, self.options.streamed) {
            (_, false) => Ok(Form::Whole),
            (Wire::SageMaker { .. }, true) if kind.starts_with("application/vnd.amazon.eventstream") => {
                Ok(Form::EventStream)
            }
            (Wire::OpenAi, true) if kind.starts_with("text/event-stream") => Ok(Form::Events),
            _ => Err(Problem::new("no_stream", format!("a stream was asked for, and the response is \"{kind}\""))),
        }
    }
}

fn worker(headers: &HeaderMap) -> Option<String> {
    let found = WORKER_HEADERS.iter().find_map(|name| headers.get(*name))?;
    found.to_str().ok().map(str::to_owned)
}

/// A request that got no response. Nothing is sent a second time.
fn broken(error: &hyper::Error) -> Problem {
    Problem::new(
        if error.is_incomplete_message() || error.is_canceled() { "closed" } else { "connection" },
        cause(error),
    )
}

/// An error and what is behind it.
fn cause(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        said.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    said
}
