//! The machine: one rule, and who may be chosen.

use crate::available::Available;
use crate::compat::controller::Controller;
use crate::compat::prefixes::Prefixes;
use crate::compat::sessions::Sessions;
use crate::compat::turns::Turns;
use crate::config::{RouterConfig, Strategy};
use crate::corrected::bounded_ring::BoundedRing;
use crate::corrected::cheapest::Cheapest;
use crate::corrected::predicted::Predicted;
use crate::corrected::prefix::BoundedPrefixes;
use crate::corrected::simple::{LeastLoaded, Random, TwoChoices};
use crate::health::{Reservations, Reserved};
use crate::index::Index;
use crate::knowledge::{Feed, FeedCount, Knowledge, Snapshot, Wanted};
use crate::request::{Decision, NoWorker, RouteRequest, Signal};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use kvcache::{CacheEvent, Epoch, RequestId, Span, Time, Tokens, WorkerId};

/// A signal that seems to have taken longer tells of clocks that differ.
const MOST_LAG: Span = Span::from_secs(60);

/// What a rule decides by.
pub(crate) struct Asked<'a> {
    pub(crate) request: &'a RouteRequest<'a>,
    /// Not empty.
    pub(crate) available: &'a Available,
    /// What requests in flight have reserved, as far as was heard.
    pub(crate) loads: &'a Reservations,
    pub(crate) now: Time,
    /// How long the latest signal of each worker took.
    pub(crate) lags: &'a [Span],
    /// The longest of those of workers that are available.
    pub(crate) lag: Span,
}

/// A way to choose a worker.
pub(crate) trait Choose {
    /// Chooses one of those available, and takes note of it.
    fn choose(&mut self, asked: &Asked<'_>) -> Decision;
}

#[derive(Debug)]
enum Rule {
    Turns(Turns),
    Prefixes(Box<Prefixes>),
    Controller(Box<Controller>),
    Sessions(Sessions),
    Random(Random),
    LeastLoaded(LeastLoaded),
    TwoChoices(TwoChoices),
    BoundedRing(BoundedRing),
    BoundedPrefixes(Box<BoundedPrefixes>),
    Cheapest(Box<Cheapest>),
    Predicted(Box<Predicted>),
}

impl Rule {
    fn new(config: &RouterConfig) -> Self {
        match config.strategy {
            Strategy::RoundRobin => Self::Turns(Turns::new()),
            Strategy::PrefixAware => Self::Prefixes(Box::new(Prefixes::new(config))),
            Strategy::KvAware => Self::Controller(Box::new(Controller::new(config))),
            Strategy::Session => Self::Sessions(Sessions::new(config.workers, config.qps_window)),
            Strategy::Random => Self::Random(Random::new(config)),
            Strategy::LeastLoaded => Self::LeastLoaded(LeastLoaded),
            Strategy::TwoChoices => Self::TwoChoices(TwoChoices::new(config)),
            Strategy::SessionPlus => Self::BoundedRing(BoundedRing::new(config)),
            Strategy::PrefixAwarePlus => Self::BoundedPrefixes(Box::new(BoundedPrefixes::new(config))),
            Strategy::KvAwarePlus => Self::Cheapest(Box::new(Cheapest::new(config))),
            Strategy::PredictedTtft => Self::Predicted(Box::new(Predicted::new(config))),
        }
    }

    fn choose(&mut self, asked: &Asked<'_>) -> Decision {
        match self {
            Self::Turns(rule) => rule.choose(asked),
            Self::Prefixes(rule) => rule.choose(asked),
            Self::Controller(rule) => rule.choose(asked),
            Self::Sessions(rule) => rule.choose(asked),
            Self::Random(rule) => rule.choose(asked),
            Self::LeastLoaded(rule) => rule.choose(asked),
            Self::TwoChoices(rule) => rule.choose(asked),
            Self::BoundedRing(rule) => rule.choose(asked),
            Self::BoundedPrefixes(rule) => rule.choose(asked),
            Self::Cheapest(rule) => rule.choose(asked),
            Self::Predicted(rule) => rule.choose(asked),
        }
    }

