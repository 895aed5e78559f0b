//! From what should be and what there is to what has to be written: a pure function of the Plan and the objects.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tidegate_core::{
    plan::{Plan, PlannedWorkload},
    workload::{WorkloadId, WorkloadKind},
};

use super::{
    drift::holds,
    notice::Notice,
    scaled_object::{Desired, Settings, desired, name},
};
use crate::index::{Kind, Meta, Objects, ScaledObject, WorkloadState};

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// The ScaledObject of a workload, by server-side apply
    Apply(WorkloadId, Value),
    /// One that is left over
    Delete { namespace: String, name: String, uid: String },
}

/// What is to be written, and what is to be said.
#[derive(Debug, Default)]
pub(super) struct Steps {
    pub(super) steps: Vec<Step>,
    pub(super) notices: BTreeMap<WorkloadId, Vec<Notice>>,
}

pub(super) fn steps(plan: &Plan, objects: &Objects, settings: &Settings, now: DateTime<Utc>) -> Steps {
    let mut todo = Steps::default();
    let mut kept = HashSet::new();
    let foreign = objects.foreign_scalers();
    for (id, name) in names(plan) {
        let Some(workload) = plan.workloads.get(id) else { continue };
        let existing = objects.scaled_object(&id.namespace, &name);
        let others = foreign.get(id).into_iter().flatten();
        let mut in_the_way: Vec<_> =
            others.map(|other| Notice::ScaledBySomethingElse(other.kind, other.name.clone())).collect();
        if let Some(existing) = existing.filter(|existing| !existing.is_tidegates() && in_the_way.is_empty()) {
            in_the_way.push(Notice::NameTaken(Kind::ScaledObject, existing.metadata.name.clone()));
        }
        if let Some(release) = existing.and_then(|existing| of_another(existing, settings)) {
            in_the_way.push(Notice::OfAnotherRelease {
                name: name.clone(),
                theirs: release.to_owned(),
                ours: settings.release.clone(),
            });
        }
        let by_hand = existing.and_then(|_| set_by_hand(workload, &objects.workload(id)?, now));
        let workload = &by_hand.as_ref().map_or(Cow::Borrowed(workload), |(replicas, _)| {
            Cow::Owned(PlannedWorkload { adopted: Some(*replicas), ..workload.clone() })
        });
        let Desired { scaled_object, mut notices } = if in_the_way.is_empty() {
            desired(id, &name, workload, settings)
        } else {
            Desired { scaled_object: None, notices: in_the_way }
        };
        // What somebody had stopped is left alone until somebody starts it.
        let stopped = existing.is_none() && workload.adopted == Some(0);
        let is_right = |wanted: &Value| existing.is_some_and(|there| is_right(there, wanted, workload));
        if let Some(object) = scaled_object.filter(|wanted| !stopped && !is_right(wanted)) {
            notices.extend(by_hand.map(|(replicas, by)| Notice::Adopted(replicas, by)));
            todo.steps.push(Step::Apply(id.clone(), object));
        }
        todo.notices.insert(id.clone(), notices);
        kept.insert((id.namespace.as_str(), name));
    }
    let ours =
        objects.scaled_objects().filter(|object| object.is_tidegates() && of_another(object, settings).is_none());
    for ScaledObject { metadata, .. } in ours {
        if !kept.contains(&(metadata.namespace.as_str(), metadata.name.clone())) {
            let (namespace, name, uid) = (metadata.namespace.clone(), metadata.name.clone(), metadata.uid.clone());
            todo.steps.push(Step::Delete { namespace, name, uid });
        }
    }
    todo
}

/// The release that a ScaledObject is of, if it is not ours. One that says nothing is of a version before there were labels.
fn of_another<'a>(existing: &'a ScaledObject, settings: &Settings) -> Option<&'a str> {
    existing.release().filter(|release| existing.is_tidegates() && *release != settings.release)
}

/// The number that somebody gave a workload inside its hours, and who: where nothing but hours decides, that is the one to come
/// back to from now on.
fn set_by_hand(workload: &PlannedWorkload, state: &WorkloadState<'_>, now: DateTime<Utc>) -> Option<(u32, String)> {
    let (adopted, schedule) = (workload.adopted?, workload.schedule.as_ref()?);
    let by = state.replicas_by.filter(|by| !by.starts_with("keda") && !SCALERS.contains(by))?;
    let replicas = state.replicas.wanted;
    // What was at zero in the night, by whomever, is for a moment when its hours begin.
    let opens = replicas == 0 && schedule.floor_since(now).is_some();
    let open = schedule.limits(now).cap.is_none();
    (open && !opens && replicas != adopted).then(|| (replicas, by.to_owned()))
}

