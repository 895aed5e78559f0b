//! All signals of all clusters in one query, with the same meaning as on the proxies themselves.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
};

use prometheus_http_query::response::Data;
use tidegate_core::plan::Proxy;

use super::client::Answer;
use crate::store::{ClusterValues, Series};

/// The metrics that are queried: the end of the name, whether it is a counter, and the signal that it adds to.
const METRICS: [(&str, Kind); 9] = [
    ("rq_total", Kind::Demand(1.0)),
    ("rq_active_overflow", Kind::Demand(1.0)),
    ("rq_pending_overflow", Kind::Demand(1.0)),
    ("rq_pending_failure_eject", Kind::Demand(1.0)),
    ("cx_none_healthy", Kind::Demand(1.0)),
    ("rq_retry", Kind::Demand(-1.0)),
    ("rq_active", Kind::InFlight),
    ("rq_pending_active", Kind::InFlight),
    ("cx_active", Kind::Connections),
];

/// The long window and the short one, as on the proxies. A Prometheus that scrapes every 15 s fills the long one only.
const WINDOWS: [&str; 2] = ["30s", "6s"];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// A counter, and the factor with which it is added
    Demand(f64),
    InFlight,
    Connections,
}

impl Kind {
    fn over_time(self) -> &'static str {
        if matches!(self, Self::Demand(_)) { "rate" } else { "avg_over_time" }
    }
}

/// The query. It gives one row for each cluster, metric and window: `{envoy_cluster_name, part="rq_total:30s"}`. The rows are
/// combined here, so that a missing series spoils nothing. Beside them:
/// - `part="there"` for each cluster that has endpoints on some proxy: it may be idle, and one without this row and
///   without traffic is unknown;
/// - `part="counters"` and `part="rates"` with the number of proxies that show the cluster's counter, and that have a
///   rate of it: after a failed scrape there are more of the former, and the sum of the rates is too low;
/// - `{instance, pod, part="proxy"}` for each proxy with samples of [`SENTINEL`], and `part="rated"` for each with a rate of it:
///   without them a Prometheus that cannot reach the proxies would look like no traffic.
pub(super) fn query(series: &Series, proxies: &[Proxy]) -> String {
    let mut query = String::new();
    let mut part = |aggregation: &str, expression: &str, part: &str| {
        // Writing to a string does not fail.
        let _ = write!(query, "label_replace({aggregation} ({expression}), \"part\", \"{part}\", \"\", \"\")\nor ");
    };
    let mut of_clusters = |aggregation: &str, function: &str, metric: &str, window: &str, end: &str, name: &str| {
        let expression = format!("{function}(envoy_cluster_{metric}[{window}]){end}");
        part(&format!("{aggregation} by (envoy_cluster_name)"), &expression, name);
        if series.has_dots() {
            let expression = format!("{function}({}[{window}:1s]){end}", with_dots(metric));
            part(&format!("{aggregation} by (envoy_cluster_name, rest)"), &expression, name);
        }
    };
    for (metric, kind) in METRICS {
        for window in WINDOWS {
            let name = format!("{metric}:{window}");
            of_clusters("sum", kind.over_time(), &format!("upstream_{metric}"), window, "", &name);
        }
    }
    let long = WINDOWS[0];
    of_clusters("group", "max_over_time", "membership_total", long, " > 0", "there");
    of_clusters("count", "count_over_time", "upstream_rq_total", long, "", "counters");
    of_clusters("count", "rate", "upstream_rq_total", long, "", "rates");
    query.push_str(&of_proxies("count_over_time", proxies, "proxy"));
    query.push_str("\nor ");
    query.push_str(&of_proxies("rate", proxies, "rated"));
    query
}

/// Selects the metrics of clusters whose names have dots: the rest of the cluster's name is in the metric's (see [`Series`]).
/// `rate` drops a metric's name, so the rest is put into a label first; that works only on an instant vector, hence the
/// subqueries.
fn with_dots(metric: &str) -> String {
    format!(
        "label_replace({{__name__=~\"envoy_cluster_.+_{metric}\"}}, \"rest\", \"$1\", \"__name__\", \
         \"envoy_cluster_(.+)_{metric}\")"
    )
}

