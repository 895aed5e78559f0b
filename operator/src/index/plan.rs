//! From objects to the Plan.

use tidegate_core::plan::{Plan, Replicas};

use super::{Objects, views::Workload};

/// The Plan of what is known now.
pub(super) fn plan(_objects: &Objects) -> Plan {
    Plan::default()
}

/// Replicas as the workload's own object tells them.
pub(super) fn replicas(workload: &Workload) -> Replicas {
    Replicas { wanted: workload.spec.replicas, ready: workload.status.ready_replicas }
}
