//! From a checked document to an [`Endpoint`].
//!
//! Values of the wrong type have been reported by `check`; here they are passed over as if they were not there, so that
//! one reading also finds what is wrong further on.

use super::problem::{Code, Findings};
use super::scaling::autoscaling;
use super::settings::{Annotation, ApiVersion, L2Backend, Lines, RequestLimits, RoutingStrategy};
use super::{Endpoint, advice, check, command, document, engine, environment, resources};
use crate::yaml::Node;

/// The prefix of annotations that are for podlab.
const OURS: &str = "podlab.dev/";

/// Reads the one endpoint in `text`; `None` if problems leave nothing to read.
pub(super) fn endpoint(text: &str, findings: &mut Findings) -> Option<Endpoint> {
    let document = document::endpoint(text, findings)?;
    let version = document.get("apiVersion").and_then(Node::text).and_then(ApiVersion::named);
    let version = version.unwrap_or(ApiVersion::V1);
    let mut missing = check::check(&document, version, findings);
    let nothing = Node::nothing(document.at);
    let spec = document.get("spec").unwrap_or(&nothing);
    check_exclusive(spec, findings);
    missing.extend(missing_storage(spec));
    let endpoint = assembled(&document, spec, version, findings);
    warn_missing(&document, &missing, findings);
    advice::give(&endpoint, &document, spec, findings);
    Some(endpoint)
}

fn assembled(document: &Node, spec: &Node, version: ApiVersion, findings: &mut Findings) -> Endpoint {
    let text = |path: &[&str]| spec.at_path(path).and_then(Node::text).map(str::to_owned);
    let nothing = Node::nothing(spec.at);
    let worker = spec.get("worker").unwrap_or(&nothing);
    let metadata = |key: &str| document.at_path(&["metadata", key]).and_then(Node::text).map(str::to_owned);
    let environment = environment::read(worker, findings);
    let words = command::engine_words(worker, &environment.values, findings);
    let pod = resources::read(worker, findings);
    let (l1, l2) = tiers(spec);
    let first_type = spec.get("instanceTypes").and_then(|types| types.items().first()).and_then(Node::text);
    let variable = |name: &str| environment.values.get(name).filter(|value| !value.is_empty()).cloned();
    Endpoint {
        api_version: version,
        name: metadata("name").unwrap_or_default(),
        namespace: metadata("namespace"),
        model_name: text(&["modelName"]),
        model_id: text(&["modelSourceConfig", "huggingFaceModel", "modelId"]),
        model_location: text(&["modelSourceConfig", "modelLocation"]),
        endpoint_name: text(&["endpointName"]).filter(|name| !name.is_empty()),
        instance_type: text(&["instanceType"]).or(first_type.map(str::to_owned)),
        replicas: replicas(spec, findings),
        invocation_path: text(&["invocationEndpoint"])
            .map_or_else(|| "invocations".to_owned(), |path| path.trim_start_matches('/').to_owned()),
        routing: routing(spec),
        l1,
        l2,
        lines: lines(document),
        l2_url: text(&["kvCacheSpec", "l2CacheSpec", "l2CacheLocalUrl"]),
        pod_gpus: pod.gpus,
        pod_cpu_millis: pod.cpu_millis,
        pod_memory_bytes: pod.memory_bytes,
        engine: engine::read(&words, findings),
        session_key: variable("SESSION_KEY"),
        python_hash_seed: variable("PYTHONHASHSEED"),
        lmcache: environment.lmcache,
        request_limits: worker.get("requestLimits").map(request_limits),
        autoscaling: autoscaling(spec, findings),
        container_port: worker.at_path(&["modelInvocationPort", "containerPort"]).and_then(Node::whole),
        annotations: annotations(document),
        image: worker.get("image").and_then(Node::text).map(str::to_owned),
    }
}

fn lines(document: &Node) -> Lines {
    let line = |path: &[&str]| document.nearest_line(path);
    let one = line(&["spec", "instanceType"]);
    Lines {
        cache: line(&["spec", "kvCacheSpec"]),
        instance_type: if document.at_path(&["spec", "instanceType"]).is_some() {
            one
        } else {
            line(&["spec", "instanceTypes"])
        },
        replicas: line(&["spec", "replicas"]),
        model_name: line(&["spec", "modelName"]),
        args: line(&["spec", "worker", "args"]),
        resources: line(&["spec", "worker", "resources"]),
    }
}

