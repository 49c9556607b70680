//! The generated workloads `unrelated`, `code-review` and `multi-round-qa`: what they are without being set, their settings, and
//! as a lab file would say them.

use super::settings::{Setting, setting};
use super::{Lab, units};
use kvcache::Tokens;
use serde_json::{Value, json};
use sim::workload::code_review::CodeReview;
use sim::workload::multi_round_qa::MultiRoundQa;
use sim::workload::unrelated::Unrelated;

/// How many requests there are is not of the lab, here and below.
pub(super) const UNRELATED: Unrelated =
    Unrelated { requests: 0, prompt: Tokens(1000), spread: 1.0, answer: Tokens(200), users: 100 };

pub(super) const CODE_REVIEW: CodeReview = CodeReview {
    requests: 0,
    repositories: 5,
    system: Tokens(1000),
    guide: Tokens(2000),
    map: Tokens(4000),
    merges: 5,
    files: Tokens(8000),
    reviews: 4,
    diff: Tokens(800),
    turns: 2,
    answer: Tokens(400),
};

/// The example of the benchmark's README, and a question as long as its own.
pub(super) const MULTI_ROUND_QA: MultiRoundQa = MultiRoundQa {
    requests: 0,
    num_users: 10,
    num_rounds: 5,
    shared_system_prompt: Tokens(1000),
    user_history_prompt: Tokens(2000),
    question_len: Tokens(20),
    answer_len: Tokens(100),
};

/// As in `chat`: every prompt is kept with all turns before it.
fn turns(text: &str, least: u32) -> Result<u32, String> {
    super::workloads::up_to(units::count(text, least)?, super::workloads::MOST_TURNS)
}

/// The settings of all of them.
pub(super) const SETTINGS: &[Setting] = &[
    setting!(
        "unrelated.prompt_tokens",
        "tokens",
        "1000",
        "median length of a prompt of the workload unrelated (log-normal, at most 65536)",
        |lab, text| { lab.unrelated.prompt = Tokens(units::count(text, 1)?) }
    ),
    setting!(
        "unrelated.spread",
        "number",
        "1",
        "standard deviation of its natural logarithm; 0: all are as long",
        |lab, text| { lab.unrelated.spread = units::number(text, (0.0, 3.0))? }
    ),
    setting!("unrelated.answer_tokens", "tokens", "200", "mean length of an answer (geometric)", |lab, text| {
        lab.unrelated.answer = Tokens(units::count(text, 1)?)
    }),
    setting!("unrelated.users", "count", "100", "users who ask, each a session", |lab, text| {
        lab.unrelated.users = units::count(text, 1)?
    }),
    setting!(
        "code_review.repositories",
        "count up to 1 million",
        "5",
        "repositories of the workload code-review, all as busy",
        |lab, text| { lab.code_review.repositories = super::workloads::up_to(units::count(text, 1)?, 1_000_000)? }
    ),
    setting!("code_review.system_tokens", "tokens", "1000", "instructions that all prompts begin with", |lab, text| {
        lab.code_review.system = Tokens(units::count(text, 0)?)
    }),
    setting!(
        "code_review.guide_tokens",
        "tokens",
        "2000",
        "then a repository's guide, which never changes",
        |lab, text| { lab.code_review.guide = Tokens(units::count(text, 0)?) }
    ),
    setting!(
        "code_review.map_tokens",
        "tokens",
        "4000",
        "then its map, at the commit that the pull request began from",
        |lab, text| { lab.code_review.map = Tokens(units::count(text, 0)?) }
    ),
    setting!(
        "code_review.merges",
        "count",
        "5",
        "pull requests of a repository that are merged before its map is drawn anew",
        |lab, text| { lab.code_review.merges = units::count(text, 1)? }
    ),
    setting!(
        "code_review.files_tokens",
        "tokens",
        "8000",
        "then the files that a pull request touches: mean length (geometric)",
        |lab, text| { lab.code_review.files = Tokens(units::count(text, 1)?) }
    ),
    setting!(
        "code_review.reviews",
        "count",
        "4",
        "reviews of a pull request, one for each commit pushed; sixteen are open at a time",
        |lab, text| { lab.code_review.reviews = units::count(text, 1)? }
    ),
    setting!(
        "code_review.diff_tokens",
        "tokens",
        "800",
        "then a review's diff: mean length (geometric)",
        |lab, text| { lab.code_review.diff = Tokens(units::count(text, 1)?) }
    ),
    setting!(
        "code_review.turns",
        "count up to 1000",
        "2",
        "turns of a review: the first, and then follow-ups of some 64 tokens",
        |lab, text| { lab.code_review.turns = turns(text, 1)? }
    ),
    setting!("code_review.answer_tokens", "tokens", "400", "mean length of a reply (geometric)", |lab, text| {
        lab.code_review.answer = Tokens(units::count(text, 1)?)
    }),
    setting!(
        "multi_round_qa.num_users",
        "count up to 1 million",
        "10",
        "users at a time of the workload multi-round-qa, production-stack's benchmark; --rate is its qps",
        |lab, text| { lab.multi_round_qa.num_users = super::workloads::up_to(units::count(text, 1)?, 1_000_000)? }
    ),
    setting!("multi_round_qa.num_rounds", "count from 2 to 1000", "5", "rounds of a user's session", |lab, text| {
        lab.multi_round_qa.num_rounds = turns(text, 2)?
    }),
    setting!(
        "multi_round_qa.shared_system_prompt",
        "tokens",
        "1000",
        "the system prompt that all users share",
        |lab, text| { lab.multi_round_qa.shared_system_prompt = Tokens(units::count(text, 0)?) }
    ),
    setting!("multi_round_qa.user_history_prompt", "tokens", "2000", "what only one user has", |lab, text| {
        lab.multi_round_qa.user_history_prompt = Tokens(units::count(text, 0)?)
    }),
    setting!("multi_round_qa.question_len", "tokens", "20", "length of each question", |lab, text| {
        lab.multi_round_qa.question_len = Tokens(units::count(text, 1)?)
    }),
    setting!("multi_round_qa.answer_len", "tokens", "100", "length of each answer", |lab, text| {
        lab.multi_round_qa.answer_len = Tokens(units::count(text, 1)?)
    }),
];

