//! SageMaker Runtime's wire: `InvokeEndpoint` and `InvokeEndpointWithResponseStream` before the container's one path.
//!
//! By the service model that boto3 carries and what its clients do (`facts/clients.md`, section 2): what the container answers is
//! passed on byte for byte, in frames of Amazon's event stream where that was asked for; where it refuses, the client gets a
//! `ModelError` with the container's words. Of a request's headers the container sees only those that the service model names; of
//! its answer's the client sees podlab's own (`x-podlab-worker` and so on) too, which the real service would take away.

use super::body;
use super::door::Phase;
use crate::aws::eventstream;
use crate::aws::sigv4::Credentials;
use crate::aws::verify::{Asked, verify};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::time::timeout;

/// The service model's limit of a body, in bytes.
const BODY_LIMIT: usize = 6_291_456;
/// What a container says of an error is passed on up to so many bytes.
const WORDS_LIMIT: usize = 64 << 10;

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

/// The service before a container.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    /// Who may ask.
    pub(crate) callers: Callers,
    /// The endpoints that it is.
    pub(crate) endpoints: Vec<String>,
    /// How long a client may take to send a request's body.
    pub(crate) body_timeout: Duration,
    /// Whether it takes new work.
    pub(crate) phase: watch::Receiver<Phase>,
}

#[derive(Debug)]
struct Served {
    front: Front,
    container: Router,
}

/// How the answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Stream,
}

/// The service's paths before `container`, which answers `/invocations`.
pub(crate) fn routes(front: Front, container: Router) -> Router {
    Router::new()
        .route("/endpoints/{name}/invocations", post(invoke))
        .route("/endpoints/{name}/invocations-response-stream", post(invoke_streaming))
        .with_state(Arc::new(Served { front, container }))
}

/// `InvokeEndpoint`.
async fn invoke(State(served): State<Arc<Served>>, Path(name): Path<String>, request: Request) -> Response {
    answer(&served, &name, request, Wanted::Whole).await
}

/// `InvokeEndpointWithResponseStream`.
async fn invoke_streaming(State(served): State<Arc<Served>>, Path(name): Path<String>, request: Request) -> Response {
    answer(&served, &name, request, Wanted::Stream).await
}

async fn answer(served: &Served, name: &str, request: Request, wanted: Wanted) -> Response {
    let mut response = match admit(&served.front, name, request).await {
        Ok(request) => {
            let Ok(answer) = TowerToHyperService::new(served.container.clone()).call(request).await;
            if answer.status().is_success() { passed_on(answer, wanted) } else { model_error(answer).await }
        }
        Err(refused) => *refused,
    };
    let id = HeaderValue::try_from(request_id()).ok();
    response.headers_mut().extend(id.map(|id| (HeaderName::from_static("x-amzn-requestid"), id)));
    response
}

