//! `predicted-ttft`: the least expected time to first token, and what it costs others.
//!
//! ```text
//! expected = what waits there + own work                own: loading or computing what the worker lacks (Forecast)
//! cost     = what waits there + own work as if it had what the best one has + the rest of it / uses
//!          + own work * those who would wait for it + what it displaces
//! ```
//!
//! What a tier has is loaded or computed again, whichever is expected to be faster, where the worker itself chooses so.
//! Who goes to the place that is best for himself makes later ones wait: where queues are long it is better to save work
//! than to be first, so a request's own work counts once more for each of those that wait at an average worker. What many
//! ask for is worth having at several workers: computing a prefix once more is divided among the requests that the worker
//! would then have for it in a minute or two, or all would crowd where it was computed first. And a prompt that is computed on a full device takes the place of what others may ask for again: each displaced token counts
//! as much of its recomputation as displaced tokens were asked for again lately.

use crate::config::RouterConfig;
use crate::corrected::backlog::Backlog;
use crate::corrected::heat::Heat;
use crate::forecast::{Alone, Forecast};
use crate::knowledge::Knowledge;
use crate::request::{Decision, Reason};
use crate::router::{Asked, Choose};
use crate::score::{Score, TierTokens};
use alloc::vec;
use alloc::vec::Vec;
use kvcache::{Chain, RequestId, Span, Time, Tokens, WorkerId};

#[derive(Debug)]
pub(crate) struct Predicted {
    pub(crate) knowledge: Knowledge,
    forecasts: Vec<Forecast>,
    kinds: Vec<u32>, // workers whose work takes the same have the same number
    next_kind: u32,
    backlog: Backlog,
    heat: Heat,
    externality: u16,
    lost_again: u16,
}

/// What is expected of a request at a worker.
struct Expected {
    wait: Span,
    /// Of that, until a pass under way ends.
    pass: Span,
    /// Nobody waits there.
    alone: bool,
    own: Span,
    /// What its own work would be, had the worker what the best one has.
    ideal: Span,
    displaced: Tokens,
    loss: Span,
}

impl Predicted {
    pub(crate) fn new(config: &RouterConfig) -> Self {
        Self {
            knowledge: Knowledge::new(config),
            forecasts: vec![Forecast::UNKNOWN; usize::from(config.workers)],
            kinds: vec![0; usize::from(config.workers)],
            next_kind: 1,
            backlog: Backlog::new(config.workers),
            heat: Heat::default(),
            externality: config.externality,
            lost_again: config.lost_again,
        }
    }

    /// What `worker`'s work takes, from now on, where nothing later is known.
    pub(crate) fn learn(&mut self, worker: WorkerId, forecast: Forecast) {
        let known = self.forecasts[worker.index()];
        if known.as_of > forecast.as_of {
            return;
        }
        self.forecasts[worker.index()] = forecast;
        if !known.is_like(&forecast) {
            let others = self.forecasts.iter().zip(&self.kinds).zip((0..).map(WorkerId));
            let mut others = others.filter(|((other, _), number)| *number != worker && other.is_like(&forecast));
            self.kinds[worker.index()] = if let Some(((_, kind), _)) = others.next() {
                *kind
            } else {
                self.next_kind += 1;
                self.next_kind - 1
            };
        }
    }

    /// `request`, which was sent to `worker`, waits no more.
    pub(crate) fn served(&mut self, worker: WorkerId, request: RequestId, at: Time) {
        self.backlog.remove(worker, request, at);
    }

    /// Among how many requests computing once more the first `best` tokens is divided.
    fn uses(&mut self, chain: Chain<'_>, best: Tokens, asked: &Asked<'_>) -> u64 {
        self.heat.count(asked.now);
        if best == Tokens::ZERO {
            return 1;
        }
        let piece = chain.pieces()[chain.piece_of(best - Tokens(1))].key;
        self.heat.note(piece);
        self.heat.uses(piece, asked.available.count(), asked.now)
    }

