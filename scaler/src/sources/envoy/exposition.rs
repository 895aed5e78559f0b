//! A parser for the few series of Envoy's Prometheus exposition that demand is computed from, a line at a time, without a copy.
//!
//! The format is Prometheus' text format 0.0.4. This is not a full parser of it: a proxy answers megabytes a second, of which
//! a dozen counters and gauges are wanted. Everything else is skipped, histograms included.

mod format;
mod listeners;

use memchr::{memchr, memchr2};

use self::{
    format::{excerpt, is_exposition, labelled, number},
    listeners::{CONNECTION_MANAGER, is_of_users, listener_field},
};
use super::{Field, fields::metric_field};
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

    /// Reads `envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="http-10080"} 5`.
    fn listener_line(&mut self, line: &[u8], fleet: u32, field: Field, label: &[u8]) -> Option<()> {
        self.shows_listeners |= label == CONNECTION_MANAGER;
        let labels = &line[memchr(b'{', line)? + 1..];
        let (name, value) = labelled(labels, label)?;
        if is_of_users(label, &name) { self.add(Some(fleet), field, value) } else { None }
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

#[cfg(test)]
mod tests;
