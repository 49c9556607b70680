//! Loads that outrun the workers, as runs tell it.

use driver::endpoint::Endpoint;
use driver::experiment::{Case, Experiment, Load, Source, Tiers};
use router::Strategy;
use std::collections::BTreeMap;

const SAMPLE: &str = include_str!("../../../driver/examples/aws-blog-70b.yaml");

/// What tells that one worker of the sample was outrun by a workload.
fn told(name: &str, requests: u32, load: Load, settings: &[(&str, &str)]) -> Option<String> {
    let (endpoint, _) = Endpoint::parse(SAMPLE, "sample.yaml").expect("the sample is valid");
    let source = Source::read(name, Some(requests)).expect("it is one");
    let experiment = Experiment { endpoint, file: "sample.yaml".to_owned(), workload: name.to_owned(), source };
    let settings: BTreeMap<_, _> =
        settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let case = Case { strategy: Strategy::RoundRobin, cache: Tiers::L0, replicas: 1, load, seed: 1, settings };
    let assembled = experiment.assemble(&case).expect("it can be simulated");
    experiment.run(case, &assembled).expect("it runs").overload
}

#[test]
fn whoever_waits_longer_and_longer_is_told_of_though_all_ends_soon() {
    for (name, bearable, too_much) in
        [("multi-round-qa", 5.0, 50.0), ("docqa", 5.0, 100.0), ("shared-system", 5.0, 400.0), ("mixed", 1.0, 20.0)]
    {
        for requests in [700, 2000] {
            let sign = told(name, requests, Load::Rate(too_much), &[]).unwrap_or_else(|| panic!("{name} {requests}"));
            println!("{name} {requests}: {sign}");
            let held = sign.contains("turns wait for replies that come late");
            let forms =
                ["waited longer and longer for their", "waited longer than that for their", "the last request was"];
            assert!(held || forms.iter().any(|form| sign.contains(form)), "{sign}");
            assert_eq!(held, name == "multi-round-qa", "{sign}");
            assert_eq!(told(name, requests, Load::Rate(bearable), &[]), None, "{name} {requests}");
        }
    }
    // Sessions that wait for replies are late themselves, and so nobody waits long once sent.
    let waiting = [("arrivals.turns", "closed"), ("chat.users", "100"), ("chat.answer_tokens", "2000")];
    let held = told("chat", 2000, Load::Rate(60.0), &waiting).expect("it is too much");
    assert!(held.starts_with("by ") && held.contains(" s 2000 requests were due and "), "{held}");
    let lasting = [&waiting[..], &[("run.duration", "20s")]].concat();
    let held = told("chat", 2000, Load::Rate(60.0), &lasting).expect("it is too much");
    assert!(held.starts_with("by 20 s "), "{held}");
    assert_eq!(told("chat", 2000, Load::Rate(1.0), &waiting), None);
    // As many as are always in flight, or users who think, outrun nobody.
    assert_eq!(told("docqa", 700, Load::Concurrency(500), &[]), None);
    assert_eq!(told("docqa", 700, Load::Users(500), &[]), None);
    assert_eq!(told("docqa", 60, Load::Rate(100.0), &[]), None, "too few to tell");
}
