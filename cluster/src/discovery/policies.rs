//! Settings of BackendTrafficPolicies and ClientTrafficPolicies that affect clusters, and the time-outs of requests, by the target of
//! the policy.
//!
//! Follows `policyIndex`, `BuildBTPIndexes` and `BuildCTPClusterSettingsIndex`: the oldest policy of a target applies; a rule's
//! takes precedence over its route's, that over the listener's, and that over the Gateway's.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::{
    super::{
        Objects,
        route_kinds::RouteKind,
        views::{FromNamespaces, Labels, Meta, PolicyTargets},
    },
    gateways::{Gateways, namespace_labels},
    grants::{From, Grants, To},
};

/// Target of a policy: an object by kind, namespace and name, or one of its listeners or rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Scope<'a> {
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) section: Option<&'a str>,
}

/// Objects that traffic passes, from the most to the least specific.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    pub(super) rule: Option<Scope<'a>>,
    pub(super) route: Scope<'a>,
    pub(super) gateway: (&'a str, &'a str),
    pub(super) listener: Option<&'a str>,
    pub(super) listener_set: Option<(&'a str, &'a str)>,
}

/// All relevant policies, by their targets.
pub(super) struct PolicyIndex<'a> {
    routing_types: Levels<'a, Option<&'a str>>,
    cluster_settings: Levels<'a, bool>,
    client_settings: Levels<'a, bool>,
    request_timeouts: Levels<'a, Option<(Duration, &'a Meta)>>,
    consistent_hash: HashMap<(&'a str, &'a str), bool>,
}

impl<'a> PolicyIndex<'a> {
    pub(super) fn of(resolver: &Resolver<'a, '_>) -> Self {
        let mut index = Self {
            routing_types: Levels::default(),
            cluster_settings: Levels::default(),
            client_settings: Levels::default(),
            request_timeouts: Levels::default(),
            consistent_hash: HashMap::new(),
        };
        index.add_backend_policies(resolver);
        index.add_client_policies(resolver);
        index
    }

    /// Whether Envoy sends to the Service's own address instead of its pods (`IsServiceRouting`).
    pub(super) fn is_service_routing(&self, path: &Path<'_>, of_proxy: Option<&str>) -> bool {
        let (of_policy, _) = self.routing_types.resolve(path);
        of_policy.or(of_proxy) == Some("Service")
    }

    /// The same, for policies attached to the Gateway alone.
    pub(super) fn is_service_routing_of_gateway(&self, gateway: (&str, &str), of_proxy: Option<&str>) -> bool {
        let of_policy = self.routing_types.exactly(gateway_scope(gateway)).flatten();
        of_policy.or(of_proxy) == Some("Service")
    }

    /// Whether clusters behind a listener differ from those of others (`hasClusterSettingsBelowGateway`).
    pub(super) fn changes_clusters_below_gateway(&self, path: &Path<'_>) -> bool {
        let (changes, replaces) = self.cluster_settings.resolve(path);
        let of_clients = match path.listener_set {
            Some(set) => [Some(listener_set_scope(set)), path.listener.map(|l| section(listener_set_scope(set), l))],
            None => [path.listener.map(|l| section(gateway_scope(path.gateway), l)), None],
        };
        changes || replaces || of_clients.into_iter().flatten().any(|s| self.client_settings.exactly(s) == Some(true))
    }

    /// The time after which a policy has Envoy give up on a request, and that policy's metadata.
    pub(super) fn request_timeout(&self, path: &Path<'_>) -> Option<(Duration, &'a Meta)> {
        self.request_timeouts.resolve(path).0
    }

    /// Whether requests are spread by a hash, for which all backends of a rule must be in one cluster.
    pub(super) fn hashes_consistently(&self, gateway: (&str, &str)) -> bool {
        self.consistent_hash.get(&gateway).copied().unwrap_or(false)
    }

    fn add_backend_policies(&mut self, resolver: &Resolver<'a, '_>) {
        let mut policies: Vec<_> =
            resolver.objects.backend_traffic_policies.values().flat_map(BTreeMap::values).collect();
        policies.sort_by(|a, b| a.metadata.age_order().cmp(&b.metadata.age_order()));
        for policy in policies {
            let spec = &policy.spec;
            let routing_type = spec.routing_type.as_deref();
            let inherits = spec.merge_type.is_some();
            for target in resolver.targets("BackendTrafficPolicy", &policy.metadata, &spec.targets) {
                let gateway = target.kind == "Gateway";
                let of_listeners = gateway || target.kind == "ListenerSet";
                let whole_gateway = gateway && target.section.is_none();
                let has_routing_type = routing_type.is_some();
                let effective =
                    if of_listeners { has_routing_type || whole_gateway } else { has_routing_type || !inherits };
                self.routing_types.put(target, routing_type, effective);
                let timeout = spec.request_timeout.map(|within| (within, &policy.metadata));
                self.request_timeouts.put(target, timeout, timeout.is_some() || !inherits);
                if whole_gateway {
                    let key = (target.namespace, target.name);
                    self.consistent_hash.entry(key).or_insert(spec.consistent_hash);
                } else {
                    let effective = of_listeners || spec.changes_clusters || !inherits;
                    self.cluster_settings.put(target, spec.changes_clusters, effective);
                }
            }
        }
    }

