//! The rules, one short story each.

use super::stage::{both, check, pool, tiers};
use kvcache::{Choice, Costs, Eviction, HostConfig, Span, TierConfig, TierCost, Tokens};

#[test]
fn cold() {
    // 20 tokens are two objects and a half: the half is not stored. `usage`: free, private, held, idle blocks.
    check(
        tiers(),
        "start x abcde; usage; compute x; usage; #1 copied; usage; end x; usage",
        "x 0+0, device 3 5 0 0 kept 0 host 0 0 0, #1 store 0..2 16, device 3 0 5 0 kept 0 host 0 16 0,
         copied, device 3 0 5 0 kept 0 host 16 0 0, device 3 0 0 5 kept 0 host 16 0 0",
    );
    // Pass by pass: an object goes down when its last token is there.
    check(
        tiers(),
        "start x abcde; compute x 7; compute x 9; compute x 15; compute x 20",
        "x 0+0, #1 store 0..1 8, #2 store 1..2 8",
    );
    // What the device lost, nobody need store again.
    check(tiers(), "run x abcde; #1 copied; start y abcde; compute y", "x 0+0, #1 store 0..2 16, copied, y 16+0");
}

#[test]
fn a_hit_in_the_host() {
    // While it is read, it is pinned; behind it one block is left to compute.
    check(
        tiers(),
        "run x abcde; #1 copied; flood; usage; start y abcde; usage; #2 brought 2; usage; compute y; end y; usage",
        "x 0+0, #1 store 0..2 16, copied, device 8 0 0 0 kept 0 host 16 0 0,
         y 0+16, #2 load 0..2..2 16+0, device 3 5 0 0 kept 0 host 16 0 16,
         y got 16 of it 16+0, device 3 1 4 0 kept 0 host 16 0 0, device 3 0 0 5 kept 0 host 16 0 0",
    );
    // The device has three blocks of it: object 1 is loaded whole, though half of it is there, and gains 4 tokens.
    check(
        tiers(),
        "run x abcde; #1 copied; flood; start y abc; #2 brought 1; compute y; end y; start z abcde; #3 brought 2; compute z",
        "x 0+0, #1 store 0..2 16, copied, y 0+8, #2 load 0..1..1 8+0, y got 8 of it 8+0, z 12+4, #3 load 1..2..2 8+0, z got 16 of it 4+0",
    );
}

#[test]
fn a_hit_in_the_pool_is_promoted() {
    // L1 has object 0, the pool all three: the pool is asked about what L1 lacks only, and L1 gets it on the way.
    check(
        both(),
        "start x ab; #1 has 0; start x; compute x; end x; #2 copied; #2 stored; flood;
         start y abcdefg; #3 has 3; start y; usage; #4 brought 3; usage; compute y",
        "x waits, #1 probe 0..1, x 0+0, #2 store 0..1 8 pool, copied, nothing,
         y waits, #3 probe 1..3, y 0+24, #4 load 0..1..3 8+16,
         device 1 7 0 0 kept 0 host 8 16 8, y got 24 of it 8+16, device 1 1 6 0 kept 0 host 24 0 0",
    );
    // Without L1 nothing is promoted, and what came from the pool does not go back to it.
    check(
        pool(),
        "start x ab; #1 has 0; start x; compute x; end x; #2 copied; #2 stored;
         start y abcdefg; #3 has 3; start y; #4 brought 3; compute y",
        "x waits, #1 probe 0..1, x 0+0, #2 store 0..1 0 pool, copied, nothing,
         y waits, #3 probe 1..3, y 8+16, #4 load 1..1..3 0+16, y got 24 of it 0+16",
    );
    // The pool has nothing: what is computed goes to both.
    check(both(), "start x abcd; #1 has 0; start x; compute x", "x waits, #1 probe 0..2, x 0+0, #2 store 0..2 16 pool");
}

