//! Who waits for whose reply: users who think, and sessions with times of their own.

use super::*;
use crate::tiers::world::World;
use router::Api;
use sim::cost::{CostModel, Segment as Line, Shape};
use sim::ledger::Ledger;
use sim::simulate::{Path, simulate};
use sim::workload::{Segment, Turn};

/// A pass lasts the same whatever it computes.
struct Constant(Span);

impl CostModel for Constant {
    fn segment(&self, _: &Shape) -> Line {
        Line::line(self.0, Span::ZERO)
    }
}

/// Workers of `seats` seats each, whose passes last `pass`.
fn run(workload: &Workload, pass: Span, seats: u32, latency: Span) -> Ledger {
    let mut world = World::new(2, 1 << 20);
    world.engine.max_num_seqs = seats;
    world.engine.max_num_batched_tokens = Tokens(1 << 20);
    world.engine.max_model_len = Tokens(1 << 20);
    let mut cluster = world.cluster(Constant(pass));
    let path = Path { latency, api: Api::Completions, names_session: true };
    let ledger = simulate(workload, &mut cluster, path, |_| {}).expect("it ends in time");
    ledger.check();
    cluster.check();
    ledger
}

/// When each request of the list was sent, and when its reply was complete.
fn told(workload: &Workload, ledger: &Ledger) -> Vec<(Time, Time)> {
    let mut told = vec![None; workload.requests().len()];
    for (number, record) in ledger.records().iter().enumerate() {
        let place = ledger.place(number);
        let request = &workload.requests()[place];
        assert_eq!((record.prompt, record.output), (request.prompt, request.output), "each is itself");
        let ended = record.last_token.expect("every request completes");
        assert_eq!(told[place].replace((record.sent, ended)), None, "each is sent once");
    }
    told.into_iter().map(|times| times.expect("each is sent")).collect()
}

/// The law of turns, to the picosecond, and that numbers are in order of arrival.
fn keeps_the_law(workload: &Workload, ledger: &Ledger) {
    assert_eq!(workload.pacing(), Pacing::Turns);
    let told = told(workload, ledger);
    for (place, (turn, (sent, _))) in workload.turns().iter().zip(&told).enumerate() {
        let due = match turn.after {
            None => workload.requests()[place].at,
            Some(before) => {
                let (sent, ended) = told[before as usize];
                Time((ended.0 + turn.think.0).max(sent.0 + turn.gap.0))
            }
        };
        assert_eq!(*sent, due, "request {place}");
    }
    assert!(ledger.records().is_sorted_by_key(|record| (record.arrived, record.sent)));
}

#[test]
fn users_wait_for_the_reply_and_think() {
    for (seed, pass) in [(1, Span::from_micros(1)), (2, Span::from_millis(40)), (3, Span::from_secs(2))] {
        for (name, workload) in all(USERS, seed) {
            let ledger = run(&workload, pass, 4, Span::from_millis(5));
            keeps_the_law(&workload, &ledger);
            // Seven users, each of whom has one request at a time.
            let told = told(&workload, &ledger);
            let users: Vec<_> = workload.requests().iter().map(|request| request.session).collect();
            for user in 0..7 {
                let own: Vec<_> = (0..users.len()).filter(|place| users[*place] == Some(SessionId(user))).collect();
                assert!(own.windows(2).all(|pair| told[pair[0]].1 <= told[pair[1]].0), "{name}: one at a time");
                assert_eq!(own.len(), users.len() / 7 + usize::from((user as usize) < users.len() % 7), "{name}");
            }
        }
    }
}

/// One user alone: throughput is 1 / (response + think), by the response time law.
#[test]
fn the_response_time_law_of_an_interactive_system() {
    for users in [1_u32, 3, 20] {
        let unrelated = Unrelated { requests: 20_000, answer: Tokens(1), spread: 0.0, ..UNRELATED };
        let think = Span::from_secs(2);
        let workload = unrelated.generate(Arrivals::Users { users, think }, Streams::new(9));
        let ledger = run(&workload, Span::from_millis(100), 1, Span::ZERO);
        let told = told(&workload, &ledger);
        // While all users are there: until the first has had all its turns.
        let last = |user: usize| told.iter().skip(user).step_by(users as usize).map(|(_, ended)| ended.0).max();
        let until = (0..users as usize).filter_map(last).min().expect("there are users");
        let done: Vec<_> = told.iter().filter(|(_, ended)| ended.0 <= until).collect();
        let response =
            done.iter().map(|(sent, ended)| ended.since(*sent).as_secs_f64()).sum::<f64>() / done.len() as f64;
        let throughput = done.len() as f64 / (until as f64 / 1e12);
        let expected = f64::from(users) / (response + 2.0);
        println!("{users} users: {throughput:.4}/s, by the law {expected:.4}/s, response {response:.4} s");
        // Think times average out within 1 / sqrt 20000.
        assert!((throughput / expected - 1.0).abs() < 0.02, "{throughput} against {expected}");
    }
}

