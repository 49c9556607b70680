//! A pool that is short, refuses, or says nothing: what the request gets, what L1 gets, and what the breaker hears.

use super::stage::{both, check, pool};
use kvcache::{BreakerConfig, TierConfig};

/// How many failures open it.
fn opens_after(failures: u32, tiers: TierConfig) -> TierConfig {
    TierConfig { breaker: BreakerConfig { failures, ..BreakerConfig::default() }, ..tiers }
}

#[test]
fn what_l1_got_counts_even_where_the_device_got_less() {
    // A load of three objects from L2, cut short on the device after the first.
    let begin = "x waits, #1 probe 0..3, x 0+24, #2 load 0..0..3 0+24,";
    for (came, in_host) in [
        ("brought 1 host 3", 24),
        ("brought 1 host 2", 16),
        ("brought 1", 8),
        ("brought 1 host 0", 8), // no less than the device
        ("brought 1 host 9", 24),
        ("brought 1 host 3 silence", 24),
        ("brought 1 host 3 refused", 24),
    ] {
        check(
            both(),
            &format!("start x abcdefg; #1 has 3; start x; #2 {came}; usage"),
            &format!("{begin} x got 8 of it 0+8 short, device 1 5 2 0 kept 0 host {in_host} 0 0"),
        );
    }
    // The next one finds all of it there, and asks nobody.
    check(
        both(),
        "start x abcdefg; #1 has 3; start x; #2 brought 0 host 3; end x; start y abcdefg",
        &format!("{begin} x got 0 of it 0+0 short, y 0+24, #3 load 0..3..3 24+0"),
    );
    // So it is where nobody waits any more.
    check(
        both(),
        "start x abcdefg; #1 has 3; start x; end x; #2 brought 1 host 3; usage",
        &format!("{begin} room, device 8 0 0 0 kept 0 host 24 0 0"),
    );
    check(
        both(),
        "start x abcdefg; #1 has 3; start x; wait 1; late; #2 brought 1 host 2; usage",
        &format!("{begin} x got 0 of it 0+0 short, nothing, device 1 7 0 0 kept 0 host 16 0 0"),
    );
    // A load that failed brought nothing anywhere.
    check(
        both(),
        "start x abcdefg; #1 has 3; start x; #2 silence; usage",
        &format!("{begin} x got 0 of it 0+0 short, device 1 7 0 0 kept 0 host 0 0 0"),
    );
}

#[test]
fn a_pool_that_cannot_be_reached_is_left_alone() {
    // Two failures open the breaker for five seconds; then one question is let through, and its answer closes it.
    check(
        pool(),
        "start x abc; #1 unreachable; start x; compute x; #2 unreachable; start y def; end y; wait 5; start z ghi;
         start v jkl; #3 has 0; start w mno",
        "x waits, #1 probe 0..1, x 0+0, #2 store 0..1 0 pool, copied, y 0+0, z waits, #3 probe 0..1, v 0+0,
         w waits, #4 probe 0..1",
    );
}

/// Three requests whose loads end so, and what becomes of a fourth.
fn three_loads(wait: &str, ends: [&str; 3], fourth: &str) {
    let [x, y, z] = ends;
    check(
        opens_after(3, pool()),
        &format!(
            "start x ab; start y cd; start z ef; #1 has 1; #2 has 1; #3 has 1; start x; start y; start z; wait {wait};
             #4 {x}; #5 {y}; #6 {z}; start w gh"
        ),
        &format!(
            "x waits, #1 probe 0..1, y waits, #2 probe 0..1, z waits, #3 probe 0..1, x 0+7, #4 load 0..0..1 0+8,
             y 0+7, #5 load 0..0..1 0+8, z 0+7, #6 load 0..0..1 0+8, x got 0 of it 0+0 short,
             y got 0 of it 0+0 short, z got 0 of it 0+0 short, {fourth}"
        ),
    );
}

#[test]
fn a_long_silence_is_a_failure() {
    let (alone, asked) = ("w 0+0", "w waits, #7 probe 0..1");
    three_loads("1.1", ["silence"; 3], alone);
    three_loads("1.1", ["brought 0 silence"; 3], alone);
    three_loads("1", ["silence"; 3], alone);
    three_loads("0.999", ["silence"; 3], asked);
    three_loads("0.2", ["silence"; 3], asked);
    three_loads("0.2", ["brought 0 silence"; 3], asked);
    three_loads("0.2", ["unreachable"; 3], alone);
    three_loads("0.2", ["brought 0 refused"; 3], alone);
    // Whoever answered between them is there.
    three_loads("1.1", ["silence", "brought 0", "silence"], asked);
    three_loads("1.1", ["silence", "broken", "silence"], asked);
    // What broke may have broken on this side: it is no answer either.
    three_loads("0", ["unreachable"; 3], alone);
    check(
        opens_after(2, pool()),
        "start x ab; start y cd; start z ef; #1 unreachable; #2 broken; #3 unreachable; start w gh",
        "x waits, #1 probe 0..1, y waits, #2 probe 0..1, z waits, #3 probe 0..1, w 0+0",
    );
}

