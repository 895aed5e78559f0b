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

#[test]
fn a_rule_shared_90_10_gives_a_tenth_of_its_rate_to_the_canary() {
    let objects = [annotated("api", 9), annotated("canary", 1), service_of("api"), service_of("canary")];
    let plan = plan_of(objects.into_iter().chain([route("HTTPRoute", &[("api", 90), ("canary", 10)])]));
    assert_eq!(share(&plan, "api"), (0.9, 1.0));
    assert_eq!(share(&plan, "canary"), (0.1, 1.0));
    assert_eq!(traffic(&plan, "canary")[0].split.as_deref(), Some("httproute/shop/route/rule/0/backend/1"));
}

#[test]
fn a_canary_at_rest_has_a_route_and_no_part_of_it() {
    let objects = || [annotated("api", 9), annotated("canary", 1), service_of("api"), service_of("canary")];
    for (kind, weights) in
        [("HTTPRoute", [100, 0]), ("GRPCRoute", [1, 0]), ("TCPRoute", [100, 0]), ("HTTPRoute", [0, 0])]
    {
        let plan = plan_of(objects().into_iter().chain([route(kind, &[("api", weights[0]), ("canary", weights[1])])]));
        let part = f64::from(u8::from(weights[0] > 0));
        assert_eq!((share(&plan, "api"), share(&plan, "canary")), ((part, 1.0), (0.0, 1.0)), "{kind} {weights:?}");
    }
}

#[test]
fn a_mirror_is_load_of_the_workload_that_gets_the_copies_and_takes_nothing_from_the_others() {
    let mut route = route("HTTPRoute", &[("api", 1)]);
    let header =
        json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}]}});
    let mirror = json!({"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shadow", "port": 80}}});
    route["spec"]["rules"][0]["filters"] = json!([header, mirror]);
    let plan = plan_of([annotated("api", 1), annotated("shadow", 1), service_of("api"), service_of("shadow"), route]);
    assert_eq!((share(&plan, "api"), share(&plan, "shadow")), ((1.0, 1.0), (1.0, 1.0)));
    let [copies] = traffic(&plan, "shadow") else { panic!("one cluster") };
    assert_eq!((&*copies.cluster, copies.split.as_ref()), ("httproute/shop/route/rule/0-mirror-1", None));
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
fn workloads_behind_one_service_share_by_ready_replicas() {
    let objects = |ready: [u32; 2]| {
        [
            annotated("a", ready[0]),
            annotated("b", ready[1]),
            service("both", &json!({"team": "shop"})),
            route("GRPCRoute", &[("both", 1)]),
        ]
    };
    let plan = plan_of(objects([3, 1]));
    assert_eq!((share(&plan, "a"), share(&plan, "b")), ((1.0, 0.75), (1.0, 0.25)));
    let plan = plan_of(objects([0, 0]));
    assert_eq!((share(&plan, "a"), share(&plan, "b")), ((1.0, 0.5), (1.0, 0.5)));
}

#[test]
fn workloads_without_annotations_take_their_part_but_are_not_planned() {
    let plan = plan_of([
        annotated("a", 1),
        deployment("b", &json!({}), 3),
        service("both", &json!({"team": "shop"})),
        route("HTTPRoute", &[("both", 1)]),
    ]);
    assert_eq!(plan.workloads.len(), 1);
    assert_eq!(share(&plan, "a"), (1.0, 0.25));
}

#[test]
fn a_service_without_selector_selects_nobody() {
    let plan = plan_of([annotated("api", 1), service("api", &json!({})), route("HTTPRoute", &[("api", 1)])]);
    assert_eq!(traffic(&plan, "api"), []);
    assert_eq!(plan.services.len(), 1);
}

