//! Validation of listeners: which are valid, and which lose a conflict with another (`ProcessListeners`).

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    super::{
        route_kinds::{RouteKind, TLS_PASSTHROUGH},
        views::{CertificateRef, LabelSelector, Listener},
    },
    contexts::{GatewayContext, ListenerContext},
    grants::{From, Grants, To},
    parent_refusal::{Conflict, ListenerFault},
};

/// Marks listeners whose definition is invalid, then those that lose a conflict. An invalid listener takes part in no conflict.
pub(super) fn validate(gateways: &mut [GatewayContext<'_>], grants: &Grants<'_>) {
    for context in gateways.iter_mut().flat_map(|gateway| &mut gateway.listeners) {
        context.kinds = allowed_kinds(context.listener);
        context.fault = fault(context, grants);
    }
    for gateway in gateways.iter_mut() {
        protocol_conflicts(&mut gateway.listeners.iter_mut().collect::<Vec<_>>());
    }
    for class in merged_classes(gateways) {
        let of_class = gateways.iter_mut().filter(|gateway| gateway.merged && gateway.class == class);
        protocol_conflicts(&mut of_class.flat_map(|gateway| &mut gateway.listeners).collect::<Vec<_>>());
    }
    for gateway in gateways.iter_mut() {
        hostname_conflicts(&mut gateway.listeners);
        layer_4_conflicts(&mut gateway.listeners, "TCP");
        layer_4_conflicts(&mut gateway.listeners, "UDP");
    }
    for class in merged_classes(gateways) {
        let of_class = gateways.iter_mut().filter(|gateway| gateway.merged && gateway.class == class);
        merged_conflicts(of_class.flat_map(|gateway| &mut gateway.listeners));
    }
}

fn merged_classes<'a>(gateways: &[GatewayContext<'a>]) -> HashSet<&'a str> {
    gateways.iter().filter(|gateway| gateway.merged).map(|gateway| gateway.class).collect()
}

/// What is wrong with the listener itself (`validateListenerSpec`).
fn fault(context: &ListenerContext<'_>, grants: &Grants<'_>) -> Option<ListenerFault> {
    let listener = context.listener;
    let asked_for = listener.allowed_kinds();
    if carried_kinds(listener).is_empty() {
        return Some(ListenerFault::Protocol);
    }
    // One unsupported kind makes the listener invalid.
    if !asked_for.is_empty() && context.kinds.len() != asked_for.len() {
        return Some(ListenerFault::Kinds);
    }
    if listener.hostname.is_some() && matches!(listener.protocol.as_str(), "TCP" | "UDP") {
        return Some(ListenerFault::Hostname);
    }
    if !selector_is_valid(listener) {
        return Some(ListenerFault::Selector);
    }
    (!tls_is_valid(context, grants)).then_some(ListenerFault::Tls)
}

/// The kinds of route that may attach.
fn allowed_kinds(listener: &Listener) -> Vec<&'static str> {
    let carried = carried_kinds(listener);
    let asked_for = listener.allowed_kinds();
    if asked_for.is_empty() {
        return carried;
    }
    let groups = |group: Option<&str>| group.is_none_or(|group| group == "gateway.networking.k8s.io");
    let allowed = asked_for.iter().filter(|allowed| groups(allowed.group.as_deref()));
    allowed.filter_map(|allowed| carried.iter().copied().find(|kind| allowed.kind == *kind)).collect()
}

/// `allowedRouteKindsForProtocol`
fn carried_kinds(listener: &Listener) -> Vec<&'static str> {
    let passthrough = listener.tls.as_ref().is_some_and(|tls| tls.mode.as_deref() == Some("Passthrough"));
    let protocol = match listener.protocol.as_str() {
        "TLS" if passthrough => TLS_PASSTHROUGH,
        protocol => protocol,
    };
    RouteKind::all().filter(|route| route.is_carried_by(protocol)).map(|route| route.kind.as_str()).collect()
}

/// `validateAllowedNamespaces`
fn selector_is_valid(listener: &Listener) -> bool {
    match listener.allowed_namespaces() {
        Some(allowed) if allowed.from.as_deref() == Some("Selector") => {
            allowed.selector.as_ref().is_some_and(LabelSelector::is_valid)
        }
        _ => true,
    }
}

/// `validateTLSConfiguration`, without the certificates themselves: one permitted reference is enough.
fn tls_is_valid(context: &ListenerContext<'_>, grants: &Grants<'_>) -> bool {
    let kind = if context.set.is_some() { "ListenerSet" } else { "Gateway" };
    let from = From { group: "gateway.networking.k8s.io", kind, namespace: context.namespace };
    let permitted = |certificate: &CertificateRef| {
        let namespace = certificate.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        let namespace = namespace.unwrap_or(context.namespace);
        certificate.is_secret()
            && grants.permit(from, To { group: "", kind: "Secret", namespace, name: &certificate.name })
    };
    match (context.listener.protocol.as_str(), &context.listener.tls) {
        ("HTTP" | "TCP" | "UDP", tls) => tls.is_none(),
        ("HTTPS", Some(tls)) => {
            tls.mode.as_deref().is_none_or(|mode| mode == "Terminate") && tls.certificate_refs.iter().any(permitted)
        }
        ("TLS", Some(tls)) => match tls.mode.as_deref() {
            Some("Passthrough") => tls.certificate_refs.is_empty(),
            Some("Terminate") => tls.certificate_refs.iter().any(permitted),
            _ => true,
        },
        _ => false,
    }
}

