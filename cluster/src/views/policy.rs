//! Policies, as far as they change which cluster carries the traffic, and ReferenceGrants.

use std::time::Duration;

use serde::Deserialize;

use super::{
    LabelSelector, Meta,
    gateway::FromNamespaces,
    route::{BackendRef, duration},
    status::Status,
};

/// `BackendTrafficPolicy`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct BackendTrafficPolicy {
    pub(crate) metadata: Meta,
    pub(crate) spec: BackendTrafficPolicySpec,
}

/// The spec, reduced to the fields that affect shared clusters, and the time-out of requests.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct BackendTrafficPolicySpec {
    pub(crate) targets: PolicyTargets,
    pub(crate) merge_type: Option<String>,
    pub(crate) routing_type: Option<String>,
    /// Whether it has settings of the cluster itself (`btpSpecHasClusterScopedFields`)
    pub(crate) changes_clusters: bool,
    pub(crate) consistent_hash: bool,
    /// `timeout.http.requestTimeout`; 0 is for ever
    pub(crate) request_timeout: Option<Duration>,
}

impl<'de> Deserialize<'de> for BackendTrafficPolicySpec {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const OF_CLUSTERS: [&str; 11] = [
            "loadBalancer",
            "proxyProtocol",
            "healthCheck",
            "circuitBreaker",
            "timeout",
            "tcpKeepalive",
            "connection",
            "http2",
            "dns",
            "admissionControl",
            "useClientProtocol",
        ];
        let spec = serde_json::Value::deserialize(deserializer)?;
        let text = |pointer: &str| spec.pointer(pointer).and_then(serde_json::Value::as_str).map(str::to_owned);
        Ok(Self {
            merge_type: text("/mergeType"),
            routing_type: text("/routingType"),
            changes_clusters: OF_CLUSTERS.iter().any(|field| spec.get(field).is_some()),
            request_timeout: text("/timeout/http/requestTimeout").and_then(|time| duration(&time)),
            consistent_hash: text("/loadBalancer/type").as_deref() == Some("ConsistentHash"),
            targets: PolicyTargets::deserialize(spec).map_err(serde::de::Error::custom)?,
        })
    }
}

/// `ClientTrafficPolicy`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ClientTrafficPolicy {
    pub(crate) metadata: Meta,
    pub(crate) spec: ClientTrafficPolicySpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ClientTrafficPolicySpec {
    #[serde(flatten)]
    pub(crate) targets: PolicyTargets,
    pub(crate) http1: Option<serde::de::IgnoredAny>,
}

/// `SecurityPolicy` or `EnvoyExtensionPolicy`, reduced to the services that Envoy calls for each request.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ExtServicePolicy {
    pub(crate) metadata: Meta,
    pub(crate) spec: AskingPolicySpec,
    status: Status,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct AskingPolicySpec {
    #[serde(flatten)]
    pub(crate) targets: PolicyTargets,
    pub(crate) merge_type: Option<String>,
    ext_auth: Option<ExtAuth>,
    ext_proc: Vec<AskedService>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct ExtAuth {
    http: Option<AskedService>,
    grpc: Option<AskedService>,
}

/// A service that Envoy calls for requests.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct AskedService {
    backend_ref: Option<BackendRef>,
    backend_refs: Vec<BackendRef>,
}

impl ExtServicePolicy {
    /// The services that authorise (of a SecurityPolicy) or process (of an EnvoyExtensionPolicy) requests, in order.
    pub(crate) fn services(&self) -> &[AskedService] {
        match &self.spec.ext_auth {
            Some(ExtAuth { http: Some(service), grpc: None } | ExtAuth { http: None, grpc: Some(service) }) => {
                std::slice::from_ref(service)
            }
            Some(_) => &[],
            None => &self.spec.ext_proc,
        }
    }

    /// Whether this controller has not processed the current generation of the policy yet.
    pub(crate) fn is_pending(&self, controller: &str) -> bool {
        self.status.is_behind(self.metadata.generation, controller)
    }
}

impl AskedService {
    pub(crate) fn backend_refs(&self) -> &[BackendRef] {
        match &self.backend_ref {
            Some(one) if self.backend_refs.is_empty() => std::slice::from_ref(one),
            _ => &self.backend_refs,
        }
    }
}

/// The targets of a policy.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct PolicyTargets {
    #[serde(rename = "targetRef")]
    one: Option<TargetRef>,
    #[serde(rename = "targetRefs")]
    several: Vec<TargetRef>,
    #[serde(rename = "targetSelectors")]
    pub(crate) selectors: Vec<TargetSelector>,
}

impl PolicyTargets {
    /// The targets by name, which are in the policy's own namespace.
    pub(crate) fn refs(&self) -> impl Iterator<Item = &TargetRef> {
        self.one.iter().chain(&self.several)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct TargetRef {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) section_name: Option<String>,
}

/// Targets by label.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct TargetSelector {
    pub(crate) kind: String,
    #[serde(flatten)]
    pub(crate) labels: LabelSelector,
    pub(crate) namespaces: Option<FromNamespaces>,
}

/// `ReferenceGrant`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ReferenceGrant {
    pub(crate) metadata: Meta,
    pub(crate) spec: ReferenceGrantSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ReferenceGrantSpec {
    pub(crate) from: Vec<GrantFrom>,
    pub(crate) to: Vec<GrantTo>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct GrantFrom {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct GrantTo {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
}
