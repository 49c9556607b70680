//! The page of a validation: figures beside what they should be.

use super::tables::table;
use super::{provenance, shell};
use maud::html;
use serde_json::Value;

/// The page of `checks.json` and the `run.json` beside it.
pub(super) fn page(checks: &Value, run: &Value) -> String {
    let checks: &[Value] = checks["checks"].as_array().map_or(&[], Vec::as_slice);
    let kept = checks.iter().filter(|check| check["ok"] == true).count();
    let figure = |check: &Value, key: &str| check[key].as_f64().map_or_else(|| "-".to_owned(), figure);
    let percent = |check: &Value, key: &str| {
        check[key].as_f64().map_or_else(|| "-".to_owned(), |part| format!("{:.3}", part * 100.0))
    };
    let rows = html! {
        @for check in checks {
            tr {
                th scope="row" { (check["name"].as_str().unwrap_or("-")) }
                td { (figure(check, "expected")) }
                td { (figure(check, "simulated")) }
                td { (percent(check, "error")) }
                td { (percent(check, "tolerance")) }
                @if check["ok"] == true { td.t { span.good { "ok" } } } @else { td.t { span.bad { "falls short" } } }
            }
        }
    };
    let heads = [
        ("check", true),
        ("expected", false),
        ("simulated", false),
        ("error, %", false),
        ("tolerance, %", false),
        ("", true),
    ];
    let all = kept == checks.len();
    let body = html! {
        span.kind { "validation" }
        h1 { "Is it true?" }
        p class=(if all { "verdict pass" } else { "verdict fail" }) {
            b { (kept) " of " (checks.len()) " checks hold." }
        }
        (table("Figures of the simulator beside what they should be", &heads, &rows))
        (provenance::of(run))
    };
    shell(&format!("Validation: {kept} of {} checks hold", checks.len()), &body)
}

/// Five significant digits.
fn figure(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = (4 - value.abs().log10().floor() as i32).clamp(0, 12) as usize;
    format!("{value:.digits$}")
}
