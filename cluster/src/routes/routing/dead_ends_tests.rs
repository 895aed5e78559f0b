//! Backends whose endpoints stand for Services of the cluster.

use super::{
    super::BackendClusters,
    tests::{BASE, objects, refused, route},
};

const NO_NAMES: [&str; 0] = [];

/// A Backend `front` with these endpoints, and the routes.
fn behind(endpoints: &str, routes: &str) -> String {
    let backend = format!(
        "---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: Backend\nmetadata: {{name: front, namespace: shop}}\nspec: \
         {{endpoints: [{endpoints}]}}\n"
    );
    backend + OTHERS + routes
}

const OTHERS: &str = "---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: shop}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 5432}]}
";

const FRONT: &str = "{name: front, kind: Backend, group: gateway.envoyproxy.io}";

fn to_front(kind: &str) -> String {
    route(kind, "r", "{name: web}", &format!("rules: [{{backendRefs: [{FRONT}]}}]"))
}

fn fqdn(host: &str, port: u16) -> String {
    format!("{{fqdn: {{hostname: {host}, port: {port}}}}}")
}

fn followed(manifests: &str) -> Vec<BackendClusters> {
    let backends = objects(&format!("{BASE}{manifests}")).routing().backends;
    backends.into_iter().filter(|backend| !backend.clusters.is_empty()).collect()
}

#[test]
fn an_endpoint_that_stands_for_a_service_or_port_that_is_not_there_is_refused_with_what_there_is() {
    for (endpoint, expected) in [
        (
            fqdn("gone.shop.svc.cluster.local", 80),
            "gone.shop.svc.cluster.local:80 stands for Service gone, which does not exist; namespace shop has api, headless, outside",
        ),
        (
            fqdn("api.shop.svc.cluster.local", 8080),
            "api.shop.svc.cluster.local:8080 stands for Service api port 8080; it has 80, 53/UDP",
        ),
        (fqdn("api.shop.svc", 53), "api.shop.svc:53 stands for Service api port 53; it has 80, 53/UDP"),
        (fqdn("api.shop", 81), "api.shop:81 stands for Service api port 81; it has 80, 53/UDP"),
        (fqdn("api.shpo.svc", 80), "api.shpo.svc:80 stands for Service shpo/api, which does not exist"),
    ] {
        let manifests = behind(&endpoint, &to_front("HTTPRoute"));
        let expected = format!("HTTPRoute shop/r, rule 0: names Backend front, whose endpoint {expected}");
        assert_eq!(refused(&manifests), [expected], "{endpoint}");
        assert_eq!(followed(&manifests), [], "{endpoint}");
    }
}

#[test]
fn names_that_stand_for_somebody_or_for_a_host_elsewhere_are_followed() {
    for endpoint in [
        fqdn("api.shop.svc.cluster.local", 80),
        // The port is the pods', and nobody says which ports these have.
        fqdn("headless.shop.svc.cluster.local", 15432),
        fqdn("db-0.headless.shop.svc.cluster.local", 15432),
        fqdn("outside.shop.svc.cluster.local", 443),
        fqdn("gone.shop.svc.clusterset.local", 80),
        fqdn("gone.shop", 80),
        fqdn("api.example.com", 443),
        "{ip: {address: 10.96.0.7, port: 80}}".to_owned(),
    ] {
        let manifests = behind(&endpoint, &to_front("HTTPRoute"));
        assert_eq!(refused(&manifests), NO_NAMES, "{endpoint}");
        assert_eq!(followed(&manifests).len(), 1, "{endpoint}");
    }
}

#[test]
fn one_dead_endpoint_of_several_is_reported_and_the_others_are_followed() {
    let endpoints = [fqdn("api.shop.svc", 80), fqdn("api.shop.svc", 81)].join(", ");
    let manifests = behind(&endpoints, &to_front("HTTPRoute"));
    assert_eq!(refused(&manifests).len(), 1);
    assert_eq!(followed(&manifests).len(), 1);
}

#[test]
fn a_dead_backend_takes_nothing_of_what_the_others_get() {
    let rules = format!("rules: [{{backendRefs: [{FRONT}, {{name: api, port: 80}}]}}]");
    let manifests = behind(&fqdn("gone.shop.svc", 80), &route("HTTPRoute", "r", "{name: web}", &rules));
    let [api] = &followed(&manifests)[..] else { panic!("{:?}", followed(&manifests)) };
    assert_eq!((api.backend.name.as_str(), api.clusters[0].share), ("api", 0.5), "Envoy Gateway counts its weight");
}

#[test]
fn dead_backends_of_mirrors_connections_and_policies_are_refused_too() {
    let dead = fqdn("gone.shop.svc", 80);
    let mirror = format!(
        "rules: [{{filters: [{{type: RequestMirror, requestMirror: {{backendRef: {FRONT}}}}}], backendRefs: [{{name: api, port: 80}}]}}]"
    );
    let tcp = route(
        "TCPRoute",
        "r",
        "{name: edge, namespace: edge, sectionName: tcp}",
        &format!("rules: [{{backendRefs: [{FRONT}]}}]"),
    );
    let policy = format!(
        "---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {{name: auth, namespace: shop}}\nspec:\n  \
         targetRefs: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}}]\n  \
         extAuth: {{grpc: {{backendRefs: [{FRONT}]}}}}\n"
    );
    for (routes, place) in [
        (route("HTTPRoute", "r", "{name: web}", &mirror), "HTTPRoute shop/r, rule 0"),
        (tcp, "TCPRoute shop/r"),
        (policy, "SecurityPolicy shop/auth"),
    ] {
        let found = refused(&behind(&dead, &routes));
        assert_eq!(found.len(), 1, "{found:?}");
        let expected = format!("{place}: names Backend front, whose endpoint gone.shop.svc:80 stands for Service gone");
        assert!(found[0].starts_with(&expected), "{found:?}");
    }
}
