//! A rate that changes: the counts of every window are those expected, and the draws those of the constant rate.

use super::*;
use sim::workload::shape::{Bursts, Point, Shape};

const RATE: f64 = 20.0;

fn point(seconds: u64, factor: f64) -> Point {
    Point { at: Span::from_secs(seconds), factor }
}

fn bursts(factor: f64, share: f64, seconds: u64) -> Bursts {
    Bursts { factor, share, period: Span::from_secs(seconds) }
}

fn times(shape: Shape, burstiness: f64, seed: u64) -> Vec<f64> {
    let arrivals = Arrivals::Shaped { rate: RATE, burstiness, shape };
    let workload = Unrelated { requests: 40_000, ..UNRELATED }.generate(arrivals, Streams::new(seed));
    assert!(workload.requests().is_sorted_by_key(|request| request.at));
    workload.requests().iter().map(|request| Span(request.at.0).as_secs_f64()).collect()
}

/// The rate as a sum of thin slices says, not as the generator works it out.
fn expected(shape: &Shape, bursts: Option<Bursts>, from: f64, to: f64) -> f64 {
    let line = |at: f64| {
        let points: Vec<(f64, f64)> =
            shape.points().iter().map(|point| (point.at.as_secs_f64(), point.factor)).collect();
        let behind = points.iter().position(|(when, _)| *when > at);
        match behind {
            None => points.last().map_or(1.0, |(_, factor)| *factor),
            Some(0) => points[0].1,
            Some(place) => {
                let ((a, low), (b, high)) = (points[place - 1], points[place]);
                low + (high - low) * (at - a) / (b - a)
            }
        }
    };
    let burst = |at: f64| {
        let Some(bursts) = bursts else { return 1.0 };
        let period = bursts.period.as_secs_f64();
        let in_burst = (at / period).fract() >= 1.0 - bursts.share;
        if in_burst { bursts.factor } else { (1.0 - bursts.share * bursts.factor) / (1.0 - bursts.share) }
    };
    let slices = 20_000;
    let width = (to - from) / f64::from(slices);
    let middle = |slice: u32| from + (f64::from(slice) + 0.5) * width;
    (0..slices).map(|slice| RATE * line(middle(slice)) * burst(middle(slice)) * width).sum()
}

#[test]
fn windows_hold_as_many_requests_as_are_expected() {
    let ramp = [point(0, 0.2), point(600, 2.0), point(900, 0.5), point(900, 1.5), point(1200, 1.0)];
    let ramp = Shape::through(&ramp).expect("it is a line");
    let silent = Shape::through(&[point(100, 0.0), point(300, 0.0), point(400, 1.0)]).expect("it is a line");
    let burst = bursts(5.0, 0.15, 60);
    let most = bursts(4.0, 0.25, 30); // nothing at all between
    for (name, line, bursts) in [
        ("ramp", ramp, None),
        ("silent", silent, None),
        ("bursts", Shape::default(), Some(burst)),
        ("only bursts", Shape::default(), Some(most)),
        ("both", ramp, Some(burst)),
    ] {
        let shape = bursts.map_or(line, |bursts| line.with_bursts(bursts));
        let times = times(shape, 1.0, 8);
        let last = times[times.len() - 1];
        let (mut squares, mut windows) = (0.0, 0.0);
        // Windows that fit nothing in particular.
        for window in 0..(last / 13.7) as u32 {
            let (from, to) = (13.7 * f64::from(window), 13.7 * f64::from(window + 1));
            let count = times.iter().filter(|at| (from..to).contains(*at)).count() as f64;
            let expected = expected(&line, bursts, from, to);
            if expected < 1.0 {
                assert!(count <= 8.0, "{name}: {count} from {from} s on, where {expected} are expected");
                continue;
            }
            assert!((count - expected).abs() < 5.0 * expected.sqrt() + 2.0, "{name} {from}: {count}, not {expected}");
            (squares, windows) = (squares + (count - expected).powi(2) / expected, windows + 1.0);
        }
        // Poisson counts: each square is 1 on average, with a variance of 2 and a little.
        let error = f64::sqrt(2.5 / windows);
        println!("{name}: {windows} windows, chi-square {:.3} +- {error:.3}", squares / windows);
        assert!((squares / windows - 1.0).abs() < 3.5 * error, "{name}: {}", squares / windows);
    }
}

/// A metronome comes exactly where the integral of the rate says.
#[test]
fn a_metronome_follows_a_line_exactly() {
    let ramp = Shape::through(&[point(0, 0.0), point(100, 2.0)]).expect("it is a line");
    // Up to t, 0.2 t^2 of them are expected; behind, forty a second.
    for (place, at) in times(ramp, 0.0, 1).iter().enumerate() {
        let number = (place + 1) as f64;
        let exact = if number <= 2000.0 { (number / 0.2).sqrt() } else { 100.0 + (number - 2000.0) / 40.0 };
        assert!((at - exact).abs() < 1e-6, "request {place}: {at}, not {exact}");
    }
    let on_off = Shape::default().with_bursts(bursts(4.0, 0.25, 40));
    for (place, at) in times(on_off, 0.0, 1).iter().enumerate() {
        // Eight hundred in the last ten seconds of forty.
        let (period, within) = ((place + 1) / 800, (place + 1) % 800);
        let exact = if within == 0 { period as f64 * 40.0 } else { period as f64 * 40.0 + 30.0 + within as f64 / 80.0 };
        assert!((at - exact).abs() < 1e-6, "request {place}: {at}, not {exact}");
    }
}

#[test]
fn bursts_keep_the_mean_and_a_flat_shape_changes_nothing() {
    let burst = times(Shape::default().with_bursts(bursts(6.0, 0.1, 20)), 1.0, 3);
    let rate = burst.len() as f64 / burst[burst.len() - 1];
    assert!((rate / RATE - 1.0).abs() < 0.02, "{rate}/s");
    let flat = times(Shape::default(), 1.0, 3);
    let poisson =
        Unrelated { requests: 40_000, ..UNRELATED }.generate(Arrivals::Poisson { rate: RATE }, Streams::new(3));
    for (flat, request) in flat.iter().zip(poisson.requests()) {
        assert!((flat - Span(request.at.0).as_secs_f64()).abs() < 1e-6, "the same gaps");
    }
    // The gaps of a burstier process are drawn from its own distribution, whatever the shape.
    let ramp = Shape::through(&[point(0, 2.0)]).expect("it is a line");
    let (once, twice) = (times(Shape::default(), 3.0, 3), times(ramp, 3.0, 3));
    assert!(once.iter().zip(&twice).all(|(once, twice)| (once - 2.0 * twice).abs() < 1e-6 * once.max(1.0)));
}