#[test]
fn who_was_not_asked_and_who_did_not_wait_say_nothing() {
    // Of two failures and something between them, the second opens it, unless that was an answer.
    let between = |outcome: &str, wait: &str, end: &str| {
        check(
            opens_after(2, pool()),
            &format!(
                "start x ab; start y cd; start z ef; #1 has 1; #2 has 1; #3 has 1; start x; #4 unreachable; start y;
                 wait {wait}; #5 {outcome}; start z; #6 unreachable; end x; end y; start w gh"
            ),
            &format!(
                "x waits, #1 probe 0..1, y waits, #2 probe 0..1, z waits, #3 probe 0..1, x 0+7, #4 load 0..0..1 0+8,
                 x got 0 of it 0+0 short, y 0+7, #5 load 0..0..1 0+8, y got 0 of it 0+0 short, z 0+7,
                 #6 load 0..0..1 0+8, z got 0 of it 0+0 short, {end}"
            ),
        );
    };
    let (alone, asked) = ("w 0+0", "w waits, #7 probe 0..1");
    between("brought 0 unasked", "2", alone);
    between("brought 0 silence", "0.5", alone);
    between("silence", "0.5", alone);
    between("brought 0", "0.5", asked);
    // What L1 has, comes without a word of the pool.
    check(
        opens_after(1, both()),
        "start x ab; #1 has 0; start x; compute x; end x; #2 copied; #2 stored; flood; start y ab; #3 brought 1 refused;
         start z cd",
        "x waits, #1 probe 0..1, x 0+0, #2 store 0..1 8 pool, copied, nothing, y 0+7, #3 load 0..1..1 8+0,
         y got 7 of it 7+0, z waits, #4 probe 0..1",
    );
    // Nor does a store to L1 alone.
    check(
        opens_after(1, both()),
        "start x ab; #1 unreachable; start x; compute x; end x; #2 copied; wait 1; start y cd; wait 4; start z ef",
        "x waits, #1 probe 0..1, x 0+0, #2 store 0..1 8, copied, y 0+0, z waits, #3 probe 0..1",
    );
}

#[test]
fn questions_and_stores_time_out_too() {
    // A question without an answer: what is known by then counts. Long enough, it is a failure.
    let asked = "start x ab; wait SECONDS; #1 silence; start x; start y cd";
    let begin = "x waits, #1 probe 0..1, x 0+0,";
    check(opens_after(1, pool()), &asked.replace("SECONDS", "1"), &format!("{begin} y 0+0"));
    check(opens_after(1, pool()), &asked.replace("SECONDS", "0.9"), &format!("{begin} y waits, #2 probe 0..1"));
    // A store is silent since it was copied: before that nobody asked the pool.
    let stored = "start x ab; #1 has 0; start x; compute x; wait 0.9; #2 copied; wait SECONDS; #2 silence; usage;
                  start y cd";
    let begin =
        "x waits, #1 probe 0..1, x 0+0, #2 store 0..1 8 pool, copied, nothing, device 6 0 2 0 kept 0 host 8 0 0,";
    check(opens_after(1, both()), &stored.replace("SECONDS", "1"), &format!("{begin} y 0+0"));
    check(opens_after(1, both()), &stored.replace("SECONDS", "0.9"), &format!("{begin} y waits, #3 probe 0..1"));
    // One that was never copied is in L1 neither, and the pool did nothing wrong.
    check(
        opens_after(1, both()),
        "start x ab; #1 has 0; start x; compute x; wait 2; #2 silence; usage; start y cd",
        "x waits, #1 probe 0..1, x 0+0, #2 store 0..1 8 pool, copied, device 6 0 2 0 kept 0 host 0 0 0, y waits,
         #3 probe 0..1",
    );
}

#[test]
fn the_part_from_l1_comes_though_the_pool_refuses() {
    // L1 has object 0, the pool the other two, and then refuses: x gets 8 tokens, and it was a failure.
    let story =
        "start w ab; #1 has 0; start w; compute w; end w; #2 copied; #2 stored; flood; start x abcdefg; #3 has 3;
                 start x; #4 brought 1 WORD; usage; end x; start y hi";
    let begin = "w waits, #1 probe 0..1, w 0+0, #2 store 0..1 8 pool, copied, nothing, x waits, #3 probe 1..3, x 0+24,
                 #4 load 0..1..3 8+16, x got 8 of it 8+0 short, device 1 5 2 0 kept 0 host 8 0 0,";
    let asked = "y waits, #5 probe 0..1";
    for (word, end) in [("refused", "y 0+0"), ("", asked), ("unasked", asked), ("silence", asked)] {
        check(opens_after(1, both()), &story.replace("WORD", word), &format!("{begin} {end}"));
    }
}

/// The pool has y's object, and then refuses x: while it is left alone, nothing is loaded from it either.
#[test]
fn who_is_left_alone_is_not_loaded_from() {
    check(
        opens_after(1, pool()),
        "start x ab; start y cd; #1 has 1; #2 has 1; start x; #3 unreachable; start y",
        "x waits, #1 probe 0..1, y waits, #2 probe 0..1, x 0+7, #3 load 0..0..1 0+8, x got 0 of it 0+0 short, y 0+0",
    );
}
