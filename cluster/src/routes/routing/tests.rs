use serde_json::{Value, json};

use super::*;

pub(super) const BASE: &str = r#"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec: {gatewayClassName: eg, listeners: [{name: http, protocol: HTTP, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: edge}
spec:
  gatewayClassName: eg
  listeners:
  - {name: own, protocol: HTTP, port: 80}
  - {name: shops, protocol: HTTP, port: 81, hostname: "*.shop.example", allowedRoutes: {namespaces: {from: All}}}
  - {name: grpc, protocol: HTTP, port: 82, allowedRoutes: {namespaces: {from: All}, kinds: [{kind: GRPCRoute}]}}
  - {name: sealed, protocol: HTTPS, port: 443, allowedRoutes: {namespaces: {from: All}}}
  - {name: twin, protocol: HTTP, port: 83, allowedRoutes: {namespaces: {from: All}}}
  - {name: other, protocol: HTTP, port: 83, allowedRoutes: {namespaces: {from: All}}}
  - name: chosen
    protocol: HTTP
    port: 84
    allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {gateway: "yes"}}}}
  - {name: tcp, protocol: TCP, port: 85, allowedRoutes: {namespaces: {from: All}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: mesh}
spec: {controllerName: istio.io/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: mesh, namespace: shop}
spec: {gatewayClassName: mesh, listeners: [{name: http, protocol: HTTP, port: 80}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop}}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside, namespace: shop}
spec: {type: ExternalName, externalName: api.example.com, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: data}
spec: {selector: {app: db}, ports: [{port: 5432}]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: socket, namespace: shop}
spec: {endpoints: [{unix: {path: /run/a.sock}}]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: HTTPRouteFilter
metadata: {name: sorry, namespace: shop}
spec: {directResponse: {statusCode: 503}}
"#;

pub(super) fn objects(manifests: &str) -> Objects {
    let mut objects = Objects::default();
    for document in tidegate_core::yaml::read_all(manifests).unwrap() {
        objects.apply(document).unwrap();
    }
    objects
}

/// A route of namespace `shop`.
pub(super) fn route(kind: &str, name: &str, parents: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  \
         parentRefs: [{parents}]\n  {rest}\n"
    )
}

pub(super) fn refused(manifests: &str) -> Vec<String> {
    let refused = objects(&format!("{BASE}{manifests}")).routing().not_followed;
    for one in &refused {
        assert!(include_str!("../../../../docs/routes.md").contains(&format!("`{}`", one.reason)), "{}", one.reason);
    }
    refused.iter().map(ToString::to_string).collect()
}

const API: &str = "rules: [{backendRefs: [{name: api, port: 80}]}]";

#[test]
fn each_parent_that_does_not_take_a_route_in_says_why() {
    let edge = |section: &str| format!("{{name: edge, namespace: edge, sectionName: {section}}}");
    for (parent, expected) in [
        ("{name: gone}".to_owned(), "Gateway shop/gone does not exist"),
        ("{name: edge}".to_owned(), "Gateway shop/edge does not exist; there is edge/edge"),
        (String::new(), "it has no parentRefs, so that no Gateway takes it in"),
        (
            "{name: mesh}".to_owned(),
            "Gateway shop/mesh is of GatewayClass mesh, whose controller is istio.io/gateway-controller, which is not Envoy \
             Gateway's (if it is one, name it: --controller-name istio.io/gateway-controller)",
        ),
        (
            "{name: web, sectionName: https}".to_owned(),
            "Gateway shop/web has no listener with sectionName https; it has http (port 80)",
        ),
        (
            "{name: web, port: 8080}".to_owned(),
            "Gateway shop/web has no listener with port 8080; it has http (port 80)",
        ),
        (
            "{kind: Service, group: '', name: api}".to_owned(),
            "its parent Service api of the core API group is neither a Gateway nor a ListenerSet",
        ),
        (
            // The API server adds the group.
            "{kind: ListenerSet, name: more}".to_owned(),
            "ListenerSet shop/more does not exist",
        ),
        (
            edge("own"),
            "listener own of Gateway edge/edge lets in routes of its own namespace only (allowedRoutes.namespaces)",
        ),
        (edge("grpc"), "listener grpc of Gateway edge/edge lets in GRPCRoutes only"),
        (
            edge("sealed"),
            "listener sealed of Gateway edge/edge is invalid: its tls does not fit its protocol, or has no certificateRef to a \
             Secret that it may refer to",
        ),
        (
            edge("twin"),
            "listener twin of Gateway edge/edge has lost a conflict: another listener has its port and hostname, so neither gets \
             them",
        ),
        (
            edge("chosen"),
            "listener chosen of Gateway edge/edge lets in routes of namespaces with other labels only \
             (allowedRoutes.namespaces.selector)",
        ),
    ] {
        let found = refused(&route("HTTPRoute", "api", &parent, API));
        assert_eq!(found, [format!("HTTPRoute shop/api: {expected}")], "{parent}");
    }
    let hostnames = format!("hostnames: [shop.example, api.example]\n  {API}");
    assert_eq!(
        refused(&route("HTTPRoute", "api", &edge("shops"), &hostnames)),
        [
            "HTTPRoute shop/api: listener shops of Gateway edge/edge serves none of the route's hostnames (shop.example, \
          api.example), or another listener of its port does"
        ]
    );
}

