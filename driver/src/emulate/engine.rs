//! The actor that owns the cluster and tells it the time.
//!
//! Inputs come down one line. Each is stamped when it is taken; before it enters the cluster, everything that was due
//! by then has happened at its own, modelled moment, however late this task woke. So lateness of the machine delays
//! what clients see, and never changes what the cluster does.
//!
//! Laws: moments never decrease; a request is told how it ended exactly once; `live` counts those that were not.

use super::clock::Clock;
use super::executor::{Executor, Held, Reports, Said, Wanted, Workers};
use super::feed::Publisher;
use super::live::{Live, Timing};
use super::meters::{Ended, Meters};
use super::parts::Parts;
use super::progress::{End, Entrance, Progress, Taken};
use super::record::{Input, Recording};
use super::settings::Watch;
use super::stats::Stats;
use crate::alarm::Alarm;
use crate::growth::Growth;
use crate::http::vllm::Finish;
use kvcache::{OpId, RequestId, Span, Time, Tokens, Usage, WorkerId};
use sim::cluster::{Cluster, Event};
use sim::replica::Output;
use sim::transport::Answer;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// Steps of the cluster between two looks at other tasks, where it has fallen behind the clock.
const STEPS_AT_A_STRETCH: u32 = 256;

/// What the engine is told.
#[derive(Debug)]
pub(super) enum Command {
    /// One caller's requests, numbered from `first`.
    Submit { first: u64, arrivals: Vec<Taken>, teller: watch::Sender<Vec<Progress>> },
    /// Their caller went away.
    Cancel { numbers: Range<u64> },
    /// A worker ran a pass.
    Ran { worker: WorkerId, span: Span, said: Vec<Said>, left_out: Vec<RequestId> },
    /// A worker carried a move between tiers, so many objects of it.
    Carried { worker: WorkerId, op: OpId, came: u32 },
    /// An L2 elsewhere has answered.
    Answered { worker: WorkerId, op: OpId, answer: Answer },
    /// A worker computes no more.
    Died { worker: WorkerId },
    /// Give up whatever is left, and end.
    Stop,
}

/// A request between the server and the router.
#[derive(Debug)]
struct OnItsWay {
    at: Time,
    request: RequestId,
    arrive: Input,
}

/// The actor. [`Engine::run`] is its life.
#[derive(Debug)]
pub struct Engine {
    cluster: Cluster,
    clock: Clock,
    latency: Span,
    commands: mpsc::UnboundedReceiver<Command>,
    on_their_way: VecDeque<OnItsWay>, // one latency for all, so first in, first out
    live: BTreeMap<RequestId, Live>,
    meters: Arc<Meters>,
    stats: Stats,
    growth: Option<Watch>, // until it has been told
    executor: Option<Box<dyn Executor>>,
    publisher: Option<Publisher>,
    /// Whether workers have L1, and L2.
    lower: [bool; 2],
}

impl Engine {
    /// An engine that drives `cluster` by `clock`, and the way in. Requests reach the router `latency` after they were
    /// taken in; `record` keeps everything for a replay.
    #[must_use]
    pub fn new(cluster: Cluster, clock: Clock, latency: Span, record: bool) -> (Entrance, Self) {
        let (commands, line) = mpsc::unbounded_channel();
        let tiers = cluster.replicas().next().and_then(|replica| replica.config().tiers);
        let lower = tiers.map_or([false; 2], |tiers| [tiers.host.is_some(), tiers.pool]);
        let longest = cluster.replicas().next().map_or(Tokens::ZERO, |replica| replica.config().max_model_len);
        let meters = Arc::new(Meters::new(lower, cluster.replicas().count(), longest));
        let engine = Self {
            cluster,
            clock,
            latency,
            commands: line,
            on_their_way: VecDeque::new(),
            live: BTreeMap::new(),
            meters: Arc::clone(&meters),
            stats: Stats { recording: record.then(Recording::default), ..Stats::default() },
            growth: None,
            executor: None,
            publisher: None,
            lower,
        };
        (Entrance::new(commands, meters), engine)
    }

