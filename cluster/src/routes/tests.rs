use serde_json::{Value, json};

use super::*;

fn routes_of(manifests: &str) -> Vec<BackendClusters> {
    let mut objects = Objects::default();
    for document in tidegate_core::yaml::read_all(manifests).unwrap() {
        objects.apply(document).unwrap();
    }
    objects.routes()
}

const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: eg}
spec:
  gatewayClassName: eg
  listeners: [{name: http, protocol: HTTP, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: task-api}
spec: {selector: {app: task-api}, ports: [{port: 8000}]}
---
";

fn route(rules: &str) -> String {
    format!(
        "{GATEWAY}
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: task-route}}
spec: {{parentRefs: [{{name: eg}}], rules: {rules}}}"
    )
}

#[test]
fn the_mapping_has_the_shape_that_is_documented() {
    let routes = routes_of(&route("[{backendRefs: [{name: task-api, port: 8000}]}]"));
    assert_eq!(
        serde_json::to_string(&routes).unwrap(),
        r#"[{"backend":{"kind":"Service","namespace":"default","name":"task-api","port":8000},"clusters":[{"name":"httproute/default/task-route/rule/0","share":1.0}]}]"#
    );
}

#[test]
fn a_split_is_shown_when_it_is_certain() {
    let routes = routes_of(&route("[{backendRefs: [{name: task-api, port: 8000, weight: 3}, {name: gone, port: 1}]}]"));
    let expected = json!([{
        "backend": {"kind": "Service", "namespace": "default", "name": "task-api", "port": 8000},
        "clusters": [{"name": "httproute/default/task-route/rule/0", "share": 0.75,
            "split": "httproute/default/task-route/rule/0/backend/0"}],
    }]);
    assert_eq!(serde_json::to_value(&routes).unwrap(), expected);
}

#[test]
fn a_backend_that_a_rule_names_twice_adds_up() {
    let rule = "[{backendRefs: [{name: task-api, port: 8000, weight: 1}, {name: task-api, port: 8000, weight: 3}]}]";
    assert_eq!(routes_of(&route(rule))[0].clusters.len(), 1);
    assert_eq!(routes_of(&route(rule))[0].clusters[0].share, 1.0);
}

#[test]
fn a_backend_object_says_which_service_it_stands_for() {
    let backend = "
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: llm}
spec: {endpoints: [{fqdn: {hostname: vllm.models.svc.cluster.local, port: 8000}}]}
---
apiVersion: v1
kind: Service
metadata: {name: vllm, namespace: models}
spec: {ports: [{port: 8000}]}
---";
    let rules = route("[{backendRefs: [{kind: Backend, name: llm}]}]");
    let expected = json!([{
        "backend": {"kind": "Backend", "namespace": "default", "name": "llm"},
        "service": {"namespace": "models", "name": "vllm", "port": 8000},
        "clusters": [{"name": "httproute/default/task-route/rule/0", "share": 1.0}],
    }]);
    assert_eq!(serde_json::to_value(routes_of(&format!("{backend}{rules}"))).unwrap(), expected);
}

#[test]
fn the_cluster_stands_beside_the_name_in_statistics_when_they_differ() {
    let proxy = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: eg}
spec:
  controllerName: gateway.envoyproxy.io/gatewayclass-controller
  parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, name: proxy, namespace: eg}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: {name: proxy, namespace: eg}
spec: {telemetry: {metrics: {clusterStatName: '%ROUTE_KIND%_%ROUTE_NAME%'}}}
---";
    let routes = routes_of(&format!("{proxy}{}", route("[{backendRefs: [{name: task-api, port: 8000}]}]")));
    let cluster: Value = serde_json::to_value(&routes[0].clusters[0]).unwrap();
    let expected =
        json!({"name": "httproute_task-route", "share": 1.0, "cluster": "httproute/default/task-route/rule/0"});
    assert_eq!(cluster, expected);
}

#[test]
fn the_table_has_a_line_per_backend_and_cluster() {
    let plain = routes_of(&route("[{backendRefs: [{name: task-api, port: 8000}]}]"));
    assert_eq!(
        routes_table(&plain),
        "\
KIND      NAMESPACE   NAME       PORT   SHARE     CLUSTER
Service   default     task-api   8000   100.0 %   httproute/default/task-route/rule/0
"
    );
    let split = routes_of(&route("[{backendRefs: [{name: task-api, port: 8000}, {name: gone, port: 1, weight: 2}]}]"));
    let expected = "33.3 %   httproute/default/task-route/rule/0   httproute/default/task-route/rule/0/backend/0\n";
    assert!(routes_table(&split).ends_with(expected), "{}", routes_table(&split));
    assert_eq!(routes_table(&[]), "KIND   NAMESPACE   NAME   PORT   SHARE   CLUSTER\n");
}

