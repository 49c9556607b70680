//! The benchmark of production-stack: who joins when, how far they are, and what they send.

use super::*;
use sim::workload::multi_round_qa::MultiRoundQa;

const QA: MultiRoundQa = MultiRoundQa {
    requests: 300,
    num_users: 4,
    num_rounds: 3,
    shared_system_prompt: Tokens(1000),
    user_history_prompt: Tokens(2000),
    question_len: Tokens(20),
    answer_len: Tokens(100),
};

/// Worked out by hand from the rules: four users, three rounds, one query per second. A user's rounds are 4 s apart, a session
/// is 8 s long, and a user joins every 2 s.
#[test]
fn a_small_one_by_hand() {
    let workload = MultiRoundQa { requests: 14, ..QA }.generate(1.0);
    let told: Vec<(u64, u64, u32)> = workload
        .requests()
        .iter()
        .map(|request| {
            let seconds = request.at.0 / 1_000_000_000_000;
            assert_eq!(request.at, Time(Span::from_secs(seconds).0), "to the second");
            (seconds, request.session.expect("each names one").0, request.prompt.0)
        })
        .collect();
    // User 0 joined 8 s ago and is through; 1 joined 6 s ago, has had two rounds, and is due in 2 s with the last; 2 joined
    // 4 s ago, likewise, and is due in 4 s; 3 joined 2 s ago, has had one, and is due in 2 s and in 6 s. Then user 4 joins at
    // once, 5 after 2 s, 6 after 4 s. Their prompts begin anew, since nothing is known of the past.
    let expected = [
        (0, 4, 3020),
        (2, 1, 3020),
        (2, 3, 3020),
        (2, 5, 3020),
        (4, 2, 3020),
        (4, 4, 3140),
        (4, 6, 3020),
        (6, 3, 3140),
        (6, 5, 3140),
        (6, 7, 3020),
        (8, 4, 3260),
        (8, 6, 3140),
        (8, 8, 3020),
        (10, 5, 3260),
    ];
    assert_eq!(told, expected);
    let waits: Vec<_> = workload.turns().iter().map(|turn| turn.after).collect();
    assert_eq!(waits[5..11], [Some(0), None, Some(2), Some(3), None, Some(5)]);
    assert!(workload.turns().iter().all(|turn| turn.gap == Span::from_secs(if turn.after.is_some() { 4 } else { 0 })));
}

#[test]
fn it_comes_at_its_rate_with_so_many_users_at_a_time() {
    for (users, rounds, qps) in [(10, 5, 0.5), (320, 10, 4.1), (7, 2, 3.0)] {
        let qa = MultiRoundQa { requests: 20_000, num_users: users, num_rounds: rounds, ..QA };
        let workload = qa.generate(qps);
        let seconds = Span(workload.requests()[19_999].at.0).as_secs_f64();
        let (rate, expected) = (20_000.0 / seconds, qps * f64::from(rounds) / f64::from(rounds - 1));
        assert!((rate / expected - 1.0).abs() < 0.03, "{users} users, {rounds} rounds: {rate}/s, not {expected}/s");
        // A session from first to last round, of those who joined while it ran.
        let mut sessions: BTreeMap<_, Vec<&Request>> = BTreeMap::new();
        for request in workload.requests() {
            sessions.entry(request.session).or_default().push(request);
        }
        let whole: Vec<_> = sessions.values().filter(|rounds_of| rounds_of.len() == rounds as usize).collect();
        let length = f64::from(users) / qps * f64::from(rounds - 1);
        for session in &whole {
            let (first, last) = (session[0], session[session.len() - 1]);
            assert!((last.at.since(first.at).as_secs_f64() - length).abs() < 1e-6);
            for (before, request) in session.iter().zip(&session[1..]) {
                let (before, own) = (pieces(&workload, before), pieces(&workload, request));
                assert_eq!(own[..before.len()], before[..], "a round contains the one before, and its reply");
            }
        }
        assert!(whole.len() as f64 > 0.8 * 20_000.0 / f64::from(rounds));
    }
}
