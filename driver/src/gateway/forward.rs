//! A request's way: to a worker, and where that fails before the client has seen anything, to another.

use super::dispatch::{Attempt, Dispatch};
use super::glance::{Glance, Reader};
use super::relay::{Relay, Stay};
use super::settings::Settings;
use super::upstream::{Trouble, Upstream, strip};
use crate::http::door::{Phase, over};
use crate::http::error::ApiError;
use crate::http::{body, decision};
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use kvcache::WorkerId;
use router::{Api, Decision, Outcome, Retries, Stop};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::timeout;

/// What a worker says of an error is passed on up to so many bytes.
const WORDS_LIMIT: usize = 1 << 20;
/// And waited for so long.
const WORDS_PATIENCE: Duration = Duration::from_secs(5);

/// A gateway.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) settings: Settings,
    pub(super) reader: Reader,
    pub(super) dispatch: Arc<Dispatch>,
    pub(super) upstream: Upstream,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) tiers_known: [bool; 3],
}

/// A request as workers get it.
struct Asked {
    path: &'static str,
    headers: HeaderMap,
    body: Bytes,
    glance: Glance,
    came: Instant,
}

/// What came of an attempt.
enum Came {
    /// The beginning of a stream.
    Stream(Response<Incoming>, Bytes),
    /// A whole answer.
    Whole(Response<Bytes>),
    /// No answer; what to say where nobody else is asked.
    Nothing(Outcome, Response),
}

impl Gateway {
    pub(super) fn is_ready(&self) -> bool {
        *self.phase.borrow() == Phase::Serving
    }

    /// Answers a request to `api`; `None`: the body tells which.
    pub(super) async fn answer(self: &Arc<Self>, request: Request, api: Option<Api>) -> Result<Response, ApiError> {
        if !self.is_ready() {
            return Err(ApiError::stopping());
        }
        let Some(stay) = Stay::enter(&self.dispatch, self.settings.most_in_flight) else {
            self.dispatch.meters.shed();
            return Err(ApiError::busy());
        };
        let came = Instant::now();
        let (parts, body) = request.into_parts();
        let read = body::read(&parts.headers, body, self.settings.body_limit);
        let body = timeout(self.settings.body_timeout, read).await.map_err(|_| ApiError::too_slow())??;
        let mut glance = self.reader.look(api, &parts.headers, &body)?;
        let mut tokenized = None;
        if let Some(fields) = glance.wanted.take() {
            let began = Instant::now();
            glance.pieces = self.pieces(glance.api, &fields, self.settings.router.block).await;
            tokenized = HeaderValue::try_from(format!("{:.3}", began.elapsed().as_secs_f64() * 1e3)).ok();
        }
        let path = match glance.api {
            Api::Chat => "/v1/chat/completions",
            Api::Completions => "/v1/completions",
        };
        let mut headers = self.upstream.passed_on(parts.headers);
        let id = request_id(&headers);
        headers.insert(REQUEST_ID, id.clone());
        let asked = Asked { path, headers, body: Bytes::from(body), glance, came };
        let mut phase = self.phase.clone();
        let mut response = tokio::select! {
            response = self.forward(asked, stay) => response?,
            () = over(&mut phase) => return Err(ApiError::stopping()),
        };
        response.headers_mut().insert(REQUEST_ID, id);
        // What is on the way to a first token for the strategy's sake, and not the gateway's.
        response.headers_mut().extend(tokenized.map(|ms| (HeaderName::from_static("x-podlab-tokenize-ms"), ms)));
        Ok(response)
    }

