//! What the host does for a pass, and when.

use super::Segment;
use kvcache::Span;

/// The host's share of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// How long it works for a pass.
    pub(super) time: Span,
    /// Whether it does so while the GPU runs the pass before (vLLM's `--async-scheduling`), or between passes.
    pub(super) overlapped: bool,
}

impl Host {
    /// The duration of a pass for which the GPU takes `gpu`: both times, or the longer one where they overlap.
    pub(super) fn with(self, gpu: Segment, context: u64) -> Segment {
        if self.overlapped {
            Segment::line(self.time, Span::ZERO).or_longer(gpu, context)
        } else {
            Segment { base: gpu.base + self.time, ..gpu }
        }
    }
}
