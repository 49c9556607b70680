//! What would be sent, a line for each request.

use kvcache::{ChainBuilder, Span};
use serde_json::{Value, json};
use sim::workload::description::Memory;
use sim::workload::{Pacing, Request, Segment, Workload};
use std::fmt::Write;

/// Segments of a prompt that a table shows.
const SHOWN: usize = 4;

/// One line of it.
struct Line<'a> {
    number: usize,
    request: &'a Request,
    /// The turn whose reply it waits for, the least time from that and the least from its sending.
    waits: Option<(u32, Span, Span)>,
    known: u32,
    segments: &'a [Segment],
}

fn each(workload: &Workload) -> impl Iterator<Item = Line<'_>> {
    let (mut memory, mut chain) = (Memory::default(), ChainBuilder::new());
    workload.requests().iter().enumerate().map(move |(number, request)| {
        workload.chain(request, &mut chain);
        let turn = workload.turns().get(number);
        Line {
            number,
            request,
            waits: turn.and_then(|turn| Some((turn.after?, turn.think, turn.gap))),
            known: memory.find(chain.pieces(), request.prompt).0,
            segments: workload.segments(request),
        }
    })
}

/// As a table for people. A prompt's parts are `id:tokens`.
#[must_use]
pub fn text(workload: &Workload) -> String {
    let closed = matches!(workload.pacing(), Pacing::Closed { .. });
    let mut text = match workload.pacing() {
        Pacing::Open => String::new(),
        Pacing::Closed { concurrency } => {
            format!("In this order, {concurrency} in flight: the next is sent when one is complete.\n")
        }
        Pacing::Turns => {
            "N+t: t after the reply to N is complete; N>t: when it is, and not sooner than t after N was sent.\n"
                .to_owned()
        }
    };
    text.push_str("     #          sent  session    prompt  output  seen before  prompt, id:tokens\n");
    for Line { number, request, waits, known, segments } in each(workload) {
        let sent = match waits {
            _ if closed => "-".to_owned(),
            None => format!("{:.3} s", Span(request.at.0).as_secs_f64()),
            Some((after, think, Span::ZERO)) => format!("{after}+{:.3} s", think.as_secs_f64()),
            Some((after, _, gap)) => format!("{after}>{:.3} s", gap.as_secs_f64()),
        };
        let session = request.session.map_or_else(|| "-".to_owned(), |session| short(session.0));
        let mut parts: Vec<String> =
            segments.iter().take(SHOWN).map(|segment| format!("{}:{}", short(segment.id), segment.tokens.0)).collect();
        if segments.len() > SHOWN {
            parts.push(format!("and {} more", segments.len() - SHOWN));
        }
        writeln!(
            text,
            "{number:>6}  {sent:>12}  {session:>7}  {:>8}  {:>6}  {known:>11}  {}",
            request.prompt.0,
            request.output.0,
            parts.join(" ")
        )
        .expect("a string takes every character");
    }
    text
}

/// Names of large numbers are told apart by their ends.
fn short(id: u64) -> String {
    if id < 1_000_000 { id.to_string() } else { format!("..{:05}", id % 100_000) }
}

/// As lines of JSON.
#[must_use]
pub fn json(workload: &Workload) -> String {
    let line = |line: Line<'_>| -> Value {
        let Line { number, request, waits, known, segments } = line;
        let own = waits.is_none() && !matches!(workload.pacing(), Pacing::Closed { .. });
        json!({
            "request": number,
            "at_s": own.then(|| Span(request.at.0).as_secs_f64()),
            "after": waits.map(|(after, ..)| after),
            "think_s": waits.map(|(_, think, _)| think.as_secs_f64()),
            "gap_s": waits.map(|(.., gap)| gap.as_secs_f64()),
            "session_id": request.session.map(|session| session.0),
            "input_length": request.prompt.0,
            "output_length": request.output.0,
            "seen_before": known,
            "segments": segments.iter().map(|segment| json!([segment.id, segment.tokens.0])).collect::<Vec<_>>(),
        })
    };
    each(workload).map(|one| format!("{}\n", line(one))).collect()
}
