//! Workloads whose pods are watched one by one, because they serve a model.

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
        let labels = |id: &WorkloadId| {
            let workload = self.workloads(id.kind).get(&id.namespace)?.get(&id.name)?;
            let selector = self.with_template_of(&id.namespace, workload).spec.selector.match_labels.iter();
            let labels: Vec<_> = selector.map(|(label, value)| format!("{label}={value}")).collect();
            (!labels.is_empty()).then(|| labels.join(","))
        };
        let serving = plan.workloads.iter().filter(|(_, workload)| serves(workload));
        serving.filter_map(|(id, _)| Some((id.clone(), labels(id)?))).collect()
    }
}
