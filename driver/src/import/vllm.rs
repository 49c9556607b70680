//! vLLM's own log: `Received request ID: ..` (with `--enable-log-requests`), at debug level `Request ID details: ..`, and with
//! `--enable-log-outputs` `Generated response ID ..`.

use super::content::Content;
use super::{ImportError, Seen, time};
use std::collections::HashMap;

/// What a line about a request says.
pub(super) const RECEIVED: &str = "Received request ";
const DETAILS: &str = " details: ";
const GENERATED: &str = "Generated response ";

/// All requests of a log. Lines about something else are passed over.
pub(super) fn read(text: &str) -> Result<Vec<Seen>, ImportError> {
    let mut all: Vec<Seen> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut clock = Clock::default();
    for (index, line) in text.lines().enumerate() {
        if let Some((head, rest)) = line.split_once(RECEIVED) {
            let Some((id, rest)) = rest.split_once(": ") else { continue };
            let at = clock.of(head).ok_or_else(|| ImportError {
                line: index + 1,
                problem: "no time before \"Received request\": vLLM's lines begin with INFO 11-27 10:00:00".to_owned(),
            })?;
            let most = after(rest, "max_tokens=").and_then(number);
            let prompt = content(rest, ", params: SamplingParams(").unwrap_or(Content::Text(String::new()));
            let seen = Seen { at, prompt, input: None, output: None, reply: None, most, session: None };
            places.insert(id.to_owned(), all.len());
            all.push(seen);
        } else if let Some((id, rest)) = line.split_once("Request ").and_then(|(_, rest)| rest.split_once(DETAILS)) {
            if let (Some(place), Some(prompt)) = (places.get(id), content(rest, ", prompt_embeds")) {
                all[*place].prompt = prompt;
            }
        } else if let Some((_, rest)) = line.split_once(GENERATED) {
            let id = rest.split([':', ' ']).next().unwrap_or_default();
            let tokens = after(rest, "output_token_ids: [").and_then(|rest| rest.split_once(']')).map(|(list, _)| list);
            if let (Some(place), Some(list)) = (places.get(id), tokens.filter(|list| !list.is_empty())) {
                all[*place].output = u32::try_from(list.split(',').count()).ok();
            }
        }
    }
    if let Some(empty) = all.iter().find(|seen| seen.prompt.is_empty()) {
        return Err(ImportError {
            line: 0,
            problem: format!(
                "{} of {} requests name no prompt (the first at {:.0} s): since 0.11 vLLM logs prompts at debug level only; run it with VLLM_LOGGING_LEVEL=DEBUG",
                all.iter().filter(|seen| seen.prompt.is_empty()).count(),
                all.len(),
                empty.at - all[0].at,
            ),
        });
    }
    Ok(all)
}

/// The prompt's tokens, where they are listed, else its text as Python writes it, up to `end`.
fn content(rest: &str, end: &str) -> Option<Content> {
    if let Some((list, _)) = after(rest, "prompt_token_ids: [").and_then(|rest| rest.split_once(']')) {
        let tokens: Option<Vec<u32>> = list.split(',').map(|token| token.trim().parse().ok()).collect();
        return tokens.map(Content::Tokens);
    }
    let text = after(rest, "prompt: ")?;
    let text = text.rfind(end).map_or(text, |place| &text[..place]);
    (text != "None").then(|| Content::Text(text.trim_matches(['\'', '"']).to_owned()))
}

fn after<'a>(text: &'a str, what: &str) -> Option<&'a str> {
    text.find(what).map(|place| &text[place + what.len()..])
}

fn number(text: &str) -> Option<u32> {
    text.split(|other: char| !other.is_ascii_digit()).next()?.parse().ok()
}

/// vLLM's lines tell no year: it grows where the months run backwards.
#[derive(Debug, Default)]
struct Clock {
    year: u16,
    month: u8,
}

impl Clock {
    /// `INFO 11-27 10:00:00 [logger.py:49] `, with whatever before.
    fn of(&mut self, head: &str) -> Option<f64> {
        let mut words = head.split_whitespace();
        let (day, clock) = loop {
            let word = words.next()?;
            if word.len() == 5 && word.as_bytes()[2] == b'-' {
                break (word, words.next()?);
            }
        };
        let month: u8 = day[..2].parse().ok()?;
        if month < self.month {
            self.year += 1;
        }
        self.month = month;
        // Any leap year will do to begin with.
        time::date(&format!("{:04}-{day}T{clock}", 2024 + self.year))
    }
}
