//! Settings that a run never looks at: whoever sets them expects a difference that does not come.

use super::Axis;
use crate::experiment::{Load, Matrix, Tiers};
use router::Strategy;

/// What to say where no strategy and no tier of these runs, or not this workload, reads the setting.
pub(crate) fn unread(key: &str, workload: &str, matrix: &Matrix) -> Option<String> {
    let (section, name) = key.split_once('.')?;
    let of_workload = match section {
        "docqa" | "chat" | "mixed" | "unrelated" => Some(section),
        "shared_system" => Some("shared-system"),
        "code_review" => Some("code-review"),
        "multi_round_qa" => Some("multi-round-qa"),
        _ => None,
    };
    if let Some(reader) = of_workload.filter(|reader| *reader != workload) {
        return Some(format!("--set {key}: nothing in this run reads it; it is of the workload {reader}"));
    }
    let any = |has: fn(Tiers) -> bool| matrix.caches.iter().any(|cache| has(*cache));
    let tier = match section {
        "l1" if !any(Tiers::l1) => Some("L1; --cache l0+l1 turns it on"),
        "l2" if !any(Tiers::l2) => Some("L2; --cache l0+l1+l2 turns it on"),
        "tiers" if !any(|cache| cache.l1() || cache.l2()) => {
            Some("the tiers below the GPU's memory; --cache l0+l1, l0+l2 and l0+l1+l2 turn them on")
        }
        _ => None,
    };
    if let Some(tier) = tier {
        return Some(format!("--set {key}: nothing in this run reads it; it is of {tier}"));
    }
    let strategies = &matrix.strategies;
    let readers = readers(name).filter(|_| section == "router")?;
    let read = strategies.iter().any(|strategy| readers.contains(strategy));
    let names: Vec<&str> = readers.iter().map(|strategy| strategy.as_str()).collect();
    (!read).then(|| format!("--set {key}: nothing in this run reads it; who does: {}", names.join(", ")))
}

/// What to say where none of these runs reads a setting of arrivals.
pub(crate) fn unread_arrivals(key: &str, workload: &str, matrix: &Matrix) -> Option<String> {
    let loads = &matrix.loads;
    let (read, whose) = match key {
        "arrivals.think" => (loads.iter().any(|load| load.users().is_some()), "users, whom --users asks for"),
        "chat.think" => {
            let read = workload != "chat" || loads.iter().any(|load| load.rate().is_some());
            (read, "arrivals that --rate draws; arrivals.think is of --users")
        }
        "arrivals.turns" => {
            let own = |load: &Load| load.rate().is_some() || load.speedup().is_some();
            (loads.iter().any(own), "requests with times of their own: of --rate, or of a trace")
        }
        "arrivals.refused_pause" => {
            let closed = |load: &Load| load.concurrency().is_some() || load.users().is_some();
            let turns = |axis: &Axis| axis.key == "arrivals.turns" && axis.values.iter().any(|value| value == "closed");
            let read = workload == "multi-round-qa" || loads.iter().any(closed) || matrix.axes.iter().any(turns);
            (read, "runs whose users wait for replies: of --concurrency, --users, or arrivals.turns=closed")
        }
        _ if !key.starts_with("arrivals.") => return None,
        _ if workload == "multi-round-qa" => (false, "arrivals that are drawn, and those of multi-round-qa are not"),
        _ => (loads.iter().any(|load| load.rate().is_some()), "arrivals that --rate draws"),
    };
    (!read).then(|| format!("--set {key}: nothing in this run reads it; it is of {whose}"))
}

/// The strategies that go by a setting of the section `router`; `None`: whatever the strategy.
fn readers(name: &str) -> Option<&'static [Strategy]> {
    use Strategy::*;
    Some(match name {
        "chars_per_token" => &[PrefixAware, PrefixAwarePlus],
        "prefix_min_match_length" => &[PrefixAware],
        "kv_aware_threshold" | "lmcache_chunk" => &[KvAware],
        "qps_window" => &[PrefixAware, KvAware, Session],
        "signal_lag" => &[KvAware, LeastLoaded, TwoChoices, SessionPlus, PrefixAwarePlus, KvAwarePlus, PredictedTtft],
        "cache_events" | "speculative" => &[KvAwarePlus, PredictedTtft],
        "index_bytes" => &[PrefixAwarePlus, KvAwarePlus, PredictedTtft],
        "load_slack" => &[PrefixAwarePlus],
        "load_bound" => &[SessionPlus],
        "credit_l0" | "credit_l1" | "credit_l2" | "context_weight" => &[KvAwarePlus],
        "externality" | "lost_again" => &[PredictedTtft],
        _ => return None,
    })
}
