//! Workers that compute with candle, behind the server.

use super::candle_remote::{Brought, Elsewhere};
use super::executor::{self, Executor, Held, Message, Prompt, Reports, Said, Wanted, Workers};
use super::tokens::Content;
use crate::l2::Remote;
use kvcache::{CacheEvent, OpId, Piece, RequestId, Shelved, WorkerId};
use sim::replica::{Output, Work};
use sim::transport::{Move, Way};
use std::path::Path;
use std::sync::{Arc, mpsc};
use tokio::time::Instant;
use worker::depot::{Depot, Parcel};
use worker::engine::{Ask, Memory, Reply, Sampling, Worker};
use worker::kernel::Level;
use worker::language::{self, Language, Next};
use worker::model::{Model, Unreadable, read_folder, read_gguf, tiny};
use worker::station::{Report, Station};
use worker::tensor::TensorModel;

/// A model with its language.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Weights, which all workers share.
    pub model: Arc<Model>,
    /// Text and tokens.
    pub language: Language,
}

impl Loaded {
    /// The random model of a seed.
    #[must_use]
    pub fn tiny(seed: u64) -> Self {
        Self { model: Arc::new(tiny(seed)), language: Language::bytes() }
    }

    /// A GGUF file, or a folder as Hugging Face has them.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(path: &Path) -> Result<Self, Unreadable> {
        if path.is_dir() {
            return Ok(Self { model: Arc::new(read_folder(path)?), language: Language::from_folder(path)? });
        }
        let (model, content) = read_gguf(path)?;
        Ok(Self { model: Arc::new(model), language: Language::from_gguf(&content)? })
    }

    /// So many workers of `threads` threads each, with `memory` each.
    #[must_use]
    pub fn workers(&self, count: u16, memory: Memory, threads: usize) -> Workers {
        self.workers_over(count, memory, threads, None)
    }

    /// The same over an L2 elsewhere, for a cluster [`with_pool_elsewhere`](sim::cluster::Cluster::with_pool_elsewhere).
    #[must_use]
    pub fn workers_over(&self, count: u16, memory: Memory, threads: usize, l2: Option<Remote>) -> Workers {
        let model = Arc::clone(&self.model);
        let worker = move || Worker::new(Arc::clone(&model), memory, Level::detect(), threads);
        self.stations(count, memory, l2, worker)
    }

    /// So many workers on the device that has the model, with `memory` each; over an L2 elsewhere, where one is given.
    #[must_use]
    pub fn workers_on(&self, model: &Arc<TensorModel>, count: u16, memory: Memory, l2: Option<Remote>) -> Workers {
        let model = Arc::clone(model);
        let worker = move || Worker::on_device(Arc::clone(&model), memory).map_err(std::io::Error::other);
        self.stations(count, memory, l2, worker)
    }

    fn stations(
        &self,
        count: u16,
        memory: Memory,
        l2: Option<Remote>,
        worker: impl Fn() -> std::io::Result<Worker> + Send + 'static,
    ) -> Workers {
        let language = self.language.clone();
        Box::new(move |reports| {
            let (sender, parcels) = mpsc::channel();
            let (mut block, mut elsewhere) = (0, None);
            let mut l2 = l2;
            let stations = (0..count).map(|number| {
                let worker = worker()?;
                block = worker.page_shape().bytes() as u64;
                if let Some(l2) = l2.take() {
                    elsewhere = Some(Elsewhere::new(l2, &worker, memory.block, reports.clone()));
                }
                let (reports, sender, id) = (reports.clone(), sender.clone(), WorkerId(number));
                Station::spawn(format!("worker-{number}"), worker, language.clone(), move |told| {
                    report(&reports, &sender, id, told);
                })
            });
            let stations = stations.collect::<std::io::Result<_>>()?;
            let depot = Depot::new(count);
            Ok(Box::new(Stations { stations, depot, parcels, block, elsewhere }) as Box<dyn Executor>)
        })
    }
}

type Parcels = (WorkerId, OpId, u32, Vec<Parcel>);

fn report(reports: &Reports, parcels: &mpsc::Sender<Parcels>, worker: WorkerId, told: Report) {
    let ran = match told {
        Report::Ran(ran) => ran,
        Report::Carried { op, came, parcels: carried } => {
            // Where nobody hears it, the engine has stopped.
            let _ = parcels.send((worker, op, came, carried));
            return reports.carried(worker, op, came);
        }
        Report::Died => return reports.died(worker),
    };
    let said = ran.said.into_iter().map(|said| Said {
        request: said.request,
        token: said.token,
        text: said.text,
        rest: said.rest,
        end: said.end.map(|end| match end {
            language::Ending::Model => executor::Ending::Model,
            language::Ending::Stop(text) => executor::Ending::Stop(text),
        }),
    });
    reports.ran(worker, ran.span, said.collect(), ran.left_out);
}

