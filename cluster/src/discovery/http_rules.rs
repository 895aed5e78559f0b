//! The rules of HTTPRoutes and GRPCRoutes: a cluster per rule, or one per backend.

use std::{collections::BTreeSet, sync::Arc};

use tidegate_core::plan::Role;

use super::{
    super::{
        kind::Kind,
        views::{BackendRef, Filter, Route, Rule},
    },
    Discovery, Part, Split, Weight, ai,
    attachment::Parent,
    backends::{Addresses, Backends, Origin, Protocol, Resolved},
    filters::{self, Passed},
    meaning,
    merging::Passage,
    prefix,
    refusal::RuleRefusal,
    route_ref,
    stat_name::StatName,
    timeouts::{self, Timeout},
};

/// `processHTTPRouteParentRefs` and `processGRPCRouteParentRefs`
pub(super) fn translate<'a>(discovery: &Discovery<'a, '_>, kind: Kind, route: &'a Route, parts: &mut Vec<Part<'a>>) {
    let parents = discovery.attachments.parents(kind, route);
    if !parents.iter().any(|parent| parent.serving(&route.spec.hostnames).next().is_some()) {
        return;
    }
    let prefix = prefix(kind, route);
    for (index, rule) in route.spec.rules.iter().enumerate() {
        let Some(backends) = RuleBackends::of(discovery, kind, route, index, rule) else { continue };
        let cluster: Arc<str> = format!("{prefix}/rule/{index}").into();
        let passages = || passages(kind, route, rule, &parents);
        let timeout = timeouts::of_rule(discovery.merging.policies, rule, passages());
        let translation = Translation { discovery, kind, route, rule, index, cluster, backends, timeout };
        let before = parts.len();
        for (form, fleets) in translation.forms(passages()) {
            for part in translation.parts(&form, &fleets) {
                // The same cluster in proxies of several Gateways has one name in statistics, so it is one part.
                match parts[before..].iter_mut().find(|twin| twin.is_twin(&part)) {
                    Some(twin) => twin.fleets.extend(part.fleets),
                    None => parts.push(part),
                }
            }
        }
    }
}

/// The rule as each listener serves it.
fn passages<'p>(
    kind: Kind,
    route: &'p Route,
    rule: &'p Rule,
    parents: &'p [Parent<'p, 'p>],
) -> impl Iterator<Item = Passage<'p, 'p>> {
    let served = parents
        .iter()
        .flat_map(|parent| parent.serving(&route.spec.hostnames).map(move |(_, listener)| (parent, listener)));
    served.map(move |(parent, listener)| Passage { kind, route, rule_name: rule.name.as_deref(), parent, listener })
}

/// Checks what stands between a rule and all its backends, apart from the references themselves.
pub(super) fn check<'a>(
    backends: &Backends<'a, '_>,
    kind: Kind,
    route: &'a Route,
    rule: &'a Rule,
) -> Result<(), RuleRefusal<'a>> {
    let namespace = route.metadata.namespace.as_str();
    let passed = passed(backends, kind, namespace, rule)?;
    let weighted = rule.backend_refs.iter().filter(|backend_ref| backend_ref.weight > 0);
    let mut resolved = weighted.filter_map(|backend_ref| backends.resolve(kind, namespace, backend_ref).ok());
    let dynamic = resolved.any(|backend| backend.origin == Origin::DynamicResolver);
    let spoilt = dynamic && spoils_dynamic_resolver(kind, rule, passed);
    if spoilt { Err(RuleRefusal::DynamicResolver) } else { Ok(()) }
}

/// Checks the rule's filters and matches.
fn passed<'a>(
    backends: &Backends<'a, '_>,
    kind: Kind,
    namespace: &'a str,
    rule: &'a Rule,
) -> Result<Passed, RuleRefusal<'a>> {
    let check_mirror = |mirror: &'a BackendRef| backends.check_mirror(kind, namespace, mirror);
    let passed = filters::evaluate(backends.objects, kind, namespace, &rule.filters, check_mirror)?;
    if rule.is_translatable() { Ok(passed) } else { Err(RuleRefusal::Untranslatable) }
}

fn spoils_dynamic_resolver(kind: Kind, rule: &Rule, passed: Passed) -> bool {
    passed.host_from_path || (kind == Kind::HttpRoute && rule.backend_refs.len() > 1)
}

