//! Manifests in the style of KEDA's documentation, its users' repositories, and those of the other tools.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use tidegate_core::{
    intent::{Annotations, Intent, check_namespace},
    key::{Key, PREFIX, Place},
    signal::Signal,
    yaml,
};

mod keda;
mod others;

use super::*;

fn migrated(manifests: &str) -> Migration {
    let documents = manifests.split("\n---\n").map(|document| yaml::read::<Value>(document).unwrap());
    migrate(&documents.collect::<Vec<_>>())
}

fn annotations(patch: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(patch["metadata"]["annotations"].clone()).unwrap()
}

/// The annotations of the only patch, without prefix.
fn only(migration: &Migration) -> Vec<(String, String)> {
    let patches = migration.patches();
    let [patch] = &patches[..] else { panic!("{migration:?}") };
    annotations(patch).into_iter().map(|(key, value)| (key[PREFIX.len()..].to_owned(), value)).collect()
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn texts(migration: &Migration, lost: bool) -> Vec<String> {
    migration.remarks.iter().filter(|remark| remark.lost == lost).map(ToString::to_string).collect()
}

/// The intent of a workload with these annotations, less those that this build does not know yet.
fn intent(annotations: &BTreeMap<String, String>) -> Intent {
    let known = |key: &&String| Key::find(&key[PREFIX.len()..], Place::Workload).is_some();
    let known: Annotations =
        annotations.iter().filter(|(key, _)| known(key)).map(|(key, value)| (key.clone(), value.clone())).collect();
    Intent::of_workload(&known, "shop", &Annotations::new()).unwrap().unwrap()
}

const ENVOY: &str = r#"
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: checkout-scaler
  namespace: shop
spec:
  scaleTargetRef:
    name: checkout
  minReplicaCount: 2
  maxReplicaCount: 20
  triggers:
    - type: prometheus
      metadata:
        serverAddress: http://prometheus.monitoring.svc:9090
        threshold: "6000"
        query: |
          sum(rate(envoy_cluster_upstream_rq_total{envoy_cluster_name="httproute/shop/checkout/rule/0"}[1m])) * 60
    - type: prometheus
      metricType: AverageValue
      metadata:
        serverAddress: http://prometheus.monitoring.svc:9090
        threshold: 8
        query: sum(envoy_cluster_upstream_rq_active{envoy_cluster_name=~"httproute/shop/checkout/.*"})
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        scaleUp:
          policies:
            - {type: Percent, value: 50, periodSeconds: 60}
            - {type: Pods, value: 4, periodSeconds: 30}
        scaleDown:
          stabilizationWindowSeconds: 120
"#;

const OFFICE: &str = "
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: cron-scaledobject, namespace: default}
spec:
  scaleTargetRef: {name: my-deployment}
  minReplicaCount: 0
  maxReplicaCount: 10
  cooldownPeriod: 300
  triggers:
  - type: cron
    metadata:
      timezone: Asia/Kolkata
      start: 0 6 * * 1-5
      end: 0 20 * * 1-5
      desiredReplicas: \"10\"
";

#[test]
fn two_scalers_of_one_workload_that_say_different_things_are_told() {
    let hpa = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "checkout", "namespace": "shop"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"}, "maxReplicas": 20, "minReplicas": 2}});
    let migration = migrate(&[yaml::read(ENVOY).unwrap(), hpa]);
    let lost = texts(&migration, true);
    let wanted = "HorizontalPodAutoscaler shop/checkout: not turned: tidegate.dev/adopt of Deployment shop/checkout would be \
        \"hpa/checkout\", but ScaledObject shop/checkout-scaler has \"scaledobject/checkout-scaler\"";
    assert_eq!(lost, [wanted]);
}

#[test]
fn what_keda_and_tidegate_made_themselves_is_left_out() {
    let owned = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "keda-hpa-api", "ownerReferences": [{"kind": "ScaledObject", "name": "api"}]},
        "spec": {"scaleTargetRef": {"name": "api"}, "maxReplicas": 3}});
    let ours = json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": {"name": "api", "labels": {"app.kubernetes.io/managed-by": "tidegate"}}, "spec": {"scaleTargetRef": {"name": "api"}}});
    let migration = migrate(&[owned, ours]);
    assert_eq!((migration.patches(), migration.remarks), (vec![], vec![]));
}