/// The request as the container gets it, from somebody who may ask.
async fn admit(front: &Front, name: &str, request: Request) -> Result<Request, Box<Response>> {
    let refuse = |status, kind, message: String| Box::new(refusal(status, kind, &message));
    let (mut parts, body) = request.into_parts();
    // A body is read for those whom it can help.
    if front.callers == Callers::Nobody {
        let message = "This server has no keys to check signatures with: start it with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or listen on loopback.";
        return Err(refuse(StatusCode::FORBIDDEN, "AccessDeniedException", message.to_owned()));
    }
    if *front.phase.borrow() != Phase::Serving {
        let message = "The service is shutting down.".to_owned();
        return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message));
    }
    let read = timeout(front.body_timeout, body::read(&parts.headers, body, BODY_LIMIT)).await;
    let bytes = match read {
        Ok(Ok(bytes)) => bytes,
        // Whatever was wrong with it is said by the status.
        Ok(Err(error)) => {
            let status = error.into_response().status();
            let message = format!("The body cannot be taken: at most {BODY_LIMIT} bytes.");
            return Err(refuse(status, "ValidationError", message));
        }
        Err(_) => {
            let message = "The body took too long to arrive.".to_owned();
            return Err(refuse(StatusCode::REQUEST_TIMEOUT, "ValidationError", message));
        }
    };
    if let Callers::Signed(keys) = &front.callers {
        let headers: Vec<(&str, &str)> =
            parts.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
        let asked = Asked {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &headers,
            body: &bytes,
        };
        let now = i64::try_from(unix_seconds()).unwrap_or(i64::MAX);
        verify(keys, "sagemaker", &asked, now).map_err(|refused| {
            let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::FORBIDDEN);
            refuse(status, refused.name(), refused.to_string())
        })?;
    }
    let known = &front.endpoints;
    if !known.iter().any(|known| known == name) {
        let known = if known.is_empty() { "none: the endpoint file names none".to_owned() } else { known.join(", ") };
        let message = format!("Endpoint {name} not found; here is {known}.");
        return Err(refuse(StatusCode::BAD_REQUEST, "ValidationError", message));
    }
    strip(&mut parts.headers);
    parts.uri = Uri::from_static("/invocations");
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// What a container gets to see of a request's headers: what the service model names. The rest is stripped, as SageMaker does, so
/// a session's name has to stand in the body.
fn strip(headers: &mut HeaderMap) {
    let accept = headers.get("x-amzn-sagemaker-accept").cloned();
    let passes =
        |name: &HeaderName| [CONTENT_TYPE, ACCEPT].contains(name) || name.as_str().starts_with("x-amzn-sagemaker-");
    let gone: Vec<HeaderName> = headers.keys().filter(|name| !passes(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
    headers.extend(accept.map(|accept| (ACCEPT, accept)));
}

/// The container's answer on SageMaker's wire.
fn passed_on(answer: Response, wanted: Wanted) -> Response {
    let (mut parts, body) = answer.into_parts();
    parts
        .headers
        .insert(HeaderName::from_static("x-amzn-invoked-production-variant"), HeaderValue::from_static("AllTraffic"));
    if wanted == Wanted::Whole {
        return Response::from_parts(parts, body);
    }
    let stream = HeaderValue::from_static("application/vnd.amazon.eventstream");
    if let Some(kind) = parts.headers.insert(CONTENT_TYPE, stream) {
        parts.headers.insert(HeaderName::from_static("x-amzn-sagemaker-content-type"), kind);
    }
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    let framed = body.map_frame(|frame| frame.map_data(|data| part(&data)));
    Response::from_parts(parts, Body::new(framed))
}

/// A part of the container's answer.
fn part(payload: &[u8]) -> Bytes {
    let headers =
        [(":event-type", "PayloadPart"), (":content-type", "application/octet-stream"), (":message-type", "event")];
    Bytes::from(eventstream::encode(&headers, payload))
}

/// What the container refused, or could not do.
async fn model_error(answer: Response) -> Response {
    let (parts, body) = answer.into_parts();
    let said = to_bytes(body, WORDS_LIMIT).await.unwrap_or_default();
    let (status, said) = (parts.status.as_u16(), String::from_utf8_lossy(&said).into_owned());
    let (whose, code) = if parts.status.is_server_error() {
        ("server", "SERVER_ERROR_FROM_MODEL")
    } else {
        ("client", "CLIENT_ERROR_FROM_MODEL")
    };
    let message = format!("Received {whose} error ({status}) from primary with message \"{said}\".");
    let body = json!({
        "ErrorCode": code,
        "Message": message,
        "OriginalStatusCode": status,
        "OriginalMessage": said,
        "LogStreamArn": "",
    });
    let mut response = (StatusCode::FAILED_DEPENDENCY, Json(body)).into_response();
    name_error(response.headers_mut(), "ModelError");
    response
}

/// What the service itself refuses.
fn refusal(status: StatusCode, kind: &'static str, message: &str) -> Response {
    let mut response = (status, Json(json!({ "Message": message }))).into_response();
    name_error(response.headers_mut(), kind);
    response
}

fn name_error(headers: &mut HeaderMap, kind: &'static str) {
    headers.insert(HeaderName::from_static("x-amzn-errortype"), HeaderValue::from_static(kind));
}

/// A random UUID (RFC 9562, version 4).
fn request_id() -> String {
    // An id that everybody has is better than no answer.
    let high = getrandom::u64().unwrap_or_default();
    let low = getrandom::u64().unwrap_or_default();
    let (high, low) = (high & !0xf000 | 0x4000, low & !(0b11 << 62) | 0b10 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// A response has the moment of its making, in seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
