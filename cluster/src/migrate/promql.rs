//! PromQL on Envoy's statistics of clusters, in the forms that people write for KEDA.

use std::{str::FromStr, time::Duration};

use crate::route_kinds::RouteKind;

/// What Tidegate measures in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measured {
    Requests,
    InFlight,
    Connections,
}

/// A query that is a multiple of what Tidegate measures.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EnvoyQuery {
    pub(super) measured: Measured,
    /// The value that the query has at 1 request/s, or at 1 request or connection
    pub(super) factor: f64,
    /// The value of `envoy_cluster_name`
    pub(super) cluster: String,
    /// The time over which it averages, if it does
    pub(super) over: Option<Duration>,
}

/// Metrics of Envoy distinguished only by their cluster, and which Tidegate measures: a counter, or a gauge.
const METRICS: [(&str, Measured); 7] = [
    ("envoy_cluster_upstream_rq_total", Measured::Requests),
    ("envoy_cluster_upstream_rq_completed", Measured::Requests),
    ("envoy_cluster_upstream_rq_xx", Measured::Requests),
    ("envoy_cluster_upstream_rq", Measured::Requests),
    ("envoy_cluster_external_upstream_rq_completed", Measured::Requests),
    ("envoy_cluster_upstream_rq_active", Measured::InFlight),
    ("envoy_cluster_upstream_cx_active", Measured::Connections),
];
/// Labels that choose the scrape, and not a part of the traffic.
const OF_SCRAPE: [&str; 7] = ["job", "namespace", "container", "endpoint", "service", "cluster", "app"];
const CLUSTER: &str = "envoy_cluster_name";
/// Deepest nesting that is read.
const DEEPEST: usize = 16;