/// The workers' threads, and the bytes below their devices.
#[derive(Debug)]
struct Stations {
    stations: Vec<Station>,
    depot: Depot,
    /// What workers have carried.
    parcels: mpsc::Receiver<Parcels>,
    /// Bytes of a block.
    block: u64,
    /// L2, where it is not in this process.
    elsewhere: Option<Elsewhere>,
}

impl Executor for Stations {
    fn submit(&mut self, worker: WorkerId, request: RequestId, prompt: Prompt, pieces: Vec<Piece>) {
        let executor::Sampling { seed, temperature, top_p } = prompt.sampling;
        let sampling = Sampling { seed: seed.unwrap_or(request.0), temperature, top_p };
        let ask = Ask { tokens: prompt.tokens, pieces, reply: Reply::Drawn(sampling) };
        self.stations[worker.index()].submit(request, ask, prompt.stops);
    }

    fn name(&mut self, worker: WorkerId, request: RequestId, pieces: Vec<Piece>) {
        self.stations[worker.index()].name(request, pieces);
    }

    fn cache(&mut self, worker: WorkerId, told: Vec<CacheEvent>) {
        self.stations[worker.index()].cache(told);
    }

    fn output(&mut self, worker: WorkerId, output: Output) {
        if let (
            Some(elsewhere),
            Output::Preempted { request } | Output::Finished { request, .. } | Output::Cancelled { request },
        ) = (&mut self.elsewhere, output)
        {
            elsewhere.let_go(worker, request);
        }
        self.stations[worker.index()].output(output);
    }

    fn run(&mut self, worker: WorkerId, work: Work) {
        self.stations[worker.index()].run(work);
    }

    fn carry(&mut self, asked: Move, until: Option<Instant>) {
        let Some(elsewhere) = &mut self.elsewhere else {
            let parcels = self.depot.begin(&asked);
            return self.stations[asked.worker.index()].carry(asked, parcels);
        };
        match asked.way {
            Way::Probe => elsewhere.probe(&asked, until),
            Way::Put => elsewhere.put(&asked, self.depot.bound_for_pool(asked.worker, asked.op), until),
            Way::Load | Way::Store => {
                let parcels = self.depot.begin(&asked);
                let of_pool = |(carried, _): &Parcel| !carried.host;
                if asked.way == Way::Load && parcels.iter().any(of_pool) {
                    elsewhere.fetch(asked, parcels, until);
                } else {
                    self.stations[asked.worker.index()].carry(asked, parcels);
                }
            }
        }
    }

    fn answered(&mut self, worker: WorkerId, op: OpId) -> Wanted {
        let Some(elsewhere) = &mut self.elsewhere else { return Wanted::Still };
        match elsewhere.answered(worker, op) {
            Brought::Load(asked, parcels) => {
                self.stations[worker.index()].carry(asked, parcels);
                Wanted::Still
            }
            Brought::Nothing => Wanted::Still,
            Brought::TooLate => Wanted::NoMore,
        }
    }

    fn left(&mut self, _: WorkerId, _: OpId) {
        // Parcels were sent before the word of them.
        while let Ok((worker, op, came, parcels)) = self.parcels.try_recv() {
            if let Some(elsewhere) = &mut self.elsewhere {
                elsewhere.carried(came, &parcels);
            }
            self.depot.left(worker, op, parcels);
        }
    }

    fn moved(&mut self, worker: WorkerId, op: OpId) {
        self.depot.end(worker, op);
    }

    fn shelved(&mut self, worker: Option<WorkerId>, told: &[Shelved]) {
        self.depot.hear(worker, told);
    }

    fn take_back(&mut self, worker: WorkerId, request: RequestId) {
        self.stations[worker.index()].take_back(request);
    }

    fn let_go(&mut self, worker: WorkerId, request: RequestId) {
        if let Some(elsewhere) = &mut self.elsewhere {
            elsewhere.let_go(worker, request);
        }
        self.stations[worker.index()].let_go(request);
    }

    fn held(&self) -> Held {
        let elsewhere = self.elsewhere.as_ref().map(Elsewhere::counts);
        Held { block: self.block, host: self.depot.host_bytes(), pool: self.depot.pool_bytes(), elsewhere }
    }
}

impl executor::Language for Loaded {
    fn prompt(&self, content: &Content) -> Result<Vec<u32>, String> {
        let tokens = match content {
            Content::Text(text) => self.language.encode(text, true),
            Content::Ids(ids) => ids.clone(),
        };
        let vocab = self.model.shape.vocab;
        match tokens.iter().find(|token| **token as usize >= vocab) {
            Some(token) => Err(format!("Token id {token} is out of vocabulary, which has {vocab}.")),
            None if tokens.is_empty() => Err("The prompt has no tokens.".to_owned()),
            None => Ok(tokens),
        }
    }

    fn chat(&self, messages: &[Message]) -> Result<Vec<u32>, String> {
        let message =
            |message: &Message| language::Message { role: message.role.clone(), content: message.content.clone() };
        let messages: Vec<_> = messages.iter().map(message).collect();
        let text = self.language.chat(&messages, Next::Reply).map_err(|error| error.to_string())?;
        Ok(self.language.encode(&text, false))
    }
}
