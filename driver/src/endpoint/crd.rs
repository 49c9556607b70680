//! The schema of `InferenceEndpointConfig`, `v1` and `v1alpha1`, as a table.
//!
//! Source: the CRD in aws/sagemaker-hyperpod-cli at 011ca92 (chart 2.2.2, operator 3.2). Fields that later operators
//! added are known by name only. Structures of which not every field is published are open: what is in the table is
//! checked, the rest is let through.

use super::forms::{
    ABSOLUTE_PATH, COMMIT, ENDPOINT_NAME, FILLED, HOSTED_ZONE, HUB_MODEL, INSTANCE_TYPE, MODEL_NAME, S3_URI,
};
use super::kubernetes::{
    COUNT, ENVIRONMENT_VARIABLE, INT32, NODE_AFFINITY, OBJECT_META, POD_ADDITIONS, PROBES, RESOURCES, SECRET_KEY,
    VOLUME_MOUNT,
};
use super::schema::Form::{Any, AnyCase, Words};
use super::schema::Kind::{AnyList, AnyObject, Anything, Bool, List, Object as Obj, Text, TextMap, Texts, Whole};
use super::schema::{Field, Object, field};

/// The one kind of document this reader is about.
pub(super) const KIND: &str = "InferenceEndpointConfig";
/// The API versions, the newer first.
pub(super) const API_VERSIONS: &[&str] =
    &["inference.sagemaker.aws.amazon.com/v1", "inference.sagemaker.aws.amazon.com/v1alpha1"];
/// The strategies of `intelligentRoutingSpec.routingStrategy`.
pub(super) const STRATEGIES: &[&str] = &["prefixaware", "kvaware", "session", "roundrobin"];
/// The backends of L2. The CRD's pattern is unanchored and would take any string that contains one of them.
pub(super) const L2_BACKENDS: &[&str] = &["redis", "tieredstorage"];

/// The whole document.
pub(super) static DOCUMENT: Object = Object::closed(&[
    field("apiVersion", Text(Words { what: "an API version", words: API_VERSIONS })).required(),
    field("kind", Text(Words { what: "the kind of an endpoint file", words: &[KIND] })).required(),
    field("metadata", Obj(&OBJECT_META)).required(),
    field("spec", Obj(&SPEC)).required(),
    // Written by the operator; present in what `kubectl get -o yaml` prints.
    field("status", Anything),
]);

static SPEC: Object = Object::closed(&[
    field("modelName", Text(MODEL_NAME)).kubectl(),
    field("modelVersion", Text(Any)),
    field("endpointName", Text(ENDPOINT_NAME)),
    field("instanceType", Text(INSTANCE_TYPE)).v1(),
    field("instanceType", Text(INSTANCE_TYPE)).alpha().kubectl(),
    field("instanceTypes", Texts(INSTANCE_TYPE)).v1(),
    field("nodeAffinity", Obj(&NODE_AFFINITY)).v1(),
    field("replicas", COUNT),
    field("InitialReplicaCount", INT32),
    field("invocationEndpoint", Text(Any)),
    field("maxDeployTimeInSeconds", INT32).v1(),
    field("tags", List(&NAME_AND_VALUE)),
    field("modelSourceConfig", Obj(&MODEL_SOURCE)).kubectl(),
    field("worker", Obj(&WORKER)).kubectl(),
    field("kvCacheSpec", Obj(&KV_CACHE)).v1(),
    field("intelligentRoutingSpec", Obj(&ROUTING)).v1(),
    field("metrics", Obj(&METRICS)),
    field("loadBalancer", Obj(&LOAD_BALANCER)),
    field("tlsConfig", Obj(&TLS)),
    field("dnsConfig", Obj(&DNS)).v1(),
    field("autoScalingSpec", Obj(&AUTO_SCALING)),
    field("dataCapture", Obj(&DATA_CAPTURE)).v1(),
    field("pdSpec", Obj(&DISAGGREGATION)).v1(),
    field("kubernetes", Obj(&POD_ADDITIONS)).v1(),
    Field::newer("modelCacheConfig", "3.5"),
    Field::newer("inferenceGateway", "3.6"),
    Field::newer("tolerations", "3.7"),
    Field::newer("lmcache", "3.7"),
]);

static NAME_AND_VALUE: Object =
    Object::closed(&[field("name", Text(Any)).kubectl(), field("value", Text(Any)).kubectl()]);

static MODEL_SOURCE: Object = Object::closed(&[
    field("modelSourceType", Text(Words { what: "a model source", words: V1_SOURCES })).v1().kubectl(),
    field("modelSourceType", Text(Words { what: "a model source of v1alpha1", words: &["fsx", "s3"] }))
        .alpha()
        .kubectl(),
    field("s3Storage", Obj(&S3_STORAGE)),
    field("fsxStorage", Obj(&FSX_STORAGE)),
    field("huggingFaceModel", Obj(&HUGGING_FACE)),
    field("modelLocation", Text(Any)),
    field("prefetchEnabled", Bool),
]);

const V1_SOURCES: &[&str] = &["fsx", "s3", "huggingface", "kubernetesVolume"];

static S3_STORAGE: Object =
    Object::closed(&[field("bucketName", Text(FILLED)).kubectl(), field("region", Text(FILLED)).kubectl()]);

static FSX_STORAGE: Object = Object::closed(&[
    field("fileSystemId", Text(FILLED)).kubectl(),
    field("dnsName", Text(Any)),
    field("mountName", Text(Any)),
]);

