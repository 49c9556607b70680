//! Routers, health, retries and reservations as a gateway uses them.

use super::super::prompt;
use super::{Chance, at};
use kvcache::{Chain, RequestId, SessionId, Span, Time, Tokens, WorkerId};
use router::{
    Api, Health, HealthConfig, Outcome, Reservations, Reserved, Retries, RetryBudget, RetryConfig, RouteRequest,
    Router, RouterConfig, Signal, Stop, Strategy, WorkerLoad,
};

/// A gateway before workers that answer as told.
struct Gateway {
    router: Router,
    health: Health,
    budget: RetryBudget,
    reservations: Reservations,
    excluded: Vec<WorkerId>,
    requests: u64,
    attempts: u64,
    stops: Vec<Stop>,
}

impl Gateway {
    fn new(strategy: Strategy, workers: u16) -> Self {
        Self {
            router: Router::new(RouterConfig::new(strategy, workers)),
            health: Health::new(HealthConfig::default(), workers),
            budget: RetryBudget::new(RetryConfig::default()),
            reservations: Reservations::new(workers),
            excluded: Vec::new(),
            requests: 0,
            attempts: 0,
            stops: Vec::new(),
        }
    }

    /// Sends a request until it is answered or given up. Gives whom it was sent to.
    fn serve(&mut self, session: u64, now: Time, mut answer: impl FnMut(WorkerId) -> Outcome) -> Vec<WorkerId> {
        let request = RequestId(self.requests);
        self.requests += 1;
        self.budget.deposit(now);
        let pieces = prompt(&[(session % 8, 512), (session, 512)]);
        let mut retries = Retries::new();
        let mut to = Vec::new();
        loop {
            self.excluded.clear();
            self.health.excluded(now, &mut self.excluded);
            retries.exclude(&mut self.excluded);
            let chain = Chain::new(&pieces, Tokens(1));
            let route = RouteRequest { request, session: Some(SessionId(session)), chain, api: Api::Completions };
            let worker = self.router.route(&route, &self.excluded, now).expect("a retry has somewhere to go").worker;
            assert!(!self.excluded.contains(&worker), "{worker} is excluded");
            assert!(!to.contains(&worker), "{worker} was tried");
            to.push(worker);
            self.attempts += 1;
            let sent = self.health.sent(worker, request, now);
            let reserved = Reserved { new_tokens: Tokens(1_024), context_tokens: Tokens(1_024) };
            self.reservations.reserve(request, worker, reserved);
            let outcome = answer(worker);
            if outcome == Outcome::Answered {
                self.reservations.first_token(request);
                self.router.observe(worker, Signal::FirstToken(request), now, now);
            }
            self.health.ended(sent, outcome, now);
            if let Err(stop) = retries.again(worker, outcome, &self.health, &mut self.budget, now) {
                self.stops.push(stop);
                assert_eq!(self.reservations.release(request), Some(worker));
                self.router.observe(worker, Signal::Finished(request), now, now);
                for reservations in [&self.reservations, self.router.loads()] {
                    assert!(reservations.loads().iter().all(|load| *load == WorkerLoad::default()));
                }
                return to;
            }
        }
    }

    fn stopped(&self, why: Stop) -> usize {
        self.stops.iter().filter(|stop| **stop == why).count()
    }
}

#[test]
fn a_dead_worker_is_invisible() {
    for strategy in Strategy::ALL {
        let mut gateway = Gateway::new(strategy, 4);
        let dead = WorkerId(0);
        for number in 0..1_000 {
            let now = Time::ZERO + Span::from_millis(number * 20);
            let to = gateway.serve(
                number % 40,
                now,
                |worker| {
                    if worker == dead { Outcome::Failed } else { Outcome::Answered }
                },
            );
            // One attempt more at most, and the one that answers is not the dead one.
            assert!(to.len() <= 2 && *to.last().expect("it was sent") != dead, "{strategy:?}: {to:?}");
        }
        // Five failures, and a probe after 10 s, where somebody would have gone there by then.
        assert!((5..=6).contains(&(gateway.attempts - gateway.requests)), "{strategy:?}");
        assert_eq!(gateway.health.counts().ejections, 1);
        gateway.health.check();
    }
}

#[test]
fn mistakes_of_clients_and_full_queues_eject_nobody() {
    for (outcome, attempts) in [(Outcome::ClientError, 1), (Outcome::Cancelled, 1), (Outcome::Busy, 3)] {
        let mut gateway = Gateway::new(Strategy::RoundRobin, 4);
        for number in 0..10 {
            assert_eq!(gateway.serve(number, at(number as f64), |_| outcome).len(), attempts);
        }
        assert_eq!((gateway.health.ejected(), gateway.stopped(Stop::Budget)), (0, 0));
    }
}

