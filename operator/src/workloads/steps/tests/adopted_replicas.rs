//! The replicas that a workload had, and gets back.

use super::*;

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
