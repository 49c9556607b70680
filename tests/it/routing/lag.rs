//! What is known late: everything that workers tell (cache events, first tokens, ends) reaches the router so much later.

use super::bench::{Bench, Figures};
use driver::experiment::Load;
use router::Strategy;

const LAGS: [&str; 4] = ["0ms", "100ms", "1s", "10s"];

fn by_lag(bench: impl Fn() -> Bench, strategy: Strategy) -> Vec<Figures> {
    LAGS.iter()
        .map(|lag| bench().with(&[("router.signal_lag", lag)]).compare(&format!("lag {lag}"), &[strategy])[0])
        .collect()
}

/// Strategies that know their own decisions at once lose little by a second; by ten seconds they still are better than round
/// robin, which knows nothing. `predicted-ttft`, which expects what it has not heard of, hardly loses at all.
#[test]
fn old_news_is_better_than_none() {
    let bench = || Bench::new("mixed", 2100, Load::Rate(20.0));
    let turns = bench().run(Strategy::RoundRobin);
    for strategy in [Strategy::KvAwarePlus, Strategy::PredictedTtft] {
        let lagged = by_lag(bench, strategy);
        let fresh = lagged[0].mean;
        assert!(lagged[1].mean < 1.1 * fresh, "100 ms: {lagged:?}");
        assert!(lagged[2].mean < 1.5 * fresh, "1 s: {lagged:?}");
        assert!(lagged.iter().all(|figures| figures.mean < turns.mean), "{lagged:?} against {turns:?}");
        if strategy == Strategy::PredictedTtft {
            assert!(lagged.iter().all(|figures| figures.mean < 1.1 * fresh), "{lagged:?}");
        }
        assert!(lagged[3].regret > lagged[0].regret, "what is not known cannot be used: {lagged:?}");
    }
}

/// Who reads load alone never herds, since it counts what it sent itself; but load that is old is worse than none: at a
/// second it still is about as good as turns, at ten seconds it makes up for what was long over.
#[test]
fn old_loads_are_worse_than_turns() {
    let bench = || Bench::new("mixed", 2100, Load::Rate(20.0));
    let lagged = by_lag(bench, Strategy::LeastLoaded);
    let turns = bench().run(Strategy::RoundRobin);
    assert!(lagged.iter().all(|figures| figures.spread < 1.2), "never a herd: {lagged:?}");
    assert!(lagged[0].mean < 0.8 * turns.mean && lagged[2].mean < 1.2 * turns.mean, "{lagged:?} {turns:?}");
    assert!(lagged[3].mean > 1.2 * turns.mean, "{lagged:?} {turns:?}");
}
