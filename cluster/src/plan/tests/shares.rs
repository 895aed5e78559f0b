//! Each workload's part of the traffic.

use super::*;

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
