//! Objects for tests: a Deployment behind a route.

use serde_json::{Value, json};

use crate::Objects;

/// These objects; what may go to zero does.
pub(crate) fn objects(all: impl IntoIterator<Item = Value>) -> Objects {
    let mut objects = Objects::default();
    objects.set_activates(true);
    for object in all {
        objects.apply(object).unwrap();
    }
    objects
}

pub(crate) fn deployment(name: &str, annotations: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "annotations": annotations},
        "spec": {"template": {"metadata": {"labels": {"app": name}}}}})
}

/// The Service of a Deployment, with port 80.
pub(crate) fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80}]}})
}

/// The Gateway `web`.
pub(crate) fn gateway() -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"gatewayClassName": "eg", "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}]}})
}

/// A route of that Gateway to the Service `api`.
pub(crate) fn route(kind: &str, rules: &[Value]) -> Value {
    let rules = rules.iter().cloned().map(|mut rule| {
        rule["backendRefs"] = json!([{"name": "api", "port": 80}]);
        rule
    });
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"parentRefs": [{"name": "web"}], "rules": rules.collect::<Vec<_>>()}})
}
