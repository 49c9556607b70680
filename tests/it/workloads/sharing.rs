//! Who shares what with whom.

use super::*;
use std::collections::BTreeSet;

/// Segments of each prompt as `(id, length)`, and of its reply.
fn told(workload: &Workload) -> Vec<(Vec<u64>, u64)> {
    let ids = |request| workload.segments(request).iter().map(|segment| segment.id).collect();
    workload.requests().iter().map(|request| (ids(request), request.reply)).collect()
}

/// Tokens of all prompts, and how many of them an infinite cache of single tokens would have seen before.
fn reuse(workload: &Workload) -> (u64, u64) {
    let mut known: BTreeSet<u64> = BTreeSet::new();
    let (mut all, mut seen) = (0, 0);
    for request in workload.requests() {
        let pieces = pieces(workload, request);
        let prompt = &pieces[..pieces.len() - 1];
        let found = prompt.iter().take_while(|piece| known.contains(&piece.key.0)).last();
        seen += found.map_or(0, |piece| u64::from(piece.end.0));
        all += u64::from(request.prompt.0);
        known.extend(pieces.iter().map(|piece| piece.key.0));
    }
    (all, seen)
}

#[test]
fn a_small_chat_by_hand() {
    // Two users, conversations of two turns, turn by turn: system prompt 0, then message and reply of each turn.
    let chat = Chat { requests: 6, users: 2, turns: 2, ..CHAT };
    let workload = chat.generate(CLOSED, Streams::new(0));
    let expected = [
        (vec![0, 1], 2),
        (vec![0, 3], 4),
        (vec![0, 1, 2, 5], 6),
        (vec![0, 3, 4, 7], 8),
        (vec![0, 9], 10), // the first user begins anew
        (vec![0, 11], 12),
    ];
    assert_eq!(told(&workload), expected);
    let users: Vec<_> = workload.requests().iter().map(|request| request.session).collect();
    assert_eq!(users, [0, 1, 0, 1, 0, 1].map(|user| Some(SessionId(user))));
    // Without a system prompt nobody shares anything with another user.
    let bare = Chat { system: Tokens(0), ..chat }.generate(CLOSED, Streams::new(0));
    assert_eq!(told(&bare)[2], (vec![1, 2, 5], 6));
}

#[test]
fn replies_become_part_of_the_next_prompt() {
    for arrivals in [OPEN, CLOSED] {
        let workload = CHAT.generate(arrivals, Streams::new(3));
        let mut before: BTreeMap<SessionId, (Vec<Piece>, u32)> = BTreeMap::new();
        let (mut continued, mut begun) = (0, 0);
        for request in workload.requests() {
            let pieces = pieces(&workload, request);
            let prompt = &pieces[..pieces.len() - 1];
            assert_eq!(prompt.last().map(|piece| piece.end), Some(request.prompt));
            let user = request.session.expect("every user is a session");
            let turns = match before.get(&user) {
                Some((said, turns)) if *turns < CHAT.turns => {
                    assert_eq!(prompt[..said.len()], said[..], "prompt and reply of the turn before, exactly");
                    assert_eq!(prompt.len(), said.len() + 1, "and one new message");
                    continued += 1;
                    turns + 1
                }
                _ => {
                    assert_eq!((prompt.len(), prompt[0].end), (2, CHAT.system), "system prompt and first message");
                    begun += 1;
                    1
                }
            };
            before.insert(user, (pieces, turns));
        }
        assert_eq!(continued + begun, CHAT.requests);
        assert!(begun >= CHAT.requests / CHAT.turns, "{begun} conversations");
        if arrivals == CLOSED {
            assert_eq!(begun, CHAT.requests / CHAT.turns, "all of them have all their turns");
        }
    }
}

#[test]
fn the_reuse_of_a_chat_is_all_but_its_messages() {
    // Messages and replies of one token: turn k of 4 has a prompt of 10 + 2k + 1 tokens, of which 10 + 2k were there,
    // but for the very first system prompt.
    let (users, turns) = (3, 4);
    let system = Tokens(10);
    let chat =
        Chat { requests: 12, users, turns, system, message: Tokens(1), answer: Tokens(1), think: Span::from_secs(10) };
    let expected = (3 * (11 + 13 + 15 + 17), 3 * (10 + 12 + 14 + 16) - 10);
    assert_eq!(reuse(&chat.generate(CLOSED, Streams::new(1))), expected);
    for arrivals in [OPEN, CLOSED] {
        let workload = CHAT.generate(arrivals, Streams::new(1));
        let messages: u64 = new_tokens(&workload).into_iter().map(u64::from).sum();
        let (all, seen) = reuse(&workload);
        assert_eq!(seen, all - messages - u64::from(CHAT.system.0));
    }
}

