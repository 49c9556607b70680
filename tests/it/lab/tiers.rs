//! What endpoint file and lab come to below the device: sizes, rates and modes, worked out by hand.

use driver::endpoint::{Endpoint, Warning};
use driver::experiment::{Assembled, Case, Experiment, Load, Source, Tiers, tiers_of};
use driver::failure::Failure;
use kvcache::{Backend, BreakerConfig, Choice, Eviction, HostConfig, LoadMode, PoolConfig, Span, StoreMode, Tokens};
use router::Strategy;
use sim::transport::{PoolAccess, ProbeMode};

/// Llama-3.1-70B on seven p5.48xlarge, a worker of eight ranks on each; a token of KV has 327,680 bytes.
const BLOG: &str = include_str!("../../../driver/examples/aws-blog-70b.yaml");
const GIB: u64 = 1 << 30;

/// The file with these variables for its workers.
fn file(variables: &[(&str, &str)]) -> (Endpoint, Vec<Warning>) {
    let variables: String =
        variables.iter().map(|(name, value)| format!("      - {{name: {name}, value: \"{value}\"}}\n")).collect();
    let text = BLOG.replace("    environmentVariables:\n", &format!("    environmentVariables:\n{variables}"));
    Endpoint::parse(&text, "e.yaml").expect("it is valid")
}

fn assemble(endpoint: Endpoint, cache: Tiers, settings: &[(&str, &str)]) -> Result<Assembled, Failure> {
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let load = Load::Concurrency(1);
    let case = Case { strategy: Strategy::RoundRobin, cache, replicas: 7, load, seed: 3, settings };
    let (file, workload, source) = ("e.yaml".to_owned(), "docqa".to_owned(), Source::DocumentQa { requests: 1 });
    Experiment { endpoint, file, workload, source }.assemble(&case)
}

fn resolved(variables: &[(&str, &str)], settings: &[(&str, &str)]) -> Assembled {
    assemble(file(variables).0, Tiers::L0L1L2, settings).expect("it is valid")
}

fn host(variables: &[(&str, &str)], settings: &[(&str, &str)]) -> HostConfig {
    resolved(variables, settings).engine.tiers.and_then(|tiers| tiers.host).expect("there is an L1")
}

fn access(settings: &[(&str, &str)]) -> PoolAccess {
    resolved(&[], settings).transport.and_then(|transport| transport.pool).expect("there is an L2")
}

#[test]
fn five_gib_hold_a_quarter_of_a_document_of_64k_tokens() {
    // Llama-3.1-70B: 80 layers x 8 heads x 128 numbers, keys and values, 2 bytes each.
    let token_bytes = 80 * 8 * 128 * 2 * 2;
    assert_eq!(token_bytes, 327_680);
    let tokens = |host: HostConfig| (host.token_bytes, host.capacity / host.token_bytes);
    let worker = host(&[], &[("l1.scope", "worker")]);
    assert_eq!(tokens(worker), (token_bytes, 16_384));
    assert_eq!(16_384 * 4, 65_536);
    // LMCache allocates them in the process of each of eight ranks, and each rank's part of a token is an eighth.
    assert_eq!(tokens(host(&[], &[])), (token_bytes, 8 * 16_384));
    let line = resolved(&[], &[]);
    let stored = line.transport.expect("there are lower tiers").token_bytes;
    assert_eq!(stored, token_bytes);
}

#[test]
fn each_cache_has_its_tiers() {
    let expected = [
        (Tiers::None, false, false),
        (Tiers::L0, false, false),
        (Tiers::L0L1, true, false),
        (Tiers::L0L1L2, true, true),
        (Tiers::L0L2, false, true),
    ];
    assert_eq!(Tiers::ALL, expected.map(|(tiers, ..)| tiers));
    for (cache, l1, l2) in expected {
        let assembled = assemble(file(&[]).0, cache, &[]).expect("it is valid");
        let (tiers, transport) = (assembled.engine.tiers, assembled.transport);
        assert_eq!((tiers.is_some(), transport.is_some()), (l1 || l2, l1 || l2), "{cache:?}");
        assert_eq!(assembled.engine.cache.prefix_caching, cache != Tiers::None, "{cache:?}");
        assert_eq!((tiers.is_some_and(|tiers| tiers.host.is_some()), tiers.is_some_and(|tiers| tiers.pool)), (l1, l2));
        assert_eq!(transport.is_some_and(|transport| transport.pool.is_some()), l2, "{cache:?}");
        assert_eq!((cache.l1(), cache.l2()), (l1, l2));
        assert_eq!(assembled.warnings, Vec::<String>::new(), "{cache:?}");
    }
}

