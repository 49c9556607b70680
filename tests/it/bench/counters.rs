//! What servers count under `/metrics`: every name that is known, and what is no counter of theirs.

use driver::bench::metrics::{Counters, Delta, deltas};

fn between(before: &str, after: &str) -> Vec<(&'static str, f64, f64)> {
    let deltas = deltas(&Counters::parse(before), &Counters::parse(after));
    deltas.iter().map(|Delta { cache, queries, hits, .. }| (*cache, *queries, *hits)).collect()
}

#[test]
fn each_server_is_understood() {
    let vllm = "\
# HELP vllm:prefix_cache_queries_total Prefix cache queries, in terms of number of queried tokens.
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine=\"0\",model_name=\"a b } c\"} 1000.0
vllm:prefix_cache_queries_total{engine=\"1\",model_name=\"m\"} 24.0 1700000000000
vllm:prefix_cache_hits_total{engine=\"0\",model_name=\"m\"} 512.0
vllm:external_prefix_cache_queries_total 100
vllm:external_prefix_cache_hits_total 1e1
";
    assert_eq!(between("", vllm), [("device", 1_024.0, 512.0), ("external", 100.0, 10.0)]);
    let before_0_9 = "vllm:gpu_prefix_cache_queries 7\nvllm:gpu_prefix_cache_hits 3\n";
    assert_eq!(between("", before_0_9), [("device", 7.0, 3.0)]);
    let lmcache = "\
lmcache:num_lookup_tokens_total 50
lmcache:num_lookup_hits_total 40
lmcache:num_requested_tokens_total 30
lmcache:num_hit_tokens_total 20
";
    assert_eq!(between("", lmcache), [("lmcache_lookup", 50.0, 40.0), ("lmcache", 30.0, 20.0)]);
    let podlab = "podlab:prompt_tokens_total{worker=\"0\"} 9\npodlab:cached_tokens_total{worker=\"0\",tier=\"l1\"} 4\n";
    assert_eq!(between("", podlab), [("podlab", 9.0, 4.0)]);
}

#[test]
fn what_happened_in_between_is_told() {
    let at = |queries: u32, hits: u32| {
        format!("vllm:prefix_cache_queries_total {queries}\nvllm:prefix_cache_hits_total {hits}\n")
    };
    assert_eq!(between(&at(10, 5), &at(30, 15)), [("device", 20.0, 10.0)]);
    assert_eq!(between(&at(30, 15), &at(10, 5)), [], "a server that began again tells nothing of the phase");
    let idle = deltas(&Counters::parse(&at(10, 5)), &Counters::parse(&at(10, 5)));
    assert_eq!((idle[0].queries, idle[0].hit_rate), (0.0, None), "nothing was looked for: unknown, not zero");
    assert_eq!(between("", "vllm:prefix_cache_queries_total NaN\nvllm:prefix_cache_hits_total 1\nhalf a li"), []);
}
