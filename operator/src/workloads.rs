//! Plan → ScaledObjects: the one that each workload should have, and the writes that get it there.

mod above;
mod burst;
mod detail;
mod drift;
mod ledger;
mod missing;
mod not_measured;
mod reconcile;
mod reports;
mod steps;
mod tolerance;
mod understood;

use k8s_openapi::api::core::v1::ObjectReference;
use tidegate_cluster::Kind;
use tidegate_core::{plan::Plan, workload::WorkloadId};

pub use self::{
    above::{AboveMaximum, Needs, report_above},
    burst::{Bursts, FindBursts, ReportPeaks, add_replicas},
    ledger::Ledger,
    missing::{Missing, SignalMissing, report_missing},
    not_measured::{NotMeasured, Unmeasured, report_not_measured},
    reconcile::{Reconciler, run},
    tolerance::takes_tolerance,
};

pub(crate) use self::{detail::Detail, reports::report};
use crate::events;

/// The object that events of a workload are about.
pub(crate) fn reference(plan: &Plan, id: &WorkloadId) -> ObjectReference {
    let uid = plan.workloads.get(id).map(|workload| workload.uid.clone());
    events::reference(Kind::of_workload(id.kind), &id.namespace, &id.name, uid)
}
