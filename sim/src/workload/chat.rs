//! Chat: users in conversations of several turns. Every prompt is the conversation so far - system prompt, messages
//! *and replies* - and a new message.
//!
//! Users who think ([`Arrivals::Users`]) wait for the reply that their next prompt contains. Otherwise the list says in advance
//! when each turn is sent, and no turn waits (unless told to: [`Workload::waiting`]): arrivals at a rate keep a user's turns a
//! think time apart; where so many requests are in flight, all users send a turn before any sends the next. Neither promises
//! that the reply was complete.

use super::arrivals::later;
use super::lengths::Geometric;
use super::{Arrivals, Segment, Workload};
use crate::streams::{Stream, Streams};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use kvcache::{SessionId, Span, Time, Tokens};

/// Its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chat {
    /// Turns of all users in all.
    pub requests: u32,
    /// Users, each a session. Where all of them are thinking when a request of Poisson arrivals is due, one more joins.
    pub users: u32,
    /// Turns of a conversation; then its user begins another one.
    pub turns: u32,
    /// Length of the system prompt that all conversations begin with.
    pub system: Tokens,
    /// Mean length of a message, of geometric distribution.
    pub message: Tokens,
    /// Mean length of a reply, of geometric distribution.
    pub answer: Tokens,
    /// Under Poisson arrivals: least time from one turn of a user to the next, on average, of exponential distribution.
    pub think: Span,
}

impl Chat {
    /// The workload of one seed; of fewer requests, the beginning of it.
    ///
    /// Poisson arrivals: whose turn it is, is drawn among all who are not thinking. With few requests per second a
    /// user's turns are `users / rate` apart on average; with many, little more than `think`, and further users join.
    /// Where replies decide: the first turn of every user in order, then the second of every user, and so on.
    #[must_use]
    pub fn generate(&self, arrivals: Arrivals, streams: Streams) -> Workload {
        let (message, answer) = (Geometric { mean: self.message }, Geometric { mean: self.answer });
        let (mut messages, mut answers) = (streams.named("message lengths"), streams.named("answer lengths"));
        let mut times = arrivals.times(streams);
        let mut crowd = Crowd::new(self.users.max(1), self.think, streams);
        let mut conversations: Vec<Conversation> = Vec::new();
        let mut workload = Workload::new(arrivals.pacing());
        for turn in 0..u64::from(self.requests) {
            let at = times.draw();
            let user = match arrivals {
                Arrivals::Poisson { .. } | Arrivals::Renewal { .. } | Arrivals::Shaped { .. } => crowd.draw(at),
                Arrivals::Closed { .. } => turn % u64::from(self.users.max(1)),
                Arrivals::Users { users, .. } => turn % u64::from(users.max(1)),
            };
            if conversations.len() as u64 <= user {
                conversations.resize_with(user as usize + 1, Conversation::default);
            }
            let conversation = &mut conversations[user as usize];
            if conversation.turns == self.turns {
                *conversation = Conversation::default();
            }
            conversation.say(self.system, Segment { id: 1 + 2 * turn, tokens: message.draw(&mut messages) });
            let reply = Segment { id: 2 + 2 * turn, tokens: answer.draw(&mut answers) };
            workload.push_with_reply(at, Some(SessionId(user)), &conversation.so_far, reply);
            conversation.so_far.push(reply);
        }
        arrivals.in_turns(workload, streams)
    }

    /// The most tokens that a prompt and its reply can have.
    #[must_use]
    pub fn most_tokens(&self) -> u64 {
        let turn = Geometric { mean: self.message }.longest() + Geometric { mean: self.answer }.longest();
        u64::from(self.system.0) + u64::from(self.turns) * turn
    }
}

/// What one user and the model have said to each other.
#[derive(Clone, Debug, Default)]
struct Conversation {
    so_far: Vec<Segment>,
    turns: u32,
}

impl Conversation {
    fn say(&mut self, system: Tokens, message: Segment) {
        if self.turns == 0 {
            self.so_far.push(Segment { id: 0, tokens: system });
        }
        self.so_far.push(message);
        self.turns += 1;
    }
}

/// Who sends next under Poisson arrivals. Users are numbered as they first send, so those who never have need no memory.
struct Crowd {
    ready: Vec<u64>,
    thinking: BTreeSet<(Time, u64)>, // until when
    users: u64,
    begun: u64, // users who have sent
    think: Span,
    choices: Stream,
    thoughts: Stream,
}

impl Crowd {
    fn new(users: u32, think: Span, streams: Streams) -> Self {
        Self {
            ready: Vec::new(),
            thinking: BTreeSet::new(),
            users: u64::from(users),
            begun: 0,
            think,
            choices: streams.named("users"),
            thoughts: streams.named("think times"),
        }
    }

    /// Who sends at `at`: one of those who are ready or have not begun, else somebody new. O(log users).
    fn draw(&mut self, at: Time) -> u64 {
        while let Some((_, user)) = self.thinking.first().copied().filter(|(until, _)| *until <= at) {
            self.thinking.pop_first();
            self.ready.push(user);
        }
        let ready = self.ready.len() as u64;
        let all = ready + self.users.saturating_sub(self.begun);
        let choice = if all > 0 { self.choices.below(all) } else { 0 };
        let user = if choice < ready {
            self.ready.swap_remove(choice as usize)
        } else {
            self.begun += 1;
            self.begun - 1
        };
        let thought = self.thoughts.exponential(self.think.as_secs_f64());
        self.thinking.insert((later(at, Span::from_secs_f64(thought)), user));
        user
    }
}