fn replicas(spec: &Node, findings: &mut Findings) -> u32 {
    let Some(node) = spec.get("replicas") else { return 1 };
    let replicas = node.whole().unwrap_or(1);
    if replicas == 0 {
        let message = "0 replicas serve nothing, so there is nothing to simulate; allowed: 1 to 2147483647";
        findings.problem(node.at, "spec.replicas", message);
    }
    replicas
}

fn routing(spec: &Node) -> Option<RoutingStrategy> {
    let routing = spec.get("intelligentRoutingSpec")?;
    routing.get("enabled").and_then(Node::truth).filter(|enabled| *enabled)?;
    let named = routing.get("routingStrategy").and_then(Node::text).and_then(RoutingStrategy::named);
    Some(named.unwrap_or(RoutingStrategy::PrefixAware))
}

/// L1 and L2. Without a `kvCacheSpec` there is neither.
fn tiers(spec: &Node) -> (bool, Option<L2Backend>) {
    let Some(cache) = spec.get("kvCacheSpec") else { return (false, None) };
    let on = |key: &str, default| cache.get(key).and_then(Node::truth).unwrap_or(default);
    let backend = cache.at_path(&["l2CacheSpec", "l2CacheBackend"]).and_then(Node::text).and_then(L2Backend::named);
    // Operator 3.2 sets up tiered storage whatever the file says, so that is what "on" means by itself.
    let backend = backend.unwrap_or(L2Backend::TieredStorage);
    (on("enableL1Cache", true), on("enableL2Cache", false).then_some(backend))
}

fn request_limits(limits: &Node) -> RequestLimits {
    RequestLimits {
        max_concurrent_requests: limits.get("maxConcurrentRequests").and_then(Node::whole),
        max_queue_size: limits.get("maxQueueSize").and_then(Node::whole),
        overflow_status_code: limits.get("overflowStatusCode").and_then(Node::whole).unwrap_or(429),
    }
}

fn annotations(document: &Node) -> Vec<Annotation> {
    let entries = document.at_path(&["metadata", "annotations"]).map(Node::entries).unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| {
            let key = entry.key.strip_prefix(OURS)?.to_owned();
            Some(Annotation { key, value: entry.node.text()?.to_owned(), line: entry.key_at.line })
        })
        .collect()
}

/// Of the three ways to choose a machine only one may be used.
fn check_exclusive(spec: &Node, findings: &mut Findings) {
    let ways = ["instanceType", "instanceTypes", "nodeAffinity"];
    let mut used = ways.iter().filter_map(|way| spec.get(way).map(|node| (*way, node)));
    let Some((first, _)) = used.next() else { return };
    for (way, node) in used {
        let message = format!("excludes {first}, which is given too; allowed: one of {}", ways.join(", "));
        findings.problem(node.at, &format!("spec.{way}"), message);
    }
}

/// The part of `modelSourceConfig` that the source type calls for.
fn missing_storage(spec: &Node) -> Option<String> {
    let source = spec.get("modelSourceConfig")?;
    let part = match source.get("modelSourceType")?.text()? {
        "s3" => "s3Storage",
        "fsx" => "fsxStorage",
        "huggingface" => "huggingFaceModel",
        _ => return None,
    };
    source.get(part).is_none().then(|| format!("spec.modelSourceConfig.{part}"))
}

fn warn_missing(document: &Node, missing: &[String], findings: &mut Findings) {
    let Some(first) = missing.first() else { return };
    let (is, it) = if missing.len() == 1 { ("is", "it") } else { ("are", "them") };
    let message = format!(
        "{} {is} missing: podlab can do without, but kubectl apply would reject the file; add {it} before deploying",
        missing.join(", ")
    );
    let keys: Vec<&str> = first.split('.').collect();
    findings.warn(Code::KubectlRejects, document.nearest_line(&keys), first, message);
}
