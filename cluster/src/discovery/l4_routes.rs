//! TLSRoutes, TCPRoutes and UDPRoutes: one cluster per route.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use tidegate_core::plan::Role;

use super::{
    super::{
        kind::Kind,
        views::{BackendRef, Meta, Route},
    },
    Discovery, Part, Weight,
    attachment::Parent,
    backends::{Backends, Origin, Resolved},
    contexts::ListenerContext,
    meaning,
    merging::Passage,
    parent_refusal::ListenerRefusal,
    prefix,
    refusal::RuleRefusal,
    route_ref,
};

/// Listeners that have a route already, by the index of their Gateway and their own: the oldest TCPRoute or UDPRoute gets the listener.
#[derive(Default)]
pub(super) struct TakenListeners<'a>(HashMap<(usize, usize), (Kind, &'a Meta)>);

impl<'a> TakenListeners<'a> {
    /// The listeners of a parent on which the route would get traffic, each with the reason why it does not. The route takes
    /// them, unless they are taken.
    pub(super) fn claim<'p>(
        &mut self,
        kind: Kind,
        route: &'a Route,
        parent: &'p Parent<'a, '_>,
        dynamic: bool,
    ) -> Vec<(&'p ListenerContext<'a>, Option<ListenerRefusal<'a>>)> {
        let mut claimed = Vec::new();
        for (index, listener) in parent.serving(hostnames(kind, route)) {
            let owner = self.0.get(&(parent.gateway_index, index)).copied();
            self.0.entry((parent.gateway_index, index)).or_insert((kind, &route.metadata));
            // TLSRoutes share a listener.
            let taken = owner.filter(|_| kind != Kind::TlsRoute);
            let taken = taken.map(|(kind, meta)| ListenerRefusal::Taken(kind.as_str(), &meta.namespace, &meta.name));
            let terminated = (dynamic && terminates(listener)).then_some(ListenerRefusal::Terminates);
            claimed.push((listener, taken.or(terminated)));
        }
        claimed
    }
}

/// The hostnames of a route that decide on which listeners it gets traffic.
pub(super) fn hostnames(kind: Kind, route: &Route) -> &[String] {
    if kind == Kind::TlsRoute { &route.spec.hostnames } else { &[] }
}

/// Checks what stands between a route and all its backends, apart from its parents and the references themselves.
pub(super) fn check<'a>(backends: &Backends<'a, '_>, kind: Kind, route: &'a Route) -> Result<(), RuleRefusal<'a>> {
    let rules = route.spec.rules.len();
    if kind != Kind::TlsRoute && rules != 1 {
        return Err(RuleRefusal::NotOneRule(rules));
    }
    let valid = resolved(backends, kind, route);
    let spoilt = kind == Kind::TlsRoute && is_dynamic(&valid) && valid.len() > 1;
    if spoilt { Err(RuleRefusal::DynamicResolver) } else { Ok(()) }
}

/// Whether the destination of a route comes from its requests.
pub(super) fn is_dynamic(backends: &[(u32, Resolved<'_>)]) -> bool {
    backends.iter().any(|(_, backend)| backend.origin == Origin::DynamicResolver)
}

/// `processTLSRouteParentRefs`, `processTCPRouteParentRefs` and `processUDPRouteParentRefs`
pub(super) fn translate<'a>(
    discovery: &Discovery<'a, '_>,
    kind: Kind,
    route: &'a Route,
    taken: &mut TakenListeners<'a>,
    parts: &mut Vec<Part<'a>>,
) {
    let backends = match check(&discovery.backends, kind, route) {
        Ok(()) => resolved(&discovery.backends, kind, route),
        Err(RuleRefusal::NotOneRule(_)) => return,
        Err(_) => Vec::new(),
    };
    let rule = route.spec.rules.first().filter(|_| kind != Kind::TlsRoute);
    let rule_name = rule.and_then(|rule| rule.name.as_deref());
    let mut forms: Vec<Form> = Vec::new();
    for parent in &discovery.attachments.parents(kind, route) {
        let claimed = taken.claim(kind, route, parent, is_dynamic(&backends)).into_iter();
        for (listener, _) in claimed.filter(|(_, refusal)| refusal.is_none()) {
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
pub(super) fn resolved<'a>(backends: &Backends<'a, '_>, kind: Kind, route: &'a Route) -> Vec<(u32, Resolved<'a>)> {
    let refs = route.spec.rules.iter().flat_map(|rule| &rule.backend_refs);
    let resolve = |backend_ref: &'a BackendRef| {
        let resolved = backends.resolve(kind, &route.metadata.namespace, backend_ref).ok()?;
        Some((backend_ref.weight, resolved))
    };
    refs.filter_map(resolve).collect()
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
        timeout: None,
    }));
}