#[test]
fn a_selector_must_match_as_a_whole() {
    let plan = plan_of([
        annotated("api", 1),
        service("api", &json!({"app": "api", "team": "other"})),
        route("HTTPRoute", &[("api", 1)]),
    ]);
    assert_eq!(traffic(&plan, "api"), []);
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
fn a_tcp_backend_that_others_scaled_to_zero_leaves_its_part_to_the_rest() {
    let plan = |canary: Value| {
        let objects = [annotated("api", 2), canary, service_of("api"), service_of("canary")];
        plan_of(objects.into_iter().chain([route("TCPRoute", &[("api", 10), ("canary", 90)])]))
    };
    assert_eq!(share(&plan(deployment("canary", &json!({}), 0)), "api"), (1.0, 1.0));
    // With pods, ready or not, the canary keeps its share, and so does one that Tidegate can wake.
    assert_eq!(share(&plan(deployment("canary", &json!({}), 1)), "api"), (0.1, 1.0));
    assert_eq!(share(&plan(annotated("canary", 0)), "api"), (0.1, 1.0));
}

#[test]
fn an_http_backend_at_zero_keeps_its_part_which_is_answered_with_503() {
    let objects = [annotated("api", 2), deployment("canary", &json!({}), 0), service_of("api"), service_of("canary")];
    let plan = plan_of(objects.into_iter().chain([route("HTTPRoute", &[("api", 10), ("canary", 90)])]));
    assert_eq!(share(&plan, "api"), (0.1, 1.0));
}

#[test]
fn a_backend_named_twice_has_a_part_for_each() {
    let plan = plan_of([annotated("api", 1), service_of("api"), route("HTTPRoute", &[("api", 3), ("api", 1)])]);
    let shares: Vec<_> =
        traffic(&plan, "api").iter().map(|share| (share.share, share.split.as_deref().unwrap())).collect();
    assert_eq!(
        shares,
        [(0.75, "httproute/shop/route/rule/0/backend/0"), (0.25, "httproute/shop/route/rule/0/backend/1")]
    );
}

#[test]
fn a_fallback_takes_nothing_from_the_others() {
    let backend = |name: &str, fallback: bool| {
        json!({"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "Backend",
            "metadata": {"name": name, "namespace": "shop"}, "spec": {"fallback": fallback,
                "endpoints": [{"fqdn": {"hostname": format!("{name}.shop.svc.cluster.local"), "port": 80}}]}})
    };
    let mut both = route("HTTPRoute", &[("api", 1), ("spare", 1)]);
    for reference in both["spec"]["rules"][0]["backendRefs"].as_array_mut().unwrap() {
        reference["kind"] = json!("Backend");
    }
    let workloads = [annotated("api", 1), annotated("spare", 1), service_of("api"), service_of("spare")];
    let plan = plan_of(workloads.into_iter().chain([backend("api", false), backend("spare", true), both]));
    assert_eq!((share(&plan, "api").0, share(&plan, "spare").0), (1.0, 0.5));
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

#[test]
fn defaults_of_the_namespace_hold_for_what_is_in_it() {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop",
        "annotations": {"tidegate.dev/manage": "all", "tidegate.dev/max-replicas": "7",
            "tidegate.dev/hours": "Mo-Fr 08:00-18:00", "tidegate.dev/timezone": "Europe/Berlin"}}});
    let plan = plan_of([namespace, deployment("api", &json!({}), 1)]);
    let (id, workload) = plan.workloads.iter().next().unwrap();
    assert_eq!(id.to_string(), "deployment/api in namespace shop");
    assert_eq!(workload.intent.as_ref().unwrap().bounds.max, 7);
    assert_eq!((workload.uid.as_str(), workload.replicas), ("uid-api", Replicas { wanted: 1, ready: 1 }));
}

#[test]
fn hours_come_from_the_calendar_that_a_workload_names() {
    let calendar = |hours: &str| {
        json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "Calendar", "metadata": {"name": "office"},
        "spec": {"timeZone": "Europe/Berlin", "hours": hours}})
    };
    let api = deployment("api", &json!({"tidegate.dev/calendar": "office"}), 1);
    let planned = |objects: Vec<Value>| plan_of(objects).workloads.into_values().next().unwrap();
    let known = planned(vec![api.clone(), calendar("Mo-Fr 08:00-18:00")]);
    assert_eq!(known.schedule.unwrap().calendar.hours.to_string(), "Mo-Fr 08:00-18:00");
    let problem = |workload: PlannedWorkload| workload.intent.unwrap_err()[0].to_string();
    assert!(problem(planned(vec![api.clone()])).contains("there is no Calendar office"));
    assert!(problem(planned(vec![api, calendar("always")])).contains("Calendar office cannot be used: spec.hours"));
}

