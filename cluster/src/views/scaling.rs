//! ScaledObjects and HorizontalPodAutoscalers: the other scalers of a workload.

use serde::Deserialize;
use tidegate_core::{
    plan::RELEASE,
    workload::{WorkloadId, WorkloadKind},
};

use super::Meta;

/// The annotation by which KEDA keeps the target of a ScaledObject at a number of replicas.
pub const PAUSED_REPLICAS: &str = "autoscaling.keda.sh/paused-replicas";
/// The annotation by which KEDA leaves the target of a ScaledObject alone.
pub(crate) const PAUSED: &str = "autoscaling.keda.sh/paused";

/// The target of a ScaledObject or an HPA.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ScaleTarget {
    /// `apps/v1`, which is also the default in a ScaledObject
    pub api_version: String,
    /// `Deployment`, when empty in a ScaledObject
    pub kind: String,
    /// `metadata.name` of the target, which is in the same namespace
    pub name: String,
}

impl ScaleTarget {
    /// The workload of this namespace that it names, if its kind is known.
    pub(crate) fn workload(&self, namespace: &str) -> Option<WorkloadId> {
        // Only Kubernetes' own groups have no dot: `extensions/v1beta1` and `v1` are slips for the one that has workloads.
        let is_kubernetes = !self.api_version.split('/').next().unwrap_or_default().contains('.');
        let api_version = if is_kubernetes { "apps/v1" } else { &self.api_version };
        let kind = if self.kind.is_empty() { "Deployment" } else { &self.kind };
        let kind = WorkloadKind::of(api_version, kind)?;
        Some(WorkloadId { namespace: namespace.to_owned(), kind, name: self.name.clone() })
    }
}

/// A ScaledObject of KEDA: Tidegate's or another's, and its current `spec`, to compare with the desired one.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaledObject {
    /// `metadata`
    pub metadata: Meta,
    /// `spec.scaleTargetRef`
    pub target: ScaleTarget,
    // As JSON text: a tenth of the memory of a parsed value, and only read when a workload is reconciled.
    spec: Box<str>,
}

impl ScaledObject {
    /// Whether Tidegate made it: it carries the label `app.kubernetes.io/managed-by: tidegate`.
    pub fn is_tidegates(&self) -> bool {
        self.metadata.labels.get("app.kubernetes.io/managed-by") == Some("tidegate")
    }

    /// Whether KEDA leaves the workload's replicas alone, or does not add any.
    pub fn is_paused(&self) -> bool {
        let annotations = &self.metadata.annotations;
        let is_true = |key: &str| annotations.get(key).is_some_and(|value| value != "false");
        annotations.contains_key(PAUSED_REPLICAS) || is_true(PAUSED) || is_true("autoscaling.keda.sh/paused-scale-out")
    }

    /// The workload that it scales, if its kind is known.
    pub fn workload(&self) -> Option<WorkloadId> {
        self.target.workload(&self.metadata.namespace)
    }

    /// The release of Tidegate that wrote it, if that is recorded.
    pub fn release(&self) -> Option<&str> {
        self.metadata.labels.get(RELEASE)
    }

    /// The current `spec`.
    pub fn spec(&self) -> serde_json::Value {
        serde_json::from_str(&self.spec).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for ScaledObject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Raw {
            metadata: Meta,
            spec: serde_json::Map<String, serde_json::Value>,
        }
        let Raw { metadata, spec } = Raw::deserialize(deserializer)?;
        let target = match spec.get("scaleTargetRef") {
            Some(target) => ScaleTarget::deserialize(target).map_err(serde::de::Error::custom)?,
            None => ScaleTarget::default(),
        };
        Ok(Self { metadata, target, spec: serde_json::Value::Object(spec).to_string().into_boxed_str() })
    }
}

/// An HPA.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct HorizontalPodAutoscaler {
    pub(crate) metadata: Meta,
    pub(crate) spec: HpaSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct HpaSpec {
    pub(crate) scale_target_ref: ScaleTarget,
}

impl HorizontalPodAutoscaler {
    /// The ScaledObject that KEDA created this HPA for.
    pub(crate) fn owning_scaled_object(&self) -> Option<&str> {
        let mut owners = self.metadata.owner_references.iter();
        owners.find(|owner| owner.controller && owner.kind == "ScaledObject").map(|owner| owner.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_target_without_kind_is_a_deployment() {
        let target = |value| serde_json::from_value::<ScaleTarget>(value).unwrap().workload("shop").map(|id| id.kind);
        assert_eq!(target(json!({"name": "api"})), Some(WorkloadKind::Deployment));
        let of =
            |api_version: &str, kind: &str| target(json!({"apiVersion": api_version, "kind": kind, "name": "api"}));
        assert_eq!(of("apps/v1", "StatefulSet"), Some(WorkloadKind::StatefulSet));
        assert_eq!(of("argoproj.io/v1alpha1", "Rollout"), Some(WorkloadKind::Rollout));
        assert_eq!(of("argoproj.io/v1", "Deployment"), None);
        assert_eq!(of("apps.kruise.io/v1beta1", "StatefulSet"), None);
        assert_eq!(of("apps/v1", "DaemonSet"), None);
        for written in ["extensions/v1beta1", "apps/v1beta2", "v1", ""] {
            assert_eq!(of(written, "Deployment"), Some(WorkloadKind::Deployment), "{written}");
        }
    }

    #[test]
    fn a_scaled_object_keeps_its_whole_spec() {
        let spec = json!({"scaleTargetRef": {"name": "api"}, "minReplicaCount": 0, "triggers": [{"type": "cron"}]});
        let object: ScaledObject = serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap();
        assert_eq!(object.spec(), spec);
        assert_eq!(object.target.name, "api");
    }
}