/// The valid backends of a rule.
struct RuleBackends<'a> {
    /// Backends that get traffic, with the index of their backendRef and their weight
    valid: Vec<(usize, u32, Resolved<'a>)>,
    /// Backends of weight 0, such as an idle canary: they get no traffic and are in no cluster
    resting: Vec<(usize, Resolved<'a>)>,
    /// Sum of all weights, invalid backends included: their share is answered with errors
    total: u64,
}

impl<'a> RuleBackends<'a> {
    /// `None` when the rule sends nothing to any backend (`processHTTPRouteRules`).
    fn of(discovery: &Discovery<'a, '_>, kind: Kind, route: &'a Route, index: usize, rule: &'a Rule) -> Option<Self> {
        let namespace = route.metadata.namespace.as_str();
        let Backends { objects, grants, .. } = discovery.backends;
        let passed = passed(&discovery.backends, kind, namespace, rule).ok()?;
        let weighted = rule.backend_refs.iter().enumerate().filter(|(_, backend_ref)| backend_ref.weight > 0);
        let valid: Vec<_> = weighted
            .clone()
            .filter_map(|(i, backend_ref)| {
                let mut resolved = discovery.backends.resolve(kind, namespace, backend_ref).ok()?;
                if let Some(stands_in) = ai::stands_in(objects, grants, route, index, i) {
                    resolved.fallback = stands_in;
                }
                Some((i, backend_ref.weight, resolved))
            })
            .collect();
        let dynamic = valid.iter().any(|(_, _, backend)| backend.origin == Origin::DynamicResolver);
        let total = weighted.map(|(_, backend_ref)| u64::from(backend_ref.weight)).sum();
        let resting = rule.backend_refs.iter().enumerate().filter(|(_, backend_ref)| backend_ref.weight == 0);
        let resting: Vec<_> = resting
            .filter_map(|(i, backend_ref)| Some((i, discovery.backends.resolve(kind, namespace, backend_ref).ok()?)))
            .collect();
        let any = !valid.is_empty() || !resting.is_empty();
        (any && !(dynamic && spoils_dynamic_resolver(kind, rule, passed))).then_some(Self { valid, resting, total })
    }

    /// Whether Envoy Gateway must create a cluster per backend (`NeedsClusterPerSetting`) for the backends that are not merged.
    fn must_split(&self, merged: &[Option<Arc<str>>], service_routing: bool) -> bool {
        let valid_weight: u64 = self.valid.iter().map(|(_, weight, _)| u64::from(*weight)).sum();
        let own: Vec<_> =
            self.valid.iter().zip(merged).filter(|(_, merged)| merged.is_none()).map(|(v, _)| &v.2).collect();
        let some_merged = own.len() < self.valid.len();
        let has = |addresses: &[Addresses]| own.iter().any(|backend| addresses.contains(&backend.addresses));
        // With Service routing there are no pod addresses, so a Service can go together with any kind of address.
        let pods: &[_] =
            if service_routing { &[Addresses::Ips] } else { &[Addresses::Ips, Addresses::Pods, Addresses::NearbyPods] };
        let http2 = |backend: &&&Resolved<'_>| matches!(backend.protocol, Protocol::Http2 | Protocol::Grpc);
        some_merged
            || valid_weight < self.total
            || own.iter().any(|backend| backend.has_filters)
            || (own.len() > 1 && has(&[Addresses::NearbyPods]))
            || (has(&[Addresses::Fqdns]) && has(pods))
            || (own.iter().any(|backend| backend.only_http1) && own.iter().filter(http2).count() > 0)
    }
}

/// The translation of one rule.
struct Translation<'d, 'a> {
    discovery: &'d Discovery<'a, 'd>,
    kind: Kind,
    route: &'a Route,
    rule: &'a Rule,
    index: usize,
    cluster: Arc<str>,
    backends: RuleBackends<'a>,
    timeout: Option<Timeout>,
}

/// Result of translating a rule for some listeners; it may differ between Gateways of different configuration.
#[derive(PartialEq)]
struct Form {
    stat_name: Option<Arc<str>>,
    /// For each valid backend its merged cluster, if it has one
    merged: Vec<Option<Arc<str>>>,
    must_split: bool,
}

impl<'a> Translation<'_, 'a> {
    /// Each form, and the sets of proxies that use it.
    fn forms<'p>(&self, passages: impl Iterator<Item = Passage<'p, 'p>>) -> Vec<(Form, BTreeSet<Arc<str>>)> {
        let mut forms: Vec<(Form, BTreeSet<Arc<str>>)> = Vec::new();
        for passage in passages {
            let (form, fleet) = (self.form(&passage), passage.parent.gateway.series());
            match forms.iter_mut().find(|(known, _)| *known == form) {
                Some((_, fleets)) => _ = fleets.insert(fleet),
                None => forms.push((form, BTreeSet::from([fleet]))),
            }
        }
        forms
    }

    fn form(&self, passage: &Passage<'_, '_>) -> Form {
        let (gateway, decider) = (passage.parent.gateway, &self.discovery.merging);
        let namespace = &self.route.metadata.namespace;
        let one_cluster = || decider.needs_one_cluster(gateway, namespace, self.rule);
        let shares_clusters = gateway.merge_backends().is_some() && decider.applies(passage, one_cluster());
        let merged: Vec<Option<Arc<str>>> = self
            .backends
            .valid
            .iter()
            .map(
                |(_, _, backend)| if shares_clusters { decider.cluster(gateway, backend).map(Arc::from) } else { None },
            )
            .collect();
        let must_split = self.backends.must_split(&merged, decider.is_service_routing(passage));
        Form { stat_name: gateway.proxy.cluster_stat_name().map(|p| self.stat_name(p)), merged, must_split }
    }

    fn stat_name(&self, pattern: &str) -> Arc<str> {
        let meta = &self.route.metadata;
        let backend = |r: &super::super::views::BackendRef| match r.weight {
            0 => String::new(),
            _ => format!("{}/{}", r.namespace(&meta.namespace), r.name),
        };
        let name = StatName {
            kind: self.kind.as_str(),
            namespace: &meta.namespace,
            name: &meta.name,
            rule_name: self.rule.name.as_deref(),
            rule: self.index,
            backends: self.rule.backend_refs.iter().map(backend).collect(),
        };
        name.render(pattern).into()
    }

    fn parts(&self, form: &Form, fleets: &BTreeSet<Arc<str>>) -> Vec<Part<'a>> {
        let backends = self.backends.valid.iter().zip(&form.merged);
        let weigh = |of: &dyn Fn(&Resolved<'_>, bool) -> bool| -> u64 {
            let counted = backends.clone().filter(|((_, _, backend), merged)| of(backend, merged.is_some()));
            counted.map(|((_, weight, _), _)| u64::from(*weight)).sum()
        };
        // Statistics under a `clusterStatName` contain nothing of invalid backends. Without one, a rule with invalid backends is split.
        let of = match form.stat_name {
            Some(_) => weigh(&|_, merged| !merged),
            None => self.backends.total - weigh(&|_, merged| merged),
        };
        let fallbacks = weigh(&|backend, merged| backend.fallback && !merged);
        let part = |((i, weight, backend), merged): (&(usize, u32, Resolved<'a>), &Option<Arc<str>>)| {
            let split = Split { name: format!("{}/backend/{i}", self.cluster).into(), certain: form.must_split };
            let own = Part {
                split: form.stat_name.is_none().then_some(split),
                weight: Weight { own: u64::from(*weight), of, fallbacks },
                ..self.part(*i, backend, form, fleets)
            };
            match merged {
                None => own,
                Some(cluster) => Part {
                    cluster: Arc::clone(cluster),
                    stat_name: None,
                    split: None,
                    merged: true,
                    weight: Weight::WHOLE,
                    // The name of a merged cluster already identifies the backend.
                    meaning: 0,
                    pending: false,
                    ..own
                },
            }
        };
        let resting = self.backends.resting.iter().map(|(i, backend)| self.part(*i, backend, form, fleets));
        backends.map(part).chain(resting).chain(self.mirrors(form, fleets)).collect()
    }

    /// The backends that get copies of the rule's requests, each through a cluster of its own (`processRequestMirrorFilter`).
    fn mirrors<'s>(&'s self, form: &'s Form, fleets: &'s BTreeSet<Arc<str>>) -> impl Iterator<Item = Part<'a>> + 's {
        let (backends, namespace) = (&self.discovery.backends, &self.route.metadata.namespace);
        let mirrors = self.rule.filters.iter().enumerate().filter_map(|(index, filter)| match filter {
            Filter::RequestMirror(mirror) => Some((index, &**mirror)),
            _ => None,
        });
        mirrors.filter_map(move |(index, mirror)| {
            let backend = backends.resolve(self.kind, namespace, mirror).ok()?;
            Some(Part {
                cluster: format!("{}-mirror-{index}", self.cluster).into(),
                stat_name: None,
                weight: Weight::WHOLE,
                role: Role::Mirror,
                meaning: meaning(std::iter::once(mirror), namespace),
                ..self.part(index, &backend, form, fleets)
            })
        })
    }

    /// The part of one backend, without traffic.
    fn part(&self, index: usize, backend: &Resolved<'a>, form: &Form, fleets: &BTreeSet<Arc<str>>) -> Part<'a> {
        let mut controllers = self.discovery.backends.objects.envoy_gateways.controllers();
        Part {
            backend: backend.key,
            backend_ref: index,
            service: backend.service,
            cluster: Arc::clone(&self.cluster),
            stat_name: form.stat_name.clone(),
            split: None,
            merged: false,
            weight: Weight::NOTHING,
            role: Role::Backend,
            fallback: backend.fallback,
            route: route_ref(self.kind, self.route, Some(self.index)),
            fleets: fleets.clone(),
            meaning: meaning(self.rule.backend_refs.iter(), &self.route.metadata.namespace),
            pending: controllers.any(|controller| self.route.is_pending(controller)),
            timeout: self.timeout.clone(),
        }
    }
}
