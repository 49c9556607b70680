//! What a workload is: how much of it could be found again, by how many it is shared, how it comes, how long it is.

use super::Workload;
use alloc::vec::Vec;
use kvcache::{ChainBuilder, KeyMap, Piece, Span, Tokens};

/// Upper bounds of the groups of [`Description::shared`]: tokens that so many requests have.
pub const GROUPS: [u32; 6] = [1, 2, 4, 8, 16, u32::MAX];

/// The window of [`Description::busiest`].
const WINDOW: Span = Span::from_secs(60);

/// What is known of a workload before anything is simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Requests in all.
    pub requests: u64,
    /// Tokens of all prompts.
    pub prompt_tokens: u64,
    /// Of those, what a cache that forgets nothing would find: what earlier prompts and replies had, as far as prompts begin
    /// alike. No cache, and no routing, finds more (but for blocks, which are whole or nothing).
    pub reusable_tokens: u64,
    /// Tokens of prompts by how many requests have them with all that comes before them: 1, 2, up to 4, up to 8, up to 16,
    /// more.
    pub shared: [u64; GROUPS.len()],
    /// Lengths of prompts, sorted.
    pub prompts: Vec<u64>,
    /// Lengths of replies, sorted.
    pub outputs: Vec<u64>,
    /// Whether a later turn waits for the reply to the one before.
    pub turns_wait: bool,
    /// From the first to the last arrival, where no reply is late; `None` where replies alone decide.
    pub span: Option<Span>,
    /// Standard deviation over mean of the gaps between arrivals: 1 for a Poisson process, more for bursts; `None` where
    /// replies alone decide or there are fewer than two gaps.
    pub burstiness: Option<f64>,
    /// Requests of the busiest minute; `None` where replies alone decide.
    pub busiest: Option<u64>,
    /// Sessions that are named.
    pub sessions: u64,
    /// Requests that name one.
    pub in_sessions: u64,
}

/// A cache that forgets nothing: pieces of prompts and replies by their keys, and how much of each there was.
#[derive(Clone, Debug, Default)]
pub struct Memory(KeyMap<Tokens>);

impl Memory {
    /// How many tokens of a prompt of `prompt` tokens were there before; then all of `pieces`, its reply's too, are. O(pieces).
    pub fn find(&mut self, pieces: &[Piece], prompt: Tokens) -> Tokens {
        let (mut whole, mut before, mut found) = (true, Tokens::ZERO, Tokens::ZERO);
        for piece in pieces {
            let length = piece.end - before;
            let longest = self.0.entry(piece.key.0).or_default();
            if piece.end <= prompt {
                // A piece may have been cut short before, where its prompt ended.
                found += if whole { (*longest).min(length) } else { Tokens::ZERO };
                whole &= *longest >= length;
            }
            *longest = (*longest).max(length);
            before = piece.end;
        }
        found
    }
}

impl Description {
    /// Of a workload. O(segments).
    #[must_use]
    pub fn of(workload: &Workload) -> Self {
        let requests = workload.requests();
        let mut builder = ChainBuilder::new();
        let (mut memory, mut count): (Memory, KeyMap<u32>) = (Memory::default(), KeyMap::default());
        let mut reusable_tokens = 0;
        for request in requests {
            workload.chain(request, &mut builder);
            let pieces = builder.pieces();
            for piece in pieces.iter().take_while(|piece| piece.end <= request.prompt) {
                *count.entry(piece.key.0).or_default() += 1;
            }
            reusable_tokens += u64::from(memory.find(pieces, request.prompt).0);
        }
        let mut shared = [0; GROUPS.len()];
        for request in requests {
            workload.chain(request, &mut builder);
            let mut before = Tokens::ZERO;
            for piece in builder.pieces().iter().take_while(|piece| piece.end <= request.prompt) {
                let group = GROUPS.iter().position(|most| count[&piece.key.0] <= *most).unwrap_or(GROUPS.len() - 1);
                shared[group] += u64::from((piece.end - before).0);
                before = piece.end;
            }
        }
        let sorted = |of: fn(&super::Request) -> Tokens| {
            let mut lengths: Vec<u64> = requests.iter().map(|request| u64::from(of(request).0)).collect();
            lengths.sort_unstable();
            lengths
        };
        let mut sessions: Vec<u64> = requests.iter().filter_map(|request| request.session).map(|id| id.0).collect();
        let in_sessions = sessions.len() as u64;
        sessions.sort_unstable();
        sessions.dedup();
        let prompts = sorted(|request| request.prompt);
        let planned = workload.is_planned();
        Self {
            requests: requests.len() as u64,
            prompt_tokens: prompts.iter().sum(),
            reusable_tokens,
            shared,
            prompts,
            outputs: sorted(|request| request.output),
            turns_wait: workload.turns().iter().any(|turn| turn.after.is_some()),
            span: planned.then(|| span(workload)).flatten(),
            burstiness: planned.then(|| burstiness(workload)).flatten(),
            busiest: planned.then(|| busiest(workload)),
            sessions: sessions.len() as u64,
            in_sessions,
        }
    }

    /// The part of all prompt tokens that could be found again; `None` where there are none.
    #[must_use]
    pub fn ceiling(&self) -> Option<f64> {
        (self.prompt_tokens > 0).then(|| self.reusable_tokens as f64 / self.prompt_tokens as f64)
    }
}

fn span(workload: &Workload) -> Option<Span> {
    let (first, last) = (workload.requests().first()?, workload.requests().last()?);
    Some(last.at.since(first.at))
}

fn burstiness(workload: &Workload) -> Option<f64> {
    let gaps = workload.requests().windows(2).map(|pair| pair[1].at.since(pair[0].at).as_secs_f64());
    let count = gaps.len();
    if count < 2 {
        return None;
    }
    let (sum, squares) = gaps.fold((0.0, 0.0), |(sum, squares), gap| (sum + gap, squares + gap * gap));
    let mean = sum / count as f64;
    let variance = (squares - sum * mean) / (count - 1) as f64;
    (mean > 0.0).then(|| libm::sqrt(variance.max(0.0)) / mean)
}

/// Of any minute, wherever it begins.
fn busiest(workload: &Workload) -> u64 {
    let requests = workload.requests();
    let mut first = 0;
    let mut most = 0;
    for (index, request) in requests.iter().enumerate() {
        while request.at.since(requests[first].at) >= WINDOW {
            first += 1;
        }
        most = most.max(index - first + 1);
    }
    most as u64
}
