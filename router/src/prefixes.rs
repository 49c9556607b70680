//! `prefixaware`: a worker that was sent the longest prefix of the prompt before.
//!
//! Upstream cuts the text into chunks of 128 characters, the last one perhaps shorter, and keeps a trie of the chunks'
//! hashes with the endpoints that were sent them. It walks down while an available endpoint is left, draws one of
//! those, and inserts the whole prompt for it. Nothing is ever removed, and no load is read: the first worker that is
//! sent a chunk which all requests share gets all requests from then on.

use crate::available::Available;
use crate::draws::Draws;
use crate::holders::Holders;
use crate::request::{Decision, Reason, RouteRequest};
use crate::router::Choose;
use kvcache::{Chain, PieceKey, Time, Tokens, WorkerId};

/// The content called "here the prompt ends"; any number that no piece carries would do.
const END: u64 = 0x656e_645f_6f66_5f70;

#[derive(Debug)]
pub(crate) struct Prefixes {
    sent: Holders,
    ties: Draws,
}

impl Prefixes {
    pub(crate) fn new(workers: u16, chunk: Tokens, seed: u64) -> Self {
        Self { sent: Holders::new(workers, chunk), ties: Draws::named(seed, "routing ties") }
    }

    pub(crate) const fn holders(&self) -> &Holders {
        &self.sent
    }

    /// Writes the whole prompt down for `worker`, which was sent its first `known` tokens before. O(pieces after them).
    fn insert(&mut self, chain: Chain<'_>, known: Tokens, worker: WorkerId) {
        if known == chain.tokens() {
            return;
        }
        let chunk = self.sent.unit();
        let (before, rest) = chain.pieces().split_at(chain.piece_of(known));
        let mut start = before.last().map_or(Tokens::ZERO, |piece| piece.end);
        for piece in rest {
            let upto = piece.end.full_blocks(chunk).tokens(chunk);
            if upto > start {
                self.sent.raise(worker, piece.key, upto);
            }
            start = piece.end;
        }
        if let Some(key) = short_chunk(chain, chunk) {
            self.sent.raise(worker, key, chain.tokens());
        }
    }
}

impl Choose for Prefixes {
    fn choose(&mut self, request: &RouteRequest<'_>, available: &Available, _: Time) -> Decision {
        let (worker, reason, matched) = match longest(&self.sent, request.chain, available) {
            Some((matched, row)) => {
                let tied = available.reaching(row, matched.0).count() as u16;
                let drawn = usize::from(self.ties.below(tied));
                (available.reaching(row, matched.0).nth(drawn), Reason::DeepestPrefix { tied }, matched)
            }
            None => {
                let drawn = usize::from(self.ties.below(available.count()));
                (available.iter().nth(drawn), Reason::NoPrefix, Tokens::ZERO)
            }
        };
        let worker = worker.expect("somebody is available, so somebody is drawn");
        self.insert(request.chain, matched, worker);
        Decision { worker, reason, matched: Some(matched) }
    }
}

/// The longest prefix that an available worker was sent, and the row that says by whom.
fn longest<'a>(sent: &'a Holders, chain: Chain<'_>, available: &Available) -> Option<(Tokens, &'a [u32])> {
    // Who was sent the short last chunk was sent all of the prompt.
    let whole = short_chunk(chain, sent.unit()).and_then(|key| sent.slot(key)).map(|slot| sent.row(slot));
    whole
        .filter(|row| available.most(row) > 0)
        .map(|row| (chain.tokens(), row))
        .or_else(|| sent.deepest(chain, available).map(|deepest| (deepest.tokens, deepest.row)))
}

/// The key of the prompt's last chunk where that is a short one. It equals another short chunk only if that is as long,
/// and a full one never: it stands for a piece of its own at the prompt's end.
fn short_chunk(chain: Chain<'_>, chunk: Tokens) -> Option<PieceKey> {
    let (last, length) = (chain.pieces().last()?, chain.tokens());
    (!length.0.is_multiple_of(chunk.0)).then(|| last.key.then(length, END))
}
