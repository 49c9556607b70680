//! Settings of the generated workloads.

use super::{Edges, each_changes_one_thing, edges_are_kept};
use driver::lab::Lab;
use driver::lab::settings::SETTINGS;

const WORKLOADS: &[Edges] = &[
    ("arrivals.burstiness", &["0", "0.5", "10"], &[("-1", "negative"), ("11", "lies outside 0")]),
    (
        "arrivals.shape",
        &["constant", "0s:2", "0s:0.5/10min:2/30h:1", "0s:1/60s:1/60s:3"],
        &[
            ("2", "\"2\" has no colon"),
            ("0:1/x:2", "does not begin with a number"),
            ("60s:1/0s:2", "times run backwards"),
            ("0s:1/60s:0", "the last requests never come"),
            ("0:1/0:1/0:1/0:1/0:1/0:1/0:1/0:1/0:1", "more than 8 points"),
            ("0:1001", "lies outside 0 to 1000"),
            ("101h:1/2500h:1", "longer than 100 days"),
        ],
    ),
    ("arrivals.burst_factor", &["1", "2.5", "1000"], &[("0.5", "lies outside 1")]),
    ("arrivals.burst_share", &["0.001", "0.5", "1"], &[("0", "lies outside")]),
    ("arrivals.burst_period", &["1s", "1h"], &[("999ms", "shorter than 1s"), ("2h", "longer than an hour")]),
    ("arrivals.think", &["0", "10ms", "1h"], &[("10", "needs a unit"), ("2h", "longer than an hour")]),
    ("arrivals.turns", &["open", "closed"], &[("close", "did you mean \"closed\"?")]),
    ("arrivals.refused_pause", &["0", "1500ms", "1h"], &[("2", "needs a unit"), ("2h", "longer than an hour")]),
    ("docqa.documents", &["1", "4294967295"], &[("0", "lies outside 1")]),
    (
        "docqa.skew",
        &["0", "1.2", "10"],
        &[("-0.1", "negative"), ("10.5", "lies outside 0"), ("x", "begin with a number")],
    ),
    ("docqa.document_tokens", &["1", "64Ki"], &[("0", "lies outside 1"), ("64K", "no multiple")]),
    ("docqa.question_tokens", &["1", "100"], &[("0", "lies outside 1")]),
    ("docqa.answer_tokens", &["1", "100"], &[("0", "lies outside 1")]),
    ("docqa.instruction_tokens", &["0", "2k"], &[("-1", "negative")]),
    ("docqa.users", &["1", "1k"], &[("0", "lies outside 1")]),
    ("chat.users", &["1", "1k"], &[("0", "lies outside 1")]),
    ("chat.turns", &["1", "1000"], &[("0", "lies outside 1"), ("1001", "1001 is more than 1000")]),
    ("chat.message_tokens", &["1", "2Ki"], &[("0", "lies outside 1"), ("1.5", "not a whole number")]),
    ("chat.answer_tokens", &["1", "2Ki"], &[("0", "lies outside 1")]),
    ("chat.system_tokens", &["0", "2Ki"], &[("-1", "negative")]),
    ("chat.think", &["0", "10ms", "1h"], &[("10", "needs a unit"), ("2h", "longer than an hour")]),
    ("shared_system.system_tokens", &["0", "4Ki"], &[("-1", "negative")]),
    ("shared_system.question_tokens", &["1", "100"], &[("0", "lies outside 1")]),
    ("shared_system.answer_tokens", &["1", "100"], &[("0", "lies outside 1")]),
    ("shared_system.users", &["1", "1k"], &[("0", "lies outside 1")]),
    ("mixed.long_share", &["0", "0.001", "1"], &[("1.1", "lies outside"), ("0.0005", "finer than a thousandth")]),
    ("mixed.medium_share", &["0", "0.25", "1"], &[("30 %", "not a plain number")]),
    ("mixed.short_tokens", &["1", "1k"], &[("0", "lies outside 1")]),
    ("mixed.medium_tokens", &["1", "8k"], &[("0", "lies outside 1")]),
    ("mixed.spread", &["0", "0.5", "3"], &[("3.1", "lies outside 0 to 3"), ("-1", "negative")]),
    ("mixed.document_tokens", &["1", "64Ki"], &[("0", "lies outside 1")]),
    ("mixed.questions", &["1", "20"], &[("0", "lies outside 1")]),
    ("mixed.answer_tokens", &["1", "100"], &[("0", "lies outside 1")]),
    ("mixed.users", &["1", "1k"], &[("0", "lies outside 1")]),
    ("unrelated.prompt_tokens", &["1", "2k"], &[("0", "lies outside 1")]),
    ("unrelated.spread", &["0", "0.5", "3"], &[("3.1", "lies outside 0 to 3")]),
    ("unrelated.answer_tokens", &["1", "100"], &[("0", "lies outside 1")]),
    ("unrelated.users", &["1", "1k"], &[("0", "lies outside 1")]),
    ("code_review.repositories", &["1", "1m"], &[("0", "lies outside 1"), ("2m", "more than 1000000")]),
    ("code_review.system_tokens", &["0", "2k"], &[("-1", "negative")]),
    ("code_review.guide_tokens", &["0", "1k"], &[("-1", "negative")]),
    ("code_review.map_tokens", &["0", "1k"], &[("-1", "negative")]),
    ("code_review.merges", &["1", "10"], &[("0", "lies outside 1")]),
    ("code_review.files_tokens", &["1", "1k"], &[("0", "lies outside 1")]),
    ("code_review.reviews", &["1", "10"], &[("0", "lies outside 1")]),
    ("code_review.diff_tokens", &["1", "1k"], &[("0", "lies outside 1")]),
    ("code_review.turns", &["1", "1000"], &[("0", "lies outside 1"), ("1001", "1001 is more than 1000")]),
    ("code_review.answer_tokens", &["1", "1k"], &[("0", "lies outside 1")]),
    ("multi_round_qa.num_users", &["1", "320"], &[("0", "lies outside 1"), ("2m", "more than 1000000")]),
    ("multi_round_qa.num_rounds", &["2", "10"], &[("1", "lies outside 2"), ("1001", "1001 is more than 1000")]),
    ("multi_round_qa.shared_system_prompt", &["0", "2k"], &[("-1", "negative")]),
    ("multi_round_qa.user_history_prompt", &["0", "20k"], &[("-1", "negative")]),
    ("multi_round_qa.question_len", &["1", "100"], &[("0", "lies outside 1")]),
    ("multi_round_qa.answer_len", &["1", "200"], &[("0", "lies outside 1")]),
];

const SECTIONS: &[&str] =
    &["arrivals", "docqa", "chat", "shared_system", "mixed", "unrelated", "code_review", "multi_round_qa"];

#[test]
fn settings_of_the_workloads_at_their_edges() {
    edges_are_kept(WORKLOADS, SECTIONS);
}

#[test]
fn each_setting_of_the_workloads_changes_one_thing() {
    each_changes_one_thing(WORKLOADS);
}

#[test]
fn what_help_calls_the_default_is_the_default() {
    for (key, ..) in WORKLOADS {
        let setting = SETTINGS.iter().find(|setting| setting.key == *key).expect("it is listed");
        let mut lab = Lab::default();
        assert_eq!(lab.set(key, setting.default), Ok(()), "{key}");
        assert_eq!(lab, Lab::default(), "{key} is not {} unless set", setting.default);
    }
}
