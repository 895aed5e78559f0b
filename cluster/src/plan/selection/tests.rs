//! Who is behind a Service by the rules: selectors, labels that Kubernetes adds, ports, names and addresses.

use serde_json::{Value, json};
use tidegate_core::{
    plan::Plan,
    workload::{WorkloadId, WorkloadKind},
};

use crate::Objects;

pub(super) fn plan_of(all: impl IntoIterator<Item = Value>) -> Plan {
    let gateway = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"gatewayClassName": "eg", "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}]}});
    let mut objects = Objects::default();
    for object in [gateway].into_iter().chain(all) {
        assert_eq!(objects.apply(object), Ok(true));
    }
    objects.plan()
}

/// A workload of a cluster whose pods all are ready, labelled `app: shop` and `role: NAME`.
pub(super) fn workload(kind: &str, name: &str, replicas: u32, spec: &Value) -> Value {
    let labels = json!({"app": "shop", "role": name});
    json!({"apiVersion": "apps/v1", "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "uid": name,
            "annotations": {"tidegate.dev/requests-per-second": "10"}},
        "spec": {"replicas": replicas, "template": {"metadata": {"labels": labels}, "spec": spec}},
        "status": {"replicas": replicas, "readyReplicas": replicas}})
}

pub(super) fn deployment(name: &str, replicas: u32) -> Value {
    workload("Deployment", name, replicas, &http())
}

fn stateful_set(name: &str, replicas: u32) -> Value {
    workload("StatefulSet", name, replicas, &http())
}

/// A pod with the port `http`.
fn http() -> Value {
    json!({"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]})
}

/// A Service with port 80, which leads to the named port `http`, and port 81, which leads to a number.
pub(super) fn service(name: &str, selector: &Value) -> Value {
    let ports =
        json!([{"name": "web", "port": 80, "targetPort": "http"}, {"name": "raw", "port": 81, "targetPort": 8080}]);
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": selector, "ports": ports}})
}

/// An HTTPRoute with a rule to each of these backends.
pub(super) fn route(backends: &[Value]) -> Value {
    let rules: Vec<_> = backends.iter().map(|backend| json!({"backendRefs": [backend]})).collect();
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "route", "namespace": "shop"}, "spec": {"parentRefs": [{"name": "web"}], "rules": rules}})
}

pub(super) fn to(service: &str, port: u16) -> Value {
    json!({"name": service, "port": port})
}

/// The rules that lead to a workload, each with the workload's part of the backend.
pub(super) fn parts(plan: &Plan, name: &str) -> Vec<(usize, f64)> {
    let of = |kind| plan.workloads.get(&WorkloadId { namespace: "shop".into(), kind, name: name.into() });
    let workload = of(WorkloadKind::Deployment).or_else(|| of(WorkloadKind::StatefulSet)).unwrap();
    workload.traffic.iter().map(|share| (share.route.rule.unwrap(), share.of_backend)).collect()
}

#[test]
fn a_worker_without_the_named_port_takes_nothing_of_the_webs_traffic() {
    let worker = workload("Deployment", "worker", 6, &json!({"containers": [{"name": "c"}]}));
    let all = [deployment("web", 2), worker, service("all", &json!({"app": "shop"}))];
    let plan = plan_of(all.into_iter().chain([route(&[to("all", 80), to("all", 81)])]));
    assert_eq!(parts(&plan, "web"), [(0, 1.0), (1, 0.25)], "a numeric target port leaves nobody out");
    assert_eq!(parts(&plan, "worker"), [(1, 0.75)]);
}

#[test]
fn a_named_port_may_be_a_side_cars_but_neither_an_init_containers_nor_one_of_another_protocol() {
    let port = |protocol: &str| json!([{"name": "http", "containerPort": 8080, "protocol": protocol}]);
    for (spec, has_it) in [
        (json!({"containers": [{"name": "c", "ports": port("TCP")}]}), true),
        (
            json!({"containers": [{"name": "c"}], "initContainers": [{"name": "i", "ports": port("TCP"), "restartPolicy": "Always"}]}),
            true,
        ),
        (json!({"containers": [{"name": "c"}], "initContainers": [{"name": "i", "ports": port("TCP")}]}), false),
        (json!({"containers": [{"name": "c", "ports": port("UDP")}]}), false),
        (json!({"containers": [{"name": "c", "ports": [{"name": "https", "containerPort": 8080}]}]}), false),
    ] {
        let all = [workload("Deployment", "web", 1, &spec), service("web", &json!({"role": "web"}))];
        let plan = plan_of(all.into_iter().chain([route(&[to("web", 80)])]));
        assert_eq!(!parts(&plan, "web").is_empty(), has_it, "{spec}");
    }
}

