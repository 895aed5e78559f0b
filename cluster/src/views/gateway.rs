//! GatewayClasses, Gateways and ListenerSets.

use serde::Deserialize;

use super::{LabelSelector, Meta, parent_ref::ParentRef};

/// `GatewayClass`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct GatewayClass {
    pub(crate) metadata: Meta,
    pub(crate) spec: GatewayClassSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct GatewayClassSpec {
    pub(crate) controller_name: String,
    pub(crate) parameters_ref: Option<ParametersRef>,
}

/// The EnvoyProxy that a GatewayClass or Gateway names.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ParametersRef {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    /// Only in a GatewayClass: a Gateway's is in its own namespace
    pub(crate) namespace: Option<String>,
}

impl ParametersRef {
    pub(crate) fn is_envoy_proxy(&self) -> bool {
        self.group == "gateway.envoyproxy.io" && self.kind == "EnvoyProxy"
    }
}

/// `Gateway`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Gateway {
    pub(crate) metadata: Meta,
    pub(crate) spec: GatewaySpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct GatewaySpec {
    pub(crate) gateway_class_name: String,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) addresses: Vec<Address>,
    infrastructure: Infrastructure,
    allowed_listeners: Allowed,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Address {
    r#type: Option<String>,
}

impl Address {
    /// Whether the type is supported: Envoy Gateway refuses a Gateway with an address of any other.
    pub(crate) fn is_supported(&self) -> bool {
        self.r#type.as_deref().is_none_or(|kind| matches!(kind, "IPAddress" | "Hostname"))
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Infrastructure {
    parameters_ref: Option<ParametersRef>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Allowed {
    namespaces: Option<FromNamespaces>,
    kinds: Vec<GroupKind>,
}

/// The namespaces from which something may attach.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct FromNamespaces {
    /// `All`, `Same`, `Selector` or `None`
    pub(crate) from: Option<String>,
    pub(crate) selector: Option<LabelSelector>,
}

/// A kind of route that a listener allows.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct GroupKind {
    pub(crate) group: Option<String>,
    pub(crate) kind: String,
}

impl Gateway {
    pub(crate) fn parameters_ref(&self) -> Option<&ParametersRef> {
        self.spec.infrastructure.parameters_ref.as_ref()
    }

    /// The namespaces whose ListenerSets may attach; none when absent.
    pub(crate) fn allowed_listeners(&self) -> Option<&FromNamespaces> {
        self.spec.allowed_listeners.namespaces.as_ref()
    }
}

/// A listener of a Gateway or a ListenerSet.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) protocol: String,
    pub(crate) hostname: Option<String>,
    pub(crate) tls: Option<ListenerTls>,
    allowed_routes: Allowed,
}

impl Listener {
    /// The namespaces whose routes may attach; only the listener's own when absent.
    pub(crate) fn allowed_namespaces(&self) -> Option<&FromNamespaces> {
        self.allowed_routes.namespaces.as_ref()
    }

    /// The kinds of route that may attach; when empty, all that the protocol carries.
    pub(crate) fn allowed_kinds(&self) -> &[GroupKind] {
        &self.allowed_routes.kinds
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ListenerTls {
    pub(crate) mode: Option<String>,
    pub(crate) certificate_refs: Vec<CertificateRef>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct CertificateRef {
    pub(crate) group: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
}

impl CertificateRef {
    /// Whether it refers to a Secret: Envoy Gateway takes certificates from nowhere else.
    pub(crate) fn is_secret(&self) -> bool {
        self.group.as_deref().is_none_or(str::is_empty) && self.kind.as_deref().is_none_or(|kind| kind == "Secret")
    }
}

/// `ListenerSet`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ListenerSet {
    pub(crate) metadata: Meta,
    pub(crate) spec: ListenerSetSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ListenerSetSpec {
    pub(crate) parent_ref: ParentRef,
    pub(crate) listeners: Vec<Listener>,
}
