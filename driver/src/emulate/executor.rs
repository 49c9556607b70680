//! Whoever executes passes for real, as the server sees it: a language, workers, and what they report.
//!
//! The engine hands on what the core decided, in order, and hears how long each pass lasted and what was said in it.

use super::engine::Command;
use super::names::Names;
use super::tokens::Content;
use core::fmt;
use kvcache::{CacheEvent, OpId, Piece, RequestId, Shelved, Span, WorkerId};
use sim::replica::{Output, Work};
use sim::transport::{Answer, Move};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How tokens are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// The draws' seed. `None`: the request's number.
    pub seed: Option<u64>,
    /// 0: always the most likely token.
    pub temperature: f64,
    /// Of the likeliest tokens that have so much of the probability together.
    pub top_p: f64,
}

/// What is to be computed for a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Texts at which the reply ends.
    pub stops: Vec<String>,
    /// What its blocks are called, and the reply's as they are said. `None`: nobody will refer to the reply.
    pub names: Option<Names>,
}

impl Prompt {
    /// The same for its reply number `choice`.
    pub(super) fn choice(mut self, choice: u32) -> Self {
        self.sampling.seed = self.sampling.seed.map(|seed| seed.wrapping_add(u64::from(choice)));
        self
    }
}

/// A message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whose.
    pub role: String,
    /// What.
    pub content: String,
}

/// The language of the model that is served.
pub trait Language: fmt::Debug + Send + Sync {
    /// The tokens of a completion's prompt.
    ///
    /// # Errors
    /// What is wrong with it, in words for the client.
    fn prompt(&self, content: &Content) -> Result<Vec<u32>, String>;

    /// The tokens of a chat, by the model's own template.
    ///
    /// # Errors
    /// What is wrong with it, in words for the client.
    fn chat(&self, messages: &[Message]) -> Result<Vec<u32>, String>;
}

/// Workers that compute.
pub trait Executor: fmt::Debug {
    /// A request was sent to `worker`; `pieces` name its prompt and its reply.
    fn submit(&mut self, worker: WorkerId, request: RequestId, prompt: Prompt, pieces: Vec<Piece>);
    /// Prompt and reply of a request of `worker` are called so from now on; blocks that are computed keep their names.
    fn name(&mut self, worker: WorkerId, request: RequestId, pieces: Vec<Piece>);
    /// The cache of `worker` changed.
    fn cache(&mut self, worker: WorkerId, told: Vec<CacheEvent>);
    /// Something came out of the core's engine of `worker`.
    fn output(&mut self, worker: WorkerId, output: Output);
    /// `worker` is to run a pass, and reports it.
    fn run(&mut self, worker: WorkerId, work: Work);
    /// KV is to be moved between tiers; the worker reports what came. An L2 elsewhere is asked until then.
    fn carry(&mut self, asked: Move, until: Option<Instant>);
    /// An L2 elsewhere has answered. Says whether the move goes on: not so a load whose request has let go of its blocks.
    fn answered(&mut self, worker: WorkerId, op: OpId) -> Wanted;
    /// What was to be stored by this move has left the device: to be told before the cluster is.
    fn left(&mut self, worker: WorkerId, op: OpId);
    /// A move is over.
    fn moved(&mut self, worker: WorkerId, op: OpId);
    /// Objects came to the L1 of `worker`, or to L2, and went.
    fn shelved(&mut self, worker: Option<WorkerId>, told: &[Shelved]);
    /// A request of `worker` is taken back: what a pass under way computes for it is of no use. The core says later that it is
    /// no longer there.
    fn take_back(&mut self, worker: WorkerId, request: RequestId);
    /// A request of `worker` that waits gave up its blocks.
    fn let_go(&mut self, worker: WorkerId, request: RequestId);
    /// Bytes of KV that it keeps.
    fn held(&self) -> Held;
}

/// Whether somebody still waits for a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Somebody does.
    Still,
    /// Nobody does.
    NoMore,
}

/// Objects of an L2 elsewhere, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// That came from it.
    pub fetched: u64,
    /// That were put there.
    pub put: u64,
    /// That were not what they should be, and were removed.
    pub refused: u64,
    /// Operations, not objects, on which nothing was heard, or that were refused.
    pub failed: u64,
}

/// Bytes of KV.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Of a block on a device.
    pub block: u64,
    /// In the L1 of all workers.
    pub host: u64,
    /// In L2.
    pub pool: u64,
    /// What an L2 elsewhere has done; what it holds nobody knows here. `None`: L2 is here.
    pub elsewhere: Option<Elsewhere>,
}

/// A token that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// In reply to which request.
    pub request: RequestId,
    /// Which.
    pub token: u32,
    /// What it adds to the text; may be empty.
    pub text: String,
    /// What belongs to the text as well, if the reply ends here.
    pub rest: String,
    /// Why the reply ends by itself.
    pub end: Option<Ending>,
}

/// Why a reply ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The model ended it.
    Model,
    /// This text was to end it.
    Stop(String),
}

/// Where workers report.
#[derive(Clone, Debug)]
pub struct Reports(pub(super) mpsc::UnboundedSender<Command>);

impl Reports {
    /// `worker` ran a pass, which lasted `span`; of those who were taken back meanwhile, it left some out.
    pub fn ran(&self, worker: WorkerId, span: Span, said: Vec<Said>, left_out: Vec<RequestId>) {
        // Where nobody hears it, the engine has stopped.
        let _ = self.0.send(Command::Ran { worker, span, said, left_out });
    }

    /// `worker` carried the first `came` objects of a move; the others are missing, or are not what they should be.
    pub fn carried(&self, worker: WorkerId, op: OpId, came: u32) {
        // As above.
        let _ = self.0.send(Command::Carried { worker, op, came });
    }

    /// An L2 elsewhere has answered.
    pub fn answered(&self, worker: WorkerId, op: OpId, answer: Answer) {
        // As above.
        let _ = self.0.send(Command::Answered { worker, op, answer });
    }

    /// `worker` computes no more: its thread has died.
    pub fn died(&self, worker: WorkerId) {
        // As above.
        let _ = self.0.send(Command::Died { worker });
    }
}

/// Makes the workers, told where they report.
pub type Workers = Box<dyn FnOnce(Reports) -> std::io::Result<Box<dyn Executor>> + Send>;
