//! Errors as OpenAI's clients read them: `{"error": {"message", "type", "param", "code"}}`, with vLLM's types.

use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::Serialize;

/// What a client is told instead of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    message: String,
    param: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: u16,
}

impl ApiError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None }
    }

    /// The request as a whole makes no sense.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// One of its fields makes no sense, or asks for what is not supported.
    pub(crate) fn field(param: &str, message: impl Into<String>) -> Self {
        Self { param: Some(param.to_owned()), ..Self::bad(message) }
    }

    /// Nobody serves this model.
    pub(crate) fn no_model(name: &str) -> Self {
        let message = format!("The model `{name}` does not exist.");
        Self { param: Some("model".to_owned()), ..Self::new(StatusCode::NOT_FOUND, message) }
    }

    pub(crate) fn no_path(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("There is no path {path} here."))
    }

    pub(crate) fn wrong_method(method: &str, path: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, format!("{path} does not take {method}."))
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("The request body is larger than {limit} bytes."))
    }

    pub(crate) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "The request body took too long to arrive.")
    }

    /// The server is about to go.
    pub(crate) fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "The server is shutting down.")
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "The API key is missing or wrong.")
    }

    /// Whoever was asked behind this server did not answer.
    pub(crate) fn bad_gateway(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, message)
    }

    /// There is more work than this server takes on.
    pub(crate) fn busy() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "There are as many requests in flight as there may be. Please try again later.",
        )
    }

    pub(crate) fn lost() -> Self {
        let text = "The worker that computed this request has died, and what it computed is lost. Please send the request again.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    pub(crate) fn no_worker() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "No worker is available.")
    }

    /// The proxy before a worker turns a request away.
    pub(crate) fn overflow(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::TOO_MANY_REQUESTS);
        Self::new(status, "The worker has as many requests as it may have. Please try again later.")
    }

    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::NOT_FOUND => "NotFoundError",
            StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowedError",
            StatusCode::REQUEST_TIMEOUT => "RequestTimeoutError",
            StatusCode::PAYLOAD_TOO_LARGE => "PayloadTooLargeError",
            StatusCode::UNAUTHORIZED => "AuthenticationError",
            StatusCode::TOO_MANY_REQUESTS => "RateLimitError",
            StatusCode::INTERNAL_SERVER_ERROR => "InternalServerError",
            StatusCode::BAD_GATEWAY => "BadGatewayError",
            StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailableError",
            _ => "BadRequestError",
        }
    }

    fn body(&self) -> Body<'_> {
        let (message, param) = (self.message.as_str(), self.param.as_deref());
        Body { error: Inner { message, r#type: self.kind(), param, code: self.status.as_u16() } }
    }

    /// As an event that ends a stream which has begun; no `[DONE]` follows it.
    pub(crate) fn event(&self) -> String {
        event(&self.body())
    }
}

/// `routes`, with an error in the same words for every path and method that they have not.
pub(crate) fn with_refusals<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes.fallback(async |uri: Uri| ApiError::no_path(uri.path())).method_not_allowed_fallback(
        async |method: Method, uri: Uri| ApiError::wrong_method(method.as_str(), uri.path()),
    )
}

/// An event of a stream.
pub(crate) fn event(data: &impl Serialize) -> String {
    // Plain structs of texts and numbers always serialise; an event without data would be ignored by its reader.
    format!("data: {}\n\n", serde_json::to_string(data).unwrap_or_default())
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        // Where the server goes, or stopped reading, no other request will be answered on this connection.
        let gone = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::REQUEST_TIMEOUT];
        if gone.contains(&self.status) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&self.status) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
