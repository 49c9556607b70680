//! Where gaps lie.

use super::{by_hand, compare, run, simulate};
use crate::support::Folder;
use serde_json::{Value, json};

/// The parts of a gap by name, and the gap.
fn parts(comparison: &Value, which: usize) -> (Vec<(String, Value)>, f64) {
    let gap = &comparison["pairs"][0]["explained"][which];
    let part = |part: &Value| (part["part"].as_str().unwrap_or("unexplained").to_owned(), part["gap"].clone());
    let parts = gap["parts"].as_array().into_iter().flatten().map(part).collect();
    (parts, gap["gap"].as_f64().expect("it is known"))
}

#[test]
fn the_parts_of_a_gap_add_up_to_it() {
    let folder = Folder::new("compare-parts");
    if simulate(&folder, "a", "--strategy roundrobin").is_none() {
        return;
    }
    simulate(&folder, "b", "--strategy kvaware --concurrency 40 --set api.latency=7ms").expect("it ran before");
    let Some((comparison, _)) = compare(&folder, "a b --explain --tolerance none") else { return };
    for which in 0..2 {
        let (parts, gap) = parts(&comparison, which);
        let sum: f64 = parts.iter().filter_map(|(_, gap)| gap.as_f64()).sum();
        assert!((sum - gap).abs() < 1e-6, "{sum} of {gap}");
        assert!(parts.iter().all(|(name, gap)| name != "unexplained" && gap.is_number()), "{parts:?}");
        let network = parts.iter().find(|(name, _)| name == "network").map(|(_, gap)| gap);
        assert_eq!(network, Some(&json!(2.0)));
    }
    let key = |which: usize| comparison["pairs"][0]["explained"][which]["key"].clone();
    let difference =
        |key: &Value| super::figure(&comparison, key.as_str().expect("it is a name"))["difference"].clone();
    for which in 0..2 {
        let off = difference(&key(which)).as_f64().expect("it is known") - parts(&comparison, which).1;
        assert!(off.abs() < 1e-6, "the gap is that of the figures: {off}");
    }
}

#[test]
fn what_one_run_does_not_tell_is_unexplained() {
    let folder = Folder::new("compare-unexplained");
    if simulate(&folder, "simulated", "--requests 20").is_none() {
        return;
    }
    by_hand(&folder, "measured", &json!({"completed": 2, "failed": 0}), &[(10, 5, 800.0), (10, 5, 1000.0)]);
    let Some((comparison, _)) = compare(&folder, "simulated measured --tolerance none") else { return };
    let (ttft, gap) = parts(&comparison, 0);
    let unexplained = ttft.iter().find(|(name, _)| name == "unexplained").and_then(|(_, gap)| gap.as_f64());
    assert!(unexplained.is_some_and(|part| (part - gap).abs() < 1e-9), "{ttft:?} of {gap}");
    assert!(ttft.iter().filter(|(name, _)| name != "unexplained").all(|(_, gap)| gap.is_null()), "{ttft:?}");
    // Both tell how long it took from the first token to the last.
    let (e2el, gap) = parts(&comparison, 1);
    let of = |name: &str| e2el.iter().find(|(known, _)| known == name).and_then(|(_, gap)| gap.as_f64());
    let (decode, rest) = (of("decode").expect("it is known"), of("unexplained").expect("it is known"));
    assert!(decode != 0.0 && (decode + rest - gap).abs() < 1e-6, "{e2el:?} of {gap}");
    let Some((stdout, ..)) = run(&folder, &["compare", "simulated", "measured", "--tolerance", "none", "--explain"])
    else {
        return;
    };
    assert!(stdout.contains("unexplained") && stdout.contains("times"), "{stdout}");
}
