//! A layer profile: kernels that were measured on an RTX 4090.

use super::{calibrate, refused};
use crate::support::{Folder, data};

#[test]
fn kernels_of_an_rtx_4090() {
    let Some(folder) = data("calibration/rtx4090-llama-3.1-8b") else { return };
    let Some(profile) = calibrate(&folder, &[]) else { return };
    let factor = |name: &str| profile["factors"][name]["value"].as_f64().expect("it is told");
    assert_eq!(profile["gpu"], "RTX 4090");
    // The card clocks above its sheet: its GEMMs reach 166 of 165 TFLOPS. Memory does not.
    assert!((0.95..1.10).contains(&factor("gemm")), "{}", factor("gemm"));
    assert!((0.80..1.0).contains(&factor("weight_read")), "{}", factor("weight_read"));
    assert!((0.80..1.0).contains(&factor("kv_read")), "{}", factor("kv_read"));
    let held = profile["errors"]["pass"]["held_out"].as_f64().expect("points were left out");
    assert!(held < 0.05, "{held}");
    assert!(profile["errors"]["mixed_pass"]["training"].is_null(), "nothing was fitted to these");
}

#[test]
fn what_is_no_layer_profile_is_refused() {
    let folder = Folder::new("calibrate-layers");
    folder.file("dense.csv", "layer,tokens\n");
    let from = folder.path("");
    let from = from.to_str().expect("a path in UTF-8");
    refused(&["calibrate", from], 3, &["meta.yaml"]);
    folder.file("meta.yaml", "gpu: NVIDIA RTX 9090\nmodel: Llama-3.1-8B\n");
    refused(&["calibrate", from], 3, &["meta.yaml: gpu: \"NVIDIA RTX 9090\" is not in the catalogue"]);
    folder.file("meta.yaml", "gpu: NVIDIA H100\nmodel: Llama-3.1-8B\n");
    refused(&["calibrate", from], 3, &["dense.csv:1: the columns layer, tokens, time_us are expected"]);
}