#[test]
fn the_endpoint_file_turns_tiers_on() {
    let tiers = |from: &str, to: &str| {
        assert!(BLOG.contains(from), "{from}");
        tiers_of(&Endpoint::parse(&BLOG.replace(from, to), "e.yaml").expect("it is valid").0)
    };
    assert_eq!(tiers("replicas", "replicas"), Tiers::L0L1L2);
    assert_eq!(tiers("enableL1Cache: true", "enableL1Cache: false"), Tiers::L0L2);
    assert_eq!(tiers("enableL2Cache: true", "enableL2Cache: false"), Tiers::L0L1);
    assert_eq!(
        tiers("      - --max-model-len", "      - --no-enable-prefix-caching\n      - --max-model-len"),
        Tiers::None
    );
    let of = |variables: &[(&str, &str)]| tiers_of(&file(variables).0);
    assert_eq!(of(&[("LMCACHE_LOCAL_CPU", "False")]), Tiers::L0L2);
    assert_eq!(of(&[("LMCACHE_LOCAL_CPU", "1")]), Tiers::L0L1L2);
}

#[test]
fn what_nobody_sets_is_lmcaches_default() {
    let assembled = resolved(&[], &[]);
    let tiers = assembled.engine.tiers.expect("there are lower tiers");
    assert_eq!((tiers.chunk, tiers.load, tiers.store), (Tokens(256), LoadMode::Blocking, StoreMode::Blocking));
    assert_eq!((tiers.choice, tiers.min_retrieve), (Choice::Always, Tokens::ZERO));
    assert!(!tiers.save_unfull_chunk && !tiers.save_decode_cache);
    assert_eq!((tiers.deadline.base, tiers.deadline.per_1k), (Span::from_secs(1), Span::from_millis(250)));
    let host = tiers.host.expect("there is an L1");
    assert_eq!((host.capacity, host.chunk, host.eviction), (8 * 5 * GIB, Tokens(256), Eviction::Lru));
    assert_eq!((host.watermark, host.evict, host.seed), (800, 200, 3));
    let transport = assembled.transport.expect("there are lower tiers");
    // Eight links of PCI Express Gen5 at 0.8 of their peak of 63 GB/s; 3,200 Gbit/s.
    assert!((transport.host_bytes_per_s / 403.2e9 - 1.0).abs() < 1e-12, "{}", transport.host_bytes_per_s);
    assert_eq!((transport.nic_bytes_per_s, transport.workers_per_node), (400e9, 1));
    let access = transport.pool.expect("there is an L2");
    // A fifth of 2,048 GiB on each of seven nodes.
    let pool = PoolConfig { seed: 3, ..PoolConfig::tiered_storage(327_680, 7, 2048 * GIB / 5) };
    assert_eq!(access.pool, pool);
    assert_eq!((access.bytes_per_s, access.round_trip, access.miss_wait), (10e9, Span::from_micros(500), Span::ZERO));
    assert_eq!((access.probe, access.in_flight), (ProbeMode::Sequential, 4));
    let redis = self::access(&[("l2.backend", "redis")]);
    assert_eq!(redis.pool, PoolConfig { seed: 3, ..PoolConfig::redis(327_680, 75 * GIB) });
    assert_eq!((redis.pool.eviction, redis.bytes_per_s), (Eviction::Lfu, 3.125e9));
}

#[test]
fn variables_are_stronger_than_defaults_and_settings_than_both() {
    let variables = [
        ("LMCACHE_CHUNK_SIZE", "512"),
        ("LMCACHE_MAX_LOCAL_CPU_SIZE", "2.5"),
        ("LMCACHE_CACHE_POLICY", "lfu"),
        ("LMCACHE_ENABLE_ASYNC_LOADING", "true"),
        ("LMCACHE_SAVE_UNFULL_CHUNK", "True"),
        ("LMCACHE_SAVE_DECODE_CACHE", "1"),
        ("LMCACHE_MIN_RETRIEVE_TOKENS", "1024"),
    ];
    let of = |settings: &[(&str, &str)]| resolved(&variables, settings).engine.tiers.expect("there are lower tiers");
    let tiers = of(&[]);
    assert_eq!((tiers.chunk, tiers.load, tiers.min_retrieve), (Tokens(512), LoadMode::Overlapped, Tokens(1024)));
    assert!(tiers.save_unfull_chunk && tiers.save_decode_cache);
    let host = tiers.host.expect("there is an L1");
    assert_eq!((host.capacity, host.chunk, host.eviction), (8 * 5 * GIB / 2, Tokens(512), Eviction::Lfu));
    let tiers = of(&[
        ("tiers.chunk_tokens", "128"),
        ("tiers.load", "blocking"),
        ("tiers.save_unfull_chunk", "off"),
        ("tiers.save_decode_cache", "off"),
        ("tiers.min_retrieve_tokens", "0"),
        ("l1.bytes", "1GB"),
        ("l1.eviction", "arc"),
    ]);
    assert_eq!((tiers.chunk, tiers.load, tiers.min_retrieve), (Tokens(128), LoadMode::Blocking, Tokens::ZERO));
    assert!(!tiers.save_unfull_chunk && !tiers.save_decode_cache);
    let host = tiers.host.expect("there is an L1");
    assert_eq!((host.capacity, host.eviction), (8_000_000_000, Eviction::Arc));
    assert_eq!(self::host(&[("LMCACHE_CACHE_POLICY", "FIFO")], &[]).eviction, Eviction::Fifo);
    let layerwise = [("LMCACHE_ENABLE_ASYNC_LOADING", "1"), ("LMCACHE_USE_LAYERWISE", "1")];
    assert_eq!(resolved(&layerwise, &[]).engine.tiers.map(|tiers| tiers.load), Some(LoadMode::Layerwise));
}

