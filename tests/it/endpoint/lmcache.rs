//! LMCache's settings as environment variables: what is read, what is refused, what is not simulated.

use driver::endpoint::{CachePolicy, Code, Endpoint, EndpointError, LmCache, Warning};

use super::{BASE, accepted, codes, with};

const SESSION: &str = "{name: SESSION_KEY, value: user_id}";

fn given(variables: &[(&str, &str)]) -> Result<(Endpoint, Vec<Warning>), EndpointError> {
    let lines = variables.iter().map(|(name, value)| format!("{{name: {name}, value: {value:?}}}\n      - "));
    with(SESSION, &(lines.collect::<String>() + SESSION))
}

fn read(name: &str, value: &str) -> LmCache {
    let (endpoint, warnings) = accepted(given(&[(name, value)]));
    assert_eq!(warnings, [], "{name} {value}");
    endpoint.lmcache
}

#[test]
fn what_is_simulated_is_read_without_a_word() {
    let none = LmCache::default();
    let cases = [
        ("LMCACHE_CHUNK_SIZE", "512", LmCache { chunk_size: Some(512), ..none }),
        ("LMCACHE_CHUNK_SIZE", " 1 ", LmCache { chunk_size: Some(1), ..none }),
        ("LMCACHE_LOCAL_CPU", "False", LmCache { local_cpu: Some(false), ..none }),
        ("LMCACHE_MAX_LOCAL_CPU_SIZE", "20", LmCache { max_local_cpu_bytes: Some(20 << 30), ..none }),
        ("LMCACHE_MAX_LOCAL_CPU_SIZE", "0.5", LmCache { max_local_cpu_bytes: Some(1 << 29), ..none }),
        ("LMCACHE_CACHE_POLICY", "lru", LmCache { cache_policy: Some(CachePolicy::Lru), ..none }),
        ("LMCACHE_CACHE_POLICY", "LFU", LmCache { cache_policy: Some(CachePolicy::Lfu), ..none }),
        ("LMCACHE_CACHE_POLICY", "Fifo", LmCache { cache_policy: Some(CachePolicy::Fifo), ..none }),
        ("LMCACHE_ENABLE_ASYNC_LOADING", "TRUE", LmCache { enable_async_loading: Some(true), ..none }),
        ("LMCACHE_USE_LAYERWISE", "1", LmCache { use_layerwise: Some(true), ..none }),
        ("LMCACHE_SAVE_UNFULL_CHUNK", "0", LmCache { save_unfull_chunk: Some(false), ..none }),
        ("LMCACHE_SAVE_DECODE_CACHE", "true", LmCache { save_decode_cache: Some(true), ..none }),
        ("LMCACHE_MIN_RETRIEVE_TOKENS", "0", LmCache { min_retrieve_tokens: Some(0), ..none }),
        ("LMCACHE_CHUNK_SIZE", "", none),
        ("LMCACHE_REMOTE_SERDE", "naive", none),
        ("LMCACHE_USE_EXPERIMENTAL", "True", none),
        ("LMCACHE_LOG_LEVEL", "DEBUG", none),
    ];
    for (name, value, expected) in cases {
        assert_eq!(read(name, value), expected, "{name} {value:?}");
    }
}

#[test]
fn the_last_of_several_counts() {
    let twice = [("LMCACHE_CHUNK_SIZE", "x"), ("LMCACHE_CHUNK_SIZE", "64")];
    let (endpoint, warnings) = accepted(given(&twice));
    assert_eq!(endpoint.lmcache.chunk_size, Some(64));
    assert_eq!(warnings.iter().map(|warning| warning.code).collect::<Vec<_>>(), [Code::GivenTwice]);
    // Its value is not in the file.
    let from =
        "{name: LMCACHE_CHUNK_SIZE, value: \"64\"}\n      - {name: LMCACHE_CHUNK_SIZE, valueFrom: {fieldRef: {}}}";
    let (endpoint, _) = accepted(with(SESSION, from));
    assert_eq!(endpoint.lmcache, LmCache::default());
}

