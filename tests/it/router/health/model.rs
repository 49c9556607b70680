//! Breakers of random fleets: after every operation the same as a naive fleet's, all laws asserted.

use super::Chance;
use kvcache::{RequestId, Span, Time, WorkerId};
use router::{CircuitState, Health, HealthConfig, HealthCounts, Outcome, Sent};

const SEQUENCES: u64 = 100_000;
const OPERATIONS: u64 = 60;

/// A worker as one would write it down.
#[derive(Clone, Default)]
struct Worker {
    member: bool,
    failures: u32,
    out: Option<Out>,
    failed_at: Time,
    heeded: usize, // what was sent before this many others says nothing
}

/// Why it is out.
#[derive(Clone, Copy)]
struct Out {
    failed_probes: u32,
    due: Time,
    probe: Option<(usize, Time)>,
}

/// The rules, one after the other; everything is looked up in lists.
struct Naive {
    config: HealthConfig,
    workers: Vec<Worker>,
    sent: Vec<usize>, // to whom, of everything that was ever sent
    counts: HealthCounts,
    prolonged_to_most: u64,
    lost_probes: u64,
    neutral_probes: u64,
}

impl Naive {
    fn new(config: HealthConfig, workers: u64) -> Self {
        let workers = vec![Worker { member: true, ..Worker::default() }; workers as usize];
        let counts = HealthCounts::default();
        Self { config, workers, sent: Vec::new(), counts, prolonged_to_most: 0, lost_probes: 0, neutral_probes: 0 }
    }

    fn members(&self) -> usize {
        self.workers.iter().filter(|worker| worker.member).count()
    }

    fn out(&self) -> usize {
        self.workers.iter().filter(|worker| worker.out.is_some()).count()
    }

    fn excluded(&self, now: Time) -> Vec<WorkerId> {
        let excluded = |worker: &Worker| {
            let waits = worker.out.is_some_and(|out| match out.probe {
                Some((_, sent)) => now < sent + self.config.probe_lost,
                None => now < out.due,
            });
            !worker.member || waits
        };
        (0..self.workers.len())
            .filter(|index| excluded(&self.workers[*index]))
            .map(|index| WorkerId(index as u16))
            .collect()
    }

    fn state(&self, worker: usize) -> CircuitState {
        let Worker { failures, out, .. } = self.workers[worker];
        match out {
            None => CircuitState::Closed { failures },
            Some(Out { due, probe: None, .. }) => CircuitState::Open { until: due },
            Some(Out { probe: Some((number, sent)), .. }) => {
                CircuitState::HalfOpen { probe: RequestId(number as u64), lost_at: sent + self.config.probe_lost }
            }
        }
    }

    fn send(&mut self, worker: usize, now: Time) {
        let number = self.sent.len();
        self.sent.push(worker);
        if let Some(out) = &mut self.workers[worker].out {
            let lost = out.probe.is_some_and(|(_, sent)| now >= sent + self.config.probe_lost);
            self.lost_probes += u64::from(lost);
            if out.probe.is_none() || lost {
                out.probe = Some((number, now));
                self.counts.probes += 1;
            }
        }
    }

    fn end(&mut self, number: usize, outcome: Outcome, now: Time) {
        let room = (self.out() + 1) * 2 <= self.members();
        let everything = self.sent.len();
        let worker = &mut self.workers[self.sent[number]];
        if !worker.member || number < worker.heeded {
            self.counts.stale_ends += 1;
            return;
        }
        let span = |failed: u32| (0..failed).fold(self.config.open, |span, _| (span + span).min(self.config.open_most));
        match (outcome, &mut worker.out) {
            (Outcome::Answered, out) => {
                self.counts.recoveries += u64::from(out.take().is_some());
                worker.failures = 0;
            }
            (Outcome::Failed, Some(out)) => {
                let failed_probes = out.failed_probes + 1;
                *out = Out { failed_probes, due: now + span(failed_probes), probe: None };
                self.prolonged_to_most += u64::from(span(failed_probes) == self.config.open_most);
                worker.heeded = everything;
                worker.failed_at = now;
            }
            (Outcome::Failed, None) => {
                worker.failures += 1;
                worker.failed_at = now;
                if worker.failures >= self.config.failures && room {
                    worker.out = Some(Out { failed_probes: 0, due: now + span(0), probe: None });
                    worker.heeded = everything;
                    self.counts.ejections += 1;
                } else if worker.failures >= self.config.failures {
                    self.counts.refused_ejections += 1;
                }
            }
            (_, Some(out)) if out.probe.is_some_and(|(probe, _)| probe == number) => {
                *out = Out { due: now, probe: None, ..*out };
                self.neutral_probes += 1;
            }
            _ => {}
        }
    }

