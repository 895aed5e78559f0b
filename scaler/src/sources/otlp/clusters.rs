//! What the clusters of one Envoy carry, as its OpenTelemetry stat sink pushes it: `cluster.upstream_rq_total` and the like, with
//! the cluster in the attribute `envoy.cluster_name`.

use std::collections::HashMap;

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{Metric, NumberDataPoint, metric::Data, number_data_point::Value},
};

use super::{
    Outcome,
    stream::{Dropped, Point, Reports, Stream, Temporality, identity},
    text,
};
use crate::{
    signals::{Counters, Sample, Series},
    sources::envoy::Field,
};

/// Whether a metric is about what clusters carry.
pub(super) fn is_wanted(metric: &str) -> bool {
    field(metric).is_some()
}

/// The field, and where the name of a cluster has dots, the rest of it: Envoy cuts the name at the first.
fn field(metric: &str) -> Option<(Field, Option<&str>)> {
    let metric = metric.strip_prefix("cluster.")?;
    let (rest, name) = match metric.rsplit_once('.') {
        Some((rest, name)) => (Some(rest), name),
        None => (None, metric),
    };
    Some((Field::of_metric(name.as_bytes())?, rest))
}

/// Series of one cluster: a counter has one, but for what a user's own tags split it into.
const MAX_STREAMS: usize = 100;

/// What one Envoy has counted of the clusters that are kept.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    known: HashMap<String, Cluster>,
    reports: Reports,
}

#[derive(Debug, Default)]
struct Cluster {
    streams: HashMap<u64, Stream>,
    totals: Counters,
}

impl Clusters {
    /// A new report: what is in flight is told anew in each.
    pub(super) fn begin(&mut self) {
        for Cluster { totals, .. } in self.known.values_mut() {
            (totals.in_flight, totals.connections) = (0.0, 0.0);
        }
    }

    pub(super) fn take_in(&mut self, metric: &Metric, series: &Series, now: u64, outcome: &mut Outcome) {
        let Some((field, rest)) = field(&metric.name) else { return };
        let (points, temporality): (&[NumberDataPoint], _) = match &metric.data {
            Some(Data::Sum(sum)) => (&sum.data_points, Temporality::of(sum.aggregation_temporality)),
            Some(Data::Gauge(gauge)) => (&gauge.data_points, None),
            _ => return outcome.count(Err(Dropped::Malformed), &metric.name),
        };
        for point in points {
            let name = text(&point.attributes, "envoy.cluster_name").unwrap_or_default();
            let name = rest.map_or_else(|| name.to_owned(), |rest| format!("{name}.{rest}"));
            if series.of_cluster(&name).is_none() {
                continue;
            }
            let taken = self.point(name, field, &metric.name, &point.attributes, point, temporality, now);
            outcome.count(taken, &metric.name);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "all of one point")]
    fn point(
        &mut self,
        cluster: String,
        field: Field,
        metric: &str,
        attributes: &[KeyValue],
        point: &NumberDataPoint,
        temporality: Option<Temporality>,
        now: u64,
    ) -> Result<(), Dropped> {
        let value = match point.value {
            Some(Value::AsInt(value)) => value as f64,
            Some(Value::AsDouble(value)) => value,
            None => return Err(Dropped::Malformed),
        };
        let Cluster { streams, totals } = self.known.entry(cluster).or_default();
        if field.is_gauge() {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Dropped::Malformed);
            }
            *field.in_counters(totals) += value;
            return Ok(());
        }
        let temporality = temporality.ok_or(Dropped::Malformed)?;
        let id = identity(metric, attributes);
        if streams.len() >= MAX_STREAMS && !streams.contains_key(&id) {
            return Err(Dropped::TooMany);
        }
        let stream = streams.entry(id).or_default();
        let at = Point { start: point.start_time_unix_nano, time: point.time_unix_nano, sum: value, count: 0.0 };
        let [added, _] = stream.accept(at, temporality, now, &mut self.reports)?;
        *field.in_counters(totals) += added;
        Ok(())
    }

    /// All that is known of it, as a scrape would tell.
    pub(super) fn sample(&mut self, series: &Series) -> Sample {
        self.known.retain(|cluster, _| series.of_cluster(cluster).is_some());
        let known = self.known.iter().filter_map(|(cluster, known)| Some((series.of_cluster(cluster)?, known.totals)));
        Sample::new(series, known.collect())
    }
}
