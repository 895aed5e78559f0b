use serde_json::json;
use tidegate_core::{plan::Plan, workload::WorkloadKind};

use super::*;

fn objects(all: impl IntoIterator<Item = Value>) -> Objects {
    let mut objects = Objects::default();
    for object in all {
        assert!(objects.apply(object).unwrap());
    }
    objects
}

fn api(adopt: Option<&str>) -> Value {
    let mut annotations = json!({"tidegate.dev/requests-per-second": "100"});
    if let Some(adopt) = adopt {
        annotations["tidegate.dev/adopt"] = json!(adopt);
    }
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "shop", "uid": "42", "annotations": annotations},
        "spec": {"template": {"metadata": {"labels": {"app": "api"}}}}})
}

fn hpa(name: &str, target: &str, owner: Option<&str>) -> Value {
    let owners: Vec<_> = owner
        .map(|name| json!({"kind": "ScaledObject", "name": name, "uid": "1", "controller": true}))
        .into_iter()
        .collect();
    json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": "shop", "ownerReferences": owners},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}}})
}

fn scaled_object(name: &str, target: &str) -> Value {
    json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": name, "namespace": "shop", "uid": "7"},
        "spec": {"scaleTargetRef": {"name": target}, "triggers": [{"type": "cron"}]}})
}

