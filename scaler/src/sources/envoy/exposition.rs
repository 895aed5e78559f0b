//! A parser for the few series of Envoy's Prometheus exposition that demand is computed from, a line at a time, without a copy.
//!
//! The format is Prometheus' text format 0.0.4. This is not a full parser of it: a proxy answers megabytes a second, of which
//! seven counters and gauges are wanted. Everything else is skipped, histograms included.

use memchr::{memchr, memchr2, memmem};

use super::Field;
use crate::store::{Counters, Sample, Series, Shows};

/// Why a page is not an Envoy's answer, although its status is 200.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// A page of HTML, for example
    #[error("something else than Prometheus metrics: {0}")]
    NotMetrics(String),
    /// No cluster, although each Envoy shows the one through which its own statistics are asked for
    #[error(
        "no statistics of any cluster, although the question itself is counted in one: not an Envoy of Envoy Gateway, or \
         spec.telemetry.metrics.matches of its EnvoyProxy leaves them out"
    )]
    NoClusters,
    /// A value that no Envoy can have
    #[error("a number that no Envoy can have: {0}")]
    NoNumber(String),
}

const CONNECTION_MANAGER: &[u8] = b"envoy_http_conn_manager_prefix";
const LISTENER: &[u8] = b"envoy_listener_address";
/// Ports of Envoy Gateway's own listeners on every proxy: statistics and readiness.
const OWN_PORTS: std::ops::RangeInclusive<u16> = 19_000..=19_003;

/// Longest line in bytes: a longer one is not a series of Envoy's.
const MAX_LINE: usize = 8192;
const NAME_LABEL: &[u8] = b"envoy_cluster_name";

/// A parser that takes chunks as they come from the network. How the bytes are cut into chunks makes no difference.
///
/// ```
/// use tidegate_scaler::{store::Series, sources::envoy::Parser};
///
/// let series = Series::of(["httproute/default/task-route/rule/0"]);
/// let mut parser = Parser::new(&series);
/// parser.feed(b"envoy_cluster_upstream_rq_total{envoy_cluster_name=\"httproute/default/");
/// parser.feed(b"task-route/rule/0\"} 5\n");
/// let sample = parser.finish()?;
/// assert_eq!(sample.clusters()[0].1.requests, 5.0);
/// # Ok::<(), tidegate_scaler::sources::envoy::PageError>(())
/// ```
pub struct Parser<'a> {
    series: &'a Series,
    /// The series for the traffic of the listeners, if that is kept
    fleet: Option<u32>,
    /// The start of a line whose end has not come yet
    partial: Vec<u8>,
    /// Whether the rest of this line is skipped because it is too long
    overlong: bool,
    /// The start of the last series that was read, up to the value of the label: most lines begin like the one before
    prefix: Vec<u8>,
    prefix_field: Field,
    /// The index in `found`, by id
    places: Vec<u32>,
    found: Vec<(u32, Counters)>,
    scratch: Vec<u8>,
    /// The signals that at least one cluster shows
    shows: Shows,
    shows_clusters: bool,
    shows_listeners: bool,
    problem: Option<PageError>,
}

const NOWHERE: u32 = u32::MAX;

impl<'a> Parser<'a> {
    /// A parser for these series.
    pub fn new(series: &'a Series) -> Self {
        Self {
            series,
            fleet: None,
            partial: Vec::new(),
            overlong: false,
            prefix: Vec::new(),
            prefix_field: Field::Requests,
            places: Vec::new(),
            found: Vec::new(),
            scratch: Vec::new(),
            shows: [false; 3],
            shows_clusters: false,
            shows_listeners: false,
            problem: None,
        }
    }

    /// Reads the traffic of the proxy's listeners too, as the series of this fleet, if that is kept.
    #[must_use]
    pub fn with_fleet(self, fleet: Option<&str>) -> Self {
        Self { fleet: fleet.and_then(|fleet| self.series.of_cluster(fleet)), ..self }
    }

