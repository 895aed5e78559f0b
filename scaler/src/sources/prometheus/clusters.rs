//! All signals of all clusters in one query, with the same meaning as on the proxies themselves.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
};

use prometheus_http_query::response::Data;
use tidegate_core::plan::Proxy;

use crate::signals::{ClusterValues, Series};

/// What is asked for: the metric's end, whether it is a counter, and what it adds to.
const METRICS: [(&str, Kind); 7] = [
    ("rq_total", Kind::Demand(1.0)),
    ("rq_pending_overflow", Kind::Demand(1.0)),
    ("rq_pending_failure_eject", Kind::Demand(1.0)),
    ("rq_retry", Kind::Demand(-1.0)),
    ("rq_active", Kind::InFlight),
    ("rq_pending_active", Kind::InFlight),
    ("cx_active", Kind::Connections),
];

/// The long window and the short one, as on the proxies. A Prometheus that scrapes every 15 s fills the long one only.
const WINDOWS: [&str; 2] = ["30s", "6s"];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// A counter, and how it counts
    Demand(f64),
    InFlight,
    Connections,
}

impl Kind {
    fn over_time(self) -> &'static str {
        if matches!(self, Self::Demand(_)) { "rate" } else { "avg_over_time" }
    }
}

/// One row for each cluster, metric and window: `{envoy_cluster_name, part="rq_total:30s"}`, which are put together
/// here, so that a series that is not there spoils nothing. Beside them:
/// - `{envoy_cluster_name, part="seen"}` for each cluster that has counters, whether or not they have a rate yet: without
///   it a Prometheus that scrapes too seldom for a rate would look like no traffic;
/// - `{instance, pod, part="proxy"}` for each of these proxies that Prometheus hears of: without it a Prometheus that
///   cannot reach the proxies would look like no traffic, too.
pub(super) fn query(series: &Series, proxies: &[Proxy]) -> String {
    let mut query = String::new();
    let mut part = |by: &str, expression: &str, part: &str| {
        // Writing to a string does not fail.
        let _ = write!(query, "label_replace(sum by ({by}) ({expression}), \"part\", \"{part}\", \"\", \"\")\nor ");
    };
    for (metric, kind) in METRICS {
        for window in WINDOWS {
            let over_time = kind.over_time();
            let expression = format!("{over_time}(envoy_cluster_upstream_{metric}[{window}])");
            part("envoy_cluster_name", &expression, &format!("{metric}:{window}"));
            if series.has_dots() {
                let expression = format!("{over_time}({}[{window}:1s])", with_dots(metric));
                part("envoy_cluster_name, rest", &expression, &format!("{metric}:{window}"));
            }
        }
    }
    part("envoy_cluster_name", "envoy_cluster_upstream_rq_total", "seen");
    if series.has_dots() {
        part("envoy_cluster_name, rest", &with_dots("rq_total"), "seen");
    }
    query.push_str(&answering(proxies));
    query
}

/// The metrics of clusters whose names have dots have the rest of the name in their own (see [`Series`]). `rate` drops a
/// metric's name, so that the rest is put into a label first; that can only be done to an instant, hence the sub-queries.
fn with_dots(metric: &str) -> String {
    format!(
        "label_replace({{__name__=~\"envoy_cluster_.+_upstream_{metric}\"}}, \"rest\", \"$1\", \"__name__\", \
         \"envoy_cluster_(.+)_upstream_{metric}\")"
    )
}

/// The Envoys that Prometheus heard of in the last 30 s, by the labels that a PodMonitor or a scrape configuration gives.
fn answering(proxies: &[Proxy]) -> String {
    let heard = "count_over_time(envoy_server_live";
    let labels = "\"part\", \"proxy\", \"\", \"\"";
    if proxies.is_empty() {
        return format!("label_replace(count({heard}[30s])), {labels})");
    }
    let alternatives = |of: fn(&Proxy) -> String| {
        let names: Vec<String> = proxies.iter().map(|proxy| literal(&of(proxy))).collect();
        names.join("|")
    };
    let (instances, pods) =
        (alternatives(|proxy| proxy.stats.to_string()), alternatives(|proxy| pod(proxy).to_owned()));
    format!(
        "label_replace(group by (instance, pod) ({heard}{{instance=~\"{instances}\"}}[30s]) or \
         {heard}{{pod=~\"{pods}\"}}[30s])), {labels})"
    )
}

