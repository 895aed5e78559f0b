//! HPAs, kube-downscaler, kube-green and the HTTP add-on.

use super::*;

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
        ("tolerance", "10%"),
    ]);
    assert_eq!(only(&migration), wanted);
    let lost = texts(&migration, true);
    assert!(lost[0].contains("spec.metrics[1]: not turned: CPU and memory of one container"), "{lost:?}");
    assert!(lost[1].contains("spec.metrics[2]: not turned: Pods"), "{lost:?}");
}

#[test]
fn the_tolerance_of_an_hpa_is_kept_and_one_that_differs_by_direction_is_told() {
    for (up, down, wanted, lost) in [
        (json!("0.05"), json!(0.05), "5%", 0),
        (json!("25m"), json!("25m"), "2.5%", 0),
        (json!(0), Value::Null, "0%", 1),
    ] {
        let hpa = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "api"},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}, "maxReplicas": 3,
                "behavior": {"scaleUp": {"tolerance": up}, "scaleDown": {"tolerance": down}}}});
        let migration = migrate(&[hpa]);
        let written = &annotations(&migration.patches()[0])["tidegate.dev/tolerance"];
        assert_eq!((written.as_str(), migration.lost()), (wanted, lost), "{:?}", migration.remarks);
    }
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
    assert_eq!(check_namespace(&of_namespace.clone().into_iter().collect()), []);
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
    assert_eq!(annotations(set), BTreeMap::from([("tidegate.dev/paused".to_owned(), "true".to_owned())]));
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
    assert_eq!(check_namespace(&all.into_iter().collect()), []);
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
        ("tolerance", "10%"),
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
        ("tolerance", "10%"),
    ]);
    assert_eq!(only(&migration), wanted);
}

#[test]
fn a_replication_controller_is_given_up_with_what_to_make_of_it_whatever_names_it() {
    let reference = json!({"apiVersion": "v1", "kind": "ReplicationController", "name": "api"});
    let object = |api_version: &str, kind: &str, spec: Value| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "api", "namespace": "shop"}, "spec": spec});
    let mut own = object("v1", "ReplicationController", json!({}));
    own["metadata"]["annotations"] = json!({"downscaler/uptime": "Mon-Fri 07:30-20:30 Europe/Berlin"});
    for (source, place) in [
        (
            object("autoscaling/v2", "HorizontalPodAutoscaler", json!({"scaleTargetRef": reference, "maxReplicas": 3})),
            "spec.scaleTargetRef",
        ),
        (object("keda.sh/v1alpha1", "ScaledObject", json!({"scaleTargetRef": reference})), "spec.scaleTargetRef"),
        (
            object("http.keda.sh/v1alpha1", "HTTPScaledObject", json!({"scaleTargetRef": reference})),
            "spec.scaleTargetRef",
        ),
        (own, "metadata.annotations"),
    ] {
        let migration = migrate(&[source]);
        assert_eq!((migration.patches().len(), migration.lost()), (0, 1), "{:?}", migration.remarks);
        let remark = migration.remarks[0].to_string();
        assert!(remark.contains(place) && remark.contains("Make it a Deployment"), "{remark}");
    }
}

#[test]
fn a_workload_in_a_version_that_is_gone_is_annotated_in_the_one_that_is_served() {
    for gone in ["extensions/v1beta1", "apps/v1beta2"] {
        let hpa = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "api"},
            "spec": {"scaleTargetRef": {"apiVersion": gone, "kind": "Deployment", "name": "api"}, "maxReplicas": 3}});
        assert_eq!(migrate(&[hpa]).patches()[0]["apiVersion"], "apps/v1", "{gone}");
    }
}
