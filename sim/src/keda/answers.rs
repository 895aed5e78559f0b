//! A scaler's answers, as KEDA interprets them (`pkg/scalers/external_scaler.go`, `pkg/scalers/scaler.go`).

use std::collections::HashMap;

use tidegate_proto::{GetMetricSpecResponse, GetMetricsResponse};

use crate::quantity::Milli;

/// One metric of the HPA: an External metric with an `averageValue`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricSpec {
    /// The scaler's name for it, prefixed with the trigger's index: `s0-requests-per-second`
    pub name: String,
    /// The target value per replica
    pub target: Milli,
}

/// The values of one metric, and whether its trigger is active.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// All values that the scaler returned; the HPA sums them
    pub values: Vec<Milli>,
    /// `IsActive`
    pub active: bool,
}

/// A reading, or why there is none.
pub type Answer = Result<Reading, String>;

/// The answers of one trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerAnswer {
    /// The answer to `GetMetricSpec`, or the last message of `StreamMetricSpec`; an empty one is an error
    pub specs: Result<Vec<MetricSpec>, String>,
    /// The requested metrics, by name
    pub metrics: HashMap<String, Answer>,
}

/// The answers of all triggers of a ScaledObject, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answers {
    /// One for each trigger
    pub triggers: Vec<TriggerAnswer>,
}

impl Answers {
    /// Returns the specs of all triggers that have any, in order.
    pub fn specs(&self) -> Vec<MetricSpec> {
        self.triggers.iter().filter_map(|trigger| trigger.specs.as_ref().ok()).flatten().cloned().collect()
    }
}

/// `GenerateMetricNameWithIndex`
pub(super) fn indexed_name(trigger: usize, name: &str) -> String {
    format!("s{trigger}-{name}")
}

/// `RemoveIndexFromMetricName`: the name that is sent to the scaler.
pub(super) fn plain_name(trigger: usize, indexed: &str) -> Option<&str> {
    indexed.strip_prefix(&format!("s{trigger}-"))
}

/// The scaler's name of a metric of any trigger.
pub(super) fn without_index(indexed: &str) -> &str {
    indexed.split_once('-').map_or(indexed, |(_, plain)| plain)
}

/// `buildMetricSpecs`: the target is the float when it is above zero, otherwise the integer.
pub(super) fn metric_specs(trigger: usize, response: &GetMetricSpecResponse) -> Vec<MetricSpec> {
    let spec = |spec: &tidegate_proto::MetricSpec| MetricSpec {
        name: indexed_name(trigger, &spec.metric_name),
        target: if spec.target_size_float > 0.0 {
            Milli::from_f64(spec.target_size_float)
        } else {
            Milli::whole(spec.target_size)
        },
    };
    response.metric_specs.iter().map(spec).collect()
}

/// The values of `GetMetricsAndActivity`, which gives every returned value the name that it asked for.
pub(super) fn metric_values(response: &GetMetricsResponse) -> Vec<Milli> {
    let value = |value: &tidegate_proto::MetricValue| {
        if value.metric_value_float > 0.0 { value.metric_value_float } else { value.metric_value as f64 }
    };
    response.metric_values.iter().map(value).map(Milli::from_f64).collect()
}

#[cfg(test)]
mod tests {
    use tidegate_proto::{MetricSpec as ProtoSpec, MetricValue};

    use super::*;

    fn value(metric_value: i64, metric_value_float: f64) -> Vec<Milli> {
        let value = MetricValue { metric_name: "whatever".into(), metric_value, metric_value_float };
        metric_values(&GetMetricsResponse { metric_values: vec![value] })
    }

    #[test]
    fn the_float_counts_only_when_it_is_above_zero() {
        assert_eq!(value(7, 83.5), [Milli(83_500)]);
        assert_eq!(value(7, 0.0), [Milli(7_000)]);
        assert_eq!(value(7, -1.0), [Milli(7_000)]);
        assert_eq!(value(7, f64::NAN), [Milli(7_000)]);
        assert_eq!(value(-7, 0.0), [Milli(0)]);
        assert_eq!(value(0, f64::INFINITY), [Milli(0)]);
    }

    #[test]
    fn a_spec_carries_the_triggers_index_in_its_name() {
        let spec = ProtoSpec { metric_name: "lag".into(), target_size: 50, target_size_float: 0.0 };
        let specs = metric_specs(2, &GetMetricSpecResponse { metric_specs: vec![spec] });
        assert_eq!(specs, [MetricSpec { name: "s2-lag".into(), target: Milli(50_000) }]);
        assert_eq!(plain_name(2, "s2-lag"), Some("lag"));
        assert_eq!(plain_name(1, "s2-lag"), None);
        assert_eq!(plain_name(0, "s0-requests-per-second"), Some("requests-per-second"));
    }
}
