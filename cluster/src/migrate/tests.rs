//! Manifests in the style of KEDA's documentation, its users' repositories, and those of the other tools.

use proptest::prelude::*;
use serde_json::json;
use tidegate_core::{
    intent::{Annotations, Intent, check_namespace},
    key::{Key, PREFIX, Place},
    signal::Signal,
};

use super::*;

fn migrated(yaml: &str) -> Migration {
    let documents = yaml.split("\n---\n").map(|document| serde_yaml_ng::from_str::<Value>(document).unwrap());
    migrate(&documents.collect::<Vec<_>>())
}

fn annotations(patch: &Value) -> Annotations {
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
fn intent(annotations: &Annotations) -> Intent {
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

#[test]
fn prometheus_triggers_on_envoys_clusters_become_requests_and_concurrency_with_the_same_target() {
    let migration = migrated(ENVOY);
    let wanted = pairs(&[
        ("adopt", "scaledobject/checkout-scaler"),
        ("concurrency", "8"),
        ("max-replicas", "20"),
        ("min-replicas", "2"),
        ("requests-per-second", "100"),
        ("scale-down-after", "120s"),
        ("scale-up-rate", "50%/60s,4/30s"),
    ]);
    assert_eq!(only(&migration), wanted);
    assert_eq!(texts(&migration, true), [""; 0]);
    let intent = intent(&annotations(&migration.patches()[0]));
    let target = |signal| intent.target(signal).unwrap().get();
    // 6000 a minute is 100 a second.
    assert_eq!((target(Signal::RequestsPerSecond), target(Signal::Concurrency)), (100.0, 8.0));
    assert_eq!((intent.bounds.min, intent.bounds.max, intent.scale_down_after.as_secs()), (2, 20, 120));
}

#[test]
fn a_patch_has_names_and_annotations_and_nothing_else() {
    let patch = migrated(ENVOY).patches()[0].clone();
    let (api_version, kind) = (&patch["apiVersion"], &patch["kind"]);
    assert_eq!((api_version, kind, patch.as_object().unwrap().len()), (&json!("apps/v1"), &json!("Deployment"), 3));
    let metadata: Vec<_> = patch["metadata"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(metadata, ["annotations", "name", "namespace"]);
    let without = migrated(&ENVOY.replace("  namespace: shop\n", "")).patches()[0].clone();
    assert_eq!(without["metadata"].get("namespace"), None, "where the file says none, none is written");
}

#[test]
fn a_kafka_trigger_becomes_lag_group_topics_and_a_cluster_named_after_its_brokers() {
    let migration = migrated(
        r#"
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: kafka-scaledobject, namespace: orders}
spec:
  scaleTargetRef: {name: consumer, kind: StatefulSet, apiVersion: apps/v1}
  pollingInterval: 30
  cooldownPeriod: 120
  minReplicaCount: 0
  maxReplicaCount: 12
  triggers:
  - type: kafka
    metadata:
      bootstrapServers: events-kafka-bootstrap.kafka.svc:9092
      consumerGroup: my-group
      topic: test-topic
      lagThreshold: "5"
      activationLagThreshold: "3"
      offsetResetPolicy: earliest
      allowIdleConsumers: "false"
      limitToPartitionsWithLag: "true"
      partitionLimitation: '1,2,10-20'
    authenticationRef: {name: keda-trigger-auth-kafka-credential}
"#,
    );
    let wanted = pairs(&[
        ("adopt", "scaledobject/kafka-scaledobject"),
        ("kafka-activation", "3"),
        ("kafka-cluster", "events-kafka-bootstrap"),
        ("kafka-group", "my-group"),
        ("kafka-lag", "5"),
        ("kafka-no-offset", "earliest"),
        ("kafka-partition-cap", "with-lag"),
        ("kafka-partitions", "1,2,10-20"),
        ("kafka-topics", "test-topic"),
        ("max-replicas", "12"),
        ("min-replicas", "0"),
        ("scale-down-after", "120s"),
    ]);
    assert_eq!(only(&migration), wanted);
    let intent = intent(&annotations(&migration.patches()[0]));
    assert_eq!(intent.target(Signal::KafkaLag).unwrap().get(), 5.0);
    assert_eq!(intent.lowest(), 0, "a lag wakes it");
    let told = texts(&migration, false).concat();
    assert!(told.contains(r#"events-kafka-bootstrap: {brokers: ["events-kafka-bootstrap.kafka.svc:9092"]}"#), "{told}");
}

#[test]
fn two_kafka_triggers_and_one_without_threshold_keep_their_meaning() {
    let trigger = |topic: &str| json!({"type": "kafka", "metadata": {"bootstrapServers": "k:9092", "consumerGroup": "g", "topic": topic}});
    let object = json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "c"},
        "spec": {"scaleTargetRef": {"name": "c"}, "triggers": [trigger("a"), trigger("b")]}});
    let migration = migrate(&[object]);
    let all = annotations(&migration.patches()[0]);
    assert_eq!((all["tidegate.dev/kafka-lag"].as_str(), all["tidegate.dev/kafka-topics"].as_str()), ("10", "a"));
    assert_eq!(all["tidegate.dev/max-replicas"], "100", "KEDA's default, not Tidegate's");
    let kept: Value = serde_yaml_ng::from_str(&all["tidegate.dev/keda-triggers"]).unwrap();
    assert_eq!(kept, json!([trigger("b")]), "the largest of two lags is not their sum");
}

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
fn cron_alone_becomes_hours_with_the_minimum_outside() {
    let migration = migrated(OFFICE);
    let wanted = pairs(&[
        ("adopt", "scaledobject/cron-scaledobject"),
        ("hours", "Mo-Fr 06:00-20:00"),
        ("max-replicas", "10"),
        ("min-replicas", "10"),
        ("off-hours-replicas", "0"),
        ("timezone", "Asia/Kolkata"),
    ]);
    assert_eq!((only(&migration), texts(&migration, true)), (wanted, vec![]));
    let intent = intent(&annotations(&migration.patches()[0]));
    assert_eq!((intent.is_hours_only(), intent.floor(), intent.lowest()), (true, 10, 0));
    let two = migrated(&OFFICE.replace("minReplicaCount: 0", "minReplicaCount: 2"));
    assert_eq!(annotations(&two.patches()[0])["tidegate.dev/off-hours-replicas"], "2");
}

#[test]
fn cron_beside_traffic_is_a_floor_and_no_cap() {
    let mut object: Value = serde_yaml_ng::from_str(ENVOY).unwrap();
    let cron: Value = serde_yaml_ng::from_str(OFFICE).unwrap();
    object["spec"]["triggers"].as_array_mut().unwrap().push(cron["spec"]["triggers"][0].clone());
    let of = |object: &Value| annotations(&migrate(std::slice::from_ref(object)).patches()[0]);
    object["spec"]["minReplicaCount"] = json!(1);
    let all = of(&object);
    assert_eq!(
        (all["tidegate.dev/hours"].as_str(), all["tidegate.dev/min-replicas"].as_str()),
        ("Mo-Fr 06:00-20:00", "10")
    );
    assert_eq!(all["tidegate.dev/off-hours-replicas"], "20", "outside, traffic goes on");
    object["spec"]["minReplicaCount"] = json!(3);
    let all = of(&object);
    assert!(!all.contains_key("tidegate.dev/hours"), "hours would have 1 replica outside, and KEDA has 3");
    assert!(all["tidegate.dev/keda-triggers"].contains("0 6 * * 1-5"));
    assert_eq!(all["tidegate.dev/min-replicas"], "3");
}

#[test]
fn cron_by_days_of_the_month_stays_with_keda_and_says_why() {
    let migration = migrated(&OFFICE.replace("0 6 * * 1-5", "0 6 1 * *"));
    let all = annotations(&migration.patches()[0]);
    assert!(
        all["tidegate.dev/keda-triggers"].starts_with("- type: cron")
            || all["tidegate.dev/keda-triggers"].contains("type: cron")
    );
    assert_eq!(all["tidegate.dev/min-replicas"], "0");
    assert!(texts(&migration, false).concat().contains("days of the month"));
}

#[test]
fn cpu_and_memory_triggers_become_keys_and_any_other_trigger_stays_as_it_is() {
    let migration = migrated(
        r#"
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: worker}
spec:
  scaleTargetRef: {name: worker}
  minReplicaCount: 1
  maxReplicaCount: 5
  triggers:
  - {type: cpu, metricType: Utilization, metadata: {value: "60", containerName: app}}
  - {type: memory, metricType: AverageValue, metadata: {value: 512Mi, containerName: app}}
  - type: rabbitmq
    metadata: {queueName: mail, mode: QueueLength, value: "20", hostFromEnv: RABBIT}
    authenticationRef: {name: rabbit}
"#,
    );
    let all = annotations(&migration.patches()[0]);
    let of = |key: &str| all[&format!("tidegate.dev/{key}")].as_str();
    assert_eq!((of("cpu"), of("memory"), of("container")), ("60%", "512Mi", "app"));
    let kept: Value = serde_yaml_ng::from_str(of("keda-triggers")).unwrap();
    assert_eq!(kept[0]["authenticationRef"]["name"], "rabbit");
    assert_eq!(texts(&migration, true), [""; 0]);
}

