//! A log once more: a fresh desk is told the same, and its answers are held against those in the log.

use super::line::{Line, Said, Told, outcome, pieces};
use super::set_up::SetUp;
use crate::emulate::clock::LAST;
use kvcache::{CacheEvent, Chain, Epoch, RequestId, SessionId, Time, Tokens, WorkerId};
use router::{Api, Desk, Retries, RouteRequest, Sent};
use std::collections::BTreeMap;
use std::io::{self, BufRead};

/// Differences that are told in full.
const SHOWN: usize = 10;

/// What came of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Calls of the desk.
    pub calls: u64,
    /// Requests.
    pub requests: u64,
    /// Decisions where to send a request, and whether to send it once more.
    pub decisions: u64,
    /// Of those: requests that were sent once more.
    pub retries: u64,
    /// Attempts that did not end well.
    pub failures: u64,
    /// Batches of cache events.
    pub batches: u64,
    /// Answers that were others in the log.
    pub differences: u64,
    /// The first of them: line, what the log has, what the desk says now.
    pub shown: Vec<(u64, String, String)>,
    /// The last line is cut: who wrote it was killed.
    pub is_cut: bool,
}

/// A request that has not ended, as far as is known.
#[derive(Debug, Default)]
struct Open {
    retries: Retries,
    sent: Option<Sent>,
}

struct Replay {
    desk: Desk,
    workers: u16,
    block: Tokens,
    open: BTreeMap<u64, Open>,
    came: Replayed,
}

/// Plays a log once more. O(lines), each as the desk has it; memory: the router's, and the requests in flight.
///
/// # Errors
/// What cannot be read, with its line.
pub fn replay(mut log: impl BufRead) -> Result<Replayed, String> {
    let mut text = Vec::new();
    read(&mut log, &mut text)?;
    let set_up: SetUp = serde_json::from_slice(&text).map_err(|error| format!("line 1: {error}"))?;
    let config = set_up.config().map_err(|error| format!("line 1: {error}"))?;
    let mut replay = Replay {
        desk: Desk::new(config),
        workers: config.router.workers,
        block: config.router.block,
        open: BTreeMap::new(),
        came: Replayed::default(),
    };
    let mut before = 0;
    for number in 2.. {
        if read(&mut log, &mut text)? == 0 {
            break;
        }
        let line: Line = match serde_json::from_slice(&text) {
            Ok(line) => line,
            Err(_) if !text.ends_with(b"\n") => {
                replay.came.is_cut = true;
                break;
            }
            Err(error) => return Err(format!("line {number}: {error}")),
        };
        if line.at < before {
            return Err(format!("line {number}: time runs backwards"));
        }
        if line.at > LAST.0 {
            return Err(format!("line {number}: no gateway runs for so long"));
        }
        before = line.at;
        replay.tell(number, &line).map_err(|error| format!("line {number}: {error}"))?;
    }
    Ok(replay.came)
}

fn read(log: &mut impl BufRead, text: &mut Vec<u8>) -> Result<usize, String> {
    text.clear();
    log.read_until(b'\n', text).map_err(|error: io::Error| error.to_string())
}

impl Replay {
    fn tell(&mut self, number: u64, line: &Line) -> Result<(), String> {
        let now = Time(line.at);
        self.came.calls += 1;
        let said = match &line.told {
            Told::Came { request } => {
                self.came.requests += 1;
                self.open.insert(*request, Open::default());
                self.desk.came(now);
                None
            }
            Told::Send { request, session, chat, pieces: told } => {
                let pieces = pieces(told).ok_or("its pieces do not follow each other, or end too far away")?;
                let open = self.open.get_mut(request).ok_or("nobody asked for this")?;
                let asked = RouteRequest {
                    request: RequestId(*request),
                    session: session.map(SessionId),
                    chain: Chain::new(&pieces, self.block),
                    api: if *chat { Api::Chat } else { Api::Completions },
                };
                let answer = self.desk.send(&asked, &open.retries, now);
                let said = Said::sent(answer.as_ref().map(|(decision, _)| decision));
                open.sent = answer.ok().map(|(_, sent)| sent);
                self.came.decisions += 1;
                Some(said)
            }
            Told::FirstToken { request, worker } => {
                self.desk.first_token(self.worker(*worker)?, RequestId(*request), now);
                None
            }
            Told::Ended { request, worker, outcome: name } => {
                let outcome = outcome(name).ok_or("nothing ends so")?;
                let worker = self.worker(*worker)?;
                self.came.failures += u64::from(outcome != router::Outcome::Answered);
                let open = self.open.get_mut(request).ok_or("nobody asked for this")?;
                // Where the desk has sent it elsewhere, that was told already.
                if let Some(sent) = open.sent.take_if(|sent| sent.worker == worker) {
                    self.desk.ended(sent, outcome, now);
                }
                if !outcome.is_retriable() {
                    self.open.remove(request);
                }
                None
            }
            Told::Again { request, worker, outcome: name } => {
                let outcome = outcome(name).ok_or("nothing ends so")?;
                let worker = self.worker(*worker)?;
                let open = self.open.entry(*request).or_default();
                let answer = self.desk.again(&mut open.retries, worker, outcome, now);
                self.came.decisions += 1;
                self.came.retries += u64::from(answer.is_ok());
                if answer.is_err() {
                    self.open.remove(request);
                }
                Some(Said::again(answer))
            }
            Told::Cached { worker, epoch, events } => {
                let events: Option<Vec<CacheEvent>> = events.iter().map(super::line::EventLine::event).collect();
                let events = events.ok_or("its pieces do not follow each other")?;
                self.came.batches += 1;
                self.desk.cached(self.worker(*worker)?, Epoch(*epoch), &events, now);
                None
            }
        };
        if said != line.said {
            self.came.differences += 1;
            if self.came.shown.len() < SHOWN {
                let text = |said: &Option<Said>| serde_json::to_string(said).unwrap_or_default();
                self.came.shown.push((number, text(&line.said), text(&said)));
            }
        }
        Ok(())
    }

    fn worker(&self, number: u16) -> Result<WorkerId, String> {
        if number < self.workers { Ok(WorkerId(number)) } else { Err(format!("there is no worker {number}")) }
    }
}
