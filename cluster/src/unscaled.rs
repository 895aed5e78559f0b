//! Kinds that are not scaled, and what to do instead.

use std::fmt;

use tidegate_core::workload::WorkloadKind;

use crate::Kind;

/// What to do with a ReplicationController.
pub(crate) const REPLICATION_CONTROLLER: &str = "Kubernetes keeps ReplicationControllers for old manifests only. Make it a Deployment with \
    the same template, and its selector under matchLabels, and annotate that";

/// A kind that is not scaled. `Display` says so, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NotScaled {
    /// Its `apiVersion`
    pub api_version: String,
    /// Its name
    pub kind: String,
}

impl fmt::Display for NotScaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { api_version, kind } = self;
        write!(f, "kind {kind} is not scaled: ")?;
        if let Some(known) = WorkloadKind::of(api_version, kind).filter(|_| !is_gone(api_version)) {
            return write!(f, "add {} to scaleKinds in the chart's values", known.resource());
        }
        if kind == "ReplicationController" {
            return f.write_str(REPLICATION_CONTROLLER);
        }
        if api_version.starts_with("serving.kserve.io/") {
            return f.write_str(
                "it has no scale subresource. KServe copies its annotations to the Deployments that it makes in Standard \
                 (RawDeployment) mode, and those are scaled; serving.kserve.io/autoscalerClass: external keeps KServe's own HPA away",
            );
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if let Some(known) = of_kubernetes(group, kind) {
            let meant = format!("write apiVersion: {} and kind: {}", known.api_version(), known.as_str());
            return match api_version.as_str() {
                "" => write!(f, "it has no apiVersion; {meant}"),
                gone if is_gone(gone) => write!(f, "Kubernetes has not served {gone} since 1.16; {meant}"),
                _ => write!(f, "there is no {kind} in {api_version}; {meant}"),
            };
        }
        f.write_str("annotate the Deployment, StatefulSet or other workload whose replicas serve, or the Gateway in front of it")?;
        if group.is_empty() || Kind::of(api_version, kind).is_some() {
            return Ok(());
        }
        write!(
            f,
            "; or, where {kind} itself has the scale subresource, add PLURAL.{group}/{version}/{kind} to scaleKinds in the chart's values"
        )
    }
}

/// The kind of Kubernetes that an object with another `apiVersion`, or with other capitals, is meant to be. Only groups of Kubernetes
/// itself have no dot.
fn of_kubernetes(group: &str, kind: &str) -> Option<WorkloadKind> {
    let own = [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::ReplicaSet];
    own.into_iter().find(|known| !group.contains('.') && known.as_str().eq_ignore_ascii_case(kind))
}

/// Whether Kubernetes no longer serves workloads in this version.
pub(crate) fn is_gone(api_version: &str) -> bool {
    matches!(api_version, "extensions/v1beta1" | "apps/v1beta1" | "apps/v1beta2")
}