    const fn knowledge(&self) -> Option<&Knowledge> {
        match self {
            Self::Cheapest(rule) => Some(&rule.knowledge),
            Self::Predicted(rule) => Some(&rule.knowledge),
            _ => None,
        }
    }

    const fn feed(&self) -> Option<&Feed> {
        match self {
            Self::Controller(rule) => Some(&rule.feed),
            Self::Cheapest(rule) => rule.knowledge.feed(),
            Self::Predicted(rule) => rule.knowledge.feed(),
            _ => None,
        }
    }

    const fn feed_mut(&mut self) -> Option<&mut Feed> {
        match self {
            Self::Controller(rule) => Some(&mut rule.feed),
            Self::Cheapest(rule) => rule.knowledge.feed_mut(),
            Self::Predicted(rule) => rule.knowledge.feed_mut(),
            _ => None,
        }
    }

    #[inline]
    fn hear(&mut self, worker: WorkerId, events: &[CacheEvent], as_of: Time, now: Time) {
        match self {
            Self::Controller(rule) => rule.feed.hear(worker, events, as_of, now),
            Self::Cheapest(rule) => rule.knowledge.hear(worker, events, as_of, now),
            Self::Predicted(rule) => rule.knowledge.hear(worker, events, as_of, now),
            _ => {}
        }
    }

    /// What was guessed of `worker` is not so any more: it restarted, or is gone. (Upstream's tries forget nothing.)
    fn lost(&mut self, worker: WorkerId) {
        match self {
            Self::BoundedPrefixes(rule) => rule.clear(worker),
            Self::Cheapest(rule) => rule.knowledge.restarted(worker),
            Self::Predicted(rule) => rule.knowledge.restarted(worker),
            _ => {}
        }
    }
}

/// Chooses a worker for each request.
#[derive(Debug)]
pub struct Router {
    config: RouterConfig,
    available: Available,
    loads: Reservations,
    counts_load: bool,
    rule: Rule,
    epochs: Vec<Epoch>,       // the life of each worker, as far as was heard
    heard: Vec<Option<Time>>, // when the latest news of each that counts left it
    lags: Vec<Span>,          // how long the latest news of each took
}

impl Router {
    /// A router that has seen nothing yet.
    ///
    /// # Panics
    /// Where there is no worker, a block or chunk holds no token, or the index has no room: the caller checks its input.
    #[must_use]
    pub fn new(config: RouterConfig) -> Self {
        assert!(config.workers > 0, "a router needs a worker");
        assert!(config.block > Tokens::ZERO, "a block holds at least one token");
        assert!(config.chunk > Tokens::ZERO, "a chunk holds at least one token");
        Self {
            available: Available::all(config.workers),
            loads: Reservations::new(config.workers),
            counts_load: config.strategy.cost().is_some(),
            rule: Rule::new(&config),
            epochs: vec![Epoch(0); usize::from(config.workers)],
            heard: vec![None; usize::from(config.workers)],
            lags: vec![Span::ZERO; usize::from(config.workers)],
            config,
        }
    }

    /// Its set-up.
    #[must_use]
    pub const fn config(&self) -> &RouterConfig {
        &self.config
    }

