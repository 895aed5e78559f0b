use serde_json::{Value, json};

use super::*;

fn routes_of(manifests: &str) -> Vec<BackendClusters> {
    let mut objects = Objects::default();
    for document in serde_yaml_ng::Deserializer::from_str(manifests) {
        objects.apply(serde::Deserialize::deserialize(document).unwrap()).unwrap();
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