    /// The same engine; `watch` is told when the router's index has grown large.
    #[must_use]
    pub fn with_watch(mut self, watch: Option<Watch>) -> Self {
        self.growth = watch;
        self
    }

    /// The same engine, which tells the world what its workers hold, where there is a way to.
    #[must_use]
    pub(super) fn with_publisher(mut self, publisher: Option<Publisher>) -> Self {
        if publisher.is_some() {
            self.cluster = self.cluster.with_told_caches();
        }
        self.publisher = publisher;
        self
    }

    /// The same engine, whose passes are executed by `workers`: each lasts as long as it takes.
    ///
    /// # Errors
    /// Where they cannot be started.
    pub fn with_workers(mut self, workers: Workers, entrance: &Entrance) -> std::io::Result<Self> {
        self.executor = Some(workers(Reports(entrance.commands()))?);
        self.cluster = self.cluster.with_external_passes();
        self.meter_kv();
        Ok(self)
    }

    /// Lives until it is stopped or nobody can reach it any more, and tells what became of all requests.
    pub async fn run(mut self) -> Stats {
        let mut alarm = Alarm::default();
        loop {
            let due = self.next_due().map(|at| self.clock.wall(at));
            let command = tokio::select! {
                biased;
                command = self.commands.recv() => command.unwrap_or(Command::Stop),
                () = alarm.until_any(due) => {
                    self.catch_up(self.clock.now()).await;
                    continue;
                }
            };
            let now = self.clock.now();
            self.catch_up(now).await;
            match command {
                Command::Submit { first, arrivals, teller } => self.take(first, arrivals, &teller, now),
                Command::Cancel { numbers } => self.cancel(numbers),
                Command::Ran { worker, span, said, left_out } => {
                    left_out.into_iter().for_each(|request| self.cluster.left_out(worker, request));
                    self.ran(worker, span, said);
                }
                Command::Carried { worker, op, came } => {
                    if let Some(executor) = &mut self.executor {
                        executor.left(worker, op);
                    }
                    self.cluster.moved(worker, op, came);
                }
                Command::Answered { worker, op, answer } => self.answered(worker, op, answer),
                Command::Died { worker } => {
                    self.cluster.die(worker);
                    self.cluster.notice(worker);
                }
                Command::Stop => break,
            }
            self.pass_on();
            self.catch_up(now).await;
        }
        self.end()
    }

    fn next_due(&mut self) -> Option<Time> {
        let arrival = self.on_their_way.front().map(|first| first.at);
        arrival.into_iter().chain(self.cluster.next_due()).min()
    }

    /// Everything that was due by `now` happens, at its own moment.
    async fn catch_up(&mut self, now: Time) {
        let mut steps = 0;
        while let Some(due) = self.next_due().filter(|due| *due <= now) {
            self.cluster.advance(due);
            if let Some(arrived) = self.on_their_way.pop_front_if(|first| first.at == due) {
                self.enter(arrived.arrive);
            }
            self.pass_on();
            steps += 1;
            if steps % STEPS_AT_A_STRETCH == 0 {
                tokio::task::yield_now().await;
            }
        }
        self.cluster.advance(now);
    }

