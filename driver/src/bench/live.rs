//! What a run shows while it is under way: one line that is written again and again on a terminal, a line now and then in a log.

use super::exchange::Observed;
use super::watch::Watch;
use sim::ledger::quantile;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

/// The levels of a small histogram.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Latest TTFTs that are shown.
const LATEST: usize = 512;

/// Shows progress on stderr.
#[derive(Debug)]
pub struct Live {
    all: usize,
    sent: u64,
    over: u64,
    errors: BTreeMap<String, u64>,
    /// The latest TTFTs, nanoseconds, oldest overwritten first.
    ttft: Vec<u64>,
    cached: (u64, u64),
    began: Instant,
    terminal: bool,
    quiet: bool,
    drawn: usize,
}

impl Live {
    /// For so many requests.
    #[must_use]
    pub fn new(all: usize, terminal: bool, quiet: bool) -> Self {
        Self {
            all,
            sent: 0,
            over: 0,
            errors: BTreeMap::new(),
            ttft: Vec::new(),
            cached: (0, 0),
            began: Instant::now(),
            terminal,
            quiet,
            drawn: 0,
        }
    }

    fn clear(&mut self) {
        let up = std::mem::take(&mut self.drawn);
        let erase = if up > 0 { format!("\x1b[{up}A\r\x1b[J") } else { String::new() };
        let _ = std::io::stderr().write_all(erase.as_bytes());
    }

    /// Progress, rates, errors, hits; then the histogram of the latest TTFTs.
    fn lines(&self) -> Vec<String> {
        let seconds = self.began.elapsed().as_secs_f64().max(1e-3);
        let mut sorted = self.ttft.clone();
        sorted.sort_unstable();
        let at = |q| quantile(&sorted, q).map_or_else(|| "-".to_owned(), |nanos| format!("{:.1}", nanos / 1e6));
        let failed: u64 = self.errors.values().sum();
        let hits = match self.cached {
            (_, 0) => "-".to_owned(),
            (cached, prompts) => format!("{:.1} %", cached as f64 / prompts as f64 * 100.0),
        };
        let mut lines = vec![format!(
            "{}/{} done, {} in flight, {:.1} req/s, TTFT P50 {} ms P99 {} ms, hits {hits}, {failed} failed, {seconds:.0} s",
            self.over,
            self.all,
            self.sent - self.over,
            self.over as f64 / seconds,
            at(0.5),
            at(0.99)
        )];
        if !self.errors.is_empty() {
            let each: Vec<String> = self.errors.iter().map(|(class, count)| format!("{class} {count}")).collect();
            lines.push(format!("failed: {}", each.join(", ")));
        }
        lines
    }

    fn bar(&self) -> String {
        let width = 40;
        let full = (self.over as usize * width).checked_div(self.all).unwrap_or_default().min(width);
        format!("[{}{}]", "#".repeat(full), ".".repeat(width - full))
    }

    /// Counts of the latest TTFTs between the least and the greatest.
    fn histogram(&self) -> Option<String> {
        let (least, most) = (*self.ttft.iter().min()?, *self.ttft.iter().max()?);
        let mut counts = [0u64; 40];
        for ttft in &self.ttft {
            let place = u128::from(ttft - least) * 39 / u128::from((most - least).max(1));
            counts[place as usize] += 1;
        }
        let highest = *counts.iter().max()?;
        let level = |count: u64| if count == 0 { ' ' } else { LEVELS[((count * 7).div_ceil(highest) as usize).min(7)] };
        let drawn: String = counts.into_iter().map(level).collect();
        Some(format!("TTFT {:.1} ms |{drawn}| {:.1} ms", least as f64 / 1e6, most as f64 / 1e6))
    }
}

impl Watch for Live {
    /// A terminal's lines go away.
    fn end(&mut self) {
        if self.terminal && !self.quiet {
            self.clear();
        }
    }

    fn sent(&mut self) {
        self.sent += 1;
    }

    fn ended(&mut self, observed: &Observed) {
        self.over += 1;
        match &observed.result {
            Err(problem) => *self.errors.entry(problem.class.clone().into_owned()).or_default() += 1,
            Ok(()) => {
                if let Some(first) = observed.seen.first_content.filter(|_| observed.streamed) {
                    let ttft = first.saturating_sub(observed.dispatched);
                    if self.ttft.len() < LATEST {
                        self.ttft.push(ttft);
                    } else {
                        self.ttft[self.over as usize % LATEST] = ttft;
                    }
                }
                if let Some((usage, cached)) = observed.seen.usage.and_then(|usage| Some((usage, usage.cached_tokens?)))
                {
                    self.cached.0 += cached;
                    self.cached.1 += usage.prompt_tokens;
                }
            }
        }
    }

    fn period(&self) -> Duration {
        if self.terminal { Duration::from_millis(250) } else { Duration::from_secs(10) }
    }

    fn show(&mut self) {
        if self.quiet || self.over == 0 {
            return;
        }
        let mut lines = self.lines();
        if self.terminal {
            lines[0] = format!("{} {}", self.bar(), lines[0]);
            lines.extend(self.histogram());
            self.clear();
            self.drawn = lines.len();
        }
        let _ = writeln!(std::io::stderr(), "{}", lines.join("\n"));
    }
}
