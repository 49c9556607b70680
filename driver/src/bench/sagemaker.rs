//! What SageMaker's runtime adds to a request and says of one that failed (`facts/clients.md`, section 2).

use super::client::Options;
use super::credentials::{self, Found};
use super::exchange::Ask;
use super::problem::{Problem, short};
use crate::aws::sigv4::{Scope, authorization};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use std::sync::{Mutex, PoisonError};

/// Signs requests of one region.
#[derive(Debug)]
pub struct Signer {
    region: String,
    found: Mutex<Found>,
}

impl Signer {
    /// With the credentials that the usual chain finds.
    ///
    /// # Errors
    /// Where it finds none: where was looked, and what to do.
    pub async fn find(region: &str) -> Result<Self, String> {
        Ok(Self { region: region.to_owned(), found: Mutex::new(credentials::find().await?) })
    }

    /// Finds credentials again that expire soon. Those there are stay where none are found.
    pub async fn refresh(&self) {
        if self.found.lock().unwrap_or_else(PoisonError::into_inner).expires_soon()
            && let Ok(found) = credentials::find().await
        {
            *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
        }
    }

    /// Adds what makes a request a signed one.
    ///
    /// # Errors
    /// Where a credential is no text that a header could hold.
    pub fn sign(&self, headers: &mut HeaderMap, path: &str, body: &[u8]) -> Result<(), String> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let odd = |error: hyper::header::InvalidHeaderValue| error.to_string();
        let moment = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        headers.insert("x-amz-date", HeaderValue::try_from(moment.as_str()).map_err(odd)?);
        if let Some(token) = &found.credentials.session_token {
            headers.insert("x-amz-security-token", HeaderValue::try_from(token.as_str()).map_err(odd)?);
        }
        let scope = Scope { moment: &moment, region: &self.region, service: "sagemaker" };
        let lines: Vec<(&str, &str)> =
            headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
        let value = authorization(&found.credentials, scope, path, &lines, body);
        headers.insert(AUTHORIZATION, HeaderValue::try_from(value).map_err(odd)?);
        Ok(())
    }
}

/// The headers of SageMaker's own; it strips all that it does not know.
pub(super) fn describe(headers: &mut HeaderMap, ask: &Ask, options: &Options) {
    let accept = if options.streamed { "x-amzn-sagemaker-accept" } else { "accept" };
    let kind = if options.streamed { "text/event-stream" } else { "application/json" };
    headers.insert(HeaderName::from_static(accept), HeaderValue::from_static(kind));
    let named = [
        ("x-amzn-sagemaker-session-id", ask.session.as_deref().filter(|_| options.sagemaker_session)),
        ("x-amzn-sagemaker-prefix-aware-id", ask.prefix.as_deref()),
        ("x-amzn-sagemaker-inference-component", options.inference_component.as_deref()),
    ];
    for (name, value) in named {
        let value = value.and_then(|value| HeaderValue::try_from(value).ok());
        headers.extend(value.map(|value| (HeaderName::from_static(name), value)));
    }
}

/// The class of a response that is no success.
pub(super) fn refusal(status: u16, kind: Option<&str>, body: &[u8]) -> Problem {
    let said: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| said[key].as_str().map(str::to_owned);
    // `Name:http://..` and `prefix#Name` are both written.
    let named = kind.map(str::to_owned).or_else(|| text("__type")).or_else(|| text("Code")).unwrap_or_default();
    let name = named.split(':').next().unwrap_or_default().rsplit('#').next().unwrap_or_default();
    let message = text("Message").or_else(|| text("message"));
    let message = message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let class = match name {
        "ExpiredTokenException" | "ExpiredToken" | "RequestExpired" => "expired_token",
        "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException" => "signature",
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "AccessDeniedException"
        | "AccessDenied" => "access_denied",
        "ThrottlingException" | "Throttling" | "TooManyRequestsException" => "throttled",
        "ValidationError" | "ValidationException" => "validation",
        "ModelNotReadyException" => "model_not_ready",
        "ModelError" if message.contains("timed out") => "model_timeout",
        "ModelError" => "model_error",
        "ServiceUnavailable" | "ServiceUnavailableException" => "service_unavailable",
        "InternalFailure" | "InternalDependencyException" | "InternalServerException" => "internal_failure",
        _ => return Problem::status(status, &message),
    };
    let inner = said["OriginalMessage"].as_str().map(|inner| format!(": {inner}")).unwrap_or_default();
    let said = short(&format!("HTTP {status} {name}: {message}{inner}"));
    Problem { refused: !matches!(class, "model_error" | "model_timeout"), ..Problem::new(class, said) }
}
