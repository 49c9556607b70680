//! A modelled executor: how long a stretch of passes takes, and where an arrival cuts it.
//!
//! A stretch is an arithmetic series: each pass lasts a constant longer than the one before. All of it is integer
//! arithmetic, so a stretch ends at the very picosecond at which going pass by pass would.

use crate::cost::{Axis, CostModel, Segment, Shape};
use crate::replica::Pass;
use kvcache::{Span, Time};

/// About how long a stretch may last: ten days.
const LONGEST: Span = Span::from_secs(864_000);

/// A stretch of passes under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// When the first pass started.
    pub started: Time,
    /// Duration of the first pass.
    pub first: Span,
    /// By how much each pass is longer than the one before.
    pub growth: Span,
    /// Passes to run, at least 1.
    pub passes: u64,
    /// Decoders that emit a token at the end of each pass, a pass after the one before.
    pub steady: u64,
    /// The part of the first pass that its prompts add to what its decoders alone would take.
    pub prefill: Span,
    /// How long its decoders waited before it: the engine stood still.
    pub waited: Span,
    /// How long the first pass, all computed, waited for its loads or stores: part of `first`.
    pub idle: Span,
    /// Of what its passes have more than the cost model was made for.
    pub beyond: Option<Axis>,
}

impl Stretch {
    /// The stretch of `pass`, begun at `now`: as many repeats as the plan and the cost model's line allow.
    pub fn begin(model: &dyn CostModel, pass: &Pass, now: Time) -> Self {
        let segment = model.segment(&pass.shape);
        // A pass takes at least a picosecond: time must move on.
        let first = segment.at(pass.shape.context).max(Span(1));
        let passes = pass.repeats.min(Self::passes_on(&segment, pass));
        // Cut where it would last very long, which changes nothing: 64 bits of picoseconds must hold its end.
        let longest = first + segment.slope * pass.shape.decoders * passes;
        let passes = passes.min((LONGEST.0 / longest.0).max(1));
        Self {
            started: now,
            first,
            growth: segment.slope * pass.shape.decoders,
            passes,
            steady: pass.steady,
            prefill: Self::of_prompts(model, &pass.shape, first),
            waited: Span::ZERO,
            idle: Span::ZERO,
            beyond: segment.beyond,
        }
    }

    /// What the prompts of a pass that lasts `duration` add to what its decoders alone would take. Reading the weights,
    /// which both need, counts as the decoders' where there are any.
    fn of_prompts(model: &dyn CostModel, shape: &Shape, duration: Span) -> Span {
        let decoders = shape.decoders;
        if decoders == shape.tokens {
            return Span::ZERO;
        }
        if decoders == 0 {
            return duration;
        }
        duration.saturating_sub(model.segment(&shape.decoders_alone()).at(shape.context))
    }

    fn passes_on(segment: &Segment, pass: &Pass) -> u64 {
        (segment.valid_to - pass.shape.context)
            .checked_div(pass.shape.decoders)
            .map_or(1, |more| more.saturating_add(1))
    }

    /// How long the first `passes` passes take.
    #[must_use]
    pub fn lasts(&self, passes: u64) -> Span {
        self.first * passes + self.growth * (passes * passes.saturating_sub(1) / 2)
    }

    /// When it ends.
    #[must_use]
    pub fn ends(&self) -> Time {
        self.started + self.lasts(self.passes)
    }

    /// The fewest passes, at least 1 and at most all, whose end lies at or after `at`. O(1).
    #[must_use]
    pub fn passes_until(&self, at: Time) -> u64 {
        if self.passes == 1 || at <= self.started + self.first {
            return 1;
        }
        if at >= self.ends() {
            return self.passes;
        }
        let gap = Span(at.0.saturating_sub(self.started.0));
        // The float only guesses: k first + growth k (k - 1) / 2 = gap; integers decide.
        let (half, first) = (self.growth.0 as f64 / 2.0, self.first.0 as f64);
        let linear = first - half;
        let root = libm::sqrt(linear * linear + 4.0 * half * gap.0 as f64);
        let mut passes = ((2.0 * gap.0 as f64 / (linear + root)) as u64).clamp(1, self.passes);
        while self.lasts(passes) < gap {
            passes += 1;
        }
        while passes > 1 && self.lasts(passes - 1) >= gap {
            passes -= 1;
        }
        passes
    }

    /// Passes that ended by `at`: none up to all.
    #[must_use]
    pub fn passes_ended(&self, at: Time) -> u64 {
        let passes = self.passes_until(at);
        passes - u64::from(self.started + self.lasts(passes) > at)
    }

    /// Passes that started before `at`: at least 1, at most all.
    #[must_use]
    pub fn passes_started(&self, at: Time) -> u64 {
        // The pass that is the first to end at or after `at` started before it.
        self.passes_until(at)
    }
}