#[test]
fn a_partial_chunk_is_an_object_of_its_own_prompt() {
    let tails = TierConfig { save_unfull_chunk: true, ..tiers() };
    // Ten tokens: an object of 8 and one of 2. Who asks the same finds both, less the token that must be computed.
    check(
        tails,
        "run x ab6; #1 copied; flood; start y ab6; #2 brought 2; compute y",
        "x 0+0, #1 store 0..2 10, copied, y 0+9, #2 load 0..2..2 10+0, y got 9 of it 9+0",
    );
    // A longer prompt and a shorter one find the full object only, and store their own tails.
    check(
        tails,
        "run x ab6; #1 copied; flood; start y ab6c; #2 brought 1; compute y; end y; flood; start z ab5",
        "x 0+0, #1 store 0..2 10, copied, y 0+8, #2 load 0..1..1 8+0, y got 8 of it 8+0, #3 store 1..2 6,
         z 0+8, #4 load 0..1..1 8+0",
    );
    // The tail is the prompt's, not the reply's.
    check(
        tails,
        "run x ab6|cd; #1 copied; flood; start y ab6|ef",
        "x 0+0, #1 store 0..2 10, copied, y 0+9, #2 load 0..2..2 10+0",
    );
}

#[test]
fn a_whole_hit_leaves_one_token() {
    // On the device the last full block is computed again; lower tiers give all but one token.
    check(
        tiers(),
        "run x abcd; #1 copied; start y abcd; #2 brought 2; end y; flood; start z abcd; #3 brought 2; usage",
        "x 0+0, #1 store 0..2 16, copied, y 12+3, #2 load 1..2..2 8+0, y got 15 of it 3+0, z 0+15, #3 load 0..2..2 16+0,
         z got 15 of it 15+0, device 4 1 3 0 kept 0 host 16 0 0",
    );
}

#[test]
fn a_short_read_is_a_prefix() {
    check(
        both(),
        "start x abcdefg; #1 has 3; start x; #2 brought 1; usage; compute x",
        "x waits, #1 probe 0..3, x 0+24, #2 load 0..0..3 0+24, x got 8 of it 0+8 short,
         device 1 5 2 0 kept 0 host 8 0 0",
    );
    // Nothing came, or nobody says what.
    let story = "start x abcdefg; #1 has 3; start x; #2 broken; usage";
    let expected = "x waits, #1 probe 0..3, x 0+24, #2 load 0..0..3 0+24, x got 0 of it 0+0 short,
                    device 1 7 0 0 kept 0 host 0 0 0";
    check(both(), story, expected);
    check(both(), &story.replace("broken", "copied"), expected);
    check(both(), &story.replace("broken", "unreachable"), expected);
}

#[test]
fn blocks_stay_until_the_load_has_ended() {
    // x is cancelled; its five blocks are nobody's until the load ends, and then hold nothing.
    check(
        tiers(),
        "run w abcde; #1 copied; flood; start x abcde; end x; usage; start y ghij; #2 brought 2; usage; start y; #2 brought 2",
        "w 0+0, #1 store 0..2 16, copied, x 0+16, #2 load 0..2..2 16+0, device 3 5 0 0 kept 5 host 16 0 16,
         y needs 4 blocks, only 3 blocks available, room, device 8 0 0 0 kept 0 host 16 0 0, y 0+0, nothing",
    );
    // A load that is late is given up after a second: x goes on without, and what comes then is for L1 alone.
    check(
        both(),
        "start x abcd; #1 has 2; start x; wait 1; late; compute x; end x; usage; #2 brought 1; usage",
        "x waits, #1 probe 0..2, x 0+15, #2 load 0..0..2 0+16, x got 0 of it 0+0 short,
         device 4 0 4 0 kept 0 host 0 16 0, room, device 4 0 0 4 kept 0 host 8 0 0",
    );
}

#[test]
fn one_prefix_is_loaded_once() {
    // y waits for x's load and finds the device full of it; z needs what x does not load.
    check(
        tiers(),
        "run w abcd; #1 copied; flood; start x abc; start y abcd; start z efg; #2 brought 1; start y",
        "w 0+0, #1 store 0..2 16, copied, x 0+8, #2 load 0..1..1 8+0, y waits, z 0+0, x got 8 of it 8+0,
         y 8+7, #3 load 1..2..2 8+0",
    );
    // Nobody waits for a load that was given up.
    check(
        tiers(),
        "run w abcd; #1 copied; flood; start x abc; wait 1; late; start y abcd",
        "w 0+0, #1 store 0..2 16, copied, x 0+8, #2 load 0..1..1 8+0, x got 0 of it 0+0 short, y 0+15,
         #3 load 0..2..2 16+0",
    );
}