/// All of them as a lab file says them. No `..`: a setting that is not described does not compile.
pub(super) fn describe(lab: &Lab) -> Vec<Value> {
    let Unrelated { requests: _, prompt, spread, answer, users } = lab.unrelated;
    let unrelated = json!({
        "unrelated.prompt_tokens": prompt.0,
        "unrelated.spread": spread,
        "unrelated.answer_tokens": answer.0,
        "unrelated.users": users,
    });
    let CodeReview { requests: _, repositories, system, guide, map, merges, files, reviews, diff, turns, answer } =
        lab.code_review;
    let code_review = json!({
        "code_review.repositories": repositories,
        "code_review.system_tokens": system.0,
        "code_review.guide_tokens": guide.0,
        "code_review.map_tokens": map.0,
        "code_review.merges": merges,
        "code_review.files_tokens": files.0,
        "code_review.reviews": reviews,
        "code_review.diff_tokens": diff.0,
        "code_review.turns": turns,
        "code_review.answer_tokens": answer.0,
    });
    let MultiRoundQa {
        requests: _,
        num_users,
        num_rounds,
        shared_system_prompt,
        user_history_prompt,
        question_len,
        answer_len,
    } = lab.multi_round_qa;
    let multi_round_qa = json!({
        "multi_round_qa.num_users": num_users,
        "multi_round_qa.num_rounds": num_rounds,
        "multi_round_qa.shared_system_prompt": shared_system_prompt.0,
        "multi_round_qa.user_history_prompt": user_history_prompt.0,
        "multi_round_qa.question_len": question_len.0,
        "multi_round_qa.answer_len": answer_len.0,
    });
    vec![unrelated, code_review, multi_round_qa]
}
