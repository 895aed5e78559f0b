//! Benchmark of holding 10,000 workloads and of planning them.
//!
//! `cargo bench -p tidegate-cluster --bench plan` prints the times, and before them the memory of the objects and of
//! the Plan.

#![allow(missing_docs, reason = "criterion's macros write the items")]

use std::{fs, hint::black_box};

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use tidegate_cluster::Objects;

const WORKLOADS: usize = 10_000;
const NAMESPACES: usize = 100;
const GATEWAYS: usize = 20;

fn plan(criterion: &mut Criterion) {
    let before = resident_kib();
    let objects = objects();
    let with_objects = resident_kib();
    let planned = objects.plan();
    println!(
        "{} workloads, {} clusters: objects {} MiB, Plan {} MiB",
        planned.workloads.len(),
        planned.shares().count(),
        (with_objects - before) / 1024,
        (resident_kib() - with_objects) / 1024,
    );
    let mut group = criterion.benchmark_group("10,000 workloads");
    group.sample_size(20);
    group.bench_function("plan", |bencher| bencher.iter(|| black_box(&objects).plan()));
    group.bench_function("routes", |bencher| bencher.iter(|| black_box(&objects).routes()));
    group.bench_function("foreign_scalers", |bencher| bencher.iter(|| black_box(&objects).foreign_scalers()));
    group.finish();
}

/// A Deployment, a Service with its EndpointSlice, an HTTPRoute (every tenth with a canary) and a ScaledObject for each workload,
/// as a cluster has them, behind a handful of Gateways.
fn objects() -> Objects {
    let mut objects = Objects::default();
    let gateways = (0..GATEWAYS).map(gateway);
    let workloads = (0..WORKLOADS).flat_map(|i| [deployment(i), service(i), slice(i), route(i), scaled_object(i)]);
    for object in gateways.chain(workloads) {
        let known = objects.apply(object);
        assert_eq!(known, Ok(true));
    }
    objects
}

fn gateway(i: usize) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": format!("gateway-{i}"), "namespace": "gateways", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"gatewayClassName": "eg", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP",
            "allowedRoutes": {"namespaces": {"from": "All"}}}]}})
}

fn metadata(i: usize, annotations: &Value) -> Value {
    json!({"name": format!("task-api-{i}"), "namespace": format!("team-{}", i % NAMESPACES),
        "uid": format!("3f2504e0-4f89-11d3-9a0c-{i:012}"), "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app.kubernetes.io/name": format!("task-api-{i}"), "app.kubernetes.io/managed-by": "Helm"},
        "annotations": annotations})
}

fn deployment(i: usize) -> Value {
    let annotations = json!({"tidegate.dev/min-replicas": "1", "tidegate.dev/max-replicas": "20",
        "tidegate.dev/requests-per-second": "100", "deployment.kubernetes.io/revision": "3"});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(i, &annotations),
        "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app.kubernetes.io/name": format!("task-api-{i}"),
            "app.kubernetes.io/component": "server", "app.kubernetes.io/part-of": "shop"}},
            "spec": {"containers": [{"name": "server", "ports": [{"name": "http", "containerPort": 8080}]}]}}},
        "status": {"replicas": 2, "readyReplicas": 2}})
}

fn service(i: usize) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata(i, &json!({})),
        "spec": {"selector": {"app.kubernetes.io/name": format!("task-api-{i}"), "app.kubernetes.io/part-of": "shop"},
            "clusterIP": format!("10.96.{}.{}", i / 250, i % 250), "ports": [{"name": "http", "port": 8000, "targetPort": "http",
                "protocol": "TCP"}]}})
}

fn slice(i: usize) -> Value {
    let mut metadata = metadata(i, &json!({}));
    metadata["labels"] = json!({"kubernetes.io/service-name": format!("task-api-{i}"),
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"});
    let endpoint = |end: &str| {
        let target = json!({"kind": "Pod", "name": format!("task-api-{i}-7d9f8c6b5d-{end}"), "namespace": metadata["namespace"]});
        json!({"addresses": [format!("10.0.{}.{}", i / 250, i % 250)], "targetRef": target,
            "conditions": {"ready": true, "serving": true, "terminating": false}})
    };
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "metadata": metadata,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": [endpoint("bbbbb"), endpoint("ccccc")]})
}

fn route(i: usize) -> Value {
    let backend = |i: usize, weight: u32| json!({"name": format!("task-api-{i}"), "port": 8000, "weight": weight});
    let canary = i.checked_sub(NAMESPACES).filter(|_| i.is_multiple_of(10)).map(|canary| backend(canary, 10));
    let backends: Vec<_> = [backend(i, 90)].into_iter().chain(canary).collect();
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata(i, &json!({})),
        "spec": {"parentRefs": [{"name": format!("gateway-{}", i % GATEWAYS), "namespace": "gateways"}],
            "hostnames": [format!("task-{i}.example.com")],
            "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": backends}]}})
}

fn scaled_object(i: usize) -> Value {
    let mut metadata = metadata(i, &json!({}));
    metadata["labels"] = json!({"app.kubernetes.io/managed-by": "tidegate"});
    json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": metadata,
        "spec": {"scaleTargetRef": {"name": format!("task-api-{i}"), "kind": "Deployment", "apiVersion": "apps/v1"},
            "minReplicaCount": 1, "maxReplicaCount": 20, "pollingInterval": 30, "cooldownPeriod": 300,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]},
                "scaleDown": {"stabilizationWindowSeconds": 300, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}}}},
            "triggers": [{"type": "external-push", "metricType": "AverageValue", "metadata": {
                "scalerAddress": "tidegate.tidegate.svc:9090", "workload": format!("deployment/task-api-{i}"),
                "requestsPerSecond": "100"}}]}})
}

/// The process's resident memory, in KiB; 0 where there is no `/proc`.
fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

criterion_group!(benches, plan);
criterion_main!(benches);
