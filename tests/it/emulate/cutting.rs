//! Prompts without a tokenizer: lengths, shared prefixes, and clocks that never run backwards.

use driver::emulate::clock::{Clock, TimeScale};
use driver::emulate::tokens::{CharsPerToken, Content, Cutter};
use kvcache::{Piece, Time, Tokens};
use proptest::prelude::*;

fn cutter(chars: f64) -> Cutter {
    Cutter::new("toy", Tokens(16), CharsPerToken::try_from(chars).expect("valid"))
}

fn text(text: &str) -> Content {
    Content::Text(text.to_owned())
}

fn shared(a: &[Piece], b: &[Piece]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[test]
fn lengths() {
    for (chars, content, tokens) in [
        (4.0, text("abcd"), 1),
        (4.0, text("abcde"), 2),
        (1.5, text("\u{d55c}\u{ad6d}\u{c5b4}"), 2),
        (1.5, text("\u{d55c}\u{ad6d}\u{c5b4}\u{d55c}"), 3),
        (4.0, Content::Ids(vec![7; 5]), 5),
    ] {
        assert_eq!(cutter(chars).count(&content), Tokens(tokens), "{content:?}");
        assert_eq!(cutter(chars).cut(&content).last().map(|piece| piece.end), Some(Tokens(tokens)));
    }
    assert!(CharsPerToken::try_from(0.0).is_err() && CharsPerToken::try_from(f64::NAN).is_err());
}

proptest! {
    /// Two prompts share exactly the full blocks of the text that they share.
    #[test]
    fn a_shared_prefix_is_shared_in_full_blocks(
        prefix in "[a-c\u{d55c}]{0,300}", a in "[a-c]{1,200}", b in "[a-c]{1,200}", chars in 1_u32..6,
    ) {
        let cutter = cutter(f64::from(chars));
        let (a, b) = (format!("{prefix}x{a}"), format!("{prefix}y{b}"));
        let (pieces, others) = (cutter.cut(&text(&a)), cutter.cut(&text(&b)));
        let common = prefix.chars().count() as u32 / chars / 16;
        prop_assert_eq!(shared(&pieces, &others) as u32, common);
        prop_assert_eq!(&cutter.cut(&text(&a)), &pieces);
        prop_assert!(pieces.is_sorted_by(|one, next| one.end < next.end));
    }
}

/// A block is known by all before it, not by its own text alone.
#[test]
fn the_same_text_behind_another_past_is_another_block() {
    let same = "s".repeat(640);
    let (one, other) = (format!("{}{same}", "a".repeat(64)), format!("{}{same}", "b".repeat(64)));
    let (one, other) = (cutter(4.0).cut(&text(&one)), cutter(4.0).cut(&text(&other)));
    assert!(one.iter().zip(&other).all(|(one, other)| one.key != other.key && one.end == other.end));
}

#[test]
fn models_and_kinds_share_nothing() {
    let other = Cutter::new("other", Tokens(16), CharsPerToken::try_from(1.0).unwrap());
    let letters = text(&"a".repeat(64));
    let ids = Content::Ids(vec![u32::from('a'); 64]);
    assert_eq!(shared(&cutter(1.0).cut(&letters), &other.cut(&letters)), 0);
    assert_eq!(shared(&cutter(1.0).cut(&letters), &cutter(1.0).cut(&ids)), 0);
}

#[tokio::test(start_paused = true)]
async fn clocks_are_never_early() {
    for scale in [0.001, 0.37, 1.0, 10.0, 999_999.999] {
        let clock = Clock::starting_at(Time(5), TimeScale::try_from(scale).unwrap());
        assert_eq!(clock.now(), Time(5));
        for at in [5, 6, 1_000, 1_234_567, 98_765_432_101] {
            let wall = clock.wall(Time(at));
            let gap = wall - tokio::time::Instant::now();
            let picos = |nanos: u128| 5 + nanos * (scale * 1000.0).round() as u128;
            assert!(picos(gap.as_nanos()) >= u128::from(at), "{scale} {at}");
            assert!(gap.is_zero() || picos(gap.as_nanos() - 1) < u128::from(at), "{scale} {at}");
        }
    }
    assert!([0.0, -1.0, 2e6, f64::NAN].iter().all(|scale| TimeScale::try_from(*scale).is_err()));
}
