//! A server in a thread of its own, for whoever measures it from the same process.

use super::progress::Entrance;
use super::server::{ServeError, prepare};
use super::settings::Settings;
use super::stats::Stats;
use sim::cluster::Cluster;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// A running server on a free port of the loopback interface. Dropping it tells it to stop and does not wait.
#[derive(Debug)]
pub struct Emulator {
    address: SocketAddr,
    entrance: Entrance,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<Stats, ServeError>>,
}

impl Emulator {
    /// Starts a server before the cluster that `build` makes; it is made in the server's thread, where it stays.
    ///
    /// # Errors
    /// Where no port or thread can be had, or the cluster or the settings do not fit the purpose.
    pub fn spawn(build: impl FnOnce() -> Cluster + Send + 'static, settings: Settings) -> Result<Self, ServeError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(ServeError::Socket)?;
        listener.set_nonblocking(true).map_err(ServeError::Socket)?;
        let address = listener.local_addr().map_err(ServeError::Socket)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, started) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("emulate".to_owned())
            .spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Socket)?;
                runtime.block_on(async move {
                    let listener = tokio::net::TcpListener::from_std(listener).map_err(ServeError::Socket)?;
                    let prepared = prepare(build(), settings)?;
                    // Whoever asked waits for it, or for this thread to end.
                    let _ = ready.send(prepared.entrance());
                    // A sender that was dropped is a wish to stop, too.
                    Ok(prepared.run(listener, async { drop(stopped.await) }).await)
                })
            })
            .map_err(ServeError::Socket)?;
        match started.recv() {
            Ok(entrance) => Ok(Self { address, entrance, stop, thread }),
            Err(mpsc::RecvError) => Err(joined(thread).err().unwrap_or(ServeError::Died)),
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that its engine has and has not ended.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.entrance.live()
    }

    /// Tells it to stop, now, without waiting.
    ///
    /// # Errors
    /// What ended the server before.
    pub fn begin_stop(self) -> JoinHandle<Result<Stats, ServeError>> {
        // Where nobody hears it, the server has ended already.
        let _ = self.stop.send(());
        self.thread
    }

    /// Stops it gracefully and waits for its end, which blocks this thread.
    ///
    /// # Errors
    /// What ended the server before.
    pub fn stop(self) -> Result<Stats, ServeError> {
        joined(self.begin_stop())
    }
}

fn joined(thread: JoinHandle<Result<Stats, ServeError>>) -> Result<Stats, ServeError> {
    thread.join().map_err(|_| ServeError::Died)?
}
