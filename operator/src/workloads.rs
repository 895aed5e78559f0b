//! Plan → ScaledObjects: what each workload should have, and how it gets it.

mod above;
mod drift;
mod ledger;
mod missing;
mod not_measured;
mod reconcile;
mod reports;
mod steps;
mod tolerance;

use k8s_openapi::api::core::v1::ObjectReference;
use tidegate_core::{plan::Plan, workload::WorkloadId};

pub use self::{
    above::{AboveMaximum, Needs, report_above},
    ledger::Ledger,
    missing::{Missing, SignalMissing, report_missing},
    not_measured::{NotMeasured, Unmeasured, report_not_measured},
    reconcile::{Reconciler, run},
    tolerance::takes_tolerance,
};

/// What events of a workload are about.
fn reference(plan: &Plan, id: &WorkloadId) -> ObjectReference {
    ObjectReference {
        api_version: Some("apps/v1".to_owned()),
        kind: Some(id.kind.as_str().to_owned()),
        namespace: Some(id.namespace.clone()),
        name: Some(id.name.clone()),
        uid: plan.workloads.get(id).map(|workload| workload.uid.clone()),
        ..ObjectReference::default()
    }
}
