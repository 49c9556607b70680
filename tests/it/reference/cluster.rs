//! A cluster as its rules read: at each moment passes end, then workers restart, then requests arrive, then passes start.

use super::cache::{Name, Names};
use super::engine::{Engine, Ran};
use super::scenario::{Routing, Scenario};
use kvcache::{RequestId, Span, Time, Tokens, WorkerId};
use sim::cluster::Refusal;
use sim::ledger::{Histogram, Record, Status};
use sim::replica::{Output, Refused};
use sim::workload::Pacing;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// All that can be known of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) records: Vec<Record>,
    pub(super) gaps: Histogram,
    pub(super) passes: u64,
    pub(super) preemptions: u64,
    /// What requests held of the devices, block-picoseconds, and the most of one device.
    pub(super) held: (u128, u64),
    pub(super) workers: Vec<OfWorker>,
}

/// All that can be known of a worker's run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OfWorker {
    pub(super) ran: Vec<Ran>,
    /// Admissions, preemptions, first tokens and ends, in order.
    pub(super) told: Vec<Output>,
    pub(super) evicted: u64,
    pub(super) lost: Span,
}

pub(super) struct Cluster<'a> {
    scenario: &'a Scenario,
    engines: Vec<Engine>,
    names: Vec<Vec<Name>>,       // of each request's prompt and reply
    sent: Vec<(Time, WorkerId)>, // which worker was sent a request when
    /// Who has which block, in the order in which they came to: what LMCache's controller writes down.
    pool: BTreeMap<Name, Vec<usize>>,
    due: BTreeSet<(Time, usize)>,
    next: usize,
    records: Vec<Record>,
}

impl<'a> Cluster<'a> {
    pub(super) fn new(scenario: &'a Scenario) -> Self {
        let workload = &scenario.workload;
        let mut known = Names::default();
        let names = |request| {
            let prompt = workload.segments(request).iter().map(|segment| (segment.id, segment.tokens.0));
            known.of(prompt.chain([(request.reply, request.output.0)]), scenario.engine.cache.block.0)
        };
        Self {
            scenario,
            engines: (0..scenario.workers).map(|_| Engine::new(&scenario.engine)).collect(),
            names: workload.requests().iter().map(names).collect(),
            sent: Vec::new(),
            pool: BTreeMap::new(),
            due: BTreeSet::new(),
            next: 0,
            records: Vec::new(),
        }
    }

    /// Runs to the end. Also says how often a decoder found no budget.
    pub(super) fn run(mut self) -> (Outcome, u64) {
        match self.scenario.workload.pacing() {
            Pacing::Open => {
                for index in 0..self.names.len() {
                    self.send_next(self.scenario.workload.requests()[index].at);
                }
            }
            Pacing::Closed { concurrency } => (0..concurrency).for_each(|_| self.send_next(Time::ZERO)),
            Pacing::Turns => unreachable!("scenarios take no turns"),
        }
        let model = self.scenario.cost.model();
        let mut restarts: VecDeque<(Time, WorkerId)> = self.scenario.restarts.iter().copied().collect();
        loop {
            let ends = self.engines.iter().filter_map(|engine| engine.ends);
            let inputs = [self.due.first().map(|(at, _)| *at), restarts.front().map(|(at, _)| *at)];
            let Some(now) = ends.chain(inputs.into_iter().flatten()).min() else { break };
            for worker in 0..self.engines.len() {
                if self.engines[worker].ends == Some(now) {
                    let ended = self.engines[worker].end(now);
                    self.tell(worker);
                    (0..ended).for_each(|_| self.one_has_ended(now));
                }
            }
            while let Some((_, worker)) = restarts.pop_front_if(|(at, _)| *at == now) {
                self.engines[worker.index()].restart(now);
                self.pool.values_mut().for_each(|holders| holders.retain(|holder| *holder != worker.index()));
            }
            while let Some((_, index)) = self.due.first().copied().filter(|(at, _)| *at == now) {
                self.due.pop_first();
                self.arrive(index, now);
            }
            for worker in 0..self.engines.len() {
                self.engines[worker].start(&*model, now);
                self.tell(worker);
            }
        }
        self.outcome()
    }

    /// The controller hears what a worker's cache admitted and evicted.
    fn tell(&mut self, worker: usize) {
        for (name, came) in self.engines[worker].cache.told.drain(..) {
            let holders = self.pool.entry(name).or_default();
            if came {
                holders.push(worker);
            } else {
                holders.retain(|holder| *holder != worker);
            }
        }
    }

    /// Who is named first for these blocks, and up to how many of them.
    fn first_in_reply(&self, blocks: &[Name], blocks_per_chunk: usize) -> Option<(usize, usize)> {
        let mut first = None;
        for end in (blocks_per_chunk..=blocks.len()).step_by(blocks_per_chunk) {
            let Some(&holder) = self.pool.get(&blocks[end - 1]).and_then(|holders| holders.first()) else { break };
            match &mut first {
                None => first = Some((holder, end)),
                Some((worker, upto)) if *worker == holder => *upto = end,
                Some(_) => {}
            }
        }
        first
    }