#[test]
fn a_service_of_a_single_pod_leads_to_the_stateful_set_of_the_pod() {
    let (by_name, by_index) = ("statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index");
    let all = [
        stateful_set("db", 2),
        stateful_set("db-1", 2),
        service("db-0", &json!({by_name: "db-0"})),
        service("db-1", &json!({by_index: "1", "role": "db"})),
        service("both", &json!({by_index: "1", by_name: "db-1"})),
        service("neither", &json!({by_index: "0", by_name: "db-1"})),
        service("firsts", &json!({by_index: "0"})),
        service("third", &json!({by_name: "db-2"})),
        service("nested", &json!({by_name: "db-1-1"})),
    ];
    let services = ["db-0", "db-1", "both", "neither", "firsts", "third", "nested"];
    let plan = plan_of(all.into_iter().chain([route(&services.map(|name| to(name, 80)))]));
    assert_eq!(parts(&plan, "db"), [(2, 1.0), (0, 1.0), (1, 1.0), (4, 0.5)], "by name of the Service");
    assert_eq!(parts(&plan, "db-1"), [(4, 0.5), (6, 1.0)]);
}

#[test]
fn pods_count_from_the_first_ordinal_and_a_set_without_pods_keeps_its_first() {
    for (first, replicas, expected) in
        [(0, 2, vec![0, 1]), (2, 2, vec![2, 3]), (0, 0, vec![0]), (3, 0, vec![3]), (0, 5, vec![0, 1, 2, 3])]
    {
        let mut set = stateful_set("db", replicas);
        set["spec"]["ordinals"] = json!({"start": first});
        let pods = (0..4).map(|i| format!("db-{i}"));
        let services = pods.map(|pod| service(&pod, &json!({"statefulset.kubernetes.io/pod-name": pod})));
        let rules: Vec<_> = (0..4).map(|i| to(&format!("db-{i}"), 80)).collect();
        let plan = plan_of([set, route(&rules)].into_iter().chain(services));
        let rules: Vec<_> = parts(&plan, "db").into_iter().map(|(rule, _)| rule).collect();
        assert_eq!(rules, expected, "{replicas} from {first}");
    }
}

#[test]
fn a_hash_of_the_pod_template_is_the_workloads_that_the_other_labels_select() {
    let selectors = [
        json!({"role": "web", "pod-template-hash": "7d9f8c6b5d"}),
        json!({"role": "db", "controller-revision-hash": "db-5d4f"}),
        json!({"role": "web", "controller-revision-hash": "db-5d4f"}),
        json!({"pod-template-hash": "7d9f8c6b5d"}),
    ];
    let services = selectors.iter().enumerate().map(|(i, selector)| service(&format!("s{i}"), selector));
    let rules: Vec<_> = (0..selectors.len()).map(|i| to(&format!("s{i}"), 80)).collect();
    let all = [deployment("web", 1), stateful_set("db", 1), route(&rules)];
    let plan = plan_of(all.into_iter().chain(services));
    assert_eq!((parts(&plan, "web"), parts(&plan, "db")), (vec![(0, 1.0)], vec![(1, 1.0)]));
}

fn backend(name: &str, endpoints: &Value) -> Value {
    json!({"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "Backend",
        "metadata": {"name": name, "namespace": "shop"}, "spec": {"endpoints": endpoints}})
}

fn fqdns(hosts: &[&str]) -> Value {
    hosts.iter().map(|host| json!({"fqdn": {"hostname": host, "port": 80}})).collect()
}

