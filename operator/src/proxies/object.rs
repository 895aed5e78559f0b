//! The objects that are written: EnvoyProxies, and the status of Gateways.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use tidegate_core::{
    fleet::{EnvoyProxyId, GatewayId, Scaling},
    intent::Annotations,
    key::{APPLIED_IN_STATUS, STATUS},
    plan::ADOPTED_REPLICAS,
};

const API_VERSION: &str = "gateway.envoyproxy.io/v1alpha1";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The numbers to write to an EnvoyProxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    /// `envoyDeployment.replicas`
    Replicas(u32),
    /// The bounds of `envoyHpa`
    Hpa {
        /// `minReplicas`
        min: u32,
        /// `maxReplicas`
        max: u32,
    },
}

impl Numbers {
    /// Whether the EnvoyProxy has these numbers already.
    pub(super) fn are(self, scaling: Scaling) -> bool {
        match (self, scaling) {
            (Self::Replicas(wanted), Scaling::Replicas(is)) => is == Some(wanted),
            (Self::Hpa { min, max }, Scaling::Hpa { min: is_min, max: is_max }) => (min, max) == (is_min, is_max),
            _ => false,
        }
    }

    fn kubernetes(self) -> Value {
        match self {
            Self::Replicas(replicas) => json!({ "envoyDeployment": { "replicas": replicas } }),
            Self::Hpa { min, max } => json!({ "envoyHpa": { "minReplicas": min, "maxReplicas": max } }),
        }
    }
}

/// The numbers from before Tidegate, in the form in which they are kept: `3`, or `2-10` for bounds.
pub(super) fn adopted(scaling: Scaling, current: u32) -> String {
    match scaling {
        Scaling::Hpa { min, max } => format!("{min}-{max}"),
        Scaling::Replicas(_) | Scaling::DaemonSet => current.to_string(),
    }
}

/// The fields of an EnvoyProxy that Tidegate owns, for server-side apply.
pub(super) fn envoy_proxy(id: &EnvoyProxyId, numbers: Numbers, adopted: &str) -> Value {
    json!({
        "metadata": { "namespace": id.namespace, "name": id.name, "annotations": { ADOPTED_REPLICAS: adopted } },
        "spec": { "provider": { "type": "Kubernetes", "kubernetes": numbers.kubernetes() } },
    })
}

/// An EnvoyProxy for a Gateway that has none. It is deleted with the Gateway, and sets nothing yet: the settings of the class and
/// of Envoy Gateway's configuration still apply.
pub(super) fn created(gateway: &GatewayId, uid: &str) -> Value {
    let EnvoyProxyId { namespace, name } = own_envoy_proxy(gateway);
    let owner = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "name": gateway.name, "uid": uid,
    });
    json!({
        "metadata": { "namespace": namespace, "name": name, "labels": { MANAGED_BY: "tidegate" }, "ownerReferences": [owner] },
        "spec": { "mergeType": "StrategicMerge", "provider": { "type": "Kubernetes" } },
    })
}

/// Whether an EnvoyProxy was created by Tidegate.
pub(super) fn is_created(labels: &std::collections::BTreeMap<String, String>) -> bool {
    labels.get(MANAGED_BY).is_some_and(|manager| manager == "tidegate")
}

/// The EnvoyProxy that is created for a Gateway.
pub(super) fn own_envoy_proxy(gateway: &GatewayId) -> EnvoyProxyId {
    EnvoyProxyId { namespace: gateway.namespace.clone(), name: gateway.name.clone() }
}

/// The link from a Gateway to the EnvoyProxy that was created for it, for server-side apply.
pub(super) fn link(gateway: &GatewayId) -> Value {
    let reference =
        json!({ "group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": own_envoy_proxy(gateway).name });
    json!({
        "metadata": { "namespace": gateway.namespace, "name": gateway.name },
        "spec": { "infrastructure": { "parametersRef": reference } },
    })
}

/// The manifest that an event says to apply.
pub(super) fn to_apply(gateway: &GatewayId) -> String {
    format!(
        "{{apiVersion: {API_VERSION}, kind: EnvoyProxy, metadata: {{namespace: {}, name: {}}}, spec: {{mergeType: StrategicMerge}}}}",
        gateway.namespace, gateway.name
    )
}

/// A Gateway with its status, for server-side apply; `None` removes the status.
pub(super) fn with_status(gateway: &GatewayId, status: Option<&str>) -> Value {
    let annotations = status.map_or_else(|| json!({}), |status| json!({ STATUS: status }));
    json!({
        "metadata": { "namespace": gateway.namespace, "name": gateway.name, "annotations": annotations },
    })
}

/// The number of proxies, the reason, and the time when hours change it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Status {
    pub(super) desired: u32,
    pub(super) reason: String,
    pub(super) next_change: Option<DateTime<Utc>>,
}

impl Status {
    /// The value of a Gateway's `tidegate.dev/status`, with the annotations that were applied.
    pub(super) fn of(&self, applied: &Annotations) -> String {
        let mut status = json!({ "desired": self.desired, "reason": self.reason, APPLIED_IN_STATUS: applied });
        if let Some(at) = self.next_change {
            status["nextChange"] = at.to_rfc3339_opts(SecondsFormat::Secs, true).into();
        }
        status.to_string()
    }
}
