//! A reply told token by token.
//!
//! A task renders what is new whenever the request has come further, one event per token however many tokens it sees
//! at once, and hands frames to the connection one at a time. So a slow reader holds up this task and nothing else, and
//! a reader who goes away ends it, which takes the request back.

use super::reply::{Reply, finish};
use super::wire::Finish;
use crate::emulate::progress::{End, Progress, Speech};
use crate::http::door::{Phase, over};
use crate::http::error::ApiError;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use hyper::body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::{mpsc, watch};

/// Most events of one frame: what is buffered for a reader is this and the connection's own buffer.
const EVENTS_PER_FRAME: u32 = 64;

/// The response whose body is `reply` as a stream.
pub(super) fn respond(reply: Reply, phase: watch::Receiver<Phase>) -> Response {
    let (frames, body) = mpsc::channel(1);
    tokio::spawn(tell(reply, phase, frames));
    let mut response = Response::new(Body::new(Frames(body)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

struct Frames(mpsc::Receiver<Bytes>);

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// How much of a reply was told.
struct Told {
    reply: Reply,
    tokens: Vec<u32>,  // of each choice
    said: Vec<usize>,  // bytes of each choice's text, where workers compute
    closed: Vec<bool>, // whether it was said why each ended, where workers compute
    word: String,
}

async fn tell(reply: Reply, mut phase: watch::Receiver<Phase>, frames: mpsc::Sender<Bytes>) {
    let n = reply.choices();
    let mut told = Told { tokens: vec![0; n], said: vec![0; n], closed: vec![false; n], reply, word: String::new() };
    tokio::select! {
        () = told.tell_all(&frames) => {}
        () = frames.closed() => {}
        () = over(&mut phase) => {
            // The last words, where the reader still listens.
            let _ = frames.send(Bytes::from(ApiError::stopping().event())).await;
        }
    }
}

impl Told {
    async fn tell_all(&mut self, frames: &mpsc::Sender<Bytes>) {
        loop {
            let (frame, more) = self.next_frame();
            if !frame.is_empty() && frames.send(Bytes::from(frame)).await.is_err() {
                return;
            }
            match more {
                More::Now => {}
                More::Never => return,
                More::Later => {
                    if self.reply.ticket.changed().await.is_err() {
                        let _ = frames.send(Bytes::from(ApiError::stopping().event())).await;
                        return;
                    }
                }
            }
        }
    }

    /// What is new, up to a full frame.
    fn next_frame(&mut self) -> (String, More) {
        let all = self.reply.ticket.look().clone();
        let (mut frame, mut room) = (String::new(), EVENTS_PER_FRAME);
        for (choice, progress) in all.iter().enumerate() {
            while self.tokens[choice] < progress.tokens.0 && room > 0 {
                match &progress.speech {
                    Some(speech) => self.push_spoken(&mut frame, choice, speech),
                    None => self.push_token(&mut frame, choice),
                }
                room -= 1;
            }
            self.close_spoken(&mut frame, choice, progress);
        }
        if self.lags_behind(&all) {
            return (frame, More::Now);
        }
        if all.iter().any(|progress| matches!(progress.end, Some(End::Refused(_) | End::Lost | End::Stopped))) {
            frame.push_str(&ApiError::stopping().event());
            return (frame, More::Never);
        }
        if all.iter().any(|progress| progress.end.is_none()) {
            return (frame, More::Later);
        }
        if self.reply.include_usage {
            frame.push_str(&self.reply.head.usage_event(self.reply.usage(&all)));
        }
        frame.push_str(super::wire::DONE);
        (frame, More::Never)
    }

    fn lags_behind(&self, all: &[Progress]) -> bool {
        all.iter().zip(&self.tokens).any(|(progress, told)| *told < progress.tokens.0)
    }

    /// What a further token has added to the text. Some add nothing: a character of several tokens comes with the last.
    fn push_spoken(&mut self, frame: &mut String, choice: usize, speech: &Speech) {
        let index = self.tokens[choice];
        if index == 0 {
            frame.push_str(&self.reply.head.role_event(choice).unwrap_or_default());
        }
        self.tokens[choice] += 1;
        let upto = speech.marks.get(index as usize).copied().unwrap_or(speech.text.len());
        self.push_text(frame, choice, speech, upto, None);
    }

    fn push_text(&mut self, frame: &mut String, choice: usize, speech: &Speech, upto: usize, end: Option<&Finish>) {
        let from = std::mem::replace(&mut self.said[choice], upto);
        if from < upto || end.is_some() {
            frame.push_str(&self.reply.head.token_event(choice, &speech.text[from..upto], end));
        }
    }

    /// The last event of a reply that workers computed: why it ended, and the text that was held back until then.
    fn close_spoken(&mut self, frame: &mut String, choice: usize, progress: &Progress) {
        let Some(speech) = &progress.speech else { return };
        let all = self.tokens[choice] == progress.tokens.0 && progress.end == Some(End::Finished);
        if all && !std::mem::replace(&mut self.closed[choice], true) {
            self.push_text(frame, choice, speech, speech.text.len(), Some(&finish(progress)));
        }
    }

    fn push_token(&mut self, frame: &mut String, choice: usize) {
        let (head, index) = (&self.reply.head, self.tokens[choice]);
        if index == 0 {
            // As vLLM does: the role comes with the first token, not before it.
            frame.push_str(&head.role_event(choice).unwrap_or_default());
        }
        self.word.clear();
        self.reply.push_word(&mut self.word, choice, index);
        self.tokens[choice] += 1;
        let last = self.tokens[choice] == self.reply.output.0;
        frame.push_str(&head.token_event(choice, &self.word, last.then_some(&Finish::LENGTH)));
    }
}

enum More {
    Now,
    Later,
    Never,
}