    /// Parses the next bytes.
    pub fn feed(&mut self, mut chunk: &[u8]) {
        while let Some(end) = memchr(b'\n', chunk) {
            let (line, rest) = (&chunk[..end], &chunk[end + 1..]);
            chunk = rest;
            if self.overlong || self.partial.len() + line.len() > MAX_LINE {
                self.overlong = false;
                self.partial.clear();
            } else if self.partial.is_empty() {
                self.line(line);
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.line(&whole);
                whole.clear();
                self.partial = whole;
            }
        }
        if self.overlong || self.partial.len() + chunk.len() > MAX_LINE {
            self.overlong = true;
            self.partial.clear();
        } else {
            self.partial.extend_from_slice(chunk);
        }
    }

    /// Whether the last line has not ended. Envoy ends each line.
    pub fn is_mid_line(&self) -> bool {
        self.overlong || !self.partial.is_empty()
    }

    /// Returns the sample, or why this is not an Envoy's answer.
    pub fn finish(mut self) -> Result<Sample, PageError> {
        let last = std::mem::take(&mut self.partial);
        self.line(&last);
        if let Some(fleet) = self.fleet.filter(|_| self.shows_listeners) {
            // Listeners that were never used are not shown, and carry nothing.
            self.counters(fleet);
        }
        match self.problem {
            Some(problem) => Err(problem),
            None if !self.shows_clusters => Err(PageError::NoClusters),
            None => Ok(Sample::new(self.series, self.found).showing(self.shows)),
        }
    }

    fn line(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // `None` means another metric, or no series at all: nothing to read.
        if !self.prefix.is_empty() && line.starts_with(&self.prefix) {
            let _ = self.label_and_value(&line[self.prefix.len()..], self.prefix_field, None);
        } else if let Some(series) = line.strip_prefix(b"envoy_cluster_") {
            let _ = self.series_line(line, series);
        } else if let Some((fleet, (field, label))) = self.fleet.zip(listener_field(line)) {
            let _ = self.listener_line(line, fleet, field, label);
        } else if !is_exposition(line) {
            self.problem.get_or_insert_with(|| PageError::NotMetrics(excerpt(line)));
        }
    }

    /// Reads `upstream_rq_total{envoy_cluster_name="NAME"} 5`, where the rest of a name with dots may stand before `upstream_`.
    fn series_line(&mut self, line: &[u8], series: &[u8]) -> Option<()> {
        let brace = memchr(b'{', series)?;
        let (metric, labels) = (&series[..brace], &series[brace + 1..]);
        let (infix, field) = metric_field(metric)?;
        self.shows_clusters = true;
        if let Some(signal) = field.proves() {
            self.shows[signal] = true;
        }
        let Some(rest) = labels.strip_prefix(NAME_LABEL).and_then(|labels| labels.strip_prefix(b"=\"")) else {
            return self.any_labels(labels, field, infix);
        };
        if infix.is_none() {
            self.prefix.clear();
            self.prefix.extend_from_slice(&line[..line.len() - rest.len()]);
            self.prefix_field = field;
        }
        self.label_and_value(rest, field, infix)
    }

    /// Reads `NAME"} 5`: Envoy's own form, in which the name is the only label and has no escapes.
    fn label_and_value(&mut self, rest: &[u8], field: Field, infix: Option<&[u8]>) -> Option<()> {
        let end = memchr2(b'"', b'\\', rest)?;
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let done = match (&rest[end..], infix) {
            ([b'"', b'}', b' ', value @ ..], None) => self.add(self.id_of(&rest[..end]), field, value),
            ([b'"', b'}', b' ', value @ ..], Some(infix)) => {
                scratch.extend_from_slice(&rest[..end]);
                scratch.push(b'.');
                scratch.extend_from_slice(infix);
                self.add(self.id_of(&scratch), field, value)
            }
            // The slow way, from the start of the label.
            _ => {
                scratch.extend_from_slice(NAME_LABEL);
                scratch.extend_from_slice(b"=\"");
                scratch.extend_from_slice(rest);
                self.any_labels(&scratch, field, infix)
            }
        };
        self.scratch = scratch;
        done
    }

