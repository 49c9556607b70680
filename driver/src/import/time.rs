//! Moments as logs write them: numbers of seconds, milliseconds, micro- or nanoseconds, or dates.

use super::Seen;
use serde_json::Value;
use sim::workload::TraceError;

/// Fields that tell when a request came, the best first.
const FIELDS: [&str; 11] = [
    "timestamp",
    "arrival_time",
    "request_time",
    "start_time",
    "started_at",
    "created_at",
    "@timestamp",
    "time",
    "ts",
    "date",
    "created",
];

/// When a request came, by the first of the usual fields. What they hold is nobody else's business.
///
/// # Errors
/// Where that is no time.
pub(super) fn of(value: &Value) -> Result<Option<f64>, String> {
    let found = FIELDS.iter().find_map(|field| Some((*field, value.get(*field).filter(|value| !value.is_null())?)));
    let Some((field, value)) = found else { return Ok(None) };
    moment(value).map(Some).ok_or_else(|| format!("{field} is no time: {ALLOWED}"))
}

/// What a time looks like.
pub(super) const ALLOWED: &str =
    "seconds, or milliseconds since 1970, or a date such as 2026-11-27T10:00:00Z, is expected";

/// The names of the fields, for who has none of them.
pub(super) fn fields() -> String {
    FIELDS.join(", ")
}

/// Seconds. Numbers of this century are told apart by their size.
pub(super) fn moment(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64().filter(|number| number.is_finite() && *number >= 0.0).map(seconds),
        Value::String(text) => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Some(seconds(number)),
            _ => date(text.trim()),
        },
        _ => None,
    }
}

fn seconds(number: f64) -> f64 {
    match number {
        1e17.. => number / 1e9,
        1e14.. => number / 1e6,
        1e11.. => number / 1e3,
        _ => number,
    }
}

/// With a zone, or without one as UTC: only differences matter.
pub(super) fn date(text: &str) -> Option<f64> {
    let zoned = text.parse::<jiff::Timestamp>().ok();
    let civil = || jiff::tz::TimeZone::UTC.to_timestamp(text.parse::<jiff::civil::DateTime>().ok()?).ok();
    let timestamp = zoned.or_else(civil)?;
    Some(timestamp.as_nanosecond() as f64 / 1e9)
}

/// Units that times may be in, in seconds.
pub const UNITS: [(&str, f64); 4] = [("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)];

/// Before it no moment is meant: September 2001.
const EPOCH: f64 = 1e9;

/// The same with times in seconds, where they count from no known moment and their unit is `unit`.
///
/// # Errors
/// Where nobody says which unit it is, and nothing tells: fractions are of seconds, whole numbers may be anything.
pub(super) fn in_seconds(mut seen: Vec<Seen>, unit: Option<f64>) -> Result<Vec<Seen>, TraceError> {
    let relative = !seen.is_empty() && seen.iter().all(|seen| (0.0..EPOCH).contains(&seen.at));
    let tells = seen.iter().any(|seen| seen.at.fract() != 0.0) || seen.iter().all(|other| other.at - seen[0].at == 0.0);
    if !relative {
        return Ok(seen);
    }
    let Some(unit) = unit else {
        if tells {
            return Ok(seen);
        }
        return Err(TraceError::whole(
            "times are whole numbers that count from no known moment, and may be seconds or milliseconds: say which by --time-unit s or --time-unit ms",
        ));
    };
    seen.iter_mut().for_each(|seen| seen.at *= unit);
    Ok(seen)
}
