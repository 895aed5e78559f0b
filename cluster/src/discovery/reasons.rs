//! The walk over all routes that asks discovery's own checks for their reasons. The translation throws them away.

use std::collections::HashSet;

use tidegate_core::ids::RouteRef;

use super::{
    super::{
        Objects,
        kind::Kind,
        route_kinds::Carries,
        table::Table,
        views::{AiGatewayRoute, BackendRef, ExtServicePolicy, Filter, Meta, ParentRef, Reported, Route, Rule},
    },
    BackendKey, ai,
    attachment::{Attachments, Parent},
    backends::Backends,
    by_age,
    gateways::Gateways,
    grants::{From, Grants},
    http_rules,
    in_cluster::InCluster,
    l4_routes::{self, TakenListeners},
    not_followed::{NotFollowed, Refusal},
    parent_refusal::{ParentId, ParentRefusal, RefusingListener},
    refusal::{RuleRefusal, key_of},
};

/// The routes whose refusals are wanted.
#[derive(Clone, Copy)]
pub(crate) enum Wanted<'c> {
    All,
    /// Those that Envoy Gateway refuses, and those with a backend behind which there is such a Service or InferencePool
    Behind(&'c dyn Fn(&BackendKey<'_>) -> bool),
}

/// All that is not followed of the wanted routes and policies. `generated` are HTTPRoutes of AIGatewayRoutes that do not exist yet.
pub(crate) fn not_followed<'a>(
    objects: &'a Objects,
    generated: &'a [Route],
    wanted: Wanted<'_>,
) -> Vec<NotFollowed<'a>> {
    let grants = Grants::of(objects);
    let gateways = Gateways::of(objects, &grants);
    let mut walk = Walk {
        backends: Backends { objects, grants: &grants, in_cluster: InCluster::of(objects) },
        attachments: Attachments { objects, gateways: &gateways },
        controllers: objects.envoy_gateways.controllers().collect(),
        wanted,
        found: Vec::new(),
    };
    walk.routes_of_requests(generated);
    walk.routes_of_connections();
    walk.policies(Kind::SecurityPolicy, &objects.security_policies);
    walk.policies(Kind::EnvoyExtensionPolicy, &objects.envoy_extension_policies);
    walk.found.sort_by(|a, b| a.route.cmp(&b.route));
    walk.found
}

struct Walk<'a, 'b> {
    backends: Backends<'a, 'b>,
    attachments: Attachments<'a, 'b>,
    /// The controller names of Envoy Gateways
    controllers: Vec<&'a str>,
    wanted: Wanted<'b>,
    found: Vec<NotFollowed<'a>>,
}

/// A route, and the name of the kind that its author wrote.
#[derive(Clone, Copy)]
struct Subject<'a> {
    kind: Kind,
    written: Kind,
    route: &'a Route,
}

