//! Gateways, and the proxies in front.

use super::*;

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
