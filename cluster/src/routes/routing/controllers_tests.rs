//! Gateways of classes of several controllers, and what each controller's configuration says.

use serde_json::{Value, json};

use crate::Objects;

const OTHER: &str = "example.com/other";

fn class(name: &str, controller: &str) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": name},
        "spec": {"controllerName": controller}})
}

fn gateway(name: &str, class: &str) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"gatewayClassName": class, "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}]}})
}

fn objects(all: impl IntoIterator<Item = Value>) -> Objects {
    let mut objects = Objects::default();
    for object in all {
        assert!(objects.apply(object).unwrap());
    }
    objects
}

/// The reasons why the route of [`route`] is not followed.
fn refused(objects: impl IntoIterator<Item = Value>, controllers: &[&str]) -> Vec<String> {
    let mut objects = self::objects(objects.into_iter().chain(route("shop")));
    objects.set_controller_names(controllers.iter().map(ToString::to_string).collect());
    objects.routing().not_followed.iter().map(ToString::to_string).collect()
}

#[test]
fn a_class_of_another_controller_is_named_with_its_controller_and_the_flag_until_the_flag_names_it() {
    let foreign = || [class("eg", OTHER), gateway("web", "eg")];
    assert_eq!(
        refused(foreign(), &[]),
        [
            "HTTPRoute shop/r: Gateway shop/web is of GatewayClass eg, whose controller is example.com/other, which is not Envoy \
             Gateway's (if it is one, name it: --controller-name example.com/other)"
        ]
    );
    assert_eq!(refused(foreign(), &[OTHER]), Vec::<String>::new());
}

#[test]
fn a_class_that_is_unknown_may_be_envoy_gateways() {
    assert_eq!(refused([class("other", OTHER), gateway("web", "not-in-these-files")], &[]), Vec::<String>::new());
}

/// A configuration that watches only the namespace `shop`, and merges all Gateways.
fn config(controller: &str) -> Value {
    json!({"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyGateway",
        "gateway": {"controllerName": controller}, "envoyProxy": {"mergeGateways": true},
        "provider": {"kubernetes": {"watch": {"type": "Namespaces", "namespaces": ["shop"]}}}})
}

fn route(namespace: &str) -> [Value; 2] {
    let backends = json!([{"backendRefs": [{"name": "api", "port": 80}]}]);
    let parents = json!([{"name": "web", "namespace": "shop"}]);
    [
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r", "namespace": namespace},
            "spec": {"parentRefs": parents, "rules": backends}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": namespace},
            "spec": {"ports": [{"port": 80}]}}),
    ]
}

fn followed(all: impl IntoIterator<Item = Value>) -> Vec<String> {
    let mut gateway = gateway("web", "eg");
    gateway["spec"]["listeners"][0]["allowedRoutes"] = json!({"namespaces": {"from": "All"}});
    let all = all.into_iter().chain([class("eg", OTHER), gateway]).chain(route("shop")).chain(route("hidden"));
    objects(all).routes().into_iter().map(|backend| backend.backend.namespace).collect()
}

#[test]
fn only_watched_namespaces_are_followed_and_only_by_the_controller_that_says_so() {
    assert_eq!(followed([]), Vec::<String>::new());
    assert_eq!(followed([config(OTHER)]), ["shop"]);
    let mut everywhere = config(OTHER);
    everywhere["provider"] = json!({});
    assert_eq!(followed([config("example.com/another"), everywhere]), ["hidden", "shop"]);
}

#[test]
fn the_default_envoy_proxy_is_that_of_the_controller_of_the_class() {
    let merged = |config: Value| {
        let annotations = json!({"tidegate.dev/requests-per-second": "100"});
        let mut gateway = gateway("web", "eg");
        gateway["metadata"]["annotations"] = annotations;
        let plan = objects([config, class("eg", OTHER), gateway]).plan();
        plan.fleets.iter().flat_map(|fleet| &fleet.series).map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(merged(config(OTHER)), ["gatewayclass/eg"]);
    let mut own = config(OTHER);
    own["envoyProxy"] = json!({});
    assert_eq!(merged(own), ["gateway/shop/web"]);
}