impl<'a> Walk<'a, '_> {
    fn routes_of_requests(&mut self, generated: &'a [Route]) {
        let objects = self.backends.objects;
        for (kind, table) in [(Kind::HttpRoute, &objects.http_routes), (Kind::GrpcRoute, &objects.grpc_routes)] {
            for route in by_age(table, [].iter()) {
                self.route_of_requests(Subject { kind, written: kind, route });
            }
        }
        for route in generated {
            self.route_of_requests(Subject { kind: Kind::HttpRoute, written: Kind::AiGatewayRoute, route });
        }
        for route in objects.ai_gateway_routes.values().flat_map(std::collections::BTreeMap::values) {
            self.ai_route(route);
        }
    }

    fn route_of_requests(&mut self, subject: Subject<'a>) {
        let Subject { kind, route, .. } = subject;
        if !self.is_wanted(route) {
            return;
        }
        let mut attached = Vec::new();
        self.refuse_orphan(subject);
        for reference in distinct(&route.spec.parent_refs) {
            match self.attachments.refusal(kind, route, reference, &route.spec.hostnames) {
                Some(refusal) => self.refuse_parent(subject, reference, refusal),
                None => attached.push(reference),
            }
        }
        let before = self.found.len();
        for (index, rule) in route.spec.rules.iter().enumerate() {
            self.rule(subject, index, rule);
        }
        if self.found.len() == before {
            self.only_by_envoy_gateway(subject, &attached);
        }
    }

    fn rule(&mut self, subject: Subject<'a>, index: usize, rule: &'a Rule) {
        if let Err(refusal) = http_rules::check(&self.backends, subject.kind, subject.route, rule) {
            self.refuse(subject, Some(index), named_by(rule), Refusal::Rule(refusal));
        } else {
            self.references(subject, Some(index), rule);
        }
    }

    fn references(&mut self, subject: Subject<'a>, index: Option<usize>, rule: &'a Rule) {
        let namespace = &subject.route.metadata.namespace;
        for backend_ref in named_by(rule) {
            let refusal = match self.backends.resolve(subject.kind, namespace, backend_ref) {
                Ok(resolved) => self.backends.dead_end(&resolved).map(Refusal::DeadEnd),
                Err(refusal) => Some(Refusal::Backend(key_of(backend_ref, namespace), refusal)),
            };
            if let Some(refusal) = refusal {
                self.refuse(subject, index, std::iter::once(backend_ref), refusal);
            }
        }
    }

    /// AIServiceBackends that the generated HTTPRoute leaves out.
    fn ai_route(&mut self, route: &'a AiGatewayRoute) {
        let Meta { namespace, name, .. } = &route.metadata;
        for (index, rule) in route.spec.rules.iter().enumerate() {
            for backend in &rule.backend_refs {
                let resolved = ai::backend_ref(self.backends.objects, self.backends.grants, namespace, backend);
                let Err(refusal) = resolved else { continue };
                let key = ai::key_of(namespace, backend);
                let kind = Kind::AiGatewayRoute.as_str().to_owned();
                self.found.push(NotFollowed {
                    route: RouteRef { kind, namespace: namespace.clone(), name: name.clone(), rule: Some(index) },
                    namespace,
                    backends: vec![key],
                    refusal: Refusal::Backend(key, refusal.into()),
                    reported: Reported::Nothing,
                });
            }
        }
    }

    fn routes_of_connections(&mut self) {
        let objects = self.backends.objects;
        let mut taken = TakenListeners::default();
        for (kind, table) in objects.routes_that_carry(Carries::Connections) {
            for route in by_age(table, [].iter()) {
                self.route_of_connections(Subject { kind, written: kind, route }, &mut taken);
            }
        }
    }

    fn route_of_connections(&mut self, subject: Subject<'a>, taken: &mut TakenListeners<'a>) {
        let Subject { kind, route, .. } = subject;
        let wanted = self.is_wanted(route);
        let refs = || named(route);
        let checked = l4_routes::check(&self.backends, kind, route);
        let is_translated = !matches!(checked, Err(RuleRefusal::NotOneRule(_)));
        let (before, mut attached) = (self.found.len(), Vec::new());
        if let Err(refusal) = checked {
            self.refuse(subject, None, refs(), Refusal::Rule(refusal));
        }
        let after_rules = self.found.len();
        self.refuse_orphan(subject);
        for reference in distinct(&route.spec.parent_refs).into_iter().filter(|_| is_translated) {
            match self.refusal_of_connections(subject, reference, taken) {
                Some(refusal) => self.refuse_parent(subject, reference, refusal),
                None => attached.push(reference),
            }
        }
        let parents = self.found.len() - after_rules;
        for rule in &route.spec.rules {
            self.references(subject, None, rule);
        }
        if self.found.len() == before + parents {
            self.only_by_envoy_gateway(subject, &attached);
        }
        if !wanted {
            self.found.truncate(before);
        }
    }

    /// Why a route gets no traffic by a parent, where older routes may have its listeners.
    fn refusal_of_connections(
        &self,
        subject: Subject<'a>,
        reference: &'a ParentRef,
        taken: &mut TakenListeners<'a>,
    ) -> Option<ParentRefusal<'a>> {
        let Subject { kind, route, .. } = subject;
        if let Some(refusal) = self.attachments.refusal(kind, route, reference, l4_routes::hostnames(kind, route)) {
            return Some(refusal);
        }
        let parents = self.attachments.parents(kind, route);
        let parent = parents.iter().find(|parent| parent.reference == reference)?;
        let dynamic = l4_routes::is_dynamic(&l4_routes::resolved(&self.backends, kind, route));
        let refusing = refusing(taken, subject, parent, dynamic)?;
        let Parent { gateway, .. } = parent;
        let id = ParentId { kind: "Gateway", namespace: gateway.namespace, name: gateway.name };
        Some(ParentRefusal::Listeners(id, refusing))
    }

    fn policies(&mut self, kind: Kind, table: &'a Table<ExtServicePolicy>) {
        for policy in table.values().flat_map(std::collections::BTreeMap::values) {
            let Meta { namespace, name, .. } = &policy.metadata;
            let from = From { group: kind.api_group(), kind: kind.as_str(), namespace };
            for service in policy.services() {
                let refs = service.backend_refs();
                // One refused backend leaves all of a service without a cluster.
                let all: Vec<_> = refs.iter().map(|backend_ref| key_of(backend_ref, namespace)).collect();
                for backend_ref in refs {
                    let refusal = match self.backends.resolve_ext_service(from, backend_ref) {
                        Ok(resolved) => self.backends.dead_end(&resolved).map(Refusal::DeadEnd),
                        Err(refusal) => Some(Refusal::Backend(key_of(backend_ref, namespace), refusal.into())),
                    };
                    let Some(refusal) = refusal else { continue };
                    let kind = kind.as_str().to_owned();
                    self.found.push(NotFollowed {
                        route: RouteRef { kind, namespace: namespace.clone(), name: name.clone(), rule: None },
                        namespace,
                        backends: all.clone(),
                        refusal,
                        reported: Reported::Nothing,
                    });
                }
            }
        }
    }

    fn is_wanted(&self, route: &'a Route) -> bool {
        let Wanted::Behind(wanted) = self.wanted else { return true };
        let namespace = &route.metadata.namespace;
        let keys = named(route).map(|backend_ref| key_of(backend_ref, namespace));
        route.is_refused() || keys.flat_map(|key| self.backends.in_cluster.behind(&key)).any(|key| wanted(&key))
    }

    /// Refuses a route without parentRefs.
    fn refuse_orphan(&mut self, subject: Subject<'a>) {
        if subject.route.spec.parent_refs.is_empty() {
            self.refuse(subject, None, named(subject.route), Refusal::Parent(ParentRefusal::None));
        }
    }

    fn refuse_parent(&mut self, subject: Subject<'a>, reference: &'a ParentRef, refusal: ParentRefusal<'a>) {
        let reported = subject.route.reported(&self.controllers, Some(reference));
        let refs = named(subject.route);
        self.push(subject, None, refs, Refusal::Parent(refusal), reported);
    }

    fn refuse(
        &mut self,
        subject: Subject<'a>,
        rule: Option<usize>,
        refs: impl Iterator<Item = &'a BackendRef>,
        refusal: Refusal<'a>,
    ) {
        let reported = subject.route.reported(&self.controllers, None);
        self.push(subject, rule, refs, refusal, reported);
    }

    /// A route that nothing is wrong with, of which Envoy Gateway refuses something by one of these parents.
    fn only_by_envoy_gateway(&mut self, subject: Subject<'a>, attached: &[&'a ParentRef]) {
        for reference in attached {
            let reported = subject.route.reported(&self.controllers, Some(reference));
            if matches!(reported, Reported::Refused(_)) {
                let refs = named(subject.route);
                self.push(subject, None, refs, Refusal::ByEnvoyGatewayOnly, reported);
            }
        }
    }

    /// Records a refusal, unless no backend is concerned: a rule that only redirects has none.
    fn push(
        &mut self,
        subject: Subject<'a>,
        rule: Option<usize>,
        refs: impl Iterator<Item = &'a BackendRef>,
        refusal: Refusal<'a>,
        reported: Reported<'a>,
    ) {
        let Meta { namespace, name, .. } = &subject.route.metadata;
        let mut seen = HashSet::new();
        let keys = refs.map(|backend_ref| key_of(backend_ref, namespace));
        let backends: Vec<_> = keys.filter(|key| seen.insert(*key)).collect();
        if backends.is_empty() {
            return;
        }
        let kind = subject.written.as_str().to_owned();
        let route = RouteRef { kind, namespace: namespace.clone(), name: name.clone(), rule };
        self.found.push(NotFollowed { route, namespace, backends, refusal, reported });
    }
}

