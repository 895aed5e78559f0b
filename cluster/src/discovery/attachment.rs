//! The listeners that a route attaches to.

use std::collections::{BTreeSet, HashSet};

use super::{
    super::{
        Objects,
        kind::Kind,
        views::{FromNamespaces, LabelSelector, ParentRef, Route, non_empty},
    },
    contexts::{GatewayContext, ListenerContext},
    gateways::{Gateways, may_select, watches},
    parent_refusal::{AllowedFrom, ListenerFault, ListenerRefusal, ParentId, ParentRefusal, RefusingListener},
};

/// Lookup of the listeners that routes attach to.
pub(super) struct Attachments<'a, 'b> {
    pub(super) objects: &'a Objects,
    pub(super) gateways: &'b Gateways<'a>,
}

/// One parent of a route, and those of its listeners that admit the route.
pub(super) struct Parent<'a, 'b> {
    pub(super) reference: &'a ParentRef,
    pub(super) gateway_index: usize,
    pub(super) gateway: &'b GatewayContext<'a>,
    /// Indexes into the Gateway's listeners
    pub(super) listeners: Vec<usize>,
}

impl<'a, 'b> Parent<'a, 'b> {
    /// The ready listeners that serve some hostname of the route: on these it gets traffic.
    pub(super) fn serving<'s>(
        &'s self,
        hostnames: &'s [String],
    ) -> impl Iterator<Item = (usize, &'b ListenerContext<'a>)> + 's {
        let all = &self.gateway.listeners;
        let contexts = self.listeners.iter().filter_map(|&i| Some((i, all.get(i)?)));
        contexts.filter(|(_, listener)| listener.is_ready()).filter(|(i, _)| serves(hostnames, all, *i))
    }
}

impl<'a, 'b> Attachments<'a, 'b> {
    /// The parents with a listener that admits the route (`processAllowedListenersForParentRefs`).
    pub(super) fn parents(&self, kind: Kind, route: &'a Route) -> Vec<Parent<'a, 'b>> {
        let mut parents = Vec::new();
        let mut seen = HashSet::new();
        for reference in route.spec.parent_refs.iter().filter(|reference| seen.insert(*reference)) {
            let Ok((gateway_index, gateway, listeners)) = self.referenced(&route.metadata.namespace, reference) else {
                continue;
            };
            let allowed = listeners.into_iter().filter(|&i| {
                let listener = gateway.listeners.get(i);
                listener.is_some_and(|listener| self.check(listener, kind, &route.metadata.namespace).is_ok())
            });
            let listeners: Vec<_> = allowed.collect();
            if !listeners.is_empty() {
                parents.push(Parent { reference, gateway_index, gateway, listeners });
            }
        }
        parents
    }

    /// Why a route has no listener of one of its parents on which it gets traffic; `None` when it has one. An older route may have
    /// taken that listener, which is not known here.
    pub(super) fn refusal(
        &self,
        kind: Kind,
        route: &'a Route,
        reference: &'a ParentRef,
        hostnames: &'a [String],
    ) -> Option<ParentRefusal<'a>> {
        let namespace = &route.metadata.namespace;
        let id = id_of(reference, namespace);
        let (_, gateway, listeners) = match self.referenced(namespace, reference) {
            Ok(referenced) => referenced,
            Err(refusal) => return Some(refusal),
        };
        if listeners.is_empty() {
            let set = (id.kind == "ListenerSet").then_some((id.namespace, id.name));
            let known = gateway.listeners.iter().filter(|listener| listener.set == set);
            return Some(ParentRefusal::NoSuchListener(id, reference, known.map(|known| known.listener).collect()));
        }
        let mut refusals = Vec::with_capacity(listeners.len());
        for i in listeners {
            let listener = gateway.listeners.get(i)?;
            let unserved =
                || (!serves(hostnames, &gateway.listeners, i)).then_some(ListenerRefusal::Hostname(hostnames));
            // Such a listener lets nothing in, and the reason is its definition.
            let broken = listener.fault.filter(|fault| matches!(fault, ListenerFault::Kinds | ListenerFault::Selector));
            let broken = broken.map(ListenerRefusal::Invalid);
            let refusal = broken.or_else(|| self.check(listener, kind, namespace).err());
            let refusal = refusal.or_else(|| listener.refusal()).or_else(unserved)?;
            refusals.push(RefusingListener { listener: listener.listener, kinds: listener.kinds.clone(), refusal });
        }
        Some(ParentRefusal::Listeners(id, refusals))
    }

    /// The Gateway of a parentRef, and the listeners that the parentRef selects (`GetReferencedListeners`).
    fn referenced(
        &self,
        route_namespace: &'a str,
        parent: &'a ParentRef,
    ) -> Result<(usize, &'b GatewayContext<'a>, Vec<usize>), ParentRefusal<'a>> {
        const GROUP: &str = "gateway.networking.k8s.io";
        let named = |listener: &ListenerContext<'_>| {
            parent.section_name.as_deref().is_none_or(|section| section == listener.listener.name)
                && parent.port.is_none_or(|port| port == listener.listener.port)
        };
        let (kind, group) = (parent.kind.as_deref(), parent.group.as_deref());
        let id = id_of(parent, route_namespace);
        // The API server writes the group where it is omitted, so Envoy Gateway always sees it.
        let of_gateway_api = group.is_none_or(|group| group == GROUP);
        let (set, found) = if kind == Some("ListenerSet") && of_gateway_api {
            let found = self.gateways.of_listener_set(id.namespace, id.name);
            (Some((id.namespace, id.name)), found.ok_or_else(|| self.gateways.refusal_of_set(id)))
        } else if kind.is_none_or(|kind| kind == "Gateway") && of_gateway_api {
            (None, self.gateways.get(id.namespace, id.name).ok_or_else(|| self.gateways.refusal(id)))
        } else {
            return Err(ParentRefusal::UnsupportedKind(parent));
        };
        let (index, gateway) = found?;
        if !watches(self.objects, gateway.config, route_namespace) {
            return Err(ParentRefusal::NotWatched(id, route_namespace));
        }
        let listeners = gateway.listeners.iter().enumerate();
        let referenced = listeners.filter(|(_, listener)| listener.set == set && named(listener)).map(|(i, _)| i);
        Ok((index, gateway, referenced.collect()))
    }

    /// `AllowsKind` and `AllowsNamespace`
    fn check(
        &self,
        listener: &ListenerContext<'_>,
        kind: Kind,
        namespace: &str,
    ) -> Result<(), ListenerRefusal<'static>> {
        if !listener.kinds.contains(&kind.as_str()) {
            return Err(ListenerRefusal::Kind);
        }
        let allowed = self.allowed_from(listener, namespace);
        allowed.map_err(ListenerRefusal::Namespace)
    }

    fn allowed_from(&self, listener: &ListenerContext<'_>, namespace: &str) -> Result<(), AllowedFrom> {
        let same = || if listener.namespace == namespace { Ok(()) } else { Err(AllowedFrom::Same) };
        let Some(FromNamespaces { from, selector }) = listener.listener.allowed_namespaces() else { return same() };
        let selects = |selector: &LabelSelector| may_select(self.objects, selector, namespace);
        match from.as_deref() {
            Some("All") => Ok(()),
            Some("Selector") if selector.as_ref().is_some_and(selects) => Ok(()),
            Some("Selector") => Err(AllowedFrom::Selector),
            _ => same(),
        }
    }
}