#[test]
fn a_store_never_waits_for_room() {
    // Two of six objects' room: the third finds none, since what is being written stays.
    let mut small = tiers();
    small.host = small.host.map(|host| HostConfig { capacity: 23, ..host });
    check(
        small,
        "start x abcdef; compute x; usage; #1 copied; usage; end x; flood; start y abcdef",
        "x 0+0, #1 store 0..3 16 upto 2, device 2 0 6 0 kept 0 host 0 16 0, copied, device 2 0 6 0 kept 0 host 16 0 0,
         y 0+16, #2 load 0..2..2 16+0",
    );
    // Room for none, and nowhere else to go: nothing is done. With a pool, the store goes there.
    small.host = small.host.map(|host| HostConfig { capacity: 7, ..host });
    check(small, "start x abcdef; compute x; usage", "x 0+0, device 2 0 6 0 kept 0 host 0 0 0");
    small.pool = true;
    check(small, "start x abcdef; #1 has 0; start x; compute x", "x waits, #1 probe 0..3, x 0+0, #2 store 0..3 0 pool");
    // A store that failed leaves nothing behind.
    check(
        tiers(),
        "start x abcd; compute x; #1 broken; usage; #1 copied",
        "x 0+0, #1 store 0..2 16, copied, device 4 0 4 0 kept 0 host 0 0 0, nothing",
    );
}

#[test]
fn replies_are_stored_where_they_are_to_be() {
    let story = "start x abc|defg; compute x 12; compute x 20; compute x 28";
    check(tiers(), story, "x 0+0, #1 store 0..1 8");
    let replies = TierConfig { save_decode_cache: true, ..tiers() };
    check(replies, story, "x 0+0, #1 store 0..1 8, #2 store 1..2 8, #3 store 2..3 8");
}

#[test]
fn too_little_is_not_worth_a_load() {
    let picky = TierConfig { min_retrieve: Tokens(9), ..tiers() };
    check(
        picky,
        "run x abcdef; #1 copied; flood; start y abc; end y; start z abcde",
        "x 0+0, #1 store 0..3 24, copied, y 0+0, z 0+16, #2 load 0..2..2 16+0",
    );
    // L1 has object 0: too little alone, though it would gain 80 ps. Two objects would still gain 48 ps, three 16 ps: all
    // are loaded, or where that gains nothing, none. Nobody wants more of L2 only to get over a threshold.
    let dear = |per_token: u64| {
        let pool = TierCost { fixed: Span(0), per_token: Span(per_token) };
        let costs = Costs { new_token: Span(10), pool, ..Costs::default() };
        TierConfig { pool: true, choice: Choice::ByCost(costs), ..picky }
    };
    let story = "start x ab; compute x; end x; #1 copied; #1 stored; flood; start y abcdefg";
    let begin = "x 0+0, #1 store 0..1 8 pool, copied, nothing";
    let all = format!("{begin}, y waits, #2 probe 1..3, y 0+24, #3 load 0..1..3 8+16");
    check(dear(14), &format!("{story}; #2 has 3; start y"), &all);
    check(dear(15), story, &format!("{begin}, y 0+0"));
}

