//! From any kind with replicas to the shape of a Deployment, which is the one that is read.

use serde_json::{Map, Value, json};
use tidegate_core::workload::WorkloadKind;

/// The label with the LeaderWorkerSet's name that its controller puts on all its pods, and that of a pod's number in its group.
const LWS_NAME: &str = "leaderworkerset.sigs.k8s.io/name";
const LWS_WORKER: &str = "leaderworkerset.sigs.k8s.io/worker-index";

/// Fields of a status in which kinds keep their selector as a string: `app=api,tier=web`.
const SELECTORS: [&str; 3] = ["/status/selector", "/status/labelSelector", "/status/hpaPodSelector"];

/// The object with its replicas, template and selector where a Deployment has them.
pub(crate) fn shape(kind: WorkloadKind, name: &str, object: Value) -> Value {
    match kind {
        WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::CloneSet | WorkloadKind::ReplicaSet => {
            object
        }
        WorkloadKind::Rollout => rollout(object),
        WorkloadKind::LeaderWorkerSet => leader_worker_set(name, object),
        WorkloadKind::Custom(_) => custom(&object),
    }
}

/// An Argo Rollout has a Deployment's fields. Its pods may come from the template of a Deployment, and their hashes are in its status
/// (`RolloutStatus` in `pkg/apis/rollouts/v1alpha1/types.go`).
fn rollout(mut object: Value) -> Value {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str);
    let refers = text("/spec/workloadRef/kind") == Some("Deployment");
    let deployment = text("/spec/workloadRef/name").filter(|_| refers).map(str::to_owned);
    let hashes =
        ["/status/stableRS", "/status/currentPodHash"].into_iter().filter_map(text).filter(|hash| !hash.is_empty());
    let pods = json!({ "deployment": deployment, "hashes": hashes.collect::<Vec<_>>() });
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("rolloutPods".to_owned(), pods);
    }
    object
}

/// The pods of a LeaderWorkerSet that Services select, and the HPA counts, are those of the leaders. The workers' template is
/// theirs too where they have none.
fn leader_worker_set(name: &str, mut object: Value) -> Value {
    let template = |which: &str| object.pointer(&format!("/spec/leaderWorkerTemplate/{which}")).cloned();
    let mut template = template("leaderTemplate").or_else(|| template("workerTemplate")).unwrap_or_else(|| json!({}));
    let leaders = json!({ LWS_NAME: name, LWS_WORKER: "0" });
    if let Some(labels) = labels_of(&mut template) {
        labels.extend(leaders.as_object().cloned().unwrap_or_default());
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("template".to_owned(), template);
        spec.insert("selector".to_owned(), json!({ "matchLabels": leaders }));
    }
    object
}

/// The labels of a pod template, made where there are none; `None` where something else stands in their place, which is refused
/// when the object is read.
fn labels_of(template: &mut Value) -> Option<&mut Map<String, Value>> {
    let metadata = template.as_object_mut()?.entry("metadata").or_insert_with(|| json!({}));
    metadata.as_object_mut()?.entry("labels").or_insert_with(|| json!({})).as_object_mut()
}

/// A custom kind: only what has the form that Kubernetes' own kinds have is taken, so that nothing else in it makes it unreadable.
/// What it does not have is null.
fn custom(object: &Value) -> Value {
    let number = |path: &str| object.pointer(path).filter(|value| value.is_u64());
    let labels = |path: &str| {
        object.pointer(path).filter(|value| value.as_object().is_some_and(|map| map.values().all(Value::is_string)))
    };
    let selector = labels("/spec/selector/matchLabels")
        .cloned()
        .or_else(|| SELECTORS.iter().find_map(|path| selector_at(object, path)));
    let template = labels("/spec/template/metadata/labels").cloned().or_else(|| selector.clone());
    let containers = object.pointer("/spec/template/spec/containers").filter(|value| value.is_array());
    let ready = number("/status/readyReplicas").or_else(|| number("/status/availableReplicas"));
    json!({
        "metadata": object.get("metadata"),
        "spec": {
            "selector": { "matchLabels": selector },
            "template": { "metadata": { "labels": template }, "spec": { "containers": containers } },
            "replicas": number("/spec/replicas"),
        },
        // Where nothing says how many pods there are, there may be some.
        "status": { "replicas": number("/status/replicas").or_else(|| number("/spec/replicas")).unwrap_or(&json!(1)), "readyReplicas": ready },
    })
}

