//! A phase of a run: sends what is due, takes note of what came of it, stops when it must.

use super::client::Client;
use super::exchange::{Ask, Observed};
use super::pace::Pace;
use super::script::Script;
use super::watch::Watch;
use hyper::body::Bytes;
use sim::extent::Extent;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// Requests that must be over before their share of errors says anything.
const SAMPLE: u64 = 20;
/// How often credentials are looked at.
const REFRESH: Duration = Duration::from_secs(30);
/// How often the event loop's own lateness is measured.
const HEARTBEAT: Duration = Duration::from_millis(20);

/// Why a phase ended before all was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Somebody asked for it.
    Interrupted,
    /// Too many requests failed.
    Errors,
}

/// What every phase is run by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How it begins and ends.
    pub extent: Extent,
    /// The share of failed requests, from 0 to 1, beyond which no more are sent.
    pub most_errors: f64,
    /// Turns true when somebody wants it to stop.
    pub stop: watch::Receiver<bool>,
    /// The name of the prefix goes into a header.
    pub name_prefix: bool,
}

/// What came of a phase.
#[derive(Debug)]
pub struct Phase {
    /// Its requests, by place: `None` was never sent.
    pub observed: Vec<Option<Observed>>,
    /// Requests that were in flight when it was stopped: their places and when they were scheduled and sent.
    pub unfinished: Vec<(usize, u64)>,
    /// When it began, nanoseconds.
    pub began: u64,
    /// When the last request was over.
    pub ended: u64,
    /// How many were in flight, from when on (ns).
    pub in_flight: Vec<(u64, u32)>,
    /// Lateness of the event loop, nanoseconds, one for each heartbeat.
    pub late: Vec<u64>,
    /// Why it ended early.
    pub stopped: Option<Stopped>,
}

/// Runs all of `script`.
pub async fn run(client: &Arc<Client>, script: &Script, rules: &Rules, look: &mut dyn Watch) -> Phase {
    let began = client.clock().now();
    let requests = script.workload().requests().len();
    let mut conductor = Conductor {
        client,
        script,
        rules,
        pace: Pace::new(script.workload(), &rules.extent, began),
        flying: HashMap::new(),
        tasks: JoinSet::new(),
        said: HashMap::new(),
        wanted: wanted(script),
        failed: 0,
        over: 0,
        phase: Phase {
            observed: std::iter::repeat_with(|| None).take(requests).collect(),
            unfinished: Vec::new(),
            began,
            ended: began,
            in_flight: vec![(began, 0)],
            late: Vec::new(),
            stopped: None,
        },
    };
    conductor.conduct(look).await;
    conductor.phase
}

/// Whose reply a later prompt contains.
fn wanted(script: &Script) -> Vec<bool> {
    let count = script.workload().requests().len();
    let mut wanted = vec![false; count];
    for place in 0..count {
        for before in script.replies_of(place) {
            wanted[before] = true;
        }
    }
    wanted
}

struct Conductor<'a> {
    client: &'a Arc<Client>,
    script: &'a Script,
    rules: &'a Rules,
    pace: Pace,
    /// When those in flight were scheduled.
    flying: HashMap<usize, u64>,
    tasks: JoinSet<()>,
    /// Real replies that prompts will contain.
    said: HashMap<usize, String>,
    wanted: Vec<bool>,
    failed: u64,
    over: u64,
    phase: Phase,
}

impl Conductor<'_> {
    async fn conduct(&mut self, look: &mut dyn Watch) {
        let (teller, mut told) = mpsc::unbounded_channel();
        let mut stop = self.rules.stop.clone();
        let mut beat = ticking(HEARTBEAT);
        let mut show = ticking(look.period());
        let mut refresh = ticking(REFRESH);
        loop {
            self.send_due(&teller, look);
            if self.flying.is_empty() && self.pace.next().is_none() {
                break;
            }
            let due = self.pace.next().map(|next| Instant::from_std(self.client.clock().at(next)));
            tokio::select! {
                Some((place, observed)) = told.recv() => {
                    self.ended(place, observed, look);
                    while let Ok((place, observed)) = told.try_recv() {
                        self.ended(place, observed, look);
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                at = beat.tick() => self.phase.late.push(nanos(Instant::now().saturating_duration_since(at))),
                _ = show.tick() => look.show(),
                _ = refresh.tick() => self.client.refresh().await,
                // Whoever could stop it is gone: then nobody does.
                Ok(_) = stop.wait_for(|stop| *stop) => {
                    self.give_up(Stopped::Interrupted);
                    break;
                }
            }
            while self.tasks.try_join_next().is_some() {}
        }
        self.tasks.shutdown().await;
        look.show();
    }

    fn send_due(&mut self, teller: &mpsc::UnboundedSender<(usize, Observed)>, look: &mut dyn Watch) {
        while let Some((scheduled, place)) = self.pace.pop(self.client.clock().now()) {
            let body = self.script.body(place, |before| self.said.get(&before).cloned());
            let ask = Ask {
                place,
                scheduled,
                body: Bytes::from(body),
                session: self.script.session(place),
                prefix: self.rules.name_prefix.then(|| self.script.prefix(place)).flatten(),
                keep: self.wanted[place],
                listener: None,
            };
            let (client, teller) = (self.client.clone(), teller.clone());
            self.flying.insert(place, scheduled);
            self.count(self.client.clock().now());
            look.sent();
            self.tasks.spawn(async move {
                let observed = client.exchange(ask).await;
                // Whoever does not listen any more has given this request up.
                let _ = teller.send((place, observed));
            });
        }
    }

    fn ended(&mut self, place: usize, mut observed: Observed, look: &mut dyn Watch) {
        self.flying.remove(&place);
        let ended = observed.ended;
        self.count(ended);
        self.phase.ended = self.phase.ended.max(ended);
        self.over += 1;
        self.failed += u64::from(observed.result.is_err());
        look.ended(&observed);
        if let Some(text) = observed.seen.text.take() {
            self.said.insert(place, text);
        }
        self.pace.ended(place, observed.scheduled, ended);
        self.phase.observed[place] = Some(observed);
        if self.over >= SAMPLE && self.failed as f64 > self.rules.most_errors * self.over as f64 {
            // Those in flight may end: they are answered already.
            self.pace.stop();
            self.phase.stopped.get_or_insert(Stopped::Errors);
        }
    }

    fn count(&mut self, now: u64) {
        self.phase.in_flight.push((now, self.flying.len() as u32));
    }

    fn give_up(&mut self, why: Stopped) {
        self.pace.stop();
        self.phase.stopped = Some(why);
        let mut flying: Vec<_> = self.flying.drain().collect();
        flying.sort_unstable();
        self.phase.unfinished = flying;
        self.phase.ended = self.client.clock().now();
    }
}

fn ticking(period: Duration) -> tokio::time::Interval {
    let mut ticking = interval(period);
    ticking.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticking
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