#[test]
fn unrelated_questions_share_the_system_prompt_and_nothing_else() {
    for arrivals in [OPEN, CLOSED] {
        let workload = SHARED.generate(arrivals, Streams::new(5));
        let all: Vec<Vec<Piece>> = workload.requests().iter().map(|request| pieces(&workload, request)).collect();
        assert!(all.iter().all(|pieces| pieces.len() == 3 && pieces[0] == all[0][0]));
        assert_eq!(all[0][0].end, SHARED.system);
        let own: BTreeSet<u64> = all.iter().flat_map(|pieces| &pieces[1..]).map(|piece| piece.key.0).collect();
        assert_eq!(own.len(), 2 * all.len(), "questions and answers are all different");
        let users: BTreeSet<_> = workload.requests().iter().map(|request| request.session).collect();
        assert_eq!(users.len(), 20);
        assert_eq!(reuse(&workload).1, 599 * 1000);
    }
    let bare = SharedSystem { system: Tokens(0), ..SHARED }.generate(CLOSED, Streams::new(5));
    assert_eq!(reuse(&bare).1, 0);
}

#[test]
fn a_document_is_asked_about_so_often_and_by_one_user() {
    for arrivals in [OPEN, CLOSED] {
        let workload = MIXED.generate(arrivals, Streams::new(6));
        let mut asked: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        let mut own = BTreeSet::new();
        for request in workload.requests() {
            let segments = workload.segments(request);
            if let [document, _] = segments {
                assert_eq!(document.tokens, MIXED.document);
                asked.entry(document.id).or_default().push(request.session);
            }
            assert!(
                own.insert(segments.last().map(|segment| segment.id)),
                "what is not a document is shared by nobody"
            );
        }
        assert!(asked.keys().all(|document| !own.contains(&Some(*document))));
        let whole = asked.values().filter(|users| users.len() == 4).count();
        assert!(asked.values().all(|users| users.len() <= 4), "{asked:?}");
        assert!(asked.len() - whole <= 8, "eight are open at a time");
        assert!(asked.values().all(|users| users.iter().all(|user| *user == users[0])));
        let owners: BTreeSet<_> = asked.values().map(|users| users[0]).collect();
        assert!(owners.len() > 10, "documents are of all users");
        let questions: usize = asked.values().map(Vec::len).sum();
        assert_eq!(reuse(&workload).1, (questions - asked.len()) as u64 * 20_000);
    }
}

#[test]
fn a_mix_has_its_shares_and_its_lengths() {
    let mixed = Mixed { requests: 20_000, ..MIXED };
    let workload = mixed.generate(CLOSED, Streams::new(7));
    let long = workload.requests().iter().filter(|request| workload.segments(request).len() == 2).count();
    // Where all lengths are the same, the kinds can be told apart.
    let flat = Mixed { spread: 0.0, ..mixed }.generate(CLOSED, Streams::new(7));
    let of = |tokens| flat.requests().iter().filter(|request| request.prompt == tokens).count();
    for (count, share) in [(long, 0.2), (of(Tokens(3000)), 0.3), (of(Tokens(400)), 0.5)] {
        let error = f64::sqrt(20_000.0 * share * (1.0 - share));
        assert!((count as f64 - 20_000.0 * share).abs() <= 3.0 * error, "{count} of 20000, not {share}");
    }
    // A log-normal mean is exp(spread^2 / 2) medians, here 1.3771.
    let mut prompts = (Vec::new(), Vec::new(), Vec::new());
    for (request, kind) in workload.requests().iter().zip(flat.requests()) {
        let segments = workload.segments(request);
        let tokens = f64::from(segments[segments.len() - 1].tokens.0);
        match (segments.len(), kind.prompt.0) {
            (2, _) => prompts.0.push(tokens),
            (_, 3000) => prompts.1.push(tokens),
            _ => prompts.2.push(tokens),
        }
    }
    has_mean(prompts.0, 64.0, "questions");
    has_mean(prompts.1, 3000.0 * 1.377_13, "medium prompts");
    has_mean(prompts.2, 400.0 * 1.377_13, "short prompts");
    has_mean(workload.requests().iter().map(|request| f64::from(request.output.0)), 150.0, "answers");
    let nobody = Mixed { long_share: 0, medium_share: 0, ..mixed }.generate(CLOSED, Streams::new(7));
    assert_eq!(reuse(&nobody).1, 0);
}

/// Shares are Zipf's to within a question, whatever the seed; and equal where nothing is said.
#[test]
fn documents_are_asked_about_in_proportion() {
    for (skew, documents, requests) in
        [(0.0, 7_u32, 700_u32), (1.0, 35, 2100), (1.5, 35, 2100), (10.0, 3, 50), (1.0, 50, 20)]
    {
        let docqa = DocumentQa { requests, documents, skew, ..driver::lab::Lab::default().docqa };
        let weight = |document: u32| f64::from(document + 1).powf(-skew);
        let whole: f64 = (0..documents).map(weight).sum();
        for seed in 0..3 {
            let workload = docqa.generate(Arrivals::Poisson { rate: 1.0 }, Streams::new(seed));
            let about: Vec<u64> =
                workload.requests().iter().map(|request| workload.segments(request)[0].id - 1).collect();
            assert!(skew > 5.0 || !about.is_sorted(), "in random order");
            for document in 0..documents {
                let asked = about.iter().filter(|id| **id == u64::from(document)).count() as f64;
                let share = weight(document) / whole * f64::from(requests);
                assert!((asked - share).abs() < 1.0, "{document} of {documents} by {skew}: {asked}, not {share}");
            }
        }
    }
}
