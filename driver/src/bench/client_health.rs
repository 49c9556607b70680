//! How the client itself did: whether the figures are the server's, or its own lateness.

use super::figures;
use super::rows::{Part, Played, Row};
use crate::process::Usage;
use serde_json::{Value, json};
use sim::ledger::quantile;

/// Lateness that no figure suffers from, milliseconds.
const HARMLESS_MS: f64 = 5.0;
/// Lateness that matters, as a share of the median TTFT.
const NOTABLE: f64 = 0.1;
/// Share of the wall time that the client may compute: beyond it tokens wait to be read.
const BUSY: f64 = 0.9;
/// Share of what was asked for that counts as reached.
const REACHED: f64 = 0.95;

/// What the client measured of itself.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// What it used, from its start to the end of the run.
    pub used: Option<Usage>,
    /// CPU seconds and wall seconds while requests were sent.
    pub running: (f64, f64),
    /// In flight, as asked for, of a closed loop.
    pub asked_concurrency: Option<u32>,
    /// In flight on average, from when the asked number was reached first, or the first was sent, to the last one sent.
    pub achieved_concurrency: Option<f64>,
    /// Most in flight at a time.
    pub most_in_flight: u32,
    /// Requests per second, as asked for, of an open loop.
    pub asked_rate: Option<f64>,
    /// As they were sent.
    pub achieved_rate: Option<f64>,
    /// How much later than scheduled requests were sent: P50, P99 and the most, milliseconds.
    pub lag_ms: Option<[f64; 3]>,
    /// How late the event loop was, P99, milliseconds.
    pub loop_lag_p99_ms: Option<f64>,
    /// Requests of the shortest phase.
    shortest_phase: usize,
    /// Connections opened.
    pub connections: usize,
    /// Why the figures are the client's and not the server's; empty: they are the server's.
    pub limits: Vec<String>,
}

impl Health {
    /// Of a run.
    #[must_use]
    pub fn of(played: &[Played], rows: &[Row<'_>], asked: (Option<u32>, Option<f64>), running: (f64, f64)) -> Self {
        let mut health = Self { asked_concurrency: asked.0, asked_rate: asked.1, running, ..Self::default() };
        health.in_flight(played);
        health.shortest_phase = played.iter().map(|played| played.phase.observed.len()).min().unwrap_or_default();
        // The opening burst is late by nature: so many connections are opened at once.
        let later = |row: &&Row<'_>| row.part != Part::Burst;
        let mut lags: Vec<u64> = rows.iter().filter(later).filter_map(Row::lag).collect();
        if lags.is_empty() {
            lags = rows.iter().filter_map(Row::lag).collect();
        }
        lags.sort_unstable();
        let at = |q| quantile(&lags, q).map(|nanos| nanos / 1e6);
        health.lag_ms = at(0.5).zip(at(0.99)).zip(at(1.0)).map(|((p50, p99), most)| [p50, p99, most]);
        let mut late: Vec<u64> = played.iter().flat_map(|played| played.phase.late.iter().copied()).collect();
        late.sort_unstable();
        health.loop_lag_p99_ms = quantile(&late, 0.99).map(|nanos| nanos / 1e6);
        let sent: Vec<u64> = rows.iter().filter_map(|row| Some(row.observed?.dispatched)).collect();
        let span = sent.iter().max().zip(sent.iter().min()).map(|(last, first)| (last - first) as f64 / 1e9);
        health.achieved_rate = span.filter(|span| *span > 0.0).map(|span| (sent.len() - 1) as f64 / span);
        health.judge(rows);
        health
    }

    fn in_flight(&mut self, played: &[Played]) {
        let (mut area, mut time) = (0.0, 0.0);
        for Played { phase, .. } in played {
            let most = phase.in_flight.iter().map(|(_, count)| *count).max().unwrap_or_default();
            self.most_in_flight = self.most_in_flight.max(most);
            let full = self.asked_concurrency.map_or(1, |asked| asked.min(most)).max(1);
            let Some(from) = phase.in_flight.iter().position(|(_, count)| *count >= full) else { continue };
            let last = phase.in_flight.windows(2).rposition(|pair| pair[1].1 > pair[0].1).unwrap_or(from);
            for pair in phase.in_flight[from..=last.max(from)].windows(2) {
                let span = pair[1].0.saturating_sub(pair[0].0) as f64;
                area += span * f64::from(pair[0].1);
                time += span;
            }
        }
        self.achieved_concurrency = Some(if time > 0.0 { area / time } else { f64::from(self.most_in_flight) });
    }

    fn judge(&mut self, rows: &[Row<'_>]) {
        let ttft = figures::distribution(rows.iter().filter_map(Row::ttft)).p50.unwrap_or_default();
        let bound = HARMLESS_MS.max(ttft * NOTABLE);
        if let Some([_, p99, _]) = self.lag_ms.filter(|lag| lag[1] > bound) {
            self.limits.push(format!("requests were sent up to {p99:.1} ms late (P99), more than {bound:.1} ms"));
        }
        if let Some(late) = self.loop_lag_p99_ms.filter(|late| *late > bound) {
            self.limits.push(format!("the client read up to {late:.1} ms late (P99), more than {bound:.1} ms"));
        }
        let (cpu, wall) = self.running;
        if wall > 0.5 && cpu / wall > BUSY {
            self.limits.push(format!("the client computed {:.0} % of the time", cpu / wall * 100.0));
        }
        let reached = self.asked_concurrency.zip(self.achieved_concurrency);
        // A phase of fewer requests than slots fills no more of them.
        let possible = |asked: u32| f64::from(asked).min(self.shortest_phase as f64);
        if let Some((asked, achieved)) = reached.filter(|(asked, achieved)| *achieved < possible(*asked) * REACHED) {
            self.limits.push(format!("{achieved:.1} of {asked} requests were in flight on average"));
        }
    }

    /// `client_ok` or `client_limited`.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        if self.limits.is_empty() { "client_ok" } else { "client_limited" }
    }

    pub(super) fn json(&self) -> Value {
        let lag = |index: usize| self.lag_ms.map(|lag| lag[index]);
        json!({
            "verdict": self.verdict(),
            "why": self.limits,
            "cpu_seconds": self.used.map(|used| used.cpu_seconds),
            "peak_rss_bytes": self.used.map(|used| used.peak_rss_bytes),
            "wall_seconds": self.used.map(|used| used.wall_seconds),
            "cpu_share": (self.running.1 > 0.0).then(|| self.running.0 / self.running.1),
            "asked_concurrency": self.asked_concurrency,
            "achieved_concurrency": self.achieved_concurrency,
            "max_concurrency": self.most_in_flight,
            "asked_rate": self.asked_rate,
            "achieved_rate": self.achieved_rate,
            "schedule_lag_p50_ms": lag(0),
            "schedule_lag_p99_ms": lag(1),
            "schedule_lag_max_ms": lag(2),
            "event_loop_lag_p99_ms": self.loop_lag_p99_ms,
            "connections_opened": self.connections,
        })
    }
}
