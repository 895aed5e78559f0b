//! Lenient views of Kubernetes objects: only the fields that are read.
//!
//! Unknown fields and unknown values of enumerations are ignored, nulls are absent fields, and absent fields have the default that
//! the API server would have written. So an object of a newer API version, or one from a file that no API server ever saw, reads
//! the same. Only a field of the wrong type makes an object unreadable.

mod ai;
mod backend;
mod calendar;
mod endpoint_slice;
mod envoy_gateway;
mod gateway;
mod parent_ref;
mod policy;
mod port;
mod route;
mod scaling;
mod service;
mod status;
mod workload;

pub(super) use ai::{AiBackendRef, AiGatewayRoute, AiGatewayRouteRule, AiServiceBackend, InferencePool};
pub(super) use backend::{
    Backend, BackendSpec, Endpoint, EnvoyProxy, EnvoyProxySpec, HttpRouteFilter, HttpRouteFilterSpec, MergeBackends,
    StatMatch,
};
pub use calendar::CalendarObject;
pub(super) use endpoint_slice::{Author, EndpointSlice, PodGroup, Suffix};
pub(super) use envoy_gateway::EnvoyGateway;
pub(super) use gateway::{Address, CertificateRef, FromNamespaces, Gateway, GatewayClass, Listener, ListenerSet};
pub(super) use parent_ref::ParentRef;
pub(super) use policy::{BackendTrafficPolicy, ClientTrafficPolicy, ExtServicePolicy, PolicyTargets, ReferenceGrant};
pub(super) use route::{
    BackendRef, Filter, RegexPattern, Route, RouteSpec, Rule, Timeouts, UrlRewrite, is_dns_subdomain, non_empty,
};
pub(super) use scaling::HorizontalPodAutoscaler;
pub(crate) use scaling::PAUSED;
pub use scaling::{PAUSED_REPLICAS, ScaleTarget, ScaledObject};
pub(super) use service::{Service, ServiceImport, ServicePort};
pub(super) use status::{Refused, Reported};
pub(super) use workload::{CronJob, Namespace, Pod, ROLLOUT_HASH, ReplicaSet, Workload, WorkloadMeta};

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_core::{
    intent::Annotations,
    key::{PREFIX, has_near_prefix},
    text_map::TextMap,
};

/// The label of sleeping objects: `kubectl get cronjobs,daemonsets,scaledobjects -A -l tidegate.dev/asleep` lists them.
pub const ASLEEP: &str = "tidegate.dev/asleep";

/// Prefixes of the annotations that are read; all others are dropped when the object is read, except those that look like Tidegate's.
const ANNOTATION_PREFIXES: [&str; 5] = [
    PREFIX,
    "scaledobject.keda.sh/",
    "autoscaling.keda.sh/",
    "service.kubernetes.io/topology-mode",
    "downscaler/original-replicas",
];