/// Reads a query. The error says why it is not one on a cluster of Envoy Gateway's.
pub(super) fn parse(query: &str) -> Result<EnvoyQuery, String> {
    if !query.contains("envoy_cluster_") {
        return Err("its query is not on Envoy's clusters".to_owned());
    }
    let mut parser = Parser { rest: query.trim(), depth: 0 };
    let found = parser.product()?;
    parser.or_zero();
    if !parser.rest.is_empty() {
        return Err(format!("of its query only sums and rates are read, not \"{}\"", shortened(parser.rest)));
    }
    if !(found.factor.is_finite() && found.factor > 0.0) {
        return Err("its query has a factor that is not above 0".to_owned());
    }
    Ok(found)
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn takes(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        self.rest = rest.trim_start();
        true
    }

    fn wants(&mut self, token: &str) -> Result<(), String> {
        if self.takes(token) {
            return Ok(());
        }
        Err(format!(
            "of its query only sums and rates are read; \"{token}\" is expected before \"{}\"",
            shortened(self.rest)
        ))
    }

    /// Takes characters while `is` says so.
    fn while_is(&mut self, is: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !is(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        taken
    }

    fn word(&mut self) -> &'a str {
        self.while_is(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    }

    fn number(&mut self) -> Result<f64, String> {
        let text = self.while_is(|c| c.is_ascii_digit() || c == '.');
        f64::from_str(text).map_err(|_| {
            format!("of its query only factors that are numbers are read, not \"{}\"", shortened(self.rest))
        })
    }

    /// `sum(…) * 60 / 2`, or with the number in front.
    fn product(&mut self) -> Result<EnvoyQuery, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("its query is nested too deeply".to_owned());
        }
        let in_front = if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            let number = self.number()?;
            self.wants("*")?;
            number
        } else {
            1.0
        };
        let mut found = self.term()?;
        found.factor *= in_front;
        loop {
            if self.takes("*") {
                found.factor *= self.number()?;
            } else if self.takes("/") {
                found.factor /= self.number()?;
            } else {
                self.depth -= 1;
                return Ok(found);
            }
        }
    }

    fn term(&mut self) -> Result<EnvoyQuery, String> {
        if self.takes("(") {
            let found = self.product()?;
            return self.wants(")").map(|()| found);
        }
        match self.word() {
            "sum" => self.sum(),
            "rate" | "irate" => self.over_time(|_| 1.0, true),
            "increase" => self.over_time(|seconds| seconds, true),
            "avg_over_time" => self.over_time(|_| 1.0, false),
            metric => {
                let found = self.selector(metric)?;
                if found.measured == Measured::Requests {
                    return Err(format!("its query counts {metric} since the start of Envoy: a rate is expected"));
                }
                Ok(found)
            }
        }
    }

    fn sum(&mut self) -> Result<EnvoyQuery, String> {
        let mut grouped = self.by()?;
        self.wants("(")?;
        let found = self.product()?;
        self.or_zero();
        self.wants(")")?;
        grouped |= self.by()?;
        if grouped && is_pattern(&found.cluster) {
            return Err("its query has one value per cluster, of which KEDA takes none".to_owned());
        }
        Ok(found)
    }

    /// `by (envoy_cluster_name)`: as good as nothing where it is one cluster.
    fn by(&mut self) -> Result<bool, String> {
        if !self.takes("by") {
            return Ok(false);
        }
        self.wants("(")?;
        let labels = self.while_is(|c| c != ')').trim();
        self.wants(")")?;
        if labels.is_empty() || labels == CLUSTER {
            return Ok(!labels.is_empty());
        }
        Err(format!("its query is a sum by \"{}\"", shortened(labels)))
    }

    fn over_time(&mut self, factor: impl Fn(f64) -> f64, of_counter: bool) -> Result<EnvoyQuery, String> {
        self.wants("(")?;
        let metric = self.word();
        let found = self.selector(metric)?;
        self.wants("[")?;
        let text = self.while_is(|c| c != ']').trim();
        self.wants("]")?;
        self.wants(")")?;
        let time =
            humantime::parse_duration(text).map_err(|_| format!("its query has the range \"{}\"", shortened(text)))?;
        if of_counter != (found.measured == Measured::Requests) {
            let wanted = if of_counter { "a gauge, which has no rate" } else { "a counter, which has no average" };
            return Err(format!("{metric} in its query is {wanted}"));
        }
        Ok(EnvoyQuery { factor: factor(time.as_secs_f64()), over: Some(time), ..found })
    }

    /// `{envoy_cluster_name="…"}`.
    fn selector(&mut self, metric: &str) -> Result<EnvoyQuery, String> {
        let measured = METRICS.iter().find(|(name, _)| *name == metric).map(|(_, measured)| *measured);
        let measured = measured.ok_or_else(|| match metric {
            "" => format!("of its query only sums and rates are read, not \"{}\"", shortened(self.rest)),
            metric => format!("its query has {}, which Tidegate has no key for", shortened(metric)),
        })?;
        let mut cluster = None;
        self.wants("{").map_err(|_| format!("its query is on all clusters: {metric} has no {CLUSTER}"))?;
        while !self.takes("}") {
            let label = self.word();
            let operator = ["=~", "!=", "!~", "="].into_iter().find(|operator| self.takes(operator));
            let value = self.string()?;
            match (label, operator) {
                (CLUSTER, Some("=" | "=~")) => cluster = Some(value.to_owned()),
                (label, Some("=" | "=~")) if OF_SCRAPE.contains(&label) => {}
                _ => return Err(format!("its query counts only what \"{}\" chooses", shortened(label))),
            }
            if !self.takes(",") && !self.rest.starts_with('}') {
                self.wants("}")?;
            }
        }
        let cluster = cluster.ok_or_else(|| format!("its query is on all clusters: {metric} has no {CLUSTER}"))?;
        let named_after = cluster.trim_start_matches(['^', '(']).split_once('/').map(|(kind, _)| kind);
        if !named_after.is_some_and(is_route) {
            return Err(format!(
                "cluster \"{}\" is none of Envoy Gateway's, which are named after routes",
                shortened(&cluster)
            ));
        }
        Ok(EnvoyQuery { measured, factor: 1.0, cluster, over: None })
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = ['"', '\'', '`'].into_iter().find(|quote| self.rest.starts_with(*quote));
        let unread = || format!("a label of its query has no text in quotes at \"{}\"", shortened(self.rest));
        let (text, rest) = quote.and_then(|quote| self.rest.get(1..)?.split_once(quote)).ok_or_else(unread)?;
        self.rest = rest.trim_start();
        Ok(text)
    }

    /// `or vector(0)`, which KEDA's users add for a cluster without traffic.
    fn or_zero(&mut self) {
        for zero in ["or vector(0)", "or on() vector(0)", "OR vector(0)", "OR on() vector(0)"] {
            _ = self.takes(zero);
        }
    }
}

/// Whether Envoy Gateway's names of clusters begin with this.
fn is_route(kind: &str) -> bool {
    RouteKind::all().any(|route| route.kind.as_str().to_ascii_lowercase() == kind)
}

