//! `prefixaware`: a worker that was sent the longest prefix of the prompt before.
//!
//! Upstream cuts the text into chunks of 128 characters, the last one perhaps shorter, and keeps a trie of the chunks'
//! hashes with the endpoints that were sent them. It walks down while an available endpoint is left, draws one of
//! those, and inserts the whole prompt for it. Nothing is ever removed, and no load is read: the first worker that is
//! sent a chunk which all requests share gets all requests from then on. A match below `--prefix-min-match-length` goes
//! to the lowest rate instead, and is inserted all the same.

use crate::compat::recent::Recent;
use crate::config::RouterConfig;
use crate::draws::Draws;
use crate::index::{Index, IndexConfig, Matches};
use crate::request::{Decision, Missed, Reason};
use crate::router::{Asked, Choose};
use kvcache::{Chain, Piece, PieceKey, Tokens};

/// The content called "here the prompt ends"; any number that no piece carries would do.
const END: u64 = 0x656e_645f_6f66_5f70;

#[derive(Debug)]
pub(crate) struct Prefixes {
    sent: Index,
    /// Who was sent a prompt to its very end, where its last chunk is a short one: each such end is a piece of its own.
    ends: Index,
    matches: Matches,
    ties: Draws,
    minimum: Tokens,
    recent: Recent,
    nodes: u64,
}

impl Prefixes {
    pub(crate) fn new(config: &RouterConfig) -> Self {
        let endless = |unit| IndexConfig { limit: u64::MAX, ..IndexConfig::new(config.workers, unit) };
        Self {
            sent: Index::new(endless(config.chunk)),
            ends: Index::new(endless(Tokens(1))),
            matches: Matches::new(),
            ties: Draws::named(config.seed, "routing ties"),
            minimum: config.prefix_min_match,
            recent: Recent::new(config.workers, config.qps_window),
            nodes: 0,
        }
    }

    pub(crate) const fn index(&self) -> &Index {
        &self.sent
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.sent.bytes() + self.ends.bytes()
    }

    /// Nodes of upstream's trie: distinct chunks, each with all that comes before it.
    pub(crate) const fn nodes(&self) -> u64 {
        self.nodes
    }

    /// How long a prefix each worker was sent: what upstream's walk would find if it alone were available.
    fn look(&mut self, chain: Chain<'_>) {
        self.sent.matches(chain, &mut self.matches);
        if let Some(end) = short_end(chain, self.sent.config().unit) {
            let of_end = |worker| self.ends.holds(worker, end.key);
            self.matches.raise(chain.tokens(), of_end);
        }
    }

    /// Chunks of `chain`, just looked up, that nobody was sent.
    fn new_chunks(&self, chain: Chain<'_>) -> u32 {
        let chunks = |tokens: Tokens| tokens.0.div_ceil(self.sent.config().unit.0);
        let known = self.matches.tokens().iter().copied().max().unwrap_or_default();
        chunks(chain.tokens()) - chunks(known)
    }
}

impl Choose for Prefixes {
    fn choose(&mut self, asked: &Asked<'_>) -> Decision {
        let (chain, available, now) = (asked.request.chain, asked.available, asked.now);
        self.look(chain);
        let longest = available.iter().map(|worker| self.matches.of(worker)).max().unwrap_or_default();
        let tied = || available.iter().filter(|worker| self.matches.of(*worker) == longest);
        let (worker, reason) = if longest < self.minimum {
            let (worker, recent) = self.recent.lowest(available, now);
            (worker, Reason::LowestQps { recent, missed: Some(Missed::BelowMinimum { matched: longest }) })
        } else {
            // With no match at all, all are left.
            let count = tied().count() as u16;
            let drawn = usize::from(self.ties.below(count));
            let worker = tied().nth(drawn).expect("somebody is available, so somebody is drawn");
            (worker, if longest == Tokens::ZERO { Reason::NoPrefix } else { Reason::DeepestPrefix { tied: count } })
        };
        let decision = asked.decide(worker, reason, &self.matches);
        self.nodes += u64::from(self.new_chunks(chain));
        if self.minimum > Tokens::ZERO {
            self.recent.note(worker, now);
        }
        self.sent.store_chain(worker, chain, chain.tokens());
        if let Some(end) = short_end(chain, self.sent.config().unit) {
            self.ends.store(worker, PieceKey::ROOT, end.key, Tokens::ZERO, end.end);
        }
        decision
    }
}

/// The prompt's last chunk where that is a short one, as a piece of its own. It equals another short chunk only if that
/// is as long, and a full one never.
fn short_end(chain: Chain<'_>, chunk: Tokens) -> Option<Piece> {
    let (last, length) = (chain.pieces().last()?, chain.tokens());
    (!length.0.is_multiple_of(chunk.0)).then(|| Piece { key: last.key.then(length, END), end: Tokens(1) })
}
