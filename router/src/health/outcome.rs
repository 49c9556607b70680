//! How an attempt ended, as far as it says something of the worker.

/// How an attempt to have a request answered ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// With the whole answer. The only outcome that speaks for a worker: one that dies in the middle of every answer
    /// has also sent first tokens.
    Answered,
    /// With a 4xx other than 429: the client's fault. Says nothing of the worker. It does not count against it: a few
    /// prompts that are too long would take out the fleet (sgl-project/sglang #25811, #26713). Nor does it count for
    /// it: a server refuses such a request before its engine sees it, so one whose engine is dead would be kept in
    /// service by its clients' mistakes.
    ClientError,
    /// With a 503 or 429: the worker has enough to do, and says so. Says nothing of its health: who counts it keeps out
    /// workers that have long drained (sglang #39464).
    Busy,
    /// Before its end, for no fault of the worker: the client left, or the gateway stops.
    Cancelled,
    /// With another 5xx, no connection, a connection lost in the middle of the answer, or a time-out.
    Failed,
}

impl Outcome {
    /// Whether another worker might do better. The attempt must not have shown the client anything yet.
    #[must_use]
    pub const fn is_retriable(self) -> bool {
        matches!(self, Self::Busy | Self::Failed)
    }
}
