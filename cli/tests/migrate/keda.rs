//! What KEDA's own scalers say of the load: as much of them as the manifests need, from KEDA 2.21's `pkg/scalers`.

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use crate::load;

/// One metric of the HPA, and whether it keeps the workload from zero.
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) target: f64,
    pub(crate) read: Box<dyn Fn(DateTime<Utc>) -> (f64, bool)>,
}

/// A value at an instant.
type Load = fn(DateTime<Utc>) -> f64;

/// The queries of the manifests, with what Prometheus answers.
const QUERIES: [(&str, Load); 4] = [
    (
        r#"sum(rate(envoy_cluster_upstream_rq_total{envoy_cluster_name="httproute/shop/checkout/rule/0"}[1m])) * 60"#,
        |at| load::average(load::requests, 60, at) * 60.0,
    ),
    (r#"sum(envoy_cluster_upstream_rq_active{envoy_cluster_name=~"httproute/shop/checkout/.*"})"#, load::in_flight),
    (
        r#"sum(rate(envoy_cluster_upstream_rq_xx{envoy_cluster_name="httproute/shop/api/rule/0"}[2m])) or vector(0)"#,
        |at| load::average(load::requests, 120, at),
    ),
    (r#"sum(rate(envoy_cluster_upstream_rq_total{envoy_cluster_name="httproute/shop/shopfront/rule/0"}[1m]))"#, |at| {
        load::average(load::requests, 60, at)
    }),
];

impl Metric {
    /// The metric of a trigger, from `start` on.
    pub(crate) fn of(trigger: &Value, start: DateTime<Utc>) -> Self {
        let kind = trigger["type"].as_str().unwrap();
        let metadata = &trigger["metadata"];
        match kind {
            "prometheus" => prometheus(metadata),
            "kafka" => kafka(metadata),
            "cron" => cron(metadata, start),
            "rabbitmq" => Self::active_above_zero(kind, number(&metadata["value"]), load::queued),
            // Not an External metric, but the HPA computes the same of it. Never active (`cpu_memory_scaler.go`).
            "cpu" => Self {
                read: Box::new(|at| (load::cpu(at), false)),
                ..Self::active_above_zero(kind, number(&metadata["value"]), load::cpu)
            },
            _ => panic!("no model of {kind}"),
        }
    }

    /// The HTTP add-on's scaler (`scaler/handlers.go` of http-add-on): the rate over its window.
    pub(crate) fn of_add_on(rate: &Value) -> Self {
        assert_eq!(rate["window"], "1m");
        Self::active_above_zero("http", number(&rate["targetValue"]), |at| load::average(load::requests, 60, at))
    }

    fn active_above_zero(name: &str, target: f64, value: Load) -> Self {
        let read = move |at| (value(at), value(at) > 0.0);
        Self { name: name.to_owned(), target, read: Box::new(read) }
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

/// `prometheus_scaler.go`: active above `activationThreshold`, by default 0.
fn prometheus(metadata: &Value) -> Metric {
    let query = metadata["query"].as_str().unwrap();
    let (_, value) =
        QUERIES.iter().find(|(known, _)| *known == query).unwrap_or_else(|| panic!("no answer to {query}"));
    Metric::active_above_zero("prometheus", number(&metadata["threshold"]), *value)
}

/// `getTotalLag` in `kafka_scaler.go`, for a group that has committed an offset on every partition.
fn kafka(metadata: &Value) -> Metric {
    let integer = |key: &str, default: u64| metadata[key].as_str().map_or(default, |text| text.parse().unwrap());
    let is = |key: &str| metadata[key] == "true";
    let (threshold, activation) = (integer("lagThreshold", 10), integer("activationLagThreshold", 0));
    let (capped, with_lag) = (!is("allowIdleConsumers"), is("limitToPartitionsWithLag"));
    let partitions: Vec<usize> = match metadata["partitionLimitation"].as_str() {
        None => (0..load::PARTITIONS as usize).collect(),
        Some("0-3,8") => vec![0, 1, 2, 3, 8],
        Some(other) => panic!("no model of partitionLimitation {other}"),
    };
    let read = move |at| {
        let waiting = load::waiting(at);
        let lags: Vec<_> = partitions.iter().map(|partition| waiting[*partition]).collect();
        let total: u64 = lags.iter().sum();
        let most = if with_lag { lags.iter().filter(|lag| **lag > 0).count() } else { lags.len() } as u64;
        // In whole replicas: a part of one above the partitions is not cut off.
        let told = if (capped || with_lag) && total / threshold > most { most * threshold } else { total };
        (told as f64, total > activation)
    };
    Metric { name: "kafka".to_owned(), target: threshold as f64, read: Box::new(read) }
}

/// `GetMetricsAndActivity` in `cron_scaler.go`: 1 outside of its time.
fn cron(metadata: &Value, start: DateTime<Utc>) -> Metric {
    let text = |key: &str| metadata[key].as_str().unwrap();
    let (zone, desired): (Tz, f64) = (text("timezone").parse().unwrap(), number(&metadata["desiredReplicas"]));
    let minutes = || (0..9 * 24 * 60).map(|minute| start + TimeDelta::minutes(minute));
    let fires = |expression: &str| -> Vec<_> { minutes().filter(|at| fires(expression, *at, zone)).collect() };
    let (starts, ends) = (fires(text("start")), fires(text("end")));
    let next = |all: &[DateTime<Utc>], at| *all.iter().find(|fire| **fire > at).unwrap();
    let read = move |at| {
        let active = next(&ends, at) <= next(&starts, at);
        (if active { desired } else { 1.0 }, active)
    };
    Metric { name: "cron".to_owned(), target: 1.0, read: Box::new(read) }
}

/// Whether a cron expression of numbers, ranges and `*` fires in this minute.
fn fires(expression: &str, at: DateTime<Utc>, zone: Tz) -> bool {
    let local = at.with_timezone(&zone);
    let now = [local.minute(), local.hour(), local.day(), local.month(), local.weekday().num_days_from_sunday()];
    expression.split(' ').zip(now).all(|(field, now)| {
        let (from, to) = field.split_once('-').unwrap_or((field, field));
        field == "*" || (from.parse().unwrap()..=to.parse().unwrap()).contains(&now)
    })
}