#[test]
fn what_a_scaled_object_says_and_tidegate_does_not_is_told_by_field() {
    let migration = migrated(
        r#"
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: api
  namespace: shop
  annotations: {autoscaling.keda.sh/paused: "true"}
spec:
  scaleTargetRef: {name: api}
  minReplicaCount: 0
  idleReplicaCount: 0
  fallback: {failureThreshold: 3, replicas: 6}
  advanced: {restoreToOriginalReplicaCount: true}
  triggers:
  - type: prometheus
    metadata:
      serverAddress: http://prometheus:9090
      threshold: "100"
      activationThreshold: "5"
      query: sum(rate(envoy_cluster_upstream_rq_xx{envoy_cluster_name="httproute/shop/api/rule/0"}[2m]))
"#,
    );
    let lost = texts(&migration, true).join("\n");
    for field in [
        "spec.minReplicaCount: not turned: 1 replica is kept",
        "spec.idleReplicaCount",
        "spec.fallback",
        "spec.advanced.restoreToOriginalReplicaCount",
        "spec.triggers[0].metadata.activationThreshold",
        "metadata.annotations[autoscaling.keda.sh/paused]",
    ] {
        assert!(lost.contains(&format!("ScaledObject shop/api: {field}")), "{field} in {lost}");
    }
    assert_eq!(only(&migration)[2], ("min-replicas".to_owned(), "1".to_owned()));
}

