//! How a rate changes while requests arrive: a line through points, and bursts on top of it.
//!
//! Gaps are drawn as those of a process of one request per unit of *expected* requests, and put on the clock where so many
//! are expected: `t = L^-1(s)` with `L(t)` the integral of the rate (time change; Cinlar 1975). Both parts are straight
//! lines between corners, so the inverse is exact. The same seed has the same gaps whatever the shape.

use kvcache::{Span, Time};

/// Corners that a shape may have.
pub const MOST_POINTS: usize = 8;

/// A corner: from here on, or up to here, the rate is so many times the rate that was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// When, from the beginning.
    pub at: Span,
    /// So many times.
    pub factor: f64,
}

/// Times of more than the rate that was asked for, and between them of less: the mean is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bursts {
    /// So many times the rate, in a burst.
    pub factor: f64,
    /// The part of each period that is one, its end.
    pub share: f64,
    /// From the end of one to the end of the next.
    pub period: Span,
}

impl Bursts {
    /// So many times the rate between bursts: what keeps the mean, so not below zero where a burst's part of all requests is
    /// no more than all.
    #[must_use]
    pub fn between(&self) -> f64 {
        ((1.0 - self.share * self.factor) / (1.0 - self.share)).max(0.0)
    }
}

/// A rate's course.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shape {
    points: [Point; MOST_POINTS],
    count: usize,
    bursts: Option<Bursts>,
}

impl Shape {
    /// A straight line from each point to the next; before the first its factor, behind the last its. Two at one time are a
    /// step. No points: the rate that was asked for. Gives what is wrong where it is none.
    ///
    /// # Errors
    /// Where there are more than [`MOST_POINTS`], times run backwards, or nothing arrives behind the last.
    pub fn through(points: &[Point]) -> Result<Self, &'static str> {
        let mut shape = Self::default();
        if points.len() > MOST_POINTS {
            return Err("more than 8 points");
        }
        if !points.is_sorted_by(|a, b| a.at <= b.at) {
            return Err("times run backwards");
        }
        if points.last().is_some_and(|last| last.factor <= 0.0) {
            return Err("the last factor is 0, so that the last requests never come");
        }
        shape.points[..points.len()].copy_from_slice(points);
        shape.count = points.len();
        Ok(shape)
    }

    /// The same line with bursts on top; without, where these change nothing.
    #[must_use]
    pub fn with_bursts(self, bursts: Bursts) -> Self {
        let changes = bursts.share > 0.0 && bursts.share < 1.0 && bursts.factor - 1.0 != 0.0;
        Self { bursts: changes.then_some(bursts), ..self }
    }

    /// Its points.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points[..self.count]
    }

    /// Whether it is the rate that was asked for, at all times.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        self.bursts.is_none() && self.points().iter().all(|point| point.factor - 1.0 == 0.0)
    }
}

/// Requests that rounding may put on the wrong side of a corner, behind which nothing may come for long.
const ROUNDED: f64 = 1e-6;

/// A way along a shape, from corner to corner. Corners are counted, so that it goes on whatever rounding does.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    shape: Shape,
    /// Requests per second.
    rate: f64,
    /// Seconds from the beginning.
    at: f64,
    /// Points passed.
    passed: usize,
    /// Ends of bursts and of what is between them passed; even: between bursts.
    phase: u64,
}

impl Walk {
    pub(super) const fn new(shape: Shape, rate: f64) -> Self {
        Self { shape, rate, at: 0.0, passed: 0, phase: 0 }
    }

    /// When `requests` more are expected to have come than when this was asked last. O(corners passed).
    pub(super) fn on(&mut self, requests: f64) -> Time {
        let mut left = requests;
        loop {
            let burst = self.shape.bursts.map_or(f64::INFINITY, |bursts| self.end_of_phase(&bursts));
            let point = self.shape.points().get(self.passed).map_or(f64::INFINITY, |point| point.at.as_secs_f64());
            let end = burst.min(point).max(self.at);
            let (from, to) = (self.rate_at(self.at), self.rate_at(end));
            let length = end - self.at;
            let expected = 0.5 * (from + to) * length;
            if end.is_infinite() || left < expected + ROUNDED {
                self.at +=
                    solved(left, from, if end.is_infinite() || length == 0.0 { 0.0 } else { (to - from) / length })
                        .min(length);
                return Time(Span::from_secs_f64(self.at).0);
            }
            left -= expected;
            self.at = end;
            if point <= burst {
                self.passed += 1;
            } else {
                self.phase += 1;
                left -= self.skip_periods(left);
            }
        }
    }

    /// Behind the last point whole periods are alike: those that are passed are not walked. What is expected in them.
    fn skip_periods(&mut self, left: f64) -> f64 {
        let Some(bursts) =
            self.shape.bursts.filter(|_| self.passed == self.shape.count && self.phase.is_multiple_of(2))
        else {
            return 0.0;
        };
        let each = self.rate * self.line_at(self.at) * bursts.period.as_secs_f64();
        let periods = libm::floor(left / each).max(0.0);
        self.phase += 2 * periods as u64;
        self.at = (self.phase / 2) as f64 * bursts.period.as_secs_f64();
        periods * each
    }

    fn end_of_phase(&self, bursts: &Bursts) -> f64 {
        let within = if self.phase.is_multiple_of(2) { 1.0 - bursts.share } else { 1.0 };
        ((self.phase / 2) as f64 + within) * bursts.period.as_secs_f64()
    }

    /// Requests per second at `at`, which lies between the corner passed last and the next one.
    fn rate_at(&self, at: f64) -> f64 {
        let burst = self
            .shape
            .bursts
            .map_or(1.0, |bursts| if self.phase.is_multiple_of(2) { bursts.between() } else { bursts.factor });
        self.rate * burst * self.line_at(at)
    }

    fn line_at(&self, at: f64) -> f64 {
        let points = self.shape.points();
        match (self.passed.checked_sub(1).map(|before| points[before]), points.get(self.passed)) {
            (None, None) => 1.0,
            (None, Some(only)) => only.factor,
            (Some(only), None) => only.factor,
            (Some(from), Some(to)) => {
                let length = to.at.as_secs_f64() - from.at.as_secs_f64();
                let part = if length > 0.0 { ((at - from.at.as_secs_f64()) / length).clamp(0.0, 1.0) } else { 1.0 };
                from.factor + part * (to.factor - from.factor)
            }
        }
    }
}

/// The seconds in which `requests` are expected at a rate that is `from` and grows by `slope` a second.
fn solved(requests: f64, from: f64, slope: f64) -> f64 {
    if requests <= 0.0 {
        return 0.0;
    }
    // The root of slope / 2 x^2 + from x = requests, in the form that nothing cancels in.
    2.0 * requests / (from + libm::sqrt((from * from + 2.0 * slope * requests).max(0.0)))
}