fn id_of<'a>(parent: &'a ParentRef, route_namespace: &'a str) -> ParentId<'a> {
    let kind = if parent.kind.as_deref() == Some("ListenerSet") { "ListenerSet" } else { "Gateway" };
    ParentId { kind, namespace: non_empty(parent.namespace.as_deref()).unwrap_or(route_namespace), name: &parent.name }
}

/// Whether a listener serves some hostname of the route that no other listener of its port claims for itself
/// (`computeHosts`).
fn serves(route_hostnames: &[String], listeners: &[ListenerContext<'_>], index: usize) -> bool {
    let Some(own) = listeners.get(index) else { return false };
    let listener_hostname = own.listener.hostname.as_deref().unwrap_or_default();
    if route_hostnames.is_empty() {
        return true;
    }
    let mut hosts: BTreeSet<&str> = BTreeSet::new();
    for route_hostname in route_hostnames {
        intersect(listener_hostname, route_hostname, &mut hosts);
    }
    for (i, other) in listeners.iter().enumerate() {
        if i != index
            && !other.lost_hostname
            && other.listener.port == own.listener.port
            && let Some(hostname) = other.listener.hostname.as_deref()
        {
            hosts.remove(hostname);
        }
    }
    !hosts.is_empty()
}

fn intersect<'a>(listener: &'a str, route: &'a str, hosts: &mut BTreeSet<&'a str>) {
    let wildcard = |hostname: &str| hostname.starts_with('*');
    if listener.is_empty() || listener == route {
        hosts.insert(route);
        return;
    }
    // The intersection of two hostnames that overlap is the narrower one.
    if wildcard(listener) && matches_wildcard(listener, route) {
        hosts.insert(route);
    }
    if wildcard(route) && matches_wildcard(route, listener) {
        hosts.insert(listener);
    }
}

/// `*.com` matches `a.com` and `*.b.com`, but not itself (`wildcardHostnameMatchesHostname`).
fn matches_wildcard(wildcard: &str, hostname: &str) -> bool {
    let suffix = wildcard.strip_prefix('*').unwrap_or(wildcard);
    match hostname.strip_prefix('*') {
        None => hostname.strip_suffix(suffix).is_some_and(|rest| !rest.is_empty()),
        Some(hostname) => hostname.strip_suffix(suffix).is_some_and(|rest| rest.starts_with('.')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostnames_intersect_as_in_envoy_gateway() {
        for (listener, route, expected) in [
            ("", "a.com", vec!["a.com"]),
            ("a.com", "a.com", vec!["a.com"]),
            ("a.com", "b.com", vec![]),
            ("*.com", "a.com", vec!["a.com"]),
            ("*.com", ".com", vec![]),
            ("a.com", "*.com", vec!["a.com"]),
            ("*.example.com", "*.com", vec!["*.example.com"]),
            ("*.com", "*.example.com", vec!["*.example.com"]),
            ("*.example.com", "*.other.com", vec![]),
            ("*.ample.com", "*.example.com", vec![]),
        ] {
            let mut hosts = BTreeSet::new();
            intersect(listener, route, &mut hosts);
            assert_eq!(hosts.into_iter().collect::<Vec<_>>(), expected, "{listener} {route}");
        }
    }
}
