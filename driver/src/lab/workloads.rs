//! The generated workloads: what they are without being set, their settings, and as a lab file would say them.

use super::describe::{fraction, span};
use super::settings::{Setting, setting};
use super::{Lab, units};
use kvcache::{Span, Tokens};
use serde_json::{Value, json};
use sim::workload::chat::Chat;
use sim::workload::document_qa::DocumentQa;
use sim::workload::mixed::Mixed;
use sim::workload::shared_system::SharedSystem;

/// How many requests there are is not of the lab, here and below.
pub(super) const DOCQA: DocumentQa = DocumentQa {
    requests: 0,
    documents: 35,
    skew: 0.0,
    document: Tokens(8192),
    question: Tokens(64),
    answer: Tokens(200),
    instruction: Tokens(0),
    users: 100,
};

pub(super) const CHAT: Chat = Chat {
    requests: 0,
    users: 100,
    turns: 7,
    system: Tokens(0),
    message: Tokens(128),
    answer: Tokens(200),
    think: Span::from_secs(10),
};

pub(super) const SHARED_SYSTEM: SharedSystem =
    SharedSystem { requests: 0, system: Tokens(2048), question: Tokens(256), answer: Tokens(128), users: 100 };

pub(super) const MIXED: Mixed = Mixed {
    requests: 0,
    long_share: 100,
    medium_share: 300,
    short: Tokens(500),
    medium: Tokens(4000),
    spread: 1.0,
    document: Tokens(16_384),
    questions: 5,
    answer: Tokens(200),
    users: 100,
};

/// Every turn's prompt is kept with all turns before it: a million requests of so many take some 16 GB.
pub(super) const MOST_TURNS: u32 = 1000;

pub(super) fn up_to(count: u32, most: u32) -> Result<u32, String> {
    if count > most { Err(format!("{count} is more than {most}")) } else { Ok(count) }
}