#[test]
fn a_parent_with_one_listener_that_takes_the_route_in_is_followed() {
    assert_eq!(refused(&route("HTTPRoute", "api", "{name: edge, namespace: edge}", API)), Vec::<String>::new());
}

#[test]
fn each_reference_that_leads_nowhere_says_what_there_is() {
    for (backend, expected) in [
        ("{name: api, port: 8080}", "names Service api port 8080; it has 80, 53/UDP"),
        ("{name: api}", "names Service api without a port; it has 80, 53/UDP"),
        ("{name: apis, port: 80}", "names Service apis, which does not exist; namespace shop has api, outside"),
        (
            "{name: db, namespace: data, port: 5432}",
            "names Service data/db, and no ReferenceGrant in namespace data permits that from an HTTPRoute of namespace shop",
        ),
        (
            "{name: outside, port: 80}",
            "names Service outside, which is of type ExternalName: Envoy Gateway sends nothing to one (use a Backend with an fqdn)",
        ),
        (
            "{name: api, kind: Deployment, group: apps, port: 80}",
            "names Deployment api of apps; a backend is a Service, a ServiceImport or a Backend of Envoy Gateway",
        ),
        (
            "{name: socket, kind: Backend, group: gateway.envoyproxy.io}",
            "names Backend socket, which has a Unix socket as its endpoint: no workload is behind it",
        ),
        ("{name: gone, kind: Backend, group: gateway.envoyproxy.io}", "names Backend gone, which does not exist"),
        (
            "{name: api, port: 80, filters: [{type: RequestRedirect, requestRedirect: {}}]}",
            "its backendRef to Service api has a filter of a type that a backendRef cannot have",
        ),
    ] {
        let found =
            refused(&route("HTTPRoute", "api", "{name: web}", &format!("rules: [{{backendRefs: [{backend}]}}]")));
        assert_eq!(found, [format!("HTTPRoute shop/api, rule 0: {expected}")], "{backend}");
    }
}

#[test]
fn a_rule_that_envoy_answers_itself_says_by_what() {
    for (filter, expected) in [
        (
            "{type: RequestRedirect, requestRedirect: {scheme: https}}",
            "a RequestRedirect answers its requests, so its backends get none",
        ),
        (
            "{type: ExtensionRef, extensionRef: {group: gateway.envoyproxy.io, kind: HTTPRouteFilter, name: sorry}}",
            "the directResponse of an HTTPRouteFilter answers its requests, so its backends get none",
        ),
        (
            "{type: ExtensionRef, extensionRef: {group: gateway.envoyproxy.io, kind: HTTPRouteFilter, name: gone}}",
            "it names HTTPRouteFilter gone, which does not exist, so Envoy answers its requests with 500",
        ),
        (
            "{type: RequestMirror, requestMirror: {backendRef: {name: shadow, port: 80}}}",
            "its RequestMirror names Service shadow, which does not exist; namespace shop has api, outside, so Envoy answers its \
             requests with 500",
        ),
    ] {
        let rules = format!("rules: [{{filters: [{filter}], backendRefs: [{{name: api, port: 80}}]}}]");
        let found = refused(&route("HTTPRoute", "api", "{name: web}", &rules));
        assert_eq!(found, [format!("HTTPRoute shop/api, rule 0: {expected}")], "{filter}");
    }
}

#[test]
fn what_is_no_refusal_is_not_called_one() {
    for rules in [
        "rules: [{backendRefs: [{name: api, port: 80, weight: 0}]}]",
        "rules: [{filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]}]",
        "rules: [{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: api, port: 80}}}], backendRefs: [{name: api, \
         port: 80}]}]",
    ] {
        assert_eq!(refused(&route("HTTPRoute", "api", "{name: web}", rules)), Vec::<String>::new(), "{rules}");
    }
}

