//! A worker in a thread of its own: what it is told waits in a line, and what its passes bring is reported.

use crate::depot::Parcel;
use crate::engine::{Ask, Worker};
use crate::language::{Ending, Language, Speech};
use kvcache::{CacheEvent, OpId, Piece, RequestId, Span};
use sim::replica::{Output, Work};
use sim::transport::Move;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

/// What a worker is told.
#[derive(Debug)]
enum Told {
    Submit { request: RequestId, ask: Box<Ask>, stops: Vec<String> },
    Name { request: RequestId, pieces: Vec<Piece> },
    Cache(Vec<CacheEvent>),
    Output(Output),
    Run(Work),
    LetGo(RequestId),
    Carry { asked: Move, parcels: Vec<Parcel> },
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
    thread: Option<JoinHandle<()>>,
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
        let life = Life { worker, language, speeches: BTreeMap::new() };
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let watched = Watched(&report);
            life.live(&told, &report);
            drop(watched);
        })?;
        Ok(Self { line: Some(line), thread: Some(thread) })
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
                    }
                }
                Told::Run(work) => report(Report::Ran(self.run(&work))),
                Told::LetGo(request) => self.worker.let_go(request),
                Told::Carry { asked, parcels } => {
                    let (came, parcels) = self.worker.carry(&asked, parcels);
                    report(Report::Carried { op: asked.op, came, parcels });
                }
            }
        }
    }

    fn run(&mut self, work: &Work) -> Ran {
        let began = Instant::now();
        let emitted = self.worker.run(work);
        let said = emitted.into_iter().filter_map(|(request, token)| {
            let speech = self.speeches.get_mut(&request)?;
            let spoken = speech.say(token);
            let rest = if spoken.end.is_some() { String::new() } else { speech.clone().rest() };
            Some(Said { request, token, text: spoken.text, rest, end: spoken.end })
        });
        let said = said.collect();
        Ran { span: Span(began.elapsed().as_nanos() as u64 * 1000), said }
    }
}