/// Those who write `spec.replicas` on behalf of a ScaledObject, besides KEDA: the HPA.
const SCALERS: [&str; 1] = ["kube-controller-manager"];

fn is_right(existing: &ScaledObject, wanted: &Value, workload: &PlannedWorkload) -> bool {
    let Meta { labels, annotations, owner_references, .. } = &existing.metadata;
    let labels: Map<_, _> = labels.iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
    let annotations: Map<_, _> =
        annotations.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
    let has = |there: Map<_, _>, wanted: Option<&Value>| wanted.is_none_or(|wanted| holds(&there.into(), wanted));
    owner_references.iter().any(|owner| owner.uid == workload.uid)
        && has(labels, wanted["metadata"].get("labels"))
        && has(annotations, wanted["metadata"].get("annotations"))
        && holds(&existing.spec(), &wanted["spec"])
}

/// Every workload with the name of its ScaledObject.
pub(super) fn names(plan: &Plan) -> impl Iterator<Item = (&WorkloadId, String)> {
    plan.workloads.keys().map(|id| {
        let twin = WorkloadId { kind: WorkloadKind::Deployment, ..id.clone() };
        let taken = id.kind == WorkloadKind::StatefulSet && plan.workloads.contains_key(&twin);
        (id, name(id, taken))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workloads::ScalerEndpoint;

    fn settings() -> Settings {
        let address = "tidegate:9090".to_owned();
        let scaler = ScalerEndpoint { address, ..ScalerEndpoint::default() };
        Settings { scaler, release: "tidegate-system.tidegate".to_owned(), tolerance: true }
    }

    fn monday(time: &str) -> DateTime<Utc> {
        format!("2026-03-02T{time}:00Z").parse().unwrap()
    }

    fn workload(kind: &str, name: &str, annotations: &Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": kind,
            "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-of-{name}"), "annotations": annotations},
            "spec": {"replicas": 1, "template": {"metadata": {"labels": {"app": name}}}}})
    }

    fn annotated(kind: &str) -> Value {
        workload(kind, "api", &json!({"tidegate.dev/requests-per-second": "100"}))
    }

    fn cluster(objects: impl IntoIterator<Item = Value>) -> Objects {
        let mut all = Objects::default();
        for object in objects {
            assert!(all.apply(object).unwrap());
        }
        all
    }

    fn steps_of(objects: &Objects) -> Steps {
        steps(&objects.plan(), objects, &settings(), monday("12:00"))
    }

    /// As the API server keeps what was applied.
    fn applied(steps: &Steps) -> Value {
        let [Step::Apply(_, object)] = &steps.steps[..] else { panic!("{steps:?}") };
        object.clone()
    }

    fn notices(steps: &Steps) -> Vec<&'static str> {
        steps.notices.values().flatten().map(crate::events::Notice::reason).collect()
    }

    #[test]
    fn an_annotated_workload_gets_a_scaled_object_and_then_nothing_more() {
        let mut objects = cluster([annotated("Deployment")]);
        let object = applied(&steps_of(&objects));
        objects.apply(object).unwrap();
        assert_eq!(steps_of(&objects).steps, []);
    }

    #[test]
    fn drift_is_corrected_and_what_others_added_is_not() {
        let mut objects = cluster([annotated("Deployment")]);
        let right = applied(&steps_of(&objects));
        let mut theirs = right.clone();
        theirs["metadata"]["labels"]["team"] = json!("shop");
        theirs["spec"]["advanced"]["restoreToOriginalReplicaCount"] = json!(true);
        objects.apply(theirs.clone()).unwrap();
        assert_eq!(steps_of(&objects).steps, []);
        theirs["spec"]["maxReplicaCount"] = json!(99);
        objects.apply(theirs).unwrap();
        assert_eq!(applied(&steps_of(&objects)), right);
    }

    #[test]
    fn a_workload_that_was_made_anew_gets_its_own_owner_reference() {
        let mut objects = cluster([annotated("Deployment")]);
        objects.apply(applied(&steps_of(&objects))).unwrap();
        let mut anew = annotated("Deployment");
        anew["metadata"]["uid"] = json!("another");
        objects.apply(anew).unwrap();
        assert_eq!(applied(&steps_of(&objects))["metadata"]["ownerReferences"][0]["uid"], "another");
    }

    #[test]
    fn what_a_workload_had_when_it_was_found_is_its_floor_inside_hours_whatever_it_has_now() {
        let hours = json!({"tidegate.dev/hours": "Mo-Fr 08:00-18:00", "tidegate.dev/timezone": "UTC"});
        let with = |replicas: u32| {
            let mut workload = workload("Deployment", "api", &hours);
            workload["spec"]["replicas"] = json!(replicas);
            workload
        };
        let mut objects = cluster([with(12)]);
        let object = applied(&steps_of(&objects));
        assert_eq!((&object["spec"]["minReplicaCount"], &object["spec"]["maxReplicaCount"]), (&json!(0), &json!(12)));
        objects.apply(object).unwrap();
        objects.apply(with(0)).unwrap();
        let plan = objects.plan();
        let workload = plan.workloads.values().next().unwrap();
        assert_eq!(workload.schedule.as_ref().unwrap().floor, 12);
        assert_eq!(steps_of(&objects).steps, [], "the night changes nothing in the ScaledObject");
    }

    /// A workload of which nothing but hours is asked, with replicas that this field manager wrote.
    fn hours_only(replicas: u32, manager: &str) -> Value {
        let hours = json!({"tidegate.dev/hours": "Mo-Fr 08:00-18:00", "tidegate.dev/timezone": "UTC"});
        let mut workload = workload("Deployment", "api", &hours);
        workload["spec"]["replicas"] = json!(replicas);
        workload["metadata"]["managedFields"] = json!([
            {"manager": "kubectl-create", "time": "2026-03-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": manager, "time": "2026-03-02T11:00:00Z", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "other", "time": "2026-03-02T12:00:00Z", "fieldsV1": {"f:spec": {"f:template": {}}}},
        ]);
        workload
    }

    /// A cluster in which this was adopted with three replicas.
    fn adopted_with_three() -> Objects {
        let mut objects = cluster([hours_only(3, "argocd")]);
        objects.apply(applied(&steps_of(&objects))).unwrap();
        objects
    }

    fn adopted(object: &Value) -> &Value {
        &object["metadata"]["annotations"]["tidegate.dev/adopted-replicas"]
    }

    #[test]
    fn a_number_that_somebody_sets_inside_hours_is_the_one_to_come_back_to() {
        let mut objects = adopted_with_three();
        objects.apply(hours_only(20, "argocd")).unwrap();
        let steps = steps_of(&objects);
        let object = applied(&steps);
        assert_eq!((adopted(&object), &object["spec"]["maxReplicaCount"]), (&json!("20"), &json!(20)));
        let [Notice::Adopted(20, by)] = &steps.notices.values().next().unwrap()[..] else { panic!("{steps:?}") };
        assert_eq!(by, "argocd");
        objects.apply(object).unwrap();
        assert_eq!(steps_of(&objects).steps, [], "and that is all");
    }

    #[test]
    fn what_the_hpa_and_keda_write_is_no_number_to_come_back_to() {
        let mut objects = adopted_with_three();
        for manager in ["keda", "keda-operator", "kube-controller-manager"] {
            for replicas in [0, 1, 20] {
                objects.apply(hours_only(replicas, manager)).unwrap();
                assert_eq!(steps_of(&objects).steps, [], "{manager} {replicas}");
            }
        }
    }

    #[test]
    fn a_number_that_somebody_sets_outside_hours_is_none_either() {
        let mut objects = adopted_with_three();
        objects.apply(hours_only(20, "argocd")).unwrap();
        assert_eq!(steps(&objects.plan(), &objects, &settings(), monday("19:00")).steps, []);
        objects.apply(hours_only(0, "kube-downscaler")).unwrap();
        assert_eq!(steps(&objects.plan(), &objects, &settings(), monday("08:01")).steps, [], "nor as they begin");
    }

    #[test]
    fn what_was_stopped_is_left_alone_until_somebody_starts_it() {
        let mut objects = cluster([hours_only(0, "kubectl")]);
        let first = steps_of(&objects);
        assert_eq!((first.steps.as_slice(), notices(&first)), ([].as_slice(), vec!["Stopped"]));
        objects.apply(hours_only(5, "kubectl")).unwrap();
        let started = applied(&steps_of(&objects));
        assert_eq!(adopted(&started), "5");
        objects.apply(started).unwrap();
        objects.apply(hours_only(0, "kubectl")).unwrap();
        let stopped = steps_of(&objects);
        assert_eq!((adopted(&applied(&stopped)), notices(&stopped)), (&json!("0"), vec!["Stopped", "Adopted"]));
    }

    #[test]
    fn what_another_release_has_made_is_neither_changed_nor_deleted() {
        let mut objects = cluster([annotated("Deployment")]);
        let mut theirs = applied(&steps_of(&objects));
        theirs["metadata"]["labels"]["tidegate.dev/release"] = json!("other.tidegate");
        theirs["spec"]["triggers"][0]["metadata"]["scalerAddress"] = json!("two:9090");
        objects.apply(theirs.clone()).unwrap();
        let steps = steps_of(&objects);
        assert_eq!((steps.steps.as_slice(), notices(&steps)), ([].as_slice(), vec!["OfAnotherRelease"]));
        objects.apply(workload("Deployment", "api", &json!({}))).unwrap();
        assert_eq!(steps_of(&objects).steps, []);
        theirs["metadata"]["labels"].as_object_mut().unwrap().remove("tidegate.dev/release");
        objects.apply(theirs).unwrap();
        assert_eq!(steps_of(&objects).steps.len(), 1, "one of an earlier version is ours");
    }

    #[test]
    fn without_annotations_the_scaled_object_is_deleted_by_its_uid() {
        let mut objects = cluster([annotated("Deployment")]);
        let mut object = applied(&steps_of(&objects));
        object["metadata"]["uid"] = json!("42");
        objects.apply(object).unwrap();
        objects.apply(workload("Deployment", "api", &json!({}))).unwrap();
        let delete = Step::Delete { namespace: "shop".to_owned(), name: "api".to_owned(), uid: "42".to_owned() };
        assert_eq!(steps_of(&objects).steps, [delete]);
    }

    #[test]
    fn a_bad_annotation_neither_changes_nor_deletes_what_is_there() {
        let mut objects = cluster([annotated("Deployment")]);
        objects.apply(applied(&steps_of(&objects))).unwrap();
        objects.apply(workload("Deployment", "api", &json!({"tidegate.dev/requests-per-second": "many"}))).unwrap();
        let steps = steps_of(&objects);
        assert_eq!((steps.steps.as_slice(), notices(&steps)), ([].as_slice(), vec!["InvalidAnnotations"]));
    }

    #[test]
    fn a_paused_workload_is_left_as_it_is() {
        let paused = json!({"tidegate.dev/requests-per-second": "100", "tidegate.dev/paused": "true"});
        let mut objects = cluster([annotated("Deployment")]);
        let mut theirs = applied(&steps_of(&objects));
        theirs["spec"]["maxReplicaCount"] = json!(99);
        objects.apply(theirs).unwrap();
        objects.apply(workload("Deployment", "api", &paused)).unwrap();
        let steps = steps_of(&objects);
        assert_eq!((steps.steps.as_slice(), notices(&steps)), ([].as_slice(), vec!["Paused"]));
    }

    #[test]
    fn what_somebody_else_scales_is_not_touched() {
        let hpa = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "theirs", "namespace": "shop"},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}}});
        let steps = steps_of(&cluster([annotated("Deployment"), hpa]));
        assert_eq!((steps.steps.as_slice(), notices(&steps)), ([].as_slice(), vec!["ScaledBySomethingElse"]));
    }

    #[test]
    fn a_scaled_object_of_somebody_else_that_has_the_name_is_not_taken_over() {
        let theirs = json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
            "metadata": {"name": "api", "namespace": "shop"}, "spec": {"scaleTargetRef": {"name": "another"}}});
        let steps = steps_of(&cluster([annotated("Deployment"), theirs]));
        assert_eq!((steps.steps.as_slice(), notices(&steps)), ([].as_slice(), vec!["NameTaken"]));
    }

    #[test]
    fn a_deployment_and_a_stateful_set_of_one_name_get_two_scaled_objects() {
        let steps = steps_of(&cluster([annotated("Deployment"), annotated("StatefulSet")]));
        let name = |step: &Step| match step {
            Step::Apply(id, object) => (id.kind, object["metadata"]["name"].clone()),
            Step::Delete { .. } => panic!("{step:?}"),
        };
        let names: Vec<_> = steps.steps.iter().map(name).collect();
        let wanted = [(WorkloadKind::Deployment, json!("api")), (WorkloadKind::StatefulSet, json!("api-statefulset"))];
        assert_eq!(names, wanted);
    }
}
