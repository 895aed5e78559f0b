//! The clusters that carry the traffic, and their names.

use super::*;

#[test]
fn a_workload_gets_the_cluster_of_the_rule_that_leads_to_it() {
    let plan = plan_of([annotated("api", 1), service_of("api"), route("HTTPRoute", &[("api", 1)])]);
    let meaning = traffic(&plan, "api")[0].meaning;
    let expected = ClusterShare {
        cluster: "httproute/shop/route/rule/0".into(),
        split: Some("httproute/shop/route/rule/0/backend/0".into()),
        share: 1.0,
        of_backend: 1.0,
        route: RouteRef { kind: "HTTPRoute".into(), namespace: "shop".into(), name: "route".into(), rule: Some(0) },
        service: ServiceId { namespace: "shop".into(), name: "api".into() },
        fleets: ["gateway/gateways/edge".into()].into(),
        meaning,
        pending: false,
    };
    assert_eq!(traffic(&plan, "api"), std::slice::from_ref(&expected));
    assert_eq!(plan.services, BTreeMap::from([(expected.service.clone(), vec![expected])]));
}

/// An HTTPRoute with a rule to each of these Services.
fn rules(backends: &[&str]) -> Value {
    let rule = |name: &&str| json!({"backendRefs": [{"name": name, "port": 80}]});
    let rules: Vec<_> = backends.iter().map(rule).collect();
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "route", "namespace": "shop", "generation": 2},
        "spec": {"parentRefs": [{"name": "edge", "namespace": "gateways"}], "rules": rules}})
}

#[test]
fn a_name_that_a_rule_inserted_before_it_shifts_stands_for_something_else_and_one_of_other_weights_does_not() {
    let objects = || [annotated("api", 1), annotated("new", 1), service_of("api"), service_of("new")];
    let meaning = |route: Value, workload: &str| {
        let plan = plan_of(objects().into_iter().chain([route]));
        let [share] = traffic(&plan, workload) else { panic!("{workload}") };
        (share.cluster.to_string(), share.meaning)
    };
    let (before, after) = (rules(&["api", "api"]), rules(&["new", "api"]));
    let plan = plan_of(objects().into_iter().chain([before]));
    let first = traffic(&plan, "api")[0].meaning;
    assert_ne!(meaning(after, "new"), ("httproute/shop/route/rule/0".to_owned(), first));
    let weights = |weights: [u32; 2]| route("HTTPRoute", &[("api", weights[0]), ("new", weights[1])]);
    assert_eq!(meaning(weights([90, 10]), "api"), meaning(weights([50, 50]), "api"));
}

#[test]
fn a_route_is_pending_while_envoy_gateway_reports_an_earlier_generation_only() {
    let controller = "gateway.envoyproxy.io/gatewayclass-controller";
    let told = |controller: &str, generation: i64| json!({"parents": [{"controllerName": controller, "conditions": [{"type": "Accepted", "observedGeneration": generation}]}]});
    for (status, pending) in [
        (Value::Null, false),
        (told(controller, 1), true),
        (told(controller, 2), false),
        (told("somebody.else/controller", 1), false),
        (json!({"parents": [{"controllerName": controller, "conditions": []}]}), true),
    ] {
        let mut route = rules(&["api"]);
        route["status"] = status.clone();
        let plan = plan_of([annotated("api", 1), service_of("api"), route]);
        assert_eq!(traffic(&plan, "api")[0].pending, pending, "{status}");
    }
}

#[test]
fn a_cluster_is_on_the_proxies_of_each_gateway_that_lets_its_route_in() {
    let mut second = gateway();
    second["metadata"]["name"] = json!("second");
    let mut route = rules(&["api"]);
    route["spec"]["parentRefs"] = json!([{"name": "edge", "namespace": "gateways"}, {"name": "second", "namespace": "gateways"}, {"name": "gone"}]);
    let plan = plan_of([second, annotated("api", 1), service_of("api"), route]);
    let fleets: Vec<_> = traffic(&plan, "api")[0].fleets.iter().map(|fleet| &**fleet).collect();
    assert_eq!(fleets, ["gateway/gateways/edge", "gateway/gateways/second"]);
}

