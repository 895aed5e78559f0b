//! From what should be and what there is to what has to be written: a pure function of the Plan and the objects.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tidegate_core::{
    plan::{ADOPTED_REPLICAS, Plan, PlannedWorkload},
    workload::{WorkloadId, WorkloadKind},
};

use super::{
    drift::holds,
    ledger::{Entries, Entry},
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
    /// Has KEDA give a workload that sleeps so many replicas, before its ScaledObject is deleted
    GiveBack { namespace: String, name: String, replicas: u32 },
    /// Has KEDA go on with one that was to be deleted
    Resume { namespace: String, name: String },
}

/// KEDA scales to this number, and does nothing from then on.
pub(super) const PAUSED_REPLICAS: &str = "autoscaling.keda.sh/paused-replicas";
/// Marks that it was Tidegate that paused it.
pub(super) const GIVING_BACK: &str = "tidegate.dev/giving-back";

/// What is to be written, and what is to be said.
#[derive(Debug, Default)]
pub(super) struct Steps {
    pub(super) steps: Vec<Step>,
    /// What is to be kept of what workloads had
    pub(super) had: Entries,
    pub(super) notices: BTreeMap<WorkloadId, Vec<Notice>>,
}

/// `had` is what is kept of what workloads had when they were found.
pub(super) fn steps(plan: &Plan, objects: &Objects, settings: &Settings, had: &Entries, now: DateTime<Utc>) -> Steps {
    let mut todo = Steps { had: still_there(had, objects), ..Steps::default() };
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
        let workload: &PlannedWorkload = &remembered(workload, existing, had.get(id), objects.workload(id));
        let by_hand = existing.and_then(|_| set_by_hand(workload, &objects.workload(id)?, now));
        let by_them =
            by_hand.as_ref().map(|(replicas, _)| PlannedWorkload { adopted: Some(*replicas), ..workload.clone() });
        let workload = by_them.as_ref().unwrap_or(workload);
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
            if let Some(ScaledObject { metadata, .. }) = existing.filter(|existing| is_given_back(existing)) {
                let (namespace, name) = (metadata.namespace.clone(), metadata.name.clone());
                todo.steps.push(Step::Resume { namespace, name });
            }
            todo.steps.push(Step::Apply(id.clone(), object));
        }
        if let (Some(state), Ok(_)) = (objects.workload(id), &workload.intent) {
            let before = had.get(id).filter(|entry| entry.uid == state.uid).map(|entry| entry.replicas);
            // Where traffic decides, what it had when it was found is what it is given back, if it is at zero then.
            let replicas = workload.adopted.or(before).unwrap_or(state.replicas.wanted);
            if replicas > 0 && !state.uid.is_empty() {
                todo.had.insert(id.clone(), Entry { replicas, uid: state.uid.to_owned() });
            }
        }
        todo.notices.insert(id.clone(), notices);
        kept.insert((id.namespace.as_str(), name));
    }
    let ours =
        objects.scaled_objects().filter(|object| object.is_tidegates() && of_another(object, settings).is_none());
    for object in ours {
        if !kept.contains(&(object.metadata.namespace.as_str(), object.metadata.name.clone())) {
            remove(object, objects, had, &mut todo);
        }
    }
    todo
}

/// One whose workload is no longer Tidegate's. What sleeps gets back first what it had.
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
            // Where traffic decides, whatever it has now is right, if that is not nothing.
            None if wanted == 0 => found.unwrap_or(1).max(1),
            None => wanted,
        };
        if wanted < replicas {
            todo.notices.entry(id.clone()).or_default().push(Notice::GivesBack(replicas));
            if annotations.get(PAUSED_REPLICAS) != Some(&replicas.to_string()) {
                todo.steps.push(Step::GiveBack { namespace, name, replicas });
            }
            return;
        }
        todo.had.remove(&id);
    }
    todo.steps.push(Step::Delete { namespace, name, uid });
}

fn is_given_back(existing: &ScaledObject) -> bool {
    existing.metadata.annotations.contains_key(GIVING_BACK)
}

/// What is kept of workloads in namespaces that are still there. A workload may come back: from a backup, or by another way.
fn still_there(had: &Entries, objects: &Objects) -> Entries {
    let there = |id: &WorkloadId| objects.may_have_namespace(&id.namespace);
    had.iter().filter(|(id, _)| there(id)).map(|(id, entry)| (id.clone(), entry.clone())).collect()
}

/// A workload with what is kept of it, where its ScaledObject does not say what it had.
fn remembered<'a>(
    workload: &'a PlannedWorkload,
    existing: Option<&ScaledObject>,
    entry: Option<&Entry>,
    state: Option<WorkloadState<'_>>,
) -> Cow<'a, PlannedWorkload> {
    let says = existing.is_some_and(|existing| existing.metadata.annotations.contains_key(ADOPTED_REPLICAS));
    let Some((_, state)) = workload.adopted.filter(|_| !says).zip(state) else { return Cow::Borrowed(workload) };
    // Of another workload of that name it only counts while this one sleeps.
    let kept = entry.filter(|entry| entry.uid == state.uid || state.replicas.wanted == 0).map(|entry| entry.replicas);
    // What put it to sleep before may have kept its number in its own way.
    let by_others = state.annotations.get(DOWNSCALERS).and_then(|replicas| replicas.parse().ok());
    match kept.or(by_others.filter(|_| state.replicas.wanted == 0)) {
        Some(replicas) => Cow::Owned(PlannedWorkload { adopted: Some(replicas), ..workload.clone() }),
        None => Cow::Borrowed(workload),
    }
}

