//! Settings that a run never looks at: whoever sets them expects a difference that does not come.

use router::Strategy;

/// What to say where none of these strategies, or not this workload, reads the setting.
pub(crate) fn unread(key: &str, workload: &str, strategies: &[Strategy]) -> Option<String> {
    let (section, name) = key.split_once('.')?;
    let of_workload = match section {
        "docqa" | "chat" | "mixed" => Some(section),
        "shared_system" => Some("shared-system"),
        _ => None,
    };
    if let Some(reader) = of_workload.filter(|reader| *reader != workload) {
        return Some(format!("--set {key}: nothing in this run reads it; it is of the workload {reader}"));
    }
    let readers = readers(name).filter(|_| section == "router")?;
    let read = strategies.iter().any(|strategy| readers.contains(strategy));
    let names: Vec<&str> = readers.iter().map(|strategy| strategy.as_str()).collect();
    (!read).then(|| format!("--set {key}: nothing in this run reads it; who does: {}", names.join(", ")))
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
