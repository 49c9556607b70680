//! What was seen, as a trace: one JSON object per line with `timestamp`, `input_length`, `output_length` and `hash_ids`, as
//! Mooncake's, and beside them `block_size`, `session_id`, and `output_hash_ids`: the
//! blocks of prompt and reply together from the one on in which the prompt ends, so that a next turn finds the reply again.

use super::Seen;
use super::content::Content;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sim::workload::TraceError;

/// Characters of a token where no usage tells.
const CHARS_PER_TOKEN: f64 = 4.0;
/// What languages have; below it most of the text is not in the log.
const PLAUSIBLE: std::ops::RangeInclusive<f64> = 0.3..=20.0;
/// Seconds that a trace may span.
const LONGEST: f64 = 100.0 * 86_400.0;
/// Numbers that every reader of JSON keeps exactly.
const BITS: u32 = 53;

/// How a trace is written.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What hashes are salted with.
    pub salt: Vec<u8>,
    /// Tokens in a block.
    pub block: u32,
}

/// A trace, and how much of it was not in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// Its lines.
    pub text: String,
    /// Requests.
    pub requests: usize,
    /// Of those, whose prompt's tokens were counted by the log.
    pub counted: usize,
    /// Whose reply is as long as its text makes it.
    pub estimated: usize,
    /// Whose prompt's text is less than half of what its tokens would be: most of it is not in the log.
    pub unseen: usize,
    /// Whose reply's length is its limit, since nothing else tells.
    pub limited: usize,
    /// Whose reply's length is the median of the others, since not even that does.
    pub guessed: usize,
    /// Characters of a token: by the log, or assumed.
    pub chars_per_token: f64,
}

#[derive(Serialize)]
struct Line {
    timestamp: f64,
    input_length: u32,
    output_length: u32,
    hash_ids: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    output_hash_ids: Vec<u64>,
    block_size: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<u64>,
}

/// Writes a trace of what was seen, in order of time.
///
/// # Errors
/// Where nothing tells how long any reply was, or the log spans more than a trace may.
pub fn write(mut seen: Vec<Seen>, settings: &Settings) -> Result<Imported, TraceError> {
    seen.sort_by(|a, b| a.at.total_cmp(&b.at));
    let chars_per_token = ratio(&seen);
    let first = seen.first().map_or(0.0, |seen| seen.at);
    let tokens_of = |content: &Content| match content {
        Content::Text(_) => (content.len() as f64 / chars_per_token).ceil() as u32,
        Content::Tokens(tokens) => tokens.len() as u32,
    };
    let output = |seen: &Seen| seen.output.or_else(|| seen.reply.as_ref().map(tokens_of));
    let known: Vec<u32> = seen.iter().filter_map(output).collect();
    let limit = |seen: &Seen| if output(seen).is_none() { seen.most } else { None };
    let median = median(known).or_else(|| median(seen.iter().filter_map(limit).collect()));
    let Some(median) = median else {
        return Err(TraceError {
            line: 0,
            problem: "nothing tells how long any reply was: neither usage, nor a response, nor max_tokens; log the responses, too".to_owned(),
        });
    };
    let span = seen.last().map_or(0.0, |seen| seen.at - first);
    if span > LONGEST {
        return Err(TraceError {
            line: 0,
            problem: format!(
                "the log spans {:.0} days, and a trace {:.0} at most: import a part of it, or see that all its times have one unit",
                span / 86_400.0,
                LONGEST / 86_400.0
            ),
        });
    }
    let mut text = String::new();
    for (own, seen) in seen.iter().enumerate() {
        let length = seen.input.unwrap_or_else(|| tokens_of(&seen.prompt)).max(1);
        let replied = output(seen).or(seen.most).unwrap_or(median).max(1);
        let ids =
            |content: &Content, length: u32, end: End| ids(content, own, (length, end), chars_per_token, settings);
        // Of prompt and reply together, the blocks that are not the prompt's alone.
        let said = |content: &Content| {
            ids(content, length.saturating_add(replied), End::Cut).split_off((length / settings.block) as usize)
        };
        let line = Line {
            // To the microsecond: times of clocks have no more in a double.
            timestamp: ((seen.at - first) * 1e6).round() / 1e3,
            input_length: length,
            output_length: replied,
            hash_ids: ids(&seen.prompt, length, End::Whole),
            output_hash_ids: seen.said.as_ref().map(said).unwrap_or_default(),
            block_size: settings.block,
            session_id: seen.session.as_ref().map(|name| number(&hash(&settings.salt, b"session", name.as_bytes()))),
        };
        text.push_str(&serde_json::to_string(&line).expect("numbers can be written"));
        text.push('\n');
    }
    Ok(Imported {
        text,
        requests: seen.len(),
        counted: seen.iter().filter(|seen| seen.input.is_some() || matches!(seen.prompt, Content::Tokens(_))).count(),
        estimated: seen.iter().filter(|seen| seen.output.is_none() && seen.reply.is_some()).count(),
        unseen: seen
            .iter()
            .filter(|seen| seen.input.is_some_and(|tokens| tokens / 2 > tokens_of(&seen.prompt)))
            .count(),
        limited: seen.iter().filter_map(limit).count(),
        guessed: seen.iter().filter(|seen| output(seen).or(seen.most).is_none()).count(),
        chars_per_token,
    })
}