#[test]
fn the_route_that_came_first_to_a_listener_of_connections_is_named() {
    let parent = "{name: edge, namespace: edge, sectionName: tcp}";
    let manifests = route("TCPRoute", "a", parent, API) + &route("TCPRoute", "b", parent, API);
    assert_eq!(
        refused(&manifests),
        ["TCPRoute shop/b: listener tcp of Gateway edge/edge takes one route, and has TCPRoute shop/a, which is older"]
    );
    let two = "rules: [{backendRefs: [{name: api, port: 80}]}, {backendRefs: [{name: api, port: 80}]}]";
    let found = refused(&route("TCPRoute", "a", parent, two));
    assert_eq!(found, ["TCPRoute shop/a: it has 2 rules; Envoy Gateway wants exactly one here"]);
}

#[test]
fn a_policy_that_asks_a_service_that_is_not_there_says_so() {
    let policy = "---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: auth, namespace: shop}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: api}]
  extAuth: {grpc: {backendRefs: [{name: api, port: 9001}]}}
";
    let found = refused(&format!("{}{policy}", route("HTTPRoute", "api", "{name: web}", API)));
    assert_eq!(found, ["SecurityPolicy shop/auth: names Service api port 9001; it has 80, 53/UDP"]);
}

#[test]
fn a_backend_that_an_ai_route_leaves_out_is_told_by_the_ai_route() {
    let ai = "---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIGatewayRoute
metadata: {name: chat, namespace: shop}
spec:
  parentRefs: [{name: web}]
  rules: [{backendRefs: [{name: qwen}]}]
";
    assert_eq!(refused(ai), ["AIGatewayRoute shop/chat, rule 0: names AIServiceBackend qwen, which does not exist"]);
}

/// A status with one condition by the parent `web`.
fn status(conditions: &str) -> String {
    let controller = "gateway.envoyproxy.io/gatewayclass-controller";
    format!(
        "status: {{parents: [{{controllerName: {controller}, parentRef: {{group: gateway.networking.k8s.io, kind: Gateway, name: \
         web}}, conditions: [{conditions}]}}]}}\n"
    )
}

const ACCEPTED: &str = "{type: Accepted, status: 'True', reason: Accepted, message: ok}, {type: ResolvedRefs, status: 'True', \
                        reason: ResolvedRefs, message: ok}";

#[test]
fn what_envoy_gateway_reports_stands_beside_our_reason() {
    let wrong_port = "rules: [{backendRefs: [{name: api, port: 8080}]}]";
    let wrong = |status: &str| refused(&(route("HTTPRoute", "api", "{name: web}", wrong_port) + status));
    let ours = "HTTPRoute shop/api, rule 0: names Service api port 8080; it has 80, 53/UDP";
    let port = "{type: ResolvedRefs, status: 'False', reason: PortNotFound, message: TCP Port 8080 not found on Service shop/api}";
    assert_eq!(wrong(""), [ours]);
    assert_eq!(
        wrong(&status(port)),
        [format!(
            "{ours} (Envoy Gateway reports ResolvedRefs=False (PortNotFound): TCP Port 8080 not found on Service shop/api)"
        )]
    );
    assert_eq!(
        wrong(&status(ACCEPTED)),
        [format!("{ours} (but Envoy Gateway reports Accepted=True and ResolvedRefs=True)")]
    );
    let of_another = status(port).replace("gateway.envoyproxy.io/", "istio.io/");
    assert_eq!(wrong(&of_another), [ours]);
    let of_the_parent = "{type: Accepted, status: 'False', reason: NotAllowedByListeners, message: No listeners included by this parent ref}";
    assert_eq!(wrong(&status(of_the_parent)), [ours], "a condition about something else");
}

#[test]
fn a_route_that_only_envoy_gateway_refuses_is_shown_with_its_words() {
    let right = |status: &str| refused(&(route("HTTPRoute", "api", "{name: web}", API) + status));
    let refused_by_it =
        "{type: Accepted, status: 'False', reason: NoMatchingParent, message: No listeners match this parent ref.}";
    assert_eq!(
        right(&status(refused_by_it)),
        [
            "HTTPRoute shop/api: Envoy Gateway does not follow it, or not all of it (but Envoy Gateway reports Accepted=False \
          (NoMatchingParent): No listeners match this parent ref)"
        ]
    );
    assert_eq!(right(&status(ACCEPTED)), Vec::<String>::new());
    let earlier = status(refused_by_it);
    let changed =
        route("HTTPRoute", "api", "{name: web}", API).replace("namespace: shop}", "namespace: shop, generation: 2}");
    assert_eq!(refused(&(changed + &earlier)), Vec::<String>::new(), "a report on an earlier generation");
}

