//! What befalls a fleet and when, as people write it: an event a line, or several in one with `;` between them.
//!
//! ```text
//! 60s crash 2 for 90s; 5min replicas 4
//! 10min slow 3 by 2.5 for 5min
//! 12min l2 refused for 30s; 15min l2 loses 0 for 1min
//! ```

use super::units;
use kvcache::{Span, Time, WorkerId};
use sim::fleet::{Planned, What};
use sim::transport::Reach;

/// How far ahead an event may be planned: 100 days, as long as a run may last.
const LATEST: Span = Span::from_secs(8_640_000);

/// More events than this are no schedule that anybody wrote.
const MOST_EVENTS: usize = 10_000;

/// The forms of an event; FACTOR is at least 1.
pub(super) const FORMS: &str = "AT crash WORKER [for TIME], AT replicas N, AT slow WORKER by FACTOR [for TIME], AT l2 refused|silent [for TIME], AT l2 loses SHARD [for TIME]";

/// Reads a schedule; `none` is the empty one, and `#` begins a comment. Events at one time happen in the order of the text.
///
/// # Errors
/// The event, and what would be right.
pub(super) fn parse(text: &str) -> Result<Vec<Planned>, String> {
    if text.trim() == "none" {
        return Ok(Vec::new());
    }
    // In a block of YAML, what follows a `#` is part of the text.
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let events = lines.flat_map(|line| line.split(';')).map(str::trim).filter(|event| !event.is_empty());
    let mut planned: Vec<Planned> = Vec::new();
    for event in events {
        if planned.len() == MOST_EVENTS {
            return Err(format!("more than {MOST_EVENTS} events"));
        }
        planned.push(parse_event(event).map_err(|problem| format!("{event:?}: {problem}"))?);
    }
    if planned.is_empty() {
        return Err("no event; write none where nothing is to happen".to_owned());
    }
    planned.sort_by_key(|planned| planned.at);
    Ok(planned)
}

fn parse_event(text: &str) -> Result<Planned, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [at, what, rest @ ..] = words.as_slice() else { return Err(format!("an event is one of {FORMS}")) };
    let at = Time::ZERO + units::span_up_to(at, LATEST)?;
    let (rest, lasts) = match rest {
        [rest @ .., "for", lasts] => (rest, Some(units::span_up_to(lasts, LATEST)?)),
        _ => (rest, None),
    };
    let what = match (*what, rest) {
        ("crash", [worker]) => What::Crash { worker: worker_id(worker)?, lasts },
        ("replicas", [count]) if lasts.is_none() => What::Replicas(small(count, 4096)?),
        ("slow", [worker, "by", factor]) => {
            let factor = units::number(factor, (0.0, 1000.0))?;
            if factor < 1.0 {
                return Err(format!(
                    "{factor} is no slower: passes take so many times as long; half as fast is slow {worker} by 2"
                ));
            }
            let permille = (factor * 1000.0).round() as u32;
            What::Slow { worker: worker_id(worker)?, permille, lasts }
        }
        ("l2", ["refused"]) => What::PoolOut { reach: Reach::Refused, lasts },
        ("l2", ["silent"]) => What::PoolOut { reach: Reach::Silent, lasts },
        ("l2", ["loses", shard]) => What::ShardLost { shard: small(shard, 4095)?, lasts },
        _ => return Err(format!("an event is one of {FORMS}")),
    };
    Ok(Planned { at, what })
}

fn small(text: &str, most: u16) -> Result<u16, String> {
    text.parse().ok().filter(|number| *number <= most).ok_or_else(|| format!("{text:?} is no number from 0 to {most}"))
}

fn worker_id(text: &str) -> Result<WorkerId, String> {
    small(text, 4095).map(WorkerId)
}

/// The schedule as [`parse`] reads it.
pub(super) fn write(schedule: &[Planned]) -> String {
    if schedule.is_empty() {
        return "none".to_owned();
    }
    schedule.iter().map(write_event).collect::<Vec<_>>().join("; ")
}

/// An event of it.
pub(crate) fn write_event(planned: &Planned) -> String {
    let (what, lasts) = match planned.what {
        What::Crash { worker, lasts } => (format!("crash {}", worker.0), lasts),
        What::Replicas(count) => (format!("replicas {count}"), None),
        What::Slow { worker, permille, lasts } => {
            (format!("slow {} by {}", worker.0, f64::from(permille) / 1000.0), lasts)
        }
        What::PoolOut { reach, lasts } => {
            let how = if reach == Reach::Silent { "silent" } else { "refused" };
            (format!("l2 {how}"), lasts)
        }
        What::ShardLost { shard, lasts } => (format!("l2 loses {shard}"), lasts),
    };
    let lasts = lasts.map_or_else(String::new, |lasts| format!(" for {}", brief(lasts)));
    format!("{} {what}{lasts}", brief(Span(planned.at.0)))
}

/// In the largest unit of which it is a whole number: a float would not hold the milliseconds of many days.
fn brief(span: Span) -> String {
    let units = [("s", 1_000_000_000_000), ("ms", 1_000_000_000), ("us", 1_000_000), ("ns", 1_000)];
    let whole = units.iter().find(|(_, picos)| span.0.is_multiple_of(*picos));
    whole.map_or_else(|| format!("{}ms", span.as_millis_f64()), |(unit, picos)| format!("{}{unit}", span.0 / picos))
}
