//! Taking over the scaler of another owner in one step, so that its HPA goes on: `tidegate.dev/adopt`.
//!
//! As KEDA 2.21 has it (`scaledobject_webhook.go`, `scaledobject_controller.go`, `hpa.go`):
//! - An HPA is handed to a *new* ScaledObject with the annotation below that gives the HPA's name. It is updated in place and keeps its
//!   status and its stabilisation window. A ScaledObject that has an HPA already deletes it and then fails to create the other one.
//! - Two ScaledObjects on one target are refused, so another owner's is kept under its name and gets our fields. Its HPA is updated in
//!   place as long as the HPA's name stays the same.
//!
//! Names are therefore kept for good: the ScaledObject's annotation [`TOOK_OVER`] remembers what it was made from, also when the
//! workload no longer has `tidegate.dev/adopt`.

use std::collections::HashMap;

use serde_json::{Map, Value};
use tidegate_core::{
    adopt::{ScalerKind, ScalerRef},
    plan::PlannedWorkload,
    workload::WorkloadId,
};

use super::notice::WorkloadNotice;
use crate::{ForeignScaler, Kind, Objects, ScaledObject};

/// Annotation of a ScaledObject with the scaler that was taken over: `hpa/task-api`.
pub const TOOK_OVER: &str = "tidegate.dev/took-over";
/// KEDA's annotation with which an HPA of another owner is handed to a new ScaledObject.
const TRANSFER: &str = "scaledobject.keda.sh/transfer-hpa-ownership";
/// Prefix of KEDA's annotations with which its owner has stopped a ScaledObject.
const PAUSED: &str = "autoscaling.keda.sh/paused";

/// A scaler that is taken over, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Takeover {
    scaler: ScalerRef,
    /// Name of the HPA, where it is not KEDA's default
    hpa: Option<String>,
    /// Whether it is still to be done
    due: bool,
}

impl Takeover {
    /// The takeover that a workload asks for, whatever the cluster has.
    pub fn asked(workload: &PlannedWorkload) -> Option<Self> {
        let scaler = workload.intent.as_ref().ok()?.takes_over.clone()?;
        Some(Self { hpa: handed_over(&scaler), scaler, due: true })
    }

    fn done(object: &ScaledObject) -> Option<Self> {
        let scaler = object.metadata.annotations.get(TOOK_OVER)?.parse().ok()?;
        Some(Self { hpa: handed_over(&scaler).or_else(|| hpa_name(object)), scaler, due: false })
    }

    /// The name of the ScaledObject, where it is not the usual one.
    pub fn name(&self) -> Option<&str> {
        (self.scaler.kind == ScalerKind::ScaledObject).then_some(&self.scaler.name)
    }

    /// Whether this scaler of another owner is the one that is taken over.
    pub fn is_of(&self, other: &ForeignScaler) -> bool {
        let kind = match self.scaler.kind {
            ScalerKind::Hpa => Kind::HorizontalPodAutoscaler,
            ScalerKind::ScaledObject => Kind::ScaledObject,
        };
        other.kind == kind && other.name == self.scaler.name
    }

    /// The notice to the owner once it is done; none where it was done before.
    pub fn notice(&self) -> Option<WorkloadNotice> {
        self.due.then(|| WorkloadNotice::TookOver(self.scaler.clone()))
    }

    /// Has the ScaledObject take the scaler over, and keep it.
    pub fn apply_to(&self, object: &mut Value) {
        if let Some(name) = self.name() {
            object["metadata"]["name"] = name.into();
        }
        object["metadata"]["annotations"][TOOK_OVER] = self.scaler.to_string().into();
        if let Some(hpa) = &self.hpa {
            object["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"] = hpa.as_str().into();
        }
        if self.scaler.kind == ScalerKind::Hpa {
            object["metadata"]["annotations"][TRANSFER] = "true".into();
        }
    }
}

/// The merge patch that makes another owner's ScaledObject the wanted one: fields of its spec that ours does not have are removed, or a
/// formula, a fallback or an `idleReplicaCount` would go on.
pub fn merge_patch(existing: &ScaledObject, mut wanted: Value) -> Value {
    if let (Value::Object(there), Some(Value::Object(wanted))) = (existing.spec(), wanted.get_mut("spec")) {
        remove_others(&there, wanted);
    }
    // With its UID: an object that was recreated meanwhile is not changed.
    if !existing.metadata.uid.is_empty() {
        wanted["metadata"]["uid"] = existing.metadata.uid.as_str().into();
    }
    wanted
}

fn remove_others(there: &Map<String, Value>, wanted: &mut Map<String, Value>) {
    for (key, value) in there {
        match (value, wanted.get_mut(key)) {
            (_, None) => _ = wanted.insert(key.clone(), Value::Null),
            (Value::Object(there), Some(Value::Object(wanted))) => remove_others(there, wanted),
            _ => {}
        }
    }
}

