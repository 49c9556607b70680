//! The emulated endpoint behind a door.

use super::api::{self, Endpoint};
use super::clock::Clock;
use super::engine::Engine;
use super::executor::Workers;
use super::feed::Publisher;
use super::progress::Entrance;
use super::settings::Settings;
use super::stats::Stats;
use crate::http::door::{Door, Phase};
use crate::http::key;
use sim::cluster::Cluster;
use std::future::Future;
use std::io;
use std::sync::Arc;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Why there is no server.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The cluster would keep its tokens to itself.
    #[error("serve a cluster that tells no tokens: its engines need record_work and max_repeats 1")]
    SilentCluster,
    /// There is no name to call the model by.
    #[error("serve a model without a name")]
    NamelessModel,
    /// No socket, or no thread.
    #[error("serve: {0}")]
    Socket(#[source] io::Error),
    /// The server's thread panicked.
    #[error("serve: the server's thread died")]
    Died,
}

/// Serves `cluster` on `listener` until `shutdown` resolves and requests in flight have ended, and tells what became
/// of all requests. Runs on the calling task, so the cluster stays in its thread.
///
/// # Errors
/// Where the cluster or the settings do not fit the purpose.
pub async fn serve(
    cluster: Cluster,
    settings: Settings,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<Stats, ServeError> {
    Ok(prepare(cluster, settings)?.run(listener, shutdown).await)
}

/// The same, with passes that `workers` execute.
///
/// # Errors
/// The same, and where the workers cannot be started.
pub async fn serve_computed(
    cluster: Cluster,
    workers: Workers,
    settings: Settings,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<Stats, ServeError> {
    let Prepared { engine, entrance, phase, endpoint, settings } = prepare(cluster, settings)?;
    let engine = engine.with_workers(workers, &entrance).map_err(ServeError::Socket)?;
    Ok(Prepared { engine, entrance, phase, endpoint, settings }.run(listener, shutdown).await)
}

/// A server that has its engine and does not listen yet.
#[derive(Debug)]
pub(super) struct Prepared {
    engine: Engine,
    entrance: Entrance,
    phase: watch::Sender<Phase>,
    endpoint: Arc<Endpoint>,
    settings: Settings,
}

/// Checks what is to be served. The clock starts here.
pub(super) fn prepare(cluster: Cluster, settings: Settings) -> Result<Prepared, ServeError> {
    let engine_config = cluster.replicas().next().map(|replica| *replica.config());
    let config = engine_config
        .filter(|config| config.record_work && config.max_repeats == 1)
        .ok_or(ServeError::SilentCluster)?;
    if settings.models.is_empty() {
        return Err(ServeError::NamelessModel);
    }
    let clock = Clock::starting_at(cluster.now(), settings.time_scale);
    let tiers_known = cluster.router().config().tiers_known();
    let (entrance, engine) = Engine::new(cluster, clock, settings.latency, settings.record);
    let publisher = settings.feed.clone().map(|feed| Publisher::new(feed, config.cache.block));
    let engine = engine.with_watch(settings.growth.clone()).with_publisher(publisher);
    let (phase, watched) = watch::channel(Phase::Serving);
    let endpoint = Arc::new(Endpoint::new(&settings, &config, tiers_known, entrance.clone(), watched));
    Ok(Prepared { engine, entrance, phase, endpoint, settings })
}

impl Prepared {
    pub(super) fn entrance(&self) -> Entrance {
        self.entrance.clone()
    }

    pub(super) async fn run(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Stats {
        let Self { engine, entrance, phase, endpoint, settings } = self;
        let routes = key::guard(api::routes(endpoint), settings.api_key, &settings.callers);
        let Settings { head_timeout, reader_timeout, drain, .. } = settings;
        let tls = settings.tls.map(|tls| tls.0);
        let door = Door { listener, routes, phase, tls, head_timeout, reader_timeout, drain };
        let served = async {
            door.serve(shutdown).await;
            entrance.stop();
        };
        tokio::join!(engine.run(), served).0
    }
}