static HUGGING_FACE: Object = Object::closed(&[
    field("modelId", Text(HUB_MODEL)).kubectl(),
    field("commitSHA", Text(COMMIT)),
    field("tokenSecretRef", Obj(&SECRET_KEY)),
]);

static WORKER: Object = Object::closed(&[
    field("image", Text(FILLED)).kubectl(),
    field("resources", Obj(&RESOURCES)).kubectl(),
    field("modelInvocationPort", Obj(&INVOCATION_PORT)).kubectl(),
    field("modelVolumeMount", Obj(&VOLUME_MOUNT)).kubectl(),
    field("environmentVariables", List(&ENVIRONMENT_VARIABLE)),
    field("args", Texts(Any)).v1(),
    field("command", Texts(Any)).v1(),
    field("workingDir", Text(Any)).v1(),
    field("probes", Obj(&PROBES)).v1(),
    field("requestLimits", Obj(&REQUEST_LIMITS)).v1(),
]);

static INVOCATION_PORT: Object = Object::closed(&[
    field("containerPort", Whole { min: 1, max: 65_535 }).kubectl(),
    field("name", Text(Words { what: "a port name", words: &["http", "grpc"] })),
]);

static REQUEST_LIMITS: Object = Object::closed(&[
    field("maxConcurrentRequests", super::kubernetes::POSITIVE),
    field("maxQueueSize", COUNT),
    field("overflowStatusCode", Whole { min: 400, max: 599 }),
]);

static KV_CACHE: Object = Object::closed(&[
    field("enableL1Cache", Bool),
    field("enableL2Cache", Bool),
    field("l2CacheSpec", Obj(&L2_CACHE)),
    field("cacheConfigFile", Text(Any)),
    Field::newer("lmcache", "3.7"),
]);

static L2_CACHE: Object = Object::closed(&[
    field("l2CacheBackend", Text(AnyCase { what: "an L2 cache backend", words: L2_BACKENDS })).kubectl(),
    field("l2CacheLocalUrl", Text(Any)),
]);

static ROUTING: Object = Object::closed(&[
    field("enabled", Bool),
    field("routingStrategy", Text(Words { what: "a routing strategy", words: STRATEGIES })),
    field("autoScalingSpec", Obj(&AUTO_SCALING)),
]);

static METRICS: Object = Object::closed(&[
    field("enabled", Bool),
    field("metricsScrapeIntervalSeconds", Whole { min: 5, max: 300 }),
    field("modelMetrics", Obj(&MODEL_METRICS)),
]);

static MODEL_METRICS: Object =
    Object::closed(&[field("port", Whole { min: 1024, max: 65_535 }), field("path", Text(Any))]);

static LOAD_BALANCER: Object = Object::closed(&[
    field("healthCheckPath", Text(ABSOLUTE_PATH)),
    field("routingAlgorithm", Text(Words { what: "a load balancer algorithm", words: ALGORITHMS })),
]);

const ALGORITHMS: &[&str] = &["least_outstanding_requests", "round_robin"];

static TLS: Object = Object::closed(&[
    field("tlsCertificateOutputS3Uri", Text(S3_URI)),
    field("customCertificateConfig", Obj(&CERTIFICATE)),
]);

static CERTIFICATE: Object =
    Object::closed(&[field("acmArn", Text(FILLED)).kubectl(), field("domainName", Text(FILLED)).kubectl()]);

static DNS: Object = Object::closed(&[field("hostedZoneId", Text(HOSTED_ZONE)).kubectl()]);

static AUTO_SCALING: Object = Object::closed(&[
    field("minReplicaCount", COUNT),
    field("maxReplicaCount", COUNT),
    field("pollingInterval", COUNT),
    field("cooldownPeriod", COUNT),
    field("initialCooldownPeriod", COUNT),
    field("scaleDownStabilizationTime", COUNT),
    field("scaleUpStabilizationTime", COUNT),
    field("cloudWatchTrigger", AnyObject),
    field("cloudWatchTriggerList", AnyList),
    field("prometheusTrigger", AnyObject),
    field("prometheusTriggerList", AnyList),
]);

static DATA_CAPTURE: Object = Object::closed(&[
    field("s3Uri", Text(S3_URI)),
    field("sagemakerEndpoint", Obj(&CAPTURE)),
    field("loadBalancer", Obj(&CAPTURE)),
    field("modelPod", Obj(&CAPTURE)),
]);

static CAPTURE: Object = Object::open(&[
    field("enabled", Bool).kubectl(),
    field("sampling", Whole { min: 0, max: 100 }),
    field("kmsKeyId", Text(Any)),
    field("bufferConfig", AnyObject),
    field("payloadConfig", AnyObject),
]);

static DISAGGREGATION: Object = Object::closed(&[
    field("prefillSpec", Obj(&POOL)).kubectl(),
    field("decodingSpec", Obj(&POOL)).kubectl(),
    field("routingThreshold", COUNT),
    field("autoScalingSpec", Obj(&AUTO_SCALING)),
    field("topologySpec", Obj(&TOPOLOGY)),
]);

static POOL: Object = Object::open(&[
    field("replicas", COUNT),
    field("args", Texts(Any)),
    field("resources", Obj(&RESOURCES)),
    field("nodeSelector", TextMap),
]);

static TOPOLOGY: Object =
    Object::closed(&[field("sameAZ", Bool), field("availabilityZone", Text(Any)), field("placementGroup", Text(Any))]);
