//! Warnings that save a day: what Kubernetes and the operator accept without a word and the owner did not mean.

use super::Endpoint;
use super::problem::{Code, Findings, Warning};
use super::settings::{L2Backend, RoutingStrategy};
use crate::yaml::Node;

/// The longest name of a Kubernetes service.
const SERVICE_NAME: usize = 63;
/// The port of `metrics.modelMetrics` if none is given.
const METRICS_PORT: u16 = 8080;

/// Adds every warning that the file alone can justify.
pub(super) fn give(endpoint: &Endpoint, document: &Node, spec: &Node, findings: &mut Findings) {
    let mut advice = Advice { endpoint, document, spec, findings };
    advice.names();
    advice.routing();
    advice.caching();
    advice.metrics();
    advice.leftovers();
}

/// A warning if no prompt of a workload reaches the lower tiers, which store whole chunks only. `longest_prompt` and
/// `chunk` are in tokens.
#[must_use]
pub fn short_prompts_warning(endpoint: &Endpoint, longest_prompt: u32, chunk: u32) -> Option<Warning> {
    if longest_prompt >= chunk {
        return None;
    }
    Some(Warning {
        code: Code::ShortPrompts,
        path: "spec.kvCacheSpec".to_owned(),
        line: endpoint.lines.cache,
        message: format!(
            "lower tiers are on, but the longest prompt has {longest_prompt} tokens and a chunk {chunk}: nothing is ever \
             stored; use longer prompts, or smaller chunks (LMCACHE_CHUNK_SIZE, tiers.chunk_tokens)"
        ),
    })
}

struct Advice<'a> {
    endpoint: &'a Endpoint,
    document: &'a Node,
    spec: &'a Node,
    findings: &'a mut Findings,
}