#[test]
fn what_opens_after_another_knows_whether_that_is_ready() {
    let api = json!({"tidegate.dev/calendar": "office", "tidegate.dev/after": "deployment/db"});
    let calendar = json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "Calendar", "metadata": {"name": "office"},
        "spec": {"timeZone": "Europe/Berlin", "hours": "24/7"}});
    for (db, ready) in
        [(None, None), (Some((2, 1)), Some(false)), (Some((2, 2)), Some(true)), (Some((0, 0)), Some(false))]
    {
        let mut objects = vec![deployment("api", &api, 1), calendar.clone()];
        objects.extend(db.map(|(wanted, ready)| {
            let mut db = deployment("db", &json!({}), ready);
            db["spec"]["replicas"] = json!(wanted);
            db
        }));
        let workload = plan_of(objects).workloads.into_values().next().unwrap();
        assert_eq!(workload.after.map(|after| after.ready), ready, "{db:?}");
    }
}

#[test]
fn wrong_annotations_are_planned_with_what_is_wrong() {
    let plan = plan_of([deployment("api", &json!({"tidegate.dev/max-replicas": "many"}), 1)]);
    assert!(plan.workloads.values().next().unwrap().intent.is_err());
}

#[test]
fn proxies_are_the_running_pods_of_envoy_gateway() {
    let pod = |name: &str, component: &str, phase: &str, ready: &str| {
        let mut pod = pod("gateways", name, ("gateways", "edge"));
        pod["metadata"]["labels"]["app.kubernetes.io/component"] = json!(component);
        pod["status"]["phase"] = json!(phase);
        pod["status"]["conditions"] = json!([{"type": "Ready", "status": ready}]);
        pod
    };
    let mut terminating = pod("e", "proxy", "Running", "True");
    terminating["metadata"]["deletionTimestamp"] = json!("2026-11-23T00:00:00Z");
    let pods = [
        terminating,
        pod("a", "proxy", "Running", "True"),
        pod("b", "proxy", "Running", "False"),
        pod("c", "proxy", "Pending", "False"),
        pod("d", "ratelimit", "Running", "True"),
    ];
    let plan = plan_of(pods.into_iter().flat_map(owned));
    let stats = "10.0.0.1:19001".parse().unwrap();
    let fleet = Some("gateway/gateways/edge".into());
    let proxy = |name: &str, ready| Proxy { name: name.to_owned(), stats, ready, fleet: fleet.clone() };
    assert_eq!(plan.proxies, [proxy("gateways/a", true), proxy("gateways/b", false), proxy("gateways/e", false)]);
}

/// A Gateway of the class `eg`, with annotations, and an EnvoyProxy of its own if it names one.
fn front(name: &str, annotations: &Value, own: Option<&str>) -> Value {
    let mut gateway = gateway();
    gateway["metadata"] = json!({"name": name, "namespace": "gateways", "annotations": annotations});
    if let Some(own) = own {
        let reference = json!({"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": own});
        gateway["spec"]["infrastructure"] = json!({"parametersRef": reference});
    }
    gateway
}

fn envoy_proxy(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyProxy",
        "metadata": {"name": name, "namespace": "gateways"}, "spec": spec})
}

fn class_with(envoy_proxy: &str) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "eg"},
        "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller", "parametersRef": {
            "group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": envoy_proxy, "namespace": "gateways"}}})
}

/// A fleet's EnvoyProxy, annotated Gateways, Gateways without annotations, and sets of proxies.
type ShownFleet<'a> = (Option<String>, Vec<&'a str>, Vec<&'a str>, Vec<&'a str>);

fn fleets(plan: &Plan) -> Vec<ShownFleet<'_>> {
    let shown = plan.fleets.iter().map(|fleet| {
        let gateways = fleet.gateways.keys().map(|id| id.name.as_str()).collect();
        let others = fleet.bystanders.iter().map(|id| id.name.as_str()).collect();
        let series = fleet.series.iter().map(|series| &**series).collect();
        (fleet.envoy_proxy.as_ref().map(|id| id.name.clone()), gateways, others, series)
    });
    shown.collect()
}

