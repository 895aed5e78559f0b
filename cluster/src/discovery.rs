//! Mapping from backends to the Envoy clusters that carry their traffic.
//!
//! This follows the translation of Envoy Gateway 1.9 (`internal/gatewayapi` and `internal/xds/translator` of its sources; functions
//! named in comments are found there), reduced to the parts that determine cluster names and weights:
//!
//! 1. [`gateways`]: the Gateways that are Envoy Gateway's, the EnvoyProxy that configures each, and their listeners, including
//!    those of ListenerSets; which listeners are valid and which lose a conflict.
//! 2. [`attachment`]: the listeners that a route attaches to.
//! 3. [`http_rules`] and [`l4_routes`]: the valid backends of a rule, their weights, and the cluster.
//! 4. [`ext_services`]: the services that policies make Envoy call for requests.
//!
//! It errs on the generous side in two things that it does not know: Secrets and ConfigMaps, which Tidegate has no business to
//! read, are assumed to exist and to be valid; and Services are assumed to have endpoints. So it may name a cluster that does not
//! exist now, which costs nothing, but never misses one that does.

mod ai;
mod attachment;
mod backends;
mod contexts;
mod dead_ends;
mod ext_services;
mod filters;
mod fqdn;
mod gateways;
mod grants;
mod http_rules;
mod in_cluster;
mod l4_routes;
mod listeners;
mod merging;
mod not_followed;
mod parent_refusal;
mod policies;
mod pools;
mod reasons;
mod refusal;
mod stat_name;
mod timeouts;

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use tidegate_core::{
    fleet::{series_of_class, series_of_gateway},
    hash::fnv1a_64,
    ids::RouteRef,
    plan::Role,
};

pub(super) use self::{
    ai::{generated, rules as ai_rules},
    in_cluster::InCluster,
    pools::pool_of,
    reasons::{Wanted, not_followed},
};
use self::{
    attachment::Attachments,
    backends::Backends,
    ext_services::ExtServicePolicies,
    gateways::Gateways,
    grants::Grants,
    merging::Merging,
    policies::{PolicyIndex, Resolver},
};
use super::{
    Objects,
    kind::Kind,
    route_kinds::Carries,
    table::Table,
    views::{BackendRef, Endpoint, EnvoyProxySpec, Route},
};

/// A backend's part of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part<'a> {
    pub(super) backend: BackendKey<'a>,
    /// Index of the backendRef in the rule, from 0
    pub(super) backend_ref: usize,
    /// The Service that the traffic goes to: the backend itself, or the one that a Backend's endpoints lead to
    pub(super) service: Option<ServiceAt<'a>>,
    /// The cluster's name in Envoy's configuration
    pub(super) cluster: Arc<str>,
    /// The cluster's name in statistics, when the EnvoyProxy sets another
    pub(super) stat_name: Option<Arc<str>>,
    /// The backend's own cluster, when the rule is split into one per backend
    pub(super) split: Option<Split>,
    /// Whether the cluster is the backend's own by `mergeBackends`, shared by all routes to it
    pub(super) merged: bool,
    /// The backend's weight in the rule, and the sum of all weights
    pub(super) weight: Weight,
    pub(super) role: Role,
    /// Whether the backend is only a fallback for others
    pub(super) fallback: bool,
    pub(super) route: RouteRef,
    /// The sets of proxies that the cluster is on
    pub(super) fleets: BTreeSet<Arc<str>>,
    /// Hash of the rule's backends, which the cluster's name stands for
    pub(super) meaning: u64,
    /// Whether Envoy Gateway has not processed the current generation of the route yet
    pub(super) pending: bool,
    /// When Envoy gives up on a request of the rule, and where that is set; `None` for connections, and if it never does
    pub(super) timeout: Option<timeouts::Timeout>,
}

impl Part<'_> {
    /// Whether the other is the same part, in proxies of other Gateways.
    fn is_twin(&self, other: &Self) -> bool {
        (self.backend_ref, &self.cluster, &self.stat_name, &self.route)
            == (other.backend_ref, &other.cluster, &other.stat_name, &other.route)
    }
}

/// Hash of the backends that a rule's clusters stand for: in order, without their weights.
fn meaning<'a>(refs: impl Iterator<Item = &'a BackendRef>, namespace: &str) -> u64 {
    let one = |r: &BackendRef| format!("{}/{}/{}/{}:{:?}", r.group(), r.kind(), r.namespace(namespace), r.name, r.port);
    fnv1a_64(&refs.map(one).collect::<Vec<_>>().join(" "))
}

/// A backend's weight among all of the same destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) own: u64,
    /// Sum of the weights among which the traffic is divided
    pub(super) of: u64,
    /// The part of that sum that belongs to fallbacks, which get traffic only when all others fail
    pub(super) fallbacks: u64,
}

impl Weight {
    /// The only backend.
    const WHOLE: Self = Self { own: 1, of: 1, fallbacks: 0 };
    /// A backend without traffic.
    const NOTHING: Self = Self { own: 0, of: 1, fallbacks: 0 };
}

/// The cluster of one backend of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) name: Arc<str>,
    /// Whether the objects alone make Envoy Gateway split the rule. If not, it still may at run time.
    pub(super) certain: bool,
}

/// The target of a backendRef.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BackendKey<'a> {
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) port: Option<u16>,
}