    /// Where `request` goes, which counts as sent there. Where it was sent before and has not ended, that attempt is over.
    /// Workers in `excluded` are not chosen; numbers of workers that do not exist are ignored there.
    ///
    /// O(workers) by turn, session, rate or load; by prefix, O(runs on its way + workers) and what it takes to write down the
    /// pieces that are new to the worker; O(workers * runs on its way) where workers have an L1 or do not tell.
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
        if let Some(before) = self.loads.worker(request.request) {
            self.served(before, request.request, now);
        }
        let lag = self.available.iter().map(|worker| self.lags[worker.index()]).max().unwrap_or_default();
        let lags = self.lags.as_slice();
        let asked = Asked { request, available: &self.available, loads: &self.loads, now, lags, lag };
        let mut decision = self.rule.choose(&asked);
        if self.counts_load || self.listens_to_cache() {
            decision.date(&self.heard, now);
        }
        if self.counts_load {
            let context_tokens = request.chain.tokens();
            let new_tokens = context_tokens.saturating_sub(decision.matched.unwrap_or_default());
            let reserved = Reserved { new_tokens, context_tokens };
            self.loads.reserve(request.request, decision.worker, reserved);
        }
        Ok(decision)
    }

    /// Takes note of what was heard of `worker`, as it was at `as_of`. O(1), or O(events); a cleared cache costs O(runs known).
    ///
    /// # Panics
    /// Where there is no such worker.
    #[inline]
    pub fn observe(&mut self, worker: WorkerId, signal: Signal<'_>, as_of: Time, now: Time) {
        assert!(worker.index() < self.heard.len(), "{worker} does not exist");
        match signal {
            Signal::Cache(events) => {
                for life in events.chunk_by(|one, next| one.epoch == next.epoch) {
                    self.news(worker, life[0].epoch, as_of, now);
                    self.rule.hear(worker, life, as_of, now);
                }
            }
            Signal::FirstToken(request) if self.counts_load => {
                self.heard(worker, as_of, now);
                self.loads.first_token_from(request, worker);
                self.served(worker, request, as_of);
            }
            Signal::Finished(request) if self.counts_load => {
                self.heard(worker, as_of, now);
                self.loads.release_from(request, worker);
                self.served(worker, request, as_of);
            }
            Signal::Restarted(epoch) => {
                self.news(worker, epoch, as_of, now);
                if let Some(feed) = self.rule.feed_mut() {
                    feed.restarted(worker, epoch);
                }
            }
            Signal::Forecast(forecast) => {
                if let Rule::Predicted(rule) = &mut self.rule {
                    rule.learn(worker, forecast);
                    self.heard(worker, as_of, now);
                }
            }
            Signal::FirstToken(_) | Signal::Finished(_) => {}
        }
    }

    /// Something that counts left `worker` at `as_of`, and is heard now.
    #[inline]
    fn heard(&mut self, worker: WorkerId, as_of: Time, now: Time) {
        let heard = &mut self.heard[worker.index()];
        *heard = (*heard).max(Some(as_of));
        self.lags[worker.index()] = Span(now.0.saturating_sub(as_of.0)).min(MOST_LAG);
    }

    /// `worker` is in its life `epoch`, or was. Where it is a new one, whatever was guessed of it is gone.
    #[inline]
    fn news(&mut self, worker: WorkerId, epoch: Epoch, as_of: Time, now: Time) {
        self.heard(worker, as_of, now);
        if epoch > self.epochs[worker.index()] {
            self.epochs[worker.index()] = epoch;
            self.rule.lost(worker);
        }
    }

    /// `worker` is not there any more: nothing is known of it from now on, and who has its number next is another one,
    /// whose epochs begin anew. What was reserved there ends as it always does, by [`Signal::Finished`] or by another
    /// attempt; and the tries of `prefixaware` forget nothing, as upstream's do not. O(runs known).
    ///
    /// # Panics
    /// Where there is no such worker.
    pub fn forget(&mut self, worker: WorkerId) {
        (self.epochs[worker.index()], self.heard[worker.index()]) = (Epoch(0), None);
        self.lags[worker.index()] = Span::ZERO;
        self.rule.lost(worker);
        if let Some(feed) = self.rule.feed_mut() {
            feed.forget(worker);
        }
    }

    fn served(&mut self, worker: WorkerId, request: RequestId, at: Time) {
        if let Rule::Predicted(rule) = &mut self.rule {
            rule.served(worker, request, at);
        }
    }