#[test]
fn a_formula_is_not_taken_apart() {
    let migration = migrated(
        "
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: api}
spec:
  scaleTargetRef: {name: api}
  advanced: {scalingModifiers: {formula: a + b, target: '2'}}
  triggers: [{type: cpu, name: a, metricType: Utilization, metadata: {value: '50'}}]
",
    );
    assert_eq!((migration.patches(), migration.lost()), (vec![], 1));
}

#[test]
fn an_hpa_becomes_cpu_and_memory_with_its_own_bounds_and_rates() {
    let migration = migrated(
        r"
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: php-apache, namespace: default}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: php-apache}
  minReplicas: 2
  maxReplicas: 10
  metrics:
  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}
  - type: ContainerResource
    containerResource: {name: memory, container: app, target: {type: AverageValue, averageValue: 500Mi}}
  - type: Pods
    pods: {metric: {name: packets-per-second}, target: {type: AverageValue, averageValue: 1k}}
  behavior:
    scaleUp: {stabilizationWindowSeconds: 60}
    scaleDown: {policies: [{type: Pods, value: 1, periodSeconds: 60}], selectPolicy: Min}
",
    );
    let wanted = pairs(&[
        ("adopt", "hpa/php-apache"),
        ("cpu", "50%"),
        ("max-replicas", "10"),
        ("min-replicas", "2"),
        ("scale-down-rate", "1/60s"),
        ("scale-up-after", "60s"),
    ]);
    assert_eq!(only(&migration), wanted);
    let lost = texts(&migration, true);
    assert!(lost[0].contains("spec.metrics[1]: not turned: CPU and memory of one container"), "{lost:?}");
    assert!(lost[1].contains("spec.metrics[2]: not turned: Pods"), "{lost:?}");
}

