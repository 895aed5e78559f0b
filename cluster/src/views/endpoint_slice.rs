//! EndpointSlices: whose pods are behind a Service.
//!
//! There are many, and they change with every pod. So pods are only counted, by what their names have in common: a pod that takes
//! another's place changes nothing here, nor does an address.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::port::PortNames;

/// Value of `endpointslice.kubernetes.io/managed-by` by which Kubernetes' own controller marks its EndpointSlices.
const CONTROLLER: &str = "endpointslice-controller.k8s.io";
/// The longest name of a pod that Kubernetes generates, and the length of its random end.
const LONGEST: usize = 63;
const RANDOM: usize = 5;
/// The characters of names that Kubernetes generates: no vowels, so that they make no words.
const SAFE: &str = "bcdfghjklmnpqrstvwxz2456789";

/// An EndpointSlice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Raw")]
pub(crate) struct EndpointSlice {
    /// The Service that it is of; empty for none
    pub(crate) service: Box<str>,
    pub(crate) author: Author,
    /// The names of the Service's ports that its pods have
    pub(crate) ports: PortNames,
    pub(crate) pods: Box<[PodGroup]>,
}

/// Who writes an EndpointSlice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Author {
    /// The controller of Kubernetes, by the Service's selector
    Kubernetes,
    /// Anybody else
    #[default]
    Other,
}

/// Pods whose names differ in their end only, so that they belong to one owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodGroup {
    /// What their names have in common; empty for endpoints that are no pods of this namespace
    pub(crate) stem: Box<str>,
    pub(crate) suffix: Suffix,
    /// Number of them that get traffic
    pub(crate) ready: u32,
}

/// What follows the stem in a pod's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Suffix {
    /// `-3`, as StatefulSets name pods
    Ordinal,
    /// `-x7f9z`, as Kubernetes generates names, or any other
    Text,
    /// Five characters after a stem that was cut off, because the name would be too long
    Cut,
    /// Nothing
    None,
}

/// The stem of a pod's name, and the kind of its end.
fn split(pod: &str) -> (&str, Suffix) {
    let is_generated = |end: &str| end.len() == RANDOM && end.chars().all(|c| SAFE.contains(c));
    match pod.rsplit_once('-') {
        Some((stem, end)) if is_ordinal(end) && !is_generated(end) => (stem, Suffix::Ordinal),
        Some((stem, end)) if end.len() == RANDOM || pod.len() < LONGEST => (stem, Suffix::Text),
        _ if pod.len() == LONGEST => (pod.get(..LONGEST - RANDOM).unwrap_or_default(), Suffix::Cut),
        _ => (pod, Suffix::None),
    }
}

