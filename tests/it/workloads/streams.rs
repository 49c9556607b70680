//! A stream per purpose: what one setting draws shifts nothing else.

use super::*;

/// What a workload consists of, purpose by purpose.
fn facets(workload: &Workload) -> [(&'static str, Vec<u64>); 5] {
    let of = |what: fn(&Request) -> u64| workload.requests().iter().map(what).collect();
    let shared = |request| workload.segments(request).split_last().and_then(|(_, shared)| shared.last());
    [
        ("times", of(|request| request.at.0)),
        ("users", of(|request| request.session.map_or(0, |session| session.0))),
        ("lengths", new_tokens(workload).into_iter().map(u64::from).collect()),
        ("answers", of(|request| u64::from(request.output.0))),
        ("sharing", workload.requests().iter().map(|request| shared(request).map_or(0, |past| past.id)).collect()),
    ]
}

/// Asserts that exactly the named facets differ.
fn differ(one: &Workload, other: &Workload, expected: &[&str], what: &str) {
    let pairs = facets(one).into_iter().zip(facets(other));
    let differing: Vec<_> = pairs.filter(|(one, other)| one != other).map(|(one, _)| one.0).collect();
    assert_eq!(differing, expected, "{what}");
}

#[test]
fn a_setting_changes_its_own_draws_only() {
    let streams = Streams::new(21);
    let chat = CHAT.generate(OPEN, streams);
    for (changed, expected) in [
        (Chat { message: Tokens(51), ..CHAT }, &["lengths"] as &[&str]),
        (Chat { answer: Tokens(81), ..CHAT }, &["answers"]),
        (Chat { system: Tokens(7), ..CHAT }, &[]),
        (Chat { think: Span::from_secs(9), ..CHAT }, &["users", "sharing"]),
        (Chat { users: 21, ..CHAT }, &["users", "sharing"]),
        (Chat { turns: 6, ..CHAT }, &["sharing"]),
    ] {
        differ(&chat, &changed.generate(OPEN, streams), expected, &format!("{changed:?}"));
    }
    differ(&chat, &CHAT.generate(Arrivals::Poisson { rate: 6.0 }, streams), &["times", "users", "sharing"], "rate");
    differ(&chat, &CHAT.generate(CLOSED, streams), &["times", "users", "sharing"], "closed");

    let shared = SHARED.generate(OPEN, streams);
    for (changed, expected) in [
        (SharedSystem { question: Tokens(201), ..SHARED }, &["lengths"] as &[&str]),
        (SharedSystem { answer: Tokens(91), ..SHARED }, &["answers"]),
        (SharedSystem { system: Tokens(7), ..SHARED }, &[]),
        (SharedSystem { users: 21, ..SHARED }, &["users"]),
    ] {
        differ(&shared, &changed.generate(OPEN, streams), expected, &format!("{changed:?}"));
    }
    differ(&shared, &SHARED.generate(Arrivals::Poisson { rate: 6.0 }, streams), &["times"], "rate");

    let mixed = MIXED.generate(OPEN, streams);
    for (changed, expected) in [
        (Mixed { short: Tokens(401), ..MIXED }, &["lengths"] as &[&str]),
        (Mixed { medium: Tokens(3100), ..MIXED }, &["lengths"]),
        (Mixed { spread: 0.9, ..MIXED }, &["lengths"]),
        (Mixed { answer: Tokens(151), ..MIXED }, &["answers"]),
        (Mixed { document: Tokens(9), ..MIXED }, &[]),
        (Mixed { questions: 5, ..MIXED }, &["users", "sharing"]),
        (Mixed { users: 21, ..MIXED }, &["users"]),
    ] {
        differ(&mixed, &changed.generate(OPEN, streams), expected, &format!("{changed:?}"));
    }
    differ(&mixed, &MIXED.generate(Arrivals::Poisson { rate: 6.0 }, streams), &["times"], "rate");
}

#[test]
fn a_setting_of_reviews_changes_its_own_draws_only() {
    let streams = Streams::new(21);
    let unrelated = UNRELATED.generate(OPEN, streams);
    for (changed, expected) in [
        (Unrelated { prompt: Tokens(301), ..UNRELATED }, &["lengths"] as &[&str]),
        (Unrelated { spread: 0.8, ..UNRELATED }, &["lengths"]),
        (Unrelated { answer: Tokens(71), ..UNRELATED }, &["answers"]),
        (Unrelated { users: 21, ..UNRELATED }, &["users"]),
    ] {
        differ(&unrelated, &changed.generate(OPEN, streams), expected, &format!("{changed:?}"));
    }
    let review = REVIEW.generate(OPEN, streams);
    for (changed, expected) in [
        (CodeReview { diff: Tokens(81), ..REVIEW }, &["lengths"] as &[&str]),
        (CodeReview { answer: Tokens(61), ..REVIEW }, &["answers"]),
        (CodeReview { files: Tokens(901), ..REVIEW }, &[]),
        (CodeReview { map: Tokens(401), ..REVIEW }, &[]),
        (CodeReview { reviews: 4, ..REVIEW }, &["users", "sharing"]),
    ] {
        differ(&review, &changed.generate(OPEN, streams), expected, &format!("{changed:?}"));
    }
    differ(&review, &REVIEW.generate(Arrivals::Poisson { rate: 6.0 }, streams), &["times"], "rate");
}

/// Users who think longer say the same, and of two who think as long all think the same thoughts.
#[test]
fn think_times_are_a_stream_of_their_own() {
    let slow = Arrivals::Users { users: 7, think: Span::from_secs(6) };
    let mut thoughts = Vec::new();
    for ((name, quick), (_, slow)) in all(USERS, 5).into_iter().zip(all(slow, 5)) {
        differ(&quick, &slow, &["times"], name);
        let think =
            |workload: &Workload| -> Vec<u64> { workload.turns().iter().take(600).map(|turn| turn.think.0).collect() };
        let close = |(quick, slow): (&u64, &u64)| slow.abs_diff(2 * quick) <= 2;
        assert!(think(&quick).iter().zip(&think(&slow)).all(close), "{name}");
        thoughts.push(think(&quick));
    }
    assert!(thoughts.windows(2).all(|pair| pair[0] == pair[1]), "whatever they ask");
}

#[test]
fn a_share_changes_no_length_and_no_time() {
    // The n-th short prompt is as long as before, whatever stands between.
    let shorts = |mixed: Mixed| -> Vec<u32> {
        let (drawn, flat) =
            (mixed.generate(OPEN, Streams::new(22)), Mixed { spread: 0.0, ..mixed }.generate(OPEN, Streams::new(22)));
        let kinds = flat.requests().iter().zip(drawn.requests());
        kinds.filter(|(kind, _)| kind.prompt == mixed.short).map(|(_, request)| request.prompt.0).collect()
    };
    let (many, few) = (shorts(MIXED), shorts(Mixed { long_share: 600, ..MIXED }));
    assert!(few.len() > 100 && few.len() < many.len());
    assert_eq!(few, many[..few.len()]);
    let more = Mixed { long_share: 600, ..MIXED }.generate(OPEN, Streams::new(22));
    differ(&MIXED.generate(OPEN, Streams::new(22)), &more, &["users", "lengths", "sharing"], "long_share");
}

#[test]
fn all_generators_are_sent_at_the_same_times() {
    let times =
        |workload: &Workload| workload.requests().iter().map(|request| request.at).take(600).collect::<Vec<_>>();
    let docqa = DocumentQa {
        requests: 600,
        documents: 9,
        skew: 0.0,
        document: Tokens(100),
        question: Tokens(10),
        answer: Tokens(10),
        instruction: Tokens(0),
        users: 3,
    };
    let expected = times(&docqa.generate(OPEN, Streams::new(23)));
    for (name, workload) in all(OPEN, 23) {
        assert_eq!(times(&workload), expected, "{name}");
    }
}

#[test]
fn one_seed_gives_one_workload_and_another_seed_another() {
    for arrivals in [OPEN, CLOSED, USERS] {
        let pairs = all(arrivals, 24).into_iter().zip(all(arrivals, 24)).zip(all(arrivals, 25));
        for (((name, one), (_, same)), (_, other)) in pairs {
            assert!(one == same, "{name}");
            assert!(one != other, "{name}");
        }
    }
}

#[test]
fn fewer_requests_are_the_beginning_of_more() {
    let streams = Streams::new(26);
    for arrivals in [OPEN, CLOSED, USERS] {
        let begins = |few: &Workload, many: &Workload| {
            let chains = |workload: &Workload| -> Vec<_> {
                let requests = workload.requests().iter().take(100);
                requests.map(|request| (request.at, request.session, pieces(workload, request))).collect()
            };
            assert_eq!((few.requests().len(), chains(few)), (100, chains(many)));
        };
        begins(&Chat { requests: 100, ..CHAT }.generate(arrivals, streams), &CHAT.generate(arrivals, streams));
        begins(
            &SharedSystem { requests: 100, ..SHARED }.generate(arrivals, streams),
            &SHARED.generate(arrivals, streams),
        );
        begins(&Mixed { requests: 100, ..MIXED }.generate(arrivals, streams), &MIXED.generate(arrivals, streams));
        begins(
            &Unrelated { requests: 100, ..UNRELATED }.generate(arrivals, streams),
            &UNRELATED.generate(arrivals, streams),
        );
        begins(
            &CodeReview { requests: 100, ..REVIEW }.generate(arrivals, streams),
            &REVIEW.generate(arrivals, streams),
        );
    }
}

#[test]
fn a_seed_means_tomorrow_what_it_means_today() {
    // Read off once; which numbers they are means nothing, that they stay makes runs comparable across releases.
    let arrivals = Arrivals::Poisson { rate: 2.0 };
    let docqa = DocumentQa { requests: 700, ..driver::lab::Lab::default().docqa }.generate(arrivals, Streams::new(0));
    let told = |workload: &Workload| -> Vec<_> {
        let requests = workload.requests().iter().take(4);
        let session = |request: &Request| request.session.map_or(0, |session| session.0);
        requests.map(|request| (session(request), request.prompt.0, request.output.0)).collect()
    };
    let times: Vec<u64> = docqa.requests().iter().take(3).map(|request| request.at.0).collect();
    assert_eq!(times, [243_213_941_101, 1_751_629_334_548, 1_869_630_609_075]);
    let documents = docqa.requests().iter().take(6).map(|request| docqa.segments(request)[0].id);
    assert_eq!(documents.collect::<Vec<_>>(), [6, 13, 31, 24, 3, 16]);
    assert_eq!(told(&docqa), [(26, 8256, 200), (81, 8256, 200), (61, 8256, 200), (68, 8256, 200)]);
    let [(_, chat), (_, shared), (_, mixed), ..] = all(OPEN, 0);
    assert_eq!(told(&chat), [(0, 111, 70), (1, 106, 45), (2, 113, 2), (3, 101, 109)]);
    let users = chat.requests().iter().skip(40).take(8).filter_map(|request| request.session);
    assert_eq!(users.map(|session| session.0).collect::<Vec<_>>(), [18, 9, 16, 11, 12, 13, 0, 11]);
    assert_eq!(told(&shared), [(5, 1359, 78), (16, 1073, 50), (12, 1635, 2), (13, 1263, 123)]);
    assert_eq!(told(&mixed), [(10, 20114, 130), (11, 20024, 84), (5, 130, 3), (6, 20202, 205)]);
}
