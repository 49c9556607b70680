//! A platform's own logs as a trace: what was sent when, who shares what with whom, and not a word of it.
//!
//! Text is cut into blocks; each becomes a number that names the block and all before it, by a salted hash. Who does not
//! know the salt cannot ask whether somebody wrote something; who keeps it can import another day's log, and what is shared
//! across days keeps its names.

use crate::suggest;
use sim::workload::TraceError;

pub mod content; // what a prompt is
mod openai; // requests and responses as JSON
mod sagemaker; // ... inside of data capture
mod vllm; // an engine's own log
mod time; // moments as logs write them
pub mod trace; // ... and as a trace

use content::Content;
pub use time::UNITS as TIME_UNITS;

/// What a log tells of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Seconds from whatever the log counts from.
    pub at: f64,
    /// What was asked.
    pub prompt: Content,
    /// Tokens of that, where they were counted.
    pub input: Option<u32>,
    /// Tokens of the reply, where they were counted.
    pub output: Option<u32>,
    /// The reply.
    pub reply: Option<Content>,
    /// Prompt and reply as a next turn's prompt begins with them; `None`: it does not, or cannot be told.
    pub said: Option<Content>,
    /// The most tokens that the reply could have.
    pub most: Option<u32>,
    /// Whose it is.
    pub session: Option<String>,
}

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON object per line, with an OpenAI-style request and, beside it, its response.
    OpenAi,
    /// SageMaker's data capture: such bodies in an envelope.
    SageMaker,
    /// What vLLM says with `--enable-log-requests`.
    Vllm,
}

impl Format {
    /// Their names.
    pub const NAMES: [(&'static str, Self); 3] =
        [("openai", Self::OpenAi), ("sagemaker", Self::SageMaker), ("vllm", Self::Vllm)];

    /// Reads a name.
    ///
    /// # Errors
    /// Which there are.
    pub fn named(name: &str) -> Result<Self, String> {
        let names = Self::NAMES.map(|(name, _)| name);
        let found = Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, format)| *format);
        found.ok_or_else(|| format!("there is {}{}", names.join(", "), suggest::clause(name, names)))
    }

    /// What a file looks like; `None`: like none of them.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let first = text.lines().find(|line| !line.trim().is_empty())?.trim_start();
        match first.starts_with('{') {
            true if first.contains("\"captureData\"") => Some(Self::SageMaker),
            true => Some(Self::OpenAi),
            false => text.contains(vllm::RECEIVED).then_some(Self::Vllm),
        }
    }
}

/// Reads a log. `session` is the field that names sessions, where that is not one of the usual ones.
///
/// # Errors
/// The first line that is no request, with what would be one.
pub fn read(text: &str, format: Option<Format>, session: Option<&str>) -> Result<Vec<Seen>, TraceError> {
    read_next(text, format, session, &mut Reader::default())
}

/// What is carried from one file of a log to the next: vLLM's lines tell no year, and the order of files does. And in which
/// unit times are that count from no known moment.
#[derive(Debug, Default)]
pub struct Reader {
    clock: vllm::Clock,
    /// Seconds in a unit of such times; `None`: it is not said.
    unit: Option<f64>,
}

impl Reader {
    /// Before the first file, with times that count from no known moment in units of so many seconds, if that is said.
    #[must_use]
    pub fn with_unit(unit: Option<f64>) -> Self {
        Self { unit, ..Self::default() }
    }
}

/// Reads one file of a log after another. `session` as in [`read`].
///
/// # Errors
/// As [`read`].
pub fn read_next(
    text: &str,
    format: Option<Format>,
    session: Option<&str>,
    reader: &mut Reader,
) -> Result<Vec<Seen>, TraceError> {
    let format = format.or_else(|| Format::of(text)).ok_or_else(|| TraceError {
        line: 0,
        problem: "not a log that podlab knows: JSON lines with OpenAI-style requests and responses, SageMaker data capture, or a vLLM log with \"Received request\"; name it by --format".to_owned(),
    })?;
    let seen = match format {
        Format::Vllm => vllm::read(text, &mut reader.clock)?,
        Format::OpenAi => each(text, |value| openai::request(value, session))?,
        Format::SageMaker => each(text, |value| sagemaker::request(value, session))?,
    };
    let seen = time::in_seconds(seen, reader.unit)?;
    if seen.is_empty() {
        return Err(TraceError { line: 0, problem: "the log holds no request".to_owned() });
    }
    Ok(seen)
}

/// Reads each line as a JSON object.
fn each(
    text: &str,
    read: impl Fn(&serde_json::Value) -> Result<Option<Seen>, String>,
) -> Result<Vec<Seen>, TraceError> {
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let here = |problem: String| TraceError { line: index + 1, problem };
        let value = serde_json::from_str(line).map_err(|error| here(broken(&error)))?;
        all.extend(read(&value).map_err(here)?);
    }
    Ok(all)
}

fn broken(error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "the line is cut off: a request is one JSON object on one line".to_owned();
    }
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    format!("column {}: {text}; a request is one JSON object on one line", error.column())
}
