//! Routing: each strategy by hand-worked vectors, the index against a literal one.

mod changes; // what a worker tells of a prompt
mod fleet; // real caches under random requests
mod index; // the index of holders, fed by real caches
mod strategies; // turn, prefix, session, rate
mod kvaware; // the controller's first holder
mod controller; // events lost, doubled, late
mod knowledge; // what is not told: soon, guessed, below the device
mod corrected; // podlab's strategies by hand
mod attempts; // tried again, heard late
mod learned; // what work takes, by first tokens
mod lateness; // signals that take a while
mod nonsense; // what no engine says
mod health; // who is fit, how often to try again, what is reserved

use kvcache::{Chain, ChainBuilder, Piece, RequestId, SessionId, Span, Time, Tokens, WorkerId};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use router::{Api, Decision, NoWorker, RouteRequest, Router, RouterConfig, Strategy};

/// The pieces of a prompt: contents and their lengths in tokens.
fn prompt(contents: &[(u64, u32)]) -> Vec<Piece> {
    let mut builder = ChainBuilder::new();
    for (id, tokens) in contents {
        builder.push(*id, Tokens(*tokens));
    }
    builder.pieces().to_vec()
}

/// A router, and the questions tests ask it.
struct Gateway {
    router: Router,
    asked: u64,
}

impl Gateway {
    fn new(strategy: Strategy, workers: u16) -> Self {
        Self::with(RouterConfig::new(strategy, workers))
    }

    fn with(config: RouterConfig) -> Self {
        Self { router: Router::new(config), asked: 0 }
    }

    fn ask(
        &mut self,
        pieces: &[Piece],
        session: Option<u64>,
        excluded: &[u16],
        seconds: u64,
    ) -> Result<Decision, NoWorker> {
        self.ask_api(Api::Completions, pieces, session, excluded, seconds)
    }

    fn ask_api(
        &mut self,
        api: Api,
        pieces: &[Piece],
        session: Option<u64>,
        excluded: &[u16],
        seconds: u64,
    ) -> Result<Decision, NoWorker> {
        let excluded: Vec<_> = excluded.iter().map(|worker| WorkerId(*worker)).collect();
        let request = RouteRequest {
            request: RequestId(self.asked),
            session: session.map(SessionId),
            chain: Chain::new(pieces, Tokens(1)),
            api,
        };
        self.asked += 1;
        self.router.route(&request, &excluded, Time::ZERO + Span::from_secs(seconds))
    }

    /// The worker of a prompt that has neither session nor exclusions.
    fn worker(&mut self, contents: &[(u64, u32)]) -> u16 {
        self.ask(&prompt(contents), None, &[], 0).expect("nobody is excluded").worker.0
    }
}

/// Random choices of one seed, which is named where a test of it fails.
pub(crate) struct Chance {
    draws: ChaCha8Rng,
    seed: u64,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self { draws: ChaCha8Rng::seed_from_u64(seed), seed }
    }

    /// A number below `bound`. Which are a little more likely than others does not matter here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.draws.next_u64() % bound
    }

    /// So many tokens, fewer than `bound`.
    pub(crate) fn tokens(&mut self, bound: u32) -> u32 {
        self.below(bound.into()) as u32
    }

    /// One of so many.
    pub(crate) fn pick(&mut self, among: usize) -> usize {
        self.below(among as u64) as usize
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl Drop for Chance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with seed {}", self.seed);
        }
    }
}