#[test]
fn a_request_stops_where_nobody_is_left() {
    let mut gateway = Gateway::new(Strategy::RoundRobin, 4);
    gateway.health.set_member(WorkerId(0), false);
    gateway.health.set_member(WorkerId(3), false);
    assert_eq!(gateway.serve(0, at(0.0), |_| Outcome::Failed), [WorkerId(1), WorkerId(2)]);
    assert_eq!((gateway.stops[0], gateway.budget.withdrawn()), (Stop::AllTried, 1), "no retry is used in vain");
    gateway.health.set_member(WorkerId(0), true);
    assert_eq!(gateway.serve(0, at(0.0), |_| Outcome::Failed).len(), 3);
    assert_eq!((gateway.stops[1], gateway.budget.withdrawn()), (Stop::Attempts, 3));
}

#[test]
fn where_all_workers_fail_there_is_no_storm() {
    let sizes = [(5, 4), (100, 2), (400, 8), (1_000, 8)];
    for ((per_second, workers), strategy) in sizes.into_iter().cycle().zip(Strategy::ALL) {
        let mut gateway = Gateway::new(strategy, workers);
        let seconds = 60;
        for number in 0..per_second * seconds {
            let now = Time::ZERO + Span::from_micros(number * 1_000_000 / per_second);
            gateway.serve(number % 97, now, |_| Outcome::Failed);
            let allowed = 1.2 * gateway.requests as f64 + 10.0 * (now.since(Time::ZERO).as_secs_f64() + 1.0);
            assert!(
                gateway.attempts as f64 <= allowed + 1e-6,
                "{strategy:?}: {} of {allowed} at {now}",
                gateway.attempts
            );
        }
        let share =
            (gateway.attempts - gateway.requests) as f64 / (0.2 * gateway.requests as f64 + 10.0 * seconds as f64);
        eprintln!("{strategy:?}, {per_second}/s: {} attempts, {share:.3} of the budget", gateway.attempts);
        // Where more is wanted than that, it is used up. Of two workers, one is ejected: retries have nowhere to go.
        assert!(share > 0.97 || per_second == 5 || workers == 2, "{share}");
        assert_eq!(gateway.stopped(Stop::Budget) > 0, share > 0.97);
        assert!(gateway.health.counts().refused_ejections > 0 && gateway.health.ejected() <= usize::from(workers) / 2);
    }
}

#[test]
fn random_weather_ends_every_request_once() {
    let mut stops = [0; 4];
    for seed in 0..400 {
        let mut chance = Chance::new(seed);
        let workers = 1 + chance.below(6) as u16;
        let mut gateway = Gateway::new(Strategy::ALL[(seed % 11) as usize], workers);
        let mut weather: Vec<u64> = (0..workers).map(|_| chance.below(101)).collect();
        let step = [200, 5][chance.below(2) as usize];
        let mut now = Time::ZERO;
        for _ in 0..200 {
            now += Span::from_millis(chance.below(step));
            if chance.percent(5) {
                weather[chance.below(u64::from(workers)) as usize] = chance.below(101);
            }
            // One always stays.
            if workers > 1 && chance.percent(5) {
                let worker = WorkerId(1 + chance.below(u64::from(workers) - 1) as u16);
                gateway.health.set_member(worker, chance.percent(60));
            }
            let session = chance.below(20);
            let to = gateway.serve(session, now, |worker| match chance.below(20) {
                0 => Outcome::ClientError,
                1 => Outcome::Busy,
                2 => Outcome::Cancelled,
                _ if chance.percent(weather[worker.index()]) => Outcome::Failed,
                _ => Outcome::Answered,
            });
            assert!((1..=3).contains(&to.len()));
            gateway.health.check();
            gateway.reservations.check();
        }
        assert_eq!(gateway.stops.len() as u64, gateway.requests);
        assert_eq!(gateway.attempts - gateway.requests, gateway.budget.withdrawn());
        let why = [Stop::Settled, Stop::Attempts, Stop::AllTried, Stop::Budget];
        stops.iter_mut().zip(why).for_each(|(sum, why)| *sum += gateway.stopped(why));
    }
    eprintln!("settled, attempts, all tried, budget: {stops:?}");
    assert!(stops.iter().all(|count| *count > 100), "{stops:?}");
}
