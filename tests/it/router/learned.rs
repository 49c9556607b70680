//! What work takes, learned from first tokens of engines whose speed is known.

use super::Chance;
use kvcache::{RequestId, Span, Time, Tokens, WorkerId};
use router::{Forecast, Learner};
use std::collections::VecDeque;

/// An engine that computes prompts in order: a pass takes so much, and so much for each token.
#[derive(Clone, Copy, Debug)]
struct Speed {
    pass: Span,
    token: Span,
    /// Prompts that one pass takes at most.
    together: usize,
}

impl Speed {
    const fn new(pass_micros: u64, token_micros: u64, together: usize) -> Self {
        Self { pass: Span::from_micros(pass_micros), token: Span::from_micros(token_micros), together }
    }

    fn of(&self, tokens: u64) -> Span {
        self.pass + self.token * tokens
    }
}

/// What is believed beforehand: right in shape, wrong in speed.
const BELIEVED: Forecast = Forecast {
    fixed: Span::from_millis(2),
    least: Span::from_millis(2),
    per_new_token: Span::from_micros(20),
    pass: Tokens(100_000),
    ..Forecast::UNKNOWN
};

/// Requests that come at random times, to an engine that is busy for a share of them.
struct Engine {
    learner: Learner,
    latest: Forecast,
    chance: Chance,
    now: Time,
    next: u64,
    queue: VecDeque<(RequestId, u64)>,
    busy_until: Option<Time>,
}

impl Engine {
    fn new(believed: Forecast, seed: u64) -> Self {
        Self {
            learner: Learner::new(believed, 1),
            latest: believed,
            chance: Chance::new(seed),
            now: Time::ZERO,
            next: 0,
            queue: VecDeque::new(),
            busy_until: None,
        }
    }

    /// Lives through so many requests of sizes between two, which come so often that the engine is busy `percent` of the time.
    fn live(&mut self, speed: Speed, requests: u64, sizes: (u64, u64), percent: u64) {
        let mean = speed.of(sizes.0.midpoint(sizes.1)).0 * 100 / percent;
        let mut under_way: Vec<RequestId> = Vec::new();
        let mut arrival = self.now + Span(mean);
        let last = self.next + requests;
        while self.next < last || !self.queue.is_empty() || !under_way.is_empty() {
            let comes = self.next < last && self.busy_until.is_none_or(|until| arrival < until);
            if comes {
                self.now = self.now.max(arrival);
                // Between nothing and twice the mean, which is as bursty as the test needs.
                arrival = self.now + Span(self.chance.below(2 * mean));
                let tokens = sizes.0 + self.chance.below(sizes.1 - sizes.0 + 1);
                let request = RequestId(self.next);
                self.next += 1;
                self.learner.sent(WorkerId(0), request, Tokens(0), Tokens(tokens as u32), self.now);
                self.queue.push_back((request, tokens));
            } else {
                self.now = self.busy_until.take().expect("somebody is computed");
                for request in under_way.drain(..) {
                    // What a machine and its network make of one moment.
                    self.now += Span::from_micros(self.chance.below(100));
                    self.latest = self.learner.first_token(WorkerId(0), request, self.now).expect("it waits");
                }
            }
            if self.busy_until.is_none() && !self.queue.is_empty() {
                let pass: Vec<_> = self.queue.drain(..speed.together.min(self.queue.len())).collect();
                self.busy_until = Some(self.now + speed.of(pass.iter().map(|(_, tokens)| tokens).sum()));
                under_way = pass.into_iter().map(|(request, _)| request).collect();
            }
        }
    }

    /// How far the forecast is off for a prompt, as a share of the truth.
    fn off(&self, speed: Speed, tokens: u32) -> f64 {
        let told = self.latest.prefill(Tokens(0), Tokens(tokens), 0).as_secs_f64();
        told / speed.of(tokens.into()).as_secs_f64() - 1.0
    }

    fn check(&self, speed: Speed, sizes: &[u32], percent: f64, what: &str) {
        for tokens in sizes {
            let off = self.off(speed, *tokens) * 100.0;
            assert!(off.abs() < percent, "{what}: {off:.1} % off at {tokens} tokens: {:?}", self.latest);
        }
    }
}

