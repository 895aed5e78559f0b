//! `tidegate render`: the ScaledObjects of manifests, without a cluster.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tidegate_core::{plan::Plan, workload::WorkloadId};

use super::{
    no_effect::no_effect,
    notice::WorkloadNotice,
    scaled_object::{ScaledObjectPlan, desired, names},
    settings::Settings,
    takeover::Takeover,
};

/// The ScaledObjects and notices for some manifests.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rendered {
    /// Ordered by namespace and name
    pub scaled_objects: Vec<Value>,
    /// Notices that would be reported to the owners of workloads as events
    pub notices: Vec<(WorkloadId, WorkloadNotice)>,
}

/// The ScaledObjects that the operator would apply for this Plan, and the notices that it would report at this instant.
pub fn render(plan: &Plan, settings: &Settings, now: DateTime<Utc>) -> Rendered {
    let mut rendered = Rendered::default();
    for (id, name) in names(plan) {
        let Some(workload) = plan.workloads.get(id) else { continue };
        let ScaledObjectPlan { mut scaled_object, notices } = desired(id, &name, workload, settings);
        if let (Some(takeover), Some(object)) = (Takeover::asked(workload), &mut scaled_object) {
            takeover.apply_to(object);
        }
        rendered.scaled_objects.extend(scaled_object.filter(|_| workload.adopted != Some(0)));
        rendered.notices.extend(notices.into_iter().map(|notice| (id.clone(), notice)));
    }
    rendered.notices.extend(no_effect(plan, now).into_iter().map(|(id, what)| (id, WorkloadNotice::NoEffect(what))));
    rendered
}
