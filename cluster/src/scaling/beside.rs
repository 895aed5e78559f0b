//! What else scales a workload, and whether Tidegate may scale it beside that.

use tidegate_core::plan::PlannedWorkload;

use super::{notice::WorkloadNotice, scaled_object::Settings};
use crate::{ForeignScaler, Kind, ScaledObject, is_paused_by_hours};

/// What is decided from the other scalers of a workload.
#[derive(Debug, Clone, PartialEq)]
pub enum Beside {
    /// Nothing else scales it: it gets its ScaledObject
    Nothing,
    /// Somebody else's ScaledObject does, and sleeps by the workload's hours: it needs none of Tidegate's
    PausedByHours,
    /// Something else does: nothing is done, and these notices say why; at least one
    InTheWay(Vec<WorkloadNotice>),
}

/// Decides whether a workload gets a ScaledObject. `existing` is the ScaledObject of the name that it would have, `others` are all
/// scalers of the workload that are not Tidegate's.
pub fn beside(
    workload: &PlannedWorkload,
    name: &str,
    existing: Option<&ScaledObject>,
    others: &[ForeignScaler],
    settings: &Settings,
) -> Beside {
    if existing.is_none_or(|existing| !existing.is_tidegates()) && is_paused_by_hours(workload, others) {
        return Beside::PausedByHours;
    }
    let others = if workload.intent.as_ref().is_ok_and(|intent| intent.paused) { &[] } else { others };
    let mut in_the_way: Vec<_> =
        others.iter().map(|other| WorkloadNotice::ScaledBySomethingElse(other.kind, other.name.clone())).collect();
    if let Some(existing) = existing.filter(|existing| !existing.is_tidegates() && in_the_way.is_empty()) {
        in_the_way.push(WorkloadNotice::NameTaken(Kind::ScaledObject, existing.metadata.name.clone()));
    }
    if let Some(release) = existing.and_then(|existing| release_of_another(existing, settings)) {
        let (theirs, ours) = (release.to_owned(), settings.release.clone());
        in_the_way.push(WorkloadNotice::OfAnotherRelease { name: name.to_owned(), theirs, ours });
    }
    if in_the_way.is_empty() { Beside::Nothing } else { Beside::InTheWay(in_the_way) }
}

/// The release that a ScaledObject of Tidegate belongs to, if it is not ours. One without a label is from a version before there were
/// labels.
pub fn release_of_another<'a>(existing: &'a ScaledObject, settings: &Settings) -> Option<&'a str> {
    existing.release().filter(|release| existing.is_tidegates() && *release != settings.release)
}