    /// Reads `a="x",envoy_cluster_name="NAME",b="y"} 5`. Series that differ only in other labels add up.
    fn any_labels(&mut self, labels: &[u8], field: Field, infix: Option<&[u8]>) -> Option<()> {
        let (mut series, value) = labelled(labels, NAME_LABEL)?;
        if let Some(infix) = infix {
            series.push(b'.');
            series.extend_from_slice(infix);
        }
        self.add(self.id_of(&series), field, value)
    }

    /// Reads `envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="http-10080"} 5`. Envoy Gateway names the connection
    /// managers of its Gateways' listeners by their ports, and its own in other ways.
    fn listener_line(&mut self, line: &[u8], fleet: u32, field: Field, label: &[u8]) -> Option<()> {
        self.shows_listeners |= label == CONNECTION_MANAGER;
        let labels = &line[memchr(b'{', line)? + 1..];
        let (name, value) = labelled(labels, label)?;
        let of_users = if label == LISTENER {
            let port = name.rsplit(|byte| *byte == b'_').next()?;
            !std::str::from_utf8(port).ok()?.parse().is_ok_and(|port| OWN_PORTS.contains(&port))
        } else {
            name.starts_with(b"http-") || name.starts_with(b"https-")
        };
        if of_users { self.add(Some(fleet), field, value) } else { None }
    }

    fn id_of(&self, series: &[u8]) -> Option<u32> {
        self.series.id(std::str::from_utf8(series).ok()?)
    }

    fn add(&mut self, id: Option<u32>, field: Field, value: &[u8]) -> Option<()> {
        let id = id?;
        let Some(number) = number(value) else {
            self.problem.get_or_insert_with(|| PageError::NoNumber(excerpt(value)));
            return None;
        };
        *field.in_counters(self.counters(id)) += number;
        Some(())
    }

    /// The counters of a cluster. They are added if they are not there yet, because the page shows the cluster.
    fn counters(&mut self, id: u32) -> &mut Counters {
        let index = id as usize;
        if self.places.len() <= index {
            self.places.resize(index.max(self.series.len()) + 1, NOWHERE);
        }
        if self.places[index] == NOWHERE {
            self.places[index] = self.found.len() as u32;
            self.found.push((id, Counters::default()));
        }
        &mut self.found[self.places[index] as usize].1
    }
}

/// The field of a listener's metric, and the label that names the listener.
fn listener_field(line: &[u8]) -> Option<(Field, &'static [u8])> {
    let brace = memchr(b'{', line)?;
    match &line[..brace] {
        b"envoy_http_downstream_rq_total" => Some((Field::Requests, CONNECTION_MANAGER)),
        b"envoy_http_downstream_rq_active" => Some((Field::InFlight, CONNECTION_MANAGER)),
        b"envoy_listener_downstream_cx_active" => Some((Field::Connections, LISTENER)),
        _ => None,
    }
}

/// The value of a label, and that of the series: `a="x",wanted="y"} 5`.
fn labelled<'a>(mut labels: &'a [u8], wanted: &[u8]) -> Option<(Vec<u8>, &'a [u8])> {
    let mut found = None;
    while let Some(rest) = labels.strip_prefix(b"}").map_or(Some(labels), |_| None) {
        let equals = memchr(b'=', rest)?;
        let (name, value) = (&rest[..equals], rest[equals + 1..].strip_prefix(b"\"")?);
        let (value, rest) = unescaped(value)?;
        if name == wanted {
            found = Some(value);
        }
        labels = rest.strip_prefix(b",").unwrap_or(rest);
    }
    Some((found?, labels.strip_prefix(b"} ")?))
}

/// The part of the name before `_upstream_…` or `_membership_total`, and the field of the metric.
fn metric_field(metric: &[u8]) -> Option<(Option<&[u8]>, Field)> {
    let start = memmem::rfind(metric, b"upstream_").or_else(|| memmem::rfind(metric, b"membership_total"))?;
    let field = Field::of_metric(&metric[start..])?;
    match &metric[..start] {
        [] => Some((None, field)),
        [infix @ .., b'_'] => Some((Some(infix), field)),
        _ => None,
    }
}

