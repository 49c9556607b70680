//! Who has the API key: `Authorization: Bearer KEY`, or `x-api-key: KEY`, in front of every path but the two that load balancers ask.

use super::error::ApiError;
use super::sagemaker::Callers;
use crate::bounded;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use thiserror::Error;

/// More than any key has.
const MOST_BYTES: u64 = 4096;

/// A secret that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Arc<str>);

/// A file without a key in it.
#[derive(Debug, Error)]
pub enum NoKey {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(std::io::Error),
    /// It is not what a header can carry.
    #[error("it must hold one line, the key, of 1 to 4096 printable ASCII characters")]
    Malformed,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

impl ApiKey {
    /// Reads the one line of a file.
    ///
    /// # Errors
    /// Where it holds no key.
    pub fn read(file: &Path) -> Result<Self, NoKey> {
        let bytes = bounded::read(file, MOST_BYTES).map_err(NoKey::Unreadable)?;
        let text = String::from_utf8(bytes).map_err(|_| NoKey::Malformed)?;
        let key = text.trim_end_matches(['\r', '\n']);
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NoKey::Malformed);
        }
        Ok(Self(key.into()))
    }

    /// As the value of an `Authorization` header.
    #[must_use]
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Compares in a time that depends on lengths alone.
    fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

/// `routes`, for those who have `key`. SageMaker's paths have signatures of their own, where those are checked.
pub(crate) fn guard(routes: Router, key: Option<ApiKey>, callers: &Callers) -> Router {
    let signed = matches!(callers, Callers::Signed(_));
    match key {
        Some(key) => routes.layer(from_fn_with_state((key, signed), check)),
        None => routes,
    }
}

async fn check(State((key, signed)): State<(ApiKey, bool)>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_open = ["/health", "/ping"].contains(&path) || (signed && path.starts_with("/endpoints/"));
    let headers = request.headers();
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, given) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(given)
    });
    let given = bearer.or_else(|| headers.get("x-api-key").map(axum::http::HeaderValue::as_bytes));
    if is_open || given.is_some_and(|given| key.is(given)) {
        return next.run(request).await;
    }
    ApiError::unauthorized().into_response()
}