#[test]
fn every_setting_of_the_pool_arrives() {
    let access = access(&[
        ("l2.bytes", "1TB"),
        ("l2.eviction", "fifo"),
        ("l2.bandwidth", "2GB/s"),
        ("l2.latency", "2ms"),
        ("l2.miss_wait", "1s"),
        ("l2.probe", "batched"),
        ("l2.in_flight", "100"),
        ("l2.lease_ttl", "10s"),
        ("l2.put_ttl", "20s"),
        ("l2.watermark", "0.8"),
        ("l2.evict", "0.1"),
        ("l2.ttl", "10min"),
        ("tiers.chunk_tokens", "64"),
    ]);
    let pool = access.pool;
    assert_eq!((pool.chunk, pool.shards, pool.shard_bytes), (Tokens(64), 7, 1_000_000_000_000));
    assert_eq!(pool.backend, Backend::TieredStorage { watermark: 800, evict: 100 });
    assert_eq!(
        (pool.eviction, pool.lease_ttl, pool.put_ttl, pool.ttl),
        (Eviction::Fifo, Span::from_secs(10), Span::from_secs(20), Some(Span::from_secs(600)))
    );
    assert_eq!(
        (access.bytes_per_s, access.round_trip, access.miss_wait),
        (2e9, Span::from_millis(2), Span::from_secs(1))
    );
    assert_eq!((access.probe, access.in_flight), (ProbeMode::Batched, 100));
    let breaker = [("l2.breaker_failures", "5"), ("l2.breaker_probe", "2s"), ("l2.silence", "20ms")];
    let expected = BreakerConfig { failures: 5, probe_every: Span::from_secs(2), silence: Span::from_millis(20) };
    assert_eq!(resolved(&[], &breaker).engine.tiers.map(|tiers| tiers.breaker), Some(expected));
    let rates = resolved(&[], &[("l1.bandwidth", "10GB/s"), ("l2.nic", "100Gbit/s")]).transport;
    assert_eq!(rates.map(|ways| (ways.host_bytes_per_s, ways.nic_bytes_per_s)), Some((80e9, 12.5e9)));
    // One Redis has the size in all, and no watermark.
    let redis = self::access(&[("l2.backend", "redis"), ("l2.bytes", "1TB"), ("l2.watermark", "0.5")]).pool;
    assert_eq!((redis.shards, redis.shard_bytes, redis.backend), (1, 1_000_000_000_000, Backend::Redis));
}

#[test]
fn a_time_to_live_needs_an_order_by_time() {
    for (eviction, taken) in [("lru", true), ("fifo", true), ("lfu", false), ("arc", false), ("s3fifo", false)] {
        let settings = [("l2.ttl", "1min"), ("l2.eviction", eviction)];
        let read = assemble(file(&[]).0, Tiers::L0L2, &settings);
        assert_eq!(read.is_ok(), taken, "{eviction}");
        if let Err(failure) = read {
            assert!(
                matches!(&failure, Failure::Invalid(text) if text.contains("l2.eviction lru or fifo")),
                "{failure}"
            );
        }
    }
    assert!(
        assemble(file(&[]).0, Tiers::L0L1, &[("l2.ttl", "1min"), ("l2.eviction", "arc")]).is_ok(),
        "there is no L2"
    );
    // Redis keeps the least frequently used unless told otherwise.
    assert!(assemble(file(&[]).0, Tiers::L0L2, &[("l2.ttl", "1min"), ("l2.backend", "redis")]).is_err());
}

