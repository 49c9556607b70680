//! A workload described for people: sizes, sharing and pace, as small plots.

use super::table::number;
use serde_json::{Map, Value, json};
use sim::ledger::quantile;
use sim::workload::description::{Description, GROUPS};

/// Cells of a full bar.
const WIDTH: usize = 40;
/// Groups of a plot of lengths.
const MOST_BINS: u32 = 14;

/// The description in words and plots.
#[must_use]
pub fn text(name: &str, description: &Description) -> String {
    let Description { requests, prompt_tokens, sessions, in_sessions, .. } = description;
    let shown = |count: u64| number(Some(count as f64));
    let mut text = format!(
        "{name}: {} request{}, {} prompt tokens\n\n",
        shown(*requests),
        if *requests == 1 { "" } else { "s" },
        shown(*prompt_tokens)
    );
    match description.ceiling() {
        Some(ceiling) => text.push_str(&format!(
            "reuse ceiling   {:.1} % of prompt tokens: what a cache that forgets nothing would find\n",
            ceiling * 100.0
        )),
        None => text.push_str("reuse ceiling   none: there are no prompt tokens\n"),
    }
    text.push_str(&pace(description));
    text.push_str(&match in_sessions {
        0 => "sessions        none named\n".to_owned(),
        _ => format!(
            "sessions        {}, which {} of the requests name\n",
            shown(*sessions),
            if in_sessions == requests { "all".to_owned() } else { shown(*in_sessions) }
        ),
    });
    text.push_str("\nprompt tokens by how many requests have them, with all that comes before\n");
    text.push_str(&bars(&groups().into_iter().zip(description.shared).collect::<Vec<_>>(), *prompt_tokens));
    for (what, lengths) in [("prompt", &description.prompts), ("output", &description.outputs)] {
        text.push_str(&format!("\n{what} lengths, tokens: {}\n", quantiles(lengths)));
        text.push_str(&bars(&doublings(lengths), *requests));
    }
    text
}

/// The same as a value.
#[must_use]
pub fn json(description: &Description) -> Value {
    let lengths = |sorted: &[u64]| {
        let at = |q| quantile(sorted, q);
        let mean = (!sorted.is_empty()).then(|| sorted.iter().sum::<u64>() as f64 / sorted.len() as f64);
        json!({"mean": mean, "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": sorted.last()})
    };
    json!({
        "requests": description.requests,
        "prompt_tokens": description.prompt_tokens,
        "reuse_ceiling": description.ceiling(),
        "turns_wait": description.turns_wait,
        "span_s": description.span.map(kvcache::Span::as_secs_f64),
        "burstiness": description.burstiness,
        "busiest_minute": description.busiest,
        "sessions": description.sessions,
        "requests_in_sessions": description.in_sessions,
        "shared_tokens": groups().into_iter().zip(description.shared.map(Value::from)).collect::<Map<_, _>>(),
        "input_length": lengths(&description.prompts),
        "output_length": lengths(&description.outputs),
    })
}

fn pace(description: &Description) -> String {
    let Some(span) = description.span else {
        return "arrivals        when replies are complete (a closed loop)\n".to_owned();
    };
    let seconds = span.as_secs_f64();
    let rate = (seconds > 0.0).then(|| (description.requests - 1) as f64 / seconds);
    let mut text = format!("arrivals        over {} s", number(Some(seconds)));
    if let Some(rate) = rate {
        text.push_str(&format!(", {} per second", number(Some(rate))));
    }
    if let (Some(busiest), true) = (description.busiest, seconds >= 120.0) {
        text.push_str(&format!(", {} in the busiest minute", number(Some(busiest as f64))));
    }
    if let Some(burstiness) = description.burstiness {
        text.push_str(&format!("; burstiness {burstiness:.2} (1: Poisson)"));
    }
    if description.turns_wait {
        text.push_str(", where no reply is late: a turn also waits for the one before");
    }
    text.push('\n');
    text
}

fn groups() -> Vec<String> {
    let mut below = 0;
    let name = |most: &u32| {
        let from = below + 1;
        below = *most;
        match *most {
            u32::MAX => format!("{from} or more"),
            most if most == from => most.to_string(),
            most => format!("{from} to {most}"),
        }
    };
    GROUPS.iter().map(name).collect()
}

fn quantiles(sorted: &[u64]) -> String {
    let at = |q| number(quantile(sorted, q).map(f64::round));
    let mean = sorted.iter().sum::<u64>() as f64 / sorted.len().max(1) as f64;
    format!("mean {}, P50 {}, P90 {}, P99 {}", number(Some(mean.round())), at(0.5), at(0.9), at(0.99))
}

/// How many lengths are up to 1, 2, 4, 8, ...; the shortest hundredth is in the first group.
fn doublings(sorted: &[u64]) -> Vec<(String, u64)> {
    let group = |length: u64| length.max(1).next_power_of_two().trailing_zeros();
    let (Some(first), Some(last)) = (sorted.get(sorted.len() / 100), sorted.last()) else { return Vec::new() };
    let low = group(*first).max(group(*last).saturating_sub(MOST_BINS - 1));
    let name = |power: u32| format!("up to {}", number(Some(f64::from(2_u32.saturating_pow(power)))));
    let count = |power: u32| sorted.iter().filter(|length| group(**length).max(low) == power).count() as u64;
    (low..=group(*last)).map(|power| (name(power), count(power))).collect()
}

/// A bar for each, as long as its part of `whole`.
fn bars(parts: &[(String, u64)], whole: u64) -> String {
    let share = |count: u64| count as f64 / whole.max(1) as f64;
    let longest = parts.iter().map(|(_, count)| *count).max().unwrap_or_default();
    let width = parts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default().max(14);
    let line = |(name, count): &(String, u64)| {
        // Eighths of a cell.
        let eighths = (share(*count) / share(longest).max(f64::MIN_POSITIVE) * (8 * WIDTH) as f64).round() as usize;
        let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
        let bar = format!("{}{rest}", "█".repeat(eighths / 8));
        format!("{}\n", format!("  {name:>width$}  {:5.1} %  {bar}", share(*count) * 100.0).trim_end())
    };
    parts.iter().map(line).collect()
}
