//! A reason in words.

use super::figures::tokens;
use router::{Missed, Reason, RouterConfig, Strategy};

/// Why a worker was chosen, by a router that is set up like this. Follows "worker 3, by the rule reason: ".
pub(super) fn because(reason: Reason, router: &RouterConfig) -> String {
    const HASHED: &str = "the session's place on the hash ring is its own";
    match reason {
        Reason::Turn => "it was its turn".to_owned(),
        Reason::DeepestPrefix { tied: 1 } => "no other was sent as long a prefix of the prompt".to_owned(),
        Reason::DeepestPrefix { tied } => format!("drawn from the {tied} that were sent the longest prefix"),
        Reason::NoPrefix => "nobody was sent the prompt's first 128 characters, so it was drawn from all".to_owned(),
        Reason::FirstHolder => {
            let chunk = tokens(router.lmcache_chunk);
            format!("of those that hold the prompt's first {chunk} tokens it was the first to")
        }
        Reason::RingOfSession { missed: None } => HASHED.to_owned(),
        Reason::RingOfSession { missed: Some(missed) } => format!("{}; {HASHED}", cause(missed, router)),
        Reason::LowestQps { recent, missed } => {
            let cause = match missed {
                None => "no session is named".to_owned(),
                Some(missed @ Missed::BelowMinimum { .. }) => cause(missed, router),
                Some(missed) => format!("{}, and no session is named", cause(missed, router)),
            };
            format!("{cause}; {}", by_rate(recent, router))
        }
        Reason::Drawn => "drawn from all".to_owned(),
        Reason::LeastLoaded => least_loaded(router),
        Reason::LessLoadedOfTwo { other } => {
            format!("two were drawn, and it has no more requests in flight than the other, worker {}", other.0)
        }
        Reason::RingWithRoom { passed: 0 } => format!("{HASHED}, and it has room"),
        Reason::RingWithRoom { passed } => {
            format!("the first with room from the session's place on the hash ring on; {passed} before it had none")
        }
        Reason::LongestPrefix => {
            format!(
                "the longest prefix among those with at most {} requests more than the least loaded",
                router.load_slack
            )
        }
        Reason::HotPrefix { holders, wanted } => {
            format!(
                "{wanted} should share what is asked for so often, and {holders} do; of the others the least loaded"
            )
        }
        Reason::LowestCost { tied: 1 } => "the lowest cost".to_owned(),
        Reason::LowestCost { tied } => {
            format!("of the {tied} with the lowest cost, the fewest requests in flight, then the fewest tokens held")
        }
    }
}

/// Why a strategy looked at no worker.
pub(super) const fn blind(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::RoundRobin => "roundrobin takes its workers in turn, whatever they hold or do",
        Strategy::Random => "random draws a worker, whatever they hold or do",
        Strategy::Session => {
            "session looks at no cache and no load; where no session is named it goes by the rate alone"
        }
        Strategy::KvAware => "kvaware does not see the prompt of a chat",
        _ => "nobody looked",
    }
}

fn cause(missed: Missed, router: &RouterConfig) -> String {
    match missed {
        Missed::Chat => "kvaware does not see the prompt of a chat".to_owned(),
        Missed::NoHolder => format!("nobody holds the prompt's first {} tokens", tokens(router.lmcache_chunk)),
        Missed::TooShort { matched } => {
            let (matched, threshold) = (tokens(matched), tokens(router.kv_aware_threshold));
            format!("the first holder is named for {matched} tokens, and more than {threshold} are missing")
        }
        Missed::BelowMinimum { matched } => {
            format!("nobody was sent {} tokens of it, {} at most", tokens(router.prefix_min_match), tokens(matched))
        }
    }
}

fn by_rate(recent: Option<u32>, router: &RouterConfig) -> String {
    match recent {
        None => "it was never sent a request".to_owned(),
        Some(recent) => {
            let window = router.qps_window.as_secs_f64();
            format!("the fewest requests in the last {window} s: {recent}")
        }
    }
}

fn least_loaded(router: &RouterConfig) -> String {
    const FEWEST: &str = "the fewest requests in flight, of those the fewest tokens to compute";
    match router.strategy {
        Strategy::SessionPlus => format!("no session is named; {FEWEST}"),
        Strategy::PrefixAwarePlus => format!("nobody with room was sent the prompt's first 128 characters; {FEWEST}"),
        _ => FEWEST.to_owned(),
    }
}