#[test]
fn what_tidegate_would_refuse_is_not_written() {
    let hpa = |min: i64, max: Value| {
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "api"},
        "spec": {"scaleTargetRef": {"name": "api"}, "minReplicas": min, "maxReplicas": max}})
    };
    let migration = migrate(&[hpa(5, json!(3))]);
    assert_eq!((migration.patches(), migration.lost()), (vec![], 1));
    let migration = migrate(&[hpa(1, json!("${MAX}"))]);
    assert_eq!(migration.patches(), [] as [Value; 0]);
}

#[test]
fn of_a_value_that_tidegate_would_refuse_the_rest_is_written() {
    let object = OFFICE.replace("cooldownPeriod: 300", "cooldownPeriod: 7200");
    let migration = migrated(&object);
    assert!(!annotations(&migration.patches()[0]).contains_key("tidegate.dev/scale-down-after"));
    assert_eq!(only(&migration).len(), 6);
    let lost = texts(&migration, true).concat();
    assert!(lost.contains("tidegate.dev/scale-down-after: got \"7200s\""), "{lost}");
}

/// Values of any kind, small ones.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop_oneof![Just("0 8 * * 1-5"), Just("UTC"), Just("true"), Just("5"), Just("Utilization"), Just("a:1,b:2")]
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,6}", inner, 0..3).prop_map(Value::from_iter),
        ]
    })
}

const METADATA: [&str; 16] = [
    "query",
    "threshold",
    "bootstrapServers",
    "consumerGroup",
    "topic",
    "lagThreshold",
    "start",
    "end",
    "timezone",
    "desiredReplicas",
    "value",
    "type",
    "containerName",
    "activationThreshold",
    "partitionLimitation",
    "httpScaledObject",
];

proptest! {
    #[test]
    fn no_metadata_of_a_trigger_makes_it_panic_and_all_that_is_written_is_accepted(
        kinds in prop::collection::vec(prop::sample::select(vec!["prometheus", "kafka", "cron", "cpu", "memory", "external", "x"]), 0..3),
        metadata in prop::collection::vec((prop::sample::select(METADATA.to_vec()), any_value()), 0..8),
        min in any_value(), max in any_value(), cooldown in any_value(), behavior in any_value(),
    ) {
        let metadata: serde_json::Map<_, _> = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let triggers: Vec<_> = kinds.iter().map(|kind| json!({"type": kind, "metadata": metadata, "metricType": metadata.get("type")})).collect();
        let object = json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "a", "namespace": "n"},
            "spec": {"scaleTargetRef": {"name": "a"}, "minReplicaCount": min, "maxReplicaCount": max, "cooldownPeriod": cooldown,
                "triggers": triggers, "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": behavior, "scaleDown": behavior}}}}});
        for patch in migrate(&[object]).patches() {
            _ = intent(&annotations(&patch));
        }
    }

    #[test]
    fn no_object_makes_it_panic(
        kind in prop::sample::select(vec![
            ("keda.sh/v1alpha1", "ScaledObject"), ("autoscaling/v2", "HorizontalPodAutoscaler"), ("http.keda.sh/v1alpha1", "HTTPScaledObject"),
            ("kube-green.com/v1alpha1", "SleepInfo"), ("v1", "Namespace"), ("apps/v1", "Deployment"),
        ]),
        spec in any_value(), reference in any_value(), uptime in "\\PC{0,30}",
    ) {
        let mut object = json!({"apiVersion": kind.0, "kind": kind.1,
            "metadata": {"name": "a", "namespace": "n", "annotations": {"downscaler/uptime": uptime}}, "spec": spec});
        if let Some(spec) = object["spec"].as_object_mut() {
            spec.insert("scaleTargetRef".to_owned(), reference);
        }
        _ = migrate(&[object]).patches();
    }
}
