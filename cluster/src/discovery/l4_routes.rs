//! TLSRoutes, TCPRoutes and UDPRoutes: one cluster per route.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use tidegate_core::plan::Role;

use super::{
    super::{
        kind::Kind,
        views::{BackendRef, Route},
    },
    Discovery, Part, Weight,
    backends::{Origin, Resolved},
    contexts::ListenerContext,
    meaning,
    merging::Passage,
    prefix, route_ref,
};

/// Listeners that have a route already, by the index of their Gateway and their own: the oldest TCPRoute or UDPRoute gets the listener.
#[derive(Default)]
pub(super) struct TakenListeners(HashSet<(usize, usize)>);

/// `processTLSRouteParentRefs`, `processTCPRouteParentRefs` and `processUDPRouteParentRefs`
pub(super) fn translate<'a>(
    discovery: &Discovery<'a, '_>,
    kind: Kind,
    route: &'a Route,
    taken: &mut TakenListeners,
    parts: &mut Vec<Part<'a>>,
) {
    let pooled = kind == Kind::TlsRoute;
    if !pooled && route.spec.rules.len() != 1 {
        return;
    }
    let backends = backends(discovery, kind, route);
    let rule_name = if pooled { None } else { route.spec.rules.first().and_then(|rule| rule.name.as_deref()) };
    let mut forms: Vec<Form> = Vec::new();
    for parent in &discovery.attachments.parents(kind, route) {
        let hostnames = if pooled { route.spec.hostnames.as_slice() } else { &[] };
        for (index, listener) in parent.serving(hostnames) {
            let first = taken.0.insert((parent.gateway_index, index));
            let terminated =
                backends.iter().any(|(_, backend)| backend.origin == Origin::DynamicResolver) && terminates(listener);
            if (!pooled && !first) || terminated {
                continue;
            }
            let passage = Passage { kind, route, rule_name, parent, listener };
            let (merged, fleet) = (merged_cluster(discovery, &passage, &backends), parent.gateway.series());
            match forms.iter_mut().find(|(known, _)| *known == merged) {
                Some((_, fleets)) => _ = fleets.insert(fleet),
                None => forms.push((merged, BTreeSet::from([fleet]))),
            }
        }
    }
    let mut controllers = discovery.backends.objects.envoy_gateways.controllers();
    let pending = controllers.any(|controller| route.is_pending(controller));
    for (merged, fleets) in forms {
        push_parts(kind, route, &backends, merged, parts, &Carried { fleets, pending });
    }
}

/// The valid backends, including those of weight 0; invalid ones are left out together with their weights.
fn backends<'a>(discovery: &Discovery<'a, '_>, kind: Kind, route: &'a Route) -> Vec<(u32, Resolved<'a>)> {
    let refs = route.spec.rules.iter().flat_map(|rule| &rule.backend_refs);
    let resolve = |backend_ref: &'a BackendRef| {
        let resolved = discovery.backends.resolve(kind, &route.metadata.namespace, backend_ref).ok()?;
        Some((backend_ref.weight, resolved))
    };
    let valid: Vec<_> = refs.filter_map(resolve).collect();
    let dynamic = kind == Kind::TlsRoute && valid.iter().any(|(_, backend)| backend.origin == Origin::DynamicResolver);
    if dynamic && valid.len() > 1 { Vec::new() } else { valid }
}

fn terminates(listener: &ListenerContext<'_>) -> bool {
    listener.listener.tls.as_ref().is_some_and(|tls| tls.mode.as_deref() == Some("Terminate"))
}

/// The merged cluster of a route. Several backends stay in the route's own cluster, since nothing could choose between two.
fn merged_cluster(
    discovery: &Discovery<'_, '_>,
    passage: &Passage<'_, '_>,
    backends: &[(u32, Resolved<'_>)],
) -> Option<Arc<str>> {
    let route = &passage.route;
    let refs: Vec<_> = route.spec.rules.iter().flat_map(|rule| &rule.backend_refs).collect();
    let namespace = &route.metadata.namespace;
    let several = match passage.kind {
        // The pooled rules of a TLSRoute may name the same backend several times.
        Kind::TlsRoute => {
            refs.iter().map(|r| (r.kind(), r.namespace(namespace), &r.name, r.port)).collect::<HashSet<_>>().len() > 1
        }
        _ => refs.len() > 1,
    };
    let (_, backend) = backends.iter().find(|(weight, _)| *weight > 0)?;
    let applies = discovery.merging.applies(passage, several);
    if applies { discovery.merging.cluster(passage.parent.gateway, backend).map(Arc::from) } else { None }
}

/// The merged cluster of a route, if it has one, and the sets of proxies where it does.
type Form = (Option<Arc<str>>, BTreeSet<Arc<str>>);

/// The proxies that have a route's cluster, and whether Envoy Gateway has yet to process the current generation of the route.
struct Carried {
    fleets: BTreeSet<Arc<str>>,
    pending: bool,
}

fn push_parts<'a>(
    kind: Kind,
    route: &'a Route,
    backends: &[(u32, Resolved<'a>)],
    merged: Option<Arc<str>>,
    parts: &mut Vec<Part<'a>>,
    carried: &Carried,
) {
    let of = backends.iter().map(|(weight, _)| u64::from(*weight)).sum();
    let fallbacks = backends.iter().filter(|(_, backend)| backend.fallback).map(|(weight, _)| u64::from(*weight)).sum();
    let is_merged = merged.is_some();
    let refs = route.spec.rules.iter().flat_map(|rule| &rule.backend_refs);
    let meaning = if is_merged { 0 } else { meaning(refs, &route.metadata.namespace) };
    let cluster = merged.unwrap_or_else(|| format!("{}/rule/-1", prefix(kind, route)).into());
    parts.extend(backends.iter().enumerate().map(|(backend_ref, (weight, backend))| Part {
        backend: backend.key,
        backend_ref,
        service: backend.service,
        cluster: Arc::clone(&cluster),
        stat_name: None,
        split: None,
        merged: is_merged,
        weight: match (weight, is_merged) {
            (0, _) => Weight::NOTHING,
            (_, true) => Weight::WHOLE,
            (weight, false) => Weight { own: u64::from(*weight), of, fallbacks },
        },
        role: Role::Backend,
        fallback: backend.fallback,
        route: route_ref(kind, route, None),
        fleets: carried.fleets.clone(),
        meaning,
        pending: carried.pending && !is_merged,
    }));
}
