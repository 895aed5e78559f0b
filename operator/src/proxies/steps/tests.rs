use serde_json::{Value, json};
use tidegate_core::{
    calendar::Calendars,
    event::Notice,
    intent::{Annotations, GatewayIntent},
};

use super::*;

fn gateway(annotations: &Value) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "web", "namespace": "edge", "uid": "u-1", "annotations": annotations},
        "spec": {"gatewayClassName": "eg", "infrastructure": {"parametersRef":
            {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "web"}}}})
}

fn envoy_proxy(spec: &Value, annotations: &Value) -> Value {
    json!({"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyProxy",
        "metadata": {"name": "web", "namespace": "edge", "annotations": annotations}, "spec": spec})
}

fn objects(own: impl IntoIterator<Item = Value>) -> Objects {
    let class = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "eg"},
        "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"}});
    let mut objects = Objects::default();
    for object in own.into_iter().chain([class]) {
        assert!(objects.apply(object).unwrap());
    }
    objects
}

/// The steps of one round, and the reasons of the notices.
fn decide(objects: &Objects, load: Measured<f64, String>) -> (Vec<Step>, Vec<&'static str>) {
    let measure: Measure = Arc::new(move |_, _| load.clone());
    let monday = "2026-03-02T12:00:00Z".parse().unwrap();
    let Steps { steps, notices } =
        steps(&objects.plan(), objects, &mut Memory::default(), &measure, monday, Instant::now());
    let reasons = notices.values().flatten().map(|notice| notice.reason().as_str()).collect();
    (steps, reasons)
}

fn scaled_to(steps: &[Step]) -> Option<Numbers> {
    steps.iter().find_map(|step| if let Step::Scale { numbers, .. } = step { Some(*numbers) } else { None })
}

fn three_proxies() -> Value {
    json!({"provider": {"type": "Kubernetes", "kubernetes": {"envoyDeployment": {"replicas": 3}}}})
}

fn per_proxy() -> Value {
    json!({"tidegate.dev/requests-per-second": "1000", "tidegate.dev/max-replicas": "9"})
}

#[test]
fn the_load_of_the_listeners_decides_and_what_was_there_is_kept() {
    let objects = objects([gateway(&per_proxy()), envoy_proxy(&three_proxies(), &json!({}))]);
    let (steps, reasons) = decide(&objects, Measured::Exact(6500.0));
    assert_eq!(scaled_to(&steps), Some(Numbers::Replicas(7)));
    assert!(matches!(&steps[0], Step::Scale { adopted, .. } if adopted == "3"), "{steps:?}");
    assert!(
        matches!(&steps[1], Step::Status { status: Some(status), .. } if status.contains("\"desired\":7")),
        "{steps:?}"
    );
    assert_eq!(reasons, ["ScaledProxies"]);
}

#[test]
fn a_load_that_is_not_known_changes_no_number() {
    let objects = objects([gateway(&per_proxy()), envoy_proxy(&three_proxies(), &json!({}))]);
    let (steps, _) = decide(&objects, Measured::Unknown("no proxy answers".to_owned()));
    assert_eq!(scaled_to(&steps), Some(Numbers::Replicas(3)));
}

#[test]
fn a_gateway_that_names_no_envoy_proxy_is_given_one_if_it_asks_for_it() {
    let asks = |asks: &str| {
        let mut gateway =
            gateway(&json!({"tidegate.dev/requests-per-second": "1000", "tidegate.dev/create-envoyproxy": asks}));
        gateway["spec"].as_object_mut().unwrap().remove("infrastructure");
        decide(&objects([gateway]), Measured::Exact(0.0))
    };
    let create = Step::Create {
        gateway: GatewayId { namespace: "edge".to_owned(), name: "web".to_owned() },
        uid: "u-1".to_owned(),
    };
    assert_eq!(asks("true"), (vec![create], vec![]));
    assert_eq!(asks("false"), (vec![], vec!["NoEnvoyProxy"]));
}

#[test]
fn an_envoy_proxy_that_no_annotated_gateway_uses_is_given_back() {
    let adopted = json!({"tidegate.dev/adopted-replicas": "3"});
    let objects = objects([gateway(&json!({"tidegate.dev/status": "{}"})), envoy_proxy(&three_proxies(), &adopted)]);
    let (steps, reasons) = decide(&objects, Measured::Exact(0.0));
    assert!(matches!(&steps[..], [Step::Release(_), Step::Status { status: None, .. }]), "{steps:?}");
    assert_eq!(reasons, [""; 0]);
}

#[test]
fn one_proxy_per_node_and_annotations_that_are_wrong_write_nothing() {
    let daemon_set = json!({"provider": {"type": "Kubernetes", "kubernetes": {"envoyDaemonSet": {}}}});
    let nodes = objects([gateway(&per_proxy()), envoy_proxy(&daemon_set, &json!({}))]);
    assert_eq!(decide(&nodes, Measured::Exact(6500.0)), (vec![], vec!["DaemonSet"]));
    let wrong = objects([
        gateway(&json!({"tidegate.dev/requests-per-second": "many"})),
        envoy_proxy(&three_proxies(), &json!({})),
    ]);
    assert_eq!(decide(&wrong, Measured::Exact(6500.0)), (vec![], vec!["InvalidAnnotations"]));
}

#[test]
fn hours_of_a_gateway_that_never_open_are_reported_unless_it_is_paused() {
    let reported = |pairs: &[(&str, &str)]| {
        let own: Annotations =
            pairs.iter().map(|(key, value)| (format!("tidegate.dev/{key}"), (*value).to_owned())).collect();
        let intent = GatewayIntent::of_gateway(&own, "shop", &Annotations::new()).unwrap().unwrap();
        let schedule = intent.schedule("web", 1, &Calendars::new()).unwrap().map(std::sync::Arc::new);
        let (uid, problems, applied) = (String::new(), Vec::new(), Annotations::new());
        let gateway =
            PlannedGateway { uid, intent: Ok(intent), problems, applied, schedule, calendar: None, status: None };
        let found = no_effect(&gateway, "2026-03-02T12:00:00Z".parse().unwrap());
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let never = [("hours", "2025 Mo-Fr 08:00-18:00"), ("timezone", "UTC")];
    assert!(reported(&never)[0].contains("do not open"), "{:?}", reported(&never));
    assert!(
        reported(&[("hours", "24/7"), ("timezone", "UTC"), ("off-hours-replicas", "20")])[0]
            .contains("off-hours-replicas")
    );
    assert_eq!(reported(&[never[0], never[1], ("paused", "true")]), [""; 0]);
    assert_eq!(reported(&[("hours", "Mo-Fr 08:00-18:00"), ("timezone", "UTC")]), [""; 0]);
}
