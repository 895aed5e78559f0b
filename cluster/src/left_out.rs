//! Statistics that Tidegate reads and that an EnvoyProxy keeps proxies from exporting.
//!
//! `telemetry.metrics.matches` becomes Envoy's inclusion list: a statistic that none of its patterns matches does not exist.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use regex::bytes::{Regex, RegexBuilder};
use tidegate_core::{fleet::EnvoyProxyId, plan::Plan};

use super::{
    Objects,
    discovery::{self, Front},
    views::StatMatch,
};

/// Pattern for all cluster statistics that are read. It has no backslash, since Envoy Gateway escapes those once more in the bootstrap.
pub const MATCH_CLUSTERS: &str = "cluster[.].+[.](membership_total|upstream_(cx_(active|none_healthy)|\
    rq_(total|retry|active|active_overflow|pending_(active|overflow|failure_eject))))";
/// Pattern for all listener statistics that are read.
pub const MATCH_LISTENERS: &str =
    "(http[.]https?-.+[.]downstream_rq_(total|active)|listener[.].+[.]downstream_cx_active)";

/// Cluster statistics that are read: `cluster.NAME.upstream_rq_total`.
const OF_CLUSTERS: [&str; 10] = [
    "upstream_rq_total",
    "upstream_rq_retry",
    "upstream_rq_active",
    "upstream_rq_pending_active",
    "upstream_rq_active_overflow",
    "upstream_rq_pending_overflow",
    "upstream_rq_pending_failure_eject",
    "upstream_cx_none_healthy",
    "upstream_cx_active",
    "membership_total",
];
/// Listener statistics that are read for annotated Gateways, with two example names each: some Gateways have only one of the two.
const OF_LISTENERS: [(&str, [&str; 2]); 3] = [
    ("downstream_rq_total", ["http.http-10080.downstream_rq_total", "http.https-10443.downstream_rq_total"]),
    ("downstream_rq_active", ["http.http-10080.downstream_rq_active", "http.https-10443.downstream_rq_active"]),
    (
        "downstream_cx_active",
        ["listener.0.0.0.0_10080.downstream_cx_active", "listener.0.0.0.0_10443.downstream_cx_active"],
    ),
];
/// Cluster to check when no workload has one.
const EXAMPLE: &str = "httproute/default/task-route/rule/0";

/// Maximum number of clusters that are checked per EnvoyProxy.
const MAX_CLUSTERS: usize = 100;
/// Limits per EnvoyProxy: number of regular expressions, length of one in bytes, and size of one when compiled.
const MAX_REGEXES: usize = 32;
const LONGEST_REGEX: usize = 1000;
const MAX_COMPILED: usize = 1 << 16;

/// An EnvoyProxy that keeps statistics from Tidegate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The EnvoyProxy
    pub envoy_proxy: EnvoyProxyId,
    /// Its `metadata.uid`
    pub uid: String,
    /// The missing statistics
    pub missing: Missing,
}

/// Statistics of a proxy that Tidegate misses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Missing {
    /// `telemetry.metrics.prometheus.disable`: the page of statistics
    Page,
    /// `telemetry.metrics.matches`: some statistics
    Statistics(LeftOutStatistics),
}

/// Statistics that no pattern matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeftOutStatistics {
    /// Last parts of the names of cluster statistics: `upstream_rq_total`
    pub of_clusters: Vec<&'static str>,
    /// The same for listener statistics: `downstream_rq_total`
    pub of_listeners: Vec<&'static str>,
    /// The full name of one of them
    pub example: String,
    /// Regular expressions that cannot be read, and are assumed to match nothing
    pub unreadable: Vec<String>,
}

impl Objects {
    /// The EnvoyProxies of Envoy Gateway's Gateways that keep proxies from exporting statistics that are read. `scraped`: the
    /// proxies' own page of statistics is read, by Tidegate or a Prometheus.
    pub fn left_out(&self, plan: &Plan, scraped: bool) -> Vec<LeftOut> {
        left_out(self, plan, scraped)
    }
}

/// Every EnvoyProxy in use that leaves out statistics.
fn left_out(objects: &Objects, plan: &Plan, scraped: bool) -> Vec<LeftOut> {
    let mut all = objects.envoy_proxies.values().flat_map(BTreeMap::values).map(|object| &object.spec);
    if !all.any(|spec| spec.serves_no_page() || !spec.stat_matches().is_empty()) {
        return Vec::new();
    }
    let clusters = Clusters::of(plan);
    let mut found = BTreeMap::new();
    for front in discovery::fronts(objects) {
        let Some(id) = front.envoy_proxy.filter(|id| !found.contains_key(id)) else { continue };
        if let Some(missing) = missing(&front, plan, &clusters, scraped) {
            found.insert(id, missing);
        }
    }
    let left_out = |((namespace, name), missing): ((&str, &str), Missing)| {
        let uid = objects.envoy_proxies.get(namespace)?.get(name)?.metadata.uid.clone();
        let envoy_proxy = EnvoyProxyId { namespace: namespace.to_owned(), name: name.to_owned() };
        Some(LeftOut { envoy_proxy, uid, missing })
    };
    found.into_iter().filter_map(left_out).collect()
}

