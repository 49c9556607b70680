//! What all prompts share, and what half of them do: the pathology of compat strategies, and that the corrected ones are
//! free of it.

use super::bench::{Bench, Figures, of};
use driver::experiment::Load;
use router::Strategy;

/// Those that look at prefixes and were made to spread what all share.
const CORRECTED: [Strategy; 3] = [Strategy::PrefixAwarePlus, Strategy::KvAwarePlus, Strategy::PredictedTtft];

/// Compat `prefixaware` sends all requests to one worker of seven. The corrected ones spread them within 1.3 of the mean,
/// and find within two points of what the best finds.
#[test]
fn a_shared_system_prompt_is_spread() {
    for rate in [20.0, 40.0] {
        let bench = Bench::new("shared-system", 2100, Load::Rate(rate));
        let all = bench.compare(&format!("shared system prompt, {rate}/s"), &Strategy::ALL);
        let collapsed = of(&all, Strategy::PrefixAware);
        assert!((collapsed.spread - 7.0).abs() < 1e-9, "all to one of seven: {collapsed:?}");
        let best = all.iter().map(|figures| figures.hit).fold(0.0, f64::max);
        for strategy in CORRECTED {
            let Figures { spread, hit, .. } = of(&all, strategy);
            assert!(spread <= 1.3, "{strategy} spreads: {spread}");
            assert!(hit >= best - 0.02, "{strategy} finds {hit}, the best {best}");
        }
    }
}

/// At three times what one worker can serve, the collapsed strategy falls behind for good.
#[test]
fn one_worker_cannot_serve_what_seven_can() {
    let bench = Bench::new("shared-system", 4200, Load::Rate(200.0));
    let all = bench.compare("shared system prompt, 200/s", &[Strategy::PrefixAware, Strategy::PredictedTtft]);
    let (collapsed, spread) = (of(&all, Strategy::PrefixAware), of(&all, Strategy::PredictedTtft));
    assert!(collapsed.mean > 20.0 * spread.mean, "{collapsed:?} {spread:?}");
    assert!(spread.tokens_per_s > 1.5 * collapsed.tokens_per_s, "{collapsed:?} {spread:?}");
}

/// Two documents get all questions: who keeps each with one worker makes two do the work of seven.
#[test]
fn hot_documents_are_served_by_several() {
    let bench = Bench::new("docqa", 2100, Load::Rate(60.0)).with(&[("docqa.documents", "2")]);
    let all = bench.compare("two documents, 60/s", &Strategy::ALL);
    let sticky = of(&all, Strategy::PrefixAware);
    assert!(sticky.spread > 3.0, "two documents on two workers: {sticky:?}");
    for strategy in CORRECTED {
        let figures = of(&all, strategy);
        assert!(figures.spread <= 1.3, "{figures:?}");
        assert!(figures.mean < 0.8 * sticky.mean && figures.p90 < sticky.p90, "{figures:?} against {sticky:?}");
    }
}

/// Thirty-five documents, of which the first gets 44 % of all questions: who keeps it with one worker makes that one do the
/// work of three. Cold ones stay where they are.
#[test]
fn a_hot_document_among_cold_ones_is_served_by_several() {
    let bench = Bench::new("docqa", 2100, Load::Rate(60.0)).with(&[("docqa.skew", "1.5")]);
    let all = bench.compare("35 documents, one hot, 60/s", &Strategy::ALL);
    let sticky = of(&all, Strategy::PrefixAware);
    assert!(sticky.spread > 2.5, "{sticky:?}");
    for strategy in CORRECTED {
        let figures = of(&all, strategy);
        assert!(figures.spread <= 1.3, "{figures:?}");
        assert!(figures.mean < 0.8 * sticky.mean && figures.p90 < sticky.p90, "{figures:?} against {sticky:?}");
        assert!(figures.hit > 0.9, "{figures:?}");
    }
}
