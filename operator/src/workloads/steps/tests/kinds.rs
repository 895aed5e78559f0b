//! Workloads of several kinds.

use super::*;

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
