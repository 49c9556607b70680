//! The parts of the schema that are Kubernetes' own.
//!
//! These structures are deep and grow with every release, so only their key parts are checked here; the rest is let
//! through as it is, for the API server to judge.

use super::forms::{ABSOLUTE_PATH, FILLED, LABEL_NAME, OBJECT_NAME, VARIABLE};
use super::schema::Form::Any;
use super::schema::Kind::{
    AnyList, AnyObject, Anything, Bool, List, Object as Obj, Port, Quantities, Text, TextMap, Texts, Whole,
};
use super::schema::{Field, Kind, Object, field};

/// Any 32-bit number.
pub(super) const INT32: Kind = Whole { min: i32::MIN as i64, max: i32::MAX as i64 };
/// A 32-bit number that counts something.
pub(super) const COUNT: Kind = Whole { min: 0, max: i32::MAX as i64 };
/// A 32-bit number of at least one.
pub(super) const POSITIVE: Kind = Whole { min: 1, max: i32::MAX as i64 };

/// `metadata`.
pub(super) static OBJECT_META: Object = Object::closed(&[
    field("name", Text(OBJECT_NAME)).required(),
    field("namespace", Text(LABEL_NAME)),
    field("labels", TextMap),
    field("annotations", TextMap),
    field("generateName", Text(Any)),
    field("finalizers", Texts(Any)),
    // Written by the API server; present in what `kubectl get -o yaml` prints.
    field("ownerReferences", Anything),
    field("uid", Anything),
    field("resourceVersion", Anything),
    field("generation", Anything),
    field("creationTimestamp", Anything),
    field("deletionTimestamp", Anything),
    field("deletionGracePeriodSeconds", Anything),
    field("managedFields", Anything),
    field("selfLink", Anything),
]);

/// One environment variable.
pub(super) static ENVIRONMENT_VARIABLE: Object = Object::closed(&[
    field("name", Text(VARIABLE)).required(),
    field("value", Text(Any)),
    field("valueFrom", Obj(&VALUE_FROM)),
]);

static VALUE_FROM: Object = Object::closed(&[
    field("fieldRef", AnyObject),
    field("resourceFieldRef", AnyObject),
    field("configMapKeyRef", AnyObject),
    field("secretKeyRef", AnyObject),
    field("fileKeyRef", AnyObject),
]);

/// A key of a secret.
pub(super) static SECRET_KEY: Object =
    Object::closed(&[field("name", Text(Any)), field("key", Text(FILLED)).kubectl(), field("optional", Bool)]);

/// What a container asks for and may use.
pub(super) static RESOURCES: Object =
    Object::closed(&[field("requests", Quantities), field("limits", Quantities), field("claims", AnyList)]);

/// The three probes of the worker.
pub(super) static PROBES: Object =
    Object::closed(&[field("liveness", Obj(&PROBE)), field("readiness", Obj(&PROBE)), field("startup", Obj(&PROBE))]);

static PROBE: Object = Object::open(&[
    field("httpGet", Obj(&HTTP_GET)),
    field("exec", AnyObject),
    field("tcpSocket", AnyObject),
    field("grpc", AnyObject),
    field("initialDelaySeconds", COUNT),
    field("periodSeconds", POSITIVE),
    field("timeoutSeconds", POSITIVE),
    field("successThreshold", POSITIVE),
    field("failureThreshold", POSITIVE),
]);

static HTTP_GET: Object =
    Object::open(&[field("path", Text(Any)), field("port", Port).kubectl(), field("scheme", Text(Any))]);

/// `nodeAffinity`: the rules themselves are not looked at.
pub(super) static NODE_AFFINITY: Object = Object::closed(&[
    field("requiredDuringSchedulingIgnoredDuringExecution", AnyObject),
    field("preferredDuringSchedulingIgnoredDuringExecution", AnyList),
]);

/// `kubernetes`: additions to the pod.
pub(super) static POD_ADDITIONS: Object = Object::closed(&[
    field("initContainers", List(&CONTAINER)),
    field("volumes", List(&VOLUME)),
    field("serviceAccountName", Text(OBJECT_NAME)),
    field("schedulerName", Text(Any)),
    Field::newer("podTemplateAnnotations", "3.6"),
    Field::newer("tolerations", "3.7"),
]);

static CONTAINER: Object = Object::open(&[
    field("name", Text(LABEL_NAME)).kubectl(),
    field("image", Text(Any)),
    field("command", Texts(Any)),
    field("args", Texts(Any)),
    field("env", List(&ENVIRONMENT_VARIABLE)),
    field("resources", Obj(&RESOURCES)),
    field("volumeMounts", AnyList),
]);

static VOLUME: Object = Object::open(&[field("name", Text(LABEL_NAME)).kubectl()]);

/// Where the worker finds the model's files.
pub(super) static VOLUME_MOUNT: Object =
    Object::closed(&[field("name", Text(LABEL_NAME)).kubectl(), field("mountPath", Text(ABSOLUTE_PATH))]);