fn is_ordinal(end: &str) -> bool {
    !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    metadata: RawMeta,
    ports: PortNames,
    endpoints: Vec<RawEndpoint>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawMeta {
    namespace: String,
    labels: RawLabels,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawLabels {
    #[serde(rename = "kubernetes.io/service-name")]
    service: Box<str>,
    #[serde(rename = "endpointslice.kubernetes.io/managed-by")]
    managed_by: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawEndpoint {
    target_ref: RawTarget,
    conditions: RawConditions,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawTarget {
    kind: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawConditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

impl RawConditions {
    /// Whether Envoy Gateway sends it new traffic (`getIREndpointsFromEndpointSlice`). Unknown is to be taken as ready.
    fn gets_traffic(&self) -> bool {
        match (self.serving, self.terminating) {
            (Some(serving), Some(terminating)) => serving && !terminating,
            (None, _) | (_, None) => self.ready.unwrap_or(true),
        }
    }
}

impl From<Raw> for EndpointSlice {
    fn from(raw: Raw) -> Self {
        let RawMeta { namespace, labels } = &raw.metadata;
        let mut groups = BTreeMap::<_, u32>::new();
        for endpoint in &raw.endpoints {
            let target = &endpoint.target_ref;
            let is_here = target.namespace.is_empty() || target.namespace == *namespace;
            let group = if target.kind == "Pod" && is_here { split(&target.name) } else { ("", Suffix::None) };
            *groups.entry(group).or_default() += u32::from(endpoint.conditions.gets_traffic());
        }
        let group = |((stem, suffix), ready): ((&str, _), _)| PodGroup { stem: stem.into(), suffix, ready };
        Self {
            service: labels.service.clone(),
            author: if labels.managed_by == CONTROLLER { Author::Kubernetes } else { Author::Other },
            ports: raw.ports,
            pods: groups.into_iter().map(group).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn slice(endpoints: &Value) -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "labels": {"kubernetes.io/service-name": "api",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}],
            "endpoints": endpoints,
        }))
        .unwrap()
    }

    fn endpoint(pod: &str, address: &str, ready: Option<bool>) -> Value {
        let target = json!({"kind": "Pod", "namespace": "shop", "name": pod, "uid": pod});
        let conditions = ready.map_or(json!({}), |ready| json!({"ready": ready}));
        json!({"addresses": [address], "conditions": conditions, "targetRef": target})
    }

    #[test]
    fn the_name_of_a_pod_is_split_as_its_owner_made_it() {
        let long = format!("{}-{}", "a".repeat(57), "x7f9z");
        let cut = format!("{}{}", "a".repeat(58), "x7f9z");
        for (pod, expected) in [
            ("api-7d9f8c6b5d-x7f9z", ("api-7d9f8c6b5d", Suffix::Text)),
            ("db-0", ("db", Suffix::Ordinal)),
            ("db-1200", ("db", Suffix::Ordinal)),
            ("db-10301", ("db", Suffix::Ordinal)),
            ("api-7d9f8c6b5d-24567", ("api-7d9f8c6b5d", Suffix::Text)),
            ("alone", ("alone", Suffix::None)),
            ("", ("", Suffix::None)),
            (long.as_str(), (&long[..57], Suffix::Text)),
            (cut.as_str(), (&cut[..58], Suffix::Cut)),
        ] {
            assert_eq!(split(pod), expected, "{pod}");
        }
    }

    #[test]
    fn a_pod_that_takes_anothers_place_changes_nothing() {
        let before =
            [endpoint("api-7d9f8-bbbbb", "10.0.0.1", None), endpoint("api-7d9f8-ccccc", "10.0.0.2", Some(false))];
        let after =
            [endpoint("api-7d9f8-ddddd", "10.0.0.9", Some(false)), endpoint("api-7d9f8-fffff", "10.0.0.8", Some(true))];
        assert_eq!(slice(&json!(before)), slice(&json!(after)));
        assert_ne!(slice(&json!(before)), slice(&json!([endpoint("api-7d9f8-bbbbb", "10.0.0.1", Some(false))])));
    }

    #[test]
    fn a_pod_is_ready_when_envoy_gateway_sends_it_traffic() {
        for (conditions, ready) in [
            (json!({}), 1),
            (json!({"ready": null, "serving": null}), 1),
            (json!({"ready": false}), 0),
            (json!({"ready": true, "serving": true, "terminating": false}), 1),
            (json!({"ready": true, "serving": false, "terminating": false}), 0),
            (json!({"ready": false, "serving": true, "terminating": true}), 0),
        ] {
            let mut endpoint = endpoint("db-0", "10.0.0.1", None);
            endpoint["conditions"] = conditions.clone();
            assert_eq!(slice(&json!([endpoint])).pods[0].ready, ready, "{conditions}");
        }
    }

    #[test]
    fn only_pods_of_its_own_namespace_have_names() {
        let mut elsewhere = endpoint("api-7d9f8-bbbbb", "10.0.0.1", None);
        elsewhere["targetRef"]["namespace"] = json!("other");
        for endpoint in [elsewhere, json!({"addresses": ["10.0.0.1"]})] {
            assert_eq!(*slice(&json!([endpoint])).pods, [PodGroup { stem: "".into(), suffix: Suffix::None, ready: 1 }]);
        }
    }

    #[test]
    fn a_slice_has_the_names_of_its_tcp_ports() {
        let slice = slice(&json!([]));
        assert_eq!((slice.ports.contains("http"), slice.ports.contains("dns")), (true, false));
        assert_eq!((&*slice.service, slice.author), ("api", Author::Kubernetes));
    }

    proptest! {
        #[test]
        fn any_name_begins_with_its_stem(pod in "[a-zß0-9.-]{0,70}") {
            let (stem, _) = split(&pod);
            prop_assert!(pod.starts_with(stem));
        }
    }
}
