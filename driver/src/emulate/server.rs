//! Sockets, and stopping gracefully.
//!
//! Told to stop, the server is not ready any more and takes no new work, but goes on answering; requests in flight may
//! end within the drain time. After it, streams end in an error event and the rest in an error.

use super::api::{self, Endpoint};
use super::clock::Clock;
use super::engine::{Engine, Stats};
use super::executor::Workers;
use super::progress::Entrance;
use super::settings::Settings;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use sim::cluster::Cluster;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long clients may take to read the last words once the drain time is over.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Waiting before the next try where the process has no socket left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// Most bytes of a request's head, and of a response that waits for its reader.
const BUFFER: usize = 64 << 10;

/// How far the server's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Ready.
    Serving,
    /// No new work.
    Draining,
    /// Requests in flight are given up.
    Over,
}

/// Resolves when requests in flight are given up.
pub(super) async fn over(phase: &mut watch::Receiver<Phase>) {
    // A server that is gone is over, too.
    let _ = phase.wait_for(|phase| *phase == Phase::Over).await;
}

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

/// Resolves at SIGTERM or SIGINT. What a second signal does is the caller's business.
///
/// # Errors
/// Where signals cannot be heard.
pub async fn stop_signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
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
    let engine = engine.with_watch(settings.growth.clone());
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
        let door = Door { listener, routes: api::routes(endpoint), phase, settings };
        let served = async {
            door.serve(shutdown).await;
            entrance.stop();
        };
        tokio::join!(engine.run(), served).0
    }
}

struct Door {
    listener: TcpListener,
    routes: Router,
    phase: watch::Sender<Phase>,
    settings: Settings,
}

impl Door {
    async fn serve(self, shutdown: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                stream = self.accept() => drop(connections.spawn(self.connection(stream))),
                Some(_) = connections.join_next() => {}
            }
        }
        // Nobody may be listening: then nobody is in flight.
        self.phase.send_replace(Phase::Draining);
        if timeout(self.settings.drain, self.see_off(&mut connections)).await.is_err() {
            self.phase.send_replace(Phase::Over);
            // Whoever has not read them by then never will.
            let _ = timeout(LAST_WORDS, self.see_off(&mut connections)).await;
        }
        connections.shutdown().await;
    }

    /// Waits for connections with work in flight. New ones are answered meanwhile, and not waited for.
    async fn see_off(&self, connections: &mut JoinSet<()>) {
        let mut late = JoinSet::new();
        while !connections.is_empty() {
            tokio::select! {
                _ = connections.join_next() => {}
                stream = self.accept() => drop(late.spawn(self.connection(stream))),
                Some(_) = late.join_next() => {}
            }
        }
    }

    async fn accept(&self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                // Tokens are small writes: with Nagle's algorithm each would wait for the client's delayed
                // acknowledgement of the one before.
                Ok((stream, _)) if stream.set_nodelay(true).is_ok() => return stream,
                Ok(_) => {} // the client has gone already
                Err(_) => sleep(ACCEPT_AGAIN).await,
            }
        }
    }

    /// One connection's life. While the server drains it ends with the request in flight, at once where there is none,
    /// unless it began only then: it shall hear that there is no new work.
    fn connection(&self, stream: TcpStream) -> impl Future<Output = ()> + Send + 'static {
        let mut phase = self.phase.subscribe();
        let was_serving = *phase.borrow() == Phase::Serving;
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.settings.head_timeout)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(self.routes.clone()));
        async move {
            let mut served = pin!(served);
            tokio::select! {
                // A connection that breaks concerns nobody else.
                _ = served.as_mut() => return,
                _ = phase.wait_for(|phase| *phase != Phase::Serving), if was_serving => {}
            }
            served.as_mut().graceful_shutdown();
            let _ = served.await;
        }
    }
}
