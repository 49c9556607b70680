//! What is accepted and will still cost its owner a day.

use driver::endpoint::{Code, short_prompts_warning};

use super::{BASE, accepted, codes, warns, with};
use driver::endpoint::Endpoint;

#[test]
fn warnings_that_save_a_day() {
    warns(&[
        ("replicas: 2", "replicas: 1", &[Code::RoutingOneReplica]),
        ("  replicas: 2\n", "", &[Code::RoutingOneReplica]),
        ("  replicas: 2\n", "  replicas: 1\n  autoScalingSpec: {maxReplicaCount: 3}\n", &[]),
        ("    enabled: true\n", "    enabled: false\n", &[]),
        ("routingStrategy: prefixaware", "routingStrategy: kvaware", &[]),
        ("routingStrategy: prefixaware", "routingStrategy: session", &[]),
        ("  endpointName: demo-endpoint\n", "", &[Code::NoEndpointName]),
        ("endpointName: demo-endpoint", "endpointName: \"\"", &[Code::NoEndpointName]),
        ("l2CacheBackend: tieredstorage", "l2CacheBackend: Redis", &[Code::RedisIgnored]),
        ("    l2CacheSpec: {l2CacheBackend: tieredstorage}\n", "", &[Code::L2BackendAssumed]),
        ("enableL2Cache: true", "enableL2Cache: false", &[Code::L2Off]),
        ("enableL1Cache: true", "cacheConfigFile: /x.yaml", &[Code::CacheConfigElsewhere]),
        ("name: PYTHONHASHSEED", "name: OTHER", &[Code::NoHashSeed]),
        ("port: 8000}\n  worker", "port: 8080}\n  worker", &[Code::MetricsPort]),
        ("    modelMetrics: {port: 8000}\n", "    enabled: true\n", &[Code::MetricsPort]),
        ("    modelMetrics: {port: 8000}\n", "    enabled: false\n", &[]),
        ("  replicas: 2\n", "  replicas: 2\n  InitialReplicaCount: 1\n", &[Code::Deprecated]),
        ("  replicas: 2\n", "  replicas: 2\n  inferenceGateway: {any: 1}\n", &[Code::NotChecked]),
        ("  replicas: 2\n", "  replicas: 2\n  dnsConfig: {hostedZoneId: Z1}\n", &[Code::DnsWithoutCertificate]),
        ("  replicas: 2\n", "  replicas: 2\n  pdSpec: {prefillSpec: {}, decodingSpec: {}}\n", &[Code::NotSimulated]),
    ]);
}

#[test]
fn names_that_leave_the_router_no_service() {
    let name = |length: usize| format!("name: {}\n", "n".repeat(length));
    // In the namespace "default" 39 characters make a service name of exactly 63.
    assert_eq!(codes(with("name: demo\n", &name(39))), []);
    assert_eq!(codes(with("name: demo\n", &name(40))), [Code::LongName]);
    assert_eq!(codes(with("name: demo\n", &(name(39) + "  namespace: eightlet\n"))), [Code::LongName]);
}

#[test]
fn strategies_that_need_more_than_the_file_gives() {
    let kvaware = BASE.replace("prefixaware", "kvaware");
    let chat = kvaware.replace("v1/completions", "v1/chat/completions");
    let (_, warnings) = accepted(Endpoint::parse(&chat, "e.yaml"));
    assert_eq!(warnings.iter().map(|warning| warning.code).collect::<Vec<_>>(), [Code::KvAwareApi]);
    assert_eq!((warnings[0].line, warnings[0].path.as_str()), (10, "spec.invocationEndpoint"));
    let unset = kvaware.replace("  invocationEndpoint: v1/completions\n", "");
    assert_eq!(codes(Endpoint::parse(&unset, "e.yaml")), [Code::KvAwareApi]);
    for strategy in ["kvaware", "session"] {
        let text = BASE.replace("prefixaware", strategy).replace("SESSION_KEY", "OTHER");
        assert_eq!(codes(Endpoint::parse(&text, "e.yaml")), [Code::NoSessionKey], "for {strategy}");
    }
    assert_eq!(codes(with("name: SESSION_KEY", "name: OTHER")), [], "prefixaware needs no session");
}

#[test]
fn what_only_kubernetes_misses_is_one_warning() {
    let text = "\
apiVersion: inference.sagemaker.aws.amazon.com/v1
kind: InferenceEndpointConfig
metadata: {name: demo}
spec:
  modelName: llama
  endpointName: e
  instanceType: ml.p5.48xlarge
  worker:
    args: [--model, meta-llama/Llama-3.1-8B]
";
    let (endpoint, warnings) = accepted(Endpoint::parse(text, "e.yaml"));
    let [warning] = warnings.as_slice() else { panic!("one warning expected: {warnings:?}") };
    assert_eq!(
        warning.to_string(),
        "line 4: spec.modelSourceConfig: spec.modelSourceConfig, spec.worker.image, spec.worker.resources, \
         spec.worker.modelInvocationPort, spec.worker.modelVolumeMount are missing: podlab can do without, but kubectl \
         apply would reject the file; add them before deploying [kubectl-rejects]"
    );
    assert_eq!((endpoint.image, endpoint.pod_gpus, endpoint.container_port), (None, None, None));
    warns(&[
        ("  modelName: llama\n", "", &[Code::KubectlRejects]),
        ("huggingFaceModel: {modelId: meta-llama/Llama-3.1-8B}", "modelLocation: x", &[Code::KubectlRejects]),
        (
            "huggingFaceModel: {modelId: meta-llama/Llama-3.1-8B}",
            "s3Storage: {bucketName: b, region: r}",
            &[Code::KubectlRejects],
        ),
        ("    modelVolumeMount: {name: weights}\n", "", &[Code::KubectlRejects]),
        ("  instanceType: ml.g5.24xlarge\n", "", &[]),
    ]);
    assert_eq!(accepted(with("  instanceType: ml.g5.24xlarge\n", "")).0.instance_type, None);
    assert_eq!(accepted(with("  modelName: llama\n", "")).0.model_name, None);
}

#[test]
fn short_prompts() {
    let (endpoint, _) = accepted(Endpoint::parse(BASE, "e.yaml"));
    assert_eq!(short_prompts_warning(&endpoint, 256, 256), None);
    let warning = short_prompts_warning(&endpoint, 255, 256);
    assert_eq!(
        warning.map(|warning| warning.to_string()).as_deref(),
        Some(
            "line 14: spec.kvCacheSpec: lower tiers are on, but the longest prompt has 255 tokens and a chunk 256: \
             nothing is ever stored; use longer prompts, or smaller chunks (LMCACHE_CHUNK_SIZE, tiers.chunk_tokens) \
             [short-prompts]"
        )
    );
}
