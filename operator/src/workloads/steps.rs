//! Decides on the writes, from the desired and the present state: a pure function of the Plan and the objects.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tidegate_cluster::{
    Meta, Objects, PAUSED_REPLICAS, ScaledObject, WorkloadState,
    scaling::{
        Others, Place, ScaledObjectPlan, Scalers, Settings, Takeover, WorkloadNotice, merge_patch, names,
        release_of_another,
    },
};
use tidegate_core::{
    event::Notice,
    plan::{ADOPTED_REPLICAS, Plan, PlannedWorkload},
    workload::WorkloadId,
};

use super::{
    drift::holds,
    ledger::{Entries, Entry},
    understood::{UNDERSTOOD, understood},
};

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// The ScaledObject of a workload, by server-side apply
    Apply(WorkloadId, Document),
    /// Makes another owner's ScaledObject the workload's, by a merge patch
    TakeOver(WorkloadId, Document),
    /// Deletes a ScaledObject that is left over
    Delete { namespace: String, name: String, uid: String },
    /// Has KEDA scale a sleeping workload to this many replicas, before its ScaledObject is deleted
    GiveBack { namespace: String, name: String, replicas: u32 },
    /// Has KEDA resume a ScaledObject that was to be deleted
    Resume { namespace: String, name: String },
    /// Reports on the ScaledObject the problem of its workload, or that there is none any more
    Report { namespace: String, name: String, problem: Option<String> },
}

/// An object or a patch as JSON text, which takes a tenth of the memory of a parsed value: after an installation or an upgrade every
/// workload of the cluster has a step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document(Box<str>);

impl From<Value> for Document {
    fn from(value: Value) -> Self {
        Self(value.to_string().into_boxed_str())
    }
}

