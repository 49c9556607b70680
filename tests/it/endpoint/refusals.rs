//! Wrong words, types, ranges, names and combinations of fields.

use driver::endpoint::{Endpoint, L2Backend};

use super::{BASE, accepted, codes, refuses, with};

#[test]
fn the_issue_in_the_original_readme_is_explained() {
    refuses(&[(
        "routingStrategy: prefixaware",
        "routingStrategy: prefix-aware",
        "e.yaml:20:22: spec.intelligentRoutingSpec.routingStrategy: \"prefix-aware\" is not a routing strategy; \
         allowed: prefixaware, kvaware, session, roundrobin; did you mean \"prefixaware\"?",
    )]);
}

#[test]
fn a_strategy_of_podlabs_own_is_no_strategy_of_hyperpod() {
    for name in ["kvaware+", "predicted-ttft"] {
        refuses(&[(
            "routingStrategy: prefixaware",
            &format!("routingStrategy: {name}"),
            &format!(
                "e.yaml:20:22: spec.intelligentRoutingSpec.routingStrategy: \"{name}\" is not a routing strategy; \
                 allowed: prefixaware, kvaware, session, roundrobin; it is one of podlab's own, which --strategy takes"
            ),
        )]);
    }
}

#[test]
fn words() {
    refuses(&[
        (
            "l2CacheBackend: tieredstorage",
            "l2CacheBackend: my-redis-1",
            "e.yaml:17:35: spec.kvCacheSpec.l2CacheSpec.l2CacheBackend: \"my-redis-1\" is not an L2 cache backend; \
             allowed: redis, tieredstorage; did you mean \"redis\"?",
        ),
        (
            "l2CacheBackend: tieredstorage",
            "l2CacheBackend: tiered-storage",
            "e.yaml:17:35: spec.kvCacheSpec.l2CacheSpec.l2CacheBackend: \"tiered-storage\" is not an L2 cache backend; \
             allowed: redis, tieredstorage; did you mean \"tieredstorage\"?",
        ),
        (
            "kind: InferenceEndpointConfig",
            "kind: InferenceEndpointConfigs",
            "e.yaml:2:7: kind: \"InferenceEndpointConfigs\" is not the kind of an endpoint file; allowed: \
             InferenceEndpointConfig; did you mean \"InferenceEndpointConfig\"?",
        ),
        (
            "com/v1\n",
            "com/v2\n",
            "e.yaml:1:13: apiVersion: \"inference.sagemaker.aws.amazon.com/v2\" is not an API version; allowed: \
             inference.sagemaker.aws.amazon.com/v1, inference.sagemaker.aws.amazon.com/v1alpha1; did you mean \
             \"inference.sagemaker.aws.amazon.com/v1\"?",
        ),
    ]);
    // The case of a backend does not count.
    let shouted = with("l2CacheBackend: tieredstorage", "l2CacheBackend: TieredStorage");
    assert_eq!(accepted(shouted).0.l2, Some(L2Backend::TieredStorage));
}

#[test]
fn shapes() {
    refuses(&[
        (
            "instanceType: ml.g5.24xlarge",
            "instanceType: g5.24xlarge",
            "e.yaml:8:17: spec.instanceType: \"g5.24xlarge\" is not a SageMaker instance type; allowed: a name that \
             starts with \"ml.\", such as ml.p5.48xlarge; did you mean \"ml.g5.24xlarge\"?",
        ),
        (
            "name: demo\n",
            "name: My_Demo\n",
            "e.yaml:4:9: metadata.name: \"My_Demo\" is not a Kubernetes name (DNS-1123); allowed: up to 253 lower-case \
             letters, digits, inner hyphens and dots, such as demo-endpoint; did you mean \"my-demo\"?",
        ),
        (
            "modelId: meta-llama/Llama-3.1-8B",
            "modelId: Llama-3.1-8B",
            "e.yaml:13:33: spec.modelSourceConfig.huggingFaceModel.modelId: \"Llama-3.1-8B\" is not a Hugging Face \
             model; allowed: org/model, such as meta-llama/Llama-3.1-8B-Instruct",
        ),
        (
            "  metrics:\n",
            "  loadBalancer: {healthCheckPath: health}\n  metrics:\n",
            "e.yaml:21:35: spec.loadBalancer.healthCheckPath: \"health\" is not a path; allowed: a path that starts \
             with \"/\"; did you mean \"/health\"?",
        ),
        (
            "  metrics:\n",
            "  dnsConfig: {hostedZoneId: z1}\n  metrics:\n",
            "e.yaml:21:29: spec.dnsConfig.hostedZoneId: \"z1\" is not a hosted zone id; allowed: Z and then capital \
             letters and digits, such as Z0123456789ABC",
        ),
        (
            "  metrics:\n",
            "  tlsConfig: {tlsCertificateOutputS3Uri: b/c}\n  metrics:\n",
            "e.yaml:21:42: spec.tlsConfig.tlsCertificateOutputS3Uri: \"b/c\" is not an S3 URI; allowed: s3://bucket or \
             s3://bucket/prefix; did you mean \"s3://b/c\"?",
        ),
        (
            "endpointName: demo-endpoint",
            "endpointName: demo_endpoint",
            "e.yaml:7:17: spec.endpointName: \"demo_endpoint\" is not a SageMaker endpoint name; allowed: up to 63 \
             ASCII letters, digits and inner hyphens, or the empty string; did you mean \"demo-endpoint\"?",
        ),
    ]);
    // The CRD leaves the end of this pattern open.
    assert_eq!(codes(with("modelName: llama", "modelName: Llama-3.1_x")), []);
}

