//! AIGatewayRoutes: the backends of each model, and the HTTPRoutes that are generated from these routes.
//!
//! Envoy AI Gateway generates an HTTPRoute of the same namespace and name, with the same rules and one more at the end that answers
//! requests that match no rule (`newHTTPRoute` in its `internal/controller/ai_gateway_route.go`). For files, and until that
//! HTTPRoute exists, it is generated here. It has no priorities: the extension server sets them on endpoints.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use tidegate_core::{
    ids::{RouteRef, ServiceId},
    llm::{AiBackend, AiRule, Destination},
};

use super::{
    super::{
        Objects,
        table::Table,
        views::{
            AiBackendRef, AiGatewayRoute, AiGatewayRouteRule, BackendRef, Meta, ParentRef, Route, RouteSpec, Rule,
        },
    },
    BackendKey, Front, Part, fronts,
    grants::{From, Grants, To},
    in_cluster::InCluster,
    refusal::{Absent, ReferenceRefusal},
};

/// The API group of AIGatewayRoutes and AIServiceBackends.
const GROUP: &str = "aigateway.envoyproxy.io";
const SERVICE_BACKEND: &str = "AIServiceBackend";

/// HTTPRoutes generated from AIGatewayRoutes, where Envoy AI Gateway has not created them yet.
pub(crate) fn generated(objects: &Objects) -> Vec<Route> {
    let grants = Grants::of(objects);
    let missing = |route: &&AiGatewayRoute| {
        let Meta { namespace, name, .. } = &route.metadata;
        objects.http_routes.get(namespace).is_none_or(|names| !names.contains_key(name))
    };
    all(&objects.ai_gateway_routes).filter(missing).map(|route| http_route(objects, &grants, route)).collect()
}

fn http_route(objects: &Objects, grants: &Grants<'_>, route: &AiGatewayRoute) -> Route {
    let namespace = &route.metadata.namespace;
    let rule = |rule: &AiGatewayRouteRule| {
        let refs = rule.backend_refs.iter().filter_map(|backend| backend_ref(objects, grants, namespace, backend).ok());
        Rule::of_backends(rule.name.clone(), refs.collect(), rule.timeouts())
    };
    let spec = RouteSpec {
        parent_refs: route.spec.parent_refs.clone(),
        hostnames: route.spec.hostnames.clone(),
        rules: route.spec.rules.iter().map(rule).collect(),
    };
    Route::made(route.metadata.clone(), spec)
}

/// The reference in the generated rule, which leaves the backend out when its AIServiceBackend does not exist, or may not be
/// referred to.
pub(super) fn backend_ref<'a>(
    objects: &'a Objects,
    grants: &Grants<'_>,
    namespace: &'a str,
    backend: &'a AiBackendRef,
) -> Result<BackendRef, ReferenceRefusal<'a>> {
    let of = backend.namespace(namespace);
    if backend.is_pool() {
        return Ok(BackendRef {
            group: backend.group.clone(),
            kind: backend.kind.clone(),
            name: backend.name.clone(),
            namespace: Some(of.to_owned()),
            weight: backend.weight,
            ..BackendRef::default()
        });
    }
    let from = From { group: GROUP, kind: "AIGatewayRoute", namespace };
    let to = To { group: GROUP, kind: SERVICE_BACKEND, namespace: of, name: &backend.name };
    let service_backend = objects.ai_service_backends.get(of).and_then(|names| names.get(&backend.name));
    let service_backend =
        service_backend.ok_or(ReferenceRefusal::Absent(Absent::Object(key_of(namespace, backend), None)))?;
    if !grants.permit(from, to) {
        return Err(ReferenceRefusal::NotGranted(from, to));
    }
    let reference = &service_backend.spec.backend_ref;
    let elsewhere = (reference.namespace.is_none() && of != namespace).then(|| of.to_owned());
    let namespace = reference.namespace.clone().or(elsewhere);
    Ok(BackendRef { namespace, weight: backend.weight, ..reference.clone() })
}

/// The key of the object that a backend of an AIGatewayRoute names.
pub(super) fn key_of<'a>(namespace: &'a str, backend: &'a AiBackendRef) -> BackendKey<'a> {
    let kind = if backend.is_pool() { "InferencePool" } else { SERVICE_BACKEND };
    BackendKey { kind, namespace: backend.namespace(namespace), name: &backend.name, port: None }
}