#[test]
fn what_is_not_simulated_is_warned_of() {
    let said = |name: &str, value: &str| {
        let (endpoint, warnings) = accepted(given(&[(name, value)]));
        assert_eq!(endpoint.lmcache, LmCache::default(), "{name} {value}");
        let [warning] = warnings.as_slice() else { panic!("one warning for {name} {value}: {warnings:?}") };
        assert_eq!((warning.code, warning.line), (Code::NotSimulated, 30), "{name} {value}");
        warning.message.clone()
    };
    assert_eq!(
        said("LMCACHE_CACHE_POLICY", "mru"),
        "not simulated: LMCACHE_CACHE_POLICY MRU; LRU is simulated instead"
    );
    assert_eq!(said("LMCACHE_LOCAL_DISK", "/x"), "not simulated: LMCACHE_LOCAL_DISK");
    assert_eq!(said("LMCACHE_REMOTE_SERDE", "cachegen"), "not simulated: LMCACHE_REMOTE_SERDE");
    assert_eq!(
        said("LMCACHE_CHUNKSIZE", "64"),
        "not simulated: LMCACHE_CHUNKSIZE; did you mean \"LMCACHE_CHUNK_SIZE\"?"
    );
    let referred = said("LMCACHE_CHUNK_SIZE", "$(SIZE)");
    assert_eq!(referred, "not simulated: LMCACHE_CHUNK_SIZE, whose value is only known in the cluster");
}

#[test]
fn values_that_lmcache_would_drop_or_misread_are_refused() {
    let size = "a number of GiB above 0, such as 5 or 0.5";
    let switch = "true, false, 1, 0 (LMCache takes any other value for false)";
    let cases = [
        ("LMCACHE_CHUNK_SIZE", "0", "a whole number, 1 to 4294967295"),
        ("LMCACHE_CHUNK_SIZE", "1.5", "a whole number, 1 to 4294967295"),
        ("LMCACHE_CHUNK_SIZE", "4294967296", "a whole number, 1 to 4294967295"),
        ("LMCACHE_MIN_RETRIEVE_TOKENS", "-1", "a whole number, 0 to 4294967295"),
        ("LMCACHE_MAX_LOCAL_CPU_SIZE", "5GiB", size),
        ("LMCACHE_MAX_LOCAL_CPU_SIZE", "0", size),
        ("LMCACHE_MAX_LOCAL_CPU_SIZE", "-5", size),
        ("LMCACHE_MAX_LOCAL_CPU_SIZE", "inf", size),
        ("LMCACHE_MAX_LOCAL_CPU_SIZE", "nan", size),
        ("LMCACHE_CACHE_POLICY", "ARC", "LRU, LFU, FIFO, MRU"),
        ("LMCACHE_LOCAL_CPU", "no", switch),
        ("LMCACHE_USE_LAYERWISE", "yes", switch),
        ("LMCACHE_ENABLE_ASYNC_LOADING", "on", switch),
        ("LMCACHE_SAVE_UNFULL_CHUNK", "2", switch),
        ("LMCACHE_SAVE_DECODE_CACHE", "t", switch),
    ];
    for (name, value, allowed) in cases {
        let error = given(&[(name, value)]).expect_err(value).to_string();
        let column = 25 + name.len();
        assert_eq!(
            error,
            format!(
                "e.yaml:30:{column}: spec.worker.environmentVariables[1].value: {value:?} is not a value of {name}; allowed: {allowed}"
            )
        );
    }
}

#[test]
fn a_configuration_file_is_not_seen_and_variables_override_it() {
    let (endpoint, warnings) =
        accepted(given(&[("LMCACHE_CONFIG_FILE", "/etc/lmcache.yaml"), ("LMCACHE_CHUNK_SIZE", "64")]));
    assert_eq!(endpoint.lmcache, LmCache { chunk_size: Some(64), config_file: true, ..LmCache::default() });
    let [warning] = warnings.as_slice() else { panic!("one warning: {warnings:?}") };
    assert_eq!(warning.code, Code::CacheConfigElsewhere);
    assert!(warning.message.contains("other LMCACHE_ variables override it"), "{}", warning.message);
    assert_eq!(codes(given(&[("LMCACHE_CONFIG_FILE", "")])), [], "it names none");
    assert_eq!(codes(Endpoint::parse(BASE, "e.yaml")), []);
}
