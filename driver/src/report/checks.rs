//! Figures beside what they should be, for people.

use super::table::{compact, finished};
use crate::validate::Check;
use comfy_table::{Cell, CellAlignment};

/// A row for each.
pub(crate) fn table(checks: &[Check]) -> String {
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let heads = ["expected", "simulated", "error", "tolerance"].map(|head| right(head.to_owned()));
    let mut table = compact([Cell::new("check")].into_iter().chain(heads).chain([Cell::new("")]));
    for check in checks {
        let figures = [
            figure(check.expected),
            figure(check.simulated),
            percent(check.error, true),
            percent(check.tolerance, false),
        ];
        let verdict = if check.ok { "ok" } else { "FALLS SHORT" };
        table.add_row([Cell::new(&check.name)].into_iter().chain(figures.map(right)).chain([Cell::new(verdict)]));
    }
    finished(table)
}

/// Five significant digits.
fn figure(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = (4 - value.abs().log10().floor() as i32).clamp(0, 12) as usize;
    format!("{value:.digits$}")
}

/// What is too small to be seen is nothing, and said to be exact.
fn percent(share: f64, signed: bool) -> String {
    match share {
        _ if !share.is_finite() => share.to_string(),
        _ if share.abs() <= 1e-9 => if signed { "0" } else { "exact" }.to_owned(),
        _ if share.abs() < 1e-3 && signed => format!("{:+.4} %", share * 100.0),
        _ if signed => format!("{:+.2} %", share * 100.0),
        _ => format!("{:.2} %", share * 100.0),
    }
}