/// Envoy Gateway's own cluster, which counts each scrape of a proxy. It goes through the same relabelling as the counters of the
/// workloads' clusters; `envoy_server_live` would survive a rule that drops those.
const SENTINEL: &str = r#"envoy_cluster_upstream_rq_total{envoy_cluster_name="prometheus_stats"}"#;

/// Query for the proxies that have [`SENTINEL`] in Prometheus, by the labels that a PodMonitor or a scrape configuration adds.
fn of_proxies(function: &str, proxies: &[Proxy], part: &str) -> String {
    let having = |matcher: &str| {
        let selector = SENTINEL.replace('}', &format!("{matcher}}}"));
        format!("{function}({selector}[{}])", WINDOWS[0])
    };
    let alternatives = |of: fn(&Proxy) -> String| {
        let names: Vec<String> = proxies.iter().map(|proxy| literal(&of(proxy))).collect();
        names.join("|")
    };
    let found = if proxies.is_empty() {
        having("")
    } else {
        let instances = alternatives(|proxy| proxy.stats.to_string());
        let pods = alternatives(|proxy| pod(proxy).to_owned());
        let of_instances = having(&format!(",instance=~\"{instances}\""));
        format!("{of_instances} or {}", having(&format!(",pod=~\"{pods}\"")))
    };
    format!("label_replace(group by (instance, pod) ({found}), \"part\", \"{part}\", \"\", \"\")")
}

/// The pod of a proxy, which is named by namespace and pod.
fn pod(proxy: &Proxy) -> &str {
    proxy.name.rsplit('/').next().unwrap_or(&proxy.name)
}

/// Escapes a text for a regular expression within a PromQL string.
fn literal(text: &str) -> String {
    text.chars()
        .flat_map(|c| (!c.is_ascii_alphanumeric()).then_some("\\\\").into_iter().flat_map(str::chars).chain([c]))
        .collect()
}

/// Combines the rows. A cluster that no proxy shows has no value: it is unknown. A cluster whose rate is not complete now is
/// `None`, unless a proxy or a part of the answer is missing: then all values are lower bounds anyway.
pub(super) fn values(answer: &Answer, proxies: &[Proxy]) -> Result<ClusterValues, String> {
    let Data::Vector(rows) = &answer.data else {
        return Err("answered the query for clusters with something else than a vector".to_owned());
    };
    let mut found: HashMap<String, Parts> = HashMap::new();
    let (mut heard, mut rated) = (Heard::default(), Heard::default());
    for row in rows {
        let label = |name: &str| row.metric().get(name).map_or("", String::as_str);
        match label("part") {
            "proxy" => heard.add(label("instance"), label("pod")),
            "rated" => rated.add(label("instance"), label("pod")),
            _ if label("envoy_cluster_name").is_empty() => {}
            part => {
                let rest = label("rest");
                let dot = if rest.is_empty() { "" } else { "." };
                let series = format!("{}{dot}{rest}", label("envoy_cluster_name"));
                found.entry(series).or_default().add(part, row.sample().value());
            }
        }
    }
    if heard.0.is_empty() {
        return Err(format!(
            "knows of no proxy: it has no sample of {SENTINEL} in the last 30 s. Check that it scrapes the proxies, and that \
             neither relabelling nor telemetry.metrics.matches of the EnvoyProxy drops envoy_cluster_upstream_*"
        ));
    }
    let missing = answer.partial.clone().or_else(|| missing(&heard, &rated, proxies));
    let values = found
        .into_iter()
        .filter(|(_, parts)| parts.is_shown())
        .map(|(series, parts)| (series, parts.values(missing.is_some())))
        .collect();
    Ok(ClusterValues { values, missing })
}

/// Proxies by the labels `instance` and `pod`.
#[derive(Debug, Default)]
struct Heard<'a>(HashSet<(&'a str, &'a str)>);

