use serde_json::{Value, json};

use super::{super::super::Kind, *};

/// A pod with the labels of a proxy of a Gateway, running.
pub(in crate::plan) fn pod(namespace: &str, name: &str, gateway: (&str, &str)) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels(gateway)},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}})
}

/// A pod with owners as Envoy Gateway creates them: the pod, its ReplicaSet, and its Deployment, whose pods have its labels.
pub(in crate::plan) fn owned(mut pod: Value) -> [Value; 3] {
    let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
    let [mut set, mut deployment] = ["ReplicaSet", "Deployment"].map(|kind| owner(kind, &name, &pod));
    pod["metadata"]["ownerReferences"] = json!([reference(&set)]);
    set["metadata"]["ownerReferences"] = json!([reference(&deployment)]);
    deployment["spec"] = json!({"template": {"metadata": {"labels": pod["metadata"]["labels"]}}});
    [pod, set, deployment]
}

fn labels((namespace, name): (&str, &str)) -> Value {
    json!({"app.kubernetes.io/component": "proxy", "app.kubernetes.io/managed-by": "envoy-gateway",
        "gateway.envoyproxy.io/owning-gateway-namespace": namespace, "gateway.envoyproxy.io/owning-gateway-name": name})
}

fn owner(kind: &str, name: &str, pod: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": pod["metadata"]["namespace"],
        "uid": format!("{kind}-{name}"), "labels": pod["metadata"]["labels"]}})
}

fn reference(owner: &Value) -> Value {
    let meta = &owner["metadata"];
    json!({"kind": owner["kind"], "name": meta["name"], "uid": meta["uid"], "controller": true})
}

fn gateway(class: &str) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "edge", "namespace": "gateways"}, "spec": {"gatewayClassName": class}})
}

fn class(name: &str, controller: &str) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": name},
        "spec": {"controllerName": controller}})
}

/// Envoy Gateway's class `eg` and Gateway `gateways/edge`, another controller's class `other`, and the given objects.
fn objects(objects: impl IntoIterator<Item = Value>) -> Objects {
    let mut all = Objects::default();
    let eg = class("eg", "gateway.envoyproxy.io/gatewayclass-controller");
    for object in [gateway("eg"), eg, class("other", "example.com/gateways")].into_iter().chain(objects) {
        all.apply(object).unwrap();
    }
    all
}

fn fleets(objects: &Objects) -> Vec<String> {
    proxies(objects).into_iter().filter_map(|proxy| Some(proxy.fleet?.to_string())).collect()
}

/// The reason why the one labelled pod is not accepted.
fn why_not(objects: &Objects) -> String {
    assert!(proxies(objects).is_empty());
    let [(_, why)] = &strangers(objects).collect::<Vec<_>>()[..] else { panic!("not one pod") };
    why.to_string()
}

const EDGE: (&str, &str) = ("gateways", "edge");
const SYSTEM: &str = "envoy-gateway-system";

/// A complete chain of owners, of which a test breaks one link.
fn chain() -> [Value; 3] {
    owned(pod(SYSTEM, "edge-1", EDGE))
}

#[test]
fn a_pod_of_envoy_gateways_deployment_is_a_proxy_of_its_gateway() {
    let objects = objects(chain());
    assert_eq!(fleets(&objects), ["gateway/gateways/edge"]);
    assert_eq!(strangers(&objects).count(), 0);
}

#[test]
fn a_strangers_pod_with_the_right_labels_is_no_proxy() {
    assert_eq!(why_not(&objects([pod("evil", "a", EDGE)])), "no ReplicaSet or DaemonSet controls it");
    assert_eq!(why_not(&objects([pod(SYSTEM, "a", EDGE)])), "no ReplicaSet or DaemonSet controls it");
}

#[test]
fn a_pod_whose_owner_is_not_its_controller_is_no_proxy() {
    for link in [0, 1] {
        let mut chain = chain();
        chain[link]["metadata"]["ownerReferences"][0]["controller"] = json!(false);
        assert_eq!(why_not(&objects(chain)), "no ReplicaSet or DaemonSet controls it");
    }
}

#[test]
fn a_pod_whose_owner_is_gone_or_another_is_no_proxy() {
    for (link, wanted) in [(1, "ReplicaSet"), (2, "Deployment")] {
        let mut forged = chain();
        forged[link]["metadata"]["uid"] = json!("another");
        let wanted = format!("its {wanted} edge-1 is not in its namespace with that UID and the labels of a proxy");
        assert_eq!(why_not(&objects(forged)), wanted);
        let mut gone = chain().to_vec();
        gone.remove(link);
        assert_eq!(why_not(&objects(gone)), wanted);
        let mut elsewhere = chain();
        elsewhere[link]["metadata"]["namespace"] = json!("gateways");
        assert_eq!(why_not(&objects(elsewhere)), wanted);
    }
}

#[test]
fn an_owner_without_a_uid_owns_nothing() {
    let mut chain = chain();
    chain[0]["metadata"]["ownerReferences"][0]["uid"] = json!("");
    chain[1]["metadata"]["uid"] = json!("");
    assert_eq!(why_not(&objects(chain)), "no ReplicaSet or DaemonSet controls it");
}

