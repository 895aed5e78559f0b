use serde_json::json;
use tidegate_cluster::scaling::ScalerEndpoint;
use tidegate_core::workload::WorkloadKind;

use super::*;

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

/// The applied object, as the API server keeps it.
fn applied(steps: &Steps) -> Value {
    let [Step::Apply(_, object)] = &steps.steps[..] else { panic!("{steps:?}") };
    object.parsed()
}

fn notices(steps: &Steps) -> Vec<&'static str> {
    steps.notices.values().flatten().map(|notice| notice.reason().as_str()).collect()
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
fn a_recreated_workload_gets_its_own_owner_reference() {
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

/// A workload with nothing but hours, with replicas that this field manager wrote.
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

/// A cluster in which such a workload was adopted with three replicas.
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
    let [WorkloadNotice::Adopted(20, by)] = &steps.notices.values().next().unwrap()[..] else { panic!("{steps:?}") };
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

/// The steps outside hours, with the replicas of workloads that are kept.
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
fn a_scaled_object_that_is_deleted_at_night_is_recreated_with_the_number_that_was_kept() {
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
    assert_eq!(notices(&steps), ["InvalidAnnotations"]);
    let [Step::Report { problem: Some(problem), .. }] = &steps.steps[..] else { panic!("{steps:?}") };
    assert!(problem.starts_with("InvalidAnnotations: tidegate.dev/requests-per-second: got \"many\""), "{problem}");
}

#[test]
fn what_is_wrong_stands_on_the_scaled_object_for_as_long_as_it_is_wrong() {
    let mut objects = cluster([annotated("Deployment")]);
    let right = applied(&steps_of(&objects));
    let saying = |problem: &str| {
        let mut object = right.clone();
        object["metadata"]["annotations"]["tidegate.dev/problem"] = json!(problem);
        object
    };
    objects.apply(saying("InvalidAnnotations: of yesterday")).unwrap();
    let report = Step::Report { namespace: "shop".to_owned(), name: "api".to_owned(), problem: None };
    assert_eq!(steps_of(&objects).steps, [report]);
    objects.apply(workload("Deployment", "api", &json!({"tidegate.dev/min-replicas": "many"}))).unwrap();
    let [Step::Report { problem: Some(problem), .. }] = &steps_of(&objects).steps[..] else { panic!() };
    objects.apply(saying(problem)).unwrap();
    assert_eq!(steps_of(&objects).steps, [], "once");
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
        Step::Apply(id, object) => (id.kind, object.parsed()["metadata"]["name"].clone()),
        _ => panic!("{step:?}"),
    };
    let names: Vec<_> = steps.steps.iter().map(name).collect();
    let wanted = [(WorkloadKind::Deployment, json!("api")), (WorkloadKind::StatefulSet, json!("api-statefulset"))];
    assert_eq!(names, wanted);
}

fn theirs(kind: &str) -> Value {
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"});
    let api_version = if kind == "ScaledObject" { "keda.sh/v1alpha1" } else { "autoscaling/v2" };
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "theirs", "namespace": "shop"},
        "spec": {"scaleTargetRef": target, "triggers": []}})
}

#[test]
fn one_that_asks_for_hours_alone_is_paused_with_its_own_scaled_object_and_gets_no_second_one() {
    let hours = json!({"tidegate.dev/hours": "Mo-Fr 08:00-18:00", "tidegate.dev/timezone": "UTC"});
    let sleeps = workload("Deployment", "api", &hours);
    let steps = steps_of(&cluster([sleeps.clone(), theirs("ScaledObject")]));
    assert_eq!((steps.steps.as_slice(), notices(&steps)), ([].as_slice(), vec![]));
    let steps = steps_of(&cluster([sleeps, theirs("HorizontalPodAutoscaler")]));
    assert_eq!((steps.steps.as_slice(), notices(&steps)), ([].as_slice(), vec!["ScaledBySomethingElse"]));
}

/// The workload with traffic, which asks to take this scaler over.
fn adopting(scaler: &str) -> Value {
    workload("Deployment", "api", &json!({"tidegate.dev/requests-per-second": "100", "tidegate.dev/adopt": scaler}))
}