    async fn forward(self: &Arc<Self>, asked: Asked, stay: Stay) -> Result<Response, ApiError> {
        let request = self.dispatch.begin();
        let mut retries = Retries::new();
        loop {
            let sent = self.dispatch.send(request, &asked.glance, &retries, asked.came);
            let (decision, mut attempt) = sent.map_err(|_| ApiError::no_worker())?;
            let worker = decision.worker;
            match self.attempt(worker, &asked).await {
                Came::Stream(response, first) => {
                    attempt.first_token();
                    return Ok(self.stream(&decision, attempt, stay, response, first));
                }
                Came::Whole(response) => {
                    attempt.whole(response.body());
                    attempt.end(Outcome::Answered);
                    // Whoever reads it slowly keeps its place until it is read.
                    let held = move |body| {
                        Full::<Bytes>::new(body).map_frame(move |frame| {
                            let _ = &stay;
                            frame
                        })
                    };
                    return Ok(self.told(&decision, response.map(|body| Body::new(held(body)))));
                }
                Came::Nothing(outcome, response) => {
                    attempt.end(outcome);
                    match self.dispatch.again(request, &mut retries, worker, outcome) {
                        Ok(()) => {}
                        Err(stop) => return Ok(self.told(&decision, given_up(response, stop))),
                    }
                }
            }
        }
    }

    /// Sends the request to `worker`, and waits until something of the answer is there.
    async fn attempt(&self, worker: WorkerId, asked: &Asked) -> Came {
        let sent = self.upstream.send(worker, Method::POST, asked.path, asked.headers.clone(), asked.body.clone());
        let mut response = match sent.await {
            Ok(response) => response,
            Err(trouble) => return broken(trouble),
        };
        strip(response.headers_mut());
        forget_decision(response.headers_mut());
        let status = response.status();
        if !status.is_success() {
            return refused(status, response).await;
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.starts_with("text/event-stream") {
            let first = async {
                loop {
                    match response.body_mut().frame().await?.ok()?.into_data() {
                        Ok(piece) if !piece.is_empty() => return Some(piece),
                        _ => {}
                    }
                }
            };
            return match timeout(self.settings.silence, first).await {
                Ok(Some(first)) => Came::Stream(response, first),
                Ok(None) => broken(Trouble::Broken),
                Err(_) => broken(Trouble::Silent),
            };
        }
        let (parts, body) = response.into_parts();
        let whole = Limited::new(body, self.settings.answer_limit).collect();
        match timeout(self.settings.silence, whole).await {
            Ok(Ok(whole)) => Came::Whole(Response::from_parts(parts, whole.to_bytes())),
            // Another worker's would be as long, and this one is well.
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let error =
                    ApiError::bad_gateway("The worker's answer is longer than may be passed on at once: stream it.");
                Came::Nothing(Outcome::ClientError, error.into_response())
            }
            Ok(Err(_)) => broken(Trouble::Broken),
            Err(_) => broken(Trouble::Silent),
        }
    }

    fn stream(
        self: &Arc<Self>,
        decision: &Decision,
        attempt: Attempt,
        stay: Stay,
        response: Response<Incoming>,
        first: Bytes,
    ) -> Response {
        let (parts, body) = response.into_parts();
        let relay = Relay::new(body, first, attempt, stay, self.phase.clone(), self.settings.silence);
        let mut response = self.told(decision, Response::from_parts(parts, Body::new(relay)));
        response.headers_mut().remove(CONTENT_LENGTH);
        response
    }

    /// The response, with what was decided in its head.
    fn told(&self, decided: &Decision, mut response: Response) -> Response {
        decision::add(response.headers_mut(), self.settings.router.strategy, self.tiers_known, Some(decided));
        response
    }

