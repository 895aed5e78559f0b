//! The annotations that Tidegate's own ScaledObjects carry: what was adopted, and what was applied last.

use std::collections::HashMap;

use tidegate_core::{
    intent::{APPLIED, Annotations},
    plan::ADOPTED_REPLICAS,
    workload::WorkloadId,
};

use crate::{Objects, views::ScaledObject};

/// Tidegate's ScaledObjects by the workload that each scales, collected once for a Plan: a search per workload would take the square
/// of their number.
pub(super) struct OwnObjects<'a>(HashMap<WorkloadId, Vec<&'a ScaledObject>>);

impl<'a> OwnObjects<'a> {
    pub(super) fn of(objects: &'a Objects) -> Self {
        let mut by_workload = HashMap::<_, Vec<_>>::new();
        for object in objects.scaled.values().flat_map(|names| names.values()).filter(|object| object.is_tidegates()) {
            if let Some(workload) = object.workload() {
                by_workload.entry(workload).or_default().push(object);
            }
        }
        Self(by_workload)
    }

    /// The replicas that the workload had when it was adopted.
    pub(super) fn adopted_replicas(&self, id: &WorkloadId) -> Option<u32> {
        self.read(id, ADOPTED_REPLICAS, |replicas| replicas.parse().ok())
    }

    /// Whether annotations of the workload were ever applied.
    pub(super) fn was_applied(&self, id: &WorkloadId) -> bool {
        self.read(id, APPLIED, |_| Some(())).is_some()
    }

    /// The last annotations of the workload that made sense.
    pub(super) fn applied(&self, id: &WorkloadId) -> Option<Annotations> {
        self.read(id, APPLIED, |text| serde_json::from_str(text).ok())
    }

    fn read<T>(&self, id: &WorkloadId, annotation: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.0.get(id)?.iter().find_map(|object| read(object.metadata.annotations.get(annotation)?))
    }
}