/// The settings of all of them.
pub(super) const SETTINGS: &[Setting] = &[
    setting!("docqa.documents", "count", "35", "documents of the workload docqa", |lab, text| {
        lab.docqa.documents = units::count(text, 1)?
    }),
    setting!(
        "docqa.skew",
        "number",
        "0",
        "Zipf exponent of how often each is asked about: the k-th in proportion to k^-skew; 0: all alike",
        |lab, text| { lab.docqa.skew = units::number(text, (0.0, 10.0))? }
    ),
    setting!("docqa.document_tokens", "tokens", "8192", "length of each document", |lab, text| {
        lab.docqa.document = Tokens(units::count(text, 1)?)
    }),
    setting!("docqa.question_tokens", "tokens", "64", "length of each question", |lab, text| {
        lab.docqa.question = Tokens(units::count(text, 1)?)
    }),
    setting!("docqa.answer_tokens", "tokens", "200", "length of each answer", |lab, text| {
        lab.docqa.answer = Tokens(units::count(text, 1)?)
    }),
    setting!("docqa.instruction_tokens", "tokens", "0", "an instruction that all prompts begin with", |lab, text| {
        lab.docqa.instruction = Tokens(units::count(text, 0)?)
    }),
    setting!("docqa.users", "count", "100", "users who ask, each a session", |lab, text| {
        lab.docqa.users = units::count(text, 1)?
    }),
    setting!(
        "chat.users",
        "count",
        "100",
        "users of the workload chat, each a session; more join where all think",
        |lab, text| { lab.chat.users = units::count(text, 1)? }
    ),
    setting!(
        "chat.turns",
        "count up to 1000",
        "7",
        "turns of a conversation; then its user begins another",
        |lab, text| { lab.chat.turns = up_to(units::count(text, 1)?, MOST_TURNS)? }
    ),
    setting!("chat.message_tokens", "tokens", "128", "mean length of a user's message (geometric)", |lab, text| {
        lab.chat.message = Tokens(units::count(text, 1)?)
    }),
    setting!("chat.answer_tokens", "tokens", "200", "mean length of a reply (geometric)", |lab, text| {
        lab.chat.answer = Tokens(units::count(text, 1)?)
    }),
    setting!("chat.system_tokens", "tokens", "0", "a system prompt that all conversations begin with", |lab, text| {
        lab.chat.system = Tokens(units::count(text, 0)?)
    }),
    setting!(
        "chat.think",
        "time",
        "10s",
        "with --rate: mean of the least time between two turns of a user (exponential)",
        |lab, text| { lab.chat.think = units::span(text)? }
    ),
    setting!(
        "shared_system.system_tokens",
        "tokens",
        "2048",
        "the system prompt of the workload shared-system",
        |lab, text| { lab.shared_system.system = Tokens(units::count(text, 0)?) }
    ),
    setting!("shared_system.question_tokens", "tokens", "256", "mean length of a question (geometric)", |lab, text| {
        lab.shared_system.question = Tokens(units::count(text, 1)?)
    }),
    setting!("shared_system.answer_tokens", "tokens", "128", "mean length of an answer (geometric)", |lab, text| {
        lab.shared_system.answer = Tokens(units::count(text, 1)?)
    }),
    setting!("shared_system.users", "count", "100", "users who ask, each a session", |lab, text| {
        lab.shared_system.users = units::count(text, 1)?
    }),
    setting!(
        "mixed.long_share",
        "fraction",
        "0.1",
        "share of the workload mixed that asks about long documents",
        |lab, text| { lab.mixed.long_share = units::permille(text, 0)? }
    ),
    setting!(
        "mixed.medium_share",
        "fraction",
        "0.3",
        "share that has medium prompts; the rest has short ones",
        |lab, text| { lab.mixed.medium_share = units::permille(text, 0)? }
    ),
    setting!(
        "mixed.short_tokens",
        "tokens",
        "500",
        "median length of short prompts (log-normal, at most 65536)",
        |lab, text| { lab.mixed.short = Tokens(units::count(text, 1)?) }
    ),
    setting!(
        "mixed.medium_tokens",
        "tokens",
        "4000",
        "median length of medium prompts (log-normal, at most 65536)",
        |lab, text| { lab.mixed.medium = Tokens(units::count(text, 1)?) }
    ),
    setting!("mixed.spread", "number", "1", "standard deviation of the natural logarithm of both", |lab, text| {
        lab.mixed.spread = units::number(text, (0.0, 3.0))?
    }),
    setting!("mixed.document_tokens", "tokens", "16384", "length of each long document", |lab, text| {
        lab.mixed.document = Tokens(units::count(text, 1)?)
    }),
    setting!(
        "mixed.questions",
        "count",
        "5",
        "how often each is asked about, by one user; eight are at a time",
        |lab, text| { lab.mixed.questions = units::count(text, 1)? }
    ),
    setting!("mixed.answer_tokens", "tokens", "200", "mean length of an answer (geometric)", |lab, text| {
        lab.mixed.answer = Tokens(units::count(text, 1)?)
    }),
    setting!("mixed.users", "count", "100", "users, each a session", |lab, text| {
        lab.mixed.users = units::count(text, 1)?
    }),
];

/// All of them as a lab file says them. No `..`, here and below: a setting that is not described does not compile.
pub(super) fn describe(lab: &Lab) -> Vec<Value> {
    let DocumentQa { requests: _, documents, skew, document, question, answer, instruction, users } = lab.docqa;
    let docqa = json!({
        "docqa.documents": documents,
        "docqa.skew": skew,
        "docqa.document_tokens": document.0,
        "docqa.question_tokens": question.0,
        "docqa.answer_tokens": answer.0,
        "docqa.instruction_tokens": instruction.0,
        "docqa.users": users,
    });
    let Chat { requests: _, users, turns, system, message, answer, think } = lab.chat;
    let chat = json!({
        "chat.users": users,
        "chat.turns": turns,
        "chat.message_tokens": message.0,
        "chat.answer_tokens": answer.0,
        "chat.system_tokens": system.0,
        "chat.think": span(think),
    });
    let SharedSystem { requests: _, system, question, answer, users } = lab.shared_system;
    let shared_system = json!({
        "shared_system.system_tokens": system.0,
        "shared_system.question_tokens": question.0,
        "shared_system.answer_tokens": answer.0,
        "shared_system.users": users,
    });
    vec![docqa, chat, shared_system, mixed(&lab.mixed)]
}

fn mixed(mixed: &Mixed) -> Value {
    let Mixed { requests: _, long_share, medium_share, short, medium, spread, document, questions, answer, users } =
        *mixed;
    json!({
        "mixed.long_share": fraction(long_share),
        "mixed.medium_share": fraction(medium_share),
        "mixed.short_tokens": short.0,
        "mixed.medium_tokens": medium.0,
        "mixed.spread": spread,
        "mixed.document_tokens": document.0,
        "mixed.questions": questions,
        "mixed.answer_tokens": answer.0,
        "mixed.users": users,
    })
}