impl<'a> Heard<'a> {
    fn add(&mut self, instance: &'a str, pod: &'a str) {
        self.0.insert((instance, pod));
    }

    fn has(&self, proxy: &Proxy) -> bool {
        let stats = proxy.stats.to_string();
        self.0.iter().any(|(instance, name)| *instance == stats || *name == pod(proxy))
    }
}

/// Why proxies are missing from the answer, if any are. When the Plan names no proxies, all that Prometheus has samples of must
/// have a rate.
fn missing(heard: &Heard, rated: &Heard, proxies: &[Proxy]) -> Option<String> {
    if proxies.is_empty() {
        let (instance, pod) = heard.0.difference(&rated.0).min()?;
        return Some(format!(
            "Prometheus has no rate of {SENTINEL} of instance=\"{instance}\", pod=\"{pod}\" over 30 s: a scrape failed, or it \
             scrapes less often than every 15 s"
        ));
    }
    let silent: Vec<_> = proxies.iter().filter(|proxy| proxy.ready && !rated.has(proxy)).collect();
    let first = silent.first()?;
    let (count, name, stats) = (silent.len(), &first.name, first.stats);
    let what = if count == 1 { "proxy" } else { "proxies" };
    let why = if heard.has(first) {
        "a scrape failed, or it scrapes less often than every 15 s".to_owned()
    } else {
        format!(
            "it must scrape them at least every 15 s, keep the label instance=\"{stats}\" or pod=\"{}\", and neither relabelling \
             nor telemetry.metrics.matches of the EnvoyProxy may drop envoy_cluster_upstream_*",
            pod(first)
        )
    };
    Some(format!("Prometheus has no rate of {SENTINEL} over 30 s of {count} ready {what}, such as {name}: {why}"))
}

/// The rows of one cluster.
#[derive(Debug, Default)]
struct Parts {
    /// Whether it has endpoints on some proxy
    there: bool,
    /// Whether a number came that no Envoy can have
    absurd: bool,
    /// The number of proxies with its counter of requests, and with a rate of that
    counters: f64,
    rates: f64,
    /// Requests/s, in flight and connections, over the long window and the short one
    windows: [[f64; 3]; 2],
}

impl Parts {
    fn add(&mut self, part: &str, value: f64) {
        if !value.is_finite() || value < 0.0 {
            self.absurd = true;
            return;
        }
        match part {
            "there" => self.there = true,
            "counters" => self.counters += value,
            "rates" => self.rates += value,
            _ => self.add_metric(part, value),
        }
    }

    fn add_metric(&mut self, part: &str, value: f64) {
        let Some((metric, window)) = part.split_once(':') else { return };
        let kind = METRICS.iter().find(|(name, _)| *name == metric);
        let window = WINDOWS.iter().position(|name| *name == window);
        let (Some((_, kind)), Some(window)) = (kind, window) else { return };
        let values = &mut self.windows[window];
        match kind {
            Kind::Demand(sign) => values[0] += sign * value,
            Kind::InFlight => values[1] += value,
            Kind::Connections => values[2] += value,
        }
    }

    /// Whether any proxy shows the cluster. Counters that do not move prove nothing: only endpoints make a cluster idle.
    fn is_shown(&self) -> bool {
        let carries = self.windows.as_flattened().iter().any(|value| *value != 0.0);
        self.there || self.absurd || carries || self.rates < self.counters
    }

