//! The five kinds of route, in one shape.
//!
//! Matches decide nothing about clusters except when Envoy Gateway cannot translate them, so of each rule's matches
//! only that is kept.

mod filter;
mod matches;

use serde::Deserialize;

use super::{Meta, status::Status};

pub(in crate::index) use filter::{Filter, RegexPattern, UrlRewrite, is_dns_subdomain};

/// `HTTPRoute`, `GRPCRoute`, `TCPRoute`, `TLSRoute` or `UDPRoute`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::index) struct Route {
    pub(in crate::index) metadata: Meta,
    pub(in crate::index) spec: RouteSpec,
    status: Status,
}

impl Route {
    /// One that is in no cluster.
    pub(in crate::index) fn made(metadata: Meta, spec: RouteSpec) -> Self {
        Self { metadata, spec, status: Status::default() }
    }

    /// Whether this controller has yet to take in the route as it is now: what its proxies have is not what the spec says.
    pub(in crate::index) fn is_pending(&self, controller: &str) -> bool {
        self.status.is_behind(self.metadata.generation, controller)
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct RouteSpec {
    pub(in crate::index) parent_refs: Vec<ParentRef>,
    pub(in crate::index) hostnames: Vec<String>,
    pub(in crate::index) rules: Vec<Rule>,
}

/// What a route attaches to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct ParentRef {
    pub(in crate::index) group: Option<String>,
    pub(in crate::index) kind: Option<String>,
    pub(in crate::index) namespace: Option<String>,
    pub(in crate::index) name: String,
    pub(in crate::index) section_name: Option<String>,
    pub(in crate::index) port: Option<u16>,
}

/// One rule of a route.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::index) struct Rule {
    pub(in crate::index) name: Option<String>,
    matches: matches::Matches,
    pub(in crate::index) filters: Vec<Filter>,
    pub(in crate::index) backend_refs: Vec<BackendRef>,
    session_persistence: Option<SessionPersistence>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct SessionPersistence {
    r#type: Option<String>,
}

impl Rule {
    /// A rule that Envoy Gateway translates, and that sends everything to these.
    pub(in crate::index) fn of_backends(name: Option<String>, backend_refs: Vec<BackendRef>) -> Self {
        Self { name, backend_refs, ..Self::default() }
    }

    /// Whether Envoy Gateway translates the rule at all: it drops a rule whose regular expressions do not compile or
    /// whose kind of session persistence it does not know.
    pub(in crate::index) fn is_translatable(&self) -> bool {
        let session = self.session_persistence.as_ref().and_then(|persistence| persistence.r#type.as_deref());
        self.matches.all_compile && session.is_none_or(|kind| matches!(kind, "Cookie" | "Header"))
    }

    /// Whether a client's requests stay with one backend.
    pub(in crate::index) fn has_session_persistence(&self) -> bool {
        self.session_persistence.is_some()
    }
}

/// A backend of a rule, or of a mirror.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(in crate::index) struct BackendRef {
    pub(in crate::index) group: Option<String>,
    pub(in crate::index) kind: Option<String>,
    pub(in crate::index) name: String,
    pub(in crate::index) namespace: Option<String>,
    pub(in crate::index) port: Option<u16>,
    pub(in crate::index) weight: u32,
    pub(in crate::index) filters: Vec<Filter>,
}

impl Default for BackendRef {
    fn default() -> Self {
        Self { group: None, kind: None, name: String::new(), namespace: None, port: None, weight: 1, filters: vec![] }
    }
}

impl BackendRef {
    /// The kind, a Service when the reference does not say.
    pub(in crate::index) fn kind(&self) -> &str {
        non_empty(self.kind.as_deref()).unwrap_or("Service")
    }

    /// The API group; empty for the core group.
    pub(in crate::index) fn group(&self) -> &str {
        self.group.as_deref().unwrap_or_default()
    }

    /// The namespace, the route's own when the reference does not say.
    pub(in crate::index) fn namespace<'a>(&'a self, route: &'a str) -> &'a str {
        non_empty(self.namespace.as_deref()).unwrap_or(route)
    }
}

/// Envoy Gateway reads an empty string in a reference as absent.
pub(in crate::index) fn non_empty(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.is_empty())
}
