//! What the operator tells of itself.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// Counts what the operator does.
#[derive(Debug, Clone)]
pub struct OperatorMetrics {
    workloads: Gauge<i64, AtomicI64>,
    leading: Gauge<i64, AtomicI64>,
    writes: Family<Outcome, Counter<u64, AtomicU64>>,
    events: Counter<u64, AtomicU64>,
    problems: Family<Reason, Gauge<i64, AtomicI64>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl OperatorMetrics {
    /// Registered as `tidegate_operator_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            workloads: Gauge::default(),
            leading: Gauge::default(),
            writes: Family::default(),
            events: Counter::default(),
            problems: Family::default(),
        };
        let help = "Workloads with something wrong, by the reason of the Warning event";
        registry.register("tidegate_workload_problems", help, metrics.problems.clone());
        let registry = registry.sub_registry_with_prefix("tidegate_operator");
        registry.register("workloads", "Annotated workloads", metrics.workloads.clone());
        registry.register("leading", "1 on the replica that writes", metrics.leading.clone());
        registry.register(
            "scaledobject_writes",
            "ScaledObjects applied or deleted, by outcome",
            metrics.writes.clone(),
        );
        registry.register("events", "Events told to the owners of workloads", metrics.events.clone());
        metrics
    }

    /// Whether this replica writes.
    pub fn leads(&self, leads: bool) {
        self.leading.set(i64::from(leads));
    }

    pub(crate) fn managed(&self, workloads: usize) {
        self.workloads.set(i64::try_from(workloads).unwrap_or(i64::MAX));
    }

    /// The reasons of all that is wrong now.
    pub(crate) fn problems(&self, reasons: impl Iterator<Item = &'static str>) {
        self.problems.clear();
        reasons.for_each(|reason| _ = self.problems.get_or_create(&Reason { reason }).inc());
    }

    pub(crate) fn write(&self, succeeded: bool) {
        let outcome = if succeeded { "success" } else { "error" };
        self.writes.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn told(&self, events: u64) {
        self.events.inc_by(events);
    }
}