fn two() -> Value {
    json!({"tidegate.dev/min-replicas": "2"})
}

#[test]
fn gateways_are_answered_together_by_the_envoy_proxy_nearest_to_them() {
    let none = json!({});
    let create = json!({"tidegate.dev/min-replicas": "2", "tidegate.dev/create-envoyproxy": "true"});
    let own = |name: &str| Some(name.to_owned());
    let set = |name: &'static str| vec![name];
    let plan = plan_of([
        class_with("of-class"),
        envoy_proxy("of-class", &json!({})),
        envoy_proxy("own", &json!({"provider": {"kubernetes": {"envoyDeployment": {"replicas": 4}}}})),
        front("a", &two(), Some("own")),
        front("b", &two(), None),
        front("c", &create, None),
        front("d", &none, Some("own")),
        front("e", &two(), Some("gone")),
    ]);
    assert_eq!(
        fleets(&plan),
        [
            (own("of-class"), vec!["b"], vec!["edge"], vec!["gateway/gateways/b", "gateway/gateways/edge"]),
            (own("own"), vec!["a"], vec!["d"], vec!["gateway/gateways/a", "gateway/gateways/d"]),
            (None, vec!["c"], vec![], set("gateway/gateways/c")),
            (None, vec!["e"], vec![], set("gateway/gateways/e")),
        ]
    );
    let of =
        |gateway: &str| plan.fleets.iter().find(|fleet| fleet.gateways.keys().any(|id| id.name == gateway)).unwrap();
    assert_eq!((of("a").scaling, of("a").current), (Scaling::Replicas(Some(4)), 4));
    assert!(of("c").may_create && !of("e").may_create);
    assert_eq!(of("e").missing.as_ref().unwrap().name, "gone");
}

#[test]
fn a_class_that_merges_its_gateways_has_one_set_of_proxies() {
    let merging = envoy_proxy(
        "of-class",
        &json!({"mergeGateways": true, "provider": {"kubernetes": {"envoyHpa":
        {"minReplicas": 2, "maxReplicas": 9}}}}),
    );
    let plan = plan_of([class_with("of-class"), merging, front("a", &two(), None), front("b", &two(), None)]);
    let all = (Some("of-class".to_owned()), vec!["a", "b"], vec!["edge"], vec!["gatewayclass/eg"]);
    assert_eq!(fleets(&plan), [all]);
    assert_eq!(plan.fleets[0].scaling, Scaling::Hpa { min: 2, max: 9 });
}

#[test]
fn without_an_annotated_gateway_there_is_no_fleet() {
    assert_eq!(fleets(&plan_of([front("a", &json!({"tidegate.dev/status": "{}"}), None)])), []);
}

#[test]
fn a_gateway_whose_annotations_make_no_sense_keeps_the_hours_that_it_had() {
    let hours =
        json!({"tidegate.dev/hours": OFFICE[0].1, "tidegate.dev/timezone": "UTC", "tidegate.dev/min-replicas": "2"});
    let status = json!({"desired": 1, "reason": "", "applied": hours}).to_string();
    let now = |hours: &str, status: &str| {
        let annotations =
            json!({"tidegate.dev/hours": hours, "tidegate.dev/timezone": "UTC", "tidegate.dev/status": status});
        let mut plan = plan_of([envoy_proxy("own", &json!({})), front("a", &annotations, Some("own"))]);
        plan.fleets.remove(0).gateways.pop_first().unwrap().1
    };
    let held = now("Mon-Fri 0800", &status);
    assert_eq!(held.schedule.unwrap().calendar.hours.to_string(), OFFICE[0].1);
    assert_eq!((held.intent.unwrap().min, held.problems.len()), (Some(2), 1));
    for none in ["", "{}", r#"{"applied": 7}"#, r#"{"applied": {"tidegate.dev/hours": "x"}}"#] {
        assert!(now("Mon-Fri 0800", none).intent.is_err(), "{none}");
    }
    let right = now("Mo 10:00-11:00", &status);
    assert_eq!(
        (right.schedule.unwrap().calendar.hours.to_string().as_str(), right.problems.len()),
        ("Mo 10:00-11:00", 0)
    );
}

