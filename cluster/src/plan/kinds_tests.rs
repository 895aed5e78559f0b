//! Workloads that are neither Deployments nor StatefulSets.

use serde_json::{Value, json};
use tidegate_core::workload::WorkloadKind;

use super::*;

const ANNOTATED: [(&str, &str); 1] = [("tidegate.dev/requests-per-second", "10")];

fn object(
    api_version: &str,
    kind: &str,
    name: &str,
    annotations: &[(&str, &str)],
    spec: &Value,
    status: &Value,
) -> Value {
    let annotations: BTreeMap<_, _> = annotations.iter().copied().collect();
    json!({"apiVersion": api_version, "kind": kind, "spec": spec, "status": status,
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "annotations": annotations}})
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [{"resources": {"requests": {"cpu": "500m"}}}]}})
}

fn rollout(annotations: &[(&str, &str)], spec: &Value, status: &Value) -> Value {
    object("argoproj.io/v1alpha1", "Rollout", "api", annotations, spec, status)
}

fn deployment(annotations: &[(&str, &str)]) -> Value {
    object("apps/v1", "Deployment", "api", annotations, &json!({"replicas": 0, "template": template()}), &json!({}))
}

/// A Gateway, and a route with these weights for a stable and a canary Service.
fn canary(weights: (u32, u32), selectors: (&Value, &Value)) -> [Value; 4] {
    let service = |name: &str, selector: &Value| {
        object("v1", "Service", name, &[], &json!({"selector": selector, "ports": [{"port": 80}]}), &json!({}))
    };
    let gateway = json!({"gatewayClassName": "eg", "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}]});
    let backends = json!([{"name": "stable", "port": 80, "weight": weights.0}, {"name": "canary", "port": 80, "weight": weights.1}]);
    let route = json!({"parentRefs": [{"name": "web"}], "rules": [{"backendRefs": backends}]});
    let of = "gateway.networking.k8s.io/v1";
    [
        object(of, "Gateway", "web", &[], &gateway, &json!({})),
        object(of, "HTTPRoute", "api", &[], &route, &json!({})),
        service("stable", selectors.0),
        service("canary", selectors.1),
    ]
}

fn plan_of(objects: impl IntoIterator<Item = Value>) -> Plan {
    let mut all = Objects::default();
    for object in objects {
        assert!(all.apply(object.clone()).unwrap(), "{object}");
    }
    all.plan()
}

/// The share of the rule's traffic that a workload gets.
fn share(plan: &Plan, kind: WorkloadKind) -> f64 {
    let id = WorkloadId { namespace: "shop".into(), kind, name: "api".into() };
    let traffic = &plan.workloads.get(&id).unwrap_or_else(|| panic!("{id} is not planned")).traffic;
    traffic.iter().map(|share| share.share * share.of_backend).sum()
}

fn selector(hash: Option<&str>) -> Value {
    hash.map_or(json!({"app": "api"}), |hash| json!({"app": "api", "rollouts-pod-template-hash": hash}))
}

#[test]
fn a_rollout_gets_the_traffic_of_its_stable_and_its_canary_service_at_every_step() {
    let spec = json!({"replicas": 4, "template": template()});
    for weights in [(100, 0), (90, 10), (50, 50), (0, 100)] {
        for (stable, canary_hash) in [(None, None), (Some("5f6"), Some("7c8")), (Some("5f6"), Some("5f6"))] {
            let hashes = json!({"stableRS": "5f6", "currentPodHash": "7c8", "readyReplicas": 4});
            let routes = canary(weights, (&selector(stable), &selector(canary_hash)));
            let plan = plan_of(routes.into_iter().chain([rollout(&ANNOTATED, &spec, &hashes)]));
            assert!((share(&plan, WorkloadKind::Rollout) - 1.0).abs() < 1e-9, "{weights:?} {stable:?}");
        }
    }
}

#[test]
fn a_service_of_other_hashes_selects_none_of_a_rollouts_pods() {
    let status = json!({"stableRS": "5f6", "currentPodHash": "5f6"});
    let routes = canary((90, 10), (&selector(Some("5f6")), &selector(Some("of-another"))));
    let plan = plan_of(routes.into_iter().chain([rollout(&ANNOTATED, &json!({"template": template()}), &status)]));
    assert!((share(&plan, WorkloadKind::Rollout) - 0.9).abs() < 1e-9);
    let routes = canary((90, 10), (&selector(None), &selector(Some("5f6"))));
    let plan = plan_of(routes.into_iter().chain([deployment(&ANNOTATED)]));
    assert!((share(&plan, WorkloadKind::Deployment) - 0.9).abs() < 1e-9, "a Deployment's pods have no such label");
}

#[test]
fn a_rollout_takes_over_the_template_and_the_pods_of_the_deployment_that_it_refers_to() {
    let refers = json!({"replicas": 2, "workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}});
    let routes = || canary((90, 10), (&selector(None), &selector(None)));
    let plan = plan_of(routes().into_iter().chain([deployment(&[]), rollout(&ANNOTATED, &refers, &json!({}))]));
    assert!((share(&plan, WorkloadKind::Rollout) - 1.0).abs() < 1e-9, "its pods are not counted twice");
    assert_eq!(plan.workloads.len(), 1);
    assert!((plan.workloads.values().next().unwrap().requests.cpu_cores - 0.5).abs() < 1e-9);

    let plan = plan_of(routes().into_iter().chain([deployment(&ANNOTATED), rollout(&ANNOTATED, &refers, &json!({}))]));
    let problems: Vec<_> =
        plan.workloads.values().filter_map(|workload| workload.intent.as_ref().err()).flatten().collect();
    assert_eq!(problems.len(), 1);
    let told = problems[0].to_string();
    assert!(
        told.contains("Rollout api") && told.contains("move the tidegate.dev/ annotations to the Rollout"),
        "{told}"
    );

    // Gone, the Deployment leaves the Rollout without a template: no traffic is known, and nothing is scaled on a guess.
    let plan = plan_of(routes().into_iter().chain([rollout(&ANNOTATED, &refers, &json!({}))]));
    assert!(share(&plan, WorkloadKind::Rollout).abs() < 1e-9);
}

#[test]
fn a_managed_namespace_includes_rollouts_but_neither_their_deployments_nor_other_kinds() {
    let hours = json!({"tidegate.dev/manage": "all", "tidegate.dev/hours": "Mo-Fr 08:00-18:00", "tidegate.dev/timezone": "UTC"});
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "annotations": hours}});
    let refers = json!({"workloadRef": {"kind": "Deployment", "name": "api"}});
    let set = object("apps.kruise.io/v1alpha1", "CloneSet", "api", &[], &json!({"template": template()}), &json!({}));
    let plan = plan_of([namespace, deployment(&[]), rollout(&[], &refers, &json!({})), set]);
    assert_eq!(plan.workloads.keys().map(|id| id.kind).collect::<Vec<_>>(), [WorkloadKind::Rollout]);
}

#[test]
fn each_kind_is_found_by_its_pods() {
    let custom = WorkloadKind::named("widgets.plan.test/v1/Widget").unwrap();
    let lws = json!({"leaderWorkerTemplate": {"workerTemplate": template(), "size": 2}});
    for (kind, spec, status) in [
        (WorkloadKind::CloneSet, json!({"template": template()}), json!({})),
        (WorkloadKind::LeaderWorkerSet, lws, json!({})),
        (WorkloadKind::ReplicaSet, json!({"template": template()}), json!({})),
        (custom, json!({"size": 3}), json!({"selector": "app=api"})),
    ] {
        let workload = object(&kind.api_version(), kind.as_str(), "api", &ANNOTATED, &spec, &status);
        let plan = plan_of(canary((1, 1), (&selector(None), &selector(None))).into_iter().chain([workload]));
        assert!((share(&plan, kind) - 1.0).abs() < 1e-9, "{kind}");
    }
}

#[test]
fn a_replica_set_that_something_controls_is_no_workload_of_its_own() {
    let mut owned = object("apps/v1", "ReplicaSet", "api", &ANNOTATED, &json!({"template": template()}), &json!({}));
    owned["metadata"]["ownerReferences"] =
        json!([{"kind": "Deployment", "name": "api", "uid": "u", "controller": true}]);
    assert!(plan_of([owned]).workloads.is_empty());
}