#[test]
fn types_are_never_guessed() {
    refuses(&[
        (
            "replicas: 2",
            "replicas: \"7\"",
            "e.yaml:9:13: spec.replicas: \"7\" is a string, not a whole number; allowed: 0 to 2147483647; did you \
             mean 7?",
        ),
        (
            "replicas: 2",
            "replicas: 2.5",
            "e.yaml:9:13: spec.replicas: 2.5 is a number with a fraction or an exponent, not a whole number; \
             allowed: 0 to 2147483647",
        ),
        (
            "enableL1Cache: true",
            "enableL1Cache: \"true\"",
            "e.yaml:15:20: spec.kvCacheSpec.enableL1Cache: \"true\" is a string, not a boolean; allowed: true, \
             false; did you mean true?",
        ),
        (
            "    enabled: true\n",
            "    enabled: trie\n",
            "e.yaml:19:14: spec.intelligentRoutingSpec.enabled: \"trie\" is a string, not a boolean; allowed: true, \
             false; did you mean true?",
        ),
        (
            "{name: PYTHONHASHSEED, value: \"0\"}",
            "{name: PYTHONHASHSEED, value: 0}",
            "e.yaml:29:39: spec.worker.environmentVariables[0].value: 0 is a whole number, not a string; allowed: a \
             string, in quotes if it looks like a number or a boolean; did you mean \"0\"?",
        ),
        (
            "image: vllm:1",
            "image:",
            "e.yaml:24:10: spec.worker.image: an empty value (null) is not a string; allowed: a string that is not \
             empty",
        ),
        (
            "args: [--model, /opt/ml/model]",
            "args: --model /opt/ml/model",
            "e.yaml:31:11: spec.worker.args: \"--model /opt/ml/model\" is a string, not a list of strings; allowed: \
             one string a line, each after \"- \"; did you mean [\"--model /opt/ml/model\"]?",
        ),
        (
            "[--model, /opt/ml/model]",
            "[--max-num-seqs, 256]",
            "e.yaml:31:28: spec.worker.args[1]: 256 is a whole number, not a string; allowed: a string, in quotes if \
             it looks like a number or a boolean; did you mean \"256\"?",
        ),
        (
            "  name: demo\n",
            "  name: demo\n  labels: {app: 1}\n",
            "e.yaml:5:17: metadata.labels.app: 1 is a whole number, not a string; allowed: a string, in quotes if it \
             looks like a number or a boolean; did you mean \"1\"?",
        ),
        (
            "resources: {limits: {nvidia.com/gpu: 4}}",
            "resources: four",
            "e.yaml:25:16: spec.worker.resources: \"four\" is a string, not an object; allowed: fields, one a line and \
             indented",
        ),
    ]);
}

#[test]
fn ranges() {
    refuses(&[
        ("replicas: 2", "replicas: -1", "e.yaml:9:13: spec.replicas: -1 is out of range; allowed: 0 to 2147483647"),
        (
            "replicas: 2",
            "replicas: 0",
            "e.yaml:9:13: spec.replicas: 0 replicas serve nothing, so there is nothing to simulate; allowed: 1 to \
             2147483647",
        ),
        (
            "containerPort: 8000",
            "containerPort: 65536",
            "e.yaml:26:42: spec.worker.modelInvocationPort.containerPort: 65536 is out of range; allowed: 1 to 65535",
        ),
        (
            "modelMetrics: {port: 8000}",
            "metricsScrapeIntervalSeconds: 301",
            "e.yaml:22:35: spec.metrics.metricsScrapeIntervalSeconds: 301 is out of range; allowed: 5 to 300",
        ),
        (
            "    image: vllm:1\n",
            "    image: vllm:1\n    requestLimits: {overflowStatusCode: 399}\n",
            "e.yaml:25:41: spec.worker.requestLimits.overflowStatusCode: 399 is out of range; allowed: 400 to 599",
        ),
        (
            "  metrics:\n",
            "  dataCapture: {modelPod: {enabled: true, sampling: 101}}\n  metrics:\n",
            "e.yaml:21:53: spec.dataCapture.modelPod.sampling: 101 is out of range; allowed: 0 to 100",
        ),
        (
            "  metrics:\n",
            "  autoScalingSpec: {minReplicaCount: 6}\n  metrics:\n",
            "e.yaml:21:38: spec.autoScalingSpec.minReplicaCount: 6 is above maxReplicaCount, which is 5; allowed: 0 \
             to 5",
        ),
        (
            "    image: vllm:1\n",
            "    image: vllm:1\n    probes: {liveness: {periodSeconds: 0, other: 1}}\n",
            "e.yaml:25:40: spec.worker.probes.liveness.periodSeconds: 0 is out of range; allowed: 1 to 2147483647",
        ),
    ]);
}

