//! Sockets, and stopping gracefully: told to stop, the daemon takes no new work, requests that are held are answered, and what
//! is coming in may do so to its end, within the drain time. Then the segment goes.

use super::api::Api;
use super::fetch::Transfers;
use super::life::{Life, Watched};
use super::meters::{Meters, add};
use super::peers::Peers;
use super::say;
use super::segment::{Found, Segment};
use super::settings::Settings;
use super::store::Store;
use crate::emulate::clock::LAST;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, sleep_until, timeout};

/// Waiting before the next try where the process has no socket left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// Most bytes of a request's head, and of a body that are read at a time.
const BUFFER: usize = 256 << 10;

/// How far the daemon's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    Draining,
}

/// Why a daemon ended.
#[derive(Debug)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// Its clock has no more room: it has run for 200 days.
    Old,
    /// Clients cannot find the segment any more, or its content is lost.
    Segment(io::Error),
}

/// A daemon that does not listen yet.
#[derive(Debug)]
pub struct Daemon {
    api: Arc<Api>,
    phase: watch::Sender<Phase>,
}

impl Daemon {
    /// A daemon over a segment, which it takes away at its end. `life` tells its leases from those of an earlier life: no two
    /// daemons at one address have the same.
    #[must_use]
    pub fn new(settings: Settings, segment: Arc<Segment>, life: u64) -> Self {
        let (phase, watched) = watch::channel(Phase::Serving);
        let (store, meters) = (Store::new(settings.node), Arc::new(Meters::default()));
        let transfers = Transfers::new(store.clone(), segment.clone(), meters.clone());
        let peers = Peers::new(&settings.members, settings.own);
        Self { api: Arc::new(Api { store, segment, transfers, peers, meters, settings, life, phase: watched }), phase }
    }

    /// Serves on `listener` until `shutdown` resolves and what was under way has ended.
    pub async fn run(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Ended {
        let Self { api, phase } = self;
        let mut connections = JoinSet::new();
        let clock = tokio::spawn(api.store.clone().keep_time());
        let (mut shutdown, mut lost) = (pin!(shutdown), pin!(watch_segment(&api)));
        let mut old = pin!(sleep_until(api.store.clock().wall(LAST)));
        let ended = loop {
            let full = connections.len() >= api.settings.connections;
            tokio::select! {
                biased;
                () = &mut shutdown => break Ended::Stopped,
                error = &mut lost => break Ended::Segment(error),
                () = &mut old => break Ended::Old,
                Some(_) = connections.join_next() => {}
                stream = accept(&listener), if !full => drop(connections.spawn(connection(api.clone(), stream))),
            }
            api.meters.connections.store(connections.len() as u64, Ordering::Relaxed);
        };
        drop(listener);
        phase.send_replace(Phase::Draining);
        let _ = timeout(api.settings.drain, async { while connections.join_next().await.is_some() {} }).await;
        connections.shutdown().await;
        clock.abort();
        api.segment.remove();
        ended
    }
}

/// Puts the segment back where clients look for it, whenever it is not there. Resolves where that fails.
async fn watch_segment(api: &Api) -> io::Error {
    let mut look = interval(api.settings.watch);
    loop {
        look.tick().await;
        match api.segment.watch() {
            Ok(Found::Intact) => {}
            Ok(Found::Restored) => {
                add(&api.meters.restored);
                say(&format!("warning: {} was gone or replaced, and is back", api.segment.path().display()));
            }
            Err(error) => return error,
        }
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            // Answers are small writes: with Nagle's algorithm each would wait for a delayed acknowledgement.
            Ok((stream, _)) if stream.set_nodelay(true).is_ok() => return stream,
            Ok(_) => {} // the client has gone already
            Err(_) => sleep(ACCEPT_AGAIN).await,
        }
    }
}

/// One connection's life.
async fn connection(api: Arc<Api>, stream: TcpStream) {
    let (life, settings) = (Arc::new(Life::default()), &api.settings);
    let held = settings.longest_hold + settings.patience;
    let (head, idle) = (settings.patience, settings.idle);
    let mut phase = api.phase.clone();
    let service = service_fn(|request| {
        let (api, busy) = (api.clone(), life.begin());
        async move { Ok::<_, Infallible>(api.answer(request, busy).await) }
    });
    let io = TokioIo::new(Watched { stream, life: life.clone() });
    let mut served = pin!(http1::Builder::new().max_buf_size(BUFFER).serve_connection(io, service));
    let mut silent = pin!(life.silent(head, idle, held));
    tokio::select! {
        // A connection that breaks concerns nobody else.
        _ = served.as_mut() => return,
        () = silent.as_mut() => return,
        _ = phase.wait_for(|phase| *phase != Phase::Serving) => {}
    }
    served.as_mut().graceful_shutdown();
    tokio::select! {
        _ = served => {}
        () = silent => {}
    }
}