/// A port of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServiceAt<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) port: Option<u16>,
    pub(super) pods: Pods<'a>,
}

/// The pods of a Service that get its traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pods<'a> {
    /// Those that have the port that the Service's port leads to
    WithPort,
    /// All of them: the name of a headless Service stands for their addresses
    All,
    /// Those that these endpoints name, in the first label of their FQDNs
    Named(&'a [Endpoint]),
}

impl<'a> Pods<'a> {
    /// The names of the pods, when only named ones get it.
    pub(super) fn names(self) -> Option<impl Iterator<Item = &'a str>> {
        match self {
            Self::WithPort | Self::All => None,
            Self::Named(endpoints) => Some(endpoints.iter().filter_map(|endpoint| {
                let (pod, _) = endpoint.fqdn.as_ref()?.hostname.split_once('.')?;
                Some(pod)
            })),
        }
    }
}

/// The Gateways of Envoy Gateway, oldest first, with the configuration of their proxies.
pub(super) fn fronts(objects: &Objects) -> Vec<Front<'_>> {
    Gateways::of(objects, &Grants::of(objects)).all.into_iter().map(Front::of).collect()
}

/// A Gateway and the configuration of its proxies.
pub(super) struct Front<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// The class, if it merges its Gateways into one set of proxies
    pub(super) class: Option<&'a str>,
    /// Effective EnvoyProxy spec, combined from those of the Gateway, of its class and of Envoy Gateway's configuration
    pub(super) spec: Cow<'a, EnvoyProxySpec>,
    /// The nearest EnvoyProxy, if it exists as an object: namespace and name
    pub(super) envoy_proxy: Option<(&'a str, &'a str)>,
    /// The nearest EnvoyProxy, if it is named but does not exist
    pub(super) missing: Option<(&'a str, &'a str)>,
}

impl<'a> Front<'a> {
    fn of(gateway: contexts::GatewayContext<'a>) -> Self {
        Self {
            namespace: gateway.namespace,
            name: gateway.name,
            class: gateway.merging_class(),
            spec: gateway.proxy,
            envoy_proxy: gateway.proxy_object,
            missing: gateway.missing_proxy,
        }
    }

    /// The name of its set of proxies.
    pub(super) fn series(&self) -> Arc<str> {
        series(self.class, self.namespace, self.name)
    }
}

/// The name of the set of proxies of a Gateway, or of the class that merges it with others.
fn series(merging_class: Option<&str>, namespace: &str, name: &str) -> Arc<str> {
    merging_class.map_or_else(|| series_of_gateway(namespace, name), series_of_class)
}

/// Every backend's part of every cluster, in the order in which Envoy Gateway translates routes. `generated` are HTTPRoutes that
/// are generated from other routes and do not exist yet.
pub(super) fn discover<'a>(objects: &'a Objects, generated: &'a [Route]) -> Vec<Part<'a>> {
    let grants = Grants::of(objects);
    let gateways = Gateways::of(objects, &grants);
    let resolver = Resolver { objects, gateways: &gateways, grants: &grants };
    let policies = PolicyIndex::of(&resolver);
    let mut asking = ExtServicePolicies::of(&resolver);
    let discovery = Discovery {
        backends: Backends { objects, grants: &grants, in_cluster: InCluster::of(objects) },
        merging: Merging { objects, policies: &policies },
        attachments: Attachments { objects, gateways: &gateways },
    };
    let mut parts = Vec::new();
    for (kind, table) in objects.routes_that_carry(Carries::Requests) {
        let made = generated.iter().filter(|_| kind == Kind::HttpRoute);
        for route in by_age(table, made) {
            http_rules::translate(&discovery, kind, route, &mut parts);
            for policies in &mut asking {
                policies.visit(&discovery, kind, route);
            }
        }
    }
    let mut taken = l4_routes::TakenListeners::default();
    for (kind, table) in objects.routes_that_carry(Carries::Connections) {
        for route in by_age(table, [].iter()) {
            l4_routes::translate(&discovery, kind, route, &mut taken, &mut parts);
        }
    }
    parts.extend(asking.into_iter().flat_map(|policies| policies.parts(&discovery)));
    parts.retain(|part| !discovery.backends.is_dead_end(part));
    parts
}

/// Everything that the translation of each route needs.
struct Discovery<'a, 'b> {
    backends: Backends<'a, 'b>,
    merging: Merging<'a, 'b>,
    attachments: Attachments<'a, 'b>,
}

fn by_age<'a>(table: &'a Table<Route>, made: impl Iterator<Item = &'a Route>) -> Vec<&'a Route> {
    let mut routes: Vec<_> = table.values().flat_map(std::collections::BTreeMap::values).chain(made).collect();
    routes.sort_by(|a, b| a.metadata.age_order().cmp(&b.metadata.age_order()));
    routes
}

/// `httproute/default/task-route/` (`irRoutePrefix`)
fn prefix(kind: Kind, route: &Route) -> String {
    let meta = &route.metadata;
    format!("{}/{}/{}", kind.as_str().to_ascii_lowercase(), meta.namespace, meta.name)
}

fn route_ref(kind: Kind, route: &Route, rule: Option<usize>) -> RouteRef {
    let meta = &route.metadata;
    RouteRef { kind: kind.as_str().to_owned(), namespace: meta.namespace.clone(), name: meta.name.clone(), rule }
}
