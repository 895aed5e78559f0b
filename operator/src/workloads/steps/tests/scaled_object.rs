//! The ScaledObject of a workload: applied, kept, and deleted.

use super::*;

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
