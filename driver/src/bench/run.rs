//! A phase of a run: sends what is due, takes note of what came of it, stops when it must.

use super::client::Client;
use super::exchange::{Ask, Observed};
use super::pace::Pace;
use super::script::Script;
use super::watch::{Nobody, Watch};
use crate::alarm::Alarm;
use hyper::body::Bytes;
use sim::extent::Extent;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

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
pub async fn run(
    client: &Arc<Client>,
    script: Script,
    rules: &Rules,
    look: Box<dyn Watch>,
) -> (Script, Phase, Box<dyn Watch>) {
    let conductor = Conductor::new(client.clone(), script, rules.clone(), look);
    let shared = Arc::new(Shared { conductor: Mutex::new(conductor), changed: Notify::new() });
    conduct(&shared, client, rules.stop.clone()).await;
    let mut conductor = shared.lock();
    conductor.look.show();
    let (script, look) = (conductor.script.clone(), std::mem::replace(&mut conductor.look, Box::new(Nobody)));
    let empty = Phase::beginning(0, 0);
    (script, std::mem::replace(&mut conductor.phase, empty), look)
}

/// What tasks share. One thread runs them all, so nobody ever waits for the lock.
struct Shared {
    conductor: Mutex<Conductor>,
    /// Something is due earlier than the conductor knew, or all is over.
    changed: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Conductor> {
        self.conductor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends by the clock, and looks after all that is no request. A task whose request is over sends the next one itself, at
/// once: behind hundreds of others that read tokens its slot would stay empty.
async fn conduct(shared: &Arc<Shared>, client: &Arc<Client>, mut stop: watch::Receiver<bool>) {
    let mut tasks = JoinSet::new();
    let mut alarm = Alarm::default();
    let mut beat = ticking(HEARTBEAT);
    let mut show = ticking(shared.lock().look.period());
    let mut refresh = ticking(REFRESH);
    loop {
        let due = loop {
            let mut conductor = shared.lock();
            let Some(ask) = conductor.take() else { break conductor.pace.next() };
            drop(conductor);
            tasks.spawn(send(shared.clone(), client.clone(), ask));
        };
        if due.is_none() && shared.lock().flying.is_empty() {
            break;
        }
        let due = due.map(|next| Instant::from_std(client.clock().at(next)));
        tokio::select! {
            () = shared.changed.notified() => {}
            () = alarm.until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            at = beat.tick() => {
                let late = nanos(Instant::now().saturating_duration_since(at));
                shared.lock().phase.late.push(late);
            }
            _ = show.tick() => shared.lock().look.show(),
            _ = refresh.tick() => client.refresh().await,
            // Whoever could stop it is gone: then nobody does.
            Ok(_) = stop.wait_for(|stop| *stop) => {
                shared.lock().give_up(Stopped::Interrupted);
                break;
            }
        }
        while tasks.try_join_next().is_some() {}
    }
    tasks.shutdown().await;
}

/// Sends a request, and after it whatever is due then.
async fn send(shared: Arc<Shared>, client: Arc<Client>, mut ask: Ask) {
    loop {
        let place = ask.place;
        let observed = client.exchange(ask).await;
        let mut conductor = shared.lock();
        let before = conductor.pace.next();
        conductor.ended(place, observed);
        match conductor.take() {
            Some(next) => ask = next,
            None => {
                if conductor.flying.is_empty() || conductor.pace.next() != before {
                    shared.changed.notify_one();
                }
                return;
            }
        }
    }
}

struct Conductor {
    client: Arc<Client>,
    script: Script,
    rules: Rules,
    look: Box<dyn Watch>,
    pace: Pace,
    /// When those in flight were scheduled.
    flying: HashMap<usize, u64>,
    /// Real replies that prompts will contain.
    said: HashMap<usize, String>,
    wanted: Vec<bool>,
    failed: u64,
    over: u64,
    phase: Phase,
}

impl Phase {
    fn beginning(began: u64, requests: usize) -> Self {
        Self {
            observed: std::iter::repeat_with(|| None).take(requests).collect(),
            unfinished: Vec::new(),
            began,
            ended: began,
            in_flight: vec![(began, 0)],
            late: Vec::new(),
            stopped: None,
        }
    }
}

impl Conductor {
    fn new(client: Arc<Client>, script: Script, rules: Rules, look: Box<dyn Watch>) -> Self {
        let began = client.clock().now();
        Self {
            pace: Pace::new(script.workload(), &rules.extent, began),
            phase: Phase::beginning(began, script.workload().requests().len()),
            wanted: wanted(&script),
            client,
            script,
            rules,
            look,
            flying: HashMap::new(),
            said: HashMap::new(),
            failed: 0,
            over: 0,
        }
    }

    /// The next request that is due, as it is to be sent.
    fn take(&mut self) -> Option<Ask> {
        let (scheduled, place) = self.pace.pop(self.client.clock().now())?;
        let body = self.script.body(place, |before| self.said.get(&before).cloned());
        self.flying.insert(place, scheduled);
        self.count(self.client.clock().now());
        self.look.sent();
        Some(Ask {
            place,
            scheduled,
            body: Bytes::from(body),
            session: self.script.session(place),
            prefix: self.rules.name_prefix.then(|| self.script.prefix(place)).flatten(),
            keep: self.wanted[place],
            listener: None,
        })
    }

    fn ended(&mut self, place: usize, mut observed: Observed) {
        self.flying.remove(&place);
        let ended = observed.ended;
        self.count(ended);
        self.phase.ended = self.phase.ended.max(ended);
        self.over += 1;
        self.failed += u64::from(observed.result.is_err());
        self.look.ended(&observed);
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

fn ticking(period: Duration) -> tokio::time::Interval {
    let mut ticking = interval(period);
    ticking.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticking
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
