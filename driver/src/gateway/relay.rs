//! An answer's way back: a stream passed on event by event, which always ends in `[DONE]` or in an error.
//!
//! There is no task and no channel: the client's connection polls the worker's. So a slow reader holds up its own worker's
//! connection and nothing else, at most one piece is held for it, and one who goes away closes that connection.

use super::dispatch::{Attempt, Dispatch};
use super::events::Events;
use crate::http::door::{Phase, over};
use crate::http::error::ApiError;
use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, Incoming};
use router::Outcome;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

/// A request's place among those in flight; it is free again when this is gone.
#[derive(Debug)]
pub(super) struct Stay(Arc<Dispatch>);

impl Stay {
    /// `None`: there are `most` already.
    pub(super) fn enter(dispatch: &Arc<Dispatch>, most: usize) -> Option<Self> {
        dispatch.meters.enter(most).then(|| Self(dispatch.clone()))
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.meters.leave();
    }
}

/// A stream of events on its way.
pub(super) struct Relay {
    worker: Incoming,
    first: Option<Bytes>,
    events: Events,
    attempt: Attempt,
    _stay: Stay,
    phase: watch::Receiver<Phase>,
    /// Resolves when requests in flight are given up.
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    silence: Duration,
    heard: Instant,
    quiet: Pin<Box<Sleep>>,
    /// Whom both of them wake.
    waked: Option<Waker>,
    is_over: bool,
}

impl Relay {
    pub(super) fn new(
        worker: Incoming,
        first: Bytes,
        attempt: Attempt,
        stay: Stay,
        mut phase: watch::Receiver<Phase>,
        silence: Duration,
    ) -> Self {
        let heard = Instant::now();
        Self {
            worker,
            first: Some(first),
            events: Events::default(),
            attempt,
            _stay: stay,
            phase: phase.clone(),
            over: Box::pin(async move { over(&mut phase).await }),
            silence,
            heard,
            quiet: Box::pin(sleep_until(heard + silence)),
            waked: None,
            is_over: false,
        }
    }

    /// The last words of a stream that has not told all.
    fn fail(&mut self, outcome: Outcome, error: &ApiError) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.is_over = true;
        self.attempt.finish(outcome);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(error.event())))))
    }

    fn end(&mut self) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let rest = self.events.rest();
        if !self.events.is_done() {
            return self.fail(Outcome::Failed, &cut());
        }
        self.is_over = true;
        self.attempt.finish(Outcome::Answered);
        if rest.is_empty() { Poll::Ready(None) } else { Poll::Ready(Some(Ok(Frame::data(rest)))) }
    }

    /// Whether there is nothing to do but to wait, and whoever would end that knows whom to wake. So it is behind nearly every
    /// token, and to ask each of them again costs more.
    fn goes_on(&mut self, cx: &Context<'_>) -> bool {
        let is_known = self.waked.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !is_known {
            self.waked = Some(cx.waker().clone());
        }
        // A phase that has changed has used up its wake, even where it is not the last one.
        is_known && self.phase.has_changed().is_ok_and(|has| !has) && Instant::now() < self.quiet.deadline()
    }

    /// Whether nothing was heard for too long. The alarm is set anew only when it rings: pieces come often.
    fn is_silent(&mut self, cx: &mut Context<'_>) -> bool {
        while self.quiet.as_mut().poll(cx).is_ready() {
            let until = self.heard + self.silence;
            if until <= Instant::now() {
                return true;
            }
            self.quiet.as_mut().reset(until);
        }
        false
    }
}

fn cut() -> ApiError {
    ApiError::bad_gateway("The worker broke off before the end of its answer.")
}

impl HttpBody for Relay {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        loop {
            let piece = match this.first.take() {
                Some(first) => first,
                None => match Pin::new(&mut this.worker).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(piece) => piece,
                        Err(_) => continue, // trailers
                    },
                    // All was told: however the connection ends is nobody's business.
                    Poll::Ready(Some(Err(_))) if this.events.is_done() => return this.end(),
                    Poll::Ready(Some(Err(_))) => return this.fail(Outcome::Failed, &cut()),
                    Poll::Ready(None) => return this.end(),
                    Poll::Pending => break,
                },
            };
            this.heard = Instant::now();
            let whole = this.events.push(piece);
            if !whole.is_empty() {
                this.attempt.piece(&whole, this.heard.into_std());
            }
            if this.events.is_done() {
                // The client may be gone as soon as it has read this.
                this.attempt.finish(Outcome::Answered);
            }
            if !whole.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(whole))));
            }
        }
        if this.goes_on(cx) {
            return Poll::Pending;
        }
        let is_over = this.over.as_mut().poll(cx).is_ready();
        let is_silent = this.is_silent(cx);
        if (is_over || is_silent) && this.events.is_done() {
            return this.end();
        }
        if is_over {
            return this.fail(Outcome::Cancelled, &ApiError::stopping());
        }
        if is_silent {
            return this.fail(Outcome::Failed, &ApiError::bad_gateway("The worker said nothing for too long."));
        }
        Poll::Pending
    }
}
