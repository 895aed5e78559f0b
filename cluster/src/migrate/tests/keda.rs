//! ScaledObjects, in the style of KEDA's documentation and its users' repositories.

use super::*;

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
        ("tolerance", "10%"),
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
        ("tolerance", "10%"),
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
    let kept: Value = yaml::read(&all["tidegate.dev/keda-triggers"]).unwrap();
    assert_eq!(kept, json!([trigger("b")]), "the largest of two lags is not their sum");
}

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
    let mut object: Value = yaml::read(ENVOY).unwrap();
    let cron: Value = yaml::read(OFFICE).unwrap();
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
fn cron_beside_cpu_or_a_trigger_of_kedas_stays_with_keda_since_hours_would_pause_it() {
    for other in [
        json!({"type": "cpu", "metricType": "Utilization", "metadata": {"value": "60"}}),
        json!({"type": "nsq", "metadata": {"topic": "mail"}}),
    ] {
        let mut object: Value = tidegate_core::yaml::read(OFFICE).unwrap();
        object["spec"]["minReplicaCount"] = json!(1);
        object["spec"]["triggers"].as_array_mut().unwrap().push(other);
        let migration = migrate(&[object]);
        let all = annotations(&migration.patches()[0]);
        assert!(!all.contains_key("tidegate.dev/hours"), "{all:?}");
        assert!(all["tidegate.dev/keda-triggers"].contains("0 6 * * 1-5"), "{all:?}");
        assert!(texts(&migration, false).concat().contains("cron stays KEDA's"));
    }
}

#[test]
fn a_cool_down_matters_only_on_the_way_to_zero() {
    let of = |object: &str| {
        let all = annotations(&migrated(object).patches()[0]);
        all.get("tidegate.dev/scale-down-after").cloned()
    };
    let traffic = ENVOY.split("  advanced:").next().unwrap().replace("minReplicaCount: 2", "cooldownPeriod: 60");
    assert_eq!(of(&traffic), None, "one replica is kept");
    assert_eq!(of(&OFFICE.replace("cooldownPeriod: 300", "cooldownPeriod: 60")), Some("60s".to_owned()));
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
    let kept: Value = yaml::read(of("keda-triggers")).unwrap();
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
  annotations: {autoscaling.keda.sh/paused: "true", downscaler/uptime: always}
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
        "metadata.annotations[downscaler/uptime]",
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