fn ours(mut object: Value, took_over: Option<&str>) -> Value {
    object["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "tidegate"});
    if let Some(scaler) = took_over {
        object["metadata"]["annotations"] = json!({TOOK_OVER: scaler});
    }
    object
}

fn id() -> WorkloadId {
    WorkloadId { namespace: "shop".to_owned(), kind: WorkloadKind::Deployment, name: "api".to_owned() }
}

fn found(all: impl IntoIterator<Item = Value>) -> Result<Option<Takeover>, String> {
    let objects = objects(all);
    let plan: Plan = objects.plan();
    let found = Takeovers::of(&objects).find(&id(), "api", &plan.workloads[&id()]);
    found.map_err(|notice| notice.to_string())
}

fn applied(takeover: &Takeover) -> Value {
    let mut object = json!({"metadata": {"name": "api", "annotations": {}}, "spec": {"advanced": {"horizontalPodAutoscalerConfig": {}}}});
    takeover.apply_to(&mut object);
    object
}

#[test]
fn an_hpa_that_scales_the_workload_is_handed_over_by_its_name() {
    let takeover = found([api(Some("hpa/theirs")), hpa("theirs", "api", None)]).unwrap().unwrap();
    let theirs = ForeignScaler { kind: Kind::HorizontalPodAutoscaler, name: "theirs".to_owned() };
    assert!(takeover.is_of(&theirs) && !takeover.is_of(&ForeignScaler { name: "another".to_owned(), ..theirs }));
    let object = applied(&takeover);
    assert_eq!(object["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"], "theirs");
    let annotations = json!({"scaledobject.keda.sh/transfer-hpa-ownership": "true", TOOK_OVER: "hpa/theirs"});
    assert_eq!((&object["metadata"]["name"], &object["metadata"]["annotations"]), (&json!("api"), &annotations));
    assert!(takeover.notice().unwrap().to_string().starts_with("hpa/theirs is Tidegate's from now on"));
}

#[test]
fn without_the_annotation_nothing_is_taken_over() {
    assert_eq!(found([api(None), hpa("theirs", "api", None), scaled_object("theirs", "api")]), Ok(None));
}

#[test]
fn what_was_taken_over_keeps_its_names_when_the_annotation_is_gone() {
    let mut object = ours(scaled_object("api", "api"), Some("hpa/theirs"));
    object["spec"]["advanced"] = json!({"horizontalPodAutoscalerConfig": {"name": "theirs"}});
    for adopt in [None, Some("hpa/theirs"), Some("hpa/another")] {
        let takeover = found([api(adopt), object.clone()]).unwrap().unwrap();
        assert_eq!((takeover.hpa.as_deref(), takeover.notice()), (Some("theirs"), None), "{adopt:?}");
    }
    let takeover =
        found([api(None), ours(scaled_object("legacy", "api"), Some("scaledobject/legacy"))]).unwrap().unwrap();
    assert_eq!(takeover.name(), Some("legacy"));
}

#[test]
fn a_scaled_object_keeps_its_own_name_and_that_of_its_hpa() {
    let mut theirs = scaled_object("legacy", "api");
    theirs["spec"]["advanced"] = json!({"horizontalPodAutoscalerConfig": {"name": "legacy-hpa"}});
    let takeover = found([api(Some("scaledobject/legacy")), theirs]).unwrap().unwrap();
    let object = applied(&takeover);
    assert_eq!(object["metadata"]["name"], "legacy");
    assert_eq!(object["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"], "legacy-hpa");
    assert_eq!(object["metadata"]["annotations"], json!({TOOK_OVER: "scaledobject/legacy"}));
}

#[test]
fn what_cannot_be_taken_over_without_a_gap_is_refused_with_the_reason_and_the_command() {
    let owned = |mut object: Value| {
        object["metadata"]["ownerReferences"] = json!([{"kind": "InferenceService", "name": "llm", "uid": "3"}]);
        object
    };
    let paused = |mut object: Value| {
        object["metadata"]["annotations"] = json!({"autoscaling.keda.sh/paused": "true"});
        object
    };
    for (adopt, all, why) in [
        ("hpa/theirs", vec![hpa("theirs", "web", None)], "hpa/theirs scales Deployment web, not this workload"),
        (
            "hpa/keda-hpa-x",
            vec![hpa("keda-hpa-x", "api", Some("x")), scaled_object("x", "api")],
            "KEDA made hpa/keda-hpa-x for ScaledObject x: write tidegate.dev/adopt: scaledobject/x",
        ),
        (
            "hpa/theirs",
            vec![hpa("theirs", "api", None), ours(scaled_object("api", "api"), None)],
            "run `kubectl delete hpa theirs -n shop`",
        ),
        ("scaledobject/x", vec![scaled_object("x", "web")], "scaledobject/x scales  web, not this workload"),
        ("scaledobject/x", vec![owned(scaled_object("x", "api"))], "belongs to InferenceService llm"),
        (
            "scaledobject/x",
            vec![paused(scaled_object("x", "api"))],
            "`kubectl annotate scaledobject x -n shop autoscaling.keda.sh/paused-`",
        ),
        (
            "scaledobject/x",
            vec![scaled_object("x", "api"), ours(scaled_object("api", "api"), None)],
            "run `kubectl delete scaledobject x -n shop`",
        ),
    ] {
        let refused = found(all.into_iter().chain([api(Some(adopt))])).unwrap_err();
        assert!(refused.starts_with("tidegate.dev/adopt: ") && refused.contains(why), "{refused}");
    }
}

#[test]
fn what_has_a_scaled_object_of_tidegate_already_has_nothing_to_take_over() {
    for adopt in ["hpa/gone", "hpa/keda-hpa-api", "scaledobject/gone", "scaledobject/api"] {
        let all = [api(Some(adopt)), ours(scaled_object("api", "api"), None), hpa("keda-hpa-api", "api", Some("api"))];
        assert_eq!(found(all), Ok(None), "{adopt}");
    }
}

#[test]
fn a_scaler_that_is_not_there_yet_gets_the_name_that_it_is_to_have() {
    assert_eq!(found([api(Some("hpa/later"))]).unwrap().unwrap().hpa.as_deref(), Some("later"));
    assert_eq!(found([api(Some("scaledobject/later"))]).unwrap().unwrap().name(), Some("later"));
}

#[test]
fn fields_of_the_other_owner_are_removed_by_the_same_patch() {
    let mut theirs = scaled_object("api", "api");
    theirs["spec"]["idleReplicaCount"] = json!(0);
    theirs["spec"]["fallback"] = json!({"replicas": 3});
    theirs["spec"]["advanced"] =
        json!({"scalingModifiers": {"formula": "a + b"}, "horizontalPodAutoscalerConfig": {"behavior": {}}});
    let objects = objects([theirs]);
    let existing = objects.scaled_object("shop", "api").unwrap();
    let wanted = json!({"metadata": {"name": "api"}, "spec": {"scaleTargetRef": {"name": "api"}, "minReplicaCount": 1,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": {}}}}, "triggers": [{"type": "external-push"}]}});
    let mut expected = wanted.clone();
    expected["metadata"]["uid"] = json!("7");
    expected["spec"]["idleReplicaCount"] = Value::Null;
    expected["spec"]["fallback"] = Value::Null;
    expected["spec"]["advanced"]["scalingModifiers"] = Value::Null;
    assert_eq!(merge_patch(existing, wanted.clone()), expected);
    let mut patched = existing.spec();
    patch(&mut patched, &merge_patch(existing, wanted.clone())["spec"]);
    assert_eq!(patched, wanted["spec"], "the whole object, as `render` prints it");
}

/// Applies a JSON merge patch (RFC 7386).
fn patch(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            self::patch(&mut target[key], value);
        }
    }
}