    fn take(&mut self, first: u64, arrivals: Vec<Taken>, teller: &watch::Sender<Vec<Progress>>, now: Time) {
        for ((choice, Taken { arrive, asked, tokens }), number) in arrivals.into_iter().enumerate().zip(first..) {
            let request = RequestId(number);
            self.stats.requests += 1;
            let prompt = arrive.prompt();
            if let (Some(publisher), Some(tokens)) = (&mut self.publisher, &tokens) {
                publisher.know(request, arrive.pieces(), tokens);
            }
            let named = arrive.pieces().to_vec();
            let mut asked = asked;
            let names = asked.as_mut().and_then(|asked| asked.names.take()).zip(named.last().copied());
            let asked = asked.map(|asked| (asked, named));
            let (teller, rest, entered) = (teller.clone(), String::new(), now + self.latency);
            let (worker, over, timing) = (None, false, Timing::new(now));
            let live = Live { teller, choice, worker, prompt, entered, asked, names, rest, over, timing };
            self.live.insert(request, live);
            self.on_their_way.push_back(OnItsWay { at: now + self.latency, request, arrive });
        }
        self.meters.live(self.live.len() as u64);
    }

    fn enter(&mut self, input: Input) {
        input.enter(&mut self.cluster);
        if let Some(recording) = &mut self.stats.recording {
            recording.inputs.push((self.cluster.now(), input));
        }
    }

    fn cancel(&mut self, numbers: Range<u64>) {
        for request in numbers.map(RequestId) {
            let Some(live) = self.live.get(&request) else { continue };
            if let Some(worker) = live.worker {
                self.enter(Input::Cancel { worker, request });
                if let Some(executor) = &mut self.executor {
                    executor.take_back(worker, request);
                }
            } else {
                // The router never hears of it.
                self.on_their_way.retain(|other| other.request != request);
                self.conclude(request, End::Stopped);
            }
        }
    }

    /// Tells every request what happened to it.
    fn pass_on(&mut self) {
        while let Some(event) = self.cluster.poll() {
            if let Some(recording) = &mut self.stats.recording {
                recording.trail.note(&event);
            }
            match event {
                Event::Routed { request, decision, .. } => {
                    if let Some(live) = self.live.get_mut(&request) {
                        live.worker = Some(decision.worker);
                        if let (Some(executor), Some((asked, pieces))) = (&mut self.executor, live.asked.take()) {
                            executor.submit(decision.worker, request, asked, pieces);
                        }
                        live.tell(|progress| progress.decision = Some(decision));
                    }
                    self.watch_growth();
                }
                Event::Refused { request, refusal, .. } => self.conclude(request, End::Refused(refusal)),
                Event::Output { worker, output } => {
                    if let Some(executor) = &mut self.executor {
                        executor.output(worker, output);
                    }
                    self.pass_on_output(output);
                }
                Event::Ran { worker, stretch, .. } => {
                    self.stats.passes += stretch.passes;
                    self.meter_device(worker);
                }
                Event::Stalled { .. } | Event::Restarted { .. } | Event::Worker { .. } => {}
                Event::Cache { worker, told } => {
                    if let Some(publisher) = &mut self.publisher {
                        publisher.cache(worker, &told);
                    }
                    if let Some(executor) = &mut self.executor {
                        executor.cache(worker, told);
                    }
                }
                Event::Started { worker, work, .. } => match &mut self.executor {
                    Some(executor) => executor.run(worker, *work),
                    // Nobody computes any more: the engine ends.
                    None => self.cluster.lasted(worker, Span(1)),
                },
                Event::Move(_) | Event::Moved { .. } | Event::Shelved { .. } | Event::LetGo { .. } => self.carry(event),
                Event::Lost { request, worker, .. } => {
                    self.cluster.give_up(request, worker);
                    self.conclude(request, End::Lost);
                }
            }
        }
    }

    /// What concerns bytes below the devices.
    fn carry(&mut self, event: Event) {
        let Some(executor) = &mut self.executor else { return };
        match event {
            Event::Move(asked) => {
                let until = asked.deadline.map(|at| self.clock.wall(at));
                executor.carry(asked, until);
            }
            Event::Moved { worker, op } => executor.moved(worker, op),
            Event::Shelved { worker, told } => executor.shelved(worker, &told),
            Event::LetGo { worker, request } => executor.let_go(worker, request),
            _ => return,
        }
        self.meter_kv();
    }

