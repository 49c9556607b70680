//! What a client may know of its request, and the line on which it is told.
//!
//! The line holds the latest state and no history: tokens are a count. So a client that reads slowly costs the engine
//! nothing, and what it missed reaches it at once when it reads again.

use super::engine::Command;
use super::executor::{Ending, Prompt};
use super::meters::Meters;
use super::parts::Parts;
use super::record::Input;
use kvcache::{Piece, PieceKey, RequestId, SessionId, Tokens};
use router::{Api, Decision};
use sim::cluster::Refusal;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, watch};

/// A request as the API hands it to the engine.
#[derive(Clone, Debug)]
pub struct Submission {
    /// What its prompt is; not empty. The engine appends a reply that is like no other.
    pub pieces: Vec<Piece>,
    /// Tokens to emit.
    pub output: Tokens,
    /// Its user's session, if it says one.
    pub session: Option<SessionId>,
    /// Which API it came through.
    pub api: Api,
    /// What is to be computed, where workers compute.
    pub asked: Option<Prompt>,
    /// Its prompt's tokens, where others are told who holds them.
    pub tokens: Option<Arc<[u32]>>,
}

/// A request as the engine takes it in.
#[derive(Debug)]
pub(super) struct Taken {
    /// What the core is told of it.
    pub(super) arrive: Input,
    /// As above.
    pub(super) asked: Option<Prompt>,
    /// As above.
    pub(super) tokens: Option<Arc<[u32]>>,
}

impl Submission {
    /// Tokens of its prompt.
    #[must_use]
    pub fn prompt(&self) -> Tokens {
        self.pieces.last().map_or(Tokens::ZERO, |piece| piece.end)
    }

    /// What the core is told of it; `number` is the request's, and makes the reply like no other.
    fn arrive(self, number: u64) -> Taken {
        let Self { mut pieces, output, session, api, asked, tokens } = self;
        let (before, prompt) = pieces.last().map_or((PieceKey::ROOT, Tokens::ZERO), |last| (last.key, last.end));
        pieces.push(Piece { key: before.then(prompt, number), end: prompt + output });
        let arrive = Input::Arrive { request: RequestId(number), session, pieces, prompt, output, api };
        Taken { arrive, asked, tokens }
    }
}

/// How far a request has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Where it went, and why. `None`: the router has not seen it yet.
    pub decision: Option<Decision>,
    /// Prompt tokens found in its worker's cache. `None`: it was not admitted yet.
    pub cached: Option<Tokens>,
    /// ... on the device, in the host's memory, in the pool. `None`: there is no such tier.
    pub found: [Option<Tokens>; 3],
    /// Where the time to its first token went. `None`: that has not come out.
    pub parts: Option<Parts>,
    /// Tokens emitted.
    pub tokens: Tokens,
    /// What was said, where workers compute.
    pub speech: Option<Speech>,
    /// How it ended. `None`: it has not.
    pub end: Option<End>,
}

/// What was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Speech {
    /// All of it.
    pub text: String,
    /// Where the text of each token ends.
    pub marks: Vec<usize>,
    /// Why it ended by itself, if it has.
    pub end: Option<Ending>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All its tokens came out.
    Finished,
    /// Nobody would serve it.
    Refused(Refusal),
    /// The worker that had it died.
    Lost,
    /// It was taken back, or the engine stopped.
    Stopped,
}

/// The engine takes no more requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

#[derive(Debug)]
struct Line {
    next: u64,
    commands: mpsc::UnboundedSender<Command>,
}

/// The way into the engine. Each request in flight has at most two commands on it, so its length is bounded by them.
#[derive(Clone, Debug)]
pub struct Entrance {
    line: Arc<Mutex<Line>>,
    meters: Arc<Meters>,
}

impl Entrance {
    pub(super) fn new(commands: mpsc::UnboundedSender<Command>, meters: Arc<Meters>) -> Self {
        Self { line: Arc::new(Mutex::new(Line { next: 0, commands })), meters }
    }

    /// Hands in the requests of one caller, numbered one after another; all are stamped with one moment.
    ///
    /// # Errors
    /// Where the engine has stopped.
    pub fn submit(&self, submissions: Vec<Submission>) -> Result<Ticket, Stopped> {
        let (teller, progress) = watch::channel(vec![Progress::default(); submissions.len()]);
        // Numbers and places in the line are given out together: requests are numbered in order of arrival.
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers = line.next..line.next + submissions.len() as u64;
        line.next = numbers.end;
        let arrivals = numbers.clone().zip(submissions).map(|(number, asked)| asked.arrive(number)).collect();
        let command = Command::Submit { first: numbers.start, arrivals, teller };
        line.commands.send(command).map_err(|_| Stopped)?;
        Ok(Ticket { numbers, progress, commands: line.commands.clone() })
    }

    /// The line itself, for those who report on it.
    pub(super) fn commands(&self) -> mpsc::UnboundedSender<Command> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).commands.clone()
    }

    /// Tells the engine to give up whatever is left, and to end.
    pub fn stop(&self) {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        // Where nobody takes it, the engine has ended already.
        let _ = line.commands.send(Command::Stop);
    }

    /// Requests that the engine has and has not ended.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.meters.in_flight()
    }

    /// What the engine has counted, for a scrape.
    pub(super) fn metrics(&self, model: &str) -> String {
        self.meters.text(model)
    }
}

/// The requests that one caller handed in. Dropping it takes back those that have not ended.
#[derive(Debug)]
pub struct Ticket {
    numbers: Range<u64>,
    progress: watch::Receiver<Vec<Progress>>,
    commands: mpsc::UnboundedSender<Command>,
}

impl Ticket {
    /// Their numbers.
    #[must_use]
    pub fn numbers(&self) -> Range<u64> {
        self.numbers.clone()
    }

    /// How far each has come, in the order in which they were handed in. The engine waits while this is looked at.
    pub fn look(&mut self) -> watch::Ref<'_, Vec<Progress>> {
        self.progress.borrow_and_update()
    }

    /// Waits until something has changed since the latest look.
    ///
    /// # Errors
    /// Where nothing ever will: the engine is gone.
    pub async fn changed(&mut self) -> Result<(), Stopped> {
        self.progress.changed().await.map_err(|_| Stopped)
    }

    /// Waits until all satisfy `reached`, and gives how far they have come.
    ///
    /// # Errors
    /// Where they never will: the engine is gone.
    pub async fn until(&mut self, reached: impl Fn(&Progress) -> bool) -> Result<Vec<Progress>, Stopped> {
        let all = self.progress.wait_for(|all| all.iter().all(&reached)).await.map_err(|_| Stopped)?;
        Ok(all.clone())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let open = self.progress.borrow().iter().any(|one| one.end.is_none());
        if open {
            // Where nobody takes it, the engine has given them up already.
            let _ = self.commands.send(Command::Cancel { numbers: self.numbers.clone() });
        }
    }
}
