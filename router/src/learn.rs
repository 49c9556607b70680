//! What work takes at each worker, learned from the first tokens that come out.
//!
//! A worker's first estimate is what is believed beforehand. An engine computes prompts in order of arrival, so a prompt's turn began
//! when it was sent, or when the first token before it came out; what passed from then to its own first token is a sample. Tokens
//! that come out together were one pass, and are one sample.
//!
//! ```text
//! took = fixed + factor * (what its tokens and their pairs take by the first estimate)
//! ```
//!
//! Both are found by least squares in which a sample counts for less with every later one, so a worker whose speed changes is
//! believed again after some [`MEMORY`] samples. Where prompts are of one size the two cannot be told apart, and the whole first
//! estimate is scaled. Who has not been heard of for [`STALE`] while others were is taken to be as fast as the fastest, until a
//! sample says otherwise: it might have become fast, and nobody who is never asked can show it.

use crate::forecast::Forecast;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use kvcache::{RequestId, Span, Time, Tokens, WorkerId};

/// Samples after which one counts for 1/e.
const MEMORY: f64 = 24.0;
/// First tokens no further apart came out of one pass: what a loaded machine and its network make of one moment.
const TOGETHER: Span = Span::from_millis(1);
/// An estimate without a sample for so long may be wrong.
const STALE: Span = Span::from_secs(30);
/// And counts, when a sample comes at last, for no more than so many.
const STALE_COUNTS: f64 = 1.0;
/// Spread of the sizes of prompts, as variance over squared mean, below which fixed and variable parts cannot be told apart.
const SPREAD: f64 = 0.02;
/// From so many samples on, one that took this many times the expected counts as that: a machine that stood still says little.
const SEASONED: f64 = 8.0;
const OUTLIER: f64 = 4.0;

#[derive(Clone, Copy, Debug)]
struct Waiting {
    request: RequestId,
    work: Work,
    sent: Time,
}

/// What a prompt takes by the first estimate, seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    variable: f64,
    whole: f64,
}

/// A pass whose first tokens have come out, perhaps not all of them.
#[derive(Clone, Copy, Debug)]
struct Pass {
    began: Time,
    ended: Time,
    work: Work,
}

/// Sums over samples, each weighed by its age.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    count: f64,
    took: f64,
    variable: f64,
    whole: f64,
    squares: f64,
    products: f64,
}

impl Sums {
    fn add(&mut self, work: Work, took: f64, keep: f64) {
        self.fade(keep);
        self.count += 1.0;
        self.took += took;
        self.variable += work.variable;
        self.whole += work.whole;
        self.squares += work.variable * work.variable;
        self.products += work.variable * took;
    }

    fn fade(&mut self, keep: f64) {
        let Self { count, took, variable, whole, squares, products } = self;
        for sum in [count, took, variable, whole, squares, products] {
            *sum *= keep;
        }
    }

    /// The fixed part, seconds, and the factor of the variable one; `None`: they cannot be told apart.
    fn line(&self) -> Option<(f64, f64)> {
        let spread = self.count * self.squares - self.variable * self.variable;
        if self.count < 2.0 || spread <= SPREAD * self.variable * self.variable {
            return None;
        }
        let factor = (self.count * self.products - self.variable * self.took) / spread;
        let fixed = (self.took - factor * self.variable) / self.count;
        if factor <= 0.0 {
            return None;
        }
        // Nothing takes less than no time: through the origin then.
        Some(if fixed < 0.0 { (0.0, self.products / self.squares) } else { (fixed, factor) })
    }
}

#[derive(Debug)]
struct Learned {
    first: Forecast,
    waiting: VecDeque<Waiting>,
    turned: Time, // the latest first token: when the engine turned to the next
    pass: Option<Pass>,
    sums: Sums, // without that pass
    heard: Time,
    is_guess: bool, // taken to be as fast as the fastest
}

/// Learns what work takes at each worker. Every call is O(those who wait there), but [`Learner::overdue`], which is O(workers).
#[derive(Debug)]
pub struct Learner {
    workers: Vec<Learned>,
}

impl Learner {
    /// Of so many workers, of which `first` is believed beforehand.
    #[must_use]
    pub fn new(first: Forecast, workers: u16) -> Self {
        let learned = || Learned {
            first,
            waiting: VecDeque::new(),
            turned: Time::ZERO,
            pass: None,
            sums: Sums::default(),
            heard: Time::ZERO,
            is_guess: false,
        };
        Self { workers: (0..workers).map(|_| learned()).collect() }
    }

    /// `request` goes to `worker`, which is thought to have `cached` tokens of its prompt and to compute `new` ones.
    ///
    /// # Panics
    /// Where there is no such worker; so do all functions that name one.
    pub fn sent(&mut self, worker: WorkerId, request: RequestId, cached: Tokens, new: Tokens, now: Time) {
        let learned = &mut self.workers[worker.index()];
        let whole = learned.first.prefill(cached, new, 0).as_secs_f64();
        let bare = Forecast { fixed: Span::ZERO, least: Span::ZERO, ..learned.first };
        let work = Work { variable: bare.prefill(cached, new, 0).as_secs_f64(), whole };
        learned.waiting.push_back(Waiting { request, work, sent: now });
    }