impl Document {
    pub(super) fn parsed(&self) -> Value {
        // It was written from a value.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

/// Annotation of a ScaledObject with the problems of its workload: events are gone after an hour, and GitOps reads none.
pub(super) const PROBLEM: &str = "tidegate.dev/problem";
/// Longest text of a problem, in characters; as long as an event may be.
const LONGEST_PROBLEM: usize = 1000;

/// Annotation of a ScaledObject that Tidegate itself has paused.
pub(super) const GIVING_BACK: &str = "tidegate.dev/giving-back";

/// The writes that are due, and the notices.
#[derive(Debug, Default)]
pub(super) struct Steps {
    pub(super) steps: Vec<Step>,
    /// The replicas of workloads that are to be kept
    pub(super) had: Entries,
    pub(super) notices: BTreeMap<WorkloadId, Vec<WorkloadNotice>>,
}

/// The steps that are due. `had` are the replicas that workloads had when they were found, as they are kept.
pub(super) fn steps(plan: &Plan, objects: &Objects, settings: &Settings, had: &Entries, now: DateTime<Utc>) -> Steps {
    let mut todo = Steps { had: still_there(had, objects), ..Steps::default() };
    let mut kept = HashSet::new();
    let scalers = Scalers::of(objects);
    for (id, name) in names(plan) {
        let Some(workload) = plan.workloads.get(id) else { continue };
        let place = scalers.place(id, name, workload, settings);
        if place.others == Others::PausedByHours {
            continue;
        }
        let Place { name, existing, takeover, .. } = &place;
        let existing = *existing;
        let workload: &PlannedWorkload = &remembered(workload, existing, had.get(id), objects.workload(id));
        let by_hand = existing.and_then(|_| set_by_hand(workload, &objects.workload(id)?, now));
        let by_them =
            by_hand.as_ref().map(|(replicas, _)| PlannedWorkload { adopted: Some(*replicas), ..workload.clone() });
        let workload = by_them.as_ref().unwrap_or(workload);
        let ScaledObjectPlan { mut scaled_object, mut notices } = place.desired(id, workload, settings);
        let is_well = !notices.iter().any(|notice| notice.reason().is_warning());
        let says = understood(workload).filter(|_| is_well);
        if let Some((object, says)) = scaled_object.as_mut().zip(says.as_ref()) {
            object["metadata"]["annotations"][UNDERSTOOD] = says.as_str().into();
        }
        // A workload that someone had stopped is left alone until someone starts it.
        let stopped = existing.is_none_or(|existing| !existing.is_tidegates()) && workload.adopted == Some(0);
        let is_right = |wanted: &Value| existing.is_some_and(|there| is_right(there, wanted, workload));
        if let Some(object) = scaled_object.filter(|wanted| !stopped && !is_right(wanted)) {
            notices.extend(by_hand.map(|(replicas, by)| WorkloadNotice::Adopted(replicas, by)));
            if let Some(ScaledObject { metadata, .. }) = existing.filter(|existing| is_given_back(existing)) {
                let (namespace, name) = (metadata.namespace.clone(), metadata.name.clone());
                todo.steps.push(Step::Resume { namespace, name });
            }
            notices.extend(takeover.as_ref().and_then(Takeover::notice));
            let said = existing.and_then(|existing| existing.metadata.annotations.get(UNDERSTOOD));
            notices.extend(says.filter(|says| said != Some(says.as_str())).map(WorkloadNotice::Understood));
            todo.steps.push(match existing.filter(|existing| !existing.is_tidegates()) {
                Some(theirs) => Step::TakeOver(id.clone(), merge_patch(theirs, object).into()),
                None => Step::Apply(id.clone(), object.into()),
            });
        }
        if let (Some(state), Ok(_)) = (objects.workload(id), &workload.intent) {
            let before = had.get(id).filter(|entry| entry.uid == state.uid).map(|entry| entry.replicas);
            // Where traffic decides, a workload is given back the replicas that it had when it was found, if it is at zero then.
            let replicas = workload.adopted.or(before).unwrap_or(state.replicas.wanted);
            if replicas > 0 && !state.uid.is_empty() {
                todo.had.insert(id.clone(), Entry { replicas, uid: state.uid.to_owned() });
            }
        }
        if let Some(existing) =
            existing.filter(|there| there.is_tidegates() && release_of_another(there, settings).is_none())
        {
            let problem = problem(&notices);
            if existing.metadata.annotations.get(PROBLEM) != problem.as_deref() {
                let (namespace, name) = (id.namespace.clone(), name.clone());
                todo.steps.push(Step::Report { namespace, name, problem });
            }
        }
        todo.notices.insert(id.clone(), notices);
        kept.insert((id.namespace.as_str(), place.name));
    }
    // Of a kind that is not watched, nobody knows whether the workload is still there and annotated: its ScaledObject is left alone.
    let is_watched = |object: &ScaledObject| object.workload().is_some_and(|id| objects.scales(id.kind));
    let ours = objects.scaled_objects().filter(|object| object.is_tidegates() && is_watched(object));
    for object in ours.filter(|object| release_of_another(object, settings).is_none()) {
        if !kept.contains(&(object.metadata.namespace.as_str(), object.metadata.name.clone())) {
            remove(object, objects, had, &mut todo);
        }
    }
    todo
}

/// Removes a ScaledObject whose workload is no longer Tidegate's. A sleeping workload gets its replicas back first.
fn remove(object: &ScaledObject, objects: &Objects, had: &Entries, todo: &mut Steps) {
    let Meta { namespace, name, uid, annotations, .. } = object.metadata.clone();
    let id = object.workload();
    let state = id.as_ref().and_then(|id| objects.workload(id));
    let adopted = annotations.get(ADOPTED_REPLICAS).and_then(|replicas| replicas.parse().ok());
    let found = id.as_ref().and_then(|id| had.get(id)).map(|entry| entry.replicas);
    if let (Some(id), Some(state)) = (id, state) {
        let wanted = state.replicas.wanted;
        let replicas = match adopted {
            Some(adopted) => adopted,
            // Where traffic decides, its present number of replicas is right, unless it is zero.
            None if wanted == 0 => found.unwrap_or(1).max(1),
            None => wanted,
        };
        if wanted < replicas {
            todo.notices.entry(id.clone()).or_default().push(WorkloadNotice::GivesBack(replicas));
            if annotations.get(PAUSED_REPLICAS) != Some(&*replicas.to_string()) {
                todo.steps.push(Step::GiveBack { namespace, name, replicas });
            }
            return;
        }
        todo.had.remove(&id);
    }
    todo.steps.push(Step::Delete { namespace, name, uid });
}

/// All problems, except those that often pass by themselves.
fn problem(notices: &[WorkloadNotice]) -> Option<String> {
    let wrong = notices.iter().filter(|notice| notice.reason().is_warning() && !notice.reason().may_pass());
    let texts: Vec<_> = wrong.map(|notice| format!("{}: {notice}", notice.reason().as_str())).collect();
    (!texts.is_empty()).then(|| texts.join("; ").chars().take(LONGEST_PROBLEM).collect())
}

fn is_given_back(existing: &ScaledObject) -> bool {
    existing.metadata.annotations.contains_key(GIVING_BACK)
}

/// The entries of workloads in namespaces that are still there. A workload may come back: from a backup, or in another way.
fn still_there(had: &Entries, objects: &Objects) -> Entries {
    let there = |id: &WorkloadId| objects.may_have_namespace(&id.namespace);
    had.iter().filter(|(id, _)| there(id)).map(|(id, entry)| (id.clone(), entry.clone())).collect()
}

/// A workload with the replicas that are kept elsewhere, where its ScaledObject does not say how many it had.
fn remembered<'a>(
    workload: &'a PlannedWorkload,
    existing: Option<&ScaledObject>,
    entry: Option<&Entry>,
    state: Option<WorkloadState<'_>>,
) -> Cow<'a, PlannedWorkload> {
    let says = existing.is_some_and(|existing| existing.metadata.annotations.contains_key(ADOPTED_REPLICAS));
    let Some((_, state)) = workload.adopted.filter(|_| !says).zip(state) else { return Cow::Borrowed(workload) };
    // The entry of another workload of that name only applies while this one sleeps.
    let kept = entry.filter(|entry| entry.uid == state.uid || state.replicas.wanted == 0).map(|entry| entry.replicas);
    // Another downscaler that put it to sleep before may have kept the number in its own annotation.
    let by_others = state.annotations.get(DOWNSCALERS).and_then(|replicas| replicas.parse().ok());
    match kept.or(by_others.filter(|_| state.replicas.wanted == 0)) {
        Some(replicas) => Cow::Owned(PlannedWorkload { adopted: Some(replicas), ..workload.clone() }),
        None => Cow::Borrowed(workload),
    }
}