/// The rules of a route to a Backend of each of these endpoints that lead to `db`, the StatefulSet behind the headless Service `db`
/// and behind `front`, which has an address.
fn reached(endpoints: &[Value]) -> Vec<usize> {
    let mut headless = service("db", &json!({"role": "db"}));
    headless["spec"]["clusterIP"] = json!("None");
    let mut front = service("front", &json!({"role": "db"}));
    front["spec"]["clusterIP"] = json!("10.96.0.7");
    front["spec"]["clusterIPs"] = json!(["10.96.0.7", "fd00::7"]);
    let set = workload("StatefulSet", "db", 2, &json!({"containers": [{"name": "c"}]}));
    let backends = endpoints.iter().enumerate().map(|(i, endpoints)| backend(&format!("b{i}"), endpoints));
    let refs: Vec<_> = (0..endpoints.len())
        .map(|i| json!({"group": "gateway.envoyproxy.io", "kind": "Backend", "name": format!("b{i}")}))
        .collect();
    let mut other = stateful_set("proxy", 1);
    other["metadata"]["namespace"] = json!("envoy-gateway-system");
    let mut others = service("proxy", &json!({"role": "proxy"}));
    others["metadata"]["namespace"] = json!("envoy-gateway-system");
    let plan = plan_of([set, headless, front, other, others, route(&refs)].into_iter().chain(backends));
    let mut rules: Vec<_> = parts(&plan, "db").into_iter().map(|(rule, _)| rule).collect();
    rules.sort_unstable();
    rules
}

#[test]
fn a_backend_that_names_a_pod_leads_to_its_stateful_set() {
    let hosts = [
        fqdns(&["db-0.db.shop.svc.cluster.local"]),
        fqdns(&["db-1.db.shop.svc"]),
        fqdns(&["db-0.db.shop"]),
        fqdns(&["db-0.db.shop.svc.cluster.local", "db-1.db.shop.svc.cluster.local"]),
        fqdns(&["db-0.db.shop.svc.cluster.local", "db.shop.svc.cluster.local"]),
        fqdns(&["db-2.db.shop.svc.cluster.local"]),
        fqdns(&["web-0.db.shop.svc.cluster.local"]),
        fqdns(&["db-0.db.other.svc.cluster.local"]),
        fqdns(&["proxy-0.proxy"]),
    ];
    assert_eq!(reached(&hosts), [0, 1, 2, 3, 4]);
}

#[test]
fn a_short_name_leads_to_a_service_only_if_there_is_one() {
    let hosts = [
        fqdns(&["db.shop"]),
        fqdns(&["db.shop.svc"]),
        fqdns(&["db.shop."]),
        fqdns(&["db.example"]),
        fqdns(&["api.openai.com"]),
        fqdns(&["db.shop", "db.shop.svc.cluster.local"]),
    ];
    assert_eq!(reached(&hosts), [0, 1, 5]);
}

#[test]
fn a_host_elsewhere_is_taken_for_no_service() {
    let reference = json!({"group": "gateway.envoyproxy.io", "kind": "Backend", "name": "b"});
    for host in ["db.example", "api.openai.com", "db-0.db.example"] {
        let plan = plan_of([backend("b", &fqdns(&[host])), route(std::slice::from_ref(&reference))]);
        assert!(plan.services.is_empty(), "{host}");
    }
}

#[test]
fn a_backend_of_a_services_own_address_leads_to_the_service_and_heeds_its_target_port() {
    let ip = |address: &str, port: u16| json!([{"ip": {"address": address, "port": port}}]);
    let both = json!([{"ip": {"address": "10.96.0.7", "port": 81}}, {"ip": {"address": "fd00::7", "port": 81}}]);
    let mixed = json!([{"ip": {"address": "10.96.0.7", "port": 81}}, {"ip": {"address": "10.0.0.1", "port": 81}}]);
    let endpoints = [ip("10.96.0.7", 81), ip("fd00:0::7", 81), ip("10.96.0.7", 80), ip("10.0.0.1", 81), both, mixed];
    assert_eq!(reached(&endpoints), [0, 1, 4], "no container has the port http, to which 80 leads");
}

#[test]
fn the_name_of_a_headless_service_stands_for_all_its_pods_whatever_ports_they_name() {
    assert_eq!(reached(&[fqdns(&["db.shop.svc.cluster.local"]), fqdns(&["front.shop.svc.cluster.local"])]), [0]);
}