    /// The value of each signal. `None` when a number is absurd, when proxies show the counter and none has a rate of it, or,
    /// unless the sum is a lower bound anyway, when one of them has none.
    fn values(&self, is_lower_bound: bool) -> Option<[f64; 3]> {
        let is_rated = self.rates >= self.counters || (is_lower_bound && self.rates > 0.0);
        let [long, short] = self.windows;
        let value = |signal: usize| if short[signal] >= 2.0 * long[signal] { short[signal] } else { long[signal] };
        (is_rated && !self.absurd).then(|| [value(0).max(0.0), value(1), value(2)])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const RULE: &str = "httproute/shop/web/rule/0";

    fn cluster(part: &str, value: &str) -> Value {
        json!({"metric": {"envoy_cluster_name": RULE, "part": part}, "value": [1.0, value]})
    }

    fn proxy(part: &str, pod: &str) -> Value {
        json!({"metric": {"pod": pod, "part": part}, "value": [1.0, "1"]})
    }

    fn told(rows: &[Value]) -> Result<ClusterValues, String> {
        let data = json!({"resultType": "vector", "result": rows});
        values(&Answer { data: serde_json::from_value(data).unwrap(), partial: None }, &[])
    }

    /// The values with one proxy, for which nothing is missing.
    fn of_one_proxy(rows: &[Value]) -> HashMap<String, Option<[f64; 3]>> {
        let told = told(&[&[proxy("proxy", "a"), proxy("rated", "a")], rows].concat()).unwrap();
        assert_eq!(told.missing, None);
        told.values
    }

    #[test]
    fn a_cluster_with_endpoints_and_without_traffic_is_idle() {
        assert_eq!(of_one_proxy(&[cluster("there", "1")]).get(RULE), Some(&Some([0.0; 3])));
    }

    #[test]
    fn a_cluster_that_no_proxy_shows_is_unknown() {
        assert_eq!(of_one_proxy(&[]).get(RULE), None);
    }

    #[test]
    fn counters_that_stand_still_without_endpoints_are_unknown() {
        let rows = [cluster("rq_total:30s", "0"), cluster("counters", "1"), cluster("rates", "1")];
        assert_eq!(of_one_proxy(&rows).get(RULE), None);
    }

    #[test]
    fn traffic_counts_where_membership_is_not_kept() {
        let rows = [cluster("rq_total:30s", "7"), cluster("counters", "1"), cluster("rates", "1")];
        assert_eq!(of_one_proxy(&rows).get(RULE), Some(&Some([7.0, 0.0, 0.0])));
    }

    #[test]
    fn one_failed_scrape_of_the_only_proxy_holds() {
        let rows =
            [proxy("proxy", "a"), cluster("there", "1"), cluster("counters", "1"), cluster("rq_active:30s", "3")];
        let told = told(&rows).unwrap();
        assert_eq!(told.values.get(RULE), Some(&None));
        let missing = told.missing.unwrap();
        assert!(missing.contains("pod=\"a\"") && missing.contains("a scrape failed"), "{missing}");
    }

    #[test]
    fn a_failed_scrape_of_one_of_two_proxies_makes_the_sum_a_lower_bound() {
        let proxies = [proxy("proxy", "a"), proxy("proxy", "b"), proxy("rated", "a")];
        let rows = [cluster("counters", "2"), cluster("rates", "1"), cluster("rq_total:30s", "500")];
        let told = told(&[&proxies[..], &rows].concat()).unwrap();
        assert_eq!(told.values.get(RULE), Some(&Some([500.0, 0.0, 0.0])));
        assert!(told.missing.is_some_and(|missing| missing.contains("pod=\"b\"")));
    }

    #[test]
    fn a_cluster_without_a_rate_on_one_proxy_holds_by_itself() {
        let rows = [cluster("counters", "2"), cluster("rates", "1"), cluster("rq_total:30s", "500")];
        assert_eq!(of_one_proxy(&rows).get(RULE), Some(&None));
    }

    #[test]
    fn numbers_that_no_envoy_can_have_hold() {
        for number in ["NaN", "+Inf", "-1"] {
            let rows = [cluster("there", "1"), cluster("rq_total:30s", number)];
            assert_eq!(of_one_proxy(&rows).get(RULE), Some(&None), "{number}");
        }
    }

    #[test]
    fn counters_that_relabelling_drops_are_an_error_that_says_what_to_check() {
        let error = told(&[cluster("there", "1")]).unwrap_err();
        assert!(error.contains("prometheus_stats") && error.contains("telemetry.metrics.matches"), "{error}");
    }
}
