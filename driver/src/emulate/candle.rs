//! Workers that compute with candle, behind the server.

use super::executor::{self, Executor, Message, Prompt, Reports, Said, Workers};
use super::tokens::Content;
use kvcache::{CacheEvent, Piece, RequestId, WorkerId};
use sim::replica::{Output, Work};
use std::path::Path;
use std::sync::Arc;
use worker::engine::{Ask, Memory, Sampling, Worker};
use worker::kernel::Level;
use worker::language::{self, Language};
use worker::model::{Model, Unreadable, read_folder, read_gguf, tiny};
use worker::station::Station;

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
        let Self { model, language } = self.clone();
        Box::new(move |reports| {
            let stations = (0..count).map(|number| {
                let worker = Worker::new(Arc::clone(&model), memory, Level::detect(), threads)?;
                let (reports, id) = (reports.clone(), WorkerId(number));
                Station::spawn(format!("worker-{number}"), worker, language.clone(), move |ran| {
                    report(&reports, id, ran)
                })
            });
            let stations = stations.collect::<std::io::Result<_>>()?;
            Ok(Box::new(Stations(stations)) as Box<dyn Executor>)
        })
    }
}

fn report(reports: &Reports, worker: WorkerId, ran: worker::station::Ran) {
    let said = ran.said.into_iter().map(|said| Said {
        request: said.request,
        text: said.text,
        rest: said.rest,
        end: said.end.map(|end| match end {
            language::Ending::Model => executor::Ending::Model,
            language::Ending::Stop(text) => executor::Ending::Stop(text),
        }),
    });
    reports.ran(worker, ran.span, said.collect());
}

#[derive(Debug)]
struct Stations(Vec<Station>);

impl Executor for Stations {
    fn submit(&mut self, worker: WorkerId, request: RequestId, prompt: Prompt, pieces: Vec<Piece>) {
        let executor::Sampling { seed, temperature, top_p } = prompt.sampling;
        let sampling = Sampling { seed: seed.unwrap_or(request.0), temperature, top_p };
        let ask = Ask { tokens: prompt.tokens, pieces, sampling };
        self.0[worker.index()].submit(request, ask, prompt.stops);
    }

    fn cache(&mut self, worker: WorkerId, told: Vec<CacheEvent>) {
        self.0[worker.index()].cache(told);
    }

    fn output(&mut self, worker: WorkerId, output: Output) {
        self.0[worker.index()].output(output);
    }

    fn run(&mut self, worker: WorkerId, work: Work) {
        self.0[worker.index()].run(work);
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
        let text = self.language.chat(&messages).map_err(|error| error.to_string())?;
        Ok(self.language.encode(&text, false))
    }
}