    /// The first token of `request` came out of `worker`; what its work takes by all that is known now. `None`: nobody waited for it.
    pub fn first_token(&mut self, worker: WorkerId, request: RequestId, now: Time) -> Option<Forecast> {
        let learned = &mut self.workers[worker.index()];
        let place = learned.waiting.iter().position(|waiting| waiting.request == request)?;
        let Waiting { work, sent, .. } = learned.waiting.remove(place)?;
        learned.heard = now;
        learned.is_guess = false;
        match &mut learned.pass {
            Some(pass) if now.since(pass.ended) <= TOGETHER && sent <= pass.ended => {
                pass.ended = now;
                pass.work.variable += work.variable;
                pass.work.whole += work.whole - learned.first.fixed.as_secs_f64().min(work.whole);
            }
            _ => {
                learned.close();
                learned.pass = Some(Pass { began: sent.max(learned.turned), ended: now, work });
            }
        }
        learned.turned = now;
        Some(learned.forecast(now))
    }

    /// `request` waits no more at `worker`, and no token says how long it would have taken. Where it was its turn, it is the next
    /// one's now.
    pub fn gone(&mut self, worker: WorkerId, request: RequestId, now: Time) {
        let learned = &mut self.workers[worker.index()];
        let Some(place) = learned.waiting.iter().position(|waiting| waiting.request == request) else { return };
        learned.waiting.remove(place);
        if place == 0 {
            learned.turned = now;
        }
    }

    /// A worker that was not heard of for long while another was, and what to take its work for. To be asked until there is none.
    pub fn overdue(&mut self, now: Time) -> Option<(WorkerId, Forecast)> {
        let is_stale = |learned: &Learned| now.0.saturating_sub(learned.heard.0) > STALE.0;
        let heard = self.workers.iter().filter(|learned| !is_stale(learned) && learned.sums.count > 0.0);
        let fastest =
            heard.map(|learned| learned.forecast(now)).min_by_key(|forecast| forecast.prefill(ZERO, USUAL, 0))?;
        let place = self.workers.iter().position(|learned| is_stale(learned) && !learned.is_guess)?;
        let learned = &mut self.workers[place];
        learned.is_guess = true;
        learned.close();
        let keep = STALE_COUNTS / learned.sums.count.max(STALE_COUNTS);
        learned.sums.fade(keep);
        let own = learned.forecast(now);
        let faster = if own.prefill(ZERO, USUAL, 0) <= fastest.prefill(ZERO, USUAL, 0) { own } else { fastest };
        Some((WorkerId(place as u16), faster))
    }
}

/// So many times as long as first thought, or as short, is the most that is believed; and so many seconds for what each pass takes.
const MOST: f64 = 1000.0;
const ZERO: Tokens = Tokens::ZERO;
/// Workers are compared by what a prompt of so many tokens takes.
const USUAL: Tokens = Tokens(1024);

impl Learned {
    /// The pass that was told of is over, and is a sample.
    fn close(&mut self) {
        let Some(pass) = self.pass.take() else { return };
        let took = pass.ended.since(pass.began).as_secs_f64();
        let (fixed, factor) = self.sums.line().unwrap_or_else(|| (0.0, self.scale(&self.sums)));
        let variable = if fixed > 0.0 { pass.work.variable } else { pass.work.whole };
        let most = OUTLIER * (fixed + factor * variable);
        let took = if self.sums.count >= SEASONED { took.min(most) } else { took };
        self.sums.add(pass.work, took, 1.0 - 1.0 / MEMORY);
    }

    /// How many times as long as by the first estimate all took together.
    fn scale(&self, sums: &Sums) -> f64 {
        if sums.whole > 0.0 { sums.took / sums.whole } else { 1.0 }
    }

    fn forecast(&self, now: Time) -> Forecast {
        let mut sums = self.sums;
        if let Some(pass) = self.pass {
            sums.add(pass.work, pass.ended.since(pass.began).as_secs_f64(), 1.0 - 1.0 / MEMORY);
        }
        let first = self.first;
        // Whatever was heard: what work takes is added up for prompts of a million tokens, in 64 bits.
        let times = |span: Span, factor: f64| Span::from_secs_f64(span.as_secs_f64() * factor.clamp(1.0 / MOST, MOST));
        let (fixed, least, factor) = match sums.line() {
            Some((fixed, factor)) => {
                let fixed = Span::from_secs_f64(fixed.min(MOST));
                (fixed, fixed, factor)
            }
            None => {
                let factor = self.scale(&sums);
                (times(first.fixed, factor), times(first.least, factor), factor)
            }
        };
        Forecast {
            fixed,
            least,
            per_new_token: times(first.per_new_token, factor),
            per_1024_pairs: times(first.per_1024_pairs, factor),
            per_context_token: times(first.per_context_token, factor),
            as_of: now,
            ..first
        }
    }
}