/// The protocol as it matters for conflicts: HTTPS and TLS can share a port.
fn protocol(listener: &Listener) -> &str {
    match listener.protocol.as_str() {
        "HTTPS" | "TLS" => "https/tls",
        other => other,
    }
}

/// A port has one protocol, besides UDP. A Gateway's own listeners decide which; if they disagree, all lose. Without any, the first
/// ListenerSet decides, unless its own listeners disagree (`validateConflictedProtocolsListeners`).
fn protocol_conflicts(listeners: &mut [&mut ListenerContext<'_>]) {
    let mut ports = BTreeMap::<u16, Vec<usize>>::new();
    for (i, context) in listeners.iter().enumerate() {
        if context.fault.is_none() && protocol(context.listener) != "UDP" {
            ports.entry(context.listener.port).or_default().push(i);
        }
    }
    for on_port in ports.values() {
        let mut own_protocols = HashSet::new();
        let mut of_sets = HashMap::<_, HashSet<_>>::new();
        for context in on_port.iter().filter_map(|&i| listeners.get(i)) {
            match context.set {
                None => own_protocols.insert(protocol(context.listener)),
                Some(set) => of_sets.entry(set).or_default().insert(protocol(context.listener)),
            };
        }
        let mut winner = own_protocols.iter().next().copied();
        for &i in on_port {
            let Some(context) = listeners.get_mut(i) else { continue };
            let divided_set = context.set.is_some_and(|set| of_sets.get(&set).is_some_and(|all| all.len() > 1));
            // A ListenerSet whose listeners disagree loses, and sets no protocol for others.
            let loses = if divided_set && own_protocols.is_empty() {
                true
            } else {
                own_protocols.len() > 1
                    || *winner.get_or_insert_with(|| protocol(context.listener)) != protocol(context.listener)
            };
            if loses {
                context.loses(Conflict::Protocol);
            }
        }
    }
}

/// On a port, each hostname belongs to one listener. A Gateway's own listener wins over those of ListenerSets, of which the first
/// wins; two of the same Gateway, or of the same ListenerSet, both lose (`validateConflictedHostnameListeners`).
fn hostname_conflicts(listeners: &mut [ListenerContext<'_>]) {
    let mut hostnames = BTreeMap::<(u16, &str), Vec<usize>>::new();
    for (i, context) in listeners.iter().enumerate() {
        // A listener that lost by its protocol takes no hostname from another.
        if context.is_ready() && !matches!(context.listener.protocol.as_str(), "TCP" | "UDP") {
            let hostname = context.listener.hostname.as_deref().unwrap_or_default();
            hostnames.entry((context.listener.port, hostname)).or_default().push(i);
        }
    }
    for rivals in hostnames.into_values().filter(|rivals| rivals.len() > 1) {
        let set_of = |i: &usize| listeners.get(*i).and_then(|context| context.set);
        let own: Vec<_> = rivals.iter().copied().filter(|i| set_of(i).is_none()).collect();
        let sets: Vec<_> = rivals.iter().filter_map(set_of).collect();
        let divided_set = sets.iter().enumerate().any(|(i, set)| sets.iter().take(i).any(|other| other == set));
        let winner = match own.as_slice() {
            [] if divided_set => None,
            [] => rivals.first().copied(),
            [only] => Some(*only),
            _ => None,
        };
        for i in rivals {
            if let Some(context) = listeners.get_mut(i)
                && winner != Some(i)
            {
                context.loses(Conflict::Hostname { other_has_it: winner.is_some() });
                context.lost_hostname = winner.is_some();
            }
        }
    }
}

/// The first TCP, and the first UDP, listener of a port wins (`validateConflictedLayer4Listeners`).
fn layer_4_conflicts(listeners: &mut [ListenerContext<'_>], protocol: &str) {
    let mut ports = HashSet::new();
    for context in listeners.iter_mut().filter(|c| c.fault.is_none() && c.listener.protocol == protocol) {
        if !ports.insert(context.listener.port) {
            context.loses(Conflict::Port);
        }
    }
}

/// Across merged Gateways the first listener of a port, protocol and hostname wins
/// (`validateConflictedMergedListeners`).
fn merged_conflicts<'a: 'b, 'b>(listeners: impl Iterator<Item = &'b mut ListenerContext<'a>>) {
    let mut seen = HashSet::new();
    for context in listeners.filter(|context| context.fault.is_none()) {
        let listener = context.listener;
        let hostname = listener.hostname.as_deref().unwrap_or_default();
        if !seen.insert((listener.protocol.as_str(), hostname, listener.port)) {
            context.loses(Conflict::MergedGateways);
        }
    }
}