/// Proxies are named by namespace and pod.
fn pod(proxy: &Proxy) -> &str {
    proxy.name.rsplit('/').next().unwrap_or(&proxy.name)
}

/// As a regular expression within a PromQL string.
fn literal(text: &str) -> String {
    text.chars()
        .flat_map(|c| (!c.is_ascii_alphanumeric()).then_some("\\\\").into_iter().flat_map(str::chars).chain([c]))
        .collect()
}

/// Puts the rows together.
pub(super) fn values(answer: &Data, proxies: &[Proxy]) -> Result<ClusterValues, String> {
    let Data::Vector(rows) = answer else {
        return Err("answered the query for clusters with something else than a vector".to_owned());
    };
    let mut found: HashMap<String, Parts> = HashMap::new();
    let (mut heard, mut heard_of_any) = (HashSet::new(), false);
    for row in rows {
        let label = |name: &str| row.metric().get(name).map_or("", String::as_str);
        let value = row.sample().value();
        if label("part") == "proxy" {
            heard_of_any = true;
            heard.extend([label("instance"), label("pod")]);
        } else if !label("envoy_cluster_name").is_empty() && value.is_finite() {
            let rest = label("rest");
            let series = format!("{}{}{rest}", label("envoy_cluster_name"), if rest.is_empty() { "" } else { "." });
            found.entry(series).or_default().add(label("part"), value);
        }
    }
    if !heard_of_any {
        return Err("knows of no proxy: it has no sample of envoy_server_live in the last 30 s".to_owned());
    }
    let silent = proxies.iter().filter(|proxy| {
        proxy.ready && !heard.contains(proxy.stats.to_string().as_str()) && !heard.contains(pod(proxy))
    });
    let missing = missing(&silent.collect::<Vec<_>>());
    let values = found.into_iter().map(|(series, parts)| (series, parts.values())).collect();
    Ok(ClusterValues { values, missing })
}

fn missing(silent: &[&Proxy]) -> Option<String> {
    let first = silent.first()?;
    let (count, name, stats) = (silent.len(), &first.name, first.stats);
    Some(format!(
        "Prometheus has no envoy_server_live of {count} ready {}, such as {name}: it must scrape them at least every 15 s \
         and keep the label instance=\"{stats}\" or pod=\"{}\"",
        if count == 1 { "proxy" } else { "proxies" },
        pod(first)
    ))
}

/// The rows of one cluster.
#[derive(Debug, Default)]
struct Parts {
    seen: bool,
    has_rate: bool,
    /// Requests/s, in flight and connections, over the long window and the short one
    windows: [[f64; 3]; 2],
}

impl Parts {
    fn add(&mut self, part: &str, value: f64) {
        if part == "seen" {
            self.seen = true;
        }
        let Some((metric, window)) = part.split_once(':') else { return };
        let kind = METRICS.iter().find(|(name, _)| *name == metric);
        let window = WINDOWS.iter().position(|name| *name == window);
        let (Some((_, kind)), Some(window)) = (kind, window) else { return };
        let values = &mut self.windows[window];
        match kind {
            Kind::Demand(sign) => {
                values[0] += sign * value;
                self.has_rate |= metric == "rq_total" && window == 0;
            }
            Kind::InFlight => values[1] += value,
            Kind::Connections => values[2] += value,
        }
    }

    /// `None` when there is traffic, and no rate of it.
    fn values(&self) -> Option<[f64; 3]> {
        let [long, short] = self.windows;
        let value = |signal: usize| if short[signal] >= 2.0 * long[signal] { short[signal] } else { long[signal] };
        (self.has_rate || !self.seen).then(|| [value(0).max(0.0), value(1), value(2)])
    }
}