/// Where kube-downscaler and GoKubeDownscaler keep what a workload had.
const DOWNSCALERS: &str = "downscaler/original-replicas";

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
    if is_given_back(existing) {
        return false;
    }
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
        steps(&objects.plan(), objects, &settings(), &Entries::new(), monday("12:00"))
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
        assert_eq!(steps(&objects.plan(), &objects, &settings(), &Entries::new(), monday("19:00")).steps, []);
        objects.apply(hours_only(0, "kube-downscaler")).unwrap();
        assert_eq!(
            steps(&objects.plan(), &objects, &settings(), &Entries::new(), monday("08:01")).steps,
            [],
            "nor as they begin"
        );
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

    /// Outside hours, with what is kept of what workloads had.
    fn at_night(objects: &Objects, had: &Entries) -> Steps {
        steps(&objects.plan(), objects, &settings(), had, monday("22:00"))
    }

    fn had(replicas: u32, uid: &str) -> Entries {
        let id = WorkloadId { namespace: "shop".to_owned(), kind: WorkloadKind::Deployment, name: "api".to_owned() };
        Entries::from([(id, Entry { replicas, uid: uid.to_owned() })])
    }

    #[test]
    fn what_a_workload_had_is_kept_before_anything_is_put_to_sleep() {
        let objects = cluster([hours_only(3, "kubectl")]);
        assert_eq!(at_night(&objects, &Entries::new()).had, had(3, "uid-of-api"));
        let bad = workload("Deployment", "api", &json!({"tidegate.dev/hours": "Mo-Fr"}));
        assert_eq!(at_night(&cluster([bad]), &had(3, "uid-of-api")).had, had(3, "uid-of-api"), "whatever goes wrong");
    }

    #[test]
    fn a_scaled_object_that_is_deleted_at_night_is_made_anew_with_the_number_that_was_kept() {
        let objects = cluster([hours_only(0, "keda")]);
        assert_eq!(adopted(&applied(&at_night(&objects, &had(12, "uid-of-api")))), "12");
        assert_eq!(adopted(&applied(&at_night(&objects, &had(12, "of-one-that-was-restored")))), "12");
        let by_day = cluster([hours_only(5, "kubectl")]);
        assert_eq!(
            adopted(&applied(&steps(&by_day.plan(), &by_day, &settings(), &had(12, "of-another"), monday("12:00")))),
            "5"
        );
    }

    #[test]
    fn what_kube_downscaler_has_put_to_sleep_wakes_with_the_number_that_that_one_kept() {
        let mut asleep = hours_only(0, "kube-downscaler");
        asleep["metadata"]["annotations"]["downscaler/original-replicas"] = json!("7");
        assert_eq!(adopted(&applied(&at_night(&cluster([asleep]), &Entries::new()))), "7");
    }

    #[test]
    fn a_workload_whose_annotations_are_taken_off_while_it_sleeps_gets_back_what_it_had() {
        let mut objects = adopted_with_three();
        let asleep = |replicas: u32| {
            let mut workload = workload("Deployment", "api", &json!({}));
            workload["spec"]["replicas"] = json!(replicas);
            workload
        };
        objects.apply(asleep(0)).unwrap();
        let steps = at_night(&objects, &had(3, "uid-of-api"));
        let back = Step::GiveBack { namespace: "shop".to_owned(), name: "api".to_owned(), replicas: 3 };
        assert_eq!((steps.steps.as_slice(), notices(&steps)), ([back].as_slice(), vec!["GivesBack"]));
        assert_eq!(steps.had, had(3, "uid-of-api"), "and it is kept until it has them");
        objects.apply(asleep(3)).unwrap();
        let steps = at_night(&objects, &had(3, "uid-of-api"));
        assert!(matches!(&steps.steps[..], [Step::Delete { .. }]), "{steps:?}");
        assert!(steps.had.is_empty());
    }

    #[test]
    fn annotations_that_come_back_meanwhile_have_keda_go_on() {
        let mut objects = adopted_with_three();
        let mut paused = serde_json::to_value(applied(&steps_of(&cluster([hours_only(3, "argocd")])))).unwrap();
        paused["metadata"]["annotations"][PAUSED_REPLICAS] = json!("3");
        paused["metadata"]["annotations"][GIVING_BACK] = json!("true");
        objects.apply(paused).unwrap();
        let steps = steps_of(&objects).steps;
        assert!(matches!(&steps[..], [Step::Resume { .. }, Step::Apply(..)]), "{steps:?}");
    }

    #[test]
    fn what_traffic_scales_keeps_what_it_has_and_gets_what_it_had_only_from_zero() {
        for (replicas, gets) in [(7, None), (0, Some(4))] {
            let mut objects = cluster([annotated("Deployment")]);
            objects.apply(applied(&steps_of(&objects))).unwrap();
            let mut bare = workload("Deployment", "api", &json!({}));
            bare["spec"]["replicas"] = json!(replicas);
            objects.apply(bare).unwrap();
            let steps = at_night(&objects, &had(4, "uid-of-api")).steps;
            let back =
                gets.map(|replicas| Step::GiveBack { namespace: "shop".to_owned(), name: "api".to_owned(), replicas });
            match back {
                Some(back) => assert_eq!(steps, [back]),
                None => assert!(matches!(&steps[..], [Step::Delete { .. }]), "{steps:?}"),
            }
        }
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
            _ => panic!("{step:?}"),
        };
        let names: Vec<_> = steps.steps.iter().map(name).collect();
        let wanted = [(WorkloadKind::Deployment, json!("api")), (WorkloadKind::StatefulSet, json!("api-statefulset"))];
        assert_eq!(names, wanted);
    }
}
