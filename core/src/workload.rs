//! Names of the workloads that Tidegate scales.

mod definition;
mod kind;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::{
    definition::{Definition, KindError},
    kind::{NotAWorkload, WorkloadKind},
};

/// Kind and name within some namespace, written `deployment/task-api`.
///
/// ```
/// # use tidegate_core::workload::WorkloadRef;
/// let workload: WorkloadRef = "deploy/task-api".parse()?;
/// assert_eq!(workload.to_string(), "deployment/task-api");
/// # Ok::<(), tidegate_core::workload::NotAWorkload>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkloadRef {
    /// Deployment, StatefulSet or another kind that is scaled
    pub kind: WorkloadKind,
    /// `metadata.name`
    pub name: String,
}

impl WorkloadRef {
    /// The same workload with the namespace that it lives in.
    pub fn within(self, namespace: &str) -> WorkloadId {
        WorkloadId { namespace: namespace.to_owned(), kind: self.kind, name: self.name }
    }
}

impl fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.kubectl_name(), self.name)
    }
}

impl FromStr for WorkloadRef {
    type Err = NotAWorkload;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s.split_once('/') {
            Some((kind, name)) if !name.is_empty() && !name.contains('/') => {
                let kind = kind.parse().map_err(|_| NotAWorkload(s.to_owned()))?;
                Ok(Self { kind, name: name.to_owned() })
            }
            _ => Err(NotAWorkload(s.to_owned())),
        }
    }
}

/// One workload of the cluster. Ordered by namespace first, as `kubectl get -A` lists.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkloadId {
    /// `metadata.namespace`
    pub namespace: String,
    /// Deployment, StatefulSet or another kind that is scaled
    pub kind: WorkloadKind,
    /// `metadata.name`
    pub name: String,
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} in namespace {}", self.kind.kubectl_name(), self.name, self.namespace)
    }
}

/// The resources that the containers of one pod request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// CPU in cores
    pub cpu_cores: f64,
    /// Memory in bytes
    pub memory_bytes: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_written_as_kubectl_writes_it() {
        for (given, kind) in [
            ("deployment/a", WorkloadKind::Deployment),
            ("Deploy/a", WorkloadKind::Deployment),
            ("sts/a", WorkloadKind::StatefulSet),
            ("rollouts.argoproj.io/a", WorkloadKind::Rollout),
            ("leaderworkerset/a", WorkloadKind::LeaderWorkerSet),
        ] {
            assert_eq!(given.parse::<WorkloadRef>().unwrap(), WorkloadRef { kind, name: "a".into() });
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_is_wanted() {
        for given in ["", "task-api", "pod/a", "deployment/", "deployment/a/b"] {
            let refused = given.parse::<WorkloadRef>().unwrap_err().to_string();
            assert!(refused.starts_with(&format!("\"{given}\" is not a workload: write deployment/NAME")), "{refused}");
        }
    }
}
