//! What reviews of code share: from what all begin with to what one has alone; and prompts that share nothing.

use super::*;
use std::collections::BTreeSet;

#[test]
fn unrelated_prompts_share_nothing() {
    for arrivals in [OPEN, CLOSED, USERS] {
        let workload = UNRELATED.generate(arrivals, Streams::new(4));
        let told = sim::workload::description::Description::of(&workload);
        assert_eq!((told.requests, told.reusable_tokens), (600, 0));
        assert_eq!(told.shared[0], told.prompt_tokens);
    }
    let same = Unrelated { spread: 0.0, ..UNRELATED }.generate(OPEN, Streams::new(4));
    assert!(same.requests().iter().all(|request| request.prompt == Tokens(300)));
    let lengths = Unrelated { requests: 20_000, ..UNRELATED }.generate(OPEN, Streams::new(4));
    // A log-normal mean is exp(spread^2 / 2) medians.
    let prompts = lengths.requests().iter().map(|request| f64::from(request.prompt.0));
    has_mean(prompts, 300.0 * f64::exp(0.245), "prompts");
}

/// Every prompt is instructions, guide, map, files and what was said of one review; each is shared by whom it should be.
#[test]
fn each_part_of_a_review_is_shared_by_those_it_concerns() {
    for arrivals in [OPEN, CLOSED, USERS] {
        let workload = REVIEW.generate(arrivals, Streams::new(11));
        let (mut guides, mut maps, mut pulls) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut reviews: BTreeMap<u64, Vec<Vec<Piece>>> = BTreeMap::new();
        let mut first: Option<Piece> = None;
        for request in workload.requests() {
            let pieces = pieces(&workload, request);
            let lengths: Vec<u32> = workload.segments(request).iter().map(|segment| segment.tokens.0).collect();
            assert_eq!(lengths[..3], [50, 200, 400]);
            assert_eq!(*first.get_or_insert(pieces[0]), pieces[0], "all begin with the instructions");
            // A guide is one repository's; a map is of one guide; a pull request is of one map.
            assert_eq!(*guides.entry(pieces[1].key.0).or_insert(pieces[0].key.0), pieces[0].key.0);
            assert_eq!(*maps.entry(pieces[2].key.0).or_insert(pieces[1].key.0), pieces[1].key.0);
            assert_eq!(*pulls.entry(pieces[3].key.0).or_insert(pieces[2].key.0), pieces[2].key.0);
            reviews.entry(pieces[3].key.0).or_default().push(pieces[4..].to_vec());
        }
        assert_eq!(guides.len(), 3);
        for turns in reviews.values() {
            assert!(turns.len() <= 6, "three reviews of two turns");
            for (place, turn) in turns.iter().enumerate() {
                // A diff and a reply; then the same, a question and a reply.
                assert_eq!(turn.len(), if place % 2 == 0 { 2 } else { 4 });
                if place % 2 == 1 {
                    assert_eq!(turn[..2], turns[place - 1][..], "a follow-up contains the review");
                }
            }
        }
        let diffs: BTreeSet<_> = reviews.values().flatten().map(|turn| turn[0].key.0).collect();
        let turns: usize = reviews.values().map(Vec::len).sum();
        assert!(diffs.len() >= turns / 2 && turns == 600, "no two reviews have the same diff");
        // A map is drawn anew after two merges; those begun before keep theirs.
        let whole = reviews.values().filter(|turns| turns.len() == 6).count();
        let expected = 1.0 + whole as f64 / 3.0 / 2.0;
        let each = maps.len() as f64 / 3.0;
        assert!((each - expected).abs() < 8.0, "{each} maps of a repository, {expected} drawn");
    }
}

#[test]
fn lengths_of_a_review_are_those_that_are_set() {
    let workload = CodeReview { requests: 30_000, ..REVIEW }.generate(CLOSED, Streams::new(12));
    let (mut files, mut diffs, mut questions) = (BTreeMap::new(), Vec::new(), Vec::new());
    for request in workload.requests() {
        let segments = workload.segments(request);
        files.insert(segments[3].id, segments[3].tokens.0);
        let last = segments[segments.len() - 1].tokens.0;
        if segments.len() == 5 { diffs.push(last) } else { questions.push(last) }
    }
    is_geometric(files.into_values(), 900.0, "files");
    is_geometric(diffs, 80.0, "diffs");
    is_geometric(questions, 64.0, "questions");
    is_geometric(workload.requests().iter().map(|request| request.output.0), 60.0, "replies");
}

/// Pieces that nobody shares can be left out; what is left is still told apart.
#[test]
fn repositories_stay_apart_without_guides() {
    let bare = CodeReview { system: Tokens(0), guide: Tokens(0), ..REVIEW }.generate(OPEN, Streams::new(13));
    let firsts: BTreeSet<u64> = bare.requests().iter().map(|request| pieces(&bare, request)[0].key.0).collect();
    let with = REVIEW.generate(OPEN, Streams::new(13));
    let maps: BTreeSet<u64> = with.requests().iter().map(|request| pieces(&with, request)[2].key.0).collect();
    assert_eq!(firsts.len(), maps.len());
}