    fn answered(&mut self, worker: WorkerId, op: OpId, answer: Answer) {
        self.cluster.answered(worker, op, answer);
        let wanted = self.executor.as_mut().map_or(Wanted::NoMore, |executor| executor.answered(worker, op));
        if wanted == Wanted::NoMore {
            self.cluster.withdrawn(worker, op);
        }
    }

    /// Bytes of KV in each tier, for a scrape.
    fn meter_kv(&self) {
        let Some(executor) = &self.executor else { return };
        let Held { block, host, pool, elsewhere } = executor.held();
        let of = |usage: Usage| u64::from((usage.private + usage.held + usage.idle).0);
        let blocks: u64 = self.cluster.replicas().map(|replica| of(replica.cache().usage())).sum();
        self.meters.kv([blocks * block, host, pool]);
        elsewhere.into_iter().for_each(|counts| self.meters.elsewhere(counts));
    }

    /// What requests hold on a worker's device, for a scrape.
    fn meter_device(&self, worker: WorkerId) {
        if let Some(replica) = self.cluster.replicas().nth(worker.index()) {
            self.meters.held(worker, replica.cache().usage());
        }
    }

    fn watch_growth(&mut self) {
        let passes = |watch: &Watch| Growth::of(self.cluster.router()).filter(|growth| growth.passes(watch.beyond));
        if let Some(growth) = self.growth.as_ref().and_then(passes)
            && let Some(watch) = self.growth.take()
        {
            // Nobody may be listening any more.
            let _ = watch.teller.send(growth);
        }
    }

    fn pass_on_output(&mut self, output: Output) {
        match output {
            Output::Admitted { request, cached, .. } => {
                if let Some(live) = self.live.get_mut(&request) {
                    live.timing.runs(true, &self.meters);
                    // After a preemption it is admitted again; what it found at first is what the client is told.
                    let mut first = false;
                    live.tell(|progress| {
                        first = progress.cached.is_none();
                        if first {
                            let [l1, l2] = self.lower.map(|there| there.then_some(Tokens::ZERO));
                            (progress.cached, progress.found) = (Some(cached), [Some(cached), l1, l2]);
                        }
                    });
                    if first {
                        self.meters.admitted(live.prompt, cached);
                    }
                }
            }
            Output::Loaded { request, host, pool, .. } => {
                if let Some(live) = self.live.get(&request) {
                    live.tell(|progress| {
                        // The same for loads: those of a first admission come before any token.
                        if let (Tokens::ZERO, Some(cached)) = (progress.tokens, progress.cached) {
                            progress.cached = Some(cached + host + pool);
                            let [l1, l2] = self.lower;
                            (progress.found[1], progress.found[2]) = (l1.then_some(host), l2.then_some(pool));
                            self.meters.loaded(host, pool);
                        }
                    });
                }
            }
            Output::FirstToken { .. } | Output::Resumed { .. } | Output::Tokens { .. } if self.executor.is_some() => {}
            Output::FirstToken { request, .. } | Output::Resumed { request, .. } => self.emitted(request, Tokens(1)),
            Output::Tokens { request, count } => {
                self.emitted(request, Tokens(u32::try_from(count).unwrap_or(u32::MAX)));
            }
            Output::Finished { request, .. } => self.conclude(request, End::Finished),
            Output::Cancelled { request } => {
                let over = self.live.get(&request).is_some_and(|live| live.over);
                self.conclude(request, if over { End::Finished } else { End::Stopped });
            }
            Output::Split { request, spent, since } => {
                if let Some(live) = self.live.get(&request) {
                    let wall = |span| self.clock.lasts(span);
                    let parts = Parts {
                        api: wall(self.latency),
                        line: wall(since.since(live.entered)),
                        kv_wait: wall(spent.kv_wait),
                        budget_wait: wall(spent.budget_wait),
                        tiers: wall(spent.tiers),
                        compute: wall(spent.compute),
                    };
                    live.tell(|progress| progress.parts = Some(parts));
                }
            }
            Output::Preempted { request } => {
                if let Some(live) = self.live.get_mut(&request) {
                    live.timing.runs(false, &self.meters);
                }
            }
        }
    }

