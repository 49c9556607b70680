//! When generated requests arrive, and what waits for replies: its settings, and as a lab file would say them.

use super::describe::span;
use super::settings::{Setting, setting};
use super::{Lab, units};
use kvcache::Span;
use serde_json::{Value, json};
use sim::workload::shape::{Bursts, Point, Shape};

/// Whether a turn waits for the reply to the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// No: all are sent at their own times.
    Open,
    /// Yes.
    Closed,
}

const TURNS: [(&str, Turns); 2] = [("open", Turns::Open), ("closed", Turns::Closed)];

/// How requests arrive.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrivalsLab {
    /// Standard deviation over mean of the gaps.
    pub burstiness: f64,
    /// How the rate changes, bursts apart.
    pub points: Vec<Point>,
    /// So many times the rate in a burst.
    pub burst_factor: f64,
    /// The part of each period that is a burst, in thousandths.
    pub burst_share: u16,
    /// From burst to burst.
    pub burst_period: Span,
    /// How long users think on average.
    pub think: Span,
    /// Whether turns wait.
    pub turns: Turns,
    /// How long whoever is turned away for the moment waits at least.
    pub refused_pause: Span,
}

impl Default for ArrivalsLab {
    fn default() -> Self {
        Self {
            burstiness: 1.0,
            points: Vec::new(),
            burst_factor: 1.0,
            burst_share: 100,
            burst_period: Span::from_secs(60),
            think: Span::from_secs(10),
            turns: Turns::Open,
            // What OpenAI's Python client spends on its two retries, 0.5 s and 1 s, before it gives up.
            refused_pause: Span::from_millis(1500),
        }
    }
}

impl ArrivalsLab {
    /// The course of the rate.
    ///
    /// # Panics
    /// Never: points were checked when they were set.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let line = Shape::through(&self.points).expect("points are checked where they are set");
        let share = f64::from(self.burst_share) / 1000.0;
        line.with_bursts(Bursts { factor: self.burst_factor, share, period: self.burst_period })
    }

    /// What is wrong with bursts: more than all requests cannot be in them.
    ///
    /// # Errors
    /// The remedy.
    pub fn check(&self) -> Result<(), String> {
        let part = self.burst_factor * f64::from(self.burst_share) / 1000.0;
        if part > 1.0 + 1e-9 {
            return Err(format!(
                "arrivals.burst_factor x arrivals.burst_share is {part:.3}: bursts cannot have more than all requests; keep it at 1 or below"
            ));
        }
        Ok(())
    }
}

/// The shortest period of bursts: each is walked through.
const SHORTEST: Span = Span::from_secs(1);

/// Reads `TIME:FACTOR/TIME:FACTOR/...`, or `constant`.
fn points(text: &str) -> Result<Vec<Point>, String> {
    if text == "constant" {
        return Ok(Vec::new());
    }
    let point = |part: &str| {
        let (at, factor) = part.split_once(':').ok_or_else(|| format!("\"{part}\" has no colon"))?;
        Ok(Point { at: units::long_span(at.trim())?, factor: units::number(factor.trim(), (0.0, 1000.0))? })
    };
    let points = text.split('/').map(|part| point(part.trim())).collect::<Result<Vec<_>, String>>()?;
    Shape::through(&points)?;
    Ok(points)
}

fn from_shortest(span: Span) -> Result<Span, String> {
    if span < SHORTEST { Err("shorter than 1s".to_owned()) } else { Ok(span) }
}

/// All of them.
pub(super) const SETTINGS: &[Setting] = &[
    setting!(
        "arrivals.burstiness",
        "number",
        "1",
        "with --rate: standard deviation over mean of the gaps; 0: a metronome, 1: Poisson, above: bursts (gamma)",
        |lab, text| { lab.arrivals.burstiness = units::number(text, (0.0, 10.0))? }
    ),
    setting!(
        "arrivals.shape",
        "list of up to 8 points such as 0s:0.5/10min:2/20min:1, or constant",
        "constant",
        "with --rate: straight lines from TIME:FACTOR to TIME:FACTOR, in times of the rate; two at one time are a step",
        |lab, text| { lab.arrivals.points = points(text)? }
    ),
    setting!(
        "arrivals.burst_factor",
        "number",
        "1",
        "with --rate: so many times the rate in bursts, and less between them, so that the mean stays; 1: no bursts",
        |lab, text| { lab.arrivals.burst_factor = units::number(text, (1.0, 1000.0))? }
    ),
    setting!(
        "arrivals.burst_share",
        "fraction",
        "0.1",
        "with --rate: the part of the time that is bursts; times the factor it is 1 at most",
        |lab, text| { lab.arrivals.burst_share = units::permille(text, 1)? }
    ),
    setting!(
        "arrivals.burst_period",
        "time",
        "60s",
        "with --rate: from the end of one burst to the end of the next",
        |lab, text| { lab.arrivals.burst_period = from_shortest(units::span(text)?)? }
    ),
    setting!(
        "arrivals.think",
        "time",
        "10s",
        "with --users: how long a user thinks between a reply and the next request, on average (exponential)",
        |lab, text| { lab.arrivals.think = units::span(text)? }
    ),
    setting!(
        "arrivals.turns",
        "open | closed",
        "open",
        "whether a session's next request, sent at a rate or as a trace has it, waits for the reply to the one before",
        |lab, text| { lab.arrivals.turns = super::settings::choice(text, &TURNS)? }
    ),
    setting!(
        "arrivals.refused_pause",
        "time",
        "1.5s",
        "where replies decide who sends: how long at least until whoever got 429, or found no worker, sends the next request",
        |lab, text| { lab.arrivals.refused_pause = units::span(text)? }
    ),
];

/// All of them as a lab file says them.
pub(super) fn describe(lab: &Lab) -> Value {
    let ArrivalsLab { burstiness, points, burst_factor, burst_share, burst_period, think, turns, refused_pause } =
        &lab.arrivals;
    let point = |point: &Point| format!("{}s:{}", point.at.as_secs_f64(), point.factor);
    let shape =
        if points.is_empty() { "constant".to_owned() } else { points.iter().map(point).collect::<Vec<_>>().join("/") };
    json!({
        "arrivals.burstiness": burstiness,
        "arrivals.shape": shape,
        "arrivals.burst_factor": burst_factor,
        "arrivals.burst_share": super::describe::fraction(*burst_share),
        "arrivals.burst_period": span(*burst_period),
        "arrivals.think": span(*think),
        "arrivals.turns": TURNS.iter().find(|(_, known)| known == turns).map(|(name, _)| *name),
        "arrivals.refused_pause": span(*refused_pause),
    })
}
