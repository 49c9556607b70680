//! A worker in a thread of its own: what it is told waits in a line, and what its passes bring is reported.

use crate::aside::{Copied, Copying};
use crate::depot::Parcel;
use crate::engine::{Ask, Worker};
use crate::language::{Ending, Language, Speech};
use kvcache::{CacheEvent, OpId, Piece, RequestId, Span};
use sim::replica::{Output, Work};
use sim::transport::Move;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// What a worker is told.
#[derive(Debug)]
enum Told {
    Submit {
        request: RequestId,
        ask: Box<Ask>,
        stops: Vec<String>,
    },
    Name {
        request: RequestId,
        pieces: Vec<Piece>,
    },
    Cache(Vec<CacheEvent>),
    Output(Output),
    Run(Work),
    LetGo(RequestId),
    Carry {
        asked: Move,
        parcels: Vec<Parcel>,
    },
    /// What was copied aside is there.
    Copied(Box<Copied>),
    /// Nobody tells anything any more.
    End,
}

/// What a worker reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A pass.
    Ran(Ran),
    /// The first `came` objects of a move were carried.
    Carried {
        /// Which.
        op: OpId,
        /// How many.
        came: u32,
        /// All of them, with the bytes of those that were stored.
        parcels: Vec<Parcel>,
    },
    /// The worker panicked, and computes no more.
    Died,
}

/// What a pass brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// How long it lasted.
    pub span: Span,
    /// Who said what.
    pub said: Vec<Said>,
    /// Whose tokens were not computed, since they were taken back while the pass ran.
    pub left_out: Vec<RequestId>,
}

/// A token of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Whose.
    pub request: RequestId,
    /// Which.
    pub token: u32,
    /// What it adds to the text; may be empty.
    pub text: String,
    /// Text that is held back, and part of the reply if this is its last token.
    pub rest: String,
    /// Why the reply ends by itself.
    pub end: Option<Ending>,
}

/// A worker's thread. It ends when this is dropped, after the pass under way.
#[derive(Debug)]
pub struct Station {
    line: Option<Sender<Told>>,
    taken_back: Arc<TakenBack>,
    thread: Option<JoinHandle<()>>,
}

/// Requests that were taken back, known to the worker while a pass runs.
#[derive(Debug, Default)]
struct TakenBack {
    any: AtomicBool,
    requests: Mutex<BTreeSet<RequestId>>,
}

impl TakenBack {
    fn change(&self, change: impl FnOnce(&mut BTreeSet<RequestId>)) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut requests);
        self.any.store(!requests.is_empty(), Ordering::Release);
    }

    fn has(&self, request: RequestId) -> bool {
        // Nearly always nobody was, and then a pass takes no lock.
        self.any.load(Ordering::Acquire)
            && self.requests.lock().unwrap_or_else(PoisonError::into_inner).contains(&request)
    }
}

impl Station {
    /// Starts `worker`, who speaks `language`; `report` is told of each pass.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn spawn(
        name: String,
        worker: Worker,
        language: Language,
        report: impl Fn(Report) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (line, told) = channel();
        let taken_back = Arc::new(TakenBack::default());
        let aside = worker.copies_aside().then(|| Aside::spawn(&name, line.clone())).transpose()?;
        let life = Life { worker, language, speeches: BTreeMap::new(), taken_back: Arc::clone(&taken_back), aside };
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let watched = Watched(&report);
            life.live(&told, &report);
            drop(watched);
        })?;
        Ok(Self { line: Some(line), taken_back, thread: Some(thread) })
    }

    fn tell(&self, told: Told) {
        if let Some(line) = &self.line {
            // A worker that panicked has said so.
            let _ = line.send(told);
        }
    }

    /// A request was sent here; its reply ends where one of `stops` appears.
    pub fn submit(&self, request: RequestId, ask: Ask, stops: Vec<String>) {
        self.tell(Told::Submit { request, ask: Box::new(ask), stops });
    }

    /// What prompt and reply of a request are called from now on.
    pub fn name(&self, request: RequestId, pieces: Vec<Piece>) {
        self.tell(Told::Name { request, pieces });
    }

    /// The core's cache changed.
    pub fn cache(&self, told: Vec<CacheEvent>) {
        self.tell(Told::Cache(told));
    }

    /// Something came out of the core's engine.
    pub fn output(&self, output: Output) {
        self.tell(Told::Output(output));
    }

    /// A request is taken back: a pass under way computes no further for it, if for nobody else. The core says when it is
    /// no longer here ([`Station::output`]).
    pub fn take_back(&self, request: RequestId) {
        self.taken_back.change(|requests| {
            requests.insert(request);
        });
    }

    /// A request that waits gave up its blocks.
    pub fn let_go(&self, request: RequestId) {
        self.tell(Told::LetGo(request));
    }

    /// KV is to be moved.
    pub fn carry(&self, asked: Move, parcels: Vec<Parcel>) {
        self.tell(Told::Carry { asked, parcels });
    }

    /// A pass is to be run.
    pub fn run(&self, work: Work) {
        self.tell(Told::Run(work));
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        self.tell(Told::End);
        self.line = None;
        if let Some(thread) = self.thread.take() {
            // What it panicked with was printed.
            let _ = thread.join();
        }
    }
}