/// The listeners of a parent, if a route gets traffic by none of them.
fn refusing<'a>(
    taken: &mut TakenListeners<'a>,
    subject: Subject<'a>,
    parent: &Parent<'a, '_>,
    dynamic: bool,
) -> Option<Vec<RefusingListener<'a>>> {
    let claimed = taken.claim(subject.kind, subject.route, parent, dynamic).into_iter();
    let refusing = claimed.map(|(context, refusal)| {
        Some(RefusingListener { listener: context.listener, kinds: context.kinds.clone(), refusal: refusal? })
    });
    refusing.collect()
}

/// The backends that a route names.
fn named(route: &Route) -> impl Iterator<Item = &BackendRef> {
    route.spec.rules.iter().flat_map(named_by)
}

/// The backends that a rule names, those of its mirrors included.
fn named_by(rule: &Rule) -> impl Iterator<Item = &BackendRef> {
    let mirrors = rule.filters.iter().filter_map(|filter| match filter {
        Filter::RequestMirror(mirror) => Some(&**mirror),
        _ => None,
    });
    rule.backend_refs.iter().chain(mirrors)
}

fn distinct(references: &[ParentRef]) -> Vec<&ParentRef> {
    let mut seen = HashSet::new();
    references.iter().filter(|reference| seen.insert(*reference)).collect()
}
