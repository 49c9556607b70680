//! vLLM's own log: `Received request ID: ..` (with `--enable-log-requests`), at debug level `Request ID details: ..`, and with
//! `--enable-log-outputs` `Generated response ID ..`.

use super::content::Content;
use super::{Seen, time};
use sim::workload::TraceError;
use std::collections::HashMap;

/// What a line about a request says.
pub(super) const RECEIVED: &str = "Received request ";
const DETAILS: &str = " details: ";
const PARAMETERS: &str = "params: SamplingParams(";
const TOKENS: &str = "prompt_token_ids: [";
const GENERATED: &str = "Generated response ";

/// All requests of a log. Lines about something else are passed over.
pub(super) fn read(text: &str, clock: &mut Clock) -> Result<Vec<Seen>, TraceError> {
    let mut all: Vec<Seen> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    // Details are logged before the request is, or after.
    let mut details: HashMap<String, Content> = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        if let Some((head, rest)) = told(line, RECEIVED) {
            let Some((id, rest)) = rest.split_once(": ") else { continue };
            let at = clock.of(head).ok_or_else(|| TraceError {
                line: index + 1,
                problem: "no time before \"Received request\": vLLM's lines begin with INFO 11-27 10:00:00".to_owned(),
            })?;
            // A prompt may hold the very words: what is said behind it is said last.
            let parameters = rest.rfind(PARAMETERS).map_or("", |place| &rest[place..]);
            let most = after(parameters, "max_tokens=").and_then(number);
            let prompt = details.remove(id).or_else(|| content(rest, PARAMETERS));
            let prompt = prompt.unwrap_or(Content::Text(String::new()));
            places.insert(id.to_owned(), all.len());
            all.push(Seen { at, prompt, input: None, output: None, reply: None, said: None, most, session: None });
        } else if let Some((id, rest)) = told(line, "Request ").and_then(|(_, rest)| rest.split_once(DETAILS)) {
            let Some(prompt) = content(rest, "prompt_embeds") else { continue };
            match places.get(id) {
                Some(place) => all[*place].prompt = prompt,
                None => {
                    details.insert(id.to_owned(), prompt);
                }
            }
        } else if let Some((_, rest)) = told(line, GENERATED) {
            let id = rest.split([':', ' ']).next().unwrap_or_default();
            if let Some(place) = places.get(id) {
                replied(&mut all[*place], rest);
            }
        }
    }
    for seen in &mut all {
        // The template closes a reply behind it.
        if let (Content::Text(prompt), Some(Content::Text(reply))) = (&seen.prompt, &seen.reply) {
            seen.said = Some(Content::Text(format!("{prompt}{reply}")));
        }
    }
    if let Some(empty) = all.iter().find(|seen| seen.prompt.is_empty()) {
        return Err(TraceError {
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

/// What stands before and behind `what` in a line that the logger began, and not in something that it quotes.
fn told<'a>(line: &'a str, what: &str) -> Option<(&'a str, &'a str)> {
    let (head, rest) = line.split_once(what)?;
    (head.contains(".py") && !head.contains("prompt: ") && !head.contains("output: ")).then_some((head, rest))
}

/// A reply, or a part of it: of a stream the parts are counted, and the end repeats the text alone.
fn replied(seen: &mut Seen, rest: &str) {
    let list = rest.rfind("output_token_ids: [").and_then(|place| rest[place..].split_once('[')?.1.split_once(']'));
    let tokens = list.map(|(list, _)| list.split(',').filter(|token| !token.trim().is_empty()).count() as u32);
    let streaming = rest.split(':').next().is_some_and(|head| head.contains("(streaming"));
    match tokens {
        Some(tokens) if streaming => seen.output = Some(seen.output.unwrap_or_default() + tokens),
        Some(tokens) => seen.output = Some(tokens),
        None if seen.reply.is_none() => {
            let text = after(rest, "output: ");
            let text = text.map(|text| text.rfind(", output_token_ids").map_or(text, |end| &text[..end]));
            seen.reply = text.map(|text| Content::Text(unquoted(text)));
        }
        None => {}
    }
}

/// The prompt's tokens, where they are listed behind its text, else the text as Python writes it; `end` begins what follows
/// the text.
fn content(rest: &str, end: &str) -> Option<Content> {
    let parameters = rest.rfind(end).unwrap_or(rest.len());
    let text = after(rest, "prompt: ").map(|text| rest.len() - text.len());
    // Before 0.11 tokens stand behind the parameters, since then right before what follows the text: nowhere inside of it.
    let listed = rest.rfind(TOKENS).and_then(|place| {
        let (list, behind) = rest[place + TOKENS.len()..].split_once(']')?;
        let right_before = rest.len() - behind.len() + 2 == parameters && behind.starts_with(", ");
        (place > parameters || right_before).then_some(list)
    });
    if let Some(list) = listed {
        let tokens: Option<Vec<u32>> = list.split(',').map(|token| token.trim().parse().ok()).collect();
        return tokens.map(Content::Tokens);
    }
    let text = rest.get(text?..parameters)?;
    let text = text.rfind(", prompt_token_ids: ").map_or(text, |place| &text[..place]);
    (text != "None").then(|| Content::Text(unquoted(text)))
}

/// Without the quotes, and the comma behind them.
fn unquoted(text: &str) -> String {
    text.trim_end_matches([',', ' ']).trim_matches(['\'', '"']).to_owned()
}

fn after<'a>(text: &'a str, what: &str) -> Option<&'a str> {
    text.find(what).map(|place| &text[place + what.len()..])
}

fn number(text: &str) -> Option<u32> {
    text.split(|other: char| !other.is_ascii_digit()).next()?.parse().ok()
}

/// vLLM's lines tell no year: each is within half a year of the one before, in whatever file that is.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Years from that of the first line, and the month of the last one; months are counted from 1.
    last: Option<(i16, i16)>,
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
        let month: i16 = day.get(..2)?.parse().ok()?;
        let year = match self.last {
            None => 0,
            // From December to January, a year on; from January to December, one back: files need not be in order.
            Some((year, last)) if month < last - 6 => year + 1,
            Some((year, last)) if month > last + 6 => year - 1,
            Some((year, _)) => year,
        };
        // Any leap year will do to begin with; a log of centuries has no order left.
        let at = time::date(&format!("{:04}-{day}T{clock}", 2024_i16.checked_add(year)?))?;
        self.last = Some((year, month));
        Some(at)
    }
}
