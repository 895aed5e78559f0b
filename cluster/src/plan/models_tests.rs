//! AIGatewayRoutes, from objects to the Plan.

use serde_json::{Value, json};
use tidegate_core::{
    llm::{Destination, ModelShare, TokenNames, part_of},
    workload::{WorkloadId, WorkloadKind},
};

use super::super::{Objects, routes::routes_table};

fn objects(all: impl IntoIterator<Item = Value>) -> Objects {
    let mut objects = Objects::default();
    let gateway = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "ai", "namespace": "llm"},
        "spec": {"gatewayClassName": "eg", "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}]}});
    for object in [gateway].into_iter().chain(all) {
        objects.apply(object).unwrap();
    }
    objects
}

fn model_server(name: &str, annotations: &Value) -> [Value; 2] {
    let labels = json!({"app": name});
    [
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "llm", "uid": name, "annotations": annotations},
            "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}},
            "status": {"replicas": 2, "readyReplicas": 2}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "llm"},
            "spec": {"selector": labels, "ports": [{"port": 8000}]}}),
    ]
}

fn tokens() -> Value {
    json!({"tidegate.dev/output-tokens-per-second": "500"})
}

fn backend(name: &str, hostname: &str) -> [Value; 2] {
    [
        json!({"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "Backend", "metadata": {"name": name, "namespace": "llm"},
            "spec": {"endpoints": [{"fqdn": {"hostname": hostname, "port": 8000}}]}}),
        json!({"apiVersion": "aigateway.envoyproxy.io/v1beta1", "kind": "AIServiceBackend",
            "metadata": {"name": name, "namespace": "llm"}, "spec": {"schema": {"name": "OpenAI"},
            "backendRef": {"group": "gateway.envoyproxy.io", "kind": "Backend", "name": name}}}),
    ]
}

fn ai_route(version: &str, name: &str, model: &str, backends: &Value) -> Value {
    json!({"apiVersion": format!("aigateway.envoyproxy.io/{version}"), "kind": "AIGatewayRoute",
        "metadata": {"name": name, "namespace": "llm"},
        "spec": {"parentRefs": [{"name": "ai"}], "rules": [{
            "matches": [{"headers": [{"type": "Exact", "name": "x-ai-eg-model", "value": model}]}],
            "backendRefs": backends}]}})
}

/// OpenAI, with a self-hosted model as fallback.
fn with_fallback(version: &str) -> Vec<Value> {
    let backends = json!([{"name": "openai"}, {"name": "qwen", "modelNameOverride": "qwen3-8b", "priority": 1}]);
    let mut all = vec![ai_route(version, "chat", "gpt-4o", &backends)];
    all.extend(backend("openai", "api.openai.com"));
    all.extend(backend("qwen", "qwen.llm.svc.cluster.local"));
    all.extend(model_server("qwen", &tokens()));
    all
}

fn workload(name: &str) -> WorkloadId {
    WorkloadId { namespace: "llm".into(), kind: WorkloadKind::Deployment, name: name.into() }
}

fn models(objects: &Objects, name: &str) -> Vec<ModelShare> {
    objects.plan().workloads[&workload(name)].models.clone()
}

fn counted(original: &str, request: &str) -> TokenNames {
    TokenNames { original: original.into(), request: request.into(), ..TokenNames::default() }
}

#[test]
fn a_model_of_ones_own_that_stands_in_for_openai_is_found_in_both_versions() {
    for version in ["v1alpha1", "v1beta1"] {
        let objects = objects(with_fallback(version));
        let shares = models(&objects, "qwen");
        assert_eq!(part_of(&shares, &counted("gpt-4o", "qwen3-8b")), 1.0);
        assert_eq!(part_of(&shares, &counted("gpt-4o", "gpt-4o")), 0.0, "OpenAI's");
        let rule = &objects.plan().ai_rules[0];
        assert_eq!(rule.models, ["gpt-4o"]);
        assert_eq!(rule.backends[0].destination, Destination::External("api.openai.com".into()));
    }
}

