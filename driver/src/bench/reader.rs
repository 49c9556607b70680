//! A response as it comes, read for what is measured: when content came, what was used, how it ended.
//!
//! Pure: told when bytes came; frames of an event stream are joined before events are looked for, since a frame may end
//! anywhere in an event.

use super::chunk::{Chunk, DONE, Usage};
use super::problem::{Problem, short};
use super::sse::{Event, Sse};
use crate::aws::eventstream::{self, Frame};
use std::fmt;

/// How a response's body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Server-sent events.
    Events,
    /// Server-sent events in an Amazon event stream.
    EventStream,
    /// One JSON object.
    Whole,
}

/// Who hears the answer's text as it comes.
pub type Listener = Box<dyn FnMut(&str) + Send>;

/// What has been read. Moments are nanoseconds of the measurement's clock.
#[derive(Default)]
pub struct Seen {
    /// The first event with content: answer, reasoning or tool calls.
    pub first_content: Option<u64>,
    /// The first event with text of the answer.
    pub first_answer: Option<u64>,
    /// The last event with content.
    pub last_content: Option<u64>,
    /// Events with content.
    pub events: u64,
    /// Gaps between consecutive events with content, nanoseconds.
    pub gaps: Vec<u64>,
    /// Tokens as the server counted them.
    pub usage: Option<Usage>,
    /// The answer, where somebody asked to keep it.
    pub text: Option<String>,
    done: bool,
    finished: bool,
    problem: Option<Problem>,
    listener: Option<Listener>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").field("events", &self.events).field("usage", &self.usage).finish_non_exhaustive()
    }
}

/// A response that is being read.
#[derive(Debug)]
pub struct Reader {
    form: Form,
    sse: Sse,
    frames: eventstream::Decoder,
    whole: Vec<u8>,
    seen: Seen,
}

impl Reader {
    /// Nothing has been read. `keep` asks for the text, `listener` hears it.
    #[must_use]
    pub fn new(form: Form, keep: bool, listener: Option<Listener>) -> Self {
        let seen = Seen { text: keep.then(String::new), listener, ..Seen::default() };
        Self { form, sse: Sse::default(), frames: eventstream::Decoder::default(), whole: Vec::new(), seen }
    }

    /// Reads bytes that came at `now`. After a problem nothing is read any more.
    pub fn push(&mut self, bytes: &[u8], now: u64) {
        let Self { form, sse, frames, whole, seen } = self;
        if seen.problem.is_some() {
            return;
        }
        match form {
            Form::Events => seen.events_in(sse, bytes, now),
            Form::Whole => whole.extend_from_slice(bytes),
            Form::EventStream => {
                let pushed = frames.push(bytes, |frame| seen.frame(sse, &frame, now));
                if let Err(bad) = pushed {
                    seen.fail(Problem::new("bad_frame", bad));
                }
            }
        }
    }

    /// The body has ended at `now`, by itself or not (`cut` says how): what was seen, and what went wrong.
    pub fn end(mut self, cut: Option<Problem>, now: u64) -> (Seen, Result<(), Problem>) {
        if self.form == Form::Whole && cut.is_none() && self.seen.problem.is_none() {
            let whole = std::mem::take(&mut self.whole);
            self.seen.data(&whole, now);
            self.seen.done = true;
        }
        let problem = self.seen.problem.take().or_else(|| cut.map(|cut| self.cut(cut))).or_else(|| self.incomplete());
        (self.seen, problem.map_or(Ok(()), Err))
    }

    fn cut(&self, cut: Problem) -> Problem {
        if self.frames.is_inside() {
            Problem::new("cut_in_frame", format!("{}: inside a frame", cut.said))
        } else {
            cut
        }
    }

    /// What lacks in a body that ended as HTTP wants it: clients that do not look lose the tail silently.
    fn incomplete(&self) -> Option<Problem> {
        if self.frames.is_inside() {
            return Some(Problem::new("cut_in_frame", "the stream ended inside a frame"));
        }
        if !self.seen.done {
            let said = match (self.sse.is_inside(), self.seen.finished) {
                (true, _) => "the stream ended inside an event",
                (false, true) => "the stream ended after finish_reason without [DONE]",
                (false, false) => "the stream ended without finish_reason and [DONE]",
            };
            return Some(Problem::new("no_done", said));
        }
        (self.seen.events == 0).then(|| Problem::new("no_content", "the response was complete and had no content"))
    }
}

impl Seen {
    /// Whether the stream has said that it is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }

    fn fail(&mut self, problem: Problem) {
        self.problem.get_or_insert(problem);
    }

    fn frame(&mut self, sse: &mut Sse, frame: &Frame, now: u64) {
        if self.problem.is_some() {
            return;
        }
        match frame.message_type.as_str() {
            "event" if frame.kind == "PayloadPart" => self.events_in(sse, &frame.payload, now),
            "event" => {} // of a kind that is newer than this
            _ => self.fail(exception(frame)),
        }
    }

    fn events_in(&mut self, sse: &mut Sse, bytes: &[u8], now: u64) {
        let pushed = sse.push(bytes, |event| self.event(event, now));
        if let Err(long) = pushed {
            self.fail(Problem::new("bad_event", long));
        }
    }

    fn event(&mut self, event: Event<'_>, now: u64) {
        if event.data == DONE {
            self.done = true;
        } else if event.name == b"error" {
            let said = Chunk::parse(event.data).ok().and_then(|chunk| chunk.error);
            let said = said.unwrap_or_else(|| String::from_utf8_lossy(event.data).into_owned());
            self.fail(Problem::new("stream_error", short(&said)));
        } else {
            self.data(event.data, now);
        }
    }

    fn data(&mut self, data: &[u8], now: u64) {
        let chunk = match Chunk::parse(data) {
            Ok(chunk) => chunk,
            Err(error) => {
                let data = String::from_utf8_lossy(data);
                return self.fail(Problem::new("bad_event", format!("{error}: {}", short(&data))));
            }
        };
        if let Some(error) = chunk.error {
            return self.fail(Problem::new("stream_error", short(&error)));
        }
        self.usage = chunk.usage.or(self.usage);
        self.finished |= chunk.finished;
        if !chunk.has_content {
            return;
        }
        self.events += 1;
        self.first_content.get_or_insert(now);
        if let Some(before) = self.last_content.replace(now) {
            self.gaps.push(now - before);
        }
        if !chunk.answer.is_empty() {
            self.first_answer.get_or_insert(now);
            if let Some(text) = &mut self.text {
                text.push_str(&chunk.answer);
            }
            if let Some(listener) = &mut self.listener {
                listener(&chunk.answer);
            }
        }
    }
}

/// What SageMaker says in the middle of a stream.
fn exception(frame: &Frame) -> Problem {
    let said: serde_json::Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
    let text = |key: &str| said[key].as_str().unwrap_or_default();
    let class = match (frame.kind.as_str(), text("ErrorCode")) {
        ("ModelStreamError", "ModelInvocationTimeExceeded") => "model_timeout",
        ("ModelStreamError", _) => "model_stream_error",
        ("InternalStreamFailure", _) => "internal_stream_failure",
        _ => "stream_error",
    };
    let said = [frame.kind.as_str(), text("ErrorCode"), text("Message")];
    Problem::new(class, short(&said.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")))
}
