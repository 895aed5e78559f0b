//! The five kinds of route, in one shape.
//!
//! Matches affect clusters only when Envoy Gateway cannot translate them, so nothing else is kept of a rule's matches.

mod filter;
mod matches;
mod timeouts;

use std::time::Duration;

use serde::Deserialize;

use super::{
    Meta,
    parent_ref::ParentRef,
    status::{Reported, Status},
};

pub(crate) use filter::{Filter, RegexPattern, UrlRewrite, is_dns_subdomain};
pub(crate) use timeouts::{Timeouts, duration};

/// `HTTPRoute`, `GRPCRoute`, `TCPRoute`, `TLSRoute` or `UDPRoute`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Route {
    pub(crate) metadata: Meta,
    pub(crate) spec: RouteSpec,
    status: Status,
}

impl Route {
    /// A generated route, which is in no cluster.
    pub(crate) fn made(metadata: Meta, spec: RouteSpec) -> Self {
        Self { metadata, spec, status: Status::default() }
    }

    /// Whether this controller has not processed the current generation of the route yet: its proxies do not follow the spec.
    pub(crate) fn is_pending(&self, controller: &str) -> bool {
        self.status.is_behind(self.metadata.generation, controller)
    }

    /// What this controller reports on the current generation of the route: by one parent, or by all.
    pub(crate) fn reported(&self, controllers: &[&str], parent: Option<&ParentRef>) -> Reported<'_> {
        let Meta { generation, namespace, .. } = &self.metadata;
        let of = |reported: &ParentRef| parent.is_none_or(|parent| parent.is_same(reported, namespace));
        self.status.reported(*generation, controllers, of)
    }

    /// Whether a controller has refused some generation of the route.
    pub(crate) fn is_refused(&self) -> bool {
        self.status.refuses()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct RouteSpec {
    pub(crate) parent_refs: Vec<ParentRef>,
    pub(crate) hostnames: Vec<String>,
    pub(crate) rules: Vec<Rule>,
}

/// One rule of a route.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Rule {
    pub(crate) name: Option<String>,
    matches: matches::Matches,
    pub(crate) filters: Vec<Filter>,
    pub(crate) backend_refs: Vec<BackendRef>,
    session_persistence: Option<SessionPersistence>,
    timeouts: Option<Timeouts>,
    retry: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct SessionPersistence {
    r#type: Option<String>,
}

impl Rule {
    /// A rule that Envoy Gateway translates, and that sends everything to these backends.
    pub(crate) fn of_backends(name: Option<String>, backend_refs: Vec<BackendRef>, timeouts: Timeouts) -> Self {
        Self { name, backend_refs, timeouts: Some(timeouts), ..Self::default() }
    }

    /// The time after which Envoy gives up on a request, if the rule itself sets it, and the field that does
    /// (`processRouteTimeout`). 0 is for ever.
    pub(crate) fn request_timeout(&self) -> Option<(Duration, &'static str)> {
        let timeouts = self.timeouts?;
        // With retries, the time for the backend is that of each try.
        let backend = timeouts.backend_request.filter(|_| self.retry.is_none());
        let backend = backend.map(|time| (time, "timeouts.backendRequest"));
        backend.or_else(|| Some((timeouts.request?, "timeouts.request")))
    }

    /// Whether Envoy Gateway translates the rule at all: it drops a rule whose regular expressions do not compile or
    /// whose kind of session persistence it does not know.
    pub(crate) fn is_translatable(&self) -> bool {
        let session = self.session_persistence.as_ref().and_then(|persistence| persistence.r#type.as_deref());
        self.matches.all_compile && session.is_none_or(|kind| matches!(kind, "Cookie" | "Header"))
    }

    /// Whether a client's requests stay with one backend.
    pub(crate) fn has_session_persistence(&self) -> bool {
        self.session_persistence.is_some()
    }
}

/// A backend of a rule, or of a mirror.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct BackendRef {
    pub(crate) group: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) weight: u32,
    pub(crate) filters: Vec<Filter>,
}

impl Default for BackendRef {
    fn default() -> Self {
        Self { group: None, kind: None, name: String::new(), namespace: None, port: None, weight: 1, filters: vec![] }
    }
}

impl BackendRef {
    /// The kind; a Service by default.
    pub(crate) fn kind(&self) -> &str {
        non_empty(self.kind.as_deref()).unwrap_or("Service")
    }

    /// The API group; empty for the core group.
    pub(crate) fn group(&self) -> &str {
        self.group.as_deref().unwrap_or_default()
    }

    /// The namespace; by default the route's own.
    pub(crate) fn namespace<'a>(&'a self, route: &'a str) -> &'a str {
        non_empty(self.namespace.as_deref()).unwrap_or(route)
    }
}

/// Envoy Gateway reads an empty string in a reference as absent.
pub(crate) fn non_empty(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.is_empty())
}