/// The fields of `metadata` that are read.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    /// `metadata.namespace`; empty for cluster-scoped objects
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`; empty when the object comes from a file
    pub uid: String,
    /// `metadata.creationTimestamp`: RFC 3339 in UTC, so that it sorts by time; empty in files
    #[serde(rename = "creationTimestamp")]
    pub created: String,
    /// `metadata.deletionTimestamp`: set while the object is being deleted
    #[serde(rename = "deletionTimestamp")]
    pub deleted: Option<String>,
    /// `metadata.generation`: how often its spec was changed
    pub generation: i64,
    /// `metadata.labels`
    pub labels: Labels,
    /// The annotations of Tidegate and KEDA
    #[serde(deserialize_with = "known_annotations")]
    pub annotations: Annotations,
    /// `metadata.ownerReferences`
    pub owner_references: Vec<OwnerReference>,
}

/// One of `metadata.ownerReferences`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct OwnerReference {
    /// The owner's kind
    pub kind: String,
    /// The owner's name
    pub name: String,
    /// The owner's UID
    pub uid: String,
    /// Whether this owner is the object's controller
    pub controller: bool,
}

impl Meta {
    /// Namespace and name.
    pub(super) fn key(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }

    /// Oldest first, then by namespace and name: how Envoy Gateway orders objects that compete
    /// (`Resources.Sort` in `internal/gatewayapi/resource/resource.go`).
    pub(super) fn age_order(&self) -> (&str, &str, &str) {
        (&self.created, &self.namespace, &self.name)
    }
}

fn known_annotations<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Annotations, D::Error> {
    let all = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
    let is_known = |key: &str| ANNOTATION_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) || has_near_prefix(key);
    let known = all.into_iter().filter(|(key, _)| is_known(key));
    known
        .map(|(key, value)| match value {
            serde_json::Value::String(value) => Ok((key, value)),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                Err(serde::de::Error::custom(format!("the annotation {key} is a list or an object, expected a string")))
            }
            other => Err(serde::de::Error::custom(format!(
                "the annotation {key} is {other} without quotes, but annotations are strings: write \"{other}\""
            ))),
        })
        .collect()
}

/// The names of annotations that are Tidegate's, or look like them, where none is read.
fn stray<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Box<[Box<str>]>, D::Error> {
    let all = BTreeMap::<Box<str>, serde_json::Value>::deserialize(deserializer)?;
    Ok(all.into_keys().filter(|key| key.starts_with(PREFIX) || has_near_prefix(key)).collect())
}

/// The labels of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Labels(TextMap);

impl Labels {
    /// The value of a label.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)
    }

    /// All pairs, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether these are the labels that Envoy Gateway gives its proxies. Anyone can give them to a pod of their own.
    pub(super) fn are_of_a_proxy(&self) -> bool {
        self.get("app.kubernetes.io/component") == Some("proxy")
            && self.get("app.kubernetes.io/managed-by") == Some("envoy-gateway")
    }

    /// Whether all these labels are among the other's: how a Service's selector matches a pod.
    pub(super) fn is_subset(&self, other: &Self) -> bool {
        self.iter().all(|(key, value)| other.get(key) == Some(value))
    }
}

impl FromIterator<(String, String)> for Labels {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// A Kubernetes label selector (`metav1.LabelSelector`).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct LabelSelector {
    match_labels: Labels,
    match_expressions: Vec<Requirement>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Requirement {
    key: String,
    operator: String,
    values: Vec<String>,
}

impl LabelSelector {
    /// Whether Kubernetes would accept the selector: every operator is known, and has values where it needs some and none where it
    /// takes none.
    pub(super) fn is_valid(&self) -> bool {
        self.match_expressions.iter().all(|requirement| match requirement.operator.as_str() {
            "In" | "NotIn" => !requirement.values.is_empty(),
            "Exists" | "DoesNotExist" => requirement.values.is_empty(),
            _ => false,
        })
    }

    /// Whether an object may be selected of which only these labels are known; it may have others.
    pub(super) fn may_match(&self, known: &Labels) -> bool {
        let fits = |key: &str, holds: &dyn Fn(&str) -> bool| known.get(key).is_none_or(holds);
        self.is_valid()
            && self.match_labels.iter().all(|(key, wanted)| fits(key, &|value| value == wanted))
            && self.match_expressions.iter().all(|requirement| fits(&requirement.key, &|v| requirement.holds(Some(v))))
    }

    /// Whether an object with these labels is selected. An invalid selector selects nothing.
    pub(super) fn matches(&self, labels: &Labels) -> bool {
        self.is_valid()
            && self.match_labels.is_subset(labels)
            && self.match_expressions.iter().all(|requirement| requirement.holds(labels.get(&requirement.key)))
    }
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|v| v == value);
        match self.operator.as_str() {
            "In" => value.is_some_and(listed),
            "NotIn" => !value.is_some_and(listed),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_selector_is_read_as_kubernetes_reads_it() {
        let selector = |value| serde_json::from_value::<LabelSelector>(value).unwrap();
        let pod = labels(&[("app", "api"), ("tier", "web")]);
        for (given, matches) in [
            (json!({}), true),
            (json!({"matchLabels": {"app": "api"}}), true),
            (json!({"matchLabels": {"app": "other"}}), false),
            (json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["x", "api"]}]}), true),
            (json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["api"]}]}), false),
            (json!({"matchExpressions": [{"key": "gone", "operator": "NotIn", "values": ["api"]}]}), true),
            (json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}), true),
            (json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}), false),
            (json!({"matchExpressions": [{"key": "tier", "operator": "In"}]}), false),
            (json!({"matchExpressions": [{"key": "tier", "operator": "Near"}]}), false),
        ] {
            assert_eq!(selector(given.clone()).matches(&pod), matches, "{given}");
        }
    }

    #[test]
    fn an_annotation_without_quotes_is_refused_with_what_to_write() {
        let read = serde_json::from_value::<Meta>(json!({"annotations": {"tidegate.dev/max-replicas": 20}}));
        assert_eq!(
            read.unwrap_err().to_string(),
            "the annotation tidegate.dev/max-replicas is 20 without quotes, but annotations are strings: write \"20\""
        );
    }

    #[test]
    fn annotations_of_others_are_not_kept() {
        let read = serde_json::from_value::<Meta>(json!({"annotations": {"example.com/a": 1, "tidegate.dev/b": "c"}}));
        assert_eq!(read.unwrap().annotations, Annotations::from([("tidegate.dev/b", "c")]));
    }
}
