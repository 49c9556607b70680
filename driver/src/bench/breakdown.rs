//! Where times to first token went, for servers that tell: the same objects as in a simulated summary.

use super::figures;
use super::rows::Row;
use serde_json::{Map, Value, json};

/// The parts in order, each with what gives it, ms.
type Part = (&'static str, fn(&Row<'_>) -> Option<f64>);
const PARTS: [Part; 6] = [
    ("api", |row| row.on_the_way()),
    ("line", |row| row.detail().ttft_line_ms),
    ("kv_wait", |row| row.detail().ttft_kv_wait_ms),
    ("budget_wait", |row| row.detail().ttft_budget_wait_ms),
    ("tiers", |row| row.detail().ttft_tiers_ms),
    ("compute", |row| row.detail().ttft_compute_ms),
];

/// The parts of all TTFTs (`ttft_parts`). Null where the server does not tell all of them.
pub(super) fn parts(done: &[&Row<'_>]) -> Value {
    let Some((means, whole)) = means(done) else { return Value::Null };
    let mut object = Map::new();
    for ((name, of), mean) in PARTS.into_iter().zip(means) {
        // What is on the way may be measured as less than nothing, by the clocks' grain.
        let nanos = done.iter().filter_map(|row| Some((of(row)?.max(0.0) * 1e6).round() as u64));
        let spread = figures::distribution(nanos);
        let part = json!({ "mean_ms": mean, "share": mean / whole, "p50_ms": spread.p50, "p90_ms": spread.p90 });
        object.insert(name.to_owned(), part);
    }
    Value::Object(object)
}

/// TTFTs of hits, partial hits and misses apart (`ttft_by_class`). Null where the server does not tell what it found.
pub(super) fn by_class(done: &[&Row<'_>]) -> Value {
    if done.iter().all(|row| row.class().is_none()) {
        return Value::Null;
    }
    let mut object = Map::new();
    for class in ["hit", "partial", "miss"] {
        let rows: Vec<&Row<'_>> = done.iter().copied().filter(|row| row.class() == Some(class)).collect();
        let ttft = figures::distribution(rows.iter().filter_map(|row| row.ttft()));
        let shares = means(&rows).map(|(means, whole)| {
            let shares = PARTS.iter().zip(means).map(|((name, _), mean)| ((*name).to_owned(), json!(mean / whole)));
            shares.collect::<Map<String, Value>>()
        });
        let group = json!({
            "requests": rows.len(),
            "mean_ttft_ms": ttft.mean,
            "p50_ttft_ms": ttft.p50,
            "p90_ttft_ms": ttft.p90,
            "p99_ttft_ms": ttft.p99,
            "shares": shares,
        });
        object.insert(class.to_owned(), group);
    }
    Value::Object(object)
}

/// The mean of each part and of all together, ms. `None`: somebody's is not known, or there is nobody.
fn means(rows: &[&Row<'_>]) -> Option<([f64; 6], f64)> {
    let mut sums = [0.0; 6];
    for row in rows {
        for (sum, (_, of)) in sums.iter_mut().zip(PARTS) {
            *sum += of(row)?;
        }
    }
    let means = sums.map(|sum| sum / rows.len() as f64);
    let whole: f64 = means.iter().sum();
    (whole > 0.0).then_some((means, whole))
}
