//! Who sends when: an open loop is never held up, a closed one hands its slots on, turns wait for replies.

use driver::bench::pace::Pace;
use kvcache::{SessionId, Span, Time, Tokens};
use sim::extent::Extent;
use sim::workload::{Pacing, Segment, Turn, Workload};

/// Picoseconds in a millisecond.
const MS: u64 = 1_000_000_000;

fn workload(pacing: Pacing, times_ms: &[u64]) -> Workload {
    let mut workload = Workload::new(pacing);
    for (number, at) in times_ms.iter().enumerate() {
        let prompt = [Segment { id: number as u64, tokens: Tokens(8) }];
        workload.push(Time(at * MS), Some(SessionId(1)), &prompt, Tokens(4));
    }
    workload
}

/// All that is due at `now` (ms): scheduled moments in ms, and places.
fn due(pace: &mut Pace, now: u64) -> Vec<(u64, usize)> {
    std::iter::from_fn(|| pace.pop(now * 1_000_000)).map(|(at, place)| (at / 1_000_000, place)).collect()
}

#[test]
fn an_open_loop_keeps_its_times_however_late_anybody_looks() {
    let mut pace = Pace::new(&workload(Pacing::Open, &[0, 5, 5, 40]), &Extent::default(), 1_000_000_000);
    assert_eq!(due(&mut pace, 999), []);
    assert_eq!(due(&mut pace, 1000), [(1000, 0)]);
    // Nobody looked for a while: what was due then is scheduled for then, not for now.
    assert_eq!(due(&mut pace, 1030), [(1005, 1), (1005, 2)]);
    assert_eq!(pace.next(), Some(1_040_000_000));
}

#[test]
fn a_closed_loop_schedules_for_the_moment_its_slot_became_free() {
    let mut pace = Pace::new(&workload(Pacing::Closed { concurrency: 2 }, &[0; 4]), &Extent::default(), 0);
    assert_eq!(due(&mut pace, 0), [(0, 0), (0, 1)]);
    assert_eq!(pace.next(), None);
    pace.ended(1, 0, 7_000_000);
    assert_eq!(due(&mut pace, 9), [(7, 2)]);
    pace.ended(0, 0, 11_000_000);
    pace.ended(2, 0, 12_000_000);
    assert_eq!(due(&mut pace, 20), [(11, 3)]);
    assert_eq!(pace.next(), None);
}

#[test]
fn users_of_a_ramp_begin_one_after_the_other_and_nobody_after_the_end() {
    let extent = Extent { ramp: Span(40 * MS), until: Some(Time(25 * MS)), ..Extent::default() };
    let mut pace = Pace::new(&workload(Pacing::Closed { concurrency: 4 }, &[0; 9]), &extent, 0);
    assert_eq!(due(&mut pace, 100), [(0, 0), (10, 1), (20, 2)]);
}

#[test]
fn a_turn_waits_for_the_reply_and_the_gap() {
    let turn = |after, think, gap| Turn { after, think: Span(think * MS), gap: Span(gap * MS) };
    let turns = vec![turn(None, 0, 0), turn(Some(0), 10, 0), turn(Some(1), 0, 50)];
    let workload = workload(Pacing::Open, &[3, 3, 3]).in_turns(turns);
    let mut pace = Pace::new(&workload, &Extent::default(), 0);
    assert_eq!(due(&mut pace, 3), [(3, 0)]);
    pace.ended(0, 3_000_000, 8_000_000);
    assert_eq!(due(&mut pace, 30), [(18, 1)]);
    pace.ended(1, 30_000_000, 31_000_000);
    assert_eq!(due(&mut pace, 79), []);
    assert_eq!(due(&mut pace, 80), [(80, 2)]);
}

#[test]
fn who_is_stopped_sends_nothing_more() {
    let mut pace = Pace::new(&workload(Pacing::Open, &[0, 5]), &Extent::default(), 0);
    pace.stop();
    assert_eq!(due(&mut pace, 100), []);
}
