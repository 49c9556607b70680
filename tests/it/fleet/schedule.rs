//! The schedule as a text, and the fields of the endpoint file.

use crate::support::project;
use driver::endpoint::{Endpoint, TriggerSource};
use driver::experiment::{Assembled, Case, Experiment, Load, Source, Tiers};
use driver::lab::Lab;
use kvcache::{Span, Time, WorkerId};
use proptest::prelude::*;
use router::Strategy;
use sim::cluster::RequestLimits;
use sim::fleet::{Metric, Planned, Trigger, What};
use sim::transport::Reach;
use std::collections::BTreeMap;

fn read(text: &str) -> Result<Vec<Planned>, String> {
    let mut lab = Lab::default();
    lab.set("fleet.events", text).map(|()| lab.fleet.events)
}

fn at(seconds: u64, what: What) -> Planned {
    Planned { at: Time::ZERO + Span::from_secs(seconds), what }
}

#[test]
fn every_form_is_read() {
    let text = "2min crash 2 for 90s # and; back\n60s crash 1; 5min replicas 4\n\n10min slow 3 by 2.5 for 5min;11min slow 3 by 1\n 12min l2 refused for 30s; 13min l2 silent; 2h l2 loses 0 for 1min";
    let worker = WorkerId(3);
    let expected = [
        at(60, What::Crash { worker: WorkerId(1), lasts: None }),
        at(120, What::Crash { worker: WorkerId(2), lasts: Some(Span::from_secs(90)) }),
        at(300, What::Replicas(4)),
        at(600, What::Slow { worker, permille: 2500, lasts: Some(Span::from_secs(300)) }),
        at(660, What::Slow { worker, permille: 1000, lasts: None }),
        at(720, What::PoolOut { reach: Reach::Refused, lasts: Some(Span::from_secs(30)) }),
        at(780, What::PoolOut { reach: Reach::Silent, lasts: None }),
        at(7200, What::ShardLost { shard: 0, lasts: Some(Span::from_secs(60)) }),
    ];
    assert_eq!(read(text), Ok(expected.to_vec()));
    assert_eq!(read("none"), Ok(vec![]));
}

#[test]
fn what_is_no_schedule_is_refused_with_the_event_and_the_forms() {
    for (text, words) in [
        ("60 crash 1", "\"60 crash 1\": \"60\" needs a unit"),
        ("60s crash", "AT crash WORKER"),
        ("60s crash one", "\"one\" is no number from 0 to 4095"),
        ("60s crash 1 2", "AT crash WORKER"),
        ("60s crash 1 for", "AT crash WORKER"),
        ("60s crash 1 for long", "does not begin with a number"),
        ("60s explode 1", "an event is one of AT crash"),
        ("60s replicas 5000", "no number from 0 to 4096"),
        ("60s replicas 5 for 3s", "an event is one of"),
        ("60s slow 1 by 0.5", "0.5 is no slower: passes take so many times as long; half as fast is slow 1 by 2"),
        ("60s slow 1 by 1001", "outside 0 to 1000"),
        ("60s slow 1 2", "an event is one of"),
        ("60s l2 down", "AT l2 refused|silent"),
        ("3000h crash 1", "longer than 100 days"),
        (";", "no event"),
        ("-5s crash 1", "negative"),
    ] {
        let problem = read(text).expect_err(text);
        assert!(problem.contains(words), "{text}: {problem}");
        assert!(problem.starts_with("fleet.events: "), "{problem}");
    }
}

fn what() -> impl Strategy2<Value = What> {
    let lasts = || proptest::option::of((0_u64..100_000_000).prop_map(Span::from_millis));
    let worker = || (0_u16..4096).prop_map(WorkerId);
    prop_oneof![
        (worker(), lasts()).prop_map(|(worker, lasts)| What::Crash { worker, lasts }),
        (0_u16..=4096).prop_map(What::Replicas),
        (worker(), 1_000_u32..1_000_000, lasts()).prop_map(|(worker, permille, lasts)| What::Slow {
            worker,
            permille,
            lasts
        }),
        (prop_oneof![Just(Reach::Refused), Just(Reach::Silent)], lasts())
            .prop_map(|(reach, lasts)| What::PoolOut { reach, lasts }),
        (0_u16..4096, lasts()).prop_map(|(shard, lasts)| What::ShardLost { shard, lasts }),
    ]
}

