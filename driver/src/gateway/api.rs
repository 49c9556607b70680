//! The paths there are. Whatever else workers answer (administration, above all) cannot be reached through the gateway.

use super::forward::Gateway;
use crate::http::error::{ApiError, with_refusals};
use crate::http::{key, sagemaker};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use router::Api;
use std::sync::Arc;

type Answer = Result<Response, ApiError>;

pub(super) fn routes(gateway: Arc<Gateway>) -> Router {
    let settings = &gateway.settings;
    let front = sagemaker::Front {
        callers: settings.callers.clone(),
        endpoints: settings.endpoints.clone(),
        body_timeout: settings.body_timeout,
        phase: gateway.phase.clone(),
    };
    let container = Router::new().route("/invocations", post(invocations)).with_state(gateway.clone());
    let paths = Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route("/invocations", post(invocations))
        .route("/v1/models", get(models))
        .route("/tokenize", post(tokenize))
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/ping", get(health).post(health));
    let guarded = with_refusals(paths).with_state(gateway.clone()).merge(sagemaker::routes(front, container));
    key::guard(guarded, settings.api_key.clone(), &settings.callers)
}

async fn chat(State(gateway): State<Arc<Gateway>>, request: Request) -> Answer {
    gateway.answer(request, Some(Api::Chat)).await
}

async fn completions(State(gateway): State<Arc<Gateway>>, request: Request) -> Answer {
    gateway.answer(request, Some(Api::Completions)).await
}

async fn invocations(State(gateway): State<Arc<Gateway>>, request: Request) -> Answer {
    gateway.answer(request, None).await
}

async fn models(State(gateway): State<Arc<Gateway>>, request: Request) -> Answer {
    gateway.pass(request, "/v1/models").await
}

async fn tokenize(State(gateway): State<Arc<Gateway>>, request: Request) -> Answer {
    gateway.pass(request, "/tokenize").await
}

async fn metrics(State(gateway): State<Arc<Gateway>>) -> Response {
    let kind = (CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    let standing = gateway.dispatch.standing();
    ([kind], gateway.dispatch.meters.text(gateway.settings.router.strategy, &standing)).into_response()
}

async fn health(State(gateway): State<Arc<Gateway>>) -> Response {
    if gateway.is_ready() { StatusCode::OK.into_response() } else { ApiError::stopping().into_response() }
}
