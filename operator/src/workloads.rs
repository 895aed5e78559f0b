//! Plan → ScaledObjects: what each workload should have, and how it gets it.

mod above;
mod drift;
mod ledger;
mod missing;
mod no_effect;
mod not_measured;
mod notice;
mod reconcile;
mod render;
mod scaled_object;
mod steps;
mod telling;

use k8s_openapi::api::core::v1::ObjectReference;
use tidegate_core::{plan::Plan, workload::WorkloadId};

pub use self::{
    above::{AboveMaximum, Needs, tell_above},
    ledger::Ledger,
    missing::{Missing, SignalMissing, tell_missing},
    not_measured::{NotMeasured, Unmeasured, tell_not_measured},
    notice::Notice,
    reconcile::{Reconciler, run},
    render::{Rendered, render},
    scaled_object::{Desired, MANAGED_BY, ScalerEndpoint, Settings, desired, name},
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
