//! A gateway and its life.

use super::api;
use super::dispatch::Dispatch;
use super::forward::Gateway;
use super::glance::Reader;
use super::settings::Settings;
use super::upstream::Upstream;
use crate::emulate::tokens::Cutter;
use crate::failure::Failure;
use crate::http::door::{Door, Phase};
use router::{Health, RetryBudget, Router};
use std::future::Future;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Routes what comes to `listener` until `shutdown` resolves and requests in flight have ended.
///
/// # Errors
/// Where certificates cannot be read.
///
/// # Panics
/// Where there is no worker, or the router knows another number of them: the caller checks its input.
pub async fn serve(
    settings: Settings,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let workers = settings.router.workers;
    assert_eq!(usize::from(workers), settings.workers.len(), "the router knows the workers there are");
    let dispatch = Dispatch::new(
        Router::new(settings.router),
        Health::new(settings.health, workers),
        RetryBudget::new(settings.retries),
    );
    let reader = Reader {
        cutter: Cutter::new(&settings.model, settings.router.block, settings.chars_per_token),
        session_key: settings.session_key.clone(),
        strategy: settings.router.strategy,
    };
    let (phase, watched) = watch::channel(Phase::Serving);
    let (tls, head_timeout, drain) = (settings.tls.clone().map(|tls| tls.0), settings.head_timeout, settings.drain);
    let gateway = Gateway {
        tiers_known: settings.router.tiers_known(),
        upstream: Upstream::new(&settings)?,
        dispatch: Arc::new(dispatch),
        phase: watched,
        reader,
        settings,
    };
    let routes = api::routes(Arc::new(gateway));
    Door { listener, routes, phase, tls, head_timeout, drain }.serve(shutdown).await;
    Ok(())
}
