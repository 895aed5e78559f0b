mod annotations;
mod clusters;
mod fleets;
mod shares;

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_core::{
    fleet::Scaling,
    ids::RouteRef,
    plan::{ADOPTED_REPLICAS, Proxy},
    workload::WorkloadKind,
};

use super::{
    proxies::tests::{owned, pod},
    *,
};

/// A Gateway in the namespace `gateways` with listeners for all protocols, open to all namespaces.
const OFFICE: [(&str, &str); 2] = [("hours", "Mo-Fr 08:00-18:00"), ("timezone", "UTC")];

fn gateway() -> Value {
    let listener = |name: &str, protocol: &str, port: u16, tls: Value| {
        json!({"name": name, "protocol": protocol, "port": port, "tls": tls,
            "allowedRoutes": {"namespaces": {"from": "All"}}})
    };
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
    "metadata": {"name": "edge", "namespace": "gateways"},
    "spec": {"gatewayClassName": "eg", "listeners": [
        listener("http", "HTTP", 80, Value::Null),
        listener("tcp", "TCP", 5432, Value::Null),
        listener("tls", "TLS", 8443, json!({"mode": "Passthrough"})),
        listener("udp", "UDP", 53, Value::Null),
    ]}})
}

/// A Deployment in a cluster, with `ready` ready pods, which are labelled `app: NAME` and `team: shop`.
fn deployment(name: &str, annotations: &Value, ready: u32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "annotations": annotations},
        "spec": {"replicas": ready, "template": {"metadata": {"labels": {"app": name, "team": "shop"}}}},
        "status": {"replicas": ready, "readyReplicas": ready}})
}

fn annotated(name: &str, ready: u32) -> Value {
    deployment(name, &json!({"tidegate.dev/requests-per-second": "100"}), ready)
}

fn service(name: &str, selector: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": selector, "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]}})
}

fn service_of(name: &str) -> Value {
    service(name, &json!({"app": name}))
}

/// A route with one rule to Services of these weights.
fn route(kind: &str, backends: &[(&str, u32)]) -> Value {
    let port = if kind == "UDPRoute" { 53 } else { 80 };
    let refs: Vec<_> =
        backends.iter().map(|(name, weight)| json!({"name": name, "port": port, "weight": weight})).collect();
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": {"name": "route", "namespace": "shop"},
        "spec": {"parentRefs": [{"name": "edge", "namespace": "gateways"}], "rules": [{"backendRefs": refs}]}})
}

fn plan_of(objects: impl IntoIterator<Item = Value>) -> Plan {
    let mut all = Objects::default();
    for object in [gateway()].into_iter().chain(objects) {
        all.apply(object).unwrap();
    }
    all.plan()
}

fn traffic<'a>(plan: &'a Plan, name: &str) -> &'a [ClusterShare] {
    let id = WorkloadId { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: name.into() };
    &plan.workloads.get(&id).unwrap_or_else(|| panic!("{name} is not planned")).traffic
}

fn share(plan: &Plan, name: &str) -> (f64, f64) {
    let [share] = traffic(plan, name) else { panic!("{name} has {:?}", traffic(plan, name)) };
    (share.share, share.of_backend)
}
