use crate::measure::{Cell, Row};
use std::fmt;
use std::fs;
use std::process::Command;

/// Figures of many rounds.
#[derive(Clone, Debug)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Nothing where there are no figures.
    #[must_use]
    pub fn new(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_unstable_by(f64::total_cmp);
        (!figures.is_empty()).then_some(Self(figures))
    }

    /// The figure that a share `q` of all lies below; between two of them in proportion (R's type 7).
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        let place = q * (self.0.len() - 1) as f64;
        let (below, above) = (self.0[place.floor() as usize], self.0[place.ceil() as usize]);
        below + (above - below) * place.fract()
    }

    /// Half lies below.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high, most] = [0.25, 0.75, 0.9].map(|q| figure(self.quantile(q)));
        write!(f, "{} ({low}-{high}, {most})", figure(self.median()))
    }
}

/// Three digits that count.
fn figure(value: f64) -> String {
    match value {
        100_000.0.. => format!("{:.2} M", value / 1e6),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Where and when it was measured.
#[derive(Clone, Debug)]
pub struct Machine {
    processor: String,
    threads: usize,
    rustc: String,
    date: String,
    load: String,
}

impl Machine {
    /// This one, now.
    #[must_use]
    pub fn here() -> Self {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processors.lines().find_map(|line| line.strip_prefix("model name"));
        Self {
            processor: processor.map_or("unknown processor", |name| name.trim_start_matches([' ', '\t', ':'])).into(),
            threads: std::thread::available_parallelism().map_or(0, usize::from),
            rustc: said_by("rustc", &["--version"]),
            date: said_by("date", &["-u", "+%F %H:%M UTC"]),
            load: load(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, threads, rustc, date, load: before } = self;
        write!(f, "{processor}, {threads} threads; {rustc}; {date}; load average {before} before, {} after", load())
    }
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
    output.map_or_else(|| format!("{program} unknown"), |output| String::from_utf8_lossy(&output.stdout).trim().into())
}

/// Load average of the last minute.
fn load() -> String {
    let averages = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    averages.split_whitespace().next().unwrap_or("unknown").into()
}

/// Prints one table for each operation: a row for each contender, a column for each cell, the fastest in bold.
///
/// # Panics
/// Where there is no cell.
pub fn print(title: &str, cells: &[Cell]) {
    for (at, operation) in cells[0].operations.iter().enumerate() {
        println!("\n**{operation}**{title}\n");
        let columns: Vec<String> = cells.iter().map(|cell| cell.setting.name()).collect();
        println!("| | {} |\n|---|{}", columns.join(" | "), "---|".repeat(columns.len()));
        let more_is_better = operation.ends_with("/s");
        for (row, Row { name, .. }) in cells[0].rows.iter().enumerate() {
            let shown = cells.iter().map(|cell| match &cell.rows[row].figures[at] {
                None => "-".into(),
                Some(samples) if is_best(cell, row, at, more_is_better) => format!("**{samples}**"),
                Some(samples) => samples.to_string(),
            });
            println!("| {name} | {} |", shown.collect::<Vec<_>>().join(" | "));
        }
    }
}

fn is_best(cell: &Cell, row: usize, at: usize, more_is_better: bool) -> bool {
    let median = |row: usize| {
        let median = cell.rows[row].figures[at].as_ref().map(Samples::median);
        median.map(|median| if more_is_better { -median } else { median })
    };
    let best = (0..cell.rows.len()).filter_map(median).min_by(f64::total_cmp);
    median(row).zip(best).is_some_and(|(own, best)| own <= best)
}
