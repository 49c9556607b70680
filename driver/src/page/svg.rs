//! Axes, and the frame that curves are drawn into.

use maud::{Markup, html};

/// Of all plots, in the units of their view box.
pub(super) const WIDTH: f64 = 480.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 42.0;
/// Decades that hold too few of 1, 2 and 5.
const NARROW: f64 = 0.8;

/// How values lie along an axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    /// What is written at which value.
    ticks: Vec<(f64, String)>,
    title: String,
}

impl Axis {
    /// From zero to at least `high`, or to one.
    pub(super) fn linear(high: f64, title: &str, show: fn(f64) -> String) -> Self {
        let high = if high > 0.0 && high.is_finite() { high } else { 1.0 };
        let step = nice_step(high / 4.0);
        let top = (high / step).ceil();
        let ticks = (0..=top as u32).map(|tick| f64::from(tick) * step).map(|at| (at, show(at))).collect();
        Self { low: 0.0, high: top * step, logarithmic: false, ticks, title: title.to_owned() }
    }

    /// Times in milliseconds, from zero to `high`.
    pub(super) fn time(high: f64, title: &str) -> Self {
        let about = high / 5000.0;
        let step = if about < 20.0 {
            nice_step(about)
        } else {
            // Minutes and hours are not decimal.
            let steps = [30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0];
            steps.into_iter().find(|step| *step >= about).unwrap_or_else(|| 3600.0 * nice_step(about / 3600.0))
        };
        let ticks = (0..=(high / 1000.0 / step) as u32).map(|tick| f64::from(tick) * step);
        let ticks = ticks.map(|at| (at * 1000.0, seconds_of(at))).collect();
        Self { low: 0.0, high, logarithmic: false, ticks, title: title.to_owned() }
    }

    /// Around zero, as far as `far` to either side.
    pub(super) fn around_zero(far: f64, title: &str, show: fn(f64) -> String) -> Self {
        let step = nice_step(far / 2.5);
        let top = (far / step).ceil().max(1.0);
        let ticks = (-(top as i32)..=top as i32).map(|tick| f64::from(tick) * step).map(|at| (at, show(at))).collect();
        Self { low: -top * step, high: top * step, logarithmic: false, ticks, title: title.to_owned() }
    }

    /// Milliseconds on a logarithmic axis.
    pub(super) fn log_millis(low: f64, high: f64, title: &str) -> Self {
        let low = if low > 0.0 { low } else { 1e-3 };
        let high = high.max(low * 2.0);
        let decades = (high / low).log10();
        if decades < NARROW {
            let step = nice_step((high - low) / 4.0);
            let first = (low / step).ceil() as u32;
            let ticks = (first..=(high / step) as u32).map(|tick| f64::from(tick) * step);
            let ticks = ticks.map(|at| (at, millis(at))).collect();
            return Self { low, high, logarithmic: true, ticks, title: title.to_owned() };
        }
        let steps: &[f64] = if decades < 2.2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let from = low.log10().floor() as i32 - 1;
        let to = high.log10().ceil() as i32 + 1;
        let all = (from..=to).flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)));
        let inside = all.filter(|at| *at >= low * 0.999 && *at <= high * 1.001);
        Self {
            low,
            high,
            logarithmic: true,
            ticks: inside.map(|at| (at, millis(at))).collect(),
            title: title.to_owned(),
        }
    }

    /// What is written at which value.
    pub(super) fn ticks(&self) -> &[(f64, String)] {
        &self.ticks
    }

    /// Where a value lies, from 0 to 1; what lies outside is at the end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = if self.logarithmic {
            (value.max(self.low).ln() - self.low.ln()) / (self.high.ln() - self.low.ln())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        place.clamp(0.0, 1.0)
    }
}

fn nice_step(about: f64) -> f64 {
    let power = 10_f64.powf(about.max(1e-12).log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|step| step * power >= about * 0.999).unwrap_or(10.0);
    step * power
}

/// A number as short as it can be told.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        1_000_000.0.. => format!("{}M", trimmed(value / 1e6, 1)),
        10_000.0.. => format!("{}k", trimmed(value / 1e3, 1)),
        10.0.. => trimmed(value, 1),
        _ => trimmed(value, 3),
    }
}

fn trimmed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A span of so many milliseconds with its unit.
pub(super) fn millis(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        ..1.0 => format!("{} µs", trimmed(value * 1000.0, 1)),
        ..1000.0 => format!("{} ms", trimmed(value, 1)),
        _ => seconds_of(value / 1000.0),
    }
}

fn seconds_of(seconds: f64) -> String {
    match seconds.abs() {
        0.0 => "0".to_owned(),
        ..120.0 => format!("{} s", trimmed(seconds, 2)),
        ..7200.0 => format!("{} min", trimmed(seconds / 60.0, 1)),
        _ => format!("{} h", trimmed(seconds / 3600.0, 1)),
    }
}

/// A plot: two axes, and where values lie between them.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) height: f64,
}

impl Plot {
    pub(super) fn px(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    pub(super) fn py(&self, value: f64) -> f64 {
        self.height - BOTTOM - self.y.place(value) * (self.height - TOP - BOTTOM)
    }

    /// A line through these points.
    pub(super) fn line(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        for (x, y) in points {
            path.push_str(if path.is_empty() { "M" } else { "L" });
            path.push_str(&format!("{:.1} {:.1}", self.px(x), self.py(y)));
        }
        path
    }

    /// The area between two lines over the same places.
    pub(super) fn area(&self, above: &[(f64, f64)], below: &[(f64, f64)]) -> String {
        format!("{}Z", self.line(above.iter().chain(below.iter().rev()).copied()))
    }

    /// The whole picture: what `inside` draws, between the axes. `name` is unique in the page.
    pub(super) fn draw(&self, name: &str, title: &str, description: &str, inside: &Markup) -> Markup {
        let (right, bottom, top) = (WIDTH - RIGHT, self.height - BOTTOM, TOP);
        html! {
            svg viewBox=(format!("0 0 {WIDTH} {}", self.height)) role="img" aria-labelledby=(format!("{name}-t {name}-d")) {
                title id=(format!("{name}-t")) { (title) }
                desc id=(format!("{name}-d")) { (description) }
                @for (at, text) in &self.y.ticks {
                    line class="grid" x1=(LEFT) x2=(right) y1=(tenth(self.py(*at))) y2=(tenth(self.py(*at))) {}
                    text x=(LEFT - 6.0) y=(tenth(self.py(*at) + 4.0)) text-anchor="end" { (text) }
                }
                @for (at, text) in &self.x.ticks {
                    line class="grid" x1=(tenth(self.px(*at))) x2=(tenth(self.px(*at))) y1=(top) y2=(bottom) {}
                    text x=(tenth(self.px(*at))) y=(bottom + 16.0) text-anchor="middle" { (text) }
                }
                line class="axis" x1=(LEFT) x2=(right) y1=(bottom) y2=(bottom) {}
                text x=(tenth((LEFT + right) / 2.0)) y=(bottom + 35.0) text-anchor="middle" { (self.x.title) }
                (inside)
            }
        }
    }
}

/// To a tenth: more cannot be seen.
pub(super) fn tenth(value: f64) -> String {
    trimmed(value, 1)
}
