//! `podlab validate engine --table`: closed loops measured on GPUs.

use crate::calibrate::refused;
use crate::support::{Folder, data, podlab, said};
use serde_json::Value;
use std::path::Path;

/// The checks and the exit code.
fn judge(table: &Path) -> Option<(Vec<Value>, i32)> {
    let mut command = podlab()?;
    let output = command.args(["validate", "engine", "--quick", "-o", "json", "--table"]).arg(table).output();
    let (stdout, stderr, status) = said(&output.expect("it runs"));
    let told: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    Some((told["checks"].as_array().expect("a list of checks").clone(), status))
}

const CHECKS: [(&str, f64); 4] = [
    ("silicon.vllm.ttft_median_abs_error", 0.30),
    ("silicon.vllm.tpot_median_abs_error", 0.20),
    ("silicon.vllm.heldout_ttft_median_abs_error", 0.10),
    ("silicon.vllm.heldout_tpot_median_abs_error", 0.06),
];

#[test]
fn measured_loops_are_simulated() {
    let Some(table) = data("calibration/silicon_llama.csv") else { return };
    let Some((checks, status)) = judge(&table) else { return };
    assert_eq!((checks.len(), status), (4, 0), "{checks:?}");
    for (check, (name, tolerance)) in checks.iter().zip(CHECKS) {
        assert_eq!(
            (&check["name"], &check["tolerance"], &check["ok"]),
            (&name.into(), &tolerance.into(), &true.into())
        );
        assert!(check["error"].as_f64().is_some_and(|error| error > 0.001), "nothing agrees so well: {check}");
    }
}

/// The same rows with other figures fall short: the published factors' where all are three times as long, and also the fitted
/// ones' where they follow no law.
#[test]
fn each_check_can_fail() {
    let Some(table) = data("calibration/silicon_llama.csv") else { return };
    let text = std::fs::read_to_string(table).expect("it can be read");
    let folder = Folder::new("silicon-fails");
    let rows = |factor: fn(usize) -> f64| {
        let mut lines = text.lines();
        let head = lines.next().expect("a head").to_owned();
        let ours = lines.filter(|line| line.starts_with("vllm,,") && line.contains("h100_sxm"));
        let changed = ours.enumerate().map(|(number, line)| {
            let mut fields: Vec<String> = line.split(',').map(str::to_owned).collect();
            for field in fields.iter_mut().rev().take(2) {
                *field = (field.parse::<f64>().expect("a number") * factor(number)).to_string();
            }
            fields.join(",")
        });
        folder.file("table.csv", &[vec![head], changed.collect()].concat().join("\n"))
    };
    let short = |checks: &[Value]| -> Vec<bool> { checks.iter().map(|check| check["ok"] == false).collect() };
    let Some((checks, status)) = judge(&rows(|_| 3.0)) else { return };
    assert_eq!((&short(&checks)[..2], status), (&[true, true][..], 99), "{checks:?}");
    let (checks, status) = judge(&rows(|number| 1.0 + 2.0 * ((number * 7) % 5) as f64)).expect("a binary");
    assert_eq!((short(&checks), status), (vec![true; 4], 99), "{checks:?}");
}

#[test]
fn tables_without_rows_to_judge_are_refused() {
    let folder = Folder::new("silicon-refused");
    let with = |text: &str, words: &[&str]| {
        let table = folder.file("table.csv", text);
        refused(&["validate", "engine", "--table", table.to_str().expect("UTF-8")], 3, words);
    };
    with("", &["table.csv:1: the table is empty"]);
    with("backend,isl\nvllm,3\n", &["table.csv:1: the columns model_path", "are missing"]);
    let head = "backend,model_path,system,precision,isl,osl,batch_size,tp_size,silicon_ttft_ms,silicon_tpot_ms";
    with(&format!("{head}\n"), &["the table has no rows"]);
    with(&format!("{head}\ntrtllm,Llama-3.1-8B,h100_sxm,,1024,128,8,1,9,9\n"), &["none of its rows is of vllm"]);
}