/// The labels of a selector in the form of a string. One with anything else than `LABEL=VALUE` is none that could be used here.
fn selector_at(object: &Value, path: &str) -> Option<Value> {
    let text = object.pointer(path)?.as_str()?;
    let pairs = text.split(',').map(|pair| pair.split_once('=').filter(|(key, _)| !key.ends_with('!')));
    let pairs: Option<Map<_, _>> = pairs
        .map(|pair| pair.map(|(key, value)| (key.to_owned(), Value::from(value.trim_start_matches('=')))))
        .collect();
    pairs.map(Value::Object)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{table::normalize, views::Workload};

    fn read(kind: WorkloadKind, object: Value) -> Workload {
        let mut shaped = shape(kind, "a", object);
        normalize(&mut shaped);
        serde_json::from_value(shaped).unwrap()
    }

    fn labels(workload: &Workload) -> Vec<(&str, &str)> {
        workload.pod_labels().iter().collect()
    }

    #[test]
    fn leaders_stand_for_a_leader_worker_set() {
        let template = |role: &str| json!({"metadata": {"labels": {"role": role}}, "spec": {"containers": []}});
        let both = json!({"metadata": {}, "spec": {"replicas": 2, "leaderWorkerTemplate": {"leaderTemplate": template("leader"),
            "workerTemplate": template("worker"), "size": 4}}, "status": {"readyReplicas": 1, "replicas": 2}});
        let set = read(WorkloadKind::LeaderWorkerSet, both);
        assert_eq!(labels(&set), [(LWS_NAME, "a"), (LWS_WORKER, "0"), ("role", "leader")]);
        assert_eq!((set.replicas().wanted, set.replicas().ready), (2, 1));
        let workers =
            json!({"metadata": {}, "spec": {"leaderWorkerTemplate": {"workerTemplate": {"spec": {"containers": []}}}}});
        assert_eq!(labels(&read(WorkloadKind::LeaderWorkerSet, workers)), [(LWS_NAME, "a"), (LWS_WORKER, "0")]);
    }

    #[test]
    fn the_pods_of_a_rollout_have_its_hashes() {
        let rollout = read(
            WorkloadKind::Rollout,
            json!({"metadata": {}, "spec": {"workloadRef": {"kind": "Deployment", "name": "api"}},
            "status": {"stableRS": "5f", "currentPodHash": "7c"}}),
        );
        assert_eq!(rollout.referenced_deployment(), Some("api"));
        assert!(rollout.may_have_hash("5f") && rollout.may_have_hash("7c"));
        assert!(!rollout.may_have_hash("99"));
        let new = read(WorkloadKind::Rollout, json!({"metadata": {}, "spec": {}}));
        assert!(new.may_have_hash("99"), "nothing is known of its pods yet");
    }

    #[test]
    fn of_a_custom_kind_a_template_a_selector_or_a_status_says_which_pods_are_its() {
        let kind = WorkloadKind::named("shapes.shape.test/v1/Shape").unwrap();
        for object in [
            json!({"spec": {"template": {"metadata": {"labels": {"app": "a"}}}, "selector": "anything"}}),
            json!({"spec": {"selector": {"matchLabels": {"app": "a"}}}}),
            json!({"spec": {"template": "a-template-of-its-own"}, "status": {"labelSelector": "app=a"}}),
            json!({"status": {"selector": "app==a"}}),
        ] {
            assert_eq!(labels(&read(kind, object.clone())), [("app", "a")], "{object}");
        }
        for object in
            [json!({"status": {"selector": "app in (a,b)"}}), json!({"status": {"selector": "app!=a"}}), json!({})]
        {
            assert_eq!(labels(&read(kind, object.clone())), [], "{object}");
        }
        let sizes = read(kind, json!({"spec": {"replicas": 3}, "status": {"replicas": 3, "availableReplicas": 2}}));
        assert_eq!((sizes.replicas().wanted, sizes.replicas().ready), (3, 2));
    }

    proptest! {
        #[test]
        fn a_custom_object_is_always_readable(spec in any_value(), status in any_value()) {
            let kind = WorkloadKind::named("shapes.shape.test/v1/Shape").unwrap();
            read(kind, json!({"metadata": {"name": "a"}, "spec": spec, "status": status}));
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let key = prop_oneof![
            Just("selector"),
            Just("template"),
            Just("matchLabels"),
            Just("replicas"),
            Just("metadata"),
            Just("labels")
        ];
        let leaf = prop_oneof![
            Just(Value::from("a=b,c")),
            Just(Value::from(3)),
            Just(Value::from(-1)),
            Just(Value::Bool(true))
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            proptest::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect()))
        })
    }
}