#[test]
fn a_store_may_come_before_the_end_of_its_pass() {
    // What was stored is not stored again; what was not, is.
    check(
        tiers(),
        "start x abcde; store x 8; #1 copied; usage; compute x; usage; end x; flood; start y abcde",
        "x 0+0, #1 store 0..1 8, copied, device 3 5 0 0 kept 0 host 8 0 0, #2 store 1..2 8,
         device 3 0 5 0 kept 0 host 8 8 0, y 0+8, #3 load 0..1..1 8+0",
    );
    check(
        tiers(),
        "start x abcde; store x 20; store x 20; compute x; #1 copied; usage",
        "x 0+0, #1 store 0..2 16, copied, device 3 0 5 0 kept 0 host 16 0 0",
    );
    // Its request may go before the pass ends: L1 has what the device has not.
    check(
        tiers(),
        "start x abcde; store x 20; end x; #1 copied; usage; start y abcde",
        "x 0+0, #1 store 0..2 16, copied, device 8 0 0 0 kept 0 host 16 0 0, y 0+16, #2 load 0..2..2 16+0",
    );
}

/// x has a block on the device and waits for the two objects that L1 has.
const AWAITED: &str = "start w abcde; compute w; #1 copied; end w; flood; start v a; compute v; end v; start x abcde";

#[test]
#[should_panic(expected = "only what has come is committed")]
fn what_is_still_to_come_is_not_committed() {
    check(tiers(), &format!("{AWAITED}; compute x 5"), "");
}

#[test]
#[should_panic(expected = "only what has come is committed")]
fn what_is_still_to_come_is_not_stored() {
    check(tiers(), &format!("{AWAITED}; store x 20"), "");
}

#[test]
fn what_has_come_is_committed() {
    let begin = "w 0+0, #1 store 0..2 16, copied, v 0+0, x 4+12, #2 load 0..2..2 16+0";
    // What the device had is there whatever comes; so is what was computed once nobody waits any more.
    check(tiers(), &format!("{AWAITED}; compute x 4; usage"), &format!("{begin}, device 3 4 1 0 kept 0 host 16 0 16"));
    check(
        tiers(),
        &format!("{AWAITED}; wait 1; late; compute x; usage"),
        &format!("{begin}, x got 4 of it 0+0 short, device 3 0 5 0 kept 0 host 16 0 16"),
    );
}

#[test]
fn a_question_asked_ahead_is_all_there_is() {
    let costs = Costs { new_token: Span(1000), ..Costs::default() };
    let by_cost = TierConfig { choice: Choice::ByCost(costs), ..both() };
    // Asked once: when its turn comes, the answer is there, or waited for.
    check(by_cost, "ahead x abcde; start x; #1 has 2; start x", "#1 probe 0..2, x waits, x 0+16, #2 load 0..0..2 0+16");
    // While another loads the same, there is nothing to ask; who cannot do without the answer, or has no pool, asks nothing.
    check(
        by_cost,
        "ahead x abcde; #1 has 2; start x; ahead y abcde; #2 brought 2; start y",
        "#1 probe 0..2, x 0+16, #2 load 0..0..2 0+16, x got 16 of it 0+16, y 16+0",
    );
    check(both(), "ahead x abcde", "");
    check(TierConfig { pool: false, ..by_cost }, "ahead x abcde", "");
}

#[test]
fn a_pool_that_never_had_anything_is_still_asked_where_much_is_to_be_gained() {
    let costs = Costs { new_token: Span(1000), ..Costs::default() };
    let by_cost = TierConfig { choice: Choice::ByCost(costs), ..pool() };
    let story: Vec<_> = (1..=40).map(|op| format!("start x abc; #{op} has 0; start x; end x")).collect();
    let expected: Vec<_> = (1..=40).map(|op| format!("x waits, #{op} probe 0..1, x 0+0")).collect();
    check(by_cost, &story.join(";"), &expected.join(", "));
}