/// The value of a label up to its closing quote, with `\\`, `\"` and `\n` resolved, and the rest after the quote.
fn unescaped(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    loop {
        let end = memchr2(b'"', b'\\', rest)?;
        value.extend_from_slice(&rest[..end]);
        match &rest[end..] {
            [b'"', after @ ..] => return Some((value, after)),
            [b'\\', b'n', after @ ..] => {
                value.push(b'\n');
                rest = after;
            }
            [b'\\', escaped, after @ ..] => {
                value.push(*escaped);
                rest = after;
            }
            _ => return None,
        }
    }
}

/// Parses a value, which a timestamp may follow. Counters and gauges of Envoy are whole numbers, and at least 0.
fn number(text: &[u8]) -> Option<f64> {
    let text = match memchr(b' ', text) {
        Some(end) => &text[..end],
        None => text,
    };
    if (1..=15).contains(&text.len()) && text.iter().all(u8::is_ascii_digit) {
        return Some(text.iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0')) as f64);
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (value.is_finite() && value >= 0.0).then_some(value)
}

/// The start of a line, for messages.
fn excerpt(line: &[u8]) -> String {
    const LONGEST: usize = 60;
    String::from_utf8_lossy(&line[..line.len().min(LONGEST)]).into_owned()
}

/// Whether a line is a comment, empty, or `name value` with or without labels.
fn is_exposition(line: &[u8]) -> bool {
    match line {
        [] | [b'#', ..] => true,
        [first, ..] if first.is_ascii_alphabetic() || matches!(first, b'_' | b':') => {
            let value = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
            value.len() < line.len() && std::str::from_utf8(value).is_ok_and(|value| value.parse::<f64>().is_ok())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As Envoy 1.40 answers after 10 requests to `httproute/ns/my.route-x.v1/rule/0`, 20 to a cluster whose circuit breaker
    /// lets 4 through, and two TCP connections to a backend that refuses them.
    const ENVOY: &str = r#"# TYPE envoy_cluster_refused_rule__1_upstream_rq_pending_failure_eject counter
envoy_cluster_refused_rule__1_upstream_rq_pending_failure_eject{envoy_cluster_name="tcproute/ns/tcp"} 2
# TYPE envoy_cluster_route_x_v1_rule_0_upstream_rq_total counter
envoy_cluster_route_x_v1_rule_0_upstream_rq_total{envoy_cluster_name="httproute/ns/my"} 10
# TYPE envoy_cluster_upstream_rq_pending_overflow counter
envoy_cluster_upstream_rq_pending_overflow{envoy_cluster_name="httproute/ns/overflow/rule/0"} 16
# TYPE envoy_cluster_upstream_rq_total counter
envoy_cluster_upstream_rq_total{envoy_cluster_name="httproute/ns/overflow/rule/0"} 4
envoy_cluster_upstream_rq_total{envoy_cluster_name="httproute/ns/plain/rule/0"} 9
# TYPE envoy_cluster_route_x_v1_rule_0_upstream_cx_active gauge
envoy_cluster_route_x_v1_rule_0_upstream_cx_active{envoy_cluster_name="httproute/ns/my"} 1
# TYPE envoy_cluster_upstream_rq_active gauge
envoy_cluster_upstream_rq_active{envoy_cluster_name="httproute/ns/overflow/rule/0"} 3
# TYPE envoy_cluster_upstream_rq_pending_active gauge
envoy_cluster_upstream_rq_pending_active{envoy_cluster_name="httproute/ns/overflow/rule/0"} 2
"#;

    const NAMES: [&str; 4] = [
        "httproute/ns/my.route-x.v1/rule/0",
        "tcproute/ns/tcp.refused/rule/-1",
        "httproute/ns/plain/rule/0",
        "httproute/ns/overflow/rule/0",
    ];

    fn parse(series: &Series, chunks: &[&[u8]]) -> Result<Sample, PageError> {
        let mut parser = Parser::new(series);
        for chunk in chunks {
            parser.feed(chunk);
        }
        parser.finish()
    }

    /// The cluster that every Envoy of Envoy Gateway shows: the one through which it is scraped.
    const OWN: &str = "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"prometheus_stats\"} 7\n";

    /// The counters of the one cluster `c` in this text, on a page of an Envoy.
    fn counters(text: &str) -> Option<Counters> {
        let sample = parse(&Series::of(["c"]), &[OWN.as_bytes(), text.as_bytes()]).ok()?;
        Some(sample.clusters().first().map_or_else(Counters::default, |(_, counters)| *counters))
    }

    #[test]
    fn an_answer_of_envoy_is_read_in_whole() {
        let series = Series::of(NAMES);
        let sample = parse(&series, &[ENVOY.as_bytes()]).unwrap();
        let of = |name: &str| {
            let id = series.of_cluster(name).unwrap();
            sample.clusters().iter().find(|(found, _)| *found == id).unwrap().1
        };
        let zero = Counters::default();
        assert_eq!(of(NAMES[0]), Counters { requests: 10.0, connections: 1.0, ..zero });
        assert_eq!(of(NAMES[1]), Counters { refused: 2.0, ..zero });
        assert_eq!(of(NAMES[2]), Counters { requests: 9.0, ..zero });
        assert_eq!(of(NAMES[3]), Counters { requests: 4.0, refused: 16.0, in_flight: 5.0, ..zero });
    }

    #[test]
    fn what_the_listeners_of_users_carry_is_the_fleets() {
        let text = br#"envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="http-10080"} 70
envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="https-10443"} 30
envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="eg-ready-http"} 900
envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="admin"} 800
envoy_http_downstream_rq_active{envoy_http_conn_manager_prefix="http-10080"} 4
envoy_listener_downstream_cx_active{envoy_listener_address="0.0.0.0_10080"} 5
envoy_listener_downstream_cx_active{envoy_listener_address="[__]_15432"} 2
envoy_listener_downstream_cx_active{envoy_listener_address="0.0.0.0_19003"} 1
envoy_listener_worker_downstream_cx_active{envoy_worker_id="0",envoy_listener_address="0.0.0.0_10080"} 5
envoy_cluster_upstream_rq_total{envoy_cluster_name="c"} 60
"#;
        let series = Series::of(["c", "gateway/edge/web.v1"]);
        let read = |fleet| {
            let mut parser = Parser::new(&series).with_fleet(fleet);
            parser.feed(text);
            parser.finish().unwrap()
        };
        let whole = Counters { requests: 100.0, in_flight: 4.0, connections: 7.0, ..Counters::default() };
        let clusters = read(Some("gateway/edge/web.v1"));
        assert_eq!(clusters.clusters()[1], (series.of_cluster("gateway/edge/web.v1").unwrap(), whole));
        assert_eq!(read(None).clusters().len(), 1);
        assert_eq!(read(Some("gateway/edge/other")).clusters().len(), 1, "one that nobody asked for");
    }

    #[test]
    fn a_page_without_any_cluster_is_no_envoys() {
        for text in [
            "",
            "\n",
            "# TYPE x counter\n",
            "up 1\n",
            "envoy_server_live 1\n",
            "envoy_http_downstream_rq_total{a=\"b\"} 3\n",
        ] {
            assert_eq!(parse(&Series::of(["c"]), &[text.as_bytes()]), Err(PageError::NoClusters), "{text}");
        }
    }

    #[test]
    fn an_idle_cluster_is_distinguished_from_one_that_is_not_there() {
        let series = Series::of(["c", "d", "e.v1/rule/0"]);
        let text = "envoy_cluster_membership_total{envoy_cluster_name=\"c\"} 3\n\
            envoy_cluster_v1_rule_0_membership_total{envoy_cluster_name=\"e\"} 1\n";
        let sample = parse(&series, &[OWN.as_bytes(), text.as_bytes()]).unwrap();
        let shown: Vec<_> = sample.clusters().iter().map(|(id, counters)| (*id, counters.members)).collect();
        assert_eq!(shown, [(0, 3.0), (2, 1.0)]);
    }

    #[test]
    fn statistics_that_are_left_out_are_not_taken_for_zero() {
        // As configured in `cases/trust/envoy-with-stats-matches.yaml`.
        let left_out = "envoy_cluster_membership_total{envoy_cluster_name=\"c\"} 1\n";
        let shows = |text: &str| parse(&Series::of(["c"]), &[text.as_bytes()]).unwrap().shows();
        assert_eq!(shows(left_out), [false; 3]);
        let active = "envoy_cluster_upstream_rq_active{envoy_cluster_name=\"d\"} 0\n";
        assert_eq!(shows(&format!("{OWN}{left_out}{active}")), [true, true, false]);
    }

    #[test]
    fn requests_for_which_no_host_is_healthy_are_counted() {
        let text = "envoy_cluster_upstream_cx_none_healthy{envoy_cluster_name=\"c\"} 9\n\
            envoy_cluster_upstream_rq_pending_failure_eject{envoy_cluster_name=\"c\"} 1\n";
        assert_eq!(counters(text).map(|counters| counters.refused), Some(10.0));
    }

    #[test]
    fn listeners_that_were_never_used_carry_nothing_where_listeners_are_shown() {
        let series = Series::of(["gateway/edge/web"]);
        let read = |text: &str| {
            let mut parser = Parser::new(&series).with_fleet(Some("gateway/edge/web"));
            parser.feed(OWN.as_bytes());
            parser.feed(text.as_bytes());
            parser.finish().unwrap().clusters().len()
        };
        assert_eq!(read("envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix=\"admin\"} 5\n"), 1);
        assert_eq!(read(""), 0, "they may be left out");
    }

    #[test]
    fn what_is_no_exposition_is_refused() {
        for text in ["<html>", "{\"stats\":[]}", "no such page", "OK", "\u{1f4a5}", "404 not found"] {
            assert_eq!(counters(text), None, "{text}");
        }
        for text in ["\r\n", "# HELP x\n", "x 1\n", "x{le=\"+Inf\"} 1 1700000000\n", "x NaN", ":x_total 1e3"] {
            assert_eq!(counters(text), Some(Counters::default()), "{text}");
        }
    }

    #[test]
    fn other_metrics_other_clusters_and_histograms_are_passed_over() {
        let text = "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"c\",le=\"0.5\"} 3\n\
            envoy_cluster_upstream_rq_total{envoy_cluster_name=\"d\"} 3\n\
            envoy_cluster_upstream_rq_total_sum{envoy_cluster_name=\"c\"} 3\n\
            envoy_cluster_not_upstream_rq_total{envoy_cluster_name=\"c\"} 3\n\
            envoy_cluster_notupstream_rq_total{envoy_cluster_name=\"c\"} 3\n\
            envoy_listener_upstream_rq_total{envoy_cluster_name=\"c\"} 3\n\
            envoy_cluster_upstream_rq_total 3\n";
        assert_eq!(counters(text), Some(Counters::default()));
    }

    #[test]
    fn more_labels_add_up() {
        let text = "envoy_cluster_upstream_rq_total{zone=\"a,}\\\"\",envoy_cluster_name=\"c\"} 3\n\
            envoy_cluster_upstream_rq_total{envoy_cluster_name=\"c\",zone=\"b\"} 4 1700000000\n\
            envoy_cluster_upstream_rq_total{envoy_cluster_name=\"c\",} 5\n";
        assert_eq!(counters(text).unwrap().requests, 12.0);
    }

    #[test]
    fn escapes_in_a_name_are_resolved() {
        let series = Series::of(["a\"b\\c\nd"]);
        let text = br#"envoy_cluster_upstream_rq_total{envoy_cluster_name="a\"b\\c\nd"} 7"#;
        assert_eq!(parse(&series, &[text]).unwrap().clusters()[0].1.requests, 7.0);
    }

    #[test]
    fn values_are_numbers_from_zero_on() {
        let value = |text: &str| {
            counters(&format!("envoy_cluster_upstream_cx_active{{envoy_cluster_name=\"c\"}} {text}\n"))
                .unwrap()
                .connections
        };
        for (text, number) in [
            ("0", 0.0),
            ("18446744073709551615", 18_446_744_073_709_551_615.0),
            ("999999999999999", 999_999_999_999_999.0),
            ("1.5e3", 1500.0),
            ("7 1700000000000", 7.0),
            ("7\r", 7.0),
        ] {
            assert_eq!(value(text), number, "{text}");
        }
        for text in ["", "NaN", "+Inf", "-1", "x", "1x", "1_000"] {
            let line = format!("envoy_cluster_upstream_cx_active{{envoy_cluster_name=\"c\"}} {text}\n");
            let read = parse(&Series::of(["c"]), &[line.as_bytes()]);
            assert_eq!(read, Err(PageError::NoNumber(text.to_owned())), "one bad number spoils the page");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_the_next_is_read() {
        let good = "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"c\"} 5\n";
        let long = format!("envoy_cluster_{}{{envoy_cluster_name=\"c\"}} 1\n", "x".repeat(MAX_LINE));
        assert_eq!(counters(&format!("{good}{long}{good}")).unwrap().requests, 10.0);
    }

    /// Lines as Envoy could write them, whole and damaged.
    fn lines() -> impl Strategy<Value = String> {
        let metric = prop::sample::select(vec![
            "upstream_rq_total",
            "upstream_rq_retry",
            "upstream_rq_active",
            "upstream_cx_active",
            "upstream_rq_pending_overflow",
            "v1_rule_0_upstream_rq_total",
            "upstream_rq_time_bucket",
        ]);
        let label = prop::sample::select(vec!["c", "d", "a", "a\\\"b", "c\",x=\"y", ""]);
        let series = (metric, label, any::<u32>()).prop_map(|(metric, label, value)| {
            format!("envoy_cluster_{metric}{{envoy_cluster_name=\"{label}\"}} {value}\n")
        });
        let line = prop_oneof![5 => series, 1 => "[ -~]{0,40}\n", 1 => Just("# TYPE x counter\n".to_owned())];
        proptest::collection::vec(line, 0..40).prop_map(|lines| lines.concat())
    }

    /// The same by a simple reading of the format.
    fn plain(text: &str, cluster: &str) -> Counters {
        let mut counters = Counters::default();
        for line in text.lines() {
            let Some((metric, rest)) = line.split_once("{envoy_cluster_name=\"") else { continue };
            let Some((label, rest)) = rest.split_once('"') else { continue };
            let value = rest.rsplit(' ').next().and_then(|value| value.parse::<u32>().ok());
            let Some(value) = value.filter(|_| label == cluster).map(f64::from) else { continue };
            match metric {
                "envoy_cluster_upstream_rq_total" => counters.requests += value,
                "envoy_cluster_upstream_rq_retry" => counters.retries += value,
                "envoy_cluster_upstream_rq_pending_overflow" => counters.refused += value,
                "envoy_cluster_upstream_rq_active" => counters.in_flight += value,
                "envoy_cluster_upstream_cx_active" => counters.connections += value,
                _ => {}
            }
        }
        counters
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(chunks in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            let _ = parse(&Series::of(["c"]), &chunks);
        }

        #[test]
        fn any_cut_into_chunks_gives_the_same(text in lines(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..9)) {
            let series = Series::of(["c", "d", "a.v1/rule/0", "a\"b"]);
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect();
            prop_assert_eq!(parse(&series, &chunks), parse(&series, &[bytes]));
        }

        #[test]
        fn what_is_read_is_what_is_written(text in lines()) {
            if let Some(read) = counters(&text) {
                prop_assert_eq!(read, plain(&text, "c"));
            }
        }
    }
}