    fn send_next(&mut self, now: Time) {
        if self.next < self.names.len() {
            self.due.insert((now + self.scenario.latency, self.next));
            self.next += 1;
        }
    }

    fn one_has_ended(&mut self, now: Time) {
        if matches!(self.scenario.workload.pacing(), Pacing::Closed { .. }) {
            self.send_next(now);
        }
    }

    fn arrive(&mut self, index: usize, now: Time) {
        let request = &self.scenario.workload.requests()[index];
        let (worker, matched, best) = self.route(index, now);
        self.sent.push((now, worker));
        let id = RequestId(self.records.len() as u64);
        let mut record = Record {
            sent: Time(now.0 - self.scenario.latency.0),
            arrived: now,
            prompt: request.prompt,
            output: request.output,
            worker: Some(worker),
            matched,
            best,
            ..Record::default()
        };
        let names = self.names[index].clone();
        if !self.engines[worker.index()].submit(id, names, (request.prompt, request.output), now) {
            record.status = Status::Refused;
            let (tokens, max_model_len) =
                (u64::from((request.prompt + request.output).0), self.scenario.engine.max_model_len);
            record.refusal = Some(Refusal::Worker(Refused::TooLong { tokens, max_model_len }));
            self.one_has_ended(now);
        }
        self.records.push(record);
    }

    /// Who is chosen, what that worker has of the prompt, and the most that any has.
    fn route(&self, index: usize, now: Time) -> (WorkerId, Option<Tokens>, Option<Tokens>) {
        match self.scenario.routing {
            Routing::RoundRobin => (WorkerId((self.records.len() % self.engines.len()) as u16), None, None),
            Routing::KvAware { threshold, window, chunk } => {
                let block = self.scenario.engine.cache.block.0;
                let prompt = self.scenario.workload.requests()[index].prompt.0;
                let blocks = &self.names[index][..(prompt / block) as usize];
                let held: Vec<u32> =
                    self.engines.iter().map(|engine| engine.cache.find(blocks) as u32 * block).collect();
                let chosen = match self.first_in_reply(blocks, (chunk.0 / block) as usize) {
                    Some((first, end)) if end as u32 * block >= prompt.saturating_sub(threshold.0) => first,
                    _ => self.least_asked(window, now),
                };
                (WorkerId(chosen as u16), Some(Tokens(held[chosen])), held.iter().max().map(|most| Tokens(*most)))
            }
        }
    }

    /// A worker that was never sent anything, else the one that was sent the least within `window`.
    fn least_asked(&self, window: Span, now: Time) -> usize {
        let asked = |worker: &usize| {
            let ever = self.sent.iter().filter(|(_, to)| to.index() == *worker);
            let lately = ever.clone().filter(|(at, _)| now.since(*at) <= window).count();
            (ever.count() > 0, lately)
        };
        (0..self.engines.len()).min_by_key(asked).unwrap_or(0)
    }

    fn outcome(mut self) -> (Outcome, u64) {
        for engine in &self.engines {
            assert!(engine.is_empty(), "everything ends");
            for told in &engine.told {
                note(&mut self.records, told);
            }
        }
        let mut outcome = Outcome { records: self.records, ..Outcome::default() };
        let mut sat_out = 0;
        for engine in self.engines {
            for gap in &engine.gaps {
                outcome.gaps.add(*gap, 1);
            }
            sat_out += engine.sat_out;
            outcome.passes += engine.ran.len() as u64;
            outcome.held.0 += engine.held;
            outcome.held.1 = outcome.held.1.max(engine.most_held);
            let Engine { ran, told, lost, cache, .. } = engine;
            outcome.workers.push(OfWorker { ran, told, evicted: cache.evicted, lost });
        }
        outcome.preemptions = outcome.records.iter().map(|record| u64::from(record.preemptions)).sum();
        (outcome, sat_out)
    }
}

fn note(records: &mut [Record], told: &Output) {
    match *told {
        Output::Admitted { request, cached, at } => {
            let record = &mut records[request.0 as usize];
            record.admissions += 1;
            if record.admitted.is_none() {
                (record.admitted, record.cached) = (Some(at), Some(cached));
                // There is nothing below the device.
                (record.from_l1, record.from_l2) = (Some(Tokens::ZERO), Some(Tokens::ZERO));
            }
        }
        Output::Preempted { request } => records[request.0 as usize].preemptions += 1,
        Output::Split { request, spent, since } => {
            let record = &mut records[request.0 as usize];
            (record.spent, record.outside) = (Some(spent), since.since(record.arrived));
        }
        Output::FirstToken { request, computed, at } => {
            let record = &mut records[request.0 as usize];
            record.first_token = Some(at);
            record.computed = (record.admissions == 1).then_some(computed);
        }
        Output::Finished { request, at } => {
            let record = &mut records[request.0 as usize];
            (record.last_token, record.status) = (Some(at), Status::Completed);
        }
        _ => unreachable!("the reference tells nothing else"),
    }
}
