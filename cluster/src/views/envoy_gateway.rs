//! The configuration of Envoy Gateway itself. It is not an object of the cluster, but may be among manifests.

use serde::Deserialize;

use super::backend::EnvoyProxySpec;

/// `EnvoyGateway`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct EnvoyGateway {
    gateway: GatewaySection,
    #[serde(rename = "extensionApis")]
    extension_apis: Option<ExtensionApis>,
    extension_manager: ExtensionManager,
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
    custom: Custom,
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

    /// Whether `Backend` objects are enabled. Assumed unless a given configuration says otherwise: anyone who writes Backends has
    /// them enabled.
    pub(crate) fn backends_enabled(&self) -> bool {
        self.extension_apis.as_ref().is_none_or(|apis| apis.enable_backend)
    }

    /// Whether it runs proxies as processes of its own host, where loopback addresses and short names are valid backends.
    pub(crate) fn runs_on_host(&self) -> bool {
        self.provider.custom.infrastructure.r#type == "Host"
    }

    /// Whether an extension server handles this kind, as a filter or a backend.
    pub(crate) fn is_extension(&self, group: &str, kind: &str) -> bool {
        let mut known = self.extension_manager.resources.iter().chain(&self.extension_manager.backend_resources);
        known.any(|extension| extension.group == group && extension.kind == kind)
    }
}
