//! Whole files: samples, versions, several documents, files that cannot be read.

use std::fs;
use std::path::{Path, PathBuf};

use driver::endpoint::{ApiVersion, Code, Endpoint, L2Backend, RequestLimits, RoutingStrategy};

use super::{BASE, BLOG, SAMPLE, accepted, codes, with};

#[track_caller]
fn refusal(text: &str) -> String {
    match Endpoint::parse(text, "e.yaml") {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(error) => error.to_string(),
    }
}

fn kept(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, bytes).expect("the folder for test files takes files");
    path
}

#[test]
fn samples() {
    let (sample, warnings) = accepted(Endpoint::parse(SAMPLE, "sample.yaml"));
    assert_eq!(warnings.iter().map(|warning| warning.code).collect::<Vec<_>>(), [Code::RoutingOneReplica]);
    assert_eq!((sample.name.as_str(), sample.namespace.as_deref(), sample.replicas), ("demo", Some("default"), 1));
    assert_eq!(sample.model_name.as_deref(), Some("Llama-3.1-8B-Instruct"));
    assert_eq!(sample.model_location.as_deref(), Some("Llama-3.1-8B-Instruct"));
    assert_eq!(sample.instance_type.as_deref(), Some("ml.g5.24xlarge"));
    assert_eq!(sample.invocation_path, "v1/chat/completions");
    assert_eq!(
        (sample.routing, sample.l1, sample.l2),
        (Some(RoutingStrategy::PrefixAware), true, Some(L2Backend::TieredStorage))
    );
    assert_eq!(
        (sample.pod_gpus, sample.pod_cpu_millis, sample.pod_memory_bytes),
        (Some(4), Some(6_000), Some(30 << 30))
    );
    assert_eq!(sample.engine.model.as_deref(), Some("/opt/ml/model"));
    assert_eq!((sample.engine.max_model_len, sample.engine.tensor_parallel_size), (Some(20_000), Some(4)));
    assert_eq!(sample.container_port, Some(8_000));

    let (blog, warnings) = accepted(Endpoint::parse(BLOG, "aws-blog-70b.yaml"));
    assert_eq!(warnings, []);
    assert_eq!(blog.model_id.as_deref(), Some("meta-llama/Llama-3.1-70B-Instruct"));
    assert_eq!((blog.replicas, blog.pod_gpus, blog.engine.tensor_parallel_size), (7, Some(8), Some(8)));
    assert_eq!((blog.invocation_path.as_str(), blog.engine.max_model_len), ("v1/completions", Some(131_072)));
    for strategy in ["kvaware", "session", "roundrobin"] {
        let text = BLOG.replace("routingStrategy: prefixaware", &format!("routingStrategy: {strategy}"));
        let (other, warnings) = accepted(Endpoint::parse(&text, "e.yaml"));
        assert_eq!((other.routing.map(RoutingStrategy::as_str), warnings), (Some(strategy), vec![]));
    }
}

#[test]
fn defaults() {
    let text = "apiVersion: inference.sagemaker.aws.amazon.com/v1\nkind: InferenceEndpointConfig\nmetadata: {name: \
                d}\nspec: {}\n";
    let (bare, warnings) = accepted(Endpoint::parse(text, "e.yaml"));
    assert_eq!((bare.replicas, bare.invocation_path.as_str(), bare.routing), (1, "invocations", None));
    assert_eq!((bare.l1, bare.l2, bare.autoscaling, bare.request_limits), (false, None, None, None));
    assert_eq!(
        warnings.iter().map(|warning| warning.code).collect::<Vec<_>>(),
        [Code::KubectlRejects, Code::NoEndpointName]
    );
    let spec = "spec: {kvCacheSpec: {}, intelligentRoutingSpec: {enabled: true}, autoScalingSpec: {}, worker: \
                {requestLimits: {}}}";
    let (some, _) = accepted(Endpoint::parse(&text.replace("spec: {}", spec), "e.yaml"));
    assert_eq!((some.l1, some.l2, some.routing), (true, None, Some(RoutingStrategy::PrefixAware)));
    assert_eq!(some.autoscaling.map(|scaling| (scaling.min, scaling.max, scaling.triggers)), Some((1, 5, vec![])));
    let limits = RequestLimits { max_concurrent_requests: None, max_queue_size: None, overflow_status_code: 429 };
    assert_eq!(some.request_limits, Some(limits));
    let (off, _) = accepted(Endpoint::parse(
        &text.replace("spec: {}", "spec: {intelligentRoutingSpec: {routingStrategy: session}}"),
        "e.yaml",
    ));
    assert_eq!(off.routing, None, "routing is off unless enabled");
    let (off, _) = accepted(with("    enabled: true\n", "    enabled: false\n"));
    assert_eq!(off.routing, None);
}

#[test]
fn annotations_and_the_choice_of_machines() {
    let (endpoint, _) = accepted(with(
        "  name: demo\n",
        "  name: demo\n  annotations:\n    podlab.dev/l1.bytes: 64GiB\n    other/x: z\n",
    ));
    let [annotation] = endpoint.annotations.as_slice() else { panic!("one annotation expected") };
    assert_eq!((annotation.key.as_str(), annotation.value.as_str(), annotation.line), ("l1.bytes", "64GiB", 6));
    let (endpoint, _) =
        accepted(with("instanceType: ml.g5.24xlarge", "instanceTypes: [ml.p5.48xlarge, ml.g5.24xlarge]"));
    assert_eq!(endpoint.instance_type.as_deref(), Some("ml.p5.48xlarge"));
}

