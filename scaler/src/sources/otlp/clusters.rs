//! The cluster statistics of one Envoy, as its OpenTelemetry stat sink pushes them: `cluster.upstream_rq_total` and the like,
//! with the cluster in the attribute `envoy.cluster_name`.
//!
//! A report that lacks a cluster means that the proxy has no such cluster. A report whose points for a cluster are refused says
//! nothing about it.

use std::collections::HashMap;

use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, metric::Data, number_data_point::Value};

use super::{
    Outcome,
    stream::{Arrival, Dropped, PATIENCE, Point, Reports, Stream, Temporality, identity},
    who::text,
};
use crate::{
    sources::envoy::Field,
    store::{Counters, Sample, Series},
};

/// Whether a metric is one of the cluster statistics that are read.
pub(super) fn is_wanted(metric: &str) -> bool {
    field(metric).is_some()
}

/// The field of a metric, and the rest of the cluster's name if that has dots: Envoy cuts the name at the first dot and puts the
/// rest into the metric's.
fn field(metric: &str) -> Option<(Field, Option<&str>)> {
    let metric = metric.strip_prefix("cluster.")?;
    let (rest, name) = match metric.rsplit_once('.') {
        Some((rest, name)) => (Some(rest), name),
        None => (None, metric),
    };
    Some((Field::of_metric(name.as_bytes())?, rest))
}

/// Most series of one cluster. A statistic has one, unless a user's own tags split it.
const MAX_STREAMS: usize = 200;

/// The counters and gauges of one Envoy, for the clusters that are kept.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    known: HashMap<String, Cluster>,
    reports: Reports,
    report: Report,
}

/// The report that is being received.
#[derive(Debug, Default)]
struct Report {
    number: u64,
    /// Counter points of kept clusters that were accepted, and those that only repeated an earlier one
    counted: u64,
    repeated: u64,
    /// Why the first refused point was refused
    refused: Option<Dropped>,
    /// Nanoseconds by which its clock is behind that of the reports before
    behind: u64,
    /// Whether the clock was set back: a point was accepted because its count grew, although its time is older
    is_set_back: bool,
    /// Whether it has `upstream_rq_total` of any cluster
    shows_requests: bool,
}

#[derive(Debug, Default)]
struct Cluster {
    streams: HashMap<u64, Stream>,
    /// The gauges of the last report that shows the cluster
    gauges: HashMap<u64, (Field, f64)>,
    totals: Counters,
    /// The number of the last report that shows it
    shown: u64,
    counted: bool,
    repeated: bool,
    refused: bool,
}

impl Clusters {
    /// Begins a new report.
    pub(super) fn begin(&mut self) {
        self.report = Report { number: self.report.number + 1, ..Report::default() };
    }

    /// The number of known series.
    pub(super) fn len(&self) -> usize {
        self.known.values().map(Cluster::len).sum()
    }

    /// Processes a part of the report. `room` is how many new series may be added; returns how many still may.
    pub(super) fn take_in(
        &mut self,
        metric: &Metric,
        series: &Series,
        now: Arrival,
        room: usize,
        outcome: &mut Outcome,
    ) -> usize {
        let Some((field, rest)) = field(&metric.name) else { return room };
        let (points, temporality): (&[NumberDataPoint], _) = match &metric.data {
            Some(Data::Sum(sum)) => (&sum.data_points, Temporality::of(sum.aggregation_temporality)),
            Some(Data::Gauge(gauge)) => (&gauge.data_points, None),
            _ => {
                outcome.count(Err(Dropped::Malformed), &metric.name);
                return room;
            }
        };
        self.report.shows_requests |= field == Field::Requests && !points.is_empty();
        let mut room = room;
        for point in points {
            let name = text(&point.attributes, "envoy.cluster_name").unwrap_or_default();
            let name = rest.map_or_else(|| name.to_owned(), |rest| format!("{name}.{rest}"));
            if series.of_cluster(&name).is_some() {
                let told = Told { field, temporality, point, id: identity(&metric.name, &point.attributes) };
                outcome.count(self.point(name, &told, now, &mut room), &metric.name);
            }
        }
        room
    }

    fn point(&mut self, cluster: String, told: &Told, now: Arrival, room: &mut usize) -> Result<(), Dropped> {
        let number = self.report.number;
        if *room == 0 && !self.known.contains_key(&cluster) {
            return Err(Dropped::TooMany);
        }
        let known = self.known.entry(cluster).or_default();
        known.show(number);
        let is_known = known.streams.contains_key(&told.id) || known.gauges.contains_key(&told.id);
        if !is_known && (*room == 0 || known.len() >= MAX_STREAMS) {
            known.refused = true;
            return Err(Dropped::TooMany);
        }
        *room -= usize::from(!is_known);
        if told.field.is_gauge() {
            return known.gauge(told);
        }
        let lead = known.streams.get(&told.id).map_or(0, |stream| stream.lead(told.point.time_unix_nano));
        let taken = known.count(told, now, &mut self.reports);
        self.report.add(taken, lead);
        taken
    }

    /// Whether the report shows all clusters that the one before did.
    pub(super) fn is_whole(&self) -> bool {
        let before = self.report.number.saturating_sub(1);
        before > 0 && self.known.values().all(|cluster| cluster.shown != before)
    }

