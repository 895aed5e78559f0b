//! The configuration of Envoy Gateway itself. It is not an object of the cluster: it stands in a ConfigMap, or among manifests.

use serde::Deserialize;

use super::{LabelSelector, Labels, backend::EnvoyProxySpec};

/// `EnvoyGateway`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct EnvoyGateway {
    gateway: GatewaySection,
    #[serde(rename = "extensionApis")]
    extension_apis: ExtensionApis,
    extension_manager: ExtensionManager,
    /// Where this has any, `extension_manager` is none
    extension_managers: Vec<ExtensionManager>,
    provider: Provider,
    /// The EnvoyProxy of the lowest precedence
    pub(crate) envoy_proxy: Option<EnvoyProxySpec>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GatewaySection {
    controller_name: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ExtensionApis {
    enable_backend: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ExtensionManager {
    resources: Vec<GroupKind>,
    backend_resources: Vec<GroupKind>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Provider {
    kubernetes: Kubernetes,
    custom: Custom,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Kubernetes {
    watch: Watch,
}

/// The namespaces that it watches; all by default.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Watch {
    r#type: String,
    namespaces: Vec<String>,
    namespace_selector: Option<LabelSelector>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Custom {
    infrastructure: Infrastructure,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Infrastructure {
    r#type: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct GroupKind {
    group: String,
    kind: String,
}

impl EnvoyGateway {
    /// The controller name in the GatewayClasses that are Envoy Gateway's.
    pub(crate) fn controller_name(&self) -> &str {
        self.gateway.controller_name.as_deref().unwrap_or("gateway.envoyproxy.io/gatewayclass-controller")
    }

    /// Whether `Backend` objects are enabled; they are not unless the configuration says so.
    pub(crate) fn backends_enabled(&self) -> bool {
        self.extension_apis.enable_backend
    }

    /// Whether it watches the objects of a namespace. `labels` are those of the Namespace, if it is known: an unknown one may be
    /// selected.
    pub(crate) fn watches(&self, namespace: &str, labels: Option<&Labels>) -> bool {
        let Watch { r#type, namespaces, namespace_selector } = &self.provider.kubernetes.watch;
        match (r#type.as_str(), namespace_selector, labels) {
            ("Namespaces", ..) => namespaces.is_empty() || namespaces.iter().any(|watched| watched == namespace),
            ("NamespaceSelector", Some(selector), Some(labels)) => selector.matches(labels),
            _ => true,
        }
    }

    /// Whether it runs proxies as processes of its own host, where loopback addresses and short names are valid backends.
    pub(crate) fn runs_on_host(&self) -> bool {
        self.provider.custom.infrastructure.r#type == "Host"
    }

    /// Whether an extension server handles this kind, as a filter or a backend.
    pub(crate) fn is_extension(&self, group: &str, kind: &str) -> bool {
        let managers = self.extension_managers.iter().chain([&self.extension_manager]);
        let mut known = managers.flat_map(|manager| manager.resources.iter().chain(&manager.backend_resources));
        known.any(|extension| extension.group == group && extension.kind == kind)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn watches(watch: &Value, namespace: &str, labels: Option<&Labels>) -> bool {
        let config = json!({"provider": {"type": "Kubernetes", "kubernetes": {"watch": watch}}});
        serde_json::from_value::<EnvoyGateway>(config).unwrap().watches(namespace, labels)
    }

    #[test]
    fn an_extension_server_handles_its_kinds_whether_it_is_the_only_one_or_one_of_several() {
        let of = |group: &str, kind: &str| json!([{"group": group, "version": "v1", "kind": kind}]);
        let one = json!({"extensionManager": {"resources": of("a.io", "A"), "backendResources": of("b.io", "B")}});
        let several = json!({"extensionManagers": [{"name": "x", "resources": of("a.io", "A")},
            {"name": "y", "backendResources": of("b.io", "B"), "policyResources": of("c.io", "C")}]});
        for config in [one, several] {
            let config = serde_json::from_value::<EnvoyGateway>(config).unwrap();
            let handled =
                [("a.io", "A"), ("b.io", "B"), ("c.io", "C")].map(|(group, kind)| config.is_extension(group, kind));
            assert_eq!(handled, [true, true, false]);
        }
    }

    #[test]
    fn namespaces_are_watched_by_name_or_by_label_and_an_unknown_one_may_be() {
        let selector = json!({"type": "NamespaceSelector", "namespaceSelector": {"matchLabels": {"edge": "true"}}});
        let labels = |value: &str| Labels::from_iter([("edge".to_owned(), value.to_owned())]);
        for (watch, labels, wanted) in [
            (&json!({}), None, true),
            (&json!({"type": "Namespaces", "namespaces": ["shop"]}), None, true),
            (&json!({"type": "Namespaces", "namespaces": ["other"]}), None, false),
            (&selector, Some(labels("true")), true),
            (&selector, Some(labels("false")), false),
            (&selector, None, true),
        ] {
            assert_eq!(watches(watch, "shop", labels.as_ref()), wanted, "{watch}");
        }
    }

    #[test]
    fn the_kinds_of_one_extension_manager_and_of_several_in_a_row_are_known() {
        let kinds = |kind: &str| json!([{"group": "example.com", "version": "v1", "kind": kind}]);
        let one = json!({"extensionManager": {"resources": kinds("Tracer")}});
        let row = [
            json!({"name": "a", "resources": kinds("Other")}),
            json!({"name": "b", "backendResources": kinds("Tracer")}),
        ];
        for config in [one, json!({"extensionManagers": row})] {
            let config: EnvoyGateway = serde_json::from_value(config).unwrap();
            assert!(config.is_extension("example.com", "Tracer"));
            assert!(!config.is_extension("example.com", "Unknown"));
        }
    }
}
