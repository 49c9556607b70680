//! What happened when: requests in flight, throughput, and where prompts came from.

use super::digest::{Digest, Moment};
use super::legend;
use super::svg::{Axis, Plot, millis, short};
use crate::told::quantile;
use maud::{Markup, html};

/// Intervals of a chart.
const BINS: usize = 120;
/// Intervals of a chart of shares, which need some requests each.
const COARSE: usize = 40;

/// The charts. Nothing where times are not told.
pub(super) fn charts(digest: &Digest, tiers: [bool; 3]) -> Markup {
    let end = digest.moments.iter().filter_map(|moment| moment.last.or(Some(moment.sent))).fold(0.0, f64::max);
    if end <= 0.0 {
        return html! {};
    }
    html! { (in_flight(digest, end)) (throughput(digest, end)) (waits(digest)) (sources(digest, end, tiers)) }
}

/// Intervals of equal length.
struct Bins {
    width: f64,
    values: Vec<f64>,
}

impl Bins {
    fn new(end: f64, count: usize) -> Self {
        Self { width: end / count as f64, values: vec![0.0; count] }
    }

    /// Spreads `amount` evenly from one time to another.
    fn spread(&mut self, from: f64, to: f64, amount: f64) {
        let last = self.values.len() - 1;
        let bin = |time: f64| ((time.max(0.0) / self.width) as usize).min(last);
        let (first, until) = (bin(from), bin(to));
        let length = to - from;
        if length <= 0.0 {
            self.values[first] += amount;
            return;
        }
        for place in first..=until {
            let begin = self.width * place as f64;
            let inside = to.min(begin + self.width) - from.max(begin);
            self.values[place] += amount * (inside / length).max(0.0);
        }
    }

    /// A point in the middle of each interval, of what `of` makes of it.
    fn points(&self, of: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        let middle = |place: usize| self.width * (place as f64 + 0.5);
        self.values.iter().enumerate().map(|(place, value)| (middle(place), of(*value))).collect()
    }

    fn most(&self) -> f64 {
        self.values.iter().copied().fold(0.0, f64::max)
    }
}

fn in_flight(digest: &Digest, end: f64) -> Markup {
    let (mut all, mut waiting) = (Bins::new(end, BINS), Bins::new(end, BINS));
    for moment in &digest.moments {
        // Whoever has no end is not counted: nobody knows when it was given up.
        let Some(last) = moment.last else { continue };
        all.spread(moment.sent, last, last - moment.sent);
        if let Some(first) = moment.first {
            waiting.spread(moment.sent, first, first - moment.sent);
        }
    }
    let per = |bins: &Bins| bins.points(|time| time / bins.width);
    let plot = Plot {
        x: Axis::time(end, "time since the start of the run"),
        y: Axis::linear(all.most() / all.width, "", short),
        height: 230.0,
    };
    let most = short((all.most() / all.width).round());
    let description = format!("At most {most} at a time, on average over {BINS} intervals.");
    let lines = html! {
        path class="l1" d=(plot.line(per(&all).into_iter())) {}
        path class="l2" d=(plot.line(per(&waiting).into_iter())) {}
    };
    html! {
        figure {
            h3 { "Requests in flight" }
            (plot.draw("flight", "Requests in flight over time", &description, &lines))
            (legend([("l1", "in flight".to_owned()), ("l2", "of those, waiting for their first token".to_owned())]))
        }
    }
}

fn throughput(digest: &Digest, end: f64) -> Markup {
    let mut tokens = Bins::new(end, BINS);
    for Moment { first, last, output, .. } in &digest.moments {
        if let (Some(first), Some(last)) = (first, last) {
            tokens.spread(*first, *last, f64::from(*output));
        }
    }
    let seconds = tokens.width / 1000.0;
    let plot = Plot {
        x: Axis::time(end, "time since the start of the run"),
        y: Axis::linear(tokens.most() / seconds, "", short),
        height: 230.0,
    };
    let description = format!("At most {} per second.", short((tokens.most() / seconds).round()));
    let line = html! { path class="l1" d=(plot.line(tokens.points(|count| count / seconds).into_iter())) {} };
    html! {
        figure {
            h3 { "Output tokens per second" }
            (plot.draw("tokens", "Output tokens per second over time", &description, &line))
            figcaption { "Each reply's tokens spread evenly from its first to its last." }
        }
    }
}

