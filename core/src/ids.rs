//! Names of Kubernetes objects.

use std::fmt;

use serde::Serialize;

/// A Service by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ServiceId {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
}

/// A rule of a route, or a policy that has Envoy ask a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct RouteRef {
    /// `HTTPRoute`, `GRPCRoute`, `TCPRoute`, `TLSRoute`, `SecurityPolicy` or `EnvoyExtensionPolicy`
    pub kind: String,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// The rule's index; `None` for TCP and TLS routes, whose rules share one cluster, and for policies
    pub rule: Option<usize>,
}

impl RouteRef {
    /// The kinds of route whose traffic is measured, as messages name them.
    pub const MEASURED: &str = "HTTPRoute, GRPCRoute, TCPRoute or TLSRoute";

    /// Whether it carries connections, so that these are demand, and not requests.
    pub fn carries_connections(&self) -> bool {
        matches!(&*self.kind, "TCPRoute" | "TLSRoute" | "UDPRoute")
    }
}

impl fmt::Display for RouteRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)?;
        match self.rule {
            Some(rule) => write!(f, " rule {rule}"),
            None => Ok(()),
        }
    }
}