#[test]
fn the_host_is_told_the_time() {
    // Two objects' room and counters that decay: a was used once more than c, but that is ten minutes ago.
    let mut aging = tiers();
    aging.host = aging.host.map(|host| HostConfig { capacity: 16, eviction: Eviction::Lfu, ..host });
    let story = |seconds: u64| {
        format!(
            "run x ab; #1 copied; flood; start y ab; #2 brought 1; end y; flood; wait {seconds}; run w cd; #3 copied;
             run v ef; #4 copied; flood; start u ab; start t cd"
        )
    };
    let begin = "x 0+0, #1 store 0..1 8, copied, y 0+7, #2 load 0..1..1 8+0, y got 7 of it 7+0, w 0+0,
                 #3 store 0..1 8, copied, v 0+0, #4 store 0..1 8, copied,";
    check(aging, &story(600), &format!("{begin} u 0+0, t 0+7, #5 load 0..1..1 8+0"));
    check(aging, &story(1), &format!("{begin} u 0+7, #5 load 0..1..1 8+0, t 0+0"));
    // What is stored is there when it is copied, ten minutes after it was sent on its way: a had two uses two minutes ago.
    check(
        aging,
        "start w cd; compute w; wait 480; run x ab; #2 copied; flood; start y ab; #3 brought 1; end y; wait 120; #1 copied;
         end w; run v ef; #4 copied; flood; start u ab; start t cd",
        "w 0+0, #1 store 0..1 8, x 0+0, #2 store 0..1 8, copied, y 0+7, #3 load 0..1..1 8+0, y got 7 of it 7+0, copied,
         v 0+0, #4 store 0..1 8, copied, u 0+0, t 0+7, #5 load 0..1..1 8+0",
    );
    // A load is a use when it ends: then c has not been used for five minutes, however the dice fall.
    for seed in 0..8 {
        aging.host = aging.host.map(|host| HostConfig { seed, ..host });
        check(
            aging,
            "run x ab; #1 copied; flood; start y ab; wait 300; run w cd; #3 copied; wait 300; #2 brought 1; end y; flood;
             run v ef; #4 copied; flood; start u ab; start t cd",
            "x 0+0, #1 store 0..1 8, copied, y 0+7, #2 load 0..1..1 8+0, w 0+0, #3 store 0..1 8, copied,
             y got 7 of it 7+0, v 0+0, #4 store 0..1 8, copied, u 0+7, #5 load 0..1..1 8+0, t 0+0",
        );
    }
}

#[test]
fn a_restart_empties_device_and_host() {
    // A copy is under way, another has been made; neither changes anything any more, and numbers go on.
    check(
        both(),
        "start x ab; #1 has 0; start x; compute x; #2 copied; start y cd; #3 has 0; start y; compute y; usage; restart; usage;
         #2 stored; #4 copied; #4 stored; usage; start z abcd",
        "x waits, #1 probe 0..1, x 0+0, #2 store 0..1 8 pool, copied, y waits, #3 probe 0..1, y 0+0, #4 store 0..1 8 pool,
         device 4 0 4 0 kept 0 host 8 8 0, device 8 0 0 0 kept 0 host 0 0 0,
         nothing, nothing, nothing, device 8 0 0 0 kept 0 host 0 0 0, z waits, #5 probe 0..2",
    );
    // x is loaded for, and w was: what the loads kept comes free. Nobody waits for the answer to y's question.
    check(
        both(),
        "start x abcd; #1 has 2; start x; start w efg; #3 has 1; start w; end w; start y hi; usage; restart; usage;
         #2 brought 2; #4 brought 1; #5 has 1; usage; start z abcd",
        "x waits, #1 probe 0..2, x 0+15, #2 load 0..0..2 0+16, w waits, #3 probe 0..1, w 0+8, #4 load 0..0..1 0+8,
         y waits, #5 probe 0..1, device 1 7 0 0 kept 3 host 0 24 0, device 8 0 0 0 kept 0 host 0 0 0,
         nothing, nothing, nothing, device 8 0 0 0 kept 0 host 0 0 0, z waits, #6 probe 0..2",
    );
}

#[test]
fn a_restart_forgets_who_could_not_be_reached() {
    // Two failures leave the pool alone: w computes without asking. After a restart z asks.
    check(
        pool(),
        "start x ab; #1 unreachable; start y cd; #2 unreachable; start w ef; end w; restart; start z ab",
        "x waits, #1 probe 0..1, y waits, #2 probe 0..1, w 0+0, z waits, #3 probe 0..1",
    );
}

#[test]
#[should_panic(expected = "requests must let go before the worker restarts")]
fn a_restart_waits_for_those_who_are_loaded_for() {
    check(both(), "start x abcd; #1 has 2; start x; restart at once", "");
}
