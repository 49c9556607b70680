//! Intervals, verdicts and tolerances, worked out by hand.

use super::{by_hand, compare, figure};
use crate::support::Folder;
use driver::compare::bootstrap::{Interval, intervals};
use driver::compare::figures::twins;
use driver::compare::metric::{METRICS, Metric};
use driver::compare::tolerance::{Allowed, Tolerance};
use driver::told::{Request, quantile};
use serde_json::json;

/// A completed request.
fn request(number: u64, ttft_ms: f64) -> Request {
    Request {
        number,
        status: "completed".to_owned(),
        measured: true,
        ttft_ms: Some(ttft_ms),
        prompt_tokens: Some(100),
        output_tokens: Some(10),
        cached_tokens: Some(ttft_ms as u64 % 101),
        ..Request::default()
    }
}

fn requests(ttfts: &[f64]) -> Vec<Request> {
    ttfts.iter().enumerate().map(|(number, ttft)| request(number as u64, *ttft)).collect()
}

fn metric(key: &str) -> Metric {
    *METRICS.iter().find(|metric| metric.key == key).expect("it is a figure")
}

/// The interval of a figure of two runs with these TTFTs.
fn interval(key: &str, a: &[f64], b: &[f64], paired: bool) -> Option<Interval> {
    let (a, b) = (requests(a), requests(b));
    let (a, b): (Vec<&Request>, Vec<&Request>) = (a.iter().collect(), b.iter().collect());
    intervals(&a, &b, paired, &[metric(key)])[0]
}

const fn between(low: f64, high: f64) -> Option<Interval> {
    Some(Interval { low, high })
}

#[test]
fn pairs_leave_out_what_both_share() {
    // Two of 0 and 10, drawn again: means of 0, 5 and 10 with 1/4, 1/2 and 1/4. As pairs the second is always 5 more;
    // by themselves they differ by -5 and by 15 with 1/16 each, which is more than the 2.5 % that an interval leaves out.
    let (a, b) = ([0.0, 10.0], [5.0, 15.0]);
    assert_eq!(interval("mean_ttft_ms", &a, &b, true), between(5.0, 5.0));
    assert_eq!(interval("mean_ttft_ms", &a, &b, false), between(-5.0, 15.0));
    // The P90 of two is 9 tenths of the way: of 0 and 10 it is 9, of equal ones what they are.
    assert_eq!(interval("p90_ttft_ms", &a, &[0.0, 0.0], false), between(-10.0, 0.0));
    assert_eq!(interval("p90_ttft_ms", &a, &b, true), between(5.0, 5.0));
    // A sum over a sum: 0 and 10 of 100 cached, against 50 and 50.
    assert_eq!(interval("hit_rate.total", &a, &[50.0, 50.0], true), between(0.4, 0.5));
}

#[test]
fn nothing_is_said_of_one_request_or_of_none() {
    assert_eq!(interval("mean_ttft_ms", &[1.0], &[2.0], true), None);
    assert_eq!(interval("mean_ttft_ms", &[], &[], true), None);
    assert_eq!(interval("mean_tpot_ms", &[1.0, 2.0], &[1.0, 2.0], true), None, "nobody told a TPOT");
}

#[test]
fn an_interval_is_about_as_wide_as_theory_says() {
    // Of 1,000 independent uniform draws on 0..1,000, a mean has the deviation 288.7 / sqrt(1000) = 9.13; the difference of
    // two has sqrt(2) of that, so 1.96 x 12.9 = 25.3 either way. Draws again vary by some per cent.
    let mut state = 7_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / (1_u64 << 31) as f64 * 1000.0
    };
    let (a, b): (Vec<f64>, Vec<f64>) = ((0..1000).map(|_| uniform()).collect(), (0..1000).map(|_| uniform()).collect());
    let Interval { low, high } = interval("mean_ttft_ms", &a, &b, false).expect("there is one");
    let half = (high - low) / 2.0;
    assert!((22.0..29.0).contains(&half), "{half}");
    // The density of a uniform median gives it 1000 / (2 sqrt(n)) = 15.8; the difference 22.4, so 43.8 either way.
    let Interval { low, high } = interval("p50_ttft_ms", &a, &b, false).expect("there is one");
    let half = (high - low) / 2.0;
    assert!((33.0..55.0).contains(&half), "{half}");
}

#[test]
fn neighbours_that_are_alike_widen_an_interval() {
    // Ten waits of a hundred alike requests each are nearer to ten facts than to a thousand.
    let alike: Vec<f64> = (0..1000).map(|number| f64::from(number / 100 * 7919 % 1000)).collect();
    let apart: Vec<f64> = (0..1000).map(|number| alike[(number * 389) % 1000]).collect();
    let none = vec![0.0; 1000];
    let width = |values: &[f64]| interval("mean_ttft_ms", values, &none, false).map(|one| one.high - one.low);
    let (alike, apart) = (width(&alike).expect("there is one"), width(&apart).expect("there is one"));
    assert!(alike > 2.0 * apart, "{alike} against {apart}");
}

#[test]
fn quantiles_are_those_of_the_ledger() {
    let values = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
    let whole: Vec<u64> = values.iter().map(|value| *value as u64).collect();
    for q in [0.0, 0.025, 0.5, 0.9, 0.95, 0.975, 1.0] {
        assert_eq!(quantile(&values, q), sim::ledger::quantile(&whole, q), "{q}");
    }
    assert_eq!(quantile(&[], 0.5), None);
}