    /// Passes a request on to whoever is there.
    pub(super) async fn pass(self: &Arc<Self>, request: Request, path: &'static str) -> Result<Response, ApiError> {
        if !self.is_ready() {
            return Err(ApiError::stopping());
        }
        let Some(_stay) = Stay::enter(&self.dispatch, self.settings.most_in_flight) else {
            self.dispatch.meters.shed();
            return Err(ApiError::busy());
        };
        let (parts, body) = request.into_parts();
        let read = body::read(&parts.headers, body, self.settings.body_limit);
        let body = timeout(self.settings.body_timeout, read).await.map_err(|_| ApiError::too_slow())??;
        let worker = self.dispatch.anybody().ok_or_else(ApiError::no_worker)?;
        let headers = self.upstream.passed_on(parts.headers);
        let sent = self.upstream.send(worker, parts.method, path, headers, Bytes::from(body)).await;
        let mut response = sent.map_err(|trouble| ApiError::bad_gateway(words(trouble)))?;
        strip(response.headers_mut());
        let (parts, body) = response.into_parts();
        if parts.status.is_redirection() || parts.status.is_informational() {
            return Err(ApiError::bad_gateway("The worker pointed elsewhere, which is not followed."));
        }
        let whole = timeout(self.settings.silence, Limited::new(body, self.settings.answer_limit).collect()).await;
        match whole {
            Ok(Ok(whole)) => Ok(Response::from_parts(parts, Body::from(whole.to_bytes()))),
            Ok(Err(_)) => Err(ApiError::bad_gateway(words(Trouble::Broken))),
            Err(_) => Err(ApiError::bad_gateway(words(Trouble::Silent))),
        }
    }
}

const fn words(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Broken => "The worker did not answer, or broke off.",
        Trouble::Silent => "The worker said nothing for too long.",
    }
}

fn broken(trouble: Trouble) -> Came {
    Came::Nothing(Outcome::Failed, ApiError::bad_gateway(words(trouble)).into_response())
}

/// A worker's refusal, in its own words where they can be had.
async fn refused(status: StatusCode, response: Response<Incoming>) -> Came {
    let outcome = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Outcome::Busy,
        _ if status.is_client_error() => Outcome::ClientError,
        _ => Outcome::Failed,
    };
    if !status.is_client_error() && !status.is_server_error() {
        let error = ApiError::bad_gateway("The worker pointed elsewhere, which is not followed.");
        return Came::Nothing(outcome, error.into_response());
    }
    let (parts, body) = response.into_parts();
    // What it refuses is known; for its words nobody waits long.
    match timeout(WORDS_PATIENCE, Limited::new(body, WORDS_LIMIT).collect()).await {
        Ok(Ok(said)) => Came::Nothing(outcome, Response::from_parts(parts, Body::from(said.to_bytes()))),
        _ => Came::Nothing(outcome, ApiError::bad_gateway(words(Trouble::Broken)).into_response()),
    }
}

/// What the client is told where nobody else is asked: what the last worker said, and why that is the end.
fn given_up(mut response: Response, stop: Stop) -> Response {
    let why = match stop {
        Stop::Settled => return response,
        Stop::Attempts => "attempts",
        Stop::AllTried => "all-tried",
        Stop::Budget => "retry-budget",
    };
    response.headers_mut().insert(HeaderName::from_static("x-podlab-gave-up"), HeaderValue::from_static(why));
    response
}

/// A worker that is podlab's tells of a router of its own, which is not the one that is asked about. What it found in its cache
/// stays.
fn forget_decision(headers: &mut HeaderMap) {
    let of_router = |name: &HeaderName| name.as_str().starts_with("x-podlab-") && name != "x-podlab-cached-tokens";
    let names: Vec<HeaderName> = headers.keys().filter(|name| of_router(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The client's name for its request where that is a short plain word, else one of ours. It is passed on and nothing else: used as
/// a key it would let one client reach another's request.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_plain = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=64).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
    };
    if let Some(given) = headers.get(REQUEST_ID).filter(is_plain) {
        return given.clone();
    }
    // One draw for this process, and a number for each request: a draw for each would be a system call.
    static PROCESS: LazyLock<u64> = LazyLock::new(|| getrandom::u64().unwrap_or_default());
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    HeaderValue::try_from(format!("{:016x}{number:016x}", *PROCESS)).unwrap_or(HeaderValue::from_static("unnamed"))
}