fn is_pattern(cluster: &str) -> bool {
    cluster.contains(['*', '|', '+', '(', '['])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = r#"{envoy_cluster_name="httproute/shop/api/rule/0"}"#;

    #[test]
    fn sums_and_rates_of_a_cluster_are_read_with_their_factor() {
        for (query, measured, factor) in [
            ("sum(rate(envoy_cluster_upstream_rq_totalN[2m]))", Measured::Requests, 1.0),
            ("sum by (envoy_cluster_name) (irate(envoy_cluster_upstream_rq_xxN[1m]))", Measured::Requests, 1.0),
            ("sum(rate(envoy_cluster_upstream_rq_completedN[1m])) by (envoy_cluster_name)", Measured::Requests, 1.0),
            ("sum(rate(envoy_cluster_upstream_rq_totalN[1m])) * 60", Measured::Requests, 60.0),
            ("60 * sum(rate(envoy_cluster_upstream_rq_totalN[1m]))", Measured::Requests, 60.0),
            ("sum(increase(envoy_cluster_upstream_rq_totalN[2m])) / 120", Measured::Requests, 1.0),
            ("sum(increase(envoy_cluster_upstream_rq_totalN[1m]))", Measured::Requests, 60.0),
            ("sum(rate(envoy_cluster_upstream_rq_totalN[1m])) or vector(0)", Measured::Requests, 1.0),
            ("sum( envoy_cluster_upstream_rq_activeN )", Measured::InFlight, 1.0),
            ("sum(avg_over_time(envoy_cluster_upstream_rq_activeN[30s]))", Measured::InFlight, 1.0),
            ("(sum(envoy_cluster_upstream_cx_activeN))", Measured::Connections, 1.0),
        ] {
            let found = parse(&query.replace('N', NAME)).unwrap();
            assert_eq!((found.measured, found.factor), (measured, factor), "{query}");
        }
        let scraped = r#"sum(rate(envoy_cluster_upstream_rq_total{job="envoy",envoy_cluster_name=~"httproute/shop/api/.*",}[1m]))"#;
        assert_eq!(parse(scraped).unwrap().cluster, "httproute/shop/api/.*");
    }

    #[test]
    fn what_tidegate_does_not_measure_is_refused_with_the_reason() {
        for (query, why) in [
            ("sum(rate(http_requests_total[1m]))", "not on Envoy's clusters"),
            ("sum(rate(envoy_cluster_upstream_rq_total[1m]))", "on all clusters"),
            ("sum(envoy_cluster_upstream_rq_totalN)", "a rate is expected"),
            ("sum(rate(envoy_cluster_upstream_rq_activeN[1m]))", "a gauge"),
            ("max(rate(envoy_cluster_upstream_rq_totalN[1m]))", "max, which Tidegate has no key for"),
            ("histogram_quantile(0.9, rate(envoy_cluster_upstream_rq_time_bucketN[1m]))", "histogram_quantile"),
            (
                r#"sum(rate(envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="httproute/a/b"}[1m]))"#,
                "envoy_response_code_class",
            ),
            (
                r#"sum(rate(envoy_cluster_upstream_rq_total{envoy_cluster_name="outbound|80||api"}[1m]))"#,
                "none of Envoy Gateway's",
            ),
            ("sum(rate(envoy_cluster_upstream_rq_totalN[1m])) + 1", "only sums and rates are read, not \"+ 1\""),
            ("sum(rate(envoy_cluster_upstream_rq_totalN[soon]))", "the range \"soon\""),
            ("sum(rate(envoy_cluster_upstream_rq_totalN[1m])) * 0", "a factor"),
        ] {
            let refused = parse(&query.replace('N', NAME)).unwrap_err();
            assert!(refused.contains(why), "{query}: {refused}");
        }
    }

    #[test]
    fn a_query_that_is_nested_too_deeply_is_refused() {
        let query = "(".repeat(100_000) + "envoy_cluster_";
        assert_eq!(parse(&query), Err("its query is nested too deeply".to_owned()));
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(
            parts in prop::collection::vec(prop_oneof![
                Just("sum"), Just("rate"), Just("("), Just(")"), Just("by"), Just("envoy_cluster_upstream_rq_total"), Just("{"), Just("}"),
                Just("envoy_cluster_name"), Just("=~"), Just("\"httproute/ä\""), Just("\""), Just("["), Just("1m"), Just("]"), Just("*"),
                Just("/"), Just("60"), Just(","), Just(" "), Just("ß"),
            ], 0..40),
            text in "\\PC{0,40}",
        ) {
            _ = (parse(&parts.concat()), parse(&format!("envoy_cluster_{text}")));
        }
    }
}
