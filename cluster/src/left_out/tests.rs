use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn matches(all: &Value) -> Vec<StatMatch> {
    serde_json::from_value(all.clone()).unwrap()
}

fn regex(value: &str) -> Value {
    json!({"type": "RegularExpression", "value": value})
}

/// The statistics of the example cluster that a list leaves out.
fn left_out_by(all: &Value) -> Vec<&'static str> {
    statistics(&matches(all), &[EXAMPLE], false).map(|found| found.of_clusters).unwrap_or_default()
}

#[test]
fn no_list_leaves_out_nothing() {
    assert_eq!(left_out_by(&json!([])), [""; 0]);
}

#[test]
fn a_list_of_other_statistics_leaves_out_all_that_is_read() {
    assert_eq!(left_out_by(&json!([{"type": "Prefix", "value": "http."}])), OF_CLUSTERS);
    assert_eq!(left_out_by(&json!([{"value": "cluster"}])), OF_CLUSTERS, "a match is exact unless it says more");
    assert_eq!(left_out_by(&json!([{"type": "Near", "value": "cluster"}])), OF_CLUSTERS, "of a later version");
}

#[test]
fn each_kind_of_match_includes_what_it_matches() {
    assert_eq!(left_out_by(&json!([{"type": "Prefix", "value": "cluster."}])), [""; 0]);
    assert_eq!(left_out_by(&json!([{"type": "Suffix", "value": "membership_total"}])), OF_CLUSTERS[..9]);
    let exact = format!("cluster.{EXAMPLE}.upstream_rq_total");
    assert_eq!(left_out_by(&json!([{"type": "Exact", "value": exact}])), OF_CLUSTERS[1..]);
    assert_eq!(left_out_by(&json!([regex("cluster.*[.](upstream.*|membership_total)")])), [""; 0]);
}

#[test]
fn a_regular_expression_matches_whole_names() {
    assert_eq!(left_out_by(&json!([regex("upstream_rq_total")])), OF_CLUSTERS);
    assert_eq!(left_out_by(&json!([regex("cluster[.]")])), OF_CLUSTERS);
    assert_eq!(left_out_by(&json!([regex("a|cluster.*|b")])), [""; 0]);
}

#[test]
fn an_expression_that_cannot_be_read_matches_nothing_and_is_named() {
    let huge = format!("cluster.*{}", "x?".repeat(600));
    for wrong in ["cluster.*(", "a)|(cluster.*", "((a{100}){100}){100}|cluster.*", &huge] {
        let found = statistics(&matches(&json!([regex(wrong)])), &[EXAMPLE], false).unwrap();
        assert_eq!((found.of_clusters, found.unreadable), (OF_CLUSTERS.to_vec(), vec![wrong.to_owned()]));
    }
    let many = vec![regex("none"); MAX_REGEXES + 2];
    let found = statistics(&matches(&json!(many)), &[EXAMPLE], false).unwrap();
    assert_eq!(found.unreadable, ["none", "none"]);
}

#[test]
fn listeners_count_where_gateways_are_scaled() {
    let only_clusters = matches(&json!([regex(MATCH_CLUSTERS)]));
    assert_eq!(statistics(&only_clusters, &[EXAMPLE], false), None);
    let found = statistics(&only_clusters, &[EXAMPLE], true).unwrap();
    assert_eq!(found.of_listeners, ["downstream_rq_total", "downstream_rq_active", "downstream_cx_active"]);
    assert_eq!(found.example, "http.http-10080.downstream_rq_total");
    let https = matches(&json!([regex(MATCH_CLUSTERS), {"type": "Prefix", "value": "http.https-"},
        {"type": "Prefix", "value": "listener."}]));
    assert_eq!(statistics(&https, &[EXAMPLE], true), None, "a Gateway may have no other listener");
}

proptest! {
    #[test]
    fn what_is_to_be_added_includes_all_that_is_read_of_any_cluster(cluster in "[a-z0-9./_:-]{1,80}") {
        let list = matches(&json!([{"type": "Prefix", "value": "http."}, regex(MATCH_CLUSTERS), regex(MATCH_LISTENERS)]));
        prop_assert_eq!(statistics(&list, &[&cluster], true), None);
    }

    #[test]
    fn no_list_is_too_strange(kinds in prop::collection::vec(("[A-Za-z]{0,3}|RegularExpression|Prefix", "\\PC{0,40}"), 0..5)) {
        let list: Vec<_> = kinds.iter().map(|(kind, value)| json!({"type": kind, "value": value})).collect();
        statistics(&matches(&json!(list)), &[EXAMPLE], true);
    }
}

/// Envoy Gateway's Gateway `edge` with these annotations, its EnvoyProxy with these metrics settings, and a route to an annotated
/// Deployment.
fn objects(metrics: &Value, gateway_annotations: &Value) -> Objects {
    let mut objects = Objects::default();
    let meta = |name: &str| json!({"name": name, "namespace": "shop"});
    for object in [
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "edge", "namespace": "shop", "annotations": gateway_annotations},
            "spec": {"gatewayClassName": "eg", "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}],
                "infrastructure": {"parametersRef":
                    {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "metrics"}}}}),
        json!({"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyProxy",
            "metadata": {"name": "metrics", "namespace": "shop", "uid": "uid-1"}, "spec": {"telemetry": {"metrics": metrics}}}),
        json!({"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyProxy",
            "metadata": meta("unused"), "spec": {"telemetry": {"metrics": metrics}}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api", "namespace": "shop",
                "annotations": {"tidegate.dev/requests-per-second": "100"}},
            "spec": {"template": {"metadata": {"labels": {"app": "api"}}}}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": meta("api"),
            "spec": {"selector": {"app": "api"}, "ports": [{"port": 80}]}}),
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": meta("api"),
            "spec": {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "api", "port": 80}]}]}}),
    ] {
        objects.apply(object).unwrap();
    }
    objects
}

fn found(metrics: &Value, gateway_annotations: &Value, scraped: bool) -> Vec<(String, Missing)> {
    let objects = objects(metrics, gateway_annotations);
    let found = objects.left_out(&objects.plan(), scraped);
    found.into_iter().map(|found| (format!("{}/{}", found.envoy_proxy.name, found.uid), found.missing)).collect()
}

#[test]
fn only_an_envoy_proxy_in_use_is_looked_at() {
    let metrics = json!({"matches": [{"type": "Prefix", "value": "http."}]});
    let [(envoy_proxy, Missing::Statistics(statistics))] = &found(&metrics, &json!({}), true)[..] else { panic!() };
    assert_eq!((envoy_proxy.as_str(), &statistics.of_listeners[..]), ("metrics/uid-1", &[][..]));
    assert_eq!(found(&json!({}), &json!({}), true), []);
}

#[test]
fn a_gateway_that_is_scaled_needs_its_listeners_too() {
    let metrics = json!({"matches": [{"type": "Prefix", "value": "cluster."}]});
    assert_eq!(found(&metrics, &json!({}), true), []);
    let scaled = json!({"tidegate.dev/requests-per-second": "1000"});
    let [(_, Missing::Statistics(statistics))] = &found(&metrics, &scaled, true)[..] else { panic!() };
    assert_eq!((statistics.of_clusters.len(), statistics.of_listeners.len()), (0, 3));
}

#[test]
fn a_page_that_is_switched_off_is_missed_where_it_is_read() {
    let metrics = json!({"prometheus": {"disable": true}});
    assert_eq!(found(&metrics, &json!({}), true), [("metrics/uid-1".to_owned(), Missing::Page)]);
    assert_eq!(found(&metrics, &json!({}), false), [], "the proxies push");
}