#[test]
fn requests_are_pairs_where_they_are_equal() {
    let (a, mut b) = (requests(&[1.0, 2.0, 3.0]), requests(&[1.0, 2.0, 3.0]));
    let refused = |b: &[Request]| {
        twins(&a.iter().collect::<Vec<_>>(), &b.iter().collect::<Vec<_>>()).map(|twins| twins[0].number)
    };
    b.reverse();
    assert_eq!(refused(&b), Ok(0), "in whatever order they are told");
    assert_eq!(refused(&b[1..]), Err("they are not as many".to_owned()));
    b[0].output_tokens = Some(11);
    assert_eq!(refused(&b), Err("1 of 3 have other lengths".to_owned()));
    b[0].output_tokens = None;
    assert_eq!(refused(&b), Err("1 of 3 have other lengths".to_owned()), "what is unknown is not equal");
    b[0].status = "errored".to_owned();
    assert_eq!(refused(&b), Ok(0), "who failed has no reply");
    b[0].number = 9;
    assert_eq!(refused(&b), Err("they are numbered otherwise".to_owned()));
}

#[test]
fn verdicts_need_the_tolerance_and_the_interval() {
    let folder = Folder::new("compare-verdicts");
    let base = json!({"mean_ttft_ms": 100.0, "output_throughput": 100.0, "hit_rate": {"total": 0.5}, "completed": 2, "failed": 0});
    by_hand(&folder, "a", &base, &[(10, 5, 80.0), (10, 5, 120.0)]);
    // TTFT 20 % worse for each request, throughput 20 % worse.
    let worse = json!({"mean_ttft_ms": 120.0, "output_throughput": 80.0, "hit_rate": {"total": 0.45}, "completed": 2, "failed": 0});
    by_hand(&folder, "each", &worse, &[(10, 5, 100.0), (10, 5, 140.0)]);
    // The same means, but one of the two got better.
    by_hand(&folder, "mixed", &worse, &[(10, 5, 60.0), (10, 5, 180.0)]);
    let better = json!({"mean_ttft_ms": 80.0, "output_throughput": 120.0, "hit_rate": {"total": 0.55}, "completed": 2, "failed": 0});
    by_hand(&folder, "better", &better, &[(10, 5, 60.0), (10, 5, 100.0)]);
    let cases = [
        ("each", "10%", ["regression", "regression", "within"]),
        ("each", "25%", ["within", "within", "within"]),
        ("each", "20%", ["within", "within", "within"]),
        ("each", "25%,ttft=5%", ["regression", "within", "within"]),
        ("each", "25%,ttft=5%,mean_ttft=30%", ["within", "within", "within"]),
        ("each", "25%,hit_rate=4pt", ["within", "within", "regression"]),
        ("each", "25%,hit_rate=6pt", ["within", "within", "within"]),
        ("mixed", "10%", ["unclear", "regression", "within"]),
        ("better", "9%", ["better", "better", "better"]),
        ("better", "9% --agree", ["off", "off", "off"]),
    ];
    for (other, tolerance, verdicts) in cases {
        let Some((comparison, status)) = compare(&folder, &format!("a {other} --tolerance {tolerance}")) else {
            return;
        };
        let got =
            ["mean_ttft_ms", "output_throughput", "hit_rate.total"].map(|key| &figure(&comparison, key)["verdict"]);
        assert_eq!(got, verdicts.map(|verdict| json!(verdict)).each_ref(), "{other} {tolerance}");
        let fails = verdicts.iter().any(|verdict| ["regression", "off"].contains(verdict));
        assert_eq!(status, if fails { 99 } else { 0 }, "{other} {tolerance}");
    }
}

#[test]
fn failures_where_there_were_none_are_a_regression() {
    let folder = Folder::new("compare-failures");
    by_hand(&folder, "a", &json!({"completed": 8, "failed": 0}), &[]);
    by_hand(&folder, "b", &json!({"completed": 6, "failed": 2}), &[]);
    let Some((comparison, status)) = compare(&folder, "a b") else { return };
    let failed = figure(&comparison, "failed_share");
    assert_eq!((status, &failed["b"], &failed["verdict"]), (99, &json!(0.25), &json!("regression")));
}

#[test]
fn tolerances_are_read() {
    let read = |text: &str| Tolerance::parse(text);
    let of = |text: &str, key: &str| read(text).expect("it is one").of(&metric(key));
    assert_eq!(of("10%", "mean_ttft_ms"), Some(Allowed::Relative(0.1)));
    assert_eq!(of("ttft=5%", "p99_ttft_ms"), Some(Allowed::Relative(0.05)));
    assert_eq!(of("ttft=5%", "p99_tpot_ms"), None, "nothing else is judged");
    assert_eq!(of("3%, p99_ttft_ms=20%, ttft=5%", "p99_ttft_ms"), Some(Allowed::Relative(0.2)));
    assert_eq!(of("hit_rate=0.5pt", "hit_rate.total"), Some(Allowed::Points(0.005)));
    assert_eq!(of("10%", "hit_rate.l0"), None, "where hits come from is not judged");
    assert_eq!(of("none", "mean_ttft_ms"), None);
    let wrong = [
        ("10", "a tolerance such as 10%"),
        ("", "a tolerance such as 10%"),
        ("-1%", "a tolerance such as 10%"),
        ("nan%", "a tolerance such as 10%"),
        ("tfft=5%", "did you mean \"ttft\"?"),
        ("ttft=5%,ttft=6%", "given twice"),
        ("5%,6%", "given twice"),
        ("ttft=5pt", "ttft takes per cent"),
    ];
    for (text, words) in wrong {
        let error = read(text).expect_err(text);
        assert!(error.contains(words), "{text}: {error}");
    }
}
