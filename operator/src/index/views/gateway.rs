//! GatewayClasses, Gateways and ListenerSets.

use serde::Deserialize;

use super::{LabelSelector, Meta, route::ParentRef};

/// `GatewayClass`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct GatewayClass {
    pub(in crate::index) metadata: Meta,
    pub(in crate::index) spec: GatewayClassSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct GatewayClassSpec {
    pub(in crate::index) controller_name: String,
    pub(in crate::index) parameters_ref: Option<ParametersRef>,
}

/// The EnvoyProxy that a GatewayClass or Gateway names.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct ParametersRef {
    pub(in crate::index) group: String,
    pub(in crate::index) kind: String,
    pub(in crate::index) name: String,
    /// Only in a GatewayClass: a Gateway's is in its own namespace
    pub(in crate::index) namespace: Option<String>,
}

impl ParametersRef {
    pub(in crate::index) fn is_envoy_proxy(&self) -> bool {
        self.group == "gateway.envoyproxy.io" && self.kind == "EnvoyProxy"
    }
}

/// `Gateway`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct Gateway {
    pub(in crate::index) metadata: Meta,
    pub(in crate::index) spec: GatewaySpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct GatewaySpec {
    pub(in crate::index) gateway_class_name: String,
    pub(in crate::index) listeners: Vec<Listener>,
    pub(in crate::index) addresses: Vec<Address>,
    infrastructure: Infrastructure,
    allowed_listeners: Allowed,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct Address {
    r#type: Option<String>,
}

impl Address {
    /// Envoy Gateway refuses a Gateway with an address of any other type.
    pub(in crate::index) fn is_supported(&self) -> bool {
        self.r#type.as_deref().is_none_or(|kind| matches!(kind, "IPAddress" | "Hostname"))
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Infrastructure {
    parameters_ref: Option<ParametersRef>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct Allowed {
    namespaces: Option<FromNamespaces>,
    kinds: Vec<GroupKind>,
}

/// From which namespaces something may attach.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct FromNamespaces {
    /// `All`, `Same`, `Selector` or `None`
    pub(in crate::index) from: Option<String>,
    pub(in crate::index) selector: Option<LabelSelector>,
}

/// A kind of route that a listener allows.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct GroupKind {
    pub(in crate::index) group: Option<String>,
    pub(in crate::index) kind: String,
}

impl Gateway {
    pub(in crate::index) fn parameters_ref(&self) -> Option<&ParametersRef> {
        self.spec.infrastructure.parameters_ref.as_ref()
    }

    /// Which ListenerSets may attach; nobody's when absent.
    pub(in crate::index) fn allowed_listeners(&self) -> Option<&FromNamespaces> {
        self.spec.allowed_listeners.namespaces.as_ref()
    }
}

/// A listener of a Gateway or a ListenerSet.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct Listener {
    pub(in crate::index) name: String,
    pub(in crate::index) port: u16,
    pub(in crate::index) protocol: String,
    pub(in crate::index) hostname: Option<String>,
    pub(in crate::index) tls: Option<ListenerTls>,
    allowed_routes: Allowed,
}

impl Listener {
    /// From which namespaces routes may attach; the listener's own when absent.
    pub(in crate::index) fn allowed_namespaces(&self) -> Option<&FromNamespaces> {
        self.allowed_routes.namespaces.as_ref()
    }

    /// The kinds of route that may attach; what the protocol carries when empty.
    pub(in crate::index) fn allowed_kinds(&self) -> &[GroupKind] {
        &self.allowed_routes.kinds
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct ListenerTls {
    pub(in crate::index) mode: Option<String>,
    pub(in crate::index) certificate_refs: Vec<CertificateRef>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct CertificateRef {
    pub(in crate::index) group: Option<String>,
    pub(in crate::index) kind: Option<String>,
    pub(in crate::index) name: String,
    pub(in crate::index) namespace: Option<String>,
}

impl CertificateRef {
    /// Envoy Gateway takes certificates from Secrets only.
    pub(in crate::index) fn is_secret(&self) -> bool {
        self.group.as_deref().is_none_or(str::is_empty) && self.kind.as_deref().is_none_or(|kind| kind == "Secret")
    }
}

/// `ListenerSet`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct ListenerSet {
    pub(in crate::index) metadata: Meta,
    pub(in crate::index) spec: ListenerSetSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct ListenerSetSpec {
    pub(in crate::index) parent_ref: ParentRef,
    pub(in crate::index) listeners: Vec<Listener>,
}
