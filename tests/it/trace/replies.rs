//! Replies that the next prompt repeats: `output_hash_ids` name their blocks.

use super::parse;
use kvcache::{ChainBuilder, Piece, Tokens};
use sim::workload::Workload;
use sim::workload::description::Description;

fn line(input: u32, output: u32, ids: &[u64], replied: &[u64]) -> String {
    let replied = if replied.is_empty() { String::new() } else { format!(", \"output_hash_ids\": {replied:?}") };
    format!(
        "{{\"timestamp\": 0, \"block_size\": 64, \"input_length\": {input}, \"output_length\": {output}, \"hash_ids\": {ids:?}{replied}}}\n"
    )
}

fn chains(workload: &Workload) -> Vec<Vec<Piece>> {
    let chain = |request| {
        let mut chain = ChainBuilder::new();
        workload.chain(request, &mut chain);
        chain.pieces().to_vec()
    };
    workload.requests().iter().map(chain).collect()
}

/// Tokens that two chains have in common, as they begin.
fn common(one: &[Piece], other: &[Piece]) -> u32 {
    one.iter().zip(other).take_while(|(a, b)| a.key == b.key).last().map_or(0, |(a, b)| a.end.min(b.end).0)
}

/// A prompt of 100 tokens and a reply of 150 are blocks 1, 3 (in which the prompt ends), 4, and 5, of 58 tokens. The next
/// prompt repeats them; its fourth block goes on, and so is another.
#[test]
fn a_next_turn_finds_the_reply_up_to_its_last_whole_block() {
    let text = line(100, 150, &[1, 2], &[3, 4, 5]) + &line(300, 5, &[1, 3, 4, 6, 7], &[]);
    let workload = parse(&text).expect("it is valid");
    let all = chains(&workload);
    assert_eq!(common(&all[0], &all[1]), 192);
    assert_eq!(workload.requests()[0].prompt, Tokens(100));
    let ends: Vec<u32> = all[0].iter().map(|piece| piece.end.0).collect();
    assert_eq!(ends, [64, 100, 128, 192, 250], "a piece ends where the prompt does");
    assert_eq!(Description::of(&workload).reusable_tokens, 192);
    // Without the reply's names, only the prompt's whole block is found; so it was in every trace before.
    let bare = parse(&(line(100, 150, &[1, 2], &[]) + &line(300, 5, &[1, 3, 4, 6, 7], &[]))).expect("it is valid");
    assert_eq!(Description::of(&bare).reusable_tokens, 64);
    // Who sends the same prompt again has all of it, whatever the reply.
    let again = parse(&(line(100, 150, &[1, 2], &[3, 4, 5]) + &line(100, 9, &[1, 2], &[]))).expect("it is valid");
    assert_eq!(Description::of(&again).reusable_tokens, 100);
}

#[test]
fn a_block_that_ends_with_the_prompt_needs_no_cut() {
    let text = line(128, 64, &[1, 2], &[3]) + &line(200, 5, &[1, 2, 3, 4], &[]);
    let workload = parse(&text).expect("it is valid");
    assert_eq!(common(&chains(&workload)[0], &chains(&workload)[1]), 192);
    // A reply within the block in which the prompt ends.
    let short = parse(&(line(70, 20, &[1, 2], &[3]) + &line(95, 5, &[1, 3], &[]))).expect("it is valid");
    assert_eq!(common(&chains(&short)[0], &chains(&short)[1]), 90);
}

#[test]
fn a_reply_that_is_not_covered_is_refused() {
    for replied in [&[3, 4][..], &[3, 4, 5, 6]] {
        let error = parse(&line(100, 150, &[1, 2], replied)).expect_err("it covers something else");
        assert!(error.problem.contains("output_hash_ids do not cover the reply") && error.line == 1, "{error}");
    }
    let error = parse(&line(100, 150, &[1, 2], &[3, 4, 5]).replace("[3,", "[-3,")).expect_err("it is negative");
    assert!(error.problem.contains("output_hash_ids contain -3"), "{error}");
}
