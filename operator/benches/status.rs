//! The cost of a status change of an HPA, a ScaledObject and a Deployment, from the bytes of a watch to the index.
//!
//! `cargo bench -p tidegate-operator --bench status`. None of these statuses changes anything that is read here, so no Plan is made.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion writes the items, and what is measured is known to be right"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kube::api::DynamicObject;
use serde_json::{Value, json};
use tidegate_cluster::Objects;

/// Objects of each kind: as many as a large cluster has workloads.
const WORKLOADS: usize = 10_000;

fn statuses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a status");
    group.throughput(Throughput::Elements(1));
    for (kind, object) in [
        ("of an HPA", hpa as fn(usize, u64) -> Value),
        ("of a ScaledObject", scaled_object),
        ("of a Deployment", deployment),
    ] {
        let mut objects = Objects::default();
        for number in 0..WORKLOADS {
            objects.apply(object(number, 0)).unwrap();
        }
        let known = objects.revision();
        let bytes: Vec<_> = (0..WORKLOADS).map(|number| object(number, 1).to_string()).collect();
        let mut next = bytes.iter().cycle();
        group.bench_function(kind, |bencher| {
            bencher.iter(|| {
                let object: DynamicObject = serde_json::from_str(next.next().unwrap()).unwrap();
                objects.apply(serde_json::to_value(&object).unwrap()).unwrap();
            });
        });
        assert_eq!(objects.revision(), known, "none of these is read");
    }
}

fn metadata(number: usize, version: u64) -> Value {
    json!({
        "name": format!("workload-{number}"), "namespace": format!("team-{}", number % 100), "uid": format!("uid-{number}"),
        "resourceVersion": (1_000_000 + version).to_string(), "generation": 3, "creationTimestamp": "2026-03-02T08:00:00Z",
        "labels": {"app.kubernetes.io/managed-by": "keda-operator", "app.kubernetes.io/part-of": format!("workload-{number}")},
        "ownerReferences": [{"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": format!("workload-{number}"),
            "uid": "uid", "controller": true, "blockOwnerDeletion": true}],
    })
}

fn hpa(number: usize, version: u64) -> Value {
    let metric = json!({"type": "External", "external": {"metric": {"name": "s0-requests-per-second", "selector":
        {"matchLabels": {"scaledobject.keda.sh/name": format!("workload-{number}")}}}, "target": {"type": "AverageValue", "averageValue": "100"}}});
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "lastTransitionTime": "2026-03-02T08:00:00Z", "reason": "ReadyForNewScale",
            "message": "recommended size matches current size"})
    };
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata(number, version),
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": format!("workload-{number}")},
            "minReplicas": 1, "maxReplicas": 20, "metrics": [metric]},
        "status": {"currentReplicas": 3, "desiredReplicas": 3, "lastScaleTime": "2026-03-02T08:00:00Z", "currentMetrics":
            [{"type": "External", "external": {"metric": {"name": "s0-requests-per-second"}, "current": {"averageValue": format!("{version}m")}}}],
            "conditions": [condition("AbleToScale"), condition("ScalingActive"), condition("ScalingLimited")]},
    })
}

fn scaled_object(number: usize, version: u64) -> Value {
    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "ScalerActive", "message": "Scaling is performed"});
    json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": metadata(number, version),
        "spec": {"scaleTargetRef": {"name": format!("workload-{number}")}, "minReplicaCount": 1, "maxReplicaCount": 20, "triggers":
            [{"type": "external-push", "metricType": "AverageValue", "metadata": {"scalerAddress": "tidegate:9090", "requestsPerSecond": "100",
                "workload": format!("deployment/workload-{number}")}}]},
        "status": {"lastActiveTime": format!("2026-03-02T08:00:0{version}Z"), "originalReplicaCount": 1, "hpaName": "keda-hpa",
            "externalMetricNames": ["s0-requests-per-second"],
            "conditions": [condition("Ready"), condition("Active"), condition("Fallback"), condition("Paused")]},
    })
}

fn deployment(number: usize, version: u64) -> Value {
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "lastUpdateTime": format!("2026-03-02T08:00:0{version}Z"),
            "lastTransitionTime": "2026-03-02T08:00:00Z", "reason": "MinimumReplicasAvailable", "message": "has minimum availability"})
    };
    let container = json!({"name": "api", "image": "registry/api:1", "ports": [{"containerPort": 8000, "name": "http"}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}, "env": [{"name": "A", "value": "b"}]});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(number, version),
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "api"}}, "template": {"metadata": {"labels": {"app": "api"}},
            "spec": {"containers": [container]}}},
        "status": {"observedGeneration": 3, "replicas": 3, "updatedReplicas": 2 + version, "readyReplicas": 3, "availableReplicas": 3,
            "conditions": [condition("Available"), condition("Progressing")]},
    })
}

criterion_group!(benches, statuses);
criterion_main!(benches);
