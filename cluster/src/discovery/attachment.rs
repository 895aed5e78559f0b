//! The listeners that a route attaches to.

use std::collections::{BTreeSet, HashSet};

use super::{
    super::{
        Objects,
        kind::Kind,
        views::{FromNamespaces, ParentRef, Route},
    },
    contexts::{GatewayContext, ListenerContext},
    gateways::{Gateways, namespace_labels, watches},
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
            let Some((gateway_index, gateway, listeners)) = self.referenced(&route.metadata.namespace, reference)
            else {
                continue;
            };
            if !watches(self.objects, gateway.config, &route.metadata.namespace) {
                continue;
            }
            let allowed = listeners.into_iter().filter(|&i| {
                let listener = gateway.listeners.get(i);
                listener.is_some_and(|listener| self.allows(listener, kind, &route.metadata.namespace))
            });
            let listeners: Vec<_> = allowed.collect();
            if !listeners.is_empty() {
                parents.push(Parent { reference, gateway_index, gateway, listeners });
            }
        }
        parents
    }

    /// The Gateway of a parentRef, and the listeners that the parentRef selects (`GetReferencedListeners`).
    fn referenced(
        &self,
        route_namespace: &str,
        parent: &ParentRef,
    ) -> Option<(usize, &'b GatewayContext<'a>, Vec<usize>)> {
        const GROUP: &str = "gateway.networking.k8s.io";
        let namespace = parent.namespace.as_deref().unwrap_or(route_namespace);
        let named = |listener: &ListenerContext<'_>| {
            parent.section_name.as_deref().is_none_or(|section| section == listener.listener.name)
                && parent.port.is_none_or(|port| port == listener.listener.port)
        };
        let (kind, group) = (parent.kind.as_deref(), parent.group.as_deref());
        let (set, (index, gateway)) = if kind == Some("ListenerSet") && group == Some(GROUP) {
            (Some((namespace, parent.name.as_str())), self.gateways.of_listener_set(namespace, &parent.name)?)
        } else if kind.is_none_or(|kind| kind == "Gateway") && group.is_none_or(|group| group == GROUP) {
            (None, self.gateways.get(namespace, &parent.name)?)
        } else {
            return None;
        };
        let listeners = gateway.listeners.iter().enumerate();
        let referenced = listeners.filter(|(_, listener)| listener.set == set && named(listener)).map(|(i, _)| i);
        Some((index, gateway, referenced.collect()))
    }

    /// `AllowsKind` and `AllowsNamespace`
    fn allows(&self, listener: &ListenerContext<'_>, kind: Kind, namespace: &str) -> bool {
        let same = listener.namespace == namespace;
        let from = |FromNamespaces { from, selector }: &FromNamespaces| match from.as_deref() {
            Some("All") => true,
            Some("Selector") => {
                selector.as_ref().is_some_and(|selector| selector.matches(&namespace_labels(self.objects, namespace)))
            }
            _ => same,
        };
        listener.kinds.contains(&kind.as_str()) && listener.listener.allowed_namespaces().map_or(same, from)
    }
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