    /// `worker` lives, and the event that it tells next is `next` of `epoch`.
    pub fn heartbeat(&mut self, worker: WorkerId, epoch: Epoch, next: u64, as_of: Time, now: Time) {
        self.news(worker, epoch, as_of, now);
        if let Some(feed) = self.rule.feed_mut() {
            feed.heartbeat(worker, epoch, next, as_of, now);
        }
    }

    /// What the index needs and cannot get by itself.
    pub fn poll_wanted(&mut self) -> Option<Wanted> {
        self.rule.feed_mut()?.poll_wanted()
    }

    /// [`Wanted::Replay`] cannot be had of `worker`. (Where it can, its events are told again by [`Router::observe`].)
    pub fn replay_failed(&mut self, worker: WorkerId, now: Time) {
        if let Some(feed) = self.rule.feed_mut() {
            feed.replay_failed(worker, now);
        }
    }

    /// [`Wanted::Snapshot`] of `worker`, as it was at `as_of`.
    pub fn take_snapshot(&mut self, worker: WorkerId, snapshot: &Snapshot<'_>, as_of: Time, now: Time) {
        self.news(worker, snapshot.epoch, as_of, now);
        if let Some(feed) = self.rule.feed_mut() {
            feed.take_snapshot(worker, snapshot, as_of, now);
        }
    }

    /// When [`Router::timeout`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.rule.feed()?.deadline()
    }

    /// It is `now`: what did not come in time will not come.
    pub fn timeout(&mut self, now: Time) {
        if let Some(feed) = self.rule.feed_mut() {
            feed.timeout(now);
        }
    }

    /// Whether cache events make a difference. Where not, workers need not emit any.
    #[must_use]
    pub const fn listens_to_cache(&self) -> bool {
        self.rule.feed().is_some()
    }

    /// Whether it follows the strands that caches number, so that nobody need tell which pieces were evicted.
    #[must_use]
    pub const fn follows_strands(&self) -> bool {
        match self.rule.feed() {
            Some(feed) => feed.index().config().follows_strands(),
            None => false,
        }
    }

    /// Whether first tokens and ends of requests make a difference. Where not, nobody need tell of them.
    #[must_use]
    pub const fn listens_to_requests(&self) -> bool {
        self.counts_load
    }

    /// Whether what work takes makes a difference.
    #[must_use]
    pub const fn listens_to_forecasts(&self) -> bool {
        matches!(self.rule, Rule::Predicted(_))
    }

    /// What became of the cache events heard; `None` where nobody listens.
    #[must_use]
    pub const fn feed(&self) -> Option<FeedCount> {
        match self.rule.feed() {
            Some(feed) => Some(feed.count()),
            None => None,
        }
    }

    /// What requests in flight have reserved; nothing where the strategy reads no load.
    #[must_use]
    pub const fn loads(&self) -> &Reservations {
        &self.loads
    }

    /// What the router believes about the workers' device caches, or was sent to them (`prefixaware`); `None` where the
    /// strategy keeps no such index.
    #[must_use]
    pub fn index(&self) -> Option<&Index> {
        match &self.rule {
            Rule::Prefixes(rule) => Some(rule.index()),
            Rule::BoundedPrefixes(rule) => Some(rule.index()),
            rule => rule.feed().map(Feed::index),
        }
    }

    /// Nodes that upstream's trie would have, which never forgets any; `None` where the strategy is not `prefixaware`.
    #[must_use]
    pub const fn trie_nodes(&self) -> Option<u64> {
        match &self.rule {
            Rule::Prefixes(rule) => Some(rule.nodes()),
            _ => None,
        }
    }

    /// Bytes that its indexes take; zero where it keeps none.
    #[must_use]
    pub fn index_bytes(&self) -> u64 {
        match &self.rule {
            Rule::Prefixes(rule) => rule.bytes(),
            rule => rule.knowledge().map(Knowledge::bytes).or_else(|| self.index().map(Index::bytes)).unwrap_or(0),
        }
    }
}
