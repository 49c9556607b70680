//! Settings of the generated workloads.

use super::{Edges, each_changes_one_thing, edges_are_kept};
use driver::lab::Lab;
use driver::lab::settings::SETTINGS;

const WORKLOADS: &[Edges] = &[
    ("arrivals.burstiness", &["0", "0.5", "10"], &[("-1", "negative"), ("11", "lies outside 0")]),
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
];

const SECTIONS: &[&str] = &["arrivals", "docqa", "chat", "shared_system", "mixed"];

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