/// Characters of a token: the median of the texts whose tokens were counted, since one of images tells nothing of the others.
fn ratio(seen: &[Seen]) -> f64 {
    let counted = seen.iter().filter_map(|seen| match (&seen.prompt, seen.input) {
        (Content::Text(_), Some(tokens)) if tokens > 0 && !seen.prompt.is_empty() => {
            Some(seen.prompt.len() as f64 / f64::from(tokens))
        }
        _ => None,
    });
    let mut ratios: Vec<f64> = counted.filter(|ratio| PLAUSIBLE.contains(ratio)).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap_or(CHARS_PER_TOKEN)
}

fn median(mut lengths: Vec<u32>) -> Option<u32> {
    lengths.sort_unstable();
    lengths.get(lengths.len() / 2).copied()
}

/// What becomes of text behind the last block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is part of that block, so that prompts which differ there are told apart.
    Whole,
    /// It is left out: a reply's beginning is what it is, whatever follows.
    Cut,
}

/// A number for each block of the prompt, the last one perhaps not full.
///
/// Text is cut every so many characters, the same for all prompts, so that what begins alike is cut alike. Where that makes more
/// blocks than the prompt's tokens do, the last one has the rest; where it makes fewer, those behind the text are like nobody
/// else's: what a log does not show is not shared. `own` is what tells this request from others.
fn ids(prompt: &Content, own: usize, (length, end): (u32, End), chars_per_token: f64, settings: &Settings) -> Vec<u64> {
    let wanted = length.div_ceil(settings.block) as usize;
    let mut blocks: Vec<Vec<u8>> = match prompt {
        Content::Text(text) => {
            let chars: Vec<char> = text.chars().collect();
            let of = ((f64::from(settings.block) * chars_per_token).round() as usize).max(1);
            chars.chunks(of).map(|block| block.iter().collect::<String>().into_bytes()).collect()
        }
        Content::Tokens(tokens) => tokens
            .chunks(settings.block as usize)
            .map(|block| block.iter().flat_map(|token| token.to_le_bytes()).collect())
            .collect(),
    };
    if blocks.len() > wanted && end == End::Whole {
        let rest: Vec<u8> = blocks.drain(wanted - 1..).flatten().collect();
        blocks.push(rest);
    }
    let mut before = [0; 32];
    let unseen = format!("unseen {own}").into_bytes();
    let next = |block: &Vec<u8>| {
        before = hash(&settings.salt, &before, block);
        number(&before)
    };
    blocks.iter().chain(std::iter::repeat(&unseen)).take(wanted).map(next).collect()
}

fn hash(salt: &[u8], before: &[u8], content: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [salt, before, content] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn number(hash: &[u8; 32]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash;
    u64::from_le_bytes([a, b, c, d, e, f, g, h]) >> (64 - BITS)
}