    fn add_client_policies(&mut self, resolver: &Resolver<'a, '_>) {
        let mut policies: Vec<_> =
            resolver.objects.client_traffic_policies.values().flat_map(BTreeMap::values).collect();
        policies.sort_by(|a, b| a.metadata.age_order().cmp(&b.metadata.age_order()));
        for policy in policies {
            for target in resolver.targets("ClientTrafficPolicy", &policy.metadata, &policy.spec.targets) {
                if target.kind == "ListenerSet" || (target.kind == "Gateway" && target.section.is_some()) {
                    self.client_settings.put(target, policy.spec.http1.is_some(), true);
                }
            }
        }
    }
}

fn gateway_scope<'a>((namespace, name): (&'a str, &'a str)) -> Scope<'a> {
    Scope { kind: "Gateway", namespace, name, section: None }
}

fn listener_set_scope<'a>((namespace, name): (&'a str, &'a str)) -> Scope<'a> {
    Scope { kind: "ListenerSet", namespace, name, section: None }
}

fn section<'a>(scope: Scope<'a>, section: &'a str) -> Scope<'a> {
    Scope { section: Some(section), ..scope }
}

/// A value per target, and whether it is effective there; otherwise the level above decides.
pub(super) struct Levels<'a, T>(HashMap<Scope<'a>, (T, bool)>);

impl<T> Default for Levels<'_, T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<'a, T: Copy + Default> Levels<'a, T> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Records the value of a target, unless it has one: the first applies.
    pub(super) fn put(&mut self, scope: Scope<'a>, value: T, effective: bool) {
        self.0.entry(scope).or_insert((value, effective));
    }

    fn exactly(&self, scope: Scope<'_>) -> Option<T> {
        self.0.get(&scope).filter(|(_, effective)| *effective).map(|(value, _)| *value)
    }

    /// The value, and whether it comes from the rule or route itself instead of a level above.
    pub(super) fn resolve(&self, path: &Path<'_>) -> (T, bool) {
        if self.0.is_empty() {
            return (T::default(), false);
        }
        let of_route = path.rule.and_then(|rule| self.0.get(&rule)).or_else(|| self.0.get(&path.route));
        match of_route {
            Some((value, true)) => (*value, true),
            _ => (self.above(path), false),
        }
    }

    fn above(&self, path: &Path<'_>) -> T {
        let of_listeners = match path.listener_set {
            Some(set) => {
                let set = listener_set_scope(set);
                path.listener.and_then(|l| self.exactly(section(set, l))).or_else(|| self.exactly(set))
            }
            None => path.listener.and_then(|l| self.exactly(section(gateway_scope(path.gateway), l))),
        };
        of_listeners.or_else(|| self.exactly(gateway_scope(path.gateway))).unwrap_or_default()
    }
}

/// Finds the targets of policies.
pub(super) struct Resolver<'a, 'b> {
    pub(super) objects: &'a Objects,
    pub(super) gateways: &'b Gateways<'a>,
    pub(super) grants: &'b Grants<'a>,
}

impl<'a> Resolver<'a, '_> {
    /// `resolvePolicyTargets`
    pub(super) fn targets(&self, kind: &str, policy: &'a Meta, targets: &'a PolicyTargets) -> Vec<Scope<'a>> {
        let mut found = Vec::new();
        for selector in &targets.selectors {
            for (target, labels) in self.candidates(&selector.kind) {
                let from = From { group: "gateway.envoyproxy.io", kind, namespace: &policy.namespace };
                let to = To {
                    group: "gateway.networking.k8s.io",
                    kind: target.kind,
                    namespace: target.namespace,
                    name: target.name,
                };
                let namespaces = selector.namespaces.as_ref();
                if self.is_from(namespaces, &policy.namespace, target.namespace)
                    && selector.labels.matches(labels)
                    && self.grants.permit(from, to)
                {
                    found.push(target);
                }
            }
        }
        found.extend(targets.refs().map(|target| Scope {
            kind: &target.kind,
            namespace: &policy.namespace,
            name: &target.name,
            section: target.section_name.as_deref(),
        }));
        found
    }

    fn is_from(&self, namespaces: Option<&FromNamespaces>, policy: &str, target: &str) -> bool {
        match namespaces.and_then(|namespaces| Some((namespaces.from.as_deref()?, &namespaces.selector))) {
            None | Some(("" | "Same", _)) => policy == target,
            Some(("All", _)) => true,
            Some(("Selector", Some(selector))) => selector.matches(&namespace_labels(self.objects, target)),
            Some(_) => false,
        }
    }

    fn candidates(&self, kind: &str) -> Vec<(Scope<'a>, &'a Labels)> {
        let objects = self.objects;
        let scope = |kind: &'static str, meta: &'a Meta| {
            (Scope { kind, namespace: &meta.namespace, name: &meta.name, section: None }, &meta.labels)
        };
        if let Some(found) = RouteKind::named(kind) {
            return found.routes(objects).map(|route| scope(found.kind.as_str(), &route.metadata)).collect();
        }
        match kind {
            "Gateway" => {
                let known = objects.gateways.values().flat_map(BTreeMap::values);
                let ours = known.filter(|g| self.gateways.get(&g.metadata.namespace, &g.metadata.name).is_some());
                ours.map(|gateway| scope("Gateway", &gateway.metadata)).collect()
            }
            "ListenerSet" => {
                let all = objects.listener_sets.values().flat_map(BTreeMap::values);
                all.map(|set| scope("ListenerSet", &set.metadata)).collect()
            }
            _ => Vec::new(),
        }
    }
}