#[test]
fn an_hpa_is_taken_over_in_one_step_and_then_nothing_more_happens() {
    let mut objects = cluster([adopting("hpa/theirs"), theirs("HorizontalPodAutoscaler")]);
    let first = steps_of(&objects);
    let object = applied(&first);
    assert_eq!(object["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"], "theirs");
    assert_eq!(notices(&first), ["NoRoute", "TookOver"]);
    objects.apply(object).unwrap();
    let then = steps_of(&objects);
    assert_eq!((then.steps.as_slice(), notices(&then)), ([].as_slice(), vec!["NoRoute"]), "KEDA has not owned it yet");
    objects.apply(annotated("Deployment")).unwrap();
    let applied = applied(&steps_of(&objects));
    assert_eq!(
        applied["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"], "theirs",
        "also without the annotation"
    );
}

#[test]
fn an_hpa_of_another_name_stays_refused_with_the_annotation_to_write() {
    let steps = steps_of(&cluster([adopting("hpa/another"), theirs("HorizontalPodAutoscaler")]));
    let [notice] = &steps.notices.values().next().unwrap()[..] else { panic!("{steps:?}") };
    assert!(notice.to_string().contains("tidegate.dev/adopt: hpa/theirs"), "{notice}");
    assert_eq!(steps.steps, []);
}

#[test]
fn a_scaled_object_is_taken_over_in_place_and_given_up_without_touching_the_replicas() {
    let mut objects = cluster([adopting("scaledobject/theirs"), theirs("ScaledObject")]);
    let first = steps_of(&objects);
    let [Step::TakeOver(_, patch)] = &first.steps[..] else { panic!("{first:?}") };
    let mut patched = patch.parsed();
    assert_eq!(
        (&patched["metadata"]["name"], &patched["spec"]["triggers"][0]["type"]),
        (&json!("theirs"), &json!("external-push"))
    );
    assert_eq!(notices(&first), ["NoRoute", "TookOver"]);
    patched["apiVersion"] = json!("keda.sh/v1alpha1");
    objects.apply(patched).unwrap();
    assert_eq!(steps_of(&objects).steps, []);
    objects.apply(annotated("Deployment")).unwrap();
    assert_eq!(applied(&steps_of(&objects))["metadata"]["name"], "theirs", "no second one without the annotation");
    objects.apply(workload("Deployment", "api", &json!({}))).unwrap();
    let steps = steps_of(&objects).steps;
    assert!(matches!(&steps[..], [Step::Delete { name, .. }] if name == "theirs"), "{steps:?}");
}

#[test]
fn a_scaled_object_that_was_taken_over_is_not_the_one_of_the_workload_that_has_its_name() {
    let mut objects = cluster([adopting("scaledobject/theirs"), theirs("ScaledObject")]);
    let steps = steps_of(&objects);
    let [Step::TakeOver(_, patch)] = &steps.steps[..] else { panic!("{steps:?}") };
    objects.apply(patch.parsed()).unwrap();
    objects.apply(workload("Deployment", "theirs", &json!({"tidegate.dev/requests-per-second": "1"}))).unwrap();
    let steps = steps_of(&objects);
    assert_eq!((steps.steps.as_slice(), notices(&steps)), ([].as_slice(), vec!["NoRoute", "NameTaken"]));
}

#[test]
fn one_that_asks_for_hours_and_a_takeover_is_not_paused() {
    let hours = json!({"tidegate.dev/hours": "Mo-Fr 08:00-18:00", "tidegate.dev/timezone": "UTC",
        "tidegate.dev/adopt": "scaledobject/theirs"});
    let steps = steps_of(&cluster([workload("Deployment", "api", &hours), theirs("ScaledObject")]));
    assert!(matches!(&steps.steps[..], [Step::TakeOver(..)]), "{steps:?}");
}

#[test]
fn paused_is_the_way_out_for_one_that_keeps_its_own_autoscaler() {
    let paused =
        workload("Deployment", "api", &json!({"tidegate.dev/requests-per-second": "1", "tidegate.dev/paused": "true"}));
    for kind in ["ScaledObject", "HorizontalPodAutoscaler"] {
        let steps = steps_of(&cluster([paused.clone(), theirs(kind)]));
        assert_eq!((steps.steps.as_slice(), notices(&steps)), ([].as_slice(), vec!["Paused"]));
    }
}