use proptest::strategy::Strategy as Strategy2;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_schedule_that_is_described_reads_the_same(
        events in proptest::collection::vec(((0_u64..8_000_000_000).prop_map(Span::from_millis), what()), 0..12)
    ) {
        let mut lab = Lab::default();
        let mut planned: Vec<Planned> =
            events.into_iter().map(|(span, what)| Planned { at: Time::ZERO + span, what }).collect();
        planned.sort_by_key(|planned| planned.at);
        lab.fleet.events = planned.clone();
        let described = lab.describe();
        let text = described["fleet.events"].as_str().expect("it is a text");
        prop_assert_eq!(read(text), Ok(planned));
    }
}

const SAMPLE: &str = "driver/examples/aws-blog-70b.yaml";

/// The sample with these lines in its `spec`, and these in its `worker`.
fn endpoint(spec: &str, worker: &str) -> Endpoint {
    let text = std::fs::read_to_string(project(SAMPLE)).expect("the sample is there");
    let text = text.replace("  worker:\n", &format!("{spec}  worker:\n{worker}"));
    Endpoint::parse(&text, "sample.yaml").unwrap_or_else(|error| panic!("{error}")).0
}

fn assemble(endpoint: Endpoint, settings: &[(&str, &str)]) -> Result<Assembled, String> {
    let source = Source::DocumentQa { requests: 20 };
    let experiment = Experiment { endpoint, file: "sample.yaml".to_owned(), workload: "docqa".to_owned(), source };
    let settings: BTreeMap<_, _> =
        settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let (cache, load) = (Tiers::L0, Load::Concurrency(4));
    let case = Case { strategy: Strategy::RoundRobin, cache, replicas: 7, load, seed: 0, settings };
    experiment.assemble(&case).map_err(|failure| failure.to_string())
}

const SCALING: &str = "  autoScalingSpec:
    minReplicaCount: 2
    maxReplicaCount: 12
    pollingInterval: 15
    scaleDownStabilizationTime: 60
    cloudWatchTrigger:
      metricName: Invocations
      metricCollectionPeriod: 30
      targetValue: 10.5
      activationTargetValue: 5
      namespace: AWS/SageMaker
    prometheusTriggerList:
      - query: avg(vllm:kv_cache_usage_perc)
        targetValue: 0.8
        metricType: Value
      - query: sum(rate(model_invocations_total[5m]))
        targetValue: 3
      - query: sum(something_else)
        targetValue: 3
";

#[test]
fn the_scaling_of_an_endpoint_file_is_followed() {
    let endpoint = endpoint(SCALING, "");
    let scaling = endpoint.autoscaling.clone().expect("it has one");
    assert_eq!((scaling.min, scaling.max, scaling.polling_s, scaling.cooldown_s), (2, 12, 15, 300));
    assert_eq!(scaling.triggers.len(), 4);
    assert_eq!(scaling.triggers[0].source, TriggerSource::CloudWatch("Invocations".to_owned()));
    let assembled = assemble(endpoint.clone(), &[]).expect("it is valid");
    let scaler = assembled.fleet.autoscaler.clone().expect("it scales");
    assert_eq!((scaler.min, scaler.max, scaler.down_stabilization), (2, 12, Span::from_secs(60)));
    let invocations = Metric::Invocations { period: Span::from_secs(30) };
    let rate = Metric::Rate { period: Span::from_secs(300) };
    assert_eq!(
        scaler.triggers,
        [
            Trigger { metric: invocations, target: 10.5, per_worker: true, mean: false, activation: 5.0 },
            Trigger { metric: Metric::KvUsage, target: 80.0, per_worker: false, mean: false, activation: 0.0 },
            Trigger { metric: rate, target: 3.0, per_worker: true, mean: false, activation: 0.0 },
        ]
    );
    assert_eq!(assembled.router.workers, 12, "as many as there can ever be");
    assert_eq!(assembled.fleet.replicas, 7);
    let warned = assembled.warnings.iter().any(|warning| warning.contains("not simulated: the Prometheus query"));
    assert!(warned, "{:?}", assembled.warnings);

    let off = assemble(endpoint.clone(), &[("autoscaling.enabled", "false")]).expect("it is valid");
    assert_eq!((off.fleet.autoscaler, off.router.workers), (None, 7));
    let other = [("autoscaling.metric", "waiting"), ("autoscaling.target", "5"), ("autoscaling.max", "9")];
    let other = assemble(endpoint, &other).expect("it is valid").fleet.autoscaler.expect("it scales");
    assert_eq!(
        other.triggers,
        [Trigger { metric: Metric::Waiting, target: 5.0, per_worker: true, mean: false, activation: 0.0 }]
    );
    assert_eq!(other.max, 9);
}

