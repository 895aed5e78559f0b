//! Scalers of somebody else: left alone, paused, or taken over.

use super::*;

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
