//! `tidegate routes`: the clusters that carry the traffic of each backend.

mod routing;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::{self, Write},
    sync::Arc,
};

use serde::Serialize;
use tidegate_core::{
    llm::{AiRule, Destination},
    not_followed::NotFollowed,
    plan::Role,
};

pub use self::routing::Routing;
use super::{
    Objects,
    discovery::{self, BackendKey, Part},
};

/// A backend of routes and the clusters that carry its traffic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackendClusters {
    /// The backend that the routes refer to
    pub backend: BackendId,
    /// The Service that a Backend's FQDN names, when it names one
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServicePortId>,
    /// The host outside the cluster, for an external backend of an AIGatewayRoute
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The clusters, ordered by name
    pub clusters: Vec<ClusterEntry>,
    /// What of the routes that name it is not followed
    #[serde(rename = "notFollowed", skip_serializing_if = "Vec::is_empty")]
    pub not_followed: Vec<NotFollowed>,
}

impl BackendClusters {
    /// A backend that nothing is known of yet.
    fn of(backend: BackendId) -> Self {
        Self { backend, service: None, host: None, clusters: Vec::new(), not_followed: Vec::new() }
    }
}

/// A backend that routes refer to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct BackendId {
    /// `Service`, `ServiceImport` or `Backend`
    pub kind: String,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// The port as the reference gives it; a Backend has its own and needs none
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServicePortId {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// The port that the FQDN endpoint gives
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A backend's share of a cluster's traffic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterEntry {
    /// Value of the label `envoy_cluster_name`: the cluster of the whole rule, or the name that the EnvoyProxy's `clusterStatName` gives it
    pub name: String,
    /// The backend's share of all traffic under this name, from 0 to 1. When several rules have the same name, they are assumed to
    /// have equal traffic.
    pub share: f64,
    /// The cluster in Envoy's configuration, when its statistics have another name
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The backend's own cluster, which carries only its traffic, when the manifests alone make Envoy Gateway split the rule. It
    /// may split others too, temporarily: while a backend has no endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Why the backend gets traffic that no rule sends to it
    #[serde(skip_serializing_if = "Role::is_backend")]
    pub role: Role,
    /// The models that an AIGatewayRoute asks the backend for; `any` when it names none
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
}

impl Objects {
    /// The clusters that carry the traffic of each backend that gets any.
    pub fn routes(&self) -> Vec<BackendClusters> {
        routes(self)
    }
}

/// All backends that routes reach, ordered by kind, namespace, name and port.
fn routes(objects: &Objects) -> Vec<BackendClusters> {
    let generated = discovery::generated(objects);
    let parts = discovery::discover(objects, &generated);
    let sharing = StatNameSharing::of(&parts);
    let models = Models(discovery::ai_rules(objects, &parts));
    // Keyed by texts of the objects, which are copied only for the answer.
    let mut backends = BTreeMap::new();
    for part in &parts {
        // A Service leads to itself, so only Backends show one.
        let service = part.service.filter(|_| part.backend.kind == "Backend").map(|service| ServicePortId {
            namespace: service.namespace.to_owned(),
            name: service.name.to_owned(),
            port: service.port,
        });
        let (asked_for, host) = models.of(part);
        let (.., clusters) = backends.entry(part.backend).or_insert_with(|| (service, host, BTreeMap::new()));
        let split = part.split.as_ref().filter(|split| split.certain).map(|split| &*split.name);
        let key = (&**label(part), &*part.cluster, split);
        // A merged cluster is the same for all routes, so it is added once; otherwise the weights of a backend that a rule names
        // twice add up.
        let (sum, ..) = clusters.entry(key).or_insert(((0, part.weight.of), part.role, asked_for));
        if !part.merged || sum.0 == 0 {
            sum.0 += part.weight.own;
        }
    }
    let entry = |(name, cluster, split): (&str, &str, Option<&str>), (own, of), role, models| ClusterEntry {
        name: name.to_owned(),
        share: ratio(own, of) / sharing.rules(name),
        cluster: (cluster != name).then(|| cluster.to_owned()),
        split: split.map(str::to_owned),
        role,
        models,
    };
    backends
        .into_iter()
        .map(|(backend, (service, host, clusters))| BackendClusters {
            service,
            host,
            clusters: clusters
                .into_iter()
                .map(|(key, (weight, role, models))| entry(key, weight, role, models))
                .collect(),
            ..BackendClusters::of(backend_id(&backend))
        })
        .collect()
}

fn backend_id(key: &BackendKey<'_>) -> BackendId {
    let BackendKey { kind, namespace, name, port } = *key;
    BackendId { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned(), port }
}

/// Rules of AIGatewayRoutes, for the models of their backends.
struct Models(Vec<AiRule>);

impl Models {
    /// The models that a backend is asked for, and its host if it is outside the cluster.
    fn of(&self, part: &Part<'_>) -> (Vec<String>, Option<String>) {
        let same = |rule: &&AiRule| {
            let (of, route) = (&rule.route, &part.route);
            part.route.kind == "HTTPRoute"
                && (&of.namespace, &of.name, of.rule) == (&route.namespace, &route.name, route.rule)
        };
        let Some(rule) = self.0.iter().find(same) else { return (Vec::new(), None) };
        let host = rule.backends.get(part.backend_ref).and_then(|backend| match &backend.destination {
            Destination::External(host) => Some(host.clone()),
            _ => None,
        });
        match rule.asked_for(part.backend_ref) {
            [] => (vec!["any".to_owned()], host),
            models => (models.to_vec(), host),
        }
    }
}

/// The cluster's name in statistics.
pub(super) fn label<'p>(part: &'p Part<'_>) -> &'p Arc<str> {
    part.stat_name.as_ref().unwrap_or(&part.cluster)
}

/// `own / of`, from 0 to 1.
pub(super) fn ratio(own: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { (own as f64 / of as f64).min(1.0) }
}

/// Number of rules under the same name in statistics. How much each contributes is invisible from outside, so all are assumed to be equal.
pub(super) struct StatNameSharing(HashMap<Arc<str>, usize>);

impl StatNameSharing {
    pub(super) fn of(parts: &[Part<'_>]) -> Self {
        let mut clusters = HashMap::<Arc<str>, BTreeSet<&str>>::new();
        for part in parts {
            if let Some(name) = &part.stat_name {
                clusters.entry(Arc::clone(name)).or_default().insert(&part.cluster);
            }
        }
        Self(clusters.into_iter().map(|(name, clusters)| (name, clusters.len())).collect())
    }

    pub(super) fn rules(&self, name: &str) -> f64 {
        self.0.get(name).map_or(1.0, |rules| *rules as f64)
    }
}

/// The mapping as a table for people: a line per backend and cluster. An optional column appears only if some line has a value for it.
pub fn routes_table(routes: &[BackendClusters]) -> String {
    let lines: Vec<_> = routes.iter().flat_map(|backend| backend.clusters.iter().map(move |c| (backend, c))).collect();
    let columns: [(&str, bool, Cell); 12] = [
        ("KIND", true, |backend, _| Some(backend.backend.kind.clone())),
        ("NAMESPACE", true, |backend, _| Some(backend.backend.namespace.clone())),
        ("NAME", true, |backend, _| Some(backend.backend.name.clone())),
        ("PORT", true, |backend, _| backend.backend.port.map(|port| port.to_string())),
        ("SHARE", true, |_, cluster| Some(format!("{:.1} %", cluster.share * 100.0))),
        ("CLUSTER", true, |_, cluster| Some(cluster.name.clone())),
        ("ROLE", false, |_, cluster| (cluster.role != Role::Backend).then(|| cluster.role.to_string())),
        ("MODEL", false, |_, cluster| (!cluster.models.is_empty()).then(|| cluster.models.join(","))),
        ("SPLIT", false, |_, cluster| cluster.split.clone()),
        ("CONFIGURED AS", false, |_, cluster| cluster.cluster.clone()),
        ("SERVICE", false, |backend, _| backend.service.as_ref().map(ToString::to_string)),
        ("HOST", false, |backend, _| backend.host.clone()),
    ];
    let mut shown = Vec::new();
    for (name, always, cell) in columns {
        let cells: Vec<_> = lines.iter().map(|(backend, cluster)| cell(backend, cluster)).collect();
        if always || cells.iter().any(Option::is_some) {
            shown.push((name, cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned())).collect()));
        }
    }
    aligned(&shown)
}

/// Columns of the same length with their names above them, as wide as their widest cell.
fn aligned(columns: &[(&str, Vec<String>)]) -> String {
    let lines = columns.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0);
    let mut table = vec![String::new(); lines + 1];
    for (name, cells) in columns {
        let cells = || std::iter::once(*name).chain(cells.iter().map(String::as_str));
        let width = cells().map(|cell| cell.chars().count()).max().unwrap_or(0);
        for (line, cell) in table.iter_mut().zip(cells()) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{cell:<width$}   ");
        }
    }
    table.iter().fold(String::new(), |all, line| all + line.trim_end() + "\n")
}

type Cell = fn(&BackendClusters, &ClusterEntry) -> Option<String>;

impl fmt::Display for ServicePortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests;