const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: auth}
spec: {selector: {app: auth}, ports: [{port: 9001}]}
---
apiVersion: v1
kind: Service
metadata: {name: scan}
spec: {selector: {app: scan}, ports: [{port: 9002}]}
---
";

/// The table's lines of services that Envoy calls, in four columns.
fn asked(policies: &str) -> Vec<String> {
    let manifests = format!("{SERVICES}{policies}{}", route("[{backendRefs: [{name: task-api, port: 8000}]}]"));
    let routes = routes_of(&manifests);
    let entries = routes.iter().flat_map(|backend| backend.clusters.iter().map(move |cluster| (backend, cluster)));
    let asked = entries.filter(|(_, cluster)| cluster.role != Role::Backend);
    asked.map(|(b, c)| format!("{} {} {} {}", b.backend.name, c.role, c.share, c.name)).collect()
}

/// A policy of Envoy Gateway that is attached to one object.
fn policy(kind: &str, name: &str, target: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  \
         targetRefs: [{{group: gateway.networking.k8s.io, {target}}}]\n  {spec}\n---\n"
    )
}

#[test]
fn a_service_that_authorises_requests_has_the_cluster_of_its_policy() {
    let auth = "extAuth: {http: {backendRefs: [{name: auth, port: 9001}]}}";
    for target in ["kind: Gateway, name: eg", "kind: HTTPRoute, name: task-route"] {
        let asked = asked(&policy("SecurityPolicy", "login", target, auth));
        assert_eq!(asked, ["auth ext-auth 1 securitypolicy/default/login/extauth/0"], "{target}");
    }
    // The policy of another route has no effect.
    assert!(asked(&policy("SecurityPolicy", "login", "kind: HTTPRoute, name: other", auth)).is_empty());
}

#[test]
fn services_that_process_requests_have_a_cluster_each_and_share_it_by_weight() {
    let process = "extProc: [{backendRefs: [{name: auth, port: 9001}]}, \
        {backendRefs: [{name: scan, port: 9002, weight: 3}, {name: auth, port: 9001}, {name: task-api, port: 8000, weight: 0}]}]";
    assert_eq!(
        asked(&policy("EnvoyExtensionPolicy", "scan", "kind: Gateway, name: eg", process)),
        [
            "auth ext-proc 1 envoyextensionpolicy/default/scan/extproc/0",
            "auth ext-proc 0.25 envoyextensionpolicy/default/scan/extproc/1",
            "scan ext-proc 0.75 envoyextensionpolicy/default/scan/extproc/1",
            // Weight 0: known to get no requests.
            "task-api ext-proc 0 envoyextensionpolicy/default/scan/extproc/1",
        ]
    );
}

#[test]
fn the_policy_of_a_route_replaces_that_of_the_gateway_unless_it_merges() {
    let of_gateway = policy(
        "SecurityPolicy",
        "all",
        "kind: Gateway, name: eg",
        "extAuth: {grpc: {backendRef: {name: auth, port: 9001}}}",
    );
    let target = "kind: HTTPRoute, name: task-route";
    let of_route = |spec: &str| asked(&format!("{of_gateway}{}", policy("SecurityPolicy", "one", target, spec)));
    assert!(of_route("cors: {}").is_empty());
    let all = "auth ext-auth 1 securitypolicy/default/all/extauth/0";
    assert_eq!(of_route("mergeType: StrategicMerge"), [all]);
    let own = "extAuth: {http: {backendRefs: [{name: scan, port: 9002}]}}";
    assert_eq!(of_route(own), ["scan ext-auth 1 securitypolicy/default/one/extauth/0"]);
}

#[test]
fn a_service_with_one_backend_that_is_refused_has_no_cluster() {
    let target = "kind: Gateway, name: eg";
    for refused in
        ["name: gone, port: 1", "name: auth, port: 7", "name: auth, port: 9001, namespace: other", "name: auth"]
    {
        let spec = format!("extAuth: {{http: {{backendRefs: [{{name: auth, port: 9001}}, {{{refused}}}]}}}}");
        assert!(asked(&policy("SecurityPolicy", "login", target, &spec)).is_empty(), "{refused}");
    }
}
