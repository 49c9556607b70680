//! All that decides where requests go, as one machine: the router, the breakers, the budget of retries, and what first tokens teach.
//!
//! Law: the same set-up and the same sequence of calls, each with its time, give the same answers. Whoever keeps what a desk was
//! told and what it answered can hold it against another one.

use crate::config::RouterConfig;
use crate::forecast::Forecast;
use crate::health::{Health, HealthConfig, Outcome, Retries, RetryBudget, RetryConfig, Sent, Stop};
use crate::learn::Learner;
use crate::request::{Decision, NoWorker, RouteRequest, Signal};
use crate::router::Router;
use alloc::vec::Vec;
use kvcache::{CacheEvent, Epoch, RequestId, Time, Tokens, WorkerId};

/// A desk's set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeskConfig {
    /// How a worker is chosen.
    pub router: RouterConfig,
    /// When one is left alone for a while.
    pub health: HealthConfig,
    /// How often a request is tried again.
    pub retries: RetryConfig,
    /// What workers' work takes, as far as is known beforehand.
    pub forecast: Option<Forecast>,
    /// Whether first tokens correct that.
    pub learns: bool,
}

/// Decides where requests go.
#[derive(Debug)]
pub struct Desk {
    router: Router,
    health: Health,
    budget: RetryBudget,
    learner: Option<Learner>,
    excluded: Vec<WorkerId>, // kept for its room
}

impl Desk {
    /// One that was told nothing yet.
    ///
    /// # Panics
    /// Where the router's, the breakers' or the budget's set-up makes no sense: the caller checks its input.
    #[must_use]
    pub fn new(config: DeskConfig) -> Self {
        let DeskConfig { router: set_up, health, retries, forecast, learns } = config;
        let mut router = Router::new(set_up);
        for worker in (0..set_up.workers).map(WorkerId) {
            if let Some(forecast) = forecast {
                router.observe(worker, Signal::Forecast(forecast), Time::ZERO, Time::ZERO);
            }
        }
        let learns = learns && router.listens_to_forecasts();
        let learner = learns.then(|| Learner::new(forecast.unwrap_or(Forecast::UNKNOWN), set_up.workers));
        Self {
            router,
            health: Health::new(health, set_up.workers),
            budget: RetryBudget::new(retries),
            learner,
            excluded: Vec::new(),
        }
    }

    /// A request came, which pays its share of retries.
    pub const fn came(&mut self, now: Time) {
        self.budget.deposit(now);
    }

    /// Chooses a worker for an attempt of a request that was sent to those in `tried` in vain.
    ///
    /// # Errors
    /// Where there is nobody left.
    pub fn send(
        &mut self,
        request: &RouteRequest<'_>,
        tried: &Retries,
        now: Time,
    ) -> Result<(Decision, Sent), NoWorker> {
        if let Some(learner) = &mut self.learner {
            while let Some((worker, forecast)) = learner.overdue(now) {
                self.router.observe(worker, Signal::Forecast(forecast), now, now);
            }
        }
        self.excluded.clear();
        self.health.excluded(now, &mut self.excluded);
        tried.exclude(&mut self.excluded);
        let decision = self.router.route(request, &self.excluded, now)?;
        let sent = self.health.sent(decision.worker, request.request, now);
        let prompt = request.chain.tokens();
        if let Some(learner) = self.learner.as_mut().filter(|_| prompt > Tokens::ZERO) {
            let cached = decision.matched.unwrap_or_default().min(prompt - Tokens(1));
            learner.sent(decision.worker, request.request, cached, prompt - cached, now);
        }
        Ok((decision, sent))
    }

    /// The first token of an attempt came.
    pub fn first_token(&mut self, worker: WorkerId, request: RequestId, now: Time) {
        self.router.observe(worker, Signal::FirstToken(request), now, now);
        let learned = self.learner.as_mut().and_then(|learner| learner.first_token(worker, request, now));
        if let Some(forecast) = learned {
            self.router.observe(worker, Signal::Forecast(forecast), now, now);
        }
    }

    /// An attempt ended.
    pub fn ended(&mut self, sent: Sent, outcome: Outcome, now: Time) {
        self.router.observe(sent.worker, Signal::Finished(sent.request), now, now);
        if let Some(learner) = &mut self.learner {
            learner.gone(sent.worker, sent.request, now);
        }
        self.health.ended(sent, outcome, now);
    }

    /// Whether a request may be sent once more, whose attempt at `worker` ended so.
    ///
    /// # Errors
    /// Why not.
    pub fn again(&mut self, retries: &mut Retries, worker: WorkerId, outcome: Outcome, now: Time) -> Result<(), Stop> {
        retries.again(worker, outcome, &self.health, &mut self.budget, now)
    }

    /// What a worker's cache did in the life `epoch` of it, by its own account. A later life than the one before began empty.
    pub fn cached(&mut self, worker: WorkerId, epoch: Epoch, events: &[CacheEvent], now: Time) {
        self.router.observe(worker, Signal::Restarted(epoch), now, now);
        if !events.is_empty() {
            self.router.observe(worker, Signal::Cache(events), now, now);
        }
    }

    /// The router.
    #[must_use]
    pub const fn router(&self) -> &Router {
        &self.router
    }

    /// The breakers.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// The budget of retries.
    #[must_use]
    pub const fn budget(&self) -> &RetryBudget {
        &self.budget
    }
}