#[test]
fn older_hpas_and_those_without_metrics_aim_at_what_the_hpa_aims_at() {
    for (api_version, spec, cpu) in [
        ("autoscaling/v1", json!({"targetCPUUtilizationPercentage": 70}), "70%"),
        ("autoscaling/v2", json!({}), "80%"),
        (
            "autoscaling/v2beta1",
            json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 65}}]}),
            "65%",
        ),
    ] {
        let mut spec = spec;
        spec["scaleTargetRef"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"});
        spec["maxReplicas"] = json!(4);
        let hpa = json!({"apiVersion": api_version, "kind": "HorizontalPodAutoscaler", "metadata": {"name": "api"}, "spec": spec});
        let all = annotations(&migrate(&[hpa]).patches()[0]);
        assert_eq!((all["tidegate.dev/cpu"].as_str(), all["tidegate.dev/min-replicas"].as_str()), (cpu, "1"));
    }
}

#[test]
fn kube_downscalers_annotations_become_hours_of_workloads_and_namespaces() {
    let migration = migrated(
        r#"
apiVersion: v1
kind: Namespace
metadata:
  name: staging
  annotations: {downscaler/uptime: "Mon-Fri 07:30-20:30 Europe/Berlin"}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: random-deployment
  namespace: staging
  annotations:
    downscaler/downtime: "Mon-Sun 00:00-06:00 America/New_York, Sat-Sun 06:00-24:00 America/New_York"
    downscaler/downtime-replicas: "1"
    downscaler/exclude-until: "2026-12-24 08:00"
    downscaler/original-replicas: "3"
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: staging, annotations: {downscaler/exclude: "true"}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: odd, namespace: staging, annotations: {downscaler/uptime: "2026-01-01T00:00:00+00:00-2026-02-01T00:00:00+00:00", downscaler/upscale-period: always}}
"#,
    );
    let patches = migration.patches();
    let [namespace, deployment, set] = &patches[..] else { panic!("{migration:?}") };
    let of_namespace = annotations(namespace);
    assert_eq!(check_namespace(&of_namespace), []);
    let all: Vec<_> = of_namespace.values().map(String::as_str).collect();
    assert_eq!(
        (namespace["metadata"]["name"].as_str(), all),
        (Some("staging"), vec!["Mo-Fr 07:30-20:30", "all", "Europe/Berlin"])
    );
    let of_deployment = annotations(deployment);
    let intent = intent(&of_deployment);
    assert_eq!(of_deployment["tidegate.dev/hours"], "Mo-Fr 06:00-24:00");
    assert_eq!(of_deployment["tidegate.dev/keep-awake-until"], "2026-12-24T08:00:00Z");
    assert_eq!(intent.schedule.unwrap().off_hours_replicas, Some(1));
    assert_eq!(annotations(set), Annotations::from([("tidegate.dev/paused".to_owned(), "true".to_owned())]));
    let lost = texts(&migration, true).join("\n");
    assert!(lost.contains("Deployment staging/odd: metadata.annotations[downscaler/uptime]"), "{lost}");
    assert!(lost.contains("Deployment staging/odd: metadata.annotations[downscaler/upscale-period]"), "{lost}");
}

