//! A trace played again: the same sizes and gaps, and nothing of it known.

use super::*;
use sim::workload::Segment;
use sim::workload::description::Description;

fn trace() -> Workload {
    let mut workload = Workload::new(Pacing::Open);
    let requests: [(u64, &[u64]); 4] = [(1, &[1, 2]), (3, &[1, 3]), (3, &[4]), (10, &[1, 2, 5])];
    for (seconds, ids) in requests {
        let prompt: Vec<Segment> = ids.iter().map(|id| Segment { id: *id, tokens: Tokens(512) }).collect();
        workload.push(Time(Span::from_secs(seconds).0), Some(SessionId(ids[0])), &prompt, Tokens(7));
    }
    workload
}

#[test]
fn each_round_is_the_trace_with_content_of_its_own() {
    let (once, thrice) = (trace(), trace().repeated(3, usize::MAX));
    assert_eq!(thrice.requests().len(), 12);
    // Nine seconds, and a mean gap of three until the next begins.
    let seconds: Vec<u64> = thrice.requests().iter().map(|request| request.at.0 / 1_000_000_000_000).collect();
    assert_eq!(seconds, [1, 3, 3, 10, 13, 15, 15, 22, 25, 27, 27, 34]);
    let (one, three) = (Description::of(&once), Description::of(&thrice));
    assert_eq!((three.prompt_tokens, three.reusable_tokens), (3 * one.prompt_tokens, 3 * one.reusable_tokens));
    assert_eq!(three.shared.map(|tokens| tokens / 3), one.shared);
    assert_eq!((three.sessions, one.sessions), (6, 2));
    for (place, request) in thrice.requests().iter().enumerate() {
        let same = &once.requests()[place % 4];
        assert_eq!((request.prompt, request.output), (same.prompt, same.output));
        let ends = |workload, request| pieces(workload, request).iter().map(|piece| piece.end).collect::<Vec<_>>();
        assert_eq!(ends(&thrice, request), ends(&once, same));
    }
    // Within a round what was shared is shared, replies included.
    let all: Vec<_> = thrice.requests().iter().map(|request| pieces(&thrice, request)).collect();
    assert_eq!(all[7][..2], all[4][..2]);
    let keys: std::collections::BTreeSet<u64> = all.iter().flatten().map(|piece| piece.key.0).collect();
    assert_eq!(keys.len(), 3 * 9, "five pieces of prompts and four replies");
}

#[test]
fn no_more_requests_than_are_asked_for() {
    assert_eq!(trace().repeated(3, 6).requests().len(), 6);
    assert_eq!(trace().repeated(3, 2), trace().first(2));
    assert_eq!(trace().repeated(1, 99), trace());
    let alone = trace().first(1).repeated(3, 99);
    assert_eq!(alone.requests()[2].at.since(alone.requests()[0].at), Span::from_secs(2), "a second apart");
    assert_eq!(Workload::new(Pacing::Open).repeated(5, 9).requests().len(), 0);
}