/// Whatever was believed, and however busy the engine is: after some requests its speed is known, and again after it has changed.
#[test]
fn speeds_are_learned_and_learned_again() {
    for (place, percent) in [20, 60, 95].into_iter().enumerate() {
        for believed in [BELIEVED, Forecast::UNKNOWN] {
            let (slow, fast) = (Speed::new(15_000, 100, 1), Speed::new(4_000, 25, 1));
            let mut engine = Engine::new(believed, place as u64);
            engine.live(slow, 150, (50, 2000), percent);
            engine.check(slow, &[100, 500, 2000], 10.0, "at first");
            engine.live(fast, 150, (50, 2000), percent);
            engine.check(fast, &[100, 500, 2000], 15.0, "once it is faster");
            engine.live(slow, 150, (50, 2000), percent);
            engine.check(slow, &[100, 500, 2000], 10.0, "once it is slower");
        }
    }
}

/// Engines that compute several prompts in one pass: their first tokens come together, and are one sample.
#[test]
fn passes_of_several_prompts_are_one_sample() {
    let speed = Speed::new(15_000, 100, 4);
    let mut engine = Engine::new(BELIEVED, 7);
    engine.live(speed, 300, (50, 1000), 90);
    engine.check(speed, &[100, 500, 1000, 2000], 15.0, "four at once");
}

/// Prompts of one size tell a speed, and not what of it is fixed: the whole estimate is scaled.
#[test]
fn prompts_of_one_size_scale_the_estimate() {
    let speed = Speed::new(8_000, 80, 1); // four times BELIEVED
    let mut engine = Engine::new(BELIEVED, 8);
    engine.live(speed, 100, (500, 500), 50);
    engine.check(speed, &[50, 500, 2000], 3.0, "four times as slow");
}

/// Quantiles of a machine that stands still now and then say nothing of the engine.
#[test]
fn a_pause_is_no_change_of_speed() {
    let speed = Speed::new(10_000, 50, 1);
    let mut engine = Engine::new(BELIEVED, 9);
    engine.live(speed, 100, (50, 2000), 50);
    let request = RequestId(u64::MAX);
    engine.learner.sent(WorkerId(0), request, Tokens(0), Tokens(1000), engine.now);
    engine.now += Span::from_secs(5);
    engine.learner.first_token(WorkerId(0), request, engine.now).expect("it waits");
    engine.live(speed, 5, (50, 2000), 50);
    engine.check(speed, &[100, 500, 2000], 45.0, "behind a pause of 5 s");
    engine.live(speed, 60, (50, 2000), 50);
    engine.check(speed, &[100, 500, 2000], 10.0, "later");
}

/// Who leaves without a token takes no time with it: the next one's turn began when it left, and no sample is made.
#[test]
fn who_leaves_is_no_sample() {
    let speed = Speed::new(10_000, 50, 1);
    let mut engine = Engine::new(BELIEVED, 10);
    for turn in 0..40 {
        let [left, stays] = [2 * turn, 2 * turn + 1].map(RequestId);
        let tokens = 200 + 40 * (turn % 20);
        engine.learner.sent(WorkerId(0), left, Tokens(0), Tokens(5000), engine.now);
        engine.learner.sent(WorkerId(0), stays, Tokens(0), Tokens(tokens as u32), engine.now);
        engine.now += Span::from_millis(300);
        engine.learner.gone(WorkerId(0), left, engine.now);
        assert_eq!(engine.learner.first_token(WorkerId(0), left, engine.now), None, "nobody waits for it");
        engine.now += speed.of(tokens);
        engine.latest = engine.learner.first_token(WorkerId(0), stays, engine.now).expect("it waits");
    }
    engine.check(speed, &[200, 500, 1000], 5.0, "what stayed");
}

