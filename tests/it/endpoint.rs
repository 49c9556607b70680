//! The endpoint file: what is refused and with which words, what is accepted with which warnings, and what is read.

mod refusals; // wrong fields
mod resources; // quantities, requests and limits
mod command_line; // flags and variables
mod lmcache; // ... those of LMCache
mod warnings; // accepted, and unwise
mod documents; // whole files
mod mutations; // no input panics

use driver::endpoint::{Code, Endpoint, EndpointError, Warning};

const SAMPLE: &str = include_str!("../../driver/examples/sample.yaml");
const BLOG: &str = include_str!("../../driver/examples/aws-blog-70b.yaml");

/// A complete file without a single warning. Every case below is this file with a piece exchanged.
const BASE: &str = "\
apiVersion: inference.sagemaker.aws.amazon.com/v1
kind: InferenceEndpointConfig
metadata:
  name: demo
spec:
  modelName: llama
  endpointName: demo-endpoint
  instanceType: ml.g5.24xlarge
  replicas: 2
  invocationEndpoint: v1/completions
  modelSourceConfig:
    modelSourceType: huggingface
    huggingFaceModel: {modelId: meta-llama/Llama-3.1-8B}
  kvCacheSpec:
    enableL1Cache: true
    enableL2Cache: true
    l2CacheSpec: {l2CacheBackend: tieredstorage}
  intelligentRoutingSpec:
    enabled: true
    routingStrategy: prefixaware
  metrics:
    modelMetrics: {port: 8000}
  worker:
    image: vllm:1
    resources: {limits: {nvidia.com/gpu: 4}}
    modelInvocationPort: {containerPort: 8000}
    modelVolumeMount: {name: weights}
    environmentVariables:
      - {name: PYTHONHASHSEED, value: \"0\"}
      - {name: SESSION_KEY, value: user_id}
    args: [--model, /opt/ml/model]
";

type Reading = Result<(Endpoint, Vec<Warning>), EndpointError>;

fn exchanged(old: &str, new: &str) -> String {
    assert_eq!(BASE.matches(old).count(), 1, "{old:?} must stand in the base file once");
    BASE.replacen(old, new, 1)
}

fn with(old: &str, new: &str) -> Reading {
    Endpoint::parse(&exchanged(old, new), "e.yaml")
}

#[track_caller]
fn accepted(reading: Reading) -> (Endpoint, Vec<Warning>) {
    match reading {
        Ok(read) => read,
        Err(error) => panic!("refused:\n{error}"),
    }
}

#[track_caller]
fn codes(reading: Reading) -> Vec<Code> {
    accepted(reading).1.iter().map(|warning| warning.code).collect()
}

/// Each case: what is exchanged for what, and the whole text of the refusal.
#[track_caller]
fn refuses(cases: &[(&str, &str, &str)]) {
    for (old, new, expected) in cases {
        match with(old, new) {
            Ok(_) => panic!("accepted: {new}"),
            Err(error) => assert_eq!(error.to_string(), *expected, "for {new:?}"),
        }
    }
}

/// Each case: what is exchanged for what, and the codes of the warnings.
#[track_caller]
fn warns(cases: &[(&str, &str, &[Code])]) {
    for (old, new, expected) in cases {
        assert_eq!(codes(with(old, new)), *expected, "for {new:?}");
    }
}

/// The flags in the place of the base file's, one list item each.
fn with_args(items: &[&str]) -> Reading {
    let list: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
    with("[--model, /opt/ml/model]", &format!("[{}]", list.join(", ")))
}

#[test]
fn the_base_file_has_no_warning() {
    assert_eq!(codes(Endpoint::parse(BASE, "e.yaml")), []);
}