/// Routes of any kind with any weights to Services that may or may not exist.
fn any_routes() -> impl Strategy<Value = Vec<Value>> {
    let kind = prop_oneof![Just("HTTPRoute"), Just("GRPCRoute"), Just("TCPRoute"), Just("TLSRoute")];
    let backend = (prop_oneof![Just("a"), Just("b"), Just("gone")], 0u32..=1_000_000);
    let route = (kind, proptest::collection::vec(backend, 0..5), "[a-z]{1,3}").prop_map(|(kind, backends, name)| {
        let mut route = route(kind, &backends);
        route["metadata"]["name"] = json!(name);
        route
    });
    proptest::collection::vec(route, 0..5)
}

proptest! {
    #[test]
    fn the_parts_of_a_cluster_never_exceed_the_whole(routes in any_routes(), ready in [0u32..3, 0u32..3]) {
        let workloads = [annotated("a", ready[0]), annotated("b", ready[1]), service_of("a"), service_of("b")];
        let plan = plan_of(workloads.into_iter().chain(routes));
        let mut wholes = BTreeMap::<_, f64>::new();
        for share in plan.workloads.values().flat_map(|workload| &workload.traffic) {
            *wholes.entry(share.cluster.clone()).or_default() += share.share * share.of_backend;
        }
        for (cluster, whole) in wholes {
            prop_assert!(whole <= 1.0 + 1e-9, "{cluster}: {whole}");
        }
    }
}

/// A workload that was annotated as its ScaledObject records (`before`), and is annotated differently now.
fn annotated_anew(before: &[(&str, &str)], now: &[(&str, &str)]) -> PlannedWorkload {
    let of = |pairs: &[(&str, &str)]| -> Annotations {
        pairs.iter().map(|(key, value)| (format!("tidegate.dev/{key}"), (*value).to_owned())).collect()
    };
    let kept = json!({"tidegate.dev/applied": json!(of(before)).to_string(), ADOPTED_REPLICAS: "3"});
    let scaled_object = json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": {"name": "api", "namespace": "shop", "labels": {"app.kubernetes.io/managed-by": "tidegate"}, "annotations": kept},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "shop", "annotations": of(now)}, "spec": {"replicas": 0}});
    let mut plan = plan_of([scaled_object, deployment]);
    plan.workloads.pop_first().map(|(_, workload)| workload).expect("it is planned")
}

const OFFICE: [(&str, &str); 2] = [("hours", "Mo-Fr 08:00-18:00"), ("timezone", "UTC")];

#[test]
fn annotations_that_make_no_sense_leave_the_hours_that_there_were_and_say_what_is_wrong() {
    let wrong: [&[(&str, &str)]; 4] = [
        &[("hours", "Mon-Fri 0800"), ("timezone", "UTC")],
        &[OFFICE[0], OFFICE[1], ("max-replica", "4")],
        &[OFFICE[0], OFFICE[1], ("min-replicas", "9"), ("max-replicas", "3")],
        &[("calendar", "gone")],
    ];
    for now in wrong {
        let workload = annotated_anew(&OFFICE, now);
        let schedule = workload.schedule.as_ref().expect("its hours go on");
        assert_eq!((schedule.calendar.hours.to_string().as_str(), schedule.floor), (OFFICE[0].1, 3), "{now:?}");
        assert_eq!((workload.problems.len(), workload.adopted), (1, Some(3)), "{now:?}");
    }
}

#[test]
fn annotations_that_make_sense_apply_at_once() {
    let workload = annotated_anew(&OFFICE, &[("hours", "Mo 10:00-11:00"), ("timezone", "UTC")]);
    assert_eq!(workload.schedule.expect("it has hours").calendar.hours.to_string(), "Mo 10:00-11:00");
    assert_eq!(workload.problems, []);
}

#[test]
fn what_never_made_sense_has_no_intent() {
    let wrong = [("hours", "Mon-Fri 0800"), ("timezone", "UTC")];
    for before in [&[][..], &wrong[..], &[("calendar", "gone")][..]] {
        assert!(annotated_anew(before, &wrong).intent.is_err(), "{before:?}");
    }
}