/// Annotation in which kube-downscaler and GoKubeDownscaler keep a workload's replicas.
const DOWNSCALERS: &str = "downscaler/original-replicas";

/// The replicas that someone set on a workload inside its hours, and who: where only hours decide, the workload comes back to
/// that number from now on.
fn set_by_hand(workload: &PlannedWorkload, state: &WorkloadState<'_>, now: DateTime<Utc>) -> Option<(u32, String)> {
    let (adopted, schedule) = (workload.adopted?, workload.schedule.as_ref()?);
    let by = state.replicas_by.filter(|by| !by.starts_with("keda") && !SCALERS.contains(by))?;
    let replicas = state.replicas.wanted;
    // A workload that was at zero in the night, whoever scaled it down, still is for a moment when its hours begin.
    let opens = replicas == 0 && schedule.floor_since(now).is_some();
    let open = schedule.limits(now).cap.is_none();
    (open && !opens && replicas != adopted).then(|| (replicas, by.to_owned()))
}

/// Field managers that write `spec.replicas` on behalf of a ScaledObject, besides KEDA: the HPA.
const SCALERS: [&str; 1] = ["kube-controller-manager"];

fn is_right(existing: &ScaledObject, wanted: &Value, workload: &PlannedWorkload) -> bool {
    if is_given_back(existing) {
        return false;
    }
    let Meta { labels, annotations, owner_references, .. } = &existing.metadata;
    let labels: Map<_, _> = labels.iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
    let annotations: Map<_, _> = annotations.iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
    let has = |there: Map<_, _>, wanted: Option<&Value>| wanted.is_none_or(|wanted| holds(&there.into(), wanted));
    owner_references.iter().any(|owner| owner.uid == workload.uid)
        && has(labels, wanted["metadata"].get("labels"))
        && has(annotations, wanted["metadata"].get("annotations"))
        && holds(&existing.spec(), &wanted["spec"])
}

#[cfg(test)]
mod tests;