fn handed_over(scaler: &ScalerRef) -> Option<String> {
    (scaler.kind == ScalerKind::Hpa).then(|| scaler.name.clone())
}

fn hpa_name(object: &ScaledObject) -> Option<String> {
    let name = object.spec()["advanced"]["horizontalPodAutoscalerConfig"]["name"].as_str().map(str::to_owned);
    name.filter(|name| !name.is_empty())
}

/// What is taken over, of all workloads.
pub struct Takeovers<'a> {
    objects: &'a Objects,
    done: HashMap<WorkloadId, Takeover>,
}

impl<'a> Takeovers<'a> {
    /// Those in these objects.
    pub fn of(objects: &'a Objects) -> Self {
        let ours = objects.scaled_objects().filter(|object| object.is_tidegates());
        let done = ours.filter_map(|object| Some((Takeover::done(object)?, object)));
        let done = done.filter_map(|(done, object)| Some((object.workload()?, done))).collect();
        Self { objects, done }
    }

    /// The takeover of a workload, if there is one; `usual` is the name that its ScaledObject has otherwise. The notice says why it
    /// cannot be done.
    pub fn find(
        &self,
        id: &WorkloadId,
        usual: &str,
        workload: &PlannedWorkload,
    ) -> Result<Option<Takeover>, WorkloadNotice> {
        if let Some(done) = self.done.get(id) {
            return Ok(Some(done.clone()));
        }
        let Some(asked) = Takeover::asked(workload) else { return Ok(None) };
        let ours = self.objects.scaled_object(&id.namespace, usual).filter(|object| object.is_tidegates());
        let found = match asked.scaler.kind {
            ScalerKind::Hpa => self.hpa(id, asked, ours),
            ScalerKind::ScaledObject => self.scaled_object(id, asked, ours),
        };
        found.map_err(WorkloadNotice::CannotTakeOver)
    }

    fn hpa(&self, id: &WorkloadId, asked: Takeover, ours: Option<&ScaledObject>) -> Result<Option<Takeover>, String> {
        let (namespace, name) = (&id.namespace, &asked.scaler.name);
        let hpa = self.objects.autoscalers.get(namespace).and_then(|names| names.get(name));
        let Some(hpa) = hpa else { return Ok(ours.is_none().then_some(asked)) };
        let target = &hpa.spec.scale_target_ref;
        if target.workload(namespace).as_ref() != Some(id) {
            return Err(format!("hpa/{name} scales {} {}, not this workload", target.kind, target.name));
        }
        match (ours, hpa.owning_scaled_object()) {
            (Some(ours), Some(owner)) if ours.metadata.name == owner => Ok(None),
            (_, Some(owner)) => Err(format!(
                "KEDA made hpa/{name} for ScaledObject {owner}: write tidegate.dev/adopt: scaledobject/{owner}"
            )),
            (Some(ours), None) => Err(format!(
                "ScaledObject {} of Tidegate scales this workload already, beside hpa/{name}, and KEDA hands an HPA only to a new \
                 ScaledObject; run `kubectl delete hpa {name} -n {namespace}`, and remove it from whatever applies it",
                ours.metadata.name
            )),
            (None, None) => Ok(Some(asked)),
        }
    }

    fn scaled_object(
        &self,
        id: &WorkloadId,
        asked: Takeover,
        ours: Option<&ScaledObject>,
    ) -> Result<Option<Takeover>, String> {
        let (namespace, name) = (&id.namespace, &asked.scaler.name);
        let Some(theirs) = self.objects.scaled_object(namespace, name) else {
            return Ok(ours.is_none().then_some(asked));
        };
        if theirs.workload().as_ref() != Some(id) {
            let target = &theirs.target;
            return Err(format!("scaledobject/{name} scales {} {}, not this workload", target.kind, target.name));
        }
        if theirs.is_tidegates() {
            return Ok(None);
        }
        if let Some(ours) = ours {
            return Err(format!(
                "ScaledObject {} of Tidegate scales this workload already, and KEDA refuses a second one; run `kubectl delete \
                 scaledobject {name} -n {namespace}`",
                ours.metadata.name
            ));
        }
        if let Some(owner) = theirs.metadata.owner_references.first() {
            let (kind, owner) = (&owner.kind, &owner.name);
            return Err(format!(
                "scaledobject/{name} belongs to {kind} {owner}, which would write it again; have {kind} {owner} make none"
            ));
        }
        if let Some(paused) = theirs.metadata.annotations.keys().find(|key| key.starts_with(PAUSED)) {
            return Err(format!(
                "scaledobject/{name} is stopped by {paused}; run `kubectl annotate scaledobject {name} -n {namespace} {paused}-` if it \
                 is to scale"
            ));
        }
        Ok(Some(Takeover { hpa: hpa_name(theirs), ..asked }))
    }
}

#[cfg(test)]
mod tests;
