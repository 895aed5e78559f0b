//! Reads the few series of Envoy's Prometheus exposition that demand is made of, a line at a time, without a copy.
//!
//! The format is Prometheus' text format 0.0.4. This is not a parser of all of it: a proxy with 10,000 clusters answers
//! megabytes a second, of which seven counters and gauges are wanted. Whatever is none of them is skipped.

use std::collections::HashMap;

use crate::signals::{Counters, Sample};

/// Longer lines than this are no series of Envoy's.
const MAX_LINE: usize = 8192;

/// Takes chunks as they come from the network.
///
/// ```
/// use std::collections::HashMap;
/// use tidegate_scaler::sources::envoy::Parser;
///
/// let series = HashMap::from([("httproute/default/task-route/rule/0".into(), 7)]);
/// let mut parser = Parser::new(&series);
/// parser.feed(b"envoy_cluster_upstream_rq_total{envoy_cluster_name=\"httproute/default/");
/// parser.feed(b"task-route/rule/0\"} 5\n");
/// let sample = parser.finish().expect("metrics");
/// assert_eq!((sample.clusters[0].0, sample.clusters[0].1.requests), (7, 5.0));
/// ```
pub struct Parser<'a> {
    series: &'a HashMap<Box<str>, u32>,
    /// The start of a line whose end has not come yet
    partial: Vec<u8>,
    overlong: bool,
    found: HashMap<u32, Counters>,
    key: String,
    garbage: bool,
}

impl<'a> Parser<'a> {
    /// A parser for the series of these clusters.
    pub fn new(series: &'a HashMap<Box<str>, u32>) -> Self {
        Self { series, partial: Vec::new(), overlong: false, found: HashMap::new(), key: String::new(), garbage: false }
    }

    /// The next bytes.
    pub fn feed(&mut self, mut chunk: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', chunk) {
            let (line, rest) = (&chunk[..end], &chunk[end + 1..]);
            if self.overlong {
                self.overlong = false;
            } else if self.partial.is_empty() {
                self.line(line);
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.line(&whole);
                whole.clear();
                self.partial = whole;
            }
            chunk = rest;
        }
        if self.overlong || self.partial.len() + chunk.len() > MAX_LINE {
            self.partial.clear();
            self.overlong = true;
        } else {
            self.partial.extend_from_slice(chunk);
        }
    }

    /// What was found. `None` when this was not an exposition, but for example a page of HTML.
    pub fn finish(mut self) -> Option<Sample> {
        if !self.partial.is_empty() {
            let last = std::mem::take(&mut self.partial);
            self.line(&last);
        }
        let mut clusters: Vec<_> = self.found.into_iter().collect();
        clusters.sort_unstable_by_key(|(id, _)| *id);
        (!self.garbage).then_some(Sample { clusters })
    }

    fn line(&mut self, line: &[u8]) {
        let Some(rest) = line.strip_prefix(b"envoy_cluster_") else {
            self.garbage |= !(line.is_empty() || line[0] == b'#' || line.starts_with(b"envoy_") || line == b"\r");
            return;
        };
        // `None`: of another metric, or with labels of its own. Nothing for us.
        let _ = self.series_line(rest);
    }

    /// `upstream_rq_total{envoy_cluster_name="NAME"} 5`, where the rest of a name with dots may stand before `upstream_`.
    fn series_line(&mut self, line: &[u8]) -> Option<()> {
        let brace = memchr::memchr(b'{', line)?;
        let (metric, rest) = (&line[..brace], line[brace + 1..].strip_prefix(b"envoy_cluster_name=\"")?);
        let upstream = memchr::memmem::rfind(metric, b"upstream_")?;
        let field: fn(&mut Counters) -> &mut f64 = match &metric[upstream + b"upstream_".len()..] {
            b"rq_total" => |c| &mut c.requests,
            b"rq_pending_overflow" | b"rq_pending_failure_eject" => |c| &mut c.refused,
            b"rq_retry" => |c| &mut c.retries,
            b"rq_active" | b"rq_pending_active" => |c| &mut c.in_flight,
            b"cx_active" => |c| &mut c.connections,
            _ => return None,
        };
        let quote = memchr::memchr(b'"', rest)?;
        // A name with escapes is none that Envoy Gateway makes. More labels mean per-endpoint or per-zone series.
        let label = std::str::from_utf8(&rest[..quote]).ok().filter(|label| !label.contains('\\'))?;
        let value = rest[quote + 1..].strip_prefix(b"} ")?;
        let value: f64 = std::str::from_utf8(value).ok()?.split_ascii_whitespace().next()?.parse().ok()?;
        if !(value.is_finite() && value >= 0.0) {
            return None;
        }
        let id = *match metric[..upstream].strip_suffix(b"_") {
            None => self.series.get(label)?,
            Some(infix) => {
                self.key.clear();
                self.key.push_str(label);
                self.key.push('.');
                self.key.push_str(std::str::from_utf8(infix).ok()?);
                self.series.get(self.key.as_str())?
            }
        };
        *field(self.found.entry(id).or_default()) += value;
        Some(())
    }
}
