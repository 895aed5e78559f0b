//! External authorisation and external processing: services that Envoy calls for requests, each through a cluster of its own.
//!
//! Follows `ProcessSecurityPolicies`, `ProcessEnvoyExtensionPolicies` and `translateExtServiceBackendRefs`. The clusters of a
//! policy exist on the proxies where the policy applies to some rule.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tidegate_core::{ids::RouteRef, plan::Role};

use super::{
    super::{
        kind::Kind,
        table::Table,
        views::{BackendRef, ExtServicePolicy, Route},
    },
    Discovery, Part, Weight,
    backends::{Addresses, Resolved},
    grants::From,
    meaning,
    merging::{Passage, path},
    policies::{Levels, Resolver},
};

/// The policies of one kind, and the proxies where they apply to rules.
pub(super) struct ExtServicePolicies<'a> {
    kind: Kind,
    role: Role,
    /// Policies by their target; `None` for a policy that calls no service
    levels: Levels<'a, Option<&'a ExtServicePolicy>>,
    /// By namespace and name of the policy
    carried: BTreeMap<(&'a str, &'a str), Carried<'a>>,
}

/// A policy, and the sets of proxies that have its clusters.
struct Carried<'a> {
    policy: &'a ExtServicePolicy,
    fleets: BTreeSet<Arc<str>>,
}

impl<'a> ExtServicePolicies<'a> {
    /// The policies of both kinds.
    pub(super) fn of(resolver: &Resolver<'a, '_>) -> [Self; 2] {
        let objects = resolver.objects;
        [
            Self::of_kind(Kind::SecurityPolicy, Role::ExtAuth, &objects.security_policies, resolver),
            Self::of_kind(Kind::EnvoyExtensionPolicy, Role::ExtProc, &objects.envoy_extension_policies, resolver),
        ]
    }

    fn of_kind(kind: Kind, role: Role, table: &'a Table<ExtServicePolicy>, resolver: &Resolver<'a, '_>) -> Self {
        let mut policies: Vec<_> = table.values().flat_map(BTreeMap::values).collect();
        policies.sort_by(|a, b| a.metadata.age_order().cmp(&b.metadata.age_order()));
        let mut levels = Levels::default();
        for policy in policies {
            let asking = (!policy.services().is_empty()).then_some(policy);
            for target in resolver.targets(kind.as_str(), &policy.metadata, &policy.spec.targets) {
                // A merged policy inherits settings that it lacks from the policy above.
                let merged = policy.spec.merge_type.is_some() && !matches!(target.kind, "Gateway" | "ListenerSet");
                levels.put(target, asking, asking.is_some() || !merged);
            }
        }
        Self { kind, role, levels, carried: BTreeMap::new() }
    }

    /// Records the policies of an HTTPRoute's or GRPCRoute's rules.
    pub(super) fn visit(&mut self, discovery: &Discovery<'a, '_>, kind: Kind, route: &'a Route) {
        if self.levels.is_empty() {
            return;
        }
        let parents = discovery.attachments.parents(kind, route);
        for parent in &parents {
            for (_, listener) in parent.serving(&route.spec.hostnames) {
                for rule in route.spec.rules.iter().filter(|rule| rule.is_translatable()) {
                    let passage = Passage { kind, route, rule_name: rule.name.as_deref(), parent, listener };
                    let (Some(policy), _) = self.levels.resolve(&path(&passage)) else { continue };
                    let key = (policy.metadata.namespace.as_str(), policy.metadata.name.as_str());
                    let carried = self.carried.entry(key);
                    let carried = carried.or_insert_with(|| Carried { policy, fleets: BTreeSet::new() });
                    carried.fleets.insert(parent.gateway.series());
                }
            }
        }
    }

    /// The services' parts of their clusters.
    pub(super) fn parts(self, discovery: &Discovery<'a, '_>) -> impl Iterator<Item = Part<'a>> {
        let (kind, role) = (self.kind, self.role);
        self.carried.into_values().flat_map(move |carried| parts(discovery, kind, role, &carried))
    }
}

fn parts<'a>(discovery: &Discovery<'a, '_>, kind: Kind, role: Role, carried: &Carried<'a>) -> Vec<Part<'a>> {
    let policy = carried.policy;
    let (namespace, name) = (policy.metadata.namespace.as_str(), policy.metadata.name.as_str());
    let from = From { group: kind.api_group(), kind: kind.as_str(), namespace };
    let (lower, what) = (kind.as_str().to_ascii_lowercase(), if role == Role::ExtAuth { "extauth" } else { "extproc" });
    let mut controllers = discovery.backends.objects.envoy_gateways.controllers();
    let pending = controllers.any(|controller| policy.is_pending(controller));
    let mut parts = Vec::new();
    for (index, service) in policy.services().iter().enumerate() {
        let refs = service.backend_refs();
        let resolve = |r: &'a BackendRef| Some((r.weight, discovery.backends.resolve_ext_service(from, r).ok()?));
        // If one backend is refused, the service has no cluster.
        let Some(backends) = refs.iter().map(resolve).collect::<Option<Vec<_>>>() else { continue };
        if is_mixed(&backends) {
            continue;
        }
        let of = backends.iter().map(|(weight, _)| u64::from(*weight)).sum();
        // `irIndexedExtServiceDestinationName`
        let cluster: Arc<str> = format!("{lower}/{namespace}/{name}/{what}/{index}").into();
        parts.extend(backends.into_iter().enumerate().map(|(backend_ref, (weight, backend))| Part {
            backend: backend.key,
            backend_ref,
            service: backend.service,
            cluster: Arc::clone(&cluster),
            stat_name: None,
            split: None,
            merged: false,
            weight: if weight == 0 { Weight::NOTHING } else { Weight { own: u64::from(weight), of, fallbacks: 0 } },
            role,
            fallback: false,
            route: RouteRef {
                kind: kind.as_str().to_owned(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                rule: None,
            },
            fleets: carried.fleets.clone(),
            meaning: meaning(refs.iter(), namespace),
            pending,
            timeout: None,
        }));
    }
    parts
}

/// Whether DNS names are mixed with addresses, which Envoy Gateway refuses (`HasMixedEndpoints`).
fn is_mixed(backends: &[(u32, Resolved<'_>)]) -> bool {
    let mut named = backends.iter().filter(|(weight, _)| *weight > 0).map(|(_, b)| b.addresses == Addresses::Fqdns);
    named.next().is_some_and(|first| named.any(|other| other != first))
}