impl Advice<'_> {
    fn warn(&mut self, code: Code, path: &str, message: impl Into<String>) {
        let keys: Vec<&str> = path.split('.').collect();
        self.findings.warn(code, self.document.nearest_line(&keys), path, message);
    }

    fn names(&mut self) {
        if self.endpoint.endpoint_name.is_none() {
            self.warn(
                Code::NoEndpointName,
                "spec.endpointName",
                "without it no SageMaker endpoint is created and InvokeEndpoint cannot work; name one, unless the load \
                 balancer is called directly",
            );
        }
        let namespace = self.endpoint.namespace.as_deref().unwrap_or("default");
        let service = format!("{}-{namespace}-routing-service", self.endpoint.name);
        if self.endpoint.routing.is_some() && service.len() > SERVICE_NAME {
            let message = format!(
                "the router's service is called {service}, {} characters, and Kubernetes takes {SERVICE_NAME}: no \
                 router will start; shorten the name by {}",
                service.len(),
                service.len() - SERVICE_NAME
            );
            self.warn(Code::LongName, "metadata.name", message);
        }
    }

    fn routing(&mut self) {
        let Some(strategy) = self.endpoint.routing else { return };
        let name = strategy.as_str();
        let grows = self.endpoint.autoscaling.as_ref().is_some_and(|scaling| scaling.max > 1);
        if self.endpoint.replicas == 1 && !grows {
            self.warn(
                Code::RoutingOneReplica,
                "spec.replicas",
                "routing is on and there is one replica: every strategy sends it everything, so routing can have no \
                 effect; set replicas to 2 or more",
            );
        }
        let api = &self.endpoint.invocation_path;
        if strategy == RoutingStrategy::KvAware && !matches!(api.as_str(), "completions" | "v1/completions") {
            let message = format!(
                "kvaware works only with the /completions API; with {api:?} it finds no tokens to look up and falls \
                 back without a word (to the session, or the lowest load); use v1/completions, or prefixaware"
            );
            self.warn(Code::KvAwareApi, "spec.invocationEndpoint", message);
        }
        let by_session = matches!(strategy, RoutingStrategy::KvAware | RoutingStrategy::Session);
        if by_session && self.endpoint.session_key.is_none() {
            let use_of = if strategy == RoutingStrategy::Session { "needs" } else { "falls back on" };
            let message = format!(
                "{name} {use_of} the session, and without SESSION_KEY no field of a request's body names it, so \
                 requests go where the load is lowest; set SESSION_KEY to that field, such as user_id"
            );
            self.warn(Code::NoSessionKey, "spec.worker.environmentVariables", message);
        }
    }

    fn caching(&mut self) {
        let cache = self.spec.get("kvCacheSpec");
        if cache.and_then(|cache| cache.get("l2CacheSpec")).is_some() && self.endpoint.l2.is_none() {
            self.warn(
                Code::L2Off,
                "spec.kvCacheSpec.l2CacheSpec",
                "enableL2Cache is not true, so L2 is off and this has no effect; set enableL2Cache: true, or remove it",
            );
        }
        if cache.and_then(|cache| cache.get("cacheConfigFile")).is_some() {
            self.warn(
                Code::CacheConfigElsewhere,
                "spec.kvCacheSpec.cacheConfigFile",
                "this file overrides the rest of kvCacheSpec, and podlab does not see it: what is simulated is the \
                 rest; put the same settings into the lab file",
            );
        } else if self.endpoint.lmcache.config_file {
            self.warn(
                Code::CacheConfigElsewhere,
                "spec.worker.environmentVariables",
                "podlab does not see the file that LMCACHE_CONFIG_FILE names; other LMCACHE_ variables override it, and \
                 what they leave open is simulated as LMCache's defaults: put the same settings into the lab file",
            );
        }
        let Some(backend) = self.endpoint.l2 else { return };
        let named = cache.is_some_and(|cache| cache.at_path(&["l2CacheSpec", "l2CacheBackend"]).is_some());
        if !named {
            self.warn(
                Code::L2BackendAssumed,
                "spec.kvCacheSpec.enableL2Cache",
                "L2 is on and no backend is named: tieredstorage is assumed; say so in l2CacheSpec.l2CacheBackend",
            );
        }
        if backend == L2Backend::Redis {
            self.warn(
                Code::RedisIgnored,
                "spec.kvCacheSpec.l2CacheSpec.l2CacheBackend",
                "operator 3.2.0 ignores redis and sets the tieredstorage URL (hyperpod-cli issue 431), so \
                 what runs may not be what is simulated; look at LMCACHE_REMOTE_URL in a pod, or use tieredstorage",
            );
        }
        if self.endpoint.python_hash_seed.is_none() {
            self.warn(
                Code::NoHashSeed,
                "spec.worker.environmentVariables",
                "L2 is on and PYTHONHASHSEED is not set: unless vLLM is recent each pod hashes differently and never \
                 finds another's blocks; set it to the same number in all pods, such as \"0\"",
            );
        }
    }

    fn metrics(&mut self) {
        let metrics = self.spec.get("metrics");
        let on = metrics.and_then(|metrics| metrics.get("enabled")).and_then(Node::truth).unwrap_or(true);
        let expected = self.endpoint.routing.is_some() || self.endpoint.l1 || self.endpoint.l2.is_some();
        let Some(served) = self.endpoint.container_port.filter(|_| on && expected) else { return };
        let scraped = metrics.and_then(|metrics| metrics.at_path(&["modelMetrics", "port"])).and_then(Node::whole);
        let scraped = scraped.unwrap_or(METRICS_PORT);
        if scraped != served {
            let message = format!(
                "metrics are read from port {scraped} and the model serves them on {served} \
                 (worker.modelInvocationPort.containerPort): routing and cache metrics stay empty; set it to {served}"
            );
            self.warn(Code::MetricsPort, "spec.metrics.modelMetrics.port", message);
        }
    }

    fn leftovers(&mut self) {
        if self.spec.get("InitialReplicaCount").is_some() {
            self.warn(Code::Deprecated, "spec.InitialReplicaCount", "deprecated and without effect; use replicas");
        }
        if self.spec.get("pdSpec").is_some() {
            self.warn(
                Code::NotSimulated,
                "spec.pdSpec",
                "not simulated: spec.pdSpec; podlab runs prefill and decode in the same pods",
            );
        }
        let certificate = self.spec.at_path(&["tlsConfig", "customCertificateConfig"]);
        if self.spec.get("dnsConfig").is_some() && certificate.is_none() {
            self.warn(
                Code::DnsWithoutCertificate,
                "spec.dnsConfig",
                "DNS needs a certificate of one's own; add tlsConfig.customCertificateConfig",
            );
        }
    }
}