/// Who is not asked any more, since it was slow, is taken to be as fast as the fastest after a while, once; and what it shows then
/// is believed.
#[test]
fn who_was_slow_is_asked_again() {
    let (slow, fast) = (Speed::new(50_000, 500, 1), Speed::new(5_000, 50, 1));
    let mut learner = Learner::new(BELIEVED, 2);
    let (mut now, mut request) = (Time::ZERO, 0);
    let mut ask = |learner: &mut Learner, worker: u16, speed: Speed, now: &mut Time| {
        request += 1;
        let tokens = 100 + request * 37 % 900;
        learner.sent(WorkerId(worker), RequestId(request), Tokens(0), Tokens(tokens as u32), *now);
        *now += speed.of(tokens);
        learner.first_token(WorkerId(worker), RequestId(request), *now).expect("it waits")
    };
    let takes = |forecast: &Forecast| forecast.prefill(Tokens(0), Tokens(1000), 0).as_secs_f64();
    for _ in 0..50 {
        ask(&mut learner, 0, fast, &mut now);
        ask(&mut learner, 1, slow, &mut now);
    }
    assert_eq!(learner.overdue(now), None, "both were heard of");
    let until = now + Span::from_secs(31);
    while now < until {
        ask(&mut learner, 0, fast, &mut now);
        now += Span::from_millis(500);
    }
    let (worker, forecast) = learner.overdue(now).expect("nobody has heard of it for long");
    assert_eq!(worker, WorkerId(1));
    assert!((takes(&forecast) / fast.of(1000).as_secs_f64() - 1.0).abs() < 0.1, "{forecast:?}");
    assert_eq!(learner.overdue(now), None, "it was told");
    // It is as slow as it was: one request is the price.
    let again = ask(&mut learner, 1, slow, &mut now);
    assert!(takes(&again) > 0.8 * slow.of(1000).as_secs_f64(), "{again:?}");
    // It is fast now: a few show it, and not the whole memory has to pass.
    now += Span::from_secs(40);
    ask(&mut learner, 0, fast, &mut now);
    learner.overdue(now).expect("silent again");
    let mut last = BELIEVED;
    for _ in 0..4 {
        last = ask(&mut learner, 1, fast, &mut now);
    }
    assert!(takes(&last) < 3.0 * fast.of(1000).as_secs_f64(), "{last:?}");
}

/// Who was never asked, since it is believed to be slow, is tried once too: nobody who is never asked can show what it takes.
#[test]
fn who_was_never_asked_is_tried() {
    let fast = Speed::new(500, 2, 1);
    let mut learner = Learner::new(BELIEVED, 3);
    let mut now = Time::ZERO;
    for request in 0..40 {
        let tokens = 100 + request * 37 % 900;
        learner.sent(WorkerId(0), RequestId(request), Tokens(0), Tokens(tokens as u32), now);
        now += fast.of(tokens);
        learner.first_token(WorkerId(0), RequestId(request), now).expect("it waits");
        now += Span::from_secs(1);
    }
    let takes = |forecast: &Forecast| forecast.prefill(Tokens(0), Tokens(1000), 0).as_secs_f64();
    for worker in [1, 2] {
        let (tried, forecast) = learner.overdue(now).expect("nobody has heard of it yet");
        assert_eq!(tried, WorkerId(worker));
        assert!((takes(&forecast) / fast.of(1000).as_secs_f64() - 1.0).abs() < 0.1, "{forecast:?}");
    }
    assert_eq!(learner.overdue(now), None, "each is tried once");
}

/// However long a pass is said to have taken, what is believed can be added up for the longest prompt.
#[test]
fn nothing_that_is_heard_is_beyond_64_bits() {
    for hours in [0, 1, 4_000] {
        let mut learner = Learner::new(BELIEVED, 1);
        let mut now = Time::ZERO;
        for (request, tokens) in [(0, 5), (1, 8)] {
            learner.sent(WorkerId(0), RequestId(request), Tokens(0), Tokens(tokens), now);
            now += Span::from_secs(1 + 3600 * hours * request);
            let forecast = learner.first_token(WorkerId(0), RequestId(request), now).expect("it waits");
            // A picosecond counter holds 213 days.
            assert!(forecast.prefill(Tokens(0), Tokens(4 << 20), 0) < Span::from_secs(200 * 86_400), "{forecast:?}");
        }
    }
}
