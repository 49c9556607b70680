//! When requests are sent, and by whom.

use super::*;

#[test]
fn poisson_arrivals_come_at_their_rate() {
    for (name, workload) in all(OPEN, 11) {
        assert_eq!(workload.pacing(), Pacing::Open);
        let times: Vec<Time> = workload.requests().iter().map(|request| request.at).collect();
        let gaps = times.windows(2).map(|pair| pair[1].since(pair[0]).as_secs_f64());
        let (mean, error) = mean(&gaps.clone().collect::<Vec<_>>());
        assert!((mean - 0.2).abs() <= 3.0 * error, "{name}: {mean} +- {error}");
        // Exponential gaps: a share of 1/e is longer than the mean.
        let longer = gaps.filter(|gap| *gap > 0.2).count() as f64 / (times.len() - 1) as f64;
        let error = (0.367_879 * 0.632_121 / times.len() as f64).sqrt();
        assert!((longer - 0.367_879).abs() <= 3.0 * error, "{name}: {longer}");
    }
}

#[test]
fn closed_workloads_leave_times_to_the_replies() {
    for (name, workload) in all(CLOSED, 11) {
        assert_eq!(workload.pacing(), Pacing::Closed { concurrency: 4 }, "{name}");
        assert!(workload.requests().iter().all(|request| request.at == Time::ZERO), "{name}");
    }
}

#[test]
fn lengths_have_the_means_that_are_set() {
    let answers = |workload: &Workload| workload.requests().iter().map(|request| request.output.0).collect::<Vec<_>>();
    let chat = Chat { requests: 20_000, ..CHAT }.generate(OPEN, Streams::new(12));
    is_geometric(new_tokens(&chat), 50.0, "messages");
    is_geometric(answers(&chat), 80.0, "replies");
    let shared = SharedSystem { requests: 20_000, ..SHARED }.generate(CLOSED, Streams::new(12));
    is_geometric(new_tokens(&shared), 200.0, "questions");
    is_geometric(answers(&shared), 90.0, "answers");
    let mixed = Mixed { requests: 20_000, ..MIXED }.generate(CLOSED, Streams::new(12));
    is_geometric(answers(&mixed), 150.0, "answers");
}

/// Seconds between two turns of a user, and how many users there are.
fn gaps(chat: Chat, rate: f64) -> (Vec<f64>, usize) {
    let workload = chat.generate(Arrivals::Poisson { rate }, Streams::new(13));
    let mut last: BTreeMap<_, Time> = BTreeMap::new();
    let mut gaps = Vec::new();
    for request in workload.requests() {
        if let Some(before) = last.insert(request.session, request.at) {
            gaps.push(request.at.since(before).as_secs_f64());
        }
    }
    (gaps, last.len())
}

#[test]
fn with_few_requests_a_second_users_take_turns_at_random() {
    let chat = Chat { requests: 40_000, users: 50, think: Span::from_secs(2), ..CHAT };
    let (gaps, users) = gaps(chat, 1.0);
    assert_eq!(users, 50, "nobody joins");
    // Each user sends a fiftieth of what is sent.
    has_mean(gaps.iter().copied(), 50.0, "seconds between turns");
    // Not one after the other: the gaps would all be much the same.
    let longer = gaps.iter().filter(|gap| **gap > 100.0).count() as f64 / gaps.len() as f64;
    assert!((0.1..0.2).contains(&longer), "{longer} are longer than twice the mean");
}

#[test]
fn with_many_requests_a_second_further_users_join_and_all_think() {
    let chat = Chat { requests: 100_000, users: 5, think: Span::from_secs(10), ..CHAT };
    let (gaps, users) = gaps(chat, 100.0);
    // Those who think ten seconds and are a hundred a second are a thousand.
    assert!((1000..1300).contains(&users), "{users} users");
    let count = gaps.len() as f64;
    for seconds in [1.0, 5.0, 10.0, 20.0, 40.0] {
        let shorter = gaps.iter().filter(|gap| **gap < seconds).count() as f64 / count;
        // No gap is shorter than its think time, and most are hardly longer.
        let thought = 1.0 - f64::exp(-seconds / 10.0);
        let error = (thought * (1.0 - thought) / count).sqrt();
        println!("{seconds} s: {shorter} of gaps, {thought} of think times");
        assert!(shorter <= thought + 3.0 * error, "{shorter} of gaps are below {seconds} s, {thought} of think times");
        assert!(shorter >= thought - 0.06, "{shorter} of gaps are below {seconds} s, {thought} of think times");
    }
}

#[test]
fn users_who_never_send_take_no_memory() {
    let workload = Chat { users: u32::MAX, requests: 300, ..CHAT }.generate(OPEN, Streams::new(14));
    let users: BTreeMap<_, _> = workload.requests().iter().map(|request| (request.session, ())).collect();
    assert_eq!(users.len(), 300, "among so many nobody comes round");
}

/// Gaps have the mean and the deviation that was asked for; a metronome has none; and at 1 it is the Poisson process itself.
#[test]
fn arrivals_are_as_bursty_as_they_are_said_to_be() {
    let count = 60_000;
    let docqa = DocumentQa { requests: count, documents: 1, ..driver::lab::Lab::default().docqa };
    for burstiness in [0.0, 0.3, 1.0, 2.0, 4.0] {
        let workload = docqa.generate(Arrivals::Renewal { rate: 8.0, burstiness }, Streams::new(3));
        let told = sim::workload::description::Description::of(&workload);
        let rate = f64::from(count - 1) / told.span.expect("it is open").as_secs_f64();
        // The mean of n gaps is off by burstiness / sqrt n; of the deviation the fourth moment decides: its excess is 6 b^2.
        let root = f64::from(count).sqrt();
        assert!((rate / 8.0 - 1.0).abs() < 3.0 * burstiness / root + 1e-6, "{burstiness}: {rate}/s");
        let error = ((2.0 + 6.0 * burstiness * burstiness) / 4.0).sqrt() / root;
        let measured = told.burstiness.expect("there are gaps");
        assert!((measured - burstiness).abs() < 3.5 * burstiness * error + 1e-6, "{measured}, not {burstiness}");
    }
    let chat =
        Chat { requests: 500, ..CHAT }.generate(Arrivals::Renewal { rate: 8.0, burstiness: 0.0 }, Streams::new(3));
    assert!(chat.requests().is_sorted_by_key(|request| request.at), "users take part as ever");
}