#[test]
fn names_of_fields() {
    refuses(&[
        (
            "enableL1Cache: true",
            "enableL1cache: true",
            "e.yaml:15:5: spec.kvCacheSpec.enableL1cache: no such field; allowed: enableL1Cache, enableL2Cache, \
             l2CacheSpec, cacheConfigFile, lmcache; did you mean \"enableL1Cache\"?",
        ),
        (
            "    enabled: true\n",
            "    enabled: true\n    maxQueueSize: 1\n",
            "e.yaml:20:5: spec.intelligentRoutingSpec.maxQueueSize: no such field; allowed: enabled, routingStrategy, \
             autoScalingSpec; did you mean spec.worker.requestLimits.maxQueueSize?",
        ),
        (
            "  name: demo\n",
            "  name: demo\n  labels: {\"bad key!\": x}\n",
            "e.yaml:5:12: metadata.labels[\"bad key!\"]: not a Kubernetes key; allowed: an optional DNS prefix and \
             \"/\", then up to 63 ASCII letters, digits and inner \"-\", \"_\", \".\"",
        ),
        (
            "    enabled: true\n",
            "    enabled: true\n    enabled: true\n",
            "e.yaml:20:5: spec.intelligentRoutingSpec.enabled: this field is given twice in the same object; keep \
             one of them",
        ),
        (
            "  name: demo\n",
            "  namespace: demo\n",
            "e.yaml:4:3: metadata.name: this field is missing and required; allowed: up to 253 lower-case letters, \
             digits, inner hyphens and dots, such as demo-endpoint",
        ),
        (
            "{name: SESSION_KEY, value: user_id}",
            "{value: user_id}",
            "e.yaml:30:9: spec.worker.environmentVariables[1].name: this field is missing and required; allowed: \
             printable ASCII characters without \"=\"",
        ),
    ]);
}

#[test]
fn fields_that_exclude_each_other() {
    refuses(&[
        (
            "  replicas: 2\n",
            "  replicas: 2\n  instanceTypes: [ml.p5.48xlarge]\n",
            "e.yaml:10:18: spec.instanceTypes: excludes instanceType, which is given too; allowed: one of \
             instanceType, instanceTypes, nodeAffinity",
        ),
        (
            "{name: SESSION_KEY, value: user_id}",
            "{name: SESSION_KEY, value: user_id, valueFrom: {fieldRef: {}}}",
            "e.yaml:30:56: spec.worker.environmentVariables[1].valueFrom: value and valueFrom exclude each other; \
             allowed: one of them",
        ),
        (
            "{name: SESSION_KEY, value: user_id}",
            "{name: SESSION_KEY, valueFrom: {}}",
            "e.yaml:30:40: spec.worker.environmentVariables[1].valueFrom: 0 sources are given; allowed: exactly one of \
             fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef, fileKeyRef",
        ),
    ]);
}

#[test]
fn every_problem_is_reported_in_order() {
    let text = BASE
        .replace("enableL1Cache: true", "enableL1Cache: 1")
        .replace("replicas: 2", "replica: 2")
        .replace("containerPort: 8000", "containerPort: 0")
        .replace("--model, /opt", "--block-size, \"17\", --model, /opt");
    let Err(error) = Endpoint::parse(&text, "e.yaml") else { panic!("accepted") };
    let paths: Vec<&str> = error.problems().iter().map(|problem| problem.path.as_str()).collect();
    let expected = [
        "spec.replica",
        "spec.kvCacheSpec.enableL1Cache",
        "spec.worker.modelInvocationPort.containerPort",
        "spec.worker.args[1]",
    ];
    assert_eq!(paths, expected);
    assert_eq!(error.to_string().lines().count(), 4);
    assert!(error.to_string().lines().all(|line| line.starts_with("e.yaml:")));
}