    fn set_member(&mut self, worker: usize, member: bool) {
        if self.workers[worker].member != member {
            let heeded = self.sent.len();
            self.workers[worker] = Worker { member, heeded, ..Worker::default() };
        }
        while self.out() * 2 > self.members() {
            let out = self.workers.iter_mut().filter(|worker| worker.out.is_some());
            let first = out.min_by_key(|worker| worker.failed_at).expect("somebody is out");
            (first.out, first.failures) = (None, self.config.failures);
            self.counts.pardons += 1;
        }
    }
}

/// A fleet beside its model, under random operations.
struct World {
    chance: Chance,
    health: Health,
    naive: Naive,
    now: Time,
    under_way: Vec<Sent>,
    weather: Vec<u64>, // how many of 100 requests fail, by worker
}

impl World {
    fn random(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let open = Span::from_secs(1 + chance.below(10));
        let config = HealthConfig {
            failures: 1 + chance.below(5) as u32,
            open,
            open_most: open * (1 + chance.below(6)),
            probe_lost: Span::from_secs(1 + chance.below(30)),
        };
        let workers = 1 + chance.below(6);
        let weather = (0..workers).map(|_| [0, 30, 90, 100][chance.below(4) as usize]).collect();
        let (health, naive) = (Health::new(config, workers as u16), Naive::new(config, workers));
        Self { chance, health, naive, now: Time::ZERO, under_way: Vec::new(), weather }
    }

    fn wait(&mut self) {
        let most = match self.chance.below(20) {
            0 => 70_000,
            1..=6 => 4_000,
            _ => 1,
        };
        self.now += Span::from_millis(self.chance.below(most));
    }

    fn any_worker(&mut self) -> WorkerId {
        WorkerId(self.chance.below(self.weather.len() as u64) as u16)
    }

    fn send(&mut self, worker: WorkerId) -> Sent {
        let request = RequestId(self.naive.sent.len() as u64);
        self.naive.send(worker.index(), self.now);
        self.health.sent(worker, request, self.now)
    }

    fn end(&mut self, sent: Sent, outcome: Outcome) {
        let before = self.states();
        self.naive.end(sent.request.0 as usize, outcome, self.now);
        self.health.ended(sent, outcome, self.now);
        if matches!(outcome, Outcome::ClientError | Outcome::Busy | Outcome::Cancelled) {
            // It counts nowhere; at most it gives a probe's place back.
            for (before, after) in before.into_iter().zip(self.states()) {
                let given_back = matches!(before, CircuitState::HalfOpen { probe, .. } if probe == sent.request);
                assert!(before == after || given_back && after == CircuitState::Open { until: self.now });
            }
        }
    }

    fn states(&self) -> Vec<CircuitState> {
        (0..self.weather.len()).map(|worker| self.health.state(WorkerId(worker as u16))).collect()
    }

