//! What else scales a workload, and whether Tidegate may scale it beside that.

use std::collections::BTreeMap;

use tidegate_core::{plan::PlannedWorkload, workload::WorkloadId};

use super::{
    notice::WorkloadNotice,
    scaled_object::{ScaledObjectPlan, desired},
    settings::Settings,
    takeover::{TOOK_OVER, Takeover, Takeovers},
};
use crate::{ForeignScaler, Kind, Objects, ScaledObject, is_paused_by_hours};

/// What is decided from the other scalers of a workload.
#[derive(Debug, Clone, PartialEq)]
pub enum Others {
    /// Nothing else scales it, or only what it takes over: it gets its ScaledObject
    Nothing,
    /// Somebody else's ScaledObject does, and sleeps by the workload's hours: it needs none of Tidegate's
    PausedByHours,
    /// Something else does: nothing is done, and these notices say why; at least one
    InTheWay(Vec<WorkloadNotice>),
}

/// The place of a workload's ScaledObject among the other scalers.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// The name that it has, or is to have
    pub name: String,
    /// The ScaledObject of that name, where it is the workload's: Tidegate's, or one that is taken over
    pub existing: Option<&'a ScaledObject>,
    /// The scaler that is taken over, or was
    pub takeover: Option<Takeover>,
    /// What stands beside it
    pub others: Others,
}

impl Place<'_> {
    /// The ScaledObject that the workload is to have here, and the notices to its owner; no object where something is in the way.
    pub fn desired(&self, id: &WorkloadId, workload: &PlannedWorkload, settings: &Settings) -> ScaledObjectPlan {
        let mut plan = match &self.others {
            Others::PausedByHours => ScaledObjectPlan { scaled_object: None, notices: Vec::new() },
            Others::InTheWay(notices) => ScaledObjectPlan { scaled_object: None, notices: notices.clone() },
            Others::Nothing => desired(id, &self.name, workload, settings),
        };
        if let (Some(takeover), Some(object)) = (&self.takeover, &mut plan.scaled_object) {
            takeover.apply_to(object);
        }
        plan
    }
}

/// All scalers, to decide for each workload. The operator and `tidegate render` both decide by them.
pub struct Scalers<'a> {
    objects: &'a Objects,
    foreign: BTreeMap<WorkloadId, Vec<ForeignScaler>>,
    takeovers: Takeovers<'a>,
}

impl<'a> Scalers<'a> {
    /// Those in these objects.
    pub fn of(objects: &'a Objects) -> Self {
        Self { objects, foreign: objects.foreign_scalers(), takeovers: Takeovers::of(objects) }
    }

    /// The place of a workload's ScaledObject; `usual` is the name that it has unless another one was taken over.
    pub fn place(&self, id: &WorkloadId, usual: String, workload: &PlannedWorkload, settings: &Settings) -> Place<'a> {
        let (takeover, refused) = match self.takeovers.find(id, &usual, workload) {
            Ok(takeover) => (takeover, None),
            Err(notice) => (None, Some(notice).filter(|_| !is_paused(workload))),
        };
        let name = takeover.as_ref().and_then(Takeover::name).map_or(usual, str::to_owned);
        let of_the_name = self.objects.scaled_object(&id.namespace, &name);
        let others = self.foreign.get(id).map_or(&[][..], Vec::as_slice);
        let sleeps = of_the_name.is_none_or(|object| !object.is_tidegates()) && is_paused_by_hours(workload, others);
        let existing = of_the_name.filter(|object| !has_only_the_name(object, id, takeover.as_ref()));
        // Of a paused workload nothing is written, whatever has its name.
        let taken = of_the_name.filter(|_| existing.is_none() && !is_paused(workload));
        let others = if is_paused(workload) { &[] } else { others };
        let scaled = refused.map_or_else(|| unasked(others, takeover.as_ref()), |refused| vec![refused]);
        let taken = taken.filter(|_| scaled.is_empty()).map(name_taken);
        let release = existing.and_then(|existing| of_another_release(existing, settings));
        let in_the_way: Vec<_> = scaled.into_iter().chain(taken).chain(release).collect();
        let outcome = match in_the_way.is_empty() {
            _ if sleeps => Others::PausedByHours,
            true => Others::Nothing,
            false => Others::InTheWay(in_the_way),
        };
        Place { name, existing, takeover, others: outcome }
    }
}

/// The scalers of others that are not to be taken over.
fn unasked(others: &[ForeignScaler], takeover: Option<&Takeover>) -> Vec<WorkloadNotice> {
    let unasked = others.iter().filter(|other| takeover.is_none_or(|takeover| !takeover.is_of(other)));
    unasked.map(|other| WorkloadNotice::ScaledBySomethingElse(other.kind, other.name.clone())).collect()
}

/// Whether a ScaledObject has the name of this workload's without being it.
fn has_only_the_name(existing: &ScaledObject, id: &WorkloadId, takeover: Option<&Takeover>) -> bool {
    let scales_another = existing.workload().as_ref() != Some(id);
    if existing.is_tidegates() {
        // One that was taken over has a name of its own, which may be another workload's.
        return scales_another && existing.metadata.annotations.contains_key(TOOK_OVER);
    }
    scales_another || takeover.is_none()
}

fn name_taken(taken: &ScaledObject) -> WorkloadNotice {
    WorkloadNotice::NameTaken(Kind::ScaledObject, taken.metadata.name.clone())
}

fn of_another_release(existing: &ScaledObject, settings: &Settings) -> Option<WorkloadNotice> {
    let theirs = release_of_another(existing, settings)?.to_owned();
    let (name, ours) = (existing.metadata.name.clone(), settings.release.clone());
    Some(WorkloadNotice::OfAnotherRelease { name, theirs, ours })
}

fn is_paused(workload: &PlannedWorkload) -> bool {
    workload.intent.as_ref().is_ok_and(|intent| intent.paused)
}

/// The release that a ScaledObject of Tidegate belongs to, if it is not ours. One without a label is from a version before there were
/// labels.
pub fn release_of_another<'a>(existing: &'a ScaledObject, settings: &Settings) -> Option<&'a str> {
    existing.release().filter(|release| existing.is_tidegates() && *release != settings.release)
}
