//! The selectors by which the pods of single workloads are asked for: watched where they serve a model, listed while requests wait
//! for one of them.

use std::collections::BTreeMap;

use tidegate_core::{
    plan::{Plan, PlannedWorkload},
    workload::WorkloadId,
};

use super::Objects;

impl Objects {
    /// The workloads whose own pods are watched, with the label selectors of these pods, as `kubectl -l` takes them.
    pub fn serving_selectors(&self, plan: &Plan) -> BTreeMap<WorkloadId, String> {
        let serves = |workload: &PlannedWorkload| workload.intent.as_ref().is_ok_and(|intent| intent.model.is_some());
        let serving = plan.workloads.iter().filter(|(_, workload)| serves(workload));
        serving.filter_map(|(id, _)| Some((id.clone(), self.pod_selector(id)?))).collect()
    }

    /// The label selector of a workload's pods, as `kubectl -l` takes it; `None` if it has no plain labels.
    pub fn pod_selector(&self, id: &WorkloadId) -> Option<String> {
        let workload = self.workloads(id.kind).get(&id.namespace)?.get(&id.name)?;
        let selector = self.with_template_of(&id.namespace, workload).spec.selector.match_labels.iter();
        let labels: Vec<_> = selector.map(|(label, value)| format!("{label}={value}")).collect();
        (!labels.is_empty()).then(|| labels.join(","))
    }
}