#[test]
fn a_metric_is_enough_to_scale_by() {
    let both = [("autoscaling.metric", "running"), ("autoscaling.target", "3")];
    let scaled = assemble(endpoint("", ""), &both).expect("it is valid").fleet.autoscaler.expect("it scales");
    assert_eq!((scaled.min, scaled.max), (1, 5));
    assert_eq!(assemble(endpoint("", ""), &[]).expect("it is valid").fleet.autoscaler, None);
}

#[test]
fn scaling_that_goes_by_nothing_is_said() {
    let nothing = endpoint("  autoScalingSpec:\n    maxReplicaCount: 9\n", "");
    let assembled = assemble(nothing.clone(), &[]).expect("it is valid");
    assert_eq!(assembled.fleet.autoscaler, None);
    assert!(assembled.warnings.iter().any(|warning| warning.contains("not simulated: spec.autoScalingSpec")));
    for (settings, words) in [
        (vec![("autoscaling.enabled", "true")], "needs a metric that is simulated"),
        (vec![("autoscaling.metric", "running")], "needs autoscaling.target"),
        (
            vec![("autoscaling.metric", "running"), ("autoscaling.target", "3"), ("autoscaling.min", "10")],
            "min 10 is above",
        ),
        (vec![("fleet.events", "1s crash 7")], "there is no worker 7: a run has 7, numbered from 0 to 6"),
    ] {
        let problem = assemble(nothing.clone(), &settings).expect_err(words);
        assert!(problem.contains(words), "{problem}");
    }
    assert!(assemble(nothing, &[("fleet.events", "1s replicas 9; 2s crash 8")]).is_ok(), "there may be a ninth");
}

#[test]
fn limits_of_an_endpoint_file_hold_and_the_lab_is_stronger() {
    let limits =
        "    requestLimits:\n      maxConcurrentRequests: 8\n      maxQueueSize: 0\n      overflowStatusCode: 503\n";
    let endpoint = endpoint("", limits);
    let of = |settings: &[(&str, &str)]| assemble(endpoint.clone(), settings).expect("it is valid").limits;
    assert_eq!(of(&[]), Some(RequestLimits { concurrent: 8, queue: Some(0), status: 503 }));
    let both = [("fleet.max_concurrent_requests", "3"), ("fleet.max_queue_size", "9")];
    assert_eq!(of(&both), Some(RequestLimits { concurrent: 3, queue: Some(9), status: 503 }));
    assert_eq!(of(&[("fleet.max_concurrent_requests", "0")]), None);
}

#[test]
fn events_about_a_pool_need_one() {
    let assembled = assemble(endpoint("", ""), &[("fleet.events", "1s l2 silent")]).expect("it is valid");
    assert!(assembled.warnings.iter().any(|warning| warning.contains("do nothing in a run without L2")));
}

#[test]
fn settings_that_nothing_reads_are_told() {
    let warnings = |settings: &[(&str, &str)]| -> Vec<String> {
        let all = assemble(endpoint("", ""), settings).expect("it is valid").warnings;
        all.into_iter().filter(|warning| warning.starts_with("fleet.") || warning.starts_with("autoscaling.")).collect()
    };
    let [line] = warnings(&[("fleet.max_queue_size", "9")]).try_into().expect("one");
    assert!(line.starts_with("fleet.max_queue_size (maxQueueSize) does nothing"), "{line}");
    for most in ["0", "4"] {
        let both = [("fleet.max_queue_size", "9"), ("fleet.max_concurrent_requests", most)];
        assert_eq!(warnings(&both), Vec::<String>::new(), "it is said that there is no limit, or which");
    }
    let [line] = warnings(&[("autoscaling.max", "9")]).try_into().expect("one");
    assert!(line.starts_with("autoscaling.* does nothing"), "{line}");
    assert_eq!(warnings(&[("autoscaling.max", "9"), ("autoscaling.enabled", "false")]), Vec::<String>::new());
    let usage = |target| warnings(&[("autoscaling.metric", "kv_usage"), ("autoscaling.target", target)]);
    let [line] = usage("0.8").try_into().expect("one");
    assert!(line.contains("0.8 percent of the KV blocks; for that share of all of them write 80"), "{line}");
    assert_eq!(usage("80"), Vec::<String>::new());
    let contradiction = [("autoscaling.min", "6"), ("autoscaling.enabled", "false")];
    let problem = assemble(endpoint("", ""), &contradiction).expect_err("it cannot be");
    assert!(problem.contains("autoscaling.min 6 is above autoscaling.max 5"), "{problem}");
}
