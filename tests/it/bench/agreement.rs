//! One experiment in virtual time and measured against the emulated endpoint: the same figures.

use super::mock::{bench, figure};
use crate::support::{podlab, project, said};
use serde_json::Value;

/// `simulate` and `bench` of the same flags. Whoever starts at one instant in virtual time starts one after the other on a wire,
/// and finds what the one before has computed: so users start apart from each other in both.
fn both(workers: &str) -> Option<(Value, Value)> {
    let file = project("driver/examples/aws-blog-70b.yaml");
    let file = file.to_str().expect("a path of ASCII");
    let flags = [
        "--requests",
        "80",
        "--concurrency",
        "8",
        "--replicas",
        workers,
        "--cache",
        "l0",
        "--set",
        "docqa.documents=10",
    ];
    let short = ["--set", "docqa.document_tokens=4096", "--set", "docqa.answer_tokens=40", "--ramp", "3s"];
    let output = podlab()?.args(["simulate", file, "-o", "json"]).args(flags).args(short).output().expect("it runs");
    let (stdout, stderr, code) = said(&output);
    assert_eq!(code, 0, "{stderr}");
    let simulated: Value = serde_json::from_str(&stdout).expect("JSON");
    let target = format!("emulate:{file}");
    let (measured, stderr, code) = bench(&[&["--target", &target], &flags[..], &short].concat())?;
    assert_eq!(code, 0, "{stderr}");
    Some((simulated["runs"][0].clone(), measured))
}

#[test]
fn measured_figures_are_the_simulated_ones() {
    for workers in ["1", "4"] {
        let Some((simulated, measured)) = both(workers) else { return };
        let off = |key: &str| figure(&measured, key) / figure(&simulated, key) - 1.0;
        // Tests share the machine, and who is late is late for everybody behind it: bounds are wider than those of a quiet one.
        for (key, bound) in
            [("mean_ttft_ms", 0.12), ("p90_ttft_ms", 0.08), ("mean_tpot_ms", 0.05), ("mean_e2el_ms", 0.05)]
        {
            assert!(off(key).abs() < bound, "{workers} workers: {key} is {:+.1} % off", off(key) * 100.0);
        }
        let hits = figure(&measured["hit_rate"], "total") - figure(&simulated["hit_rate"], "total");
        assert!(hits.abs() < 0.005, "{workers} workers: hit rate is {hits:+.4} off");
        assert_eq!(measured["prompt_tokens"], simulated["prompt_tokens"], "{workers} workers");
        // What the server counted is what its replies said.
        let counted = &measured["cache"]["server_metrics"]["run"];
        let of = |cache: &str| counted.as_array().into_iter().flatten().find(|delta| delta["cache"] == cache);
        let ours = of("podlab").expect("podlab's counters");
        let [queries, prompts] = [figure(ours, "queries"), figure(&measured, "prompt_tokens")];
        assert!((queries - prompts).abs() < 0.5, "{workers} workers: {queries} of {prompts}, {counted}");
        let said = figure(&measured["hit_rate"], "total") * figure(&measured, "prompt_tokens");
        assert!((figure(ours, "hits") - said).abs() < 0.5, "{workers} workers: {counted} against {said}");
        assert_eq!(of("device").expect("vLLM's names")["hits"], ours["hits"], "there is only L0");
        assert_eq!(measured["output_tokens"], simulated["output_tokens"], "{workers} workers");
    }
}
