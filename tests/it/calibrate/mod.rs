//! Calibration gives back what made the measurements, and its profiles are read, named and refused.

use crate::support::{Folder, podlab, project, said};
use serde_json::Value;
use std::path::Path;

mod loops; // from a table of closed loops
mod runs; // from a run folder
mod layers; // from a layer profile
mod profiles; // the file
mod emulated; // from requests to an emulated endpoint

/// A profile unlike what is published, in the factors that one run tells.
pub(crate) const TRUTH: &str = "\
format: podlab-hardware/1
name: truth
gpu: H100
base: served
factors:
  gemm: {value: 0.61}
  kv_read: {value: 0.43}
  prefill_attention: {value: 0.37}
  per_layer_us: {value: 41.5}
  api_latency_ms: {value: 11}
";

/// Its factors.
pub(crate) const TRUE: [(&str, f64); 5] =
    [("gemm", 0.61), ("kv_read", 0.43), ("prefill_attention", 0.37), ("per_layer_us", 41.5), ("api_latency_ms", 11.0)];

/// An endpoint of H100s.
pub(crate) const H100: &str = "driver/examples/aws-blog-70b.yaml";

/// `podlab calibrate FROM -o json`; `None`, said, without a binary.
pub(crate) fn calibrate(from: &Path, arguments: &[&str]) -> Option<Value> {
    let mut command = podlab()?;
    let output = command.arg("calibrate").arg(from).args(["-o", "json"]).args(arguments).output().expect("it runs");
    let (stdout, stderr, status) = said(&output);
    assert_eq!(status, 0, "{stderr}");
    Some(serde_json::from_str(&stdout).expect("a profile"))
}

/// Asserts that each of these factors lies within its interval, and that the interval is none that holds everything.
pub(crate) fn within(profile: &Value, factors: &[(&str, f64)], widest: f64) {
    for (name, truth) in factors {
        let factor = &profile["factors"][name];
        let [low, high] = ["low", "high"].map(|end| factor[end].as_f64().unwrap_or_else(|| panic!("{name}: {factor}")));
        assert!(low <= *truth && *truth <= high, "{name}: {truth} is not within {low} to {high}");
        assert!(high <= widest * low, "{name}: {low} to {high} says little");
    }
}

/// What a command that is to fail says.
pub(crate) fn refused(arguments: &[&str], status: i32, words: &[&str]) {
    let Some(mut command) = podlab() else { return };
    let (stdout, stderr, code) = said(&command.args(arguments).output().expect("it runs"));
    assert_eq!((stdout.as_str(), code), ("", status), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word} in {stderr}");
    }
}

/// A run of unrelated prompts on one worker priced by `profile`, in the folder `run`.
pub(crate) fn simulated(folder: &Folder, profile: &str, arguments: &[&str]) -> Option<String> {
    let profile = folder.file("truth.yaml", profile);
    let (endpoint, run) = (project(H100), folder.path("run"));
    let mut command = podlab()?;
    command.arg("simulate").arg(endpoint).arg("--hardware").arg(profile).arg("--out").arg(run);
    command.args(["--workload", "unrelated", "--cache", "none", "--replicas", "1", "--strategy", "roundrobin"]);
    let (_, stderr, status) = said(&command.args(arguments).output().expect("it runs"));
    assert_eq!(status, 0, "{stderr}");
    Some(stderr)
}