#[test]
fn the_generated_httproute_changes_nothing() {
    let without = objects(with_fallback("v1beta1"));
    let reference =
        |name: &str| json!({"group": "gateway.envoyproxy.io", "kind": "Backend", "name": name, "weight": 1});
    let generated = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "chat", "namespace": "llm"},
        "spec": {"parentRefs": [{"name": "ai"}],
            "rules": [{"backendRefs": [reference("openai"), reference("qwen")]}, {"name": "route-not-found"}]}});
    let with = objects(with_fallback("v1beta1").into_iter().chain([generated]));
    let (with, without) = (with.plan(), without.plan());
    assert_eq!((with.ai_rules, with.services), (without.ai_rules, without.services));
}

#[test]
fn a_backend_that_is_missing_moves_no_priority_to_another() {
    let backends = json!([{"name": "missing"}, {"name": "qwen"}, {"name": "spare", "priority": 1}]);
    let mut all = vec![ai_route("v1beta1", "chat", "qwen3-8b", &backends)];
    for name in ["qwen", "spare"] {
        all.extend(backend(name, &format!("{name}.llm.svc.cluster.local")));
        all.extend(model_server(name, &tokens()));
    }
    let objects = objects(all);
    let shares =
        |name: &str| objects.plan().workloads[&workload(name)].traffic.iter().map(|own| own.share).collect::<Vec<_>>();
    assert_eq!(
        (shares("qwen"), shares("spare")),
        (vec![1.0], vec![0.5]),
        "all of it, and a part while the first fails"
    );
}

#[test]
fn weights_share_a_model_between_two_workloads() {
    let backends = json!([{"name": "blue", "weight": 90}, {"name": "green", "weight": 10}]);
    let mut all = vec![ai_route("v1beta1", "chat", "qwen3-8b", &backends)];
    for name in ["blue", "green"] {
        all.extend(backend(name, &format!("{name}.llm.svc.cluster.local")));
        all.extend(model_server(name, &tokens()));
    }
    let objects = objects(all);
    let names = counted("qwen3-8b", "qwen3-8b");
    assert_eq!((part_of(&models(&objects, "blue"), &names), part_of(&models(&objects, "green"), &names)), (0.9, 0.1));
}

#[test]
fn a_pool_of_either_group_leads_to_the_pods_that_it_selects() {
    for (group, version, selector) in [
        ("inference.networking.k8s.io", "v1", json!({"matchLabels": {"app": "qwen"}})),
        ("inference.networking.x-k8s.io", "v1alpha2", json!({"app": "qwen"})),
    ] {
        let pool = json!({"apiVersion": format!("{group}/{version}"), "kind": "InferencePool",
            "metadata": {"name": "qwen-pool", "namespace": "llm"}, "spec": {"selector": selector}});
        let backends = json!([{"group": group, "kind": "InferencePool", "name": "qwen-pool"}]);
        let route = ai_route("v1beta1", "chat", "qwen3-8b", &backends);
        let objects = objects([pool, route].into_iter().chain(model_server("qwen", &tokens())));
        assert_eq!(part_of(&models(&objects, "qwen"), &counted("qwen3-8b", "qwen3-8b")), 1.0, "{group}");
        let traffic = &objects.plan().workloads[&workload("qwen")].traffic;
        assert_eq!(&*traffic[0].cluster, "httproute/llm/chat/rule/0", "{group}");
    }
}

#[test]
fn two_routes_to_one_model_are_both_kept_and_count_once() {
    let backends = json!([{"name": "qwen"}]);
    let routes = ["a", "b"].map(|name| ai_route("v1beta1", name, "qwen3-8b", &backends));
    let parts = backend("qwen", "qwen.llm.svc.cluster.local").into_iter().chain(model_server("qwen", &tokens()));
    let shares = models(&objects(routes.into_iter().chain(parts)), "qwen");
    assert_eq!((shares.len(), part_of(&shares, &counted("qwen3-8b", "qwen3-8b"))), (2, 1.0));
}

#[test]
fn the_annotation_names_the_model_whatever_the_routes_say() {
    let annotations = json!({"tidegate.dev/output-tokens-per-second": "500", "tidegate.dev/model": "other"});
    let all = with_fallback("v1beta1").into_iter().chain(model_server("qwen", &annotations));
    assert_eq!(models(&objects(all), "qwen"), [ModelShare::Named("other".into())]);
}

