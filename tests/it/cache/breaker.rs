//! The breaker, each transition by hand.

use kvcache::{Breaker, BreakerConfig, Span, Time};

/// Plays a story to a breaker with the defaults, and asserts what it says to each word: `12.5 call -> yes`.
fn check(story: &str) {
    let mut breaker = Breaker::new(BreakerConfig::default());
    for line in story.split(';').map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let now = Time::ZERO + Span::from_secs_f64(words[0].parse().expect("seconds"));
        match words[1..] {
            ["call", "->", answer] => assert_eq!(breaker.may_call(now), answer == "yes", "{line}"),
            ["ok"] => breaker.succeeded(now),
            ["fail"] => breaker.failed(now),
            ["deadline", "->", "none"] => assert_eq!(breaker.deadline(), None, "{line}"),
            ["deadline", "->", at] => {
                let at = Time::ZERO + Span::from_secs_f64(at.parse().expect("seconds"));
                assert_eq!(breaker.deadline(), Some(at), "{line}");
            }
            _ => panic!("no such word: {line}"),
        }
    }
}

#[test]
fn two_failures_do_not_open_it_three_do() {
    check("0 call -> yes; 1 fail; 1 call -> yes; 2 fail; 2 call -> yes; 2 deadline -> none; 3 fail; 3 call -> no");
    check("0 fail; 0 fail; 0 deadline -> none; 0 fail; 0 deadline -> 5; 4.999999 call -> no");
}

#[test]
fn an_answer_between_failures_counts_them_anew() {
    check("0 fail; 1 fail; 2 ok; 3 fail; 4 fail; 4 call -> yes; 5 fail; 5 call -> no");
}

#[test]
fn misses_never_open_it() {
    // A miss is an answer: it is reported as one.
    check(&"0 call -> yes; 0 ok;".repeat(100));
}

#[test]
fn open_it_lets_one_probe_through() {
    check("0 fail; 0 fail; 0 fail; 4.9 call -> no; 5 call -> yes; 5 call -> no; 7 call -> no; 5 deadline -> 10");
    // The probe is the first call that comes after the period, however late.
    check("0 fail; 0 fail; 0 fail; 60 call -> yes; 60 call -> no; 60 deadline -> 65");
}

#[test]
fn an_answered_probe_closes_it_for_good() {
    check(
        "0 fail; 0 fail; 0 fail; 5 call -> yes; 5.2 ok; 5.2 deadline -> none; 5.2 call -> yes; 5.3 call -> yes;
         6 fail; 6 fail; 6 call -> yes; 6 fail; 6 call -> no",
    );
}

#[test]
fn a_failed_probe_is_followed_by_a_whole_period() {
    check("0 fail; 0 fail; 0 fail; 5 call -> yes; 6 fail; 6 deadline -> 11; 10.9 call -> no; 11 call -> yes");
}

#[test]
fn a_probe_without_an_answer_fails_after_the_period() {
    check("0 fail; 0 fail; 0 fail; 5 call -> yes; 9.999 call -> no; 10 call -> yes; 10 call -> no; 15 call -> yes");
    // Its failure, or its answer, may still come.
    check("0 fail; 0 fail; 0 fail; 5 call -> yes; 11 fail; 15.9 call -> no; 16 call -> yes");
    check("0 fail; 0 fail; 0 fail; 5 call -> yes; 11 ok; 11 call -> yes; 11 call -> yes");
}

#[test]
fn calls_from_before_it_opened_count_too() {
    // Their failures are news: who failed just now need not be asked again at once.
    check("0 fail; 0 fail; 0 fail; 1 fail; 2 fail; 2 deadline -> 7; 6.9 call -> no; 7 call -> yes");
    // An answer shows that somebody is there.
    check("0 fail; 0 fail; 0 fail; 1 ok; 1 call -> yes; 1 deadline -> none");
}

#[test]
fn other_settings_are_kept() {
    let mut breaker =
        Breaker::new(BreakerConfig { failures: 1, probe_every: Span::from_millis(10), ..BreakerConfig::default() });
    breaker.failed(Time::ZERO);
    assert!(!breaker.may_call(Time::ZERO + Span::from_millis(9)));
    assert!(breaker.may_call(Time::ZERO + Span::from_millis(10)));
}

#[test]
fn it_counts_how_often_it_opened() {
    let mut breaker = Breaker::new(BreakerConfig { failures: 2, ..BreakerConfig::default() });
    let at = |seconds: u64| Time::ZERO + Span::from_secs(seconds);
    breaker.failed(at(1));
    assert_eq!((breaker.opened(), breaker.is_closed()), (0, true));
    breaker.failed(at(2));
    assert_eq!((breaker.opened(), breaker.is_closed()), (1, false));
    // A probe in vain opens nothing that was closed.
    assert!(breaker.may_call(at(8)));
    breaker.failed(at(9));
    assert_eq!(breaker.opened(), 1);
    breaker.succeeded(at(20));
    breaker.failed(at(21));
    breaker.failed(at(22));
    assert_eq!(breaker.opened(), 2);
    // Who calls starts afresh: the count goes on, and it takes two failures again.
    breaker.restart();
    assert_eq!((breaker.opened(), breaker.is_closed()), (2, true));
    breaker.failed(at(23));
    assert!(breaker.is_closed());
    breaker.failed(at(24));
    assert_eq!(breaker.opened(), 3);
}