#[test]
fn the_older_schema() {
    let text = "\
apiVersion: inference.sagemaker.aws.amazon.com/v1alpha1
kind: InferenceEndpointConfig
metadata: {name: d}
spec:
  modelName: m
  endpointName: e
  instanceType: ml.g5.xlarge
  modelSourceConfig: {modelSourceType: s3, s3Storage: {bucketName: b, region: r}}
  worker: {image: i, resources: {}, modelInvocationPort: {containerPort: 8000}, modelVolumeMount: {name: w}}
status: {state: DeploymentComplete, anything: [1]}
";
    let (endpoint, warnings) = accepted(Endpoint::parse(text, "e.yaml"));
    assert_eq!((endpoint.api_version, warnings), (ApiVersion::V1Alpha1, vec![]));
    let instead = "this field does not exist in v1alpha1; it exists in v1: write \"apiVersion: \
                   inference.sagemaker.aws.amazon.com/v1\"";
    for (field, column) in [
        ("kvCacheSpec: {}", 3),
        ("intelligentRoutingSpec: {}", 3),
        ("instanceTypes: []", 3),
        ("nodeAffinity: {}", 3),
        ("pdSpec: {}", 3),
        ("dataCapture: {}", 3),
        ("dnsConfig: {}", 3),
        ("kubernetes: {}", 3),
        ("maxDeployTimeInSeconds: 1", 3),
    ] {
        let name = field.split(':').next().unwrap_or_default();
        let new = text.replace("  modelName: m\n", &format!("  {field}\n  modelName: m\n"));
        let first = refusal(&new).lines().next().unwrap_or_default().to_owned();
        assert_eq!(first, format!("e.yaml:5:{column}: spec.{name}: {instead}"));
    }
    assert_eq!(
        refusal(&text.replace("image: i", "image: i, args: []")),
        format!("e.yaml:9:22: spec.worker.args: {instead}")
    );
    assert_eq!(
        refusal(&text.replace("modelSourceType: s3", "modelSourceType: huggingface")),
        "e.yaml:8:40: spec.modelSourceConfig.modelSourceType: \"huggingface\" is not a model source of v1alpha1; \
         allowed: fsx, s3"
    );
    assert_eq!(
        codes(Endpoint::parse(&text.replace("  instanceType: ml.g5.xlarge\n", ""), "e.yaml")),
        [Code::KubectlRejects]
    );
}

#[test]
fn several_documents() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n";
    let (_, warnings) = accepted(Endpoint::parse(&format!("{secret}---\n{BASE}---\n"), "e.yaml"));
    assert_eq!(warnings.len(), 1);
    assert_eq!(
        warnings[0].to_string(),
        "line 1: kind: a document of kind \"Secret\" is skipped; podlab reads only InferenceEndpointConfig \
         [other-document]"
    );
    assert_eq!(
        refusal(&format!("{BASE}---\n{BASE}")),
        "e.yaml:33:1: a second InferenceEndpointConfig (the first is on line 1); allowed: one in a file"
    );
    assert_eq!(
        refusal(&format!("{secret}---\n{secret}")),
        "e.yaml:1:1: no document is of kind InferenceEndpointConfig; found: \"Secret\", \"Secret\""
    );
    for empty in ["", "# nothing\n", "---\n---\n"] {
        assert_eq!(refusal(empty), "e.yaml:1:1: the file holds no document; allowed: one InferenceEndpointConfig");
    }
}

#[test]
fn text_that_is_no_endpoint() {
    assert_eq!(refusal("a: [1\nb: 2"), "e.yaml:2:2: not valid YAML: illegal placement of ':' indicator");
    assert!(refusal("hello").starts_with("e.yaml:1:1: \"hello\" is a string, not an object"), "{}", refusal("hello"));
    assert!(refusal("[1, 2]").starts_with("e.yaml:1:1: a list is not an object"));
    // Anchors, aliases and merge keys work as in kubectl; bombs do not.
    let merged = BASE
        .replace("    modelMetrics: {port: 8000}\n", "    modelMetrics: &p {port: 8000}\n")
        .replace("  worker:\n", "  loadBalancer: {healthCheckPath: /health}\n  worker:\n");
    assert_eq!(codes(Endpoint::parse(&merged, "e.yaml")), []);
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let last = level - 1;
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{last}"); 9].join(", "));
    }
    assert!(refusal(&bomb).contains("not valid YAML"), "a bomb must be defused by the budget");
    assert!(refusal(&"[".repeat(100_000)).contains("not valid YAML"));
}

#[test]
fn files() {
    let good = kept("endpoint-good.yaml", BASE.as_bytes());
    assert_eq!(accepted(Endpoint::read(&good)).0.name, "demo");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let message = |path: &Path| Endpoint::read(path).err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(
        message(folder),
        format!("{}: cannot be read: it is a directory; allowed: a YAML file", folder.display())
    );
    let missing = folder.join("endpoint-missing.yaml");
    assert_eq!(
        message(&missing),
        format!("{}: cannot be read: No such file or directory (os error 2)", missing.display())
    );
    let latin = kept("endpoint-latin.yaml", b"a: b\nc: \xe9\n");
    assert_eq!(message(&latin), format!("{}: line 2 is not UTF-8; allowed: YAML in UTF-8", latin.display()));
    let large = kept("endpoint-large.yaml", &vec![b'#'; (4 << 20) + 1]);
    assert_eq!(message(&large), format!("{}: larger than 4194304 bytes, so it is no endpoint file", large.display()));
}