#[test]
fn a_sleep_info_becomes_the_hours_of_its_namespace() {
    let migration = migrated(
        r#"
apiVersion: kube-green.com/v1alpha1
kind: SleepInfo
metadata: {name: working-hours, namespace: dev}
spec:
  weekdays: "1-5"
  sleepAt: "20:00"
  wakeUpAt: "08:00"
  timeZone: "Europe/Rome"
  suspendCronJobs: true
  excludeRef:
  - {apiVersion: apps/v1, kind: Deployment, name: api-gateway}
  - {apiVersion: apps/v1, kind: Deployment, matchLabels: {app: kept}}
"#,
    );
    let patches = migration.patches();
    let [namespace, gateway] = &patches[..] else { panic!("{migration:?}") };
    let all = annotations(namespace);
    let values: Vec<_> = all.values().map(String::as_str).collect();
    assert_eq!(values, ["Mo-Fr 08:00-20:00", "all,cronjobs", "Europe/Rome"]);
    assert_eq!(check_namespace(&all), []);
    assert_eq!((gateway["metadata"]["name"].as_str(), annotations(gateway).len()), (Some("api-gateway"), 1));
    assert!(texts(&migration, true).concat().contains("spec.excludeRef[1]"));
    let never_wakes = migrated(
        "apiVersion: kube-green.com/v1alpha1\nkind: SleepInfo\nmetadata: {name: a, namespace: dev}\nspec: {weekdays: '*', sleepAt: '20:00'}",
    );
    assert_eq!((never_wakes.patches(), never_wakes.lost()), (vec![], 1));
}

#[test]
fn an_http_scaled_object_becomes_requests_and_the_ways_to_go_are_told() {
    let migration = migrated(
        r"
apiVersion: http.keda.sh/v1alpha1
kind: HTTPScaledObject
metadata: {name: xkcd, namespace: web}
spec:
  hosts: [myhost.com]
  scaleTargetRef: {name: xkcd, kind: Deployment, apiVersion: apps/v1, service: xkcd-svc, port: 8080}
  replicas: {min: 1, max: 10}
  scaledownPeriod: 60
  scalingMetric: {requestRate: {granularity: 1s, targetValue: 50, window: 1m}}
",
    );
    let wanted = pairs(&[
        ("adopt", "scaledobject/xkcd"),
        ("max-replicas", "10"),
        ("min-replicas", "1"),
        ("requests-per-second", "50"),
        ("scale-down-after", "60s"),
    ]);
    assert_eq!((only(&migration), texts(&migration, true)), (wanted, vec![]));
    assert!(texts(&migration, false).concat().contains("an HTTPRoute has to lead myhost.com to Service xkcd-svc"));
}

#[test]
fn an_interceptor_route_gives_the_target_of_its_scaled_object() {
    let migration = migrated(
        "
apiVersion: http.keda.sh/v1beta1
kind: InterceptorRoute
metadata: {name: my-app}
spec: {target: {service: my-app, port: 80}, scalingMetric: {concurrency: {targetValue: 40}}}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: my-app}
spec:
  scaleTargetRef: {name: my-app}
  minReplicaCount: 1
  triggers: [{type: external-push, metadata: {scalerAddress: 'keda-http:9090', interceptorRoute: my-app}}]
",
    );
    let wanted = pairs(&[
        ("adopt", "scaledobject/my-app"),
        ("concurrency", "40"),
        ("max-replicas", "100"),
        ("min-replicas", "1"),
    ]);
    assert_eq!(only(&migration), wanted);
}

#[test]
fn two_scalers_of_one_workload_that_say_different_things_are_told() {
    let hpa = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "checkout", "namespace": "shop"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"}, "maxReplicas": 20, "minReplicas": 2}});
    let migration = migrate(&[serde_yaml_ng::from_str(ENVOY).unwrap(), hpa]);
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
