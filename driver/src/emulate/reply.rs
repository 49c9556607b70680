//! What an emulated model says: words without meaning, always the same for one seed, request and place.
//!
//! A reader of a stream can tell from the text alone whether a token was lost, doubled, reordered or another's.

use kvcache::PieceKey;
use kvcache::Tokens;

const ONSETS: [&str; 16] = ["b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z"];
const VOWELS: [&str; 8] = ["a", "e", "i", "o", "u", "ai", "ea", "oo"];

/// Appends the word that token `index` of request `number` is, with the space before it.
pub fn push_word(text: &mut String, seed: u64, number: u64, index: u32) {
    let mut bits = PieceKey(seed).then(Tokens(index), number).0;
    text.push(' ');
    for _ in 0..2 + bits % 2 {
        bits = bits.rotate_right(7);
        text.push_str(ONSETS[bits as usize % ONSETS.len()]);
        text.push_str(VOWELS[(bits >> 4) as usize % VOWELS.len()]);
    }
}

/// The whole reply of `tokens` tokens to request `number`.
#[must_use]
pub fn text(seed: u64, number: u64, tokens: Tokens) -> String {
    let mut text = String::new();
    for index in 0..tokens.0 {
        push_word(&mut text, seed, number, index);
    }
    text
}

/// Whether a reply could contain `stop`: replies are made of lower-case letters and spaces.
#[must_use]
pub fn could_contain(stop: &str) -> bool {
    stop.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b' ')
}