#[test]
fn what_an_instance_cannot_hold_is_warned_of() {
    let warnings =
        |cache: Tiers, settings: &[(&str, &str)]| assemble(file(&[]).0, cache, settings).expect("it is valid").warnings;
    // 8 x 200 GiB and 448 GiB are the 2,048 GiB of the instance.
    let full = [("l1.bytes", "200GiB"), ("l2.bytes", "448GiB")];
    assert_eq!(warnings(Tiers::L0L1L2, &full), Vec::<String>::new());
    let over = warnings(Tiers::L0L1L2, &[("l1.bytes", "200GiB"), ("l2.bytes", "448.1GiB")]);
    assert_eq!(
        over,
        ["L1 takes 1600 GiB of an instance (1 x 1600) and L2 448.1 GiB, more than the 2048 GiB of \
          ml.p5.48xlarge; lower l1.bytes or l2.bytes"]
    );
    assert_eq!(warnings(Tiers::L0L1, &[("l1.bytes", "256GiB")]), Vec::<String>::new());
    assert_eq!(warnings(Tiers::L0L1, &[("l1.bytes", "257GiB")]).len(), 1);
    assert_eq!(warnings(Tiers::L0L1, &[("l1.bytes", "257GiB"), ("l1.scope", "worker")]), Vec::<String>::new());
    // A Redis is elsewhere.
    let redis = [("l1.bytes", "200GiB"), ("l2.bytes", "10TiB"), ("l2.backend", "redis")];
    assert_eq!(warnings(Tiers::L0L1L2, &redis), Vec::<String>::new());
}

#[test]
fn workers_that_share_an_instance_share_its_memory_and_its_network() {
    let text = BLOG.replace("nvidia.com/gpu: \"8\"", "nvidia.com/gpu: \"4\"").replace("- \"8\"", "- \"4\"");
    let (endpoint, _) = Endpoint::parse(&text, "e.yaml").expect("it is valid");
    // Two workers of four ranks: 2 x 4 x 200 GiB and 448.1 GiB are more than 2,048 GiB.
    let settings = [("l1.bytes", "200GiB"), ("l2.bytes", "448.1GiB")];
    let assembled = assemble(endpoint, Tiers::L0L1L2, &settings).expect("it is valid");
    let [warning] = assembled.warnings.as_slice() else { panic!("one warning: {:?}", assembled.warnings) };
    assert!(warning.starts_with("L1 takes 1600 GiB of an instance (2 x 800) and L2 448.1 GiB"), "{warning}");
    let transport = assembled.transport.expect("there are lower tiers");
    // Seven workers on four instances, a daemon on each; four links a worker.
    assert_eq!(transport.workers_per_node, 2);
    assert_eq!(transport.pool.map(|access| access.pool.shards), Some(4));
    assert!((transport.host_bytes_per_s / 201.6e9 - 1.0).abs() < 1e-12, "{}", transport.host_bytes_per_s);
}

#[test]
fn what_can_hold_nothing_is_warned_of() {
    let warnings = |cache: Tiers, settings: &[(&str, &str)]| {
        assemble(file(&[]).0, cache, settings).expect("it is valid").warnings.join("; ")
    };
    // An object has 256 x 327,680 bytes: 80 MiB, of which a rank has an eighth.
    assert_eq!(warnings(Tiers::L0L1, &[("l1.bytes", "10MiB")]), "");
    assert!(warnings(Tiers::L0L1, &[("l1.bytes", "9.9MiB")]).contains("L1 has 83047216 bytes and an object 83886080"));
    assert!(warnings(Tiers::L0L2, &[("l2.bytes", "79MiB")]).contains("raise l2.bytes"));
    let short = [("docqa.document_tokens", "100"), ("docqa.question_tokens", "10")];
    assert!(warnings(Tiers::L0L1, &short).contains("the longest prompt has 110 tokens and a chunk 256"));
    assert_eq!(warnings(Tiers::L0, &short), "", "there is nothing to store in");
    for settings in [("tiers.chunk_tokens", "110"), ("tiers.save_unfull_chunk", "on")] {
        assert_eq!(warnings(Tiers::L0L1, &[short[0], short[1], settings]), "", "{settings:?}");
    }
}

#[test]
fn costs_are_derived_where_they_decide() {
    let choice = |value: &str| {
        let assembled = resolved(&[], &[("tiers.choice", value)]);
        assembled.engine.tiers.expect("there are lower tiers").choice
    };
    assert_eq!((choice("always"), choice("never")), (Choice::Always, Choice::Never));
    let Choice::ByCost(costs) = choice("cost") else { panic!("costs decide") };
    // Neither host time nor its overlap changes what a token costs.
    let slow = [("tiers.choice", "cost"), ("engine.host_overhead", "1s"), ("engine.async_scheduling", "on")];
    assert_eq!(resolved(&[], &slow).engine.tiers.map(|tiers| tiers.choice), Some(Choice::ByCost(costs)));
}