#[test]
fn a_redirect_that_envoy_gateway_accepts_is_no_difference() {
    let rules =
        "rules: [{filters: [{type: RequestRedirect, requestRedirect: {}}], backendRefs: [{name: api, port: 80}]}]";
    let found = objects(&format!("{BASE}{}{}", route("HTTPRoute", "api", "{name: web}", rules), status(ACCEPTED)));
    assert_eq!(found.routing().not_followed[0].envoy_gateway, None);
}

#[test]
fn the_namespace_of_a_route_that_is_not_among_the_objects_may_have_any_label() {
    let of = |selector: &str| {
        let gateway = format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge, namespace: edge}}
spec:
  gatewayClassName: eg
  listeners: [{{name: http, protocol: HTTP, port: 80, allowedRoutes: {{namespaces: {{from: Selector, selector: {selector}}}}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: api, namespace: shop}}
spec: {{selector: {{app: api}}, ports: [{{port: 80}}]}}
"
        );
        let mut objects = objects(&(gateway + &route("HTTPRoute", "api", "{name: edge, namespace: edge}", API)));
        let unknown = objects.routing().follows_any();
        objects.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})).unwrap();
        (unknown, objects.routing().follows_any())
    };
    assert_eq!(of("{matchLabels: {gateway: 'yes'}}"), (true, false));
    assert_eq!(of("{matchExpressions: [{key: gateway, operator: Exists}]}"), (true, false));
    assert_eq!(of("{matchExpressions: [{key: gateway, operator: Near}]}"), (false, false));
    // This label is known without its Namespace.
    assert_eq!(of("{matchLabels: {kubernetes.io/metadata.name: other}}"), (false, false));
    assert!(of("{matchLabels: {kubernetes.io/metadata.name: shop}}").0);
}

#[test]
fn refusals_stand_under_the_table_in_columns_of_their_own() {
    let rules = "rules: [{backendRefs: [{name: api, port: 80}]}, {backendRefs: [{name: api, port: 8080}]}]";
    let routing =
        objects(&format!("{BASE}{}", route("HTTPRoute", "api", "{name: web}, {name: gone}", rules))).routing();
    assert_eq!(
        routing.table(),
        "\
KIND      NAMESPACE   NAME   PORT   SHARE     CLUSTER
Service   shop        api    80     100.0 %   httproute/shop/api/rule/0

NOT FOLLOWED                 WHY
HTTPRoute shop/api           Gateway shop/gone does not exist
HTTPRoute shop/api, rule 1   names Service api port 8080; it has 80, 53/UDP
"
    );
    assert!(routing.follows_any());
}

#[test]
fn the_table_is_left_out_where_nothing_is_followed() {
    let rules = "rules: [{backendRefs: [{name: api, port: 8080}]}]";
    let routing = objects(&format!("{BASE}{}", route("HTTPRoute", "api", "{name: web}", rules))).routing();
    assert!(!routing.follows_any());
    assert_eq!(routing.routes, 1);
    assert!(routing.table().starts_with("NOT FOLLOWED"), "{}", routing.table());
    assert_eq!(Objects::default().routing(), Routing::default());
    assert_eq!(Routing::default().table(), "");
}

#[test]
fn in_json_each_backend_has_the_reasons_why_it_gets_nothing() {
    let rules = "rules: [{backendRefs: [{name: api, port: 8080}]}]";
    let manifests = route("HTTPRoute", "api", "{name: web}", rules) + &status(ACCEPTED);
    let routing = objects(&format!("{BASE}{manifests}")).routing();
    let found: Value = serde_json::to_value(&routing.backends).unwrap();
    let expected = json!([{
        "backend": {"kind": "Service", "namespace": "shop", "name": "api", "port": 8080},
        "clusters": [],
        "notFollowed": [{
            "route": {"kind": "HTTPRoute", "namespace": "shop", "name": "api", "rule": 0},
            "reason": "PortNotFound",
            "message": "names Service api port 8080; it has 80, 53/UDP",
            "envoyGateway": {"agrees": false, "conditions": "Accepted=True and ResolvedRefs=True"},
        }],
    }]);
    assert_eq!(found, expected);
}
