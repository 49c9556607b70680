//! The replay law: what went into a live cluster, and when, decides all that came out.
//!
//! A recording holds inputs with the moments at which the core was told of them; hashes, never prompts. Fed to a fresh
//! cluster of the same set-up they give the same decisions and the same passes. (Not so where workers compute: how long
//! their passes last and what they say comes from them.)

use kvcache::{Piece, RequestId, SessionId, Time, Tokens, WorkerId};
use router::{Api, Decision};
use sim::cluster::{Arrival, Cluster, Event};
use sim::replica::Work;

/// An input of the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A request reached the router.
    Arrive {
        /// Its number.
        request: RequestId,
        /// Its session.
        session: Option<SessionId>,
        /// What prompt and reply are; the last piece is the reply.
        pieces: Vec<Piece>,
        /// Tokens of the prompt.
        prompt: Tokens,
        /// Tokens of the reply.
        output: Tokens,
        /// Which API it came through.
        api: Api,
    },
    /// A client went away.
    Cancel {
        /// Who serves it.
        worker: WorkerId,
        /// Its request.
        request: RequestId,
    },
}

impl Input {
    /// What its prompt and its reply are; nothing of what is no arrival.
    pub(super) fn pieces(&self) -> &[Piece] {
        match self {
            Self::Arrive { pieces, .. } => pieces,
            Self::Cancel { .. } => &[],
        }
    }

    /// Tokens of its prompt; none of what is no arrival.
    pub(super) const fn prompt(&self) -> Tokens {
        match self {
            Self::Arrive { prompt, .. } => *prompt,
            Self::Cancel { .. } => Tokens::ZERO,
        }
    }

    /// Tells `cluster`, whose present moment is the input's.
    pub(super) fn enter(&self, cluster: &mut Cluster) {
        match self {
            Self::Arrive { request, session, pieces, prompt, output, api } => cluster.arrive(&Arrival {
                request: *request,
                session: *session,
                pieces,
                prompt: *prompt,
                output: *output,
                api: *api,
            }),
            Self::Cancel { worker, request } => cluster.cancel(*worker, *request),
        }
    }
}

/// What a cluster decided and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// Where each request went, why and when.
    pub decisions: Vec<(RequestId, Decision, Time)>,
    /// Who took part in each pass, and when it started, in order of ending.
    pub passes: Vec<(WorkerId, Time, Work)>,
}

impl Trail {
    /// Takes note of what belongs to the trail.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::Routed { request, decision, at, .. } => self.decisions.push((*request, decision.clone(), *at)),
            Event::Ran { worker, stretch, work: Some(work) } => {
                self.passes.push((*worker, stretch.started, Work::clone(work)));
            }
            _ => {}
        }
    }
}

/// A live run. Grows with every input and every pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// What the core was told, and when.
    pub inputs: Vec<(Time, Input)>,
    /// What came of it.
    pub trail: Trail,
}

impl Recording {
    /// What a fresh cluster makes of the same inputs.
    #[must_use]
    pub fn replay(&self, cluster: &mut Cluster) -> Trail {
        let mut trail = Trail::default();
        for (at, input) in &self.inputs {
            cluster.advance(*at);
            input.enter(cluster);
        }
        while let Some(due) = cluster.next_due() {
            cluster.advance(due);
        }
        while let Some(event) = cluster.poll() {
            trail.note(&event);
        }
        trail
    }
}