/// P50 and P90 of the times to first token of those sent at a time.
fn waits(digest: &Digest) -> Markup {
    let waits = digest.moments.iter().filter_map(|moment| Some((moment.sent, moment.first? - moment.sent)));
    let mut waits: Vec<(f64, f64)> = waits.collect();
    let sent = waits.iter().map(|(sent, _)| *sent).fold(0.0, f64::max);
    if sent <= 0.0 {
        return html! {};
    }
    waits.sort_by(|one, other| one.0.total_cmp(&other.0));
    let width = sent / COARSE as f64;
    let bin = |at: f64| ((at / width) as usize).min(COARSE - 1);
    let (mut median, mut tenth) = (Vec::new(), Vec::new());
    for together in waits.chunk_by(|one, other| bin(one.0) == bin(other.0)) {
        let mut spans: Vec<f64> = together.iter().map(|(_, wait)| *wait).collect();
        spans.sort_by(f64::total_cmp);
        let middle = width * (bin(together[0].0) as f64 + 0.5);
        median.extend(quantile(&spans, 0.5).map(|at| (middle, at)));
        tenth.extend(quantile(&spans, 0.9).map(|at| (middle, at)));
    }
    let most = tenth.iter().map(|(_, at)| *at).fold(0.0, f64::max);
    let plot =
        Plot { x: Axis::time(sent, "when the request was sent"), y: Axis::linear(most, "", millis), height: 230.0 };
    let lines = html! {
        path class="l1" d=(plot.line(median.into_iter())) {}
        path class="l2" d=(plot.line(tenth.into_iter())) {}
    };
    let description = format!("The P90 of an interval is at most {}.", millis(most.round()));
    html! {
        figure {
            h3 { "Time to first token" }
            (plot.draw("waits", "Time to first token over time", &description, &lines))
            (legend([("l1", "P50".to_owned()), ("l2", "P90 of those sent at the time".to_owned())]))
        }
    }
}

const TIERS: [(&str, &str); 4] =
    [("f1", "L0, GPU memory"), ("f3", "L1, host memory"), ("f2", "L2, the shared pool"), ("f6", "computed")];

/// Where the prompts came from that were sent at a time.
fn sources(digest: &Digest, end: f64, tiers: [bool; 3]) -> Markup {
    let known: Vec<(&Moment, [u32; 3])> =
        digest.moments.iter().filter_map(|moment| Some((moment, moment.cached?))).collect();
    let sent = known.iter().map(|(moment, _)| moment.sent).fold(0.0, f64::max).max(end / 1e6);
    if known.is_empty() {
        return html! {};
    }
    let mut bins: Vec<Bins> = (0..4).map(|_| Bins::new(sent, COARSE)).collect();
    for (moment, cached) in &known {
        let found: u32 = cached.iter().fold(0, |sum, tokens| sum.saturating_add(*tokens));
        let amounts = [cached[0], cached[1], cached[2], moment.prompt.saturating_sub(found)];
        for (bins, amount) in bins.iter_mut().zip(amounts) {
            bins.spread(moment.sent, moment.sent, f64::from(amount));
        }
    }
    let plot = Plot {
        x: Axis::time(sent, "when the request was sent"),
        y: Axis::linear(1.0, "", |part| format!("{:.0} %", part * 100.0)),
        height: 230.0,
    };
    let layers = layers(&bins);
    let areas = html! {
        @for (layer, (class, _)) in layers.windows(2).zip(TIERS) {
            path class=(class) opacity="0.8" d=(plot.area(&layer[1], &layer[0])) {}
        }
    };
    let all: f64 = bins.iter().flat_map(|bins| &bins.values).sum();
    let share = |bins: &Bins| format!("{:.1} %", 100.0 * bins.values.iter().sum::<f64>() / all.max(1.0));
    let there = [tiers[0], tiers[1], tiers[2], true];
    let names = TIERS.iter().zip(&bins).zip(there).filter(|(_, there)| *there);
    let names: Vec<(&str, String)> =
        names.map(|(((class, name), bins), _)| (*class, format!("{name}: {}", share(bins)))).collect();
    let description = names.iter().map(|(_, name)| format!("{name}.")).collect::<Vec<_>>().join(" ");
    html! {
        figure {
            h3 { "Where prompt tokens came from" }
            (plot.draw("sources", "Prompt tokens by where they came from, over time", &description, &areas))
            (legend(names))
        }
    }
}

/// The borders between the shares of the intervals in which something was sent, from the bottom up, in steps.
fn layers(bins: &[Bins]) -> Vec<Vec<(f64, f64)>> {
    let width = bins[0].width;
    let sum = |place: usize| bins.iter().map(|bins| bins.values[place]).sum::<f64>();
    let places: Vec<usize> = (0..COARSE).filter(|place| sum(*place) > 0.0).collect();
    let ends = |place: &usize| [width * *place as f64, width * (*place + 1) as f64];
    let mut layers = vec![places.iter().flat_map(ends).map(|at| (at, 0.0)).collect::<Vec<_>>()];
    for one in bins {
        let height = |step: usize| one.values[places[step / 2]] / sum(places[step / 2]);
        let below = &layers[layers.len() - 1];
        layers.push(below.iter().enumerate().map(|(step, (at, below))| (*at, below + height(step))).collect());
    }
    layers
}