#[test]
fn tcp_and_tls_routes_have_one_cluster_and_never_split() {
    for (kind, cluster) in [("TCPRoute", "tcproute/shop/route/rule/-1"), ("TLSRoute", "tlsroute/shop/route/rule/-1")] {
        let plan = plan_of([annotated("api", 1), service_of("api"), route(kind, &[("api", 1)])]);
        let [share] = traffic(&plan, "api") else { panic!("{kind}") };
        assert_eq!((share.cluster.as_ref(), &share.split, share.route.rule), (cluster, &None, None));
    }
}

#[test]
fn what_a_udp_route_carries_is_not_measured() {
    let plan = plan_of([annotated("api", 1), service_of("api"), route("UDPRoute", &[("api", 1)])]);
    assert_eq!(traffic(&plan, "api"), []);
}

#[test]
fn the_name_in_statistics_replaces_both_forms() {
    let proxy = json!({"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyProxy",
        "metadata": {"name": "names", "namespace": "gateways"},
        "spec": {"telemetry": {"metrics": {"clusterStatName": "%ROUTE_NAME%-%ROUTE_RULE_NUMBER%"}}}});
    let mut gateway = gateway();
    gateway["spec"]["infrastructure"] =
        json!({"parametersRef": {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "names"}});
    let plan = plan_of([gateway, proxy, annotated("api", 1), service_of("api"), route("HTTPRoute", &[("api", 1)])]);
    let [share] = traffic(&plan, "api") else { panic!() };
    assert_eq!((share.cluster.as_ref(), &share.split), ("route-0", &None));
}

#[test]
fn rules_under_one_name_in_statistics_count_the_same() {
    let proxy = json!({"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyProxy",
        "metadata": {"name": "names", "namespace": "gateways"},
        "spec": {"telemetry": {"metrics": {"clusterStatName": "%ROUTE_NAME%"}}}});
    let mut gateway = gateway();
    gateway["spec"]["infrastructure"] =
        json!({"parametersRef": {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "names"}});
    let mut route = route("HTTPRoute", &[("a", 90), ("b", 10)]);
    route["spec"]["rules"].as_array_mut().unwrap().push(json!({"backendRefs": [{"name": "a", "port": 80}]}));
    let plan = plan_of([gateway, proxy, annotated("a", 1), annotated("b", 1), service_of("a"), service_of("b"), route]);
    let sum = |name| traffic(&plan, name).iter().map(|share| share.share).sum::<f64>();
    assert_eq!((sum("a"), sum("b")), (0.95, 0.05));
}

#[test]
fn a_merged_cluster_counts_once_however_many_routes_lead_to_it() {
    let proxy = json!({"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyProxy",
        "metadata": {"name": "merge", "namespace": "gateways"}, "spec": {"mergeBackends": {}}});
    let mut gateway = gateway();
    gateway["spec"]["infrastructure"] =
        json!({"parametersRef": {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "merge"}});
    let mut other = route("HTTPRoute", &[("api", 1)]);
    other["metadata"]["name"] = json!("other");
    let plan =
        plan_of([gateway, proxy, annotated("api", 1), service_of("api"), route("HTTPRoute", &[("api", 1)]), other]);
    let [share] = traffic(&plan, "api") else { panic!() };
    assert_eq!((share.cluster.as_ref(), share.share, &share.split), ("service/shop/api/80/http", 1.0, &None));
}

#[test]
fn a_route_attached_to_several_gateways_counts_once() {
    let mut second = gateway();
    second["metadata"]["name"] = json!("second");
    let mut route = route("HTTPRoute", &[("api", 1)]);
    let parents = route["spec"]["parentRefs"].as_array_mut().unwrap();
    parents.push(json!({"name": "second", "namespace": "gateways"}));
    parents.push(json!({"name": "second", "namespace": "gateways", "sectionName": "http"}));
    let plan = plan_of([second, annotated("api", 1), service_of("api"), route]);
    assert_eq!(share(&plan, "api"), (1.0, 1.0));
}

#[test]
fn a_gateway_of_another_controller_carries_nothing_for_us() {
    let class = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "eg"},
        "spec": {"controllerName": "istio.io/gateway-controller"}});
    let plan = plan_of([class, annotated("api", 1), service_of("api"), route("HTTPRoute", &[("api", 1)])]);
    assert_eq!(traffic(&plan, "api"), []);
}