#[test]
fn the_annotations_that_were_applied_stand_on_the_scaled_object() {
    let object = applied(&steps_of(&cluster([annotated("Deployment")])));
    let kept = &object["metadata"]["annotations"]["tidegate.dev/applied"];
    assert_eq!(kept, r#"{"tidegate.dev/requests-per-second":"100"}"#);
}

#[test]
fn a_mistake_in_what_a_namespace_has_managed_releases_nobody_and_adopts_nobody() {
    let namespace = |annotations: Value| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "annotations": annotations}});
    let managed = |manage: &str, hours: &str| {
        namespace(json!({"tidegate.dev/manage": manage, hours: "Mo-Fr 08:00-18:00", "tidegate.dev/timezone": "UTC"}))
    };
    let mut objects = cluster([managed("all", "tidegate.dev/hours"), workload("Deployment", "api", &json!({}))]);
    objects.apply(applied(&steps_of(&objects))).unwrap();
    objects.apply(workload("Deployment", "new", &json!({}))).unwrap();
    for mistake in [managed("all,cronjob", "tidegate.dev/hours"), managed("all", "tidegate.dev/hour")] {
        objects.apply(mistake).unwrap();
        let steps = steps_of(&objects);
        assert!(matches!(steps.steps[..], [Step::Report { .. }]), "{steps:?}");
        assert_eq!(notices(&steps), ["InvalidAnnotations"]);
        assert!(objects.plan().workloads.values().all(|workload| workload.schedule.is_some()), "its hours go on");
    }
    objects.apply(namespace(json!({}))).unwrap();
    assert!(matches!(steps_of(&objects).steps[..], [Step::Delete { .. }]), "and a farewell is one");
}

fn rollout() -> Value {
    let mut rollout = annotated("Rollout");
    rollout["apiVersion"] = json!("argoproj.io/v1alpha1");
    rollout
}

#[test]
fn the_scaled_object_of_a_rollout_names_its_group_and_version() {
    let mut objects = cluster([rollout()]);
    let object = applied(&steps_of(&objects));
    let target = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "api"});
    assert_eq!(object["spec"]["scaleTargetRef"], target);
    assert_eq!(object["metadata"]["ownerReferences"][0]["apiVersion"], "argoproj.io/v1alpha1");
    assert_eq!(object["spec"]["triggers"][0]["metadata"]["workload"], "rollout/api");
    objects.apply(object).unwrap();
    assert_eq!(steps_of(&objects).steps, []);
}

#[test]
fn a_rollout_takes_over_the_scaled_object_of_the_deployment_whose_name_and_template_it_has() {
    let mut objects = cluster([annotated("Deployment")]);
    objects.apply(applied(&steps_of(&objects))).unwrap();
    let mut rollout = rollout();
    rollout["spec"] =
        json!({"replicas": 3, "workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}});
    objects.apply(rollout).unwrap();
    let steps = steps_of(&objects);
    let object = applied(&steps);
    assert_eq!(
        (&object["metadata"]["name"], &object["spec"]["scaleTargetRef"]["kind"]),
        (&json!("api"), &json!("Rollout"))
    );
    assert_eq!(notices(&steps), ["InvalidAnnotations", "NoRoute"], "the Deployment's annotations are a mistake now");
    objects.apply(object).unwrap();
    assert_eq!(steps_of(&objects).steps, []);
}

#[test]
fn an_autoscaler_of_somebody_else_on_a_rollout_is_in_the_way() {
    let hpa = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "theirs", "namespace": "shop"},
        "spec": {"scaleTargetRef": {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "api"}}});
    assert_eq!(notices(&steps_of(&cluster([rollout(), hpa.clone()]))), ["ScaledBySomethingElse"]);
    assert_eq!(notices(&steps_of(&cluster([annotated("Deployment"), hpa]))), ["NoRoute"], "it is on another kind");
}

#[test]
fn the_scaled_object_of_a_kind_that_is_not_watched_any_more_is_left_alone() {
    let object = applied(&steps_of(&cluster([rollout()])));
    let mut objects = cluster([object.clone()]);
    assert!(matches!(steps_of(&objects).steps[..], [Step::Delete { .. }]), "its workload is gone");
    objects.set_scaled_kinds(&[]);
    assert_eq!(steps_of(&objects).steps, []);
    let mut unknown = object;
    unknown["spec"]["scaleTargetRef"]["kind"] = json!("Other");
    assert_eq!(steps_of(&cluster([unknown])).steps, []);
}
