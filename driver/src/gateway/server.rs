//! A gateway and its life.

use super::api;
use super::dispatch::Dispatch;
use super::feed::subscribe::{self, Following};
use super::forward::Gateway;
use super::glance::Reader;
use super::log::Log;
use super::meters::Meters;
use super::settings::Settings;
use super::upstream::Upstream;
use crate::emulate::tokens::Cutter;
use crate::failure::Failure;
use crate::http::door::{Door, Phase};
use kvcache::WorkerId;
use router::Desk;
use std::future::Future;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Routes what comes to `listener` until `shutdown` resolves and requests in flight have ended.
///
/// # Errors
/// Where certificates cannot be read, or the log of decisions cannot be written.
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
    let desk = settings.desk();
    let log = settings.decision_log.as_deref().map(|path| Log::begin(path, &desk)).transpose()?;
    let dispatch = Dispatch::new(Desk::new(desk), log, Meters::new(workers, &settings.model));
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
    let decided = dispatch.clone();
    let mut followers = JoinSet::new();
    for (worker, place) in (0..workers).map(WorkerId).zip(settings.feeds.clone()) {
        let (block, silence) = (settings.router.block, settings.feed_silence);
        followers.spawn(subscribe::follow(Following { dispatch: dispatch.clone(), worker, place, block, silence }));
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
    decided.end_log()
}
