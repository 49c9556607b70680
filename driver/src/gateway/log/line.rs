//! A call of a desk, and its answer. Times are picoseconds, keys are the router's.

use kvcache::{CacheEvent, Change, Epoch, Piece, PieceKey, RequestId, Strand, StrandId, Tokens, WorkerId};
use router::{Api, Decision, NoWorker, Outcome, RouteRequest, Score, Stop, TierTokens};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) at: u64,
    pub(super) told: Told,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) said: Option<Said>,
}

/// What a desk is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::gateway) enum Told {
    /// A request came.
    Came { request: u64 },
    /// It is to be sent.
    Send { request: u64, session: Option<u64>, chat: bool, pieces: Vec<(u64, u32)> },
    /// Its first token came.
    FirstToken { request: u64, worker: u16 },
    /// An attempt ended.
    Ended { request: u64, worker: u16, outcome: String },
    /// May it be sent once more?
    Again { request: u64, worker: u16, outcome: String },
    /// What a worker's cache did.
    Cached { worker: u16, epoch: u32, events: Vec<EventLine> },
}

/// What it answers.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::gateway) enum Said {
    /// The request goes there.
    Sent(DecisionLine),
    /// There is nobody left.
    NoWorker,
    /// It may be sent once more.
    Again,
    /// It may not, and why.
    Stop(String),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::gateway) struct DecisionLine {
    worker: u16,
    reason: String,
    matched: Option<u32>,
    best: Option<u32>,
    age: Option<u64>,
    scores: Vec<ScoreLine>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScoreLine {
    available: bool,
    matched: Option<[u32; 3]>,
    requests: Option<u32>,
    queued: u64,
    context: u64,
    cost: Option<u64>,
    expected: Option<u64>,
    displaced: Option<u32>,
    age: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::gateway) enum EventLine {
    Stored {
        epoch: u32,
        sequence: u64,
        parent: u64,
        start: u32,
        upto: u32,
        pieces: Vec<(u64, u32)>,
        strand: Option<(u32, Option<u32>)>,
    },
    Evicted {
        epoch: u32,
        sequence: u64,
        left: u32,
        pieces: Vec<(u64, u32)>,
        strand: Option<u32>,
    },
    Cleared {
        epoch: u32,
        sequence: u64,
    },
}

const OUTCOMES: [(&str, Outcome); 5] = [
    ("answered", Outcome::Answered),
    ("client-error", Outcome::ClientError),
    ("busy", Outcome::Busy),
    ("cancelled", Outcome::Cancelled),
    ("failed", Outcome::Failed),
];

fn name(outcome: Outcome) -> String {
    OUTCOMES.iter().find(|(_, one)| *one == outcome).map(|(name, _)| (*name).to_owned()).unwrap_or_default()
}

/// The outcome of that name.
pub(super) fn outcome(name: &str) -> Option<Outcome> {
    OUTCOMES.iter().find(|(known, _)| *known == name).map(|(_, outcome)| *outcome)
}

fn lines(pieces: &[Piece]) -> Vec<(u64, u32)> {
    pieces.iter().map(|piece| (piece.key.0, piece.end.0)).collect()
}

/// No prompt has more tokens than this: positions are added up in 32 bits.
const LONGEST: u32 = 1 << 30;

/// Pieces as a desk is told them; `None`: they do not follow each other, or end too far away.
pub(super) fn pieces(lines: &[(u64, u32)]) -> Option<Vec<Piece>> {
    if lines.last().is_some_and(|(_, end)| *end > LONGEST) {
        return None;
    }
    let follow = lines.windows(2).all(|pair| pair[0].1 < pair[1].1) && lines.first().is_none_or(|(_, end)| *end > 0);
    follow.then(|| lines.iter().map(|(key, end)| Piece { key: PieceKey(*key), end: Tokens(*end) }).collect())
}

impl Told {
    pub(in crate::gateway) fn send(request: &RouteRequest<'_>) -> Self {
        Self::Send {
            request: request.request.0,
            session: request.session.map(|session| session.0),
            chat: request.api == Api::Chat,
            pieces: lines(request.chain.pieces()),
        }
    }

    pub(in crate::gateway) fn ended(request: RequestId, worker: WorkerId, outcome: Outcome) -> Self {
        Self::Ended { request: request.0, worker: worker.0, outcome: name(outcome) }
    }

    pub(in crate::gateway) fn again(request: RequestId, worker: WorkerId, outcome: Outcome) -> Self {
        Self::Again { request: request.0, worker: worker.0, outcome: name(outcome) }
    }

    pub(in crate::gateway) fn cached(worker: WorkerId, epoch: Epoch, events: &[CacheEvent]) -> Self {
        Self::Cached { worker: worker.0, epoch: epoch.0, events: events.iter().map(EventLine::of).collect() }
    }
}

impl Said {
    pub(in crate::gateway) fn sent(answer: Result<&Decision, &NoWorker>) -> Self {
        match answer {
            Ok(decision) => Self::Sent(DecisionLine::of(decision)),
            Err(_) => Self::NoWorker,
        }
    }

    pub(in crate::gateway) fn again(answer: Result<(), Stop>) -> Self {
        match answer {
            Ok(()) => Self::Again,
            Err(stop) => Self::Stop(stop.to_string()),
        }
    }
}

impl DecisionLine {
    fn of(decision: &Decision) -> Self {
        let Decision { worker, reason, matched, best, age, scores } = decision;
        let score = |score: &Score| {
            let Score { available, matched, requests, queued, context, cost, expected, displaced, age } = *score;
            ScoreLine {
                available,
                matched: matched.map(|TierTokens { l0, l1, l2 }| [l0.0, l1.0, l2.0]),
                requests,
                queued,
                context,
                cost,
                expected: expected.map(|span| span.0),
                displaced: displaced.map(|tokens| tokens.0),
                age: age.map(|span| span.0),
            }
        };
        Self {
            worker: worker.0,
            reason: format!("{reason:?}"),
            matched: matched.map(|tokens| tokens.0),
            best: best.map(|tokens| tokens.0),
            age: age.map(|span| span.0),
            scores: scores.iter().map(score).collect(),
        }
    }
}

impl EventLine {
    fn of(event: &CacheEvent) -> Self {
        let (epoch, sequence) = (event.epoch.0, event.sequence);
        match &event.change {
            Change::Stored { parent, start, upto, pieces, strand } => Self::Stored {
                epoch,
                sequence,
                parent: parent.0,
                start: start.0,
                upto: upto.0,
                pieces: lines(pieces),
                strand: strand.map(|strand| (strand.id.0, strand.behind.map(|id| id.0))),
            },
            Change::Evicted { left, pieces, strand } => {
                Self::Evicted { epoch, sequence, left: left.0, pieces: lines(pieces), strand: strand.map(|id| id.0) }
            }
            Change::Cleared => Self::Cleared { epoch, sequence },
        }
    }

    /// The event; `None`: its pieces do not follow each other.
    pub(super) fn event(&self) -> Option<CacheEvent> {
        let event = |epoch: u32, sequence, change| CacheEvent { epoch: Epoch(epoch), sequence, change };
        Some(match self {
            Self::Stored { epoch, sequence, parent, start, upto, pieces: told, strand } => {
                let strand = strand.map(|(id, behind)| Strand { id: StrandId(id), behind: behind.map(StrandId) });
                let (parent, start, upto) = (PieceKey(*parent), Tokens(*start), Tokens(*upto));
                event(*epoch, *sequence, Change::Stored { parent, start, upto, pieces: pieces(told)?, strand })
            }
            Self::Evicted { epoch, sequence, left, pieces: told, strand } => {
                let (left, strand) = (Tokens(*left), strand.map(StrandId));
                event(*epoch, *sequence, Change::Evicted { left, pieces: pieces(told)?, strand })
            }
            Self::Cleared { epoch, sequence } => event(*epoch, *sequence, Change::Cleared),
        })
    }
}
