//! Multi-round QA: users who ask several rounds of questions, each behind a history of its own, as the benchmark of
//! production-stack has it (`benchmarks/multi-round-qa`, at commit 0a330da; its rules, none of its code).
//!
//! With `N` users, `R` rounds and `qps` queries per second, a user's rounds are `gap = N / qps` apart, a session so lasts
//! `gap (R - 1)`, and a user joins every `gap (R - 1) / N`, the first at once. A round that is due is sent when the reply to
//! the one before is complete. At the beginning `N` users are in the middle of their sessions, spread evenly over their
//! length: they have fewer rounds left, and nothing of the past in their prompts. Every session has `R` rounds, so some
//! `qps R / (R - 1)` requests are sent per second, not `qps`.
//!
//! What differs: there the clock is looked at every tenth of a second, here rounds are sent to the instant; there a question
//! is a sentence of about 20 tokens, here as long as is said; there users join for as long as it runs, here until there are
//! as many requests as asked for; and each has its number as its session, which there needs a flag.

use super::{Pacing, Segment, Turn, Workload};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use kvcache::{SessionId, Span, Time, Tokens};

/// Its parameters, by the names they have there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultiRoundQa {
    /// Requests in all.
    pub requests: u32,
    /// Users at a time.
    pub num_users: u32,
    /// Rounds of a session, two at least.
    pub num_rounds: u32,
    /// Length of the system prompt that all users share.
    pub shared_system_prompt: Tokens,
    /// Length of what only one user has.
    pub user_history_prompt: Tokens,
    /// Length of a question.
    pub question_len: Tokens,
    /// Length of an answer.
    pub answer_len: Tokens,
}

/// A user in the middle of a session.
struct User {
    number: u64,
    asked: u32,
    before: Option<u32>, // place of the round before
    said: Vec<Segment>,
}

impl MultiRoundQa {
    /// The workload at `qps` queries per second. Nothing in it is random. The list is in the order in which rounds are due;
    /// with [`Pacing::Closed`] in that order, but as many at a time.
    #[must_use]
    pub fn generate(&self, qps: f64) -> Workload {
        let rounds = self.num_rounds.max(2);
        let users = f64::from(self.num_users.max(1));
        let gap = Span::from_secs_f64(users / qps);
        let between = Span::from_secs_f64(f64::from(rounds - 1) / qps);
        let mut active = self.midway(gap, rounds);
        let mut due: BTreeSet<(Time, usize)> = active.iter().enumerate().map(|(place, (at, _))| (*at, place)).collect();
        let mut sessions: Vec<Option<User>> = active.drain(..).map(|(_, user)| Some(user)).collect();
        let (mut join, mut joined) = (Time::ZERO, u64::from(self.num_users.max(1)));
        let (mut workload, mut turns) = (Workload::new(Pacing::Open), Vec::new());
        while (workload.requests().len() as u32) < self.requests {
            if due.first().is_none_or(|(at, _)| join <= *at) {
                due.insert((join, sessions.len()));
                sessions.push(Some(self.user(joined, 0)));
                joined += 1;
                join = super::arrivals::later(join, between);
                continue;
            }
            let Some((at, place)) = due.pop_first() else { break };
            let Some(user) = &mut sessions[place] else { continue };
            turns.push(Turn {
                after: user.before,
                think: Span::ZERO,
                gap: if user.before.is_some() { gap } else { Span::ZERO },
            });
            user.before = Some(workload.requests().len() as u32);
            self.ask(user, at, &mut workload);
            if user.asked < rounds {
                due.insert((super::arrivals::later(at, gap), place));
            } else {
                sessions[place] = None;
            }
        }
        workload.in_turns(turns)
    }

    /// The users who are there at the beginning, and when each sends next. He who is through is not among them.
    fn midway(&self, gap: Span, rounds: u32) -> Vec<(Time, User)> {
        let count = u64::from(self.num_users.max(1));
        let session = u128::from(gap.0) * u128::from(rounds - 1);
        let user = |number: u64| {
            // So long ago he joined: whole gaps and a rest.
            let ago = session - session * u128::from(number) / u128::from(count);
            let passed = ago / u128::from(gap.0.max(1));
            let asked = passed as u32 + 1;
            let rest = ago - passed * u128::from(gap.0);
            (asked < rounds).then(|| (Time(gap.0 - rest as u64), self.user(number, asked)))
        };
        (0..count).filter_map(user).collect()
    }

    fn user(&self, number: u64, asked: u32) -> User {
        let shared = Segment { id: 0, tokens: self.shared_system_prompt };
        let own = Segment { id: HISTORIES + number, tokens: self.user_history_prompt };
        User { number, asked, before: None, said: alloc::vec![shared, own] }
    }

    fn ask(&self, user: &mut User, at: Time, workload: &mut Workload) {
        let id = 1 + 2 * workload.requests().len() as u64;
        user.asked += 1;
        user.said.push(Segment { id, tokens: self.question_len });
        let reply = Segment { id: id + 1, tokens: self.answer_len };
        workload.push_with_reply(at, Some(SessionId(user.number)), &user.said, reply);
        user.said.push(reply);
    }

    /// The most tokens that a prompt and its reply can have.
    #[must_use]
    pub fn most_tokens(&self) -> u64 {
        let round = u64::from(self.question_len.0) + u64::from(self.answer_len.0);
        let before = u64::from(self.shared_system_prompt.0) + u64::from(self.user_history_prompt.0);
        before + u64::from(self.num_rounds) * round
    }
}

/// Ids of what only one user has.
const HISTORIES: u64 = 1 << 40;