    /// A worker ran a pass: what was said in it is told, and who ended by itself is taken back.
    fn ran(&mut self, worker: WorkerId, span: Span, said: Vec<Said>) {
        for Said { request, token, text, rest, end } in said {
            let Some(live) = self.live.get_mut(&request) else { continue };
            if let Some(pieces) = live.name(token)
                && self.cluster.name(worker, request, &pieces)
                && let Some(executor) = &mut self.executor
            {
                executor.name(worker, request, pieces);
                if let (Some(publisher), Some((names, _))) = (&mut self.publisher, &live.names)
                    && let Some((key, tokens)) = names.last_block()
                {
                    publisher.know_more(request, key, tokens);
                }
            }
            live.rest = rest;
            live.over |= end.is_some();
            let over = live.over;
            self.stats.output_tokens += 1;
            self.meters.emitted(Tokens(1));
            live.timing.tokens(1, self.cluster.now(), &self.clock, &self.meters);
            live.tell(|progress| {
                let speech = progress.speech.get_or_insert_default();
                speech.text.push_str(&text);
                speech.marks.push(speech.text.len());
                speech.end = end;
                progress.tokens += Tokens(1);
            });
            if over {
                self.cluster.cancel(worker, request);
            }
        }
        self.cluster.lasted(worker, span);
        self.meter_kv();
    }

    fn emitted(&mut self, request: RequestId, count: Tokens) {
        if let Some(live) = self.live.get_mut(&request) {
            self.stats.output_tokens += u64::from(count.0);
            self.meters.emitted(count);
            live.timing.tokens(count.0, self.cluster.now(), &self.clock, &self.meters);
            live.tell(|progress| progress.tokens += count);
        }
    }

    fn conclude(&mut self, request: RequestId, end: End) {
        let Some(mut live) = self.live.remove(&request) else { return };
        if let Some(publisher) = &mut self.publisher {
            publisher.forget(request);
        }
        match end {
            End::Finished => self.stats.completed += 1,
            End::Refused(_) | End::Lost => self.stats.refused += 1,
            End::Stopped => self.stats.stopped += 1,
        }
        let (ended, why) = match end {
            End::Finished => (Ended::Completed, Some(if live.over { Finish::Stop } else { Finish::Length })),
            End::Refused(_) | End::Lost => (Ended::Refused, None),
            End::Stopped => (Ended::Stopped, Some(Finish::Abort)),
        };
        self.meters.ended(ended);
        live.timing.end(why, live.prompt, self.cluster.now(), &self.clock, &self.meters);
        live.worker.into_iter().for_each(|worker| self.meter_device(worker));
        live.tell(|progress| {
            if let Some(speech) = &mut progress.speech {
                speech.text.push_str(&live.rest);
            }
            progress.end = Some(end);
        });
        self.meters.live(self.live.len() as u64);
    }

    /// Gives up whatever is left. The passes under way end, at their modelled moments, and nobody waits for them.
    fn end(mut self) -> Stats {
        if let Some(executor) = self.executor.take() {
            drop(executor); // after the passes under way
            for worker in (0..self.cluster.replicas().count() as u16).map(WorkerId) {
                self.cluster.lasted(worker, Span(1));
            }
        }
        if let Some(last) = self.live.last_key_value() {
            self.cancel(0..last.0.0 + 1);
        }
        self.pass_on();
        while let Some(due) = self.cluster.next_due() {
            self.cluster.advance(due);
            self.pass_on();
        }
        self.stats.left = self.cluster.replicas().map(|replica| replica.live() as u64).sum();
        self.stats
    }
}
