//! Tables of requests: CSV under a line of names. Azure's LLM inference traces (`TIMESTAMP,ContextTokens,GeneratedTokens`),
//! BurstGPT (`Timestamp`, `Session ID`, `Request tokens`, `Response tokens`), Vidur (`arrived_at`, `num_prefill_tokens`,
//! `num_decode_tokens`). Times are dates or seconds; they count from the first.
//!
//! Rows of BurstGPT without response tokens are requests that failed, and are left out, as `vllm bench` does.

use super::Workload;
use super::moment::date;
use super::trace::{Requests, Row, TraceError, picoseconds, session};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Names of columns, in lower case.
const TIMES: [&str; 4] = ["timestamp", "arrived_at", "arrival_time", "time"];
const INPUTS: [&str; 7] = [
    "contexttokens",
    "request tokens",
    "num_prefill_tokens",
    "prompt_tokens",
    "prompt_len",
    "input_tokens",
    "input_length",
];
const OUTPUTS: [&str; 7] = [
    "generatedtokens",
    "response tokens",
    "num_decode_tokens",
    "completion_tokens",
    "output_len",
    "output_tokens",
    "output_length",
];
const SESSIONS: [&str; 2] = ["session id", "session_id"];

/// Whether a line names the columns of one.
pub(super) fn is_table(line: &str) -> bool {
    let names = cells(line);
    [&INPUTS[..], &OUTPUTS[..]].iter().any(|known| place(&names, known).is_some())
}

/// Reads a table, and whether it has times.
pub(super) fn parse(text: &str) -> Result<(Workload, bool), TraceError> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (_, first) = lines.next().ok_or_else(|| TraceError::whole("not a trace: the file is empty"))?;
    let names = cells(first);
    let missing = |what: &str, known: &[&str]| TraceError {
        line: 1,
        problem: format!("no column tells a request's {what}; podlab looks for {}", known.join(", ")),
    };
    let input = place(&names, &INPUTS).ok_or_else(|| missing("prompt tokens", &INPUTS))?;
    let output = place(&names, &OUTPUTS).ok_or_else(|| missing("output tokens", &OUTPUTS))?;
    let (at, whose) = (place(&names, &TIMES), place(&names, &SESSIONS));
    let failed_are_zero = names[output] == "response tokens";
    let mut requests = Requests::new();
    for (index, line) in lines {
        let here = |problem: String| TraceError { line: index + 1, problem };
        let cells = cells(line);
        if cells.len() != names.len() {
            return Err(here(format!("{} values under {} names", cells.len(), names.len())));
        }
        let row = row(&cells, &names, (at, input, output, whose)).map_err(here)?;
        if !(failed_are_zero && row.output == 0) {
            requests.push(&row).map_err(here)?;
        }
    }
    requests.end()
}

fn row(
    cells: &[String],
    names: &[String],
    (at, input, output, whose): (Option<usize>, usize, usize, Option<usize>),
) -> Result<Row, String> {
    let count = |place: usize| {
        let (text, name) = (&cells[place], &names[place]);
        let number: Result<f64, _> = text.parse();
        match number {
            // Some tables have all numbers as floats.
            Ok(number) if number - libm::trunc(number) == 0.0 && libm::fabs(number) < 1e15 => Ok(number as i64),
            _ => Err(format!("{name} is no whole number of tokens")),
        }
    };
    let time = |place: usize| {
        let text = &cells[place];
        let seconds = || text.parse::<f64>().ok().and_then(|seconds| picoseconds(seconds, 1.0));
        seconds().or_else(|| date(text)).ok_or_else(|| {
            format!("{} is no time: seconds, or a date such as 2023-11-16 18:17:03.979, is expected", names[place])
        })
    };
    Ok(Row {
        at: at.map(time).transpose()?,
        input: count(input)?,
        output: count(output)?,
        session: whose.map(|place| &cells[place]).filter(|name| !name.is_empty()).map(|name| session(name)),
    })
}

fn place(names: &[String], known: &[&str]) -> Option<usize> {
    known.iter().find_map(|known| names.iter().position(|name| name == known))
}

/// The values of a line, in lower case, without quotes. A comma within quotes is none that such tables have.
fn cells(line: &str) -> Vec<String> {
    line.split(',').map(|cell| cell.trim().trim_matches('"').to_ascii_lowercase().to_string()).collect()
}
