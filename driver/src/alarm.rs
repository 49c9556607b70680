//! Waking up on time: tokio's timers are accurate to a millisecond or two, the kernel's to some microseconds.

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::future::pending;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

/// How long before its moment the kernel's timer takes over.
const BEFORE: Duration = Duration::from_millis(3);

/// Wakes a task. Without a timer of the kernel it is as late as tokio is.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<AsyncFd<Timer>>);

#[derive(Debug)]
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Alarm {
    /// Waits until `at`, where there is such a moment; else for ever.
    pub(crate) async fn until_any(&mut self, at: Option<Instant>) {
        match at {
            Some(at) => self.until(at).await,
            None => pending().await,
        }
    }

    /// Waits until `at`. Dropped before that, it waits for nothing.
    pub(crate) async fn until(&mut self, at: Instant) {
        // A moment that has passed is rounded up to the next millisecond, too.
        if let Some(early) = at.checked_sub(BEFORE).filter(|early| *early > Instant::now()) {
            sleep_until(early).await;
        }
        let left = at.saturating_duration_since(Instant::now());
        // Zero would disarm it.
        if !left.is_zero() {
            self.wait(left).await;
        }
        // Where time stands still, as in tests, that was for nothing.
        if Instant::now() < at {
            sleep_until(at).await;
        }
    }

    #[expect(
        deprecated,
        reason = "its successor is unsafe to call; a timer owns its descriptor for as long as it is registered"
    )]
    async fn wait(&mut self, span: Duration) -> Option<()> {
        if self.0.is_none() {
            let timer =
                TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC).ok()?;
            self.0 = Some(AsyncFd::new(Timer(timer)).ok()?);
        }
        let timer = self.0.as_ref()?;
        timer.get_ref().0.set(Expiration::OneShot(TimeSpec::from_duration(span)), TimerSetTimeFlags::empty()).ok()?;
        // Setting it has taken back what had expired before; readiness may still be remembered.
        loop {
            let mut ready = timer.readable().await.ok()?;
            if timer.get_ref().0.wait().is_ok() {
                ready.clear_ready();
                return Some(());
            }
            ready.clear_ready();
        }
    }
}