fn missing(front: &Front<'_>, plan: &Plan, clusters: &Clusters<'_>, scraped: bool) -> Option<Missing> {
    if scraped && front.spec.serves_no_page() {
        return Some(Missing::Page);
    }
    let series = front.series();
    let scales = plan.fleets.iter().any(|fleet| fleet.series.contains(&series));
    statistics(front.spec.stat_matches(), &clusters.behind(&series), scales).map(Missing::Statistics)
}

/// The clusters that workloads are scaled on, by the set of proxies that carries them.
struct Clusters<'a>(HashMap<&'a Arc<str>, BTreeSet<&'a str>>);

impl<'a> Clusters<'a> {
    fn of(plan: &'a Plan) -> Self {
        let mut clusters = HashMap::<_, BTreeSet<_>>::new();
        for share in plan.workloads.values().flat_map(|workload| &workload.traffic) {
            for fleet in share.fleets.iter() {
                clusters.entry(fleet).or_default().insert(share.cluster.as_ref());
            }
        }
        Self(clusters)
    }

    fn behind(&self, series: &Arc<str>) -> Vec<&'a str> {
        let known = self.0.get(series).into_iter().flatten().copied();
        let tried: Vec<_> = known.take(MAX_CLUSTERS).collect();
        if tried.is_empty() { vec![EXAMPLE] } else { tried }
    }
}

/// The statistics of these clusters, and of listeners if they are read, that an inclusion list leaves out. An empty list leaves out
/// nothing.
fn statistics(matches: &[StatMatch], clusters: &[&str], listeners: bool) -> Option<LeftOutStatistics> {
    if matches.is_empty() {
        return None;
    }
    let list = InclusionList::of(matches);
    let of_cluster = |last: &&'static str| {
        // In names of statistics, Envoy replaces the colons of a cluster's name by underscores.
        let mut names = clusters.iter().map(|cluster| format!("cluster.{}.{last}", cluster.replace(':', "_")));
        names.find(|name| !list.includes(name)).map(|name| (*last, name))
    };
    let of_clusters: Vec<_> = OF_CLUSTERS.iter().filter_map(of_cluster).collect();
    let unseen = OF_LISTENERS.iter().filter(|(_, names)| listeners && !names.iter().any(|name| list.includes(name)));
    let of_listeners: Vec<_> = unseen.map(|(last, [name, _])| (*last, (*name).to_owned())).collect();
    let (_, example) = of_clusters.iter().chain(&of_listeners).next()?.clone();
    let lasts = |found: Vec<(&'static str, String)>| found.into_iter().map(|(last, _)| last).collect();
    Some(LeftOutStatistics {
        of_clusters: lasts(of_clusters),
        of_listeners: lasts(of_listeners),
        example,
        unreadable: list.unreadable,
    })
}

/// `telemetry.metrics.matches`, compiled.
struct InclusionList<'a> {
    plain: Vec<&'a StatMatch>,
    regexes: Vec<Regex>,
    unreadable: Vec<String>,
}

impl<'a> InclusionList<'a> {
    fn of(matches: &'a [StatMatch]) -> Self {
        let (of_regexes, plain): (Vec<_>, Vec<_>) =
            matches.iter().partition(|pattern| pattern.kind() == "RegularExpression");
        let mut list = Self { plain, regexes: Vec::new(), unreadable: Vec::new() };
        for (i, pattern) in of_regexes.into_iter().enumerate() {
            match whole(&pattern.value).filter(|_| i < MAX_REGEXES) {
                Some(regex) => list.regexes.push(regex),
                None => list.unreadable.push(pattern.value.clone()),
            }
        }
        list
    }

    fn includes(&self, name: &str) -> bool {
        self.plain.iter().any(|pattern| is_match(pattern, name))
            || self.regexes.iter().any(|regex| regex.is_match(name.as_bytes()))
    }
}

fn is_match(pattern: &StatMatch, name: &str) -> bool {
    match pattern.kind() {
        "Exact" => name == pattern.value,
        "Prefix" => name.starts_with(&pattern.value),
        "Suffix" => name.ends_with(&pattern.value),
        _ => false,
    }
}

/// The expression anchored at both ends, as Envoy's `safe_regex` matches.
fn whole(pattern: &str) -> Option<Regex> {
    if pattern.len() > LONGEST_REGEX {
        return None;
    }
    let build = |pattern: &str| RegexBuilder::new(pattern).unicode(false).size_limit(MAX_COMPILED).build().ok();
    // It must also compile by itself: `a)|(b` is an expression only in parentheses.
    build(pattern)?;
    build(&format!("^(?:{pattern})$"))
}

#[cfg(test)]
mod tests;
