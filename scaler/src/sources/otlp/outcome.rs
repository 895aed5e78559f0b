//! The outcome of a call for each of its points.

use std::collections::HashMap;

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsPartialSuccess,
    metrics::v1::{Metric, metric::Data},
};

use super::{peers::Passes, stream::Dropped};

/// The number of a call's points that were accepted, and of those that were dropped.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) accepted: u64,
    pub(super) dropped: HashMap<Dropped, u64>,
    /// The first refused point: its metric, and the reason
    example: Option<String>,
    /// Set if the call is to be forwarded to the other pods
    pub(super) passes: Option<Passes>,
}

impl Outcome {
    pub(super) fn count(&mut self, result: Result<(), Dropped>, metric: &str) {
        match result {
            Ok(()) => self.accepted += 1,
            Err(why) => self.refuse(why, 1, metric),
        }
    }

    pub(super) fn refuse(&mut self, why: Dropped, points: u64, what: &str) {
        *self.dropped.entry(why).or_default() += points;
        self.example.get_or_insert_with(|| format!("{what}: {why}"));
    }

    pub(super) fn refuse_all<'a>(&mut self, why: Dropped, metrics: impl Iterator<Item = &'a Metric>) {
        for metric in metrics {
            self.refuse(why, points(metric), &metric.name);
        }
    }

    pub(super) fn passes(&mut self, passes: Passes) {
        self.passes = self.passes.max(Some(passes));
    }

    /// The rejected points, for the answer. Late points and duplicates are not among them: a sender cannot fix those.
    pub(super) fn rejected(&self) -> Option<ExportMetricsPartialSuccess> {
        let of = |why: Dropped| self.dropped.get(&why).copied().unwrap_or(0);
        let rejected = of(Dropped::Malformed) + of(Dropped::TooMany) + of(Dropped::Unknown);
        (rejected > 0).then(|| ExportMetricsPartialSuccess {
            rejected_data_points: i64::try_from(rejected).unwrap_or(i64::MAX),
            error_message: self.example.clone().unwrap_or_default(),
        })
    }
}

fn points(metric: &Metric) -> u64 {
    let points = match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(Data::Summary(summary)) => summary.data_points.len(),
        None => 0,
    };
    points as u64
}