#[test]
fn a_route_that_no_gateway_accepts_leads_nowhere() {
    let mut all = with_fallback("v1beta1");
    all[0]["spec"]["parentRefs"] = json!([{"name": "another"}]);
    let objects = objects(all);
    assert_eq!((models(&objects, "qwen"), objects.plan().ai_rules), (vec![], vec![]));
}

#[test]
fn a_model_of_the_same_name_behind_another_gateway_is_not_its_own() {
    let mut all = with_fallback("v1beta1");
    let names = |fleet: &str| TokenNames { fleet: fleet.into(), ..counted("gpt-4o", "qwen3-8b") };
    let part = |all: &[Value], fleet: &str| part_of(&models(&objects(all.to_vec()), "qwen"), &names(fleet));
    assert_eq!((part(&all, "gateway/llm/ai"), part(&all, "gateway/other/ai")), (1.0, 0.0));
    // A ListenerSet may belong to any Gateway.
    let listener_set = json!({"kind": "ListenerSet", "name": "ai"});
    all[0]["spec"]["parentRefs"].as_array_mut().unwrap().push(listener_set);
    assert_eq!(part(&all, "gateway/other/ai"), 1.0);
}

#[test]
fn routes_show_models_and_where_they_leave_the_cluster() {
    let table = routes_table(&objects(with_fallback("v1beta1")).routes());
    let lines: Vec<Vec<&str>> =
        table.lines().map(|line| line.split("   ").filter(|cell| !cell.is_empty()).map(str::trim).collect()).collect();
    assert_eq!(lines[0], ["KIND", "NAMESPACE", "NAME", "PORT", "SHARE", "CLUSTER", "MODEL", "SERVICE", "HOST"]);
    let cluster = "httproute/llm/chat/rule/0";
    assert_eq!(lines[1], ["Backend", "llm", "openai", "-", "50.0 %", cluster, "gpt-4o", "-", "api.openai.com"]);
    assert_eq!(lines[2], ["Backend", "llm", "qwen", "-", "50.0 %", cluster, "qwen3-8b", "llm/qwen:8000", "-"]);
}

#[test]
fn only_proxies_with_the_side_car_count_tokens() {
    let pod = |name: &str, containers: Value| {
        let mut pod = super::proxies::tests::pod("llm", name, ("llm", "ai"));
        pod["spec"] = containers;
        super::proxies::tests::owned(pod)
    };
    let plain = pod("plain", json!({"containers": [{"name": "envoy"}]}));
    let counts =
        pod("counts", json!({"containers": [{"name": "envoy"}], "initContainers": [{"name": "ai-gateway-extproc"}]}));
    let gateways = objects(plain.into_iter().chain(counts)).plan().ai_gateways;
    assert_eq!(gateways.len(), 1);
    assert_eq!((gateways[0].name.as_str(), gateways[0].metrics), ("llm/counts", ([10, 0, 0, 1], 1064).into()));
    assert_eq!(gateways[0].fleet.as_deref(), Some("gateway/llm/ai"));
}

#[test]
fn a_worker_without_the_named_port_takes_nothing_of_a_models_tokens() {
    let mut all = vec![ai_route("v1beta1", "chat", "qwen3-8b", &json!([{"name": "qwen"}]))];
    all.extend(backend("qwen", "qwen.llm.svc.cluster.local"));
    for (name, ports) in [("qwen", json!([{"name": "http", "containerPort": 8000}])), ("worker", json!([]))] {
        let [mut deployment, mut service] = model_server(name, &tokens());
        deployment["spec"]["template"]["metadata"]["labels"]["team"] = json!("llm");
        deployment["spec"]["template"]["spec"] = json!({"containers": [{"name": "c", "ports": ports}]});
        service["spec"]["selector"] = json!({"team": "llm"});
        service["spec"]["ports"][0]["targetPort"] = json!("http");
        all.extend([deployment, service]);
    }
    let objects = objects(all);
    let parts = |name: &str| part_of(&models(&objects, name), &counted("qwen3-8b", "qwen3-8b"));
    assert_eq!((parts("qwen"), parts("worker")), (1.0, 0.0));
}
