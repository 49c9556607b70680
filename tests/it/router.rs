//! Routing: each strategy by hand-worked vectors, the index against a literal one.

mod index; // the index of holders, fed by real caches
mod strategies; // turn, prefix, session, rate
mod kvaware; // the controller's first holder
mod health; // who is fit, how often to try again, what is reserved

use kvcache::{Chain, ChainBuilder, Piece, RequestId, SessionId, Span, Time, Tokens, WorkerId};
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