    fn expect(&self, asked: &Asked<'_>, worker: WorkerId, known: TierTokens, usual: &mut Usual) -> Expected {
        let load = asked.loads.load(worker);
        let (forecast, kind) = (&self.forecasts[worker.index()], self.kinds[worker.index()]);
        let decoding = load.context_tokens.saturating_sub(load.new_tokens);
        let (own, new) = if (known.l1, known.l2) == (Tokens::ZERO, Tokens::ZERO) {
            let new = usual.to_compute(known.l0);
            (usual.alone(forecast, kind, known.l0).beside(forecast, decoding), new)
        } else {
            forecast.first_token(usual.prompt, known.l0, known.l1, known.l2, decoding)
        };
        let ideal = if known.l0 == usual.best {
            own
        } else {
            own.min(usual.alone(forecast, kind, usual.best).beside(forecast, decoding))
        };
        let free = forecast.capacity.saturating_sub(self.knowledge.held(worker));
        let displaced = Tokens(u32::try_from(u64::from(new.0).saturating_sub(free)).unwrap_or(u32::MAX));
        // Who comes while a pass runs waits for its end: half of one, on average.
        let left = self.backlog.left(worker, asked.now, asked.lags[worker.index()]);
        let running = load.requests > load.prefilling || left.waiting > 0;
        let pass = forecast.least + forecast.per_context_token * decoding;
        let pass = if running { Span(pass.0 / 2) } else { Span::ZERO };
        let wait = left.work.max(pass);
        let loss = Span(forecast.per_new_token.0 * u64::from(displaced.0) / 1000 * u64::from(self.lost_again));
        Expected { wait, pass, alone: left.waiting == 0, own, ideal, displaced, loss }
    }
}

/// What it takes to compute a prompt of which a device has nothing, or the most that any has: most workers have one or the
/// other, and most are alike.
struct Usual {
    prompt: Tokens,
    /// The most that any worker has on its device.
    best: Tokens,
    nothing: Option<(u32, Alone)>,
    most: Option<(u32, Alone)>,
}

impl Usual {
    /// Tokens to compute where the device has `known`.
    fn to_compute(&self, known: Tokens) -> Tokens {
        self.prompt.saturating_sub(known).max(Tokens(1))
    }

    #[inline]
    fn alone(&mut self, forecast: &Forecast, kind: u32, known: Tokens) -> Alone {
        let new = self.to_compute(known);
        let compute = || forecast.alone(self.prompt.saturating_sub(new), new);
        let place = match known {
            Tokens::ZERO => &mut self.nothing,
            known if known == self.best => &mut self.most,
            _ => return compute(),
        };
        match place {
            Some((like, alone)) if *like == kind => *alone,
            place => place.insert((kind, compute())).1,
        }
    }
}

impl Choose for Predicted {
    fn choose(&mut self, asked: &Asked<'_>) -> Decision {
        let (chain, now) = (asked.request.chain, asked.now);
        self.knowledge.look(chain, now, asked.lag);
        // Thousandths of those who wait at an average worker.
        let waiting = |worker| u64::from(self.backlog.left(worker, now, asked.lags[worker.index()]).waiting);
        let others = (0..asked.loads.loads().len() as u16).map(WorkerId).map(waiting).sum::<u64>()
            * u64::from(self.externality)
            / u64::from(asked.available.count());
        let on_devices = |worker: WorkerId| self.knowledge.tiers()[worker.index()].l0;
        let best = asked.available.iter().map(on_devices).max().unwrap_or_default();
        let uses = self.uses(chain, best, asked);
        let mut usual = Usual { prompt: chain.tokens(), best, nothing: None, most: None };
        let mut scores = asked.scores(self.knowledge.tiers());
        let mut works = vec![Span::ZERO; scores.len()];
        for ((score, work), worker) in scores.iter_mut().zip(&mut works).zip((0..).map(WorkerId)) {
            if !score.available {
                continue;
            }
            let expected = self.expect(asked, worker, score.matched.unwrap_or_default(), &mut usual);
            let Score { cost, expected: ttft, displaced, .. } = score;
            // Whom it makes wait waits for the same pass, too.
            *work = expected.own + if expected.alone { expected.pass } else { Span::ZERO };
            *ttft = Some(Span(expected.wait.0.saturating_add(expected.own.0)));
            *displaced = Some(expected.displaced);
            let own = expected.ideal.0 + (expected.own - expected.ideal).0 / uses;
            let to_others = (expected.own.0 / 1000).saturating_mul(others).saturating_add(expected.loss.0);
            *cost = Some(expected.wait.0.saturating_add(own).saturating_add(to_others));
        }
        let (worker, tied) = asked.cheapest(&scores, |worker| self.knowledge.held(worker));
        self.knowledge.sent(worker, chain, now, asked.lag);
        self.backlog.add(worker, asked.request.request, works[worker.index()], now);
        Decision::weighed(worker, Reason::LowestCost { tied }, scores)
    }
}
