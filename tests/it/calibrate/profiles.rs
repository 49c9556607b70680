//! The file of a hardware profile: what it changes, where it holds, and what is refused.

use super::{H100, TRUTH, refused, simulated};
use crate::support::{Folder, podlab, project, said};
use driver::hardware::Hardware;
use serde_json::Value;

fn run(arguments: &[&str]) -> Option<(Value, String)> {
    let mut command = podlab()?;
    command.arg("simulate").arg(project(H100)).args(["--requests", "60", "--strategy", "roundrobin", "-o", "json"]);
    let (stdout, stderr, status) = said(&command.args(arguments).output().expect("it runs"));
    assert_eq!(status, 0, "{stderr}");
    let mut told: Value = serde_json::from_str(&stdout).expect("it is JSON");
    told["runs"][0].as_object_mut().and_then(|run| run.remove("settings"));
    Some((told["runs"].take(), stderr))
}

/// A profile of what is published anyway makes no difference, to the last digit; another does.
#[test]
fn a_profile_prices_the_passes() {
    let folder = Folder::new("hardware-published");
    let published = "format: podlab-hardware/1\nname: p\ngpu: any\nbase: published\nfactors: {}\n";
    let [published, truth] =
        [("p.yaml", published), ("t.yaml", TRUTH)].map(|(name, text)| folder.file(name, text).display().to_string());
    let Some((without, _)) = run(&[]) else { return };
    let (same, _) = run(&["--hardware", &published, "--set", "engine.host_overhead=1ms"]).expect("a binary");
    assert_eq!(without, same);
    let (other, warned) = run(&["--hardware", &truth]).expect("a binary");
    assert_ne!(without, other);
    assert!(!warned.contains("hardware"), "it says of no grid that it lacks: {warned}");
    let (by_name, _) = run(&["--set", &format!("hardware.profile={truth}")]).expect("a binary");
    assert_eq!(other, by_name, "the flag stands for the setting");
}

/// `run.json` holds the whole profile: the file may be another one tomorrow.
#[test]
fn a_run_names_its_profile() {
    let folder = Folder::new("hardware-named");
    if simulated(&folder, TRUTH, &["--rate", "1", "--requests", "10"]).is_none() {
        return;
    }
    let told: Value =
        serde_json::from_slice(&std::fs::read(folder.path("run/run.json")).expect("it was written")).expect("JSON");
    assert_eq!(told["hardware"]["name"], "truth");
    assert_eq!(told["hardware"]["factors"]["gemm"]["value"], 0.61);
    assert!(
        told["lab"]["hardware.profile"].as_str().is_some_and(|name| name.ends_with("truth.yaml")),
        "{}",
        told["lab"]
    );
    assert_eq!(told["path"]["latency_ms"], 11.0, "{}", told["path"]);
}

/// What a profile was not fitted to is said: other models, ranks and formats before the run, other passes after it.
#[test]
fn nothing_is_extrapolated_in_silence() {
    let folder = Folder::new("hardware-grid");
    let grid = "grid: {models: [meta-llama/Llama-3.1-8B], tensor_parallel: [1], quantization: [fp8], tokens: [1, 64], \
                decoders: [1, 4], context: [1, 100000], prompt_context: [1, 100000]}\n";
    let Some(said) = simulated(&folder, &format!("{TRUTH}{grid}"), &["--rate", "1", "--requests", "10"]) else {
        return;
    };
    for word in [
        "truth was fitted to meta-llama/Llama-3.1-8B, not to meta-llama/Llama-3.1-70B-Instruct",
        "truth was fitted to tensor-parallel sizes 1, not to 8",
        "truth was fitted to weights of fp8, not of none",
        "stretches of passes begin outside what the hardware profile was fitted to (tokens 1-64, decoders 1-4,",
    ] {
        assert!(said.contains(word), "{word} in {said}");
    }
    let wide = grid.replace("[1, 64]", "[1, 8192]").replace("[1, 4]", "[1, 1000]");
    let other = Folder::new("hardware-grid-wide");
    let said = simulated(&other, &format!("{TRUTH}{wide}"), &["--rate", "1", "--requests", "10"]).expect("a binary");
    assert!(!said.contains("stretches of passes"), "{said}");
}

#[test]
fn other_files_are_refused() {
    let folder = Folder::new("hardware-refused");
    let endpoint = project(H100).display().to_string();
    let with = |text: &str, status: i32, words: &[&str]| {
        let profile = folder.file("profile.yaml", text).display().to_string();
        refused(&["simulate", &endpoint, "--hardware", &profile], status, words);
    };
    with(
        &TRUTH.replace("gpu: H100", "gpu: B200"),
        2,
        &["hardware.profile: truth is of B200, and ml.p5.48xlarge has H100"],
    );
    with(&TRUTH.replace("gemm:", "gem:"), 2, &["there is no \"gem\"; there are gemm, weight_read"]);
    with(&TRUTH.replace("0.61", "-1"), 2, &["factors.gemm: -1 lies outside"]);
    with(&TRUTH.replace("hardware/1", "hardware/9"), 2, &["\"podlab-hardware/9\" is not podlab-hardware/1"]);
    with("engine.max_num_seqs: 4\n", 2, &["not a hardware profile"]);
    refused(&["simulate", &endpoint, "--hardware", "nothing.yaml"], 2, &["nothing.yaml: "]);
}

/// What is written is read again.
#[test]
fn a_profile_survives_its_file() {
    let profile = Hardware::parse(TRUTH).expect("a profile");
    assert_eq!(Hardware::parse(&profile.text()), Ok(profile.clone()));
    let efficiency = profile.setup().efficiency;
    assert!((efficiency.gemm - 0.61).abs() < 1e-12 && efficiency.per_layer.0 == 41_500_000);
    assert_eq!(profile.api_latency().map(|span| span.0), Some(11_000_000_000));
}
