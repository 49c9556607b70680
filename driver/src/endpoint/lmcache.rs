//! LMCache's settings, as far as the worker's environment variables give them.
//!
//! Names, defaults and how values are read are those of LMCache 0.3.7 to 0.5.6 (`v1/config.py`).

use super::problem::{Code, Findings};
use super::settings::{CachePolicy, LmCache};
use crate::suggest;
use crate::yaml::{Node, Place, quoted};

/// Where a variable stands, and its value.
struct Given<'a> {
    name: &'a str,
    value: &'a str,
    at: Place,
    path: &'a str,
}

type Set = fn(&mut LmCache, &Given<'_>, &mut Findings) -> Result<(), String>;

/// What a simulation takes into account.
const SIMULATED: [(&str, Set); 9] = [
    ("LMCACHE_CHUNK_SIZE", |to, given, _| whole(given, 1).map(|tokens| to.chunk_size = Some(tokens))),
    ("LMCACHE_LOCAL_CPU", |to, given, _| truth(given).map(|on| to.local_cpu = Some(on))),
    ("LMCACHE_MAX_LOCAL_CPU_SIZE", |to, given, _| gibibytes(given).map(|bytes| to.max_local_cpu_bytes = Some(bytes))),
    ("LMCACHE_CACHE_POLICY", |to, given, findings| policy(to, given, findings)),
    ("LMCACHE_ENABLE_ASYNC_LOADING", |to, given, _| truth(given).map(|on| to.enable_async_loading = Some(on))),
    ("LMCACHE_USE_LAYERWISE", |to, given, _| truth(given).map(|on| to.use_layerwise = Some(on))),
    ("LMCACHE_SAVE_UNFULL_CHUNK", |to, given, _| truth(given).map(|on| to.save_unfull_chunk = Some(on))),
    ("LMCACHE_SAVE_DECODE_CACHE", |to, given, _| truth(given).map(|on| to.save_decode_cache = Some(on))),
    ("LMCACHE_MIN_RETRIEVE_TOKENS", |to, given, _| whole(given, 0).map(|tokens| to.min_retrieve_tokens = Some(tokens))),
];

/// What changes nothing that is simulated, or is warned of elsewhere.
const WITHOUT_EFFECT: [&str; 7] = [
    "LMCACHE_CONFIG_FILE",
    "LMCACHE_CONTROLLER_PULL_URL",
    "LMCACHE_CONTROLLER_URL",
    "LMCACHE_INSTANCE_ID",
    "LMCACHE_LOG_LEVEL",
    "LMCACHE_TRACK_USAGE",
    "LMCACHE_USE_EXPERIMENTAL",
];

/// What LMCache knows and a simulation leaves out: near to a name above without being meant for it.
const NOT_SIMULATED: [&str; 12] = [
    "LMCACHE_ENABLE_BLENDING",
    "LMCACHE_ENABLE_CONTROLLER",
    "LMCACHE_ENABLE_P2P",
    "LMCACHE_ENABLE_PD",
    "LMCACHE_EXTRA_CONFIG",
    "LMCACHE_LOCAL_CPU_USE_HUGEPAGES",
    "LMCACHE_LOCAL_DISK",
    "LMCACHE_MAX_LOCAL_DISK_SIZE",
    "LMCACHE_PRE_CACHING_HASH_ALGORITHM",
    "LMCACHE_REMOTE_SERDE",
    "LMCACHE_REMOTE_URL",
    "LMCACHE_RESERVE_LOCAL_CPU_SIZE",
];

/// Takes in one variable; `path` is where it stands.
pub(super) fn read(to: &mut LmCache, name: &str, value: &Node, path: &str, findings: &mut Findings) {
    // What is no text has been reported by `check`; nothing is what a variable has that is not set.
    let Some(text) = value.text().filter(|text| !text.trim().is_empty()) else { return };
    to.config_file |= name == "LMCACHE_CONFIG_FILE";
    if WITHOUT_EFFECT.contains(&name) {
        return;
    }
    let given = Given { name, value: text, at: value.at, path };
    if given.value.contains("$(") {
        let message = format!("not simulated: {name}, whose value is only known in the cluster");
        return findings.warn(Code::NotSimulated, given.at.line, path, message);
    }
    let Some((_, set)) = SIMULATED.iter().find(|(known, _)| *known == name) else {
        let naive = name == "LMCACHE_REMOTE_SERDE" && given.value == "naive";
        if !naive {
            let names = SIMULATED.iter().map(|(known, _)| *known).filter(|_| !NOT_SIMULATED.contains(&name));
            let meant = suggest::clause(name, names);
            findings.warn(Code::NotSimulated, given.at.line, path, format!("not simulated: {name}{meant}"));
        }
        return;
    };
    if let Err(problem) = set(to, &given, findings) {
        findings.problem(given.at, path, problem);
    }
}

fn wrong(given: &Given<'_>, allowed: &str) -> String {
    format!("{} is not a value of {}; allowed: {allowed}", quoted(given.value), given.name)
}

fn whole(given: &Given<'_>, least: u32) -> Result<u32, String> {
    let number = given.value.trim().parse::<u32>().ok().filter(|number| *number >= least);
    number.ok_or_else(|| wrong(given, &format!("a whole number, {least} to {}", u32::MAX)))
}

/// LMCache takes `true` and `1` in any case for true, and everything else for false without a word.
fn truth(given: &Given<'_>) -> Result<bool, String> {
    match given.value.trim().to_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(wrong(given, "true, false, 1, 0 (LMCache takes any other value for false)")),
    }
}

/// GiB, which LMCache calls GB: `int(cpu_size * 1024**3)`.
fn gibibytes(given: &Given<'_>) -> Result<u64, String> {
    let size = given.value.trim().parse::<f64>().ok().filter(|size| (1e-9..=1_048_576.0).contains(size));
    let size = size.ok_or_else(|| wrong(given, "a number of GiB above 0, such as 5 or 0.5"))?;
    Ok((size * f64::from(1 << 30)) as u64)
}

fn policy(to: &mut LmCache, given: &Given<'_>, findings: &mut Findings) -> Result<(), String> {
    to.cache_policy = match given.value.trim().to_uppercase().as_str() {
        "LRU" => Some(CachePolicy::Lru),
        "LFU" => Some(CachePolicy::Lfu),
        "FIFO" => Some(CachePolicy::Fifo),
        "MRU" => {
            let message = "not simulated: LMCACHE_CACHE_POLICY MRU; LRU is simulated instead";
            findings.warn(Code::NotSimulated, given.at.line, given.path, message);
            None
        }
        _ => return Err(wrong(given, "LRU, LFU, FIFO, MRU")),
    };
    Ok(())
}