fn recorded() -> Workload {
    let mut workload = Workload::new(Pacing::Open);
    let at = |seconds| Time(Span::from_secs(seconds).0);
    let segment = |id| [Segment { id, tokens: Tokens(100) }];
    for (seconds, session, id) in
        [(0, Some(1), 1), (1, Some(2), 2), (4, Some(1), 3), (4, None, 4), (5, Some(1), 5), (9, Some(2), 6)]
    {
        workload.push(at(seconds), session.map(SessionId), &segment(id), Tokens(10));
    }
    workload
}

/// On workers as fast as can be the trace comes as it was recorded; on slow ones a session falls behind as a whole.
#[test]
fn a_traces_sessions_wait_for_replies_and_keep_their_gaps() {
    let waiting = recorded().waiting();
    let after: Vec<_> = waiting.turns().iter().map(|turn| turn.after).collect();
    assert_eq!(after, [None, None, Some(0), None, Some(2), Some(1)]);
    let seconds = |span: u64| Time(Span::from_secs(span).0);
    let fast = run(&waiting, Span::from_micros(1), 8, Span::ZERO);
    keeps_the_law(&waiting, &fast);
    let sent: Vec<Time> = told(&waiting, &fast).iter().map(|(sent, _)| *sent).collect();
    assert_eq!(sent, [0, 1, 4, 4, 5, 9].map(seconds));
    // Ten passes of 300 ms: the reply to the third request, sent at 4, is there at 7, and so is its session's next.
    let slow = run(&waiting, Span::from_millis(300), 8, Span::ZERO);
    keeps_the_law(&waiting, &slow);
    let sent: Vec<Time> = told(&waiting, &slow).iter().map(|(sent, _)| *sent).collect();
    assert_eq!(sent[..4], [0, 1, 4, 4].map(seconds));
    assert!(sent[4] >= seconds(7) && sent[5] == seconds(9), "{sent:?}");
    // Speed applies to gaps, too; fewer requests are the beginning.
    let quick = recorded().waiting().sped_up(2.0);
    assert_eq!(quick.turns()[2].gap, Span::from_secs(2));
    assert_eq!(recorded().waiting().first(3).turns().len(), 3);
    keeps_the_law(&quick, &run(&quick, Span::from_millis(300), 8, Span::from_millis(5)));
}

#[test]
fn random_turns_keep_the_law() {
    let mut stream = Streams::new(31).named("turns");
    for _ in 0..60 {
        let (mut workload, mut turns) = (Workload::new(Pacing::Open), Vec::new());
        let (mut at, mut free) = (Time::ZERO, Vec::new());
        for place in 0..200_u32 {
            let after = (stream.below(4) > 0 && !free.is_empty())
                .then(|| free.swap_remove(stream.below(free.len() as u64) as usize));
            if after.is_none() {
                at += Span::from_millis(stream.below(300));
            }
            free.push(place);
            let prompt = [Segment { id: u64::from(place), tokens: Tokens(1 + stream.below(90) as u32) }];
            workload.push(at, None, &prompt, Tokens(stream.below(9) as u32 + 1));
            let span = |stream: &mut sim::streams::Stream| Span::from_millis(stream.below(3) * stream.below(400));
            turns.push(Turn { after, think: span(&mut stream), gap: span(&mut stream) });
        }
        let workload = workload.in_turns(turns);
        let latency = Span::from_millis(stream.below(2) * 7);
        keeps_the_law(&workload, &run(&workload, Span::from_millis(1 + stream.below(50)), 3, latency));
    }
}

#[test]
#[should_panic(expected = "one reply begins one turn")]
fn two_cannot_wait_for_one_reply() {
    let turn = |after| Turn { after, ..Turn::default() };
    let turns = vec![turn(None), turn(Some(0)), turn(Some(0))];
    let _ = recorded().first(3).in_turns(turns);
}
