//! Distributions of latencies as curves: which part of the requests had no more, on a logarithmic axis.

use super::legend;
use super::svg::{Axis, Plot, millis, tenth};
use crate::compare::metric::Sample;
use maud::{Markup, html};

/// A distribution: latency in ms, and which part of the requests had no more.
pub(super) type Points = Vec<(f64, f64)>;

const LINES: [&str; 4] = ["l1", "l2", "l3", "l4"];
/// Percentiles that are marked.
const MARKED: [(f64, &str); 3] = [(0.5, "P50"), (0.9, "P90"), (0.99, "P99")];

/// The chart of a latency of one run, with its percentiles as they were told.
pub(super) fn chart(sample: Sample, points: &Points, told: [Option<f64>; 3]) -> Markup {
    let marked = MARKED.into_iter().zip(told).filter_map(|((part, name), at)| Some((part, name, at?)));
    draw("", sample, &[("requests", points)], &marked.collect::<Vec<_>>())
}

/// A chart of the distributions of a latency, each with its name. Nothing where nobody has one. `id` tells it from others.
pub(super) fn chart_of(id: &str, sample: Sample, named: &[(&str, &Points)]) -> Markup {
    draw(id, sample, named, &[])
}

/// `marked`: which part, its name, and where it lies.
fn draw(id: &str, sample: Sample, named: &[(&str, &Points)], marked: &[(f64, &str, f64)]) -> Markup {
    let all = || named.iter().flat_map(|(_, points)| points.iter().map(|(at, _)| *at));
    let positive = all().filter(|at| *at > 0.0);
    let (low, high) = (positive.fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    if !low.is_finite() || high <= 0.0 {
        return html! {};
    }
    let what = match sample {
        Sample::Ttft => "Time to first token",
        Sample::Tpot => "Time per output token after the first",
        Sample::E2el => "End-to-end latency",
    };
    let y = Axis::linear(1.0, "", |part| format!("{:.0} %", part * 100.0));
    let x = Axis::log_millis(low * 0.9, high * 1.1, &format!("{} (logarithmic)", sample.as_str()));
    let plot = Plot { x, y, height: 260.0 };
    let id = format!("cdf{id}-{}", sample.as_str().to_lowercase());
    let description = named.iter().map(|(name, points)| words(name, points)).collect::<Vec<_>>().join(" ");
    let lines = html! {
            @for (part, name, at) in marked.iter().copied() {
                line class="mark" x1=(tenth(plot.px(at))) x2=(tenth(plot.px(at))) y1=(tenth(plot.py(part))) y2=(tenth(plot.py(0.0))) {}
                circle class="f1" r="3.5" cx=(tenth(plot.px(at))) cy=(tenth(plot.py(part))) {}
                @let left = plot.px(at) > 400.0;
                text class="strong" x=(tenth(plot.px(at) + if left { -7.0 } else { 7.0 })) y=(tenth(plot.py(part) + if left { -7.0 } else { 14.0 }))
                    text-anchor=(if left { "end" } else { "start" }) { (name) " " (millis(round(at))) }
            }
        @for ((_, points), class) in named.iter().zip(LINES.iter().cycle()) {
            path class=(class) d=(plot.line(points.iter().copied())) {}
        }
    };
    html! {
        figure {
            h3 { (what) }
            (plot.draw(&id, &format!("{what}: cumulative distribution"), &description, &lines))
            @if named.len() > 1 {
                (legend(named.iter().zip(LINES.iter().cycle()).map(|((name, _), class)| (*class, (*name).to_owned()))))
            }
            figcaption { "Share of completed requests that had no more." }
        }
    }
}

/// Where a curve passes a part of the requests.
fn at(points: &Points, part: f64) -> f64 {
    let after = points.partition_point(|(_, below)| *below < part).min(points.len() - 1);
    let (high, right) = points[after];
    match after.checked_sub(1).map(|before| points[before]) {
        Some((low, left)) if right > left => low + (high - low) * (part - left) / (right - left),
        _ => high,
    }
}

/// To three digits.
fn round(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

fn words(name: &str, points: &Points) -> String {
    if points.is_empty() {
        return format!("{name}: none.");
    }
    let told = MARKED.map(|(part, mark)| format!("{mark} {}", millis(round(at(points, part)))));
    format!("{name}: {}.", told.join(", "))
}