    fn operation(&mut self) {
        match self.chance.below(100) {
            0..45 => {
                let mut worker = self.any_worker();
                // Mostly as told: somebody who is available.
                if !self.chance.percent(10) {
                    let available: Vec<_> = self.health.available(self.now).collect();
                    let Some(first) = available.first() else { return };
                    worker = available.iter().copied().find(|available| *available >= worker).unwrap_or(*first);
                }
                let sent = self.send(worker);
                self.under_way.push(sent);
            }
            45..90 if !self.under_way.is_empty() => {
                let index = self.chance.below(self.under_way.len() as u64) as usize;
                let sent = self.under_way[index];
                // Some end twice, as far as the caller says.
                if !self.chance.percent(3) {
                    let _ended = self.under_way.swap_remove(index);
                }
                let fails = self.weather[sent.worker.index()];
                let outcome = match self.chance.below(10) {
                    0 => Outcome::ClientError,
                    1 => Outcome::Busy,
                    2 => Outcome::Cancelled,
                    _ if self.chance.percent(fails) => Outcome::Failed,
                    _ => Outcome::Answered,
                };
                self.end(sent, outcome);
            }
            90..92 => self.under_way.truncate(1), // the rest is never heard of again
            92..96 => {
                let (worker, member) = (self.any_worker(), !self.chance.percent(40));
                self.naive.set_member(worker.index(), member);
                self.health.set_member(worker, member);
            }
            _ => {
                let worker = self.any_worker();
                self.weather[worker.index()] = [0, 100][self.chance.below(2) as usize];
            }
        }
    }

    fn check(&self) {
        self.health.check();
        let mut excluded = Vec::new();
        self.health.excluded(self.now, &mut excluded);
        assert_eq!(excluded, self.naive.excluded(self.now));
        for (worker, state) in self.states().into_iter().enumerate() {
            assert_eq!(state, self.naive.state(worker), "worker {worker}");
            let member = self.health.is_member(WorkerId(worker as u16));
            assert_eq!(member, self.naive.workers[worker].member);
        }
        assert_eq!(self.health.counts(), self.naive.counts);
        let (members, ejected) = (self.health.members(), self.health.ejected());
        assert_eq!((members, ejected), (self.naive.members(), self.naive.out()));
        // At most half are out, never all; somebody can always be sent a request.
        assert!(ejected * 2 <= members, "{ejected} of {members}");
        assert!(members == 0 || ejected < members && excluded.len() < self.weather.len());
    }

    /// From any state, one good probe closes a breaker, and it is let through within the longest wait.
    fn recover(&mut self) {
        self.now += self.naive.config.open_most.max(self.naive.config.probe_lost);
        for worker in (0..self.weather.len()).map(|worker| WorkerId(worker as u16)) {
            if !self.health.is_member(worker) {
                continue;
            }
            assert!(self.health.is_available(worker, self.now), "{worker} waits for ever");
            let sent = self.send(worker);
            if self.chance.percent(50) {
                // Also one that answers too late, with another one after it.
                self.now += self.naive.config.probe_lost;
                assert!(self.health.is_available(worker, self.now), "{worker} waits for a lost probe");
                let _lost = self.send(worker);
            }
            self.end(sent, Outcome::Answered);
            assert_eq!(self.health.state(worker), CircuitState::Closed { failures: 0 });
            self.check();
        }
        assert_eq!(self.health.ejected(), 0);
    }
}

#[test]
fn random_fleets_keep_the_rules() {
    let mut seen = [0; 9];
    for seed in 0..SEQUENCES {
        let mut world = World::random(seed);
        for _ in 0..OPERATIONS {
            world.wait();
            world.operation();
            world.check();
        }
        world.recover();
        let HealthCounts { ejections, refused_ejections, probes, recoveries, pardons, stale_ends } =
            world.health.counts();
        let Naive { prolonged_to_most, lost_probes, neutral_probes, .. } = world.naive;
        let all = [ejections, refused_ejections, probes, recoveries, pardons, stale_ends];
        for (sum, count) in seen.iter_mut().zip(all.into_iter().chain([prolonged_to_most, lost_probes, neutral_probes]))
        {
            *sum += count;
        }
    }
    eprintln!("ejections, refused, probes, recoveries, pardons, stale ends, longest, lost, neutral: {seen:?}");
    // Enough of everything for agreement to mean something.
    assert!(seen.iter().all(|count| *count > SEQUENCES / 100), "{seen:?}");
}
