use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// CPU time of this thread since some instant: what else the machine does is not counted, though it does take room in
/// caches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started(Duration);

impl Started {
    /// The instant is now.
    pub(crate) fn now() -> Self {
        Self(thread_time())
    }

    /// How much this thread has computed since.
    pub(crate) fn elapsed(self) -> Duration {
        thread_time() - self.0
    }
}

fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the kernel counts CPU time").into()
}
