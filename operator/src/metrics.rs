//! Metrics of the operator itself.

use std::{
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tidegate_core::metric::{Metric, register};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The operator's counters and gauges.
#[derive(Debug, Clone)]
pub struct OperatorMetrics {
    workloads: Gauge<i64, AtomicI64>,
    leading: Gauge<i64, AtomicI64>,
    writes: Family<Outcome, Counter<u64, AtomicU64>>,
    events: Counter<u64, AtomicU64>,
    bursts: Counter<u64, AtomicU64>,
}

impl OperatorMetrics {
    /// Registers them as `tidegate_operator_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            workloads: Gauge::default(),
            leading: Gauge::default(),
            writes: Family::default(),
            events: Counter::default(),
            bursts: Counter::default(),
        };
        register(registry, Metric::OperatorWorkloads, metrics.workloads.clone());
        register(registry, Metric::OperatorLeading, metrics.leading.clone());
        register(registry, Metric::OperatorScaledObjectWrites, metrics.writes.clone());
        register(registry, Metric::OperatorEvents, metrics.events.clone());
        register(registry, Metric::OperatorBursts, metrics.bursts.clone());
        metrics
    }

    /// Sets whether this replica writes.
    pub fn leads(&self, leads: bool) {
        self.leading.set(i64::from(leads));
    }

    pub(crate) fn managed(&self, workloads: usize) {
        self.workloads.set(i64::try_from(workloads).unwrap_or(i64::MAX));
    }

    pub(crate) fn write(&self, succeeded: bool) {
        let outcome = if succeeded { "success" } else { "error" };
        self.writes.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn burst(&self) {
        self.bursts.inc();
    }

    pub(crate) fn told(&self, events: u64) {
        self.events.inc_by(events);
    }
}

/// Counts and times the Plans.
#[derive(Debug, Clone)]
pub(crate) struct PlanMetrics {
    plans: Counter<u64, AtomicU64>,
    seconds: Histogram,
}

impl Default for PlanMetrics {
    fn default() -> Self {
        let seconds = Histogram::new([0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]);
        Self { plans: Counter::default(), seconds }
    }
}

impl PlanMetrics {
    /// Registers them.
    pub(crate) fn register(&self, registry: &mut Registry) {
        register(registry, Metric::OperatorPlans, self.plans.clone());
        register(registry, Metric::OperatorPlanDuration, self.seconds.clone());
    }

    pub(crate) fn planned(&self, took: Duration) {
        self.plans.inc();
        self.seconds.observe(took.as_secs_f64());
    }
}
