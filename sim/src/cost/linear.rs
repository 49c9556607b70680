//! Passes that take so long, and longer for each new token: workers whose speed is known beforehand, whatever the hardware.
//!
//! With `per_pass` alone every token takes as long as any other, however many are decoded together; with `per_token` alone a
//! prompt takes as long as it has tokens. So queues are made whose waits can be worked out.

use super::{CostModel, Segment, Shape};
use kvcache::Span;

/// The cost of a pass: `per_pass + per_token x new tokens`, and `per_prompt` where it computes a part of a prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Linear {
    /// Of each pass.
    pub per_pass: Span,
    /// Of each new token, decoded or of a prompt.
    pub per_token: Span,
    /// Of each pass that computes a part of a prompt.
    pub per_prompt: Span,
}

impl CostModel for Linear {
    fn segment(&self, shape: &Shape) -> Segment {
        let prompt = if shape.tokens > shape.decoders { self.per_prompt } else { Span::ZERO };
        Segment::line(self.per_pass + self.per_token * shape.tokens + prompt, Span::ZERO)
    }
}
