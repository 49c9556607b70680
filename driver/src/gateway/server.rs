//! A gateway and its life.

use super::api;
use super::dispatch::Dispatch;
use super::feed::subscribe;
use super::forward::Gateway;
use super::glance::Reader;
use super::settings::Settings;
use super::upstream::Upstream;
use crate::emulate::tokens::Cutter;
use crate::failure::Failure;
use crate::http::door::{Door, Phase};
use kvcache::{Time, WorkerId};
use router::{Health, RetryBudget, Router, Signal};
use std::future::Future;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

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
    let mut router = Router::new(settings.router);
    if let Some(forecast) = settings.forecast {
        for worker in (0..workers).map(WorkerId) {
            router.observe(worker, Signal::Forecast(forecast), Time::ZERO, Time::ZERO);
        }
    }
    let dispatch = Dispatch::new(router, Health::new(settings.health, workers), RetryBudget::new(settings.retries));
    let reader = Reader {
        cutter: Cutter::new(&settings.model, settings.router.block, settings.chars_per_token),
        session_key: settings.session_key.clone(),
        strategy: settings.router.strategy,
        by_tokens: !settings.feeds.is_empty(),
    };
    let (phase, watched) = watch::channel(Phase::Serving);
    let tls = settings.tls.clone().map(|tls| tls.0);
    let Settings { head_timeout, reader_timeout, drain, .. } = settings;
    let dispatch = Arc::new(dispatch);
    let mut followers = JoinSet::new();
    for (worker, place) in (0..workers).map(WorkerId).zip(settings.feeds.clone()) {
        followers.spawn(subscribe::follow(dispatch.clone(), worker, place, settings.router.block));
    }
    let gateway = Gateway {
        tiers_known: settings.router.tiers_known(),
        upstream: Upstream::new(&settings)?,
        dispatch,
        phase: watched,
        reader,
        settings,
    };
    let routes = api::routes(Arc::new(gateway));
    Door { listener, routes, phase, tls, head_timeout, reader_timeout, drain }.serve(shutdown).await;
    followers.shutdown().await;
    Ok(())
}