#[test]
fn a_pod_that_another_kind_of_object_controls_is_no_proxy() {
    let mut chain = chain();
    chain[0]["metadata"]["ownerReferences"][0]["kind"] = json!("StatefulSet");
    assert_eq!(why_not(&objects(chain)), "no ReplicaSet or DaemonSet controls it");
}

#[test]
fn the_owners_labels_say_what_a_pod_is_not_its_own() {
    let mut others = chain();
    others[2]["spec"]["template"]["metadata"]["labels"] = json!({"app": "web"});
    let wanted = "the pod template of its Deployment edge-1 lacks the labels that Envoy Gateway gives its proxies";
    assert_eq!(why_not(&objects(others)), wanted);
    let mut relabelled = chain();
    relabelled[0]["metadata"]["labels"]["gateway.envoyproxy.io/owning-gateway-name"] = json!("of-others");
    assert_eq!(fleets(&objects(relabelled)), ["gateway/gateways/edge"]);
}

#[test]
fn a_proxy_needs_a_gateway_of_envoy_gateways() {
    let mut gone = objects(chain());
    gone.remove(Kind::Gateway, "gateways", "edge");
    assert_eq!(why_not(&gone), "Envoy Gateway has no Gateway gateways/edge");
    let of_another = objects(chain().into_iter().chain([gateway("other")]));
    assert_eq!(why_not(&of_another), "Envoy Gateway has no Gateway gateways/edge");
}

#[test]
fn proxies_run_in_envoy_gateways_namespaces_or_in_their_gateways_own() {
    let within = |namespace| objects(owned(pod(namespace, "edge-1", EDGE)));
    assert_eq!(fleets(&within("gateways")), ["gateway/gateways/edge"]);
    let wanted = "its namespace is neither its Gateway's nor one of --envoy-gateway-namespace";
    assert_eq!(why_not(&within("evil")), wanted);
    let mut named = within("proxies");
    assert_eq!(why_not(&named), wanted);
    named.set_proxy_namespaces(vec!["other".to_owned(), "proxies".to_owned()]);
    assert_eq!(fleets(&named), ["gateway/gateways/edge"]);
}

#[test]
fn merged_gateways_have_the_proxies_of_their_class() {
    let of_class = |namespace, class| {
        let mut pod = pod(namespace, "merged", EDGE);
        pod["metadata"]["labels"] = json!({"app.kubernetes.io/component": "proxy",
            "app.kubernetes.io/managed-by": "envoy-gateway", "gateway.envoyproxy.io/owning-gatewayclass": class});
        objects(owned(pod))
    };
    assert_eq!(fleets(&of_class(SYSTEM, "eg")), ["gatewayclass/eg"]);
    assert_eq!(why_not(&of_class(SYSTEM, "other")), "Envoy Gateway has no GatewayClass other");
    assert_eq!(why_not(&of_class(SYSTEM, "gone")), "Envoy Gateway has no GatewayClass gone");
    let wanted = "its namespace is neither its Gateway's nor one of --envoy-gateway-namespace";
    assert_eq!(why_not(&of_class("gateways", "eg")), wanted);
}

#[test]
fn a_daemon_set_owns_its_proxies_itself() {
    let mut pod = pod(SYSTEM, "edge-1", EDGE);
    let mut set = owner("DaemonSet", "edge", &pod);
    set["spec"] = json!({"template": {"metadata": {"labels": labels(EDGE)}}});
    pod["metadata"]["ownerReferences"] = json!([reference(&set)]);
    assert_eq!(fleets(&objects([pod.clone(), set.clone()])), ["gateway/gateways/edge"]);
    set["metadata"]["uid"] = json!("another");
    let wanted = "its DaemonSet edge is not in its namespace with that UID and the labels of a proxy";
    assert_eq!(why_not(&objects([pod, set])), wanted);
}

#[test]
fn a_side_car_counts_tokens_only_beside_a_proxy() {
    let side_car = json!({"initContainers": [{"name": AI_GATEWAY}]});
    let mut stranger = pod("evil", "a", EDGE);
    let mut ours = chain();
    stranger["spec"] = side_car.clone();
    ours[0]["spec"] = side_car;
    let counted = ai_gateways(&objects(ours.into_iter().chain([stranger])));
    assert_eq!(
        counted.iter().map(|gateway| gateway.name.as_str()).collect::<Vec<_>>(),
        ["envoy-gateway-system/edge-1"]
    );
}

#[test]
fn a_strangers_deployment_does_not_say_how_many_proxies_a_gateway_has() {
    let deployment = |namespace: &str, replicas: u32| {
        let [.., mut deployment] = owned(pod(namespace, "edge-1", EDGE));
        deployment["spec"]["replicas"] = json!(replicas);
        deployment
    };
    let mut annotated = gateway("eg");
    annotated["metadata"]["annotations"] = json!({"tidegate.dev/min-replicas": "2"});
    let plan = objects([annotated, deployment(SYSTEM, 3), deployment("evil", 50)]).plan();
    assert_eq!(plan.fleets[0].current, 3);
}