/// Whether a backend of a generated HTTPRoute is only a fallback; `None` when the route does not belong to an AIGatewayRoute.
pub(super) fn stands_in(
    objects: &Objects,
    grants: &Grants<'_>,
    route: &Route,
    rule: usize,
    backend: usize,
) -> Option<bool> {
    let Meta { namespace, name, .. } = &route.metadata;
    let route = objects.ai_gateway_routes.get(namespace)?.get(name)?;
    let kept = |own: &&AiBackendRef| backend_ref(objects, grants, namespace, own).is_ok();
    let backends = || route.spec.rules.get(rule).into_iter().flat_map(|rule| &rule.backend_refs).filter(kept);
    let first = backends().filter(|other| other.weight > 0).map(|other| other.priority).min()?;
    backends().nth(backend).map(|own| own.priority > first)
}

/// The rules of AIGatewayRoutes that send traffic to at least one backend.
pub(crate) fn rules(objects: &Objects, parts: &[Part<'_>]) -> Vec<AiRule> {
    let routed: HashSet<_> =
        parts.iter().map(|part| (part.route.namespace.as_str(), part.route.name.as_str(), part.route.rule)).collect();
    let fronts = if objects.ai_gateway_routes.is_empty() { Vec::new() } else { fronts(objects) };
    let in_cluster = InCluster::of(objects);
    let mut rules = Vec::new();
    for route in all(&objects.ai_gateway_routes) {
        let Meta { namespace, name, .. } = &route.metadata;
        let fleets = self::fleets(&fronts, route);
        for (index, rule) in route.spec.rules.iter().enumerate() {
            if !routed.contains(&(namespace.as_str(), name.as_str(), Some(index))) {
                continue;
            }
            let backend = |backend: &AiBackendRef| AiBackend {
                name: format!("{}/{}", backend.namespace(namespace), backend.name),
                // The override is ignored on pools.
                model: backend.model_name_override.clone().filter(|model| !model.is_empty() && !backend.is_pool()),
                weight: backend.weight,
                priority: if backend.is_pool() { 0 } else { backend.priority },
                destination: destination(objects, &in_cluster, namespace, backend),
            };
            rules.push(AiRule {
                route: RouteRef {
                    kind: "AIGatewayRoute".to_owned(),
                    namespace: namespace.clone(),
                    name: name.clone(),
                    rule: Some(index),
                },
                models: rule.models(),
                backends: rule.backend_refs.iter().map(backend).collect(),
                fleets: fleets.clone(),
            });
        }
    }
    rules
}

/// The proxies that a route's requests come through; none when a parent is anything but a known Gateway.
fn fleets(fronts: &[Front<'_>], route: &AiGatewayRoute) -> Vec<Arc<str>> {
    let fleet = |parent: &ParentRef| {
        let namespace = parent.namespace.as_deref().unwrap_or(&route.metadata.namespace);
        let front = fronts.iter().find(|front| front.namespace == namespace && front.name == parent.name);
        front.filter(|_| parent.kind.as_deref().is_none_or(|kind| kind == "Gateway")).map(Front::series)
    };
    route.spec.parent_refs.iter().map(fleet).collect::<Option<_>>().unwrap_or_default()
}

fn destination<'a>(
    objects: &'a Objects,
    in_cluster: &InCluster<'a>,
    namespace: &str,
    backend: &AiBackendRef,
) -> Destination {
    let of = backend.namespace(namespace);
    if backend.is_pool() {
        return Destination::Pool(ServiceId { namespace: of.to_owned(), name: backend.name.clone() });
    }
    let found = || {
        let reference = &objects.ai_service_backends.get(of)?.get(&backend.name)?.spec.backend_ref;
        let namespace = reference.namespace(of);
        if reference.kind() == "Service" {
            return Some(Destination::Service(ServiceId {
                namespace: namespace.to_owned(),
                name: reference.name.clone(),
            }));
        }
        let endpoint = objects.backends.get(namespace)?.get(&reference.name)?.spec.endpoints.first()?;
        let host = endpoint.host()?;
        Some(match in_cluster.service(endpoint) {
            Some(service) => Destination::Service(ServiceId {
                namespace: service.namespace.to_owned(),
                name: service.name.to_owned(),
            }),
            None => Destination::External(host.to_owned()),
        })
    };
    found().unwrap_or(Destination::Nobody)
}

fn all<T>(table: &Table<T>) -> impl Iterator<Item = &T> {
    table.values().flat_map(BTreeMap::values)
}
