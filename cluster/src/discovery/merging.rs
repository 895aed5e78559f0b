//! `mergeBackends`: one cluster per backend, shared by all routes to it, instead of one per rule.

use super::{
    super::{
        Objects,
        kind::Kind,
        views::{Labels, Route, Rule},
    },
    attachment::Parent,
    backends::{Origin, Resolved},
    contexts::{GatewayContext, ListenerContext},
    policies::{Path, PolicyIndex, Scope},
};

/// Decides which backends have a cluster of their own.
pub(super) struct Merging<'a, 'b> {
    pub(super) objects: &'a Objects,
    pub(super) policies: &'b PolicyIndex<'a>,
}

/// A rule as served by one listener.
#[derive(Clone, Copy)]
pub(super) struct Passage<'a, 'p> {
    pub(super) kind: Kind,
    pub(super) route: &'a Route,
    /// The rule name that policies may target; none for the pooled rules of a TLSRoute
    pub(super) rule_name: Option<&'a str>,
    pub(super) parent: &'p Parent<'a, 'p>,
    pub(super) listener: &'p ListenerContext<'a>,
}

impl<'a> Merging<'a, '_> {
    /// Whether Envoy sends this traffic to Services instead of pods.
    pub(super) fn is_service_routing(&self, passage: &Passage<'_, '_>) -> bool {
        // The route's parent decides, not each of its listeners (`resolveBTPRoutingType`).
        let path = Path { listener: passage.parent.reference.section_name.as_deref(), ..path(passage) };
        self.policies.is_service_routing(&path, passage.parent.gateway.proxy.routing_type.as_deref())
    }

    /// Whether the rule's backends may have clusters of their own on this listener; the reason for a no is irrelevant.
    /// `one_cluster`: the rule needs all its backends in one cluster.
    pub(super) fn applies(&self, passage: &Passage<'_, '_>, one_cluster: bool) -> bool {
        let gateway = passage.parent.gateway;
        if gateway.merge_backends().is_none() || one_cluster {
            return false;
        }
        let of_proxy = gateway.proxy.routing_type.as_deref();
        let of_gateway = self.policies.is_service_routing_of_gateway((gateway.namespace, gateway.name), of_proxy);
        of_gateway == self.is_service_routing(passage) && !self.policies.changes_clusters_below_gateway(&path(passage))
    }

    /// Whether an HTTP or GRPC rule with several backends needs them in one cluster
    /// (`weightedRuleBackendsMustBeInOneCluster`).
    pub(super) fn needs_one_cluster(&self, gateway: &GatewayContext<'_>, route_namespace: &str, rule: &Rule) -> bool {
        let fallback = |namespace: &str, name: &str| {
            let backend = self.objects.backends.get(namespace).and_then(|names| names.get(name));
            backend.is_some_and(|backend| backend.spec.fallback)
        };
        rule.backend_refs.len() > 1
            && (rule.has_session_persistence()
                || rule
                    .backend_refs
                    .iter()
                    .any(|r| r.kind() == "Backend" && fallback(r.namespace(route_namespace), &r.name))
                || self.policies.hashes_consistently((gateway.namespace, gateway.name)))
    }

    /// The name of the backend's own cluster, if it has one (`shouldMergeBackend`, `irBackendClusterName`).
    pub(super) fn cluster(&self, gateway: &GatewayContext<'_>, backend: &Resolved<'_>) -> Option<String> {
        let selector = gateway.merge_backends()?.selector.as_ref();
        let selected = selector.is_none_or(|selector| self.labels(backend).is_some_and(|l| selector.matches(l)));
        if backend.origin != Origin::Plain || backend.has_filters || !selected {
            return None;
        }
        let key = &backend.key;
        let (kind, port) = (key.kind.to_ascii_lowercase(), key.port.unwrap_or(0));
        Some(format!("{kind}/{}/{}/{port}/{}", key.namespace, key.name, backend.protocol.name()))
    }

    fn labels(&self, backend: &Resolved<'_>) -> Option<&'a Labels> {
        let (namespace, name) = (backend.key.namespace, backend.key.name);
        Some(match backend.key.kind {
            "Service" => &self.objects.services.get(namespace)?.get(name)?.metadata.labels,
            "ServiceImport" => &self.objects.service_imports.get(namespace)?.get(name)?.metadata.labels,
            _ => &self.objects.backends.get(namespace)?.get(name)?.metadata.labels,
        })
    }
}

/// The path of this traffic, for the lookup of policies.
pub(super) fn path<'p>(passage: &Passage<'_, 'p>) -> Path<'p> {
    let meta = &passage.route.metadata;
    let route = Scope { kind: passage.kind.as_str(), namespace: &meta.namespace, name: &meta.name, section: None };
    Path {
        rule: passage.rule_name.map(|rule| Scope { section: Some(rule), ..route }),
        route,
        gateway: (passage.parent.gateway.namespace, passage.parent.gateway.name),
        listener: Some(&passage.listener.listener.name),
        listener_set: passage.listener.set,
    }
}
