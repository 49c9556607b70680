//! Every difference of two runs with its interval, as parts of the first: a forest plot.

use super::svg::{Axis, WIDTH, tenth};
use crate::compare::text::relative;
use crate::compare::tolerance::Allowed;
use crate::compare::{Compared, Verdict};
use maud::{Markup, html};

const ROW: f64 = 21.0;
const LEFT: f64 = 122.0;
const RIGHT: f64 = 84.0;
/// What is further off is drawn at the end.
const FAR: f64 = 1.0;

/// The plot; `name` is unique in the page.
pub(super) fn plot(name: &str, with: &str, figures: &[Compared]) -> Markup {
    let drawn: Vec<&Compared> =
        figures.iter().filter(|figure| figure.relative.is_some() && figure.better.is_some()).collect();
    if drawn.is_empty() {
        return html! {};
    }
    let reach = |figure: &&Compared| {
        let base = figure.a.unwrap_or(1.0).abs();
        let ends = figure.interval.map_or([0.0; 2], |interval| [interval.low / base, interval.high / base]);
        figure.relative.into_iter().chain(ends).fold(0.0, |far: f64, part| far.max(part.abs()))
    };
    let far = drawn.iter().map(reach).fold(0.05, f64::max).min(FAR);
    let axis = Axis::around_zero(far, "", |part| format!("{:+.0} %", part * 100.0).replace("+0", "0"));
    let x = |part: f64| LEFT + axis.place(part) * (WIDTH - LEFT - RIGHT);
    let height = ROW * drawn.len() as f64 + 24.0;
    let told: Vec<String> =
        drawn.iter().map(|figure| format!("{} {}.", figure.name, relative(figure.relative))).collect();
    html! {
        figure.tall {
            h3 { (with) " against A: relative differences with 95 % intervals" }
            svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-labelledby=(format!("{name}-t {name}-d")) {
                title id=(format!("{name}-t")) { "Relative differences" }
                desc id=(format!("{name}-d")) { (told.join(" ")) }
                @for (at, text) in axis.ticks() {
                    line class=(if at.abs() < 1e-12 { "mark" } else { "grid" }) x1=(tenth(x(*at))) x2=(tenth(x(*at))) y1="0" y2=(tenth(height - 20.0)) {}
                    text x=(tenth(x(*at))) y=(tenth(height - 5.0)) text-anchor="middle" { (text) }
                }
                @for (row, figure) in drawn.iter().enumerate() { (line(figure, ROW * row as f64 + ROW / 2.0, &x)) }
            }
            figcaption {
                "Grey band: the tolerance. Filled: told apart from zero; hollow: not, or without an interval within the tolerance. "
                "What is off by more than 100 % is drawn at the end."
            }
        }
    }
}

fn line(figure: &Compared, y: f64, x: &impl Fn(f64) -> f64) -> Markup {
    let base = figure.a.unwrap_or(1.0).abs();
    let part = figure.relative.unwrap_or_default();
    let colour = match figure.verdict {
        Some(Verdict::Regression | Verdict::Off) => "bad",
        Some(Verdict::Better) => "good",
        _ => "6",
    };
    let band = match figure.tolerance {
        Some(Allowed::Relative(part)) => Some(part),
        Some(Allowed::Points(points)) => Some(points / base),
        None => None,
    };
    let apart = figure.interval.is_some_and(crate::compare::bootstrap::Interval::tells_apart);
    html! {
        text x=(LEFT - 8.0) y=(tenth(y + 4.0)) text-anchor="end" { (figure.name) }
        @if let Some(band) = band {
            rect class="band" x=(tenth(x(-band))) width=(tenth(x(band) - x(-band))) y=(tenth(y - 8.0)) height="16" {}
        }
        @if let Some(interval) = figure.interval {
            line class=(format!("whisker s{colour}")) x1=(tenth(x(interval.low / base))) x2=(tenth(x(interval.high / base))) y1=(tenth(y)) y2=(tenth(y)) {}
        }
        @if apart || matches!(figure.verdict, Some(Verdict::Regression | Verdict::Off | Verdict::Better)) {
            circle class=(format!("f{colour}")) cx=(tenth(x(part))) cy=(tenth(y)) r="4" {}
        } @else {
            circle class=(format!("whisker s{colour}")) fill="none" cx=(tenth(x(part))) cy=(tenth(y)) r="3.5" {}
        }
        text x=(tenth(WIDTH - 2.0)) y=(tenth(y + 4.0)) text-anchor="end" { (relative(Some(part))) }
    }
}
