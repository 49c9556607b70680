//! The endpoint file: the very `InferenceEndpointConfig` YAML that `kubectl apply` takes.
//!
//! Reading goes in four steps. `crate::yaml` turns YAML into values that know their place; `check` holds them against the
//! tables in `crd` and `kubernetes`; `read` takes out what a simulation needs, with `command`, `engine` and `flags`
//! for the engine's command line; `advice` warns of what is accepted and will still cost its owner a day.
//!
//! Law: a file is refused with all its problems or read with all its warnings, and no input panics. A wrong value,
//! type or name is a problem even where its meaning can be guessed. What is only missing is no problem as long as a
//! simulation can do without it.
//!
//! Kubernetes' own deep structures (probes, volumes, init containers, affinities) and the bodies of `dataCapture` and
//! scaling triggers are checked in their key parts and otherwise accepted as they are.

mod problem; // what is wrong, and what is unwise
mod settings; // the values an endpoint has
mod engine; // the settings of the engine
mod flags; // ... as flags of `vllm serve`
mod command; // ... on a command line
mod environment; // and environment variables
mod lmcache; // ... those of LMCache
mod schema; // what a table can say
mod forms; // which strings are allowed
mod crd; // the tables: HyperPod's part
mod kubernetes; // the tables: Kubernetes' part
mod quantity; // 500m, 30Gi
mod check; // a document against the tables
mod document; // which document of a file
mod read; // from a document to an Endpoint
mod resources; // what a pod asks for
mod scaling; // between how many workers, and by which metrics
mod advice; // warnings

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

pub use advice::short_prompts_warning;
pub use engine::EngineArgs;
pub use problem::{Code, EndpointError, Place, Problem, Warning};
pub use scaling::{Autoscaling, ScalingTrigger, TriggerSource};
pub use settings::{Annotation, ApiVersion, CachePolicy, L2Backend, Lines, LmCache, RequestLimits, RoutingStrategy};

/// Kubernetes itself takes no object above 1.5 MiB, so a larger file is some other file.
const LARGEST_FILE: u64 = 4 << 20;

/// One endpoint: what of an `InferenceEndpointConfig` matters to whoever simulates, serves or calls it.
///
/// `None` is "the file does not say"; where the operator has a default it is filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// The schema the file is written for.
    pub api_version: ApiVersion,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`; `None` is whichever namespace `kubectl` is set to.
    pub namespace: Option<String>,
    /// `spec.modelName`, a name of the owner's choice.
    pub model_name: Option<String>,
    /// `modelSourceConfig.huggingFaceModel.modelId`, such as `meta-llama/Llama-3.1-8B-Instruct`.
    pub model_id: Option<String>,
    /// `modelSourceConfig.modelLocation`: the prefix or folder of the weights in their store.
    pub model_location: Option<String>,
    /// The SageMaker endpoint to create; `None`: none is created.
    pub endpoint_name: Option<String>,
    /// `instanceType`, or the first of `instanceTypes`.
    pub instance_type: Option<String>,
    /// Worker pods, at least 1.
    pub replicas: u32,
    /// The path after `http://host:port/`, without a slash in front.
    pub invocation_path: String,
    /// The strategy, or `None` if intelligent routing is off.
    pub routing: Option<RoutingStrategy>,
    /// Whether KV is offloaded to the pod's CPU memory. On by default once there is a `kvCacheSpec`; `LMCACHE_LOCAL_CPU`
    /// may turn it off.
    pub l1: bool,
    /// The cache shared by all pods, or `None` if it is off.
    pub l2: Option<L2Backend>,
    /// Where things stand, for what only the workload or the hardware tells.
    pub lines: Lines,
    /// `l2CacheLocalUrl`: where a `redis` backend listens.
    pub l2_url: Option<String>,
    /// GPUs of a pod, from `nvidia.com/gpu`.
    pub pod_gpus: Option<u32>,
    /// CPU that a pod is sure of, in thousandths: what it requests, or else its limit.
    pub pod_cpu_millis: Option<u64>,
    /// Memory that a pod is sure of, in bytes: what it requests, or else its limit.
    pub pod_memory_bytes: Option<u64>,
    /// The flags of the engine.
    pub engine: EngineArgs,
    /// What the `LMCACHE_...` variables set.
    pub lmcache: LmCache,
    /// `SESSION_KEY`: the field of a request's body that names its session.
    pub session_key: Option<String>,
    /// `PYTHONHASHSEED`, which must be the same in all pods that share a cache.
    pub python_hash_seed: Option<String>,
    /// `worker.requestLimits`.
    pub request_limits: Option<RequestLimits>,
    /// `autoScalingSpec`.
    pub autoscaling: Option<Autoscaling>,
    /// The port of the model server.
    pub container_port: Option<u16>,
    /// The `podlab.dev/...` annotations in the order of the file.
    pub annotations: Vec<Annotation>,
    /// `worker.image`.
    pub image: Option<String>,
}

impl Endpoint {
    /// Reads the file at `path`, which may also be a pipe.
    ///
    /// # Errors
    /// One problem if the file cannot be read, is no UTF-8 or is no YAML; otherwise every problem in it.
    pub fn read(path: &Path) -> Result<(Self, Vec<Warning>), EndpointError> {
        Self::parse(&Self::text(path)?, &path.display().to_string())
    }

    /// The text of the file at `path`, for those who need it beside the endpoint: a pipe cannot be read twice.
    ///
    /// # Errors
    /// One problem if the file cannot be read, is too large to be an endpoint file or is no UTF-8.
    pub fn text(path: &Path) -> Result<String, EndpointError> {
        let name = path.display().to_string();
        let refuse =
            |message: String| EndpointError::new(&name, vec![Problem { place: None, path: String::new(), message }]);
        if path.is_dir() {
            return Err(refuse("cannot be read: it is a directory; allowed: a YAML file".to_owned()));
        }
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes))
            .map_err(|error| refuse(format!("cannot be read: {error}")))?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(refuse(format!("larger than {LARGEST_FILE} bytes, so it is no endpoint file")));
        }
        String::from_utf8(bytes).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
            refuse(format!("line {line} is not UTF-8; allowed: YAML in UTF-8"))
        })
    }

    /// Reads `text`; `file_name` is what messages call it.
    ///
    /// # Errors
    /// Every problem in the text; only the first if it is no YAML.
    pub fn parse(text: &str, file_name: &str) -> Result<(Self, Vec<Warning>), EndpointError> {
        let mut findings = problem::Findings::default();
        let endpoint = read::endpoint(text, &mut findings);
        match endpoint {
            Some(endpoint) if findings.problems.is_empty() => {
                findings.warnings.sort_by_key(|warning| (warning.line, warning.code));
                Ok((endpoint, findings.warnings))
            }
            _ => Err(EndpointError::new(file_name, findings.problems)),
        }
    }
}
