//! Names of the workloads that Tidegate scales.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The kinds of workload that Tidegate scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WorkloadKind {
    /// `apps/v1 Deployment`
    Deployment,
    /// `apps/v1 StatefulSet`
    StatefulSet,
}

impl WorkloadKind {
    /// The kind as Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error that a text names no workload of a kind that Tidegate scales.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a workload: write deployment/NAME or statefulset/NAME")]
pub struct NotAWorkload(pub String);

impl FromStr for WorkloadKind {
    type Err = NotAWorkload;

    /// Accepts the forms that `kubectl` accepts: any case, the plural and the short name.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s.to_ascii_lowercase().as_str() {
            "deployment" | "deployments" | "deploy" => Ok(Self::Deployment),
            "statefulset" | "statefulsets" | "sts" => Ok(Self::StatefulSet),
            _ => Err(NotAWorkload(s.to_owned())),
        }
    }
}

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
    /// Deployment or StatefulSet
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
        write!(f, "{}/{}", self.kind.as_str().to_ascii_lowercase(), self.name)
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
    /// Deployment or StatefulSet
    pub kind: WorkloadKind,
    /// `metadata.name`
    pub name: String,
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} in namespace {}", self.kind.as_str().to_ascii_lowercase(), self.name, self.namespace)
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
        ] {
            assert_eq!(given.parse::<WorkloadRef>().unwrap(), WorkloadRef { kind, name: "a".into() });
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_is_wanted() {
        for given in ["", "task-api", "pod/a", "deployment/", "deployment/a/b"] {
            let refused = given.parse::<WorkloadRef>().unwrap_err().to_string();
            assert_eq!(refused, format!("\"{given}\" is not a workload: write deployment/NAME or statefulset/NAME"));
        }
    }
}