    /// The sample of the whole report, like that of a scrape: the counts since the proxy was first heard. `None` when it only
    /// repeats an earlier report, and an error when nothing in it can be used.
    pub(super) fn sample(&mut self, series: &Series) -> Option<Result<Sample, String>> {
        self.known.retain(|cluster, _| series.of_cluster(cluster).is_some());
        if let Some(error) = self.report.error() {
            return Some(Err(error));
        }
        let Report { counted, repeated, is_set_back, number, .. } = self.report;
        if counted == 0 && repeated > 0 {
            return None;
        }
        let mut clusters = HashMap::<u32, Counters>::new();
        for (name, cluster) in &self.known {
            if let Some(id) = series.of_cluster(name).filter(|_| cluster.is_in_report(number, is_set_back)) {
                add(clusters.entry(id).or_default(), &cluster.counters());
            }
        }
        Some(Ok(Sample::new(series, clusters.into_iter().collect())))
    }
}

/// One point, with its field and the id of its series.
struct Told<'a> {
    field: Field,
    temporality: Option<Temporality>,
    point: &'a NumberDataPoint,
    id: u64,
}

impl Told<'_> {
    fn value(&self) -> Result<f64, Dropped> {
        let value = match self.point.value {
            Some(Value::AsInt(value)) => value as f64,
            Some(Value::AsDouble(value)) => value,
            None => f64::NAN,
        };
        if value.is_finite() && value >= 0.0 { Ok(value) } else { Err(Dropped::Malformed) }
    }
}

impl Report {
    fn add(&mut self, taken: Result<(), Dropped>, lead: u64) {
        match taken {
            Ok(()) => {
                self.counted += 1;
                self.is_set_back |= lead > 0;
            }
            Err(Dropped::Duplicate) => self.repeated += 1,
            Err(why) => {
                self.refused.get_or_insert(why);
                self.behind = self.behind.max(lead);
            }
        }
    }

    /// Why the report as a whole cannot be used.
    fn error(&self) -> Option<String> {
        if !self.shows_requests {
            let missing = "its report has cluster.upstream_rq_total of no cluster, not even of Envoy's own";
            return Some(format!("{missing}: see telemetry.metrics.matches of its EnvoyProxy"));
        }
        match self.refused.filter(|_| self.counted == 0)? {
            Dropped::Late => Some(clock_error(self.behind)),
            why => Some(format!("no counter of its report can be used: {why}")),
        }
    }
}

/// The error for a sender whose points are all older than its last ones, by this many nanoseconds.
pub(super) fn clock_error(behind: u64) -> String {
    let (seconds, patience) = (behind / 1_000_000_000, PATIENCE.as_secs());
    format!(
        "its clock is {seconds} s behind that of its reports before: what it last carried is held, for {patience} s or so"
    )
}

impl Cluster {
    fn len(&self) -> usize {
        self.streams.len() + self.gauges.len()
    }

    /// Records that the report of this number shows the cluster.
    fn show(&mut self, report: u64) {
        if self.shown != report {
            (self.counted, self.repeated, self.refused) = (false, false, false);
            self.gauges.clear();
            self.shown = report;
        }
    }

    fn gauge(&mut self, told: &Told) -> Result<(), Dropped> {
        let value = told.value();
        self.refused |= value.is_err();
        self.gauges.insert(told.id, (told.field, value?));
        Ok(())
    }

    fn count(&mut self, told: &Told, now: Arrival, reports: &mut Reports) -> Result<(), Dropped> {
        let added = self.added(told, now, reports);
        match added {
            Ok(_) => self.counted = true,
            Err(Dropped::Duplicate) => self.repeated = true,
            Err(_) => self.refused = true,
        }
        *told.field.in_counters(&mut self.totals) += added?;
        Ok(())
    }

    fn added(&mut self, told: &Told, now: Arrival, reports: &mut Reports) -> Result<f64, Dropped> {
        let (sum, temporality) = (told.value()?, told.temporality.ok_or(Dropped::Malformed)?);
        let (start, time) = (told.point.start_time_unix_nano, told.point.time_unix_nano);
        let stream = self.streams.entry(told.id).or_default();
        let [added, _] = stream.accept(Point { start, time, sum, count: 0.0 }, temporality, now, reports)?;
        Ok(added)
    }

    /// Whether the report of this number can be used for the cluster. After the clock was set back, a point of a counter that did
    /// not move looks like a repetition: it is valid then.
    fn is_in_report(&self, report: u64, is_set_back: bool) -> bool {
        let only_repeats = self.repeated && !self.counted;
        self.shown == report && !self.refused && (is_set_back || !only_repeats)
    }

    fn counters(&self) -> Counters {
        let mut counters = self.totals;
        for (field, value) in self.gauges.values() {
            *field.in_counters(&mut counters) += value;
        }
        counters
    }
}

/// Adds one cluster's counters to another's: clusters whose names Envoy writes alike get the sum.
fn add(sum: &mut Counters, one: &Counters) {
    sum.requests += one.requests;
    sum.refused += one.refused;
    sum.retries += one.retries;
    sum.in_flight += one.in_flight;
    sum.connections += one.connections;
    sum.members += one.members;
}