/// The thread that waits for copies while passes run. It ends when this is dropped, after the copies under way.
#[derive(Debug)]
struct Aside {
    line: Option<Sender<Copying>>,
    thread: Option<JoinHandle<()>>,
}

impl Aside {
    fn spawn(name: &str, told: Sender<Told>) -> std::io::Result<Self> {
        let (line, copies) = channel::<Copying>();
        let thread = std::thread::Builder::new().name(format!("{name}-copies")).spawn(move || {
            while let Ok(copying) = copies.recv() {
                // A worker that has ended hears nothing.
                let _ = told.send(Told::Copied(Box::new(copying.wait())));
            }
        })?;
        Ok(Self { line: Some(line), thread: Some(thread) })
    }

    fn copy(&self, copying: Copying) {
        if let Some(line) = &self.line {
            line.send(copying).expect("the thread of copies lives as long as its worker");
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.line = None;
        if let Some(thread) = self.thread.take() {
            // What it panicked with was printed.
            let _ = thread.join();
        }
    }
}

/// Says so where its thread panics.
struct Watched<'a, F: Fn(Report)>(&'a F);

impl<F: Fn(Report)> Drop for Watched<'_, F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)(Report::Died);
        }
    }
}

struct Life {
    worker: Worker,
    language: Language,
    speeches: BTreeMap<RequestId, Speech>,
    taken_back: Arc<TakenBack>,
    aside: Option<Aside>,
}

impl Life {
    fn live(mut self, told: &Receiver<Told>, report: impl Fn(Report)) {
        while let Ok(told) = told.recv() {
            match told {
                Told::Submit { request, ask, stops } => {
                    self.worker.submit(request, *ask);
                    self.speeches.insert(request, Speech::new(self.language.clone(), stops));
                }
                Told::Name { request, pieces } => self.worker.name(request, pieces),
                Told::Cache(told) => self.worker.hear_cache(&told),
                Told::Output(output) => {
                    self.worker.hear(&output);
                    if let Output::Finished { request, .. } | Output::Cancelled { request } = output {
                        self.speeches.remove(&request);
                        self.taken_back.change(|requests| {
                            requests.remove(&request);
                        });
                    }
                }
                Told::Run(work) => report(Report::Ran(self.run(&work))),
                Told::LetGo(request) => self.worker.let_go(request),
                Told::Carry { asked, parcels } if self.aside.is_some() => {
                    let copying = self.worker.begin(asked, parcels);
                    if let (Some(aside), Some(copying)) = (&self.aside, copying) {
                        aside.copy(copying);
                    }
                }
                Told::Copied(copied) => {
                    let op = copied.op();
                    let (came, parcels) = self.worker.end(*copied);
                    report(Report::Carried { op, came, parcels });
                }
                Told::End => return,
                Told::Carry { asked, parcels } => {
                    let (came, parcels) = self.worker.carry(&asked, parcels);
                    report(Report::Carried { op: asked.op, came, parcels });
                }
            }
        }
    }

    fn run(&mut self, work: &Work) -> Ran {
        let began = Instant::now();
        let taken_back = &self.taken_back;
        let brought = self.worker.run_while(work, |request| !taken_back.has(request), |_, _| ());
        let said = brought.emitted.into_iter().filter_map(|(request, token)| {
            let speech = self.speeches.get_mut(&request)?;
            let spoken = speech.say(token);
            let rest = if spoken.end.is_some() { String::new() } else { speech.clone().rest() };
            Some(Said { request, token, text: spoken.text, rest, end: spoken.end })
        });
        let said = said.collect();
        Ran { span: Span(began.elapsed().as_nanos() as u64 * 1000), said, left_out: brought.left_out }
    }
}
