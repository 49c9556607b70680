//! The machine: one rule, and who may be chosen.

use crate::available::Available;
use crate::config::{RouterConfig, Strategy};
use crate::exact::Exact;
use crate::feed::FeedCount;
use crate::holders::Holders;
use crate::prefixes::Prefixes;
use crate::request::{Decision, NoWorker, RouteRequest, Signal};
use crate::sessions::Sessions;
use crate::turns::Turns;
use kvcache::{Time, Tokens, WorkerId};

/// A way to choose a worker.
pub(crate) trait Choose {
    /// Chooses one of `available`, which is not empty, and takes note of it.
    fn choose(&mut self, request: &RouteRequest<'_>, available: &Available, now: Time) -> Decision;
}

#[derive(Debug)]
enum Rule {
    Turns(Turns),
    Prefixes(Prefixes),
    Exact(Exact),
    Sessions(Sessions),
}

/// Chooses a worker for each request.
#[derive(Debug)]
pub struct Router {
    config: RouterConfig,
    available: Available,
    rule: Rule,
}

impl Router {
    /// A router that has seen nothing yet.
    ///
    /// # Panics
    /// Where there is no worker, or a block or chunk holds no token: the caller checks its input.
    #[must_use]
    pub fn new(config: RouterConfig) -> Self {
        assert!(config.workers > 0, "a router needs a worker");
        assert!(config.block > Tokens::ZERO, "a block holds at least one token");
        assert!(config.chunk > Tokens::ZERO, "a chunk holds at least one token");
        let rule = match config.strategy {
            Strategy::RoundRobin => Rule::Turns(Turns::new()),
            Strategy::PrefixAware => Rule::Prefixes(Prefixes::new(config.workers, config.chunk, config.seed)),
            Strategy::KvAware => Rule::Exact(Exact::new(&config)),
            Strategy::Session => Rule::Sessions(Sessions::new(config.workers, config.qps_window)),
        };
        Self { config, available: Available::all(config.workers), rule }
    }

    /// Its set-up.
    #[must_use]
    pub const fn config(&self) -> &RouterConfig {
        &self.config
    }

    /// Where `request` goes, which counts as sent there. Workers in `excluded` are not chosen; numbers of workers that
    /// do not exist are ignored there. O(workers) by turn, session or rate; O(workers x log pieces) by prefix, and
    /// `prefixaware` then writes down the pieces that are new to the worker.
    ///
    /// # Errors
    /// [`NoWorker`] where all are excluded; nothing changed.
    pub fn route(
        &mut self,
        request: &RouteRequest<'_>,
        excluded: &[WorkerId],
        now: Time,
    ) -> Result<Decision, NoWorker> {
        self.available.all_but(excluded);
        if self.available.count() == 0 {
            return Err(NoWorker { request: request.request, workers: self.config.workers });
        }
        let rule: &mut dyn Choose = match &mut self.rule {
            Rule::Turns(turns) => turns,
            Rule::Prefixes(prefixes) => prefixes,
            Rule::Exact(exact) => exact,
            Rule::Sessions(sessions) => sessions,
        };
        Ok(rule.choose(request, &self.available, now))
    }

    /// Takes note of what `worker` says. O(1), except that a cleared cache costs O(pieces known).
    ///
    /// # Panics
    /// Where there is no such worker.
    #[inline]
    pub fn observe(&mut self, worker: WorkerId, signal: Signal<'_>, now: Time) {
        // No strategy here ages what it hears: an event counts until the next one of its worker.
        let _ = now;
        match (&mut self.rule, signal) {
            (Rule::Exact(exact), Signal::Cache(event)) => exact.hear(worker, event),
            (Rule::Turns(_) | Rule::Prefixes(_) | Rule::Sessions(_), Signal::Cache(_))
            | (_, Signal::FirstToken(_) | Signal::Finished(_)) => {}
        }
    }

    /// Whether cache events make a difference. Where not, workers need not emit any.
    #[must_use]
    pub const fn listens_to_cache(&self) -> bool {
        matches!(self.rule, Rule::Exact(_))
    }

    /// What became of the cache events heard; `None` where nobody listens.
    #[must_use]
    pub const fn feed(&self) -> Option<FeedCount> {
        match &self.rule {
            Rule::Exact(exact) => Some(exact.feed().count()),
            Rule::Turns(_) | Rule::Prefixes(_) | Rule::Sessions(_) => None,
        }
    }

    /// What the router believes about the workers' caches (`kvaware`) or was sent to them (`prefixaware`); `None`
    /// where the strategy keeps no such index.
    #[must_use]
    pub const fn holders(&self) -> Option<&Holders> {
        match &self.rule {
            Rule::Exact(exact) => Some(exact.feed().holders()),
            Rule::Prefixes(prefixes) => Some(prefixes.holders()),
            Rule::Turns(_) | Rule::Sessions(_) => None,
        }
    }
}
